//! Clients and servers of others: their virtual environments and their processes. Apart so
//! that every test gets them in one way: pinned, made once whoever asks first, mended when
//! a killed run left half of one, and ended with the test.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::wait;

/// A virtual environment of Python, and the scripts that go with it.
#[derive(Clone, Debug)]
pub struct Python {
    name: &'static str,
    place: PathBuf,
}

impl Python {
    /// What `tests/NAME/requirements.txt` pins, in `target/NAME-venv`, made if it is not
    /// there as it should be.
    pub fn of(name: &'static str) -> Self {
        Self::with(name, &[], |_| {})
    }

    /// The same, and what `finish` makes in it. It is made anew when one of these scripts
    /// changes.
    pub fn with(
        name: &'static str,
        scripts: &[&str],
        finish: impl FnOnce(&Self),
    ) -> Self {
        let place =
            Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(format!("{name}-venv"));
        let python = Self { name, place };
        let files = [&["requirements.txt"], scripts].concat();
        let texts = files.iter().map(|file| fs::read_to_string(python.source(file)));
        let recipe: String = texts.map(Result::unwrap).collect();
        python.make_once(&recipe, finish);
        python
    }

    /// One at a time, whichever thread or process comes first.
    fn make_once(&self, recipe: &str, finish: impl FnOnce(&Self)) {
        let lock = File::create(self.place.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        let mark = self.place.join("complete");
        if fs::read_to_string(&mark).is_ok_and(|made| made == recipe) {
            return;
        }
        if self.place.exists() {
            fs::remove_dir_all(&self.place).unwrap();
        }
        let mut command = Command::new("python3");
        done("python3-venv is needed", command.args(["-m", "venv"]).arg(&self.place));
        let mut command = Command::new(self.program("pip"));
        command.args(["install", "--quiet", "--disable-pip-version-check", "--no-input"]);
        command.args(["--retries", "10", "--only-binary", ":all:", "--requirement"]);
        done("pip", command.arg(self.source("requirements.txt")));
        finish(self);
        fs::write(mark, recipe).unwrap();
    }

    /// Where it is.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// One of the scripts beside the requirements.
    pub fn source(&self, script: &str) -> PathBuf {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        tests.join(self.name).join(script)
    }

    /// A program that its packages brought.
    pub fn program(&self, name: &str) -> PathBuf {
        self.place.join("bin").join(name)
    }

    /// A file of one of its packages.
    pub fn package(&self, file: &str) -> PathBuf {
        let libraries = fs::read_dir(self.place.join("lib")).unwrap();
        let mut places =
            libraries.map(|it| it.unwrap().path().join("site-packages").join(file));
        places
            .find(|it| it.exists())
            .unwrap_or_else(|| panic!("no {file} in {}", self.name))
    }

    /// One of the scripts, to be run.
    pub fn script(&self, script: &str) -> Command {
        let mut command = Command::new(self.program("python"));
        command.arg(self.source(script)).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Starts one of the scripts.
    pub fn start<A: AsRef<OsStr>>(
        &self,
        script: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Peer {
        Peer::start(self.script(script).args(args))
    }

    /// All that one of the scripts says until its end, which must be a good one.
    pub fn told<A: AsRef<OsStr>>(
        &self,
        script: &str,
        args: impl IntoIterator<Item = A>,
    ) -> String {
        self.start(script, args).finish()
    }
}

/// Runs a command of the set-up to its end.
pub fn done(what: &str, command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{what}: {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {command:?}: {said}");
}

/// A process of somebody else's: spoken to by lines, ended with its owner.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    says: Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Peer {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (line, says) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            // Nobody may be listening any more.
            out.lines().map_while(Result::ok).try_for_each(|it| line.send(it)).ok()
        });
        let log = Arc::new(Mutex::new(String::new()));
        follow(child.stderr.take().unwrap(), log.clone());
        let input = child.stdin.take();
        Self { child, input, says, log }
    }

    /// The next line that it says.
    pub fn line(&mut self) -> String {
        let line = self.says.recv_timeout(PATIENCE);
        line.unwrap_or_else(|error| panic!("no line: {error}; {}", self.log()))
    }

    /// The next line, a port of this machine.
    pub fn port(&mut self) -> u16 {
        let line = self.line();
        line.trim().parse().unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Tells it a line.
    pub fn hear(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Closes its input, waits for its end, which must be a good one, and returns what it
    /// said since the last line.
    pub fn finish(mut self) -> String {
        drop(self.input.take());
        let begun = Instant::now();
        let mut text = String::new();
        loop {
            match self.says.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(line) => writeln!(text, "{line}").unwrap(),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it runs on: {}", self.log()),
            }
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        text
    }

    /// What it has written to its standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What stands between `sign` and the next blank in its log, when it does.
    pub fn says(&self, sign: &str) -> String {
        wait::eventually(&format!("it says {sign:?}"), PATIENCE, || {
            let log = self.log();
            let (_, rest) = log.split_once(sign)?;
            rest.split_once(char::is_whitespace).map(|(word, _)| word.to_owned())
        })
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        // One that has ended already cannot be killed, and is waited for all the same.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- a peer's log ---\n{}", self.log());
        }
    }
}

fn follow(from: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            if log.len() < LOG_MAX {
                log.push_str(&line);
                log.push('\n');
            }
        }
    });
}

const LOG_MAX: usize = 100_000;
/// How long a peer may take for anything, on a full machine.
const PATIENCE: Duration = Duration::from_secs(600);
