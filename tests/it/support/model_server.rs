//! A model server that behaves, or misbehaves, on cue. It judges what reaches it: a request
//! that the proxy must not have written so is a fault that [`ModelServer::faults`] tells.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http1::{Broken, Framing, Head, Pipe};

/// What a server does with one request.
pub type Script = Arc<dyn Fn(&Ask, &mut Line) -> Then + Send + Sync>;

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits for the next request.
    Keep,
    /// It is closed.
    Close,
    /// It is reset.
    Reset,
}

/// One request as it arrived; its body is still on the line.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its head.
    pub head: Head,
    /// How long its body is.
    pub framing: Framing,
    /// Which request of its connection it is, from 1.
    pub turn: u64,
}

impl Ask {
    /// Its method.
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// Its target.
    pub fn target(&self) -> &str {
        self.head.word(1)
    }
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct Line {
    /// The connection itself.
    pub pipe: Pipe,
    framing: Option<Framing>,
    head_only: bool,
}

impl Line {
    /// The request's body, read to its end.
    pub fn body(&mut self) -> Result<Vec<u8>, Broken> {
        let framing = self.framing.take().unwrap_or(Framing::Length(0));
        let (body, end) = self.pipe.body(framing);
        end.map(|_| body)
    }

    /// Says that the body was read by other means.
    pub fn body_is_read(&mut self) {
        self.framing = None;
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.pipe.send(bytes.as_ref())
    }

    /// Sends a whole answer of known length.
    pub fn reply(&mut self, status: u16, fields: &str, body: impl AsRef<[u8]>) -> Then {
        let body = body.as_ref();
        let mut answer = format!(
            "HTTP/1.1 {status} {}\r\n{fields}content-length: {}\r\n\r\n",
            if status < 400 { "OK" } else { "Oh No" },
            body.len(),
        )
        .into_bytes();
        // A large one is not copied: thousands may ask for it.
        let apart = body.len() > 64 * 1024 && !self.head_only;
        if !self.head_only && !apart {
            answer.extend_from_slice(body);
        }
        let sent = self.send(answer) && (!apart || self.send(body));
        if sent { Then::Keep } else { Then::Close }
    }

    /// Sends one chunk.
    pub fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk)
    }

    /// Whether the peer has closed its end, seen within the time given.
    pub fn peer_leaves(&mut self, within: Duration) -> bool {
        self.pipe.stream.set_read_timeout(Some(within)).unwrap();
        let gone = matches!(self.pipe.some(), Err(Broken::Closed | Broken::Reset));
        self.pipe.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        gone
    }
}

/// A server on a port of its own.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    up: AtomicBool,
    lines: Mutex<HashMap<u64, TcpStream>>,
    connections: AtomicU64,
    requests: AtomicU64,
    seen: Mutex<Vec<Ask>>,
    faults: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} requests", self.requests.load(Ordering::Relaxed))
    }
}

impl ModelServer {
    /// A server that follows the script.
    pub fn new(script: Script) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// A server at that address; port 0 is any.
    pub fn at(address: SocketAddr, script: Script) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            up: AtomicBool::new(true),
            lines: Mutex::default(),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            seen: Mutex::default(),
            faults: Mutex::default(),
        });
        let server = Self { address, shared };
        server.listen(listener);
        server
    }

    /// A server that answers everything with that model's name.
    pub fn good(model: &str) -> Self {
        Self::new(super::scripts::good(model))
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is, as `endpoints` writes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it follows another script.
    pub fn now(&self, script: Script) {
        *self.shared.script.lock().unwrap() = script;
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many connections stand.
    pub fn open_connections(&self) -> usize {
        self.shared.lines.lock().unwrap().len()
    }

    /// The last requests, up to a bound that no test of single requests reaches.
    pub fn seen(&self) -> Vec<Ask> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Forgets the requests that were seen.
    pub fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
    }

    /// The last request with that target.
    pub fn asked(&self, target: &str) -> Ask {
        let seen = self.seen();
        let found = seen.iter().rev().find(|ask| ask.target() == target);
        let targets = || seen.iter().map(|a| a.target().to_owned()).collect::<Vec<_>>();
        found.cloned().unwrap_or_else(|| panic!("no {target} among {:?}", targets()))
    }

    /// What the proxy wrote that it must not write.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }

    /// Goes away as a killed process does: nobody listens, every connection is reset.
    pub fn kill(&self) {
        if self.shared.up.swap(false, Ordering::SeqCst) {
            // The connection wakes the listener, which then sees that it is over.
            let woken = TcpStream::connect(self.address);
            drop(woken);
        }
        for line in self.shared.lines.lock().unwrap().values() {
            reset(line);
            // A peer that has gone already cannot be shut down again.
            line.shutdown(Shutdown::Both).unwrap_or_default();
        }
        super::wait::eventually("a killed server is gone", super::wait::SOON, || {
            TcpStream::connect(self.address).is_err().then_some(())
        });
    }

    /// Comes back on the same port.
    pub fn come_back(&self) {
        self.shared.up.store(true, Ordering::SeqCst);
        self.listen(TcpListener::bind(self.address).unwrap());
    }

    fn listen(&self, listener: TcpListener) {
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if !shared.up.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    Shared::welcome(&shared, stream);
                }
            }
        });
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill();
        }
    }
}

