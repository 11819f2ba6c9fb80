//! The real binary on real loopback sockets: started with a configuration, watched through
//! its admin address, its log and `/proc`, and ended with the test.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answer, Request};
use super::config::Config;
use super::metrics::Metrics;
use super::wait::{self, SOON};

/// A running proxy.
#[derive(Debug)]
pub struct Street {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    dir: Dir,
    /// Where it takes requests.
    pub http: SocketAddr,
    /// Where it takes orders.
    pub admin: SocketAddr,
}

/// A directory that is gone when its owner is.
#[derive(Debug)]
pub struct Dir(PathBuf);

impl Dir {
    /// An empty directory below the build's own.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("it-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A test that removed it has done this already.
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// Runs the binary to its end and returns what it said.
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    Command::new(binary()).args(args).stdin(Stdio::null()).output().unwrap()
}

impl Street {
    /// Starts the proxy and waits until it listens.
    pub fn open(config: &Config) -> Self {
        let dir = Dir::new();
        dir.write("switchback.yaml", &config.yaml(dir.path()));
        Self::start(dir, "switchback.yaml")
    }

    /// Starts it with so many file descriptors and no more.
    pub fn open_with_files(config: &Config, files: u32) -> Self {
        let dir = Dir::new();
        dir.write("switchback.yaml", &config.yaml(dir.path()));
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "sh"]);
        command.arg(files.to_string()).arg(binary());
        Self::run(command, dir, "switchback.yaml")
    }

    /// Starts it with a file system of that size of its own for a directory in `dir`, which
    /// goes with the process.
    pub fn start_on_small_disk(dir: Dir, place: &str, size: &str) -> Self {
        let script =
            "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && shift 2 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, "sh", size]);
        command.arg(dir.path().join(place)).arg(BINARY);
        Self::run(command, dir, "switchback.yaml")
    }

    /// Starts it on a file that already stands in `dir`.
    pub fn start(dir: Dir, file: &str) -> Self {
        Self::run(Command::new(binary()), dir, file)
    }

    fn run(mut command: Command, dir: Dir, file: &str) -> Self {
        let mut child = command
            .args(["run", "--config"])
            .arg(dir.path().join(file))
            // A trace of the stack would read the symbols, which are ten times the memory
            // that some tests watch.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        follow(child.stdout.take().unwrap(), log.clone());
        follow(child.stderr.take().unwrap(), log.clone());
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut street = Self { child, log, dir, http: nowhere, admin: nowhere };
        (street.http, street.admin) = street.wait_listening();
        street
    }

    fn wait_listening(&mut self) -> (SocketAddr, SocketAddr) {
        wait::eventually("the proxy says where it listens", SOON, || {
            let at = |name| {
                let sign = format!("listening name={name} address=");
                let log = self.log.lock().unwrap();
                log.iter().find_map(|line| line.strip_prefix(&sign)?.trim().parse().ok())
            };
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the proxy ended with {status} at its start:\n{}", self.log());
            }
            Some((at("http")?, at("admin")?))
        })
    }

    /// Starts again on the same directory, after a kill.
    pub fn again(mut self) -> Self {
        self.kill();
        let dir = std::mem::replace(&mut self.dir, Dir(PathBuf::new()));
        Self::start(dir, "switchback.yaml")
    }

    /// Its directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Puts another configuration in the place of the file.
    pub fn rewrite(&self, config: &Config) {
        let text = config.yaml(self.dir.path());
        let next = self.dir.write("next.yaml", &text);
        fs::rename(next, self.dir.path().join("switchback.yaml")).unwrap();
    }

    /// Asks the proxy.
    pub fn ask(&self, request: &Request) -> Answer {
        request.ask(self.http)
    }

    /// Asks the admin address.
    pub fn admin(&self, request: Request) -> Answer {
        request.host("127.0.0.1").ask(self.admin)
    }

    /// What an operator sees.
    pub fn status(&self) -> Value {
        let answer = self.admin(Request::get("/api/v1/status"));
        assert_eq!(answer.status, 200, "status: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// What an operator sees of one version.
    pub fn version(&self, name: &str) -> Value {
        let status = self.status();
        let routes = status["routes"].as_array().unwrap();
        let mut versions = routes.iter().flat_map(|r| r["versions"].as_array().unwrap());
        let found = versions.find(|version| version["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("no version {name} in {status:#}"))
    }

    /// All metrics.
    pub fn metrics(&self) -> Metrics {
        let answer = self.admin(Request::get("/metrics"));
        assert_eq!(answer.status, 200, "metrics: {}", answer.text());
        Metrics::parse(&answer.text())
    }

    /// How an order for another weight is written.
    pub fn weight_order(route: &str, version: &str, weight: f64) -> Request {
        let order = json!({ "version": version, "weight": weight, "reason": "a test" });
        Request::post(&format!("/api/v1/routes/{route}/weight"), order.to_string())
            .field("content-type", "application/json")
            .host("127.0.0.1")
    }

    /// Waits until that version has lost its traffic for good and its drain is reported.
    pub fn rolled_back(&self, version: &str) {
        let what = format!("{version} is rolled back and drained");
        wait::eventually(&what, SOON, || {
            let done = self.metrics().sum("rollback_completed_total", &[]) >= 1.0;
            let state = self.version(version)["state"] == "quarantined";
            (done && state).then_some(())
        });
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends it a signal by its name.
    pub fn signal(&self, name: &str) {
        let order = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &order]).status().unwrap();
        assert!(sent.success(), "{order}: {sent}");
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        // One that has ended already cannot be killed, and is waited for all the same.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn ends(&mut self, within: Duration) -> ExitStatus {
        wait::eventually("the proxy ends", within, || self.child.try_wait().unwrap())
    }

    /// Whether it still runs.
    pub fn is_up(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits until it writes that.
    pub fn says(&self, text: &str) {
        wait::eventually(&format!("the log says {text:?}"), SOON, || {
            self.log().contains(text).then_some(())
        });
    }

    /// Fails when a request panicked or a plain one is not answered at once.
    pub fn is_well(&self) {
        let log = self.log();
        assert!(!log.contains("panicked"), "a panic:\n{log}");
        let answer = self.ask(&Request::get("/well"));
        assert_eq!(answer.status, 200, "a plain request: {}", answer.text());
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- the proxy's last words ---\n{tail}\n---");
        }
    }
}

/// Collects the lines of one of the child's outputs.
fn follow(from: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            if log.len() < LOG_LINES_MAX {
                log.push(line);
            }
        }
    });
}

/// The program under test, or the one that is to be tested in its place.
fn binary() -> OsString {
    std::env::var_os("SWITCHBACK_TEST_BINARY").unwrap_or_else(|| BINARY.into())
}

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_switchback");
const LOG_LINES_MAX: usize = 50_000;
