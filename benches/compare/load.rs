//! The load of the comparison, and the small measuring deeds around it.
//!
//! A program of its own because it must be pinned to another core than the proxy. Says what
//! it found on stdout as lines of `key value`, whole numbers only, for `run` to collect.
//!
//! ```text
//! load closed --to ADDR --shape NAME --connections N --seconds S --warmup S
//!             [--pids P,P] [--ours P,P] [--cores C,C] [--tls yes]
//! load open   … --rate R
//! load count  --to ADDR --shape NAME --connections N --answers N
//! load cert   --into DIRECTORY
//! load idle   --to ADDR --connections N,N --pids P,P
//! load first  --to ADDR --since MICROSECONDS_OF_THE_EPOCH
//! load ports  --connections N
//! ```

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "measures from outside; the product's clock is not its own"
)]

mod answers;
mod driver;
mod frames;
mod framing;
mod line;
mod multiplex;
mod secret;
mod shape;
mod streams;
mod tally;
mod watched;

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, SystemTime};

use shape::{Call, Shape};
use tally::{Pace, Plan, Report, text};

/// How long a proxy may take to give its first answer.
const START: Duration = Duration::from_secs(20);

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        // `cargo bench` calls every target; there is nothing to do alone.
        None | Some("--bench") => Ok(()),
        Some(what) => Wishes::parse(args)?.run(what),
    }
}

/// The options of the command line.
struct Wishes(HashMap<String, String>);

impl Wishes {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wishes = HashMap::new();
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            wishes.insert(name, value);
        }
        Ok(Self(wishes))
    }

    fn run(&self, what: &str) -> Result<(), String> {
        match what {
            "closed" | "open" | "count" => self.load(what),
            "idle" => self.idle(),
            "first" => self.first(),
            "ports" => self.ports(),
            "cert" => secret::write(Path::new(self.value("--into")?)),
            _ => Err(format!(
                "{what:?} is not one of closed, open, count, idle, first, ports, cert"
            )),
        }
    }

    fn load(&self, what: &str) -> Result<(), String> {
        let pace = match what {
            "count" => Pace::Count { answers: self.number("--answers")? },
            "open" => Pace::Open {
                rate: self.number("--rate")?,
                warmup: self.seconds("--warmup")?,
                window: self.seconds("--seconds")?,
            },
            _ => Pace::Closed {
                warmup: self.seconds("--warmup")?,
                window: self.seconds("--seconds")?,
            },
        };
        let plan = Plan {
            to: self.number("--to")?,
            connections: self.number("--connections")?,
            pace,
            tls: self.0.contains_key("--tls"),
            fresh: self.value("--shape")? == "once",
            pids: self.list("--pids")?,
            ours: self.list("--ours")?,
            cores: self.list("--cores")?,
        };
        let name = self.value("--shape")?;
        let report = match (Call::named(name), Shape::named(name)) {
            (Some(call), _) => multiplex::run(&plan, &call)?,
            (None, Some(shape)) if name == "sse" => streams::run(&plan, &shape)?,
            (None, Some(shape)) => driver::run(&plan, &shape)?,
            (None, None) => return Err(format!("--shape: there is no {name:?}")),
        };
        print(&report)
    }

    /// Memory before and with connections that have each had one answer and now rest.
    fn idle(&self) -> Result<(), String> {
        let (to, pids) = (self.number("--to")?, self.list("--pids")?);
        let shape = Shape::named("get").ok_or("no such shape")?;
        ask(to, &shape)?;
        say("rss_kib", watched::memory(&pids)?)?;
        let mut held = Vec::new();
        for stop in self.list("--connections")? {
            while held.len() < usize::try_from(stop).map_err(text)? {
                held.push(ask(to, &shape)?);
            }
            std::thread::sleep(Duration::from_millis(300));
            say(&format!("rss_{stop}_kib"), watched::memory(&pids)?)?;
        }
        Ok(())
    }

    /// Time from a moment to the first good answer.
    fn first(&self) -> Result<(), String> {
        let (to, since) = (self.number("--to")?, self.number("--since")?);
        let shape = Shape::named("get").ok_or("no such shape")?;
        let since = SystemTime::UNIX_EPOCH + Duration::from_micros(since);
        loop {
            let tried = ask(to, &shape);
            let passed = since.elapsed().map_err(text)?;
            match tried {
                Ok(_) => return say("first_us", passed.as_micros()),
                Err(error) if passed > START => {
                    return Err(format!("no answer from {to} in {START:?}: {error}"));
                }
                Err(_) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    /// Ports that are free now, for programs that cannot say which one they took.
    fn ports(&self) -> Result<(), String> {
        let mut held = Vec::new();
        for _ in 0..self.number("--connections")? {
            held.push(TcpListener::bind("127.0.0.1:0").map_err(text)?);
        }
        for listener in &held {
            say("port", listener.local_addr().map_err(text)?.port())?;
        }
        Ok(())
    }

    fn seconds(&self, name: &str) -> Result<Duration, String> {
        Duration::try_from_secs_f64(self.number(name)?)
            .map_err(|error| format!("{name}: {error}"))
    }

    /// Numbers with commas between them; none when the option is absent.
    fn list(&self, name: &str) -> Result<Vec<u32>, String> {
        let Some(list) = self.0.get(name) else { return Ok(Vec::new()) };
        list.split(',')
            .map(|one| one.parse().map_err(|_| format!("{name}: {one:?}")))
            .collect()
    }

    fn number<T: std::str::FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<T, String> {
        self.value(name)?.parse().map_err(|error| format!("{name}: {error}"))
    }

    fn value(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("{name} is missing"))
    }
}

/// One request on a connection of its own, which is handed back open.
fn ask(to: SocketAddr, shape: &Shape) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(to).map_err(text)?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(text)?;
    stream.write_all(&shape.request).map_err(text)?;
    let mut got = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(head) = framing::head(&got)
            && got.len() >= head.len + head.body
        {
            let good = got.starts_with(b"HTTP/1.1 200 ")
                && shape.answers.iter().any(|answer| *answer == got[head.len..]);
            let line = got.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return if good {
                Ok(stream)
            } else {
                Err(String::from_utf8_lossy(line).into())
            };
        }
        match stream.read(&mut part).map_err(text)? {
            0 => return Err("closed before a whole answer".into()),
            some => got.extend_from_slice(&part[..some]),
        }
    }
}

fn print(report: &Report) -> Result<(), String> {
    say("answers", report.answers)?;
    say("canary", report.canary)?;
    say("all", report.all)?;
    say("failed", report.failed)?;
    say("window_us", report.window.as_micros())?;
    say("cpu_ns", report.time.ran.as_nanos())?;
    say("rss_kib", report.memory)?;
    say("others_ns", report.others.as_nanos())?;
    say("wait_ns", report.time.waited.as_nanos())?;
    for (name, quantile) in [("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)] {
        say(name, report.latency.value_at_quantile(quantile))?;
    }
    if let Some(failure) = &report.failure {
        return writeln!(std::io::stderr(), "load: a request failed: {failure}")
            .map_err(text);
    }
    Ok(())
}

fn say(key: &str, value: impl Display) -> Result<(), String> {
    writeln!(std::io::stdout(), "{key} {value}").map_err(text)
}