impl Shared {
    /// Serves a connection on a thread of its own.
    fn welcome(self: &Arc<Self>, stream: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        let twin = stream.try_clone().unwrap();
        self.lines.lock().unwrap().insert(number, twin);
        let shared = self.clone();
        std::thread::spawn(move || {
            shared.serve(stream);
            shared.lines.lock().unwrap().remove(&number);
        });
    }

    fn serve(&self, stream: TcpStream) {
        let mut line =
            Line { pipe: Pipe::new(stream, PATIENCE), framing: None, head_only: false };
        for turn in 1.. {
            let head = match line.pipe.head() {
                Ok(head) => head,
                Err(Broken::Garbage(what)) => return self.fault(what),
                Err(_) => return,
            };
            for fault in faults_of(&head) {
                self.fault(format!(
                    "{fault} in {:?}",
                    head.raw.escape_ascii().to_string()
                ));
            }
            let framing = match head.framing(Framing::Length(0)) {
                Ok(framing) => framing,
                Err(why) => return self.fault(why),
            };
            let ask = Ask { head, framing, turn };
            self.requests.fetch_add(1, Ordering::SeqCst);
            self.keep(&ask);
            line.framing = Some(framing);
            line.head_only = ask.method() == "HEAD";
            let script = self.script.lock().unwrap().clone();
            match script(&ask, &mut line) {
                Then::Keep if line.framing.is_none() || line.body().is_ok() => {}
                Then::Keep | Then::Close => return,
                Then::Reset => return reset(&line.pipe.stream),
            }
        }
    }

    fn keep(&self, ask: &Ask) {
        let mut seen = self.seen.lock().unwrap();
        if seen.len() < SEEN_MAX {
            seen.push(ask.clone());
        }
    }

    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }
}

/// What a proxy must not write to a server.
fn faults_of(head: &Head) -> Vec<String> {
    let mut faults = Vec::new();
    let mut claim = |holds: bool, what: &str| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    let words: Vec<&str> = head.first.split(' ').collect();
    claim(words.len() == 3 && words[2] == "HTTP/1.1", "the request line");
    claim(words.get(1).is_some_and(|t| t.starts_with('/') || *t == "*"), "the target");
    claim(head.all("host").len() == 1, "not exactly one host");
    claim(head.all("content-length").len() <= 1, "several lengths");
    let upgrades = head.field("upgrade");
    claim(upgrades.as_deref().is_none_or(|to| to == "websocket"), "an upgrade");
    for name in
        ["keep-alive", "proxy-connection", "proxy-authorization", "http2-settings"]
    {
        claim(head.all(name).is_empty(), name);
    }
    claim(head.field("te").is_none_or(|te| te == "trailers"), "te");
    let options = head.field("connection").unwrap_or_default().to_ascii_lowercase();
    let ours = ["", "close", "keep-alive", "te", "upgrade"];
    claim(options.split(',').all(|o| ours.contains(&o.trim())), "connection options");
    faults
}

/// Makes the close of a socket a reset.
pub fn reset(stream: &TcpStream) {
    let lingers = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    match lingers {
        Err(error) if error.kind() != ErrorKind::InvalidInput => {
            panic!("linger: {error}")
        }
        _ => {}
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
const SEEN_MAX: usize = 4096;
