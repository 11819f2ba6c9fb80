//! The callers: keep-alive connections over real sockets that ask at a steady pace, check
//! every answer and keep books of their own.
//!
//! They are apart because they must not know the proxy's mind: all they know of it is the
//! address and the headers that any caller sees.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::model::{INFER_PATH, QUESTIONS, Question, question, species_of};
use super::socket::Socket;
use crate::clock;
use crate::tasks;
use crate::vocab::time::Timestamp;

/// How much the callers ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Callers, each with a connection of its own.
    pub(super) callers: u32,
    /// Between two questions of one caller. One that waits for a late answer asks less.
    pub(super) pace: Duration,
}

/// What the callers saw so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    /// Right answers from a server, by the version that `x-model-version` names.
    pub(super) fresh: BTreeMap<String, u64>,
    /// Those among them that another version had failed before.
    pub(super) rescued: u64,
    /// Those among them that took longer than [`LATE`].
    pub(super) late: u64,
    /// Right answers from the cache, with the banner.
    pub(super) cached: u64,
    /// When the first of these came.
    pub(super) first_cached: Option<Timestamp>,
    /// Everything else, by what was wrong.
    pub(super) failed: BTreeMap<String, u64>,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Callers at work.
#[derive(Debug)]
pub(super) struct Clients {
    books: Rc<RefCell<Books>>,
    rest: watch::Sender<bool>,
    hands: Vec<JoinHandle<()>>,
}

impl Books {
    /// Right answers from servers.
    pub(super) fn answered(&self) -> u64 {
        self.fresh.values().sum()
    }

    /// Right answers from the servers of that version.
    pub(super) fn answered_by(&self, version: &str) -> u64 {
        self.fresh.get(version).copied().unwrap_or(0)
    }

    /// Requests that did not get a right answer.
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// All requests that have ended.
    pub(super) fn ended(&self) -> u64 {
        self.answered() + self.cached + self.failures()
    }

    /// Enters one request that ended.
    fn enter(&mut self, seen: Seen, took: Duration) {
        match seen {
            Seen::Fresh { version, rescued } => {
                count(&mut self.fresh, version);
                self.rescued += u64::from(rescued);
                self.late += u64::from(took > LATE);
            }
            Seen::Cached => {
                self.cached += 1;
                self.first_cached = self.first_cached.or_else(|| Some(clock::wall()));
            }
            Seen::Failed(why) => count(&mut self.failed, why),
        }
    }
}

impl Clients {
    /// Lets the callers begin, evenly spread over their pace. Must be called within a
    /// `LocalSet`.
    pub(super) fn start(to: SocketAddr, load: Load) -> Self {
        let books = Rc::new(RefCell::new(Books::default()));
        let (rest, resting) = watch::channel(false);
        let hands = (0..load.callers)
            .map(|number| {
                let delay = load.pace * number / load.callers.max(1);
                let work = Caller { to, books: Rc::clone(&books), line: None };
                tasks::local(
                    "caller",
                    work.keep_asking(delay, load.pace, resting.clone()),
                )
            })
            .collect();
        Self { books, rest, hands }
    }

    /// What they saw so far.
    pub(super) fn books(&self) -> Books {
        self.books.borrow().clone()
    }

    /// Lets every caller wait for its last answer, and gives the final books.
    pub(super) async fn finish(self) -> Books {
        self.rest.send_replace(true);
        for hand in self.hands {
            // A caller that panicked has said so in the log; its books are still here.
            drop(hand.await);
        }
        self.books.take()
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn ask_once(to: SocketAddr, asked: &Question) -> Result<Reply, String> {
    let mut caller = Caller { to, books: Rc::default(), line: None };
    caller.ask(asked).await
}

struct Caller {
    to: SocketAddr,
    books: Rc<RefCell<Books>>,
    line: Option<SendRequest<Full<Bytes>>>,
}

/// How a request ended, in a caller's eyes.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Fresh { version: String, rescued: bool },
    Cached,
    Failed(String),
}

impl Caller {
    async fn keep_asking(
        mut self,
        delay: Duration,
        pace: Duration,
        mut resting: watch::Receiver<bool>,
    ) {
        let mut beat = tokio::time::interval_at(clock::now() + delay, pace);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                _ = resting.wait_for(|rest| *rest) => return,
                _ = beat.tick() => {}
            }
            let asked = question(fastrand::usize(..QUESTIONS));
            let began = clock::now();
            let seen = match self.ask(&asked).await {
                Ok(reply) => judge(&reply, &asked),
                Err(why) => Seen::Failed(why),
            };
            self.books.borrow_mut().enter(seen, began.elapsed());
        }
    }

    async fn ask(&mut self, asked: &Question) -> Result<Reply, String> {
        match tokio::time::timeout(PATIENCE, self.exchange(asked)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(why)) => {
                self.line = None;
                Err(why)
            }
            Err(_) => {
                self.line = None;
                Err(format!("no answer within {} s", PATIENCE.as_secs()))
            }
        }
    }

    async fn exchange(&mut self, asked: &Question) -> Result<Reply, String> {
        let mut line = match self.line.take() {
            Some(line) if !line.is_closed() => line,
            _ => dial(self.to).await?,
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(INFER_PATH)
            .header(header::HOST, self.to.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(asked.body.clone()))
            .map_err(|error| error.to_string())?;
        line.ready().await.map_err(|error| format!("connection lost: {error}"))?;
        let reply = line
            .send_request(request)
            .await
            .map_err(|error| format!("no answer: {error}"))?;
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| format!("answer cut short: {error}"))?
            .to_bytes();
        self.line = Some(line);
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }
}

async fn dial(to: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let no_connection = |error: std::io::Error| format!("no connection: {error}");
    let stream = TcpStream::connect(to).await.map_err(no_connection)?;
    let socket = Socket::new(stream).map_err(no_connection)?;
    let (line, connection) = http1::handshake(socket)
        .await
        .map_err(|error| format!("no connection: {error}"))?;
    tasks::local("caller's connection", async move {
        // How it ended is told to the request that was on it.
        drop(connection.await);
    });
    Ok(line)
}

fn judge(reply: &Reply, asked: &Question) -> Seen {
    if reply.status != 200 {
        let ours = reply.header("proxy-status").map(|why| format!(" ({why})"));
        return Seen::Failed(format!(
            "status {}{}",
            reply.status,
            ours.unwrap_or_default()
        ));
    }
    if species_of(&reply.body).as_deref() != Some(asked.species) {
        return Seen::Failed("a wrong answer".to_owned());
    }
    let Some(version) = reply.header("x-model-version") else {
        return Seen::Failed("an answer without x-model-version".to_owned());
    };
    match (reply.is_from_cache(), reply.has_banner()) {
        (true, true) => Seen::Cached,
        (true, false) => {
            Seen::Failed("an answer from the cache without the banner".to_owned())
        }
        (false, _) => Seen::Fresh {
            version: version.to_owned(),
            rescued: reply.header("x-switchback-reason") == Some("rescue"),
        },
    }
}

impl Reply {
    /// The text of that header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn is_from_cache(&self) -> bool {
        let status = self.header("cache-status").unwrap_or_default();
        status.split(';').any(|part| part.trim() == "hit")
    }

    fn has_banner(&self) -> bool {
        self.headers.contains_key("x-service-degraded")
    }
}

fn count(kinds: &mut BTreeMap<String, u64>, kind: String) {
    let kind = if kinds.len() < MOST_KINDS || kinds.contains_key(&kind) {
        kind
    } else {
        "other".to_owned()
    };
    *kinds.entry(kind).or_default() += 1;
}

/// How long a caller waits for an answer before it calls it failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer that took longer than this is counted as late: the demo's limit for p99.
pub(super) const LATE: Duration = Duration::from_millis(800);

/// Bytes of an answer's body.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Different failures that are told apart.
const MOST_KINDS: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Books, Clients, Load, MOST_KINDS, Reply, Seen, count, judge};
    use crate::demo::model::{answer, question};
    use crate::demo::model_server::{Mode, ModelServer};
    use crate::demo::testing::on_local_runtime;

    fn reply(status: u16, headers: &[(&'static str, &'static str)]) -> Reply {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect();
        Reply { status, headers, body: answer(&question(0).body, "v1").unwrap() }
    }

    #[test]
    fn an_answer_is_judged_by_what_a_caller_can_see() {
        let named = ("x-model-version", "v1");
        let fresh = |rescued| Seen::Fresh { version: "v1".to_owned(), rescued };
        let failed = |why: &str| Seen::Failed(why.to_owned());
        let hit = ("cache-status", "switchback; hit; ttl=3590");
        for (headers, seen) in [
            (vec![named], fresh(false)),
            (vec![named, ("x-switchback-reason", "rescue")], fresh(true)),
            (vec![named, ("x-switchback-reason", "split")], fresh(false)),
            (vec![named, ("cache-status", "switchback; fwd=miss")], fresh(false)),
            (vec![named, hit, ("x-service-degraded", "cached")], Seen::Cached),
            (vec![named, hit], failed("an answer from the cache without the banner")),
            (vec![], failed("an answer without x-model-version")),
        ] {
            assert_eq!(judge(&reply(200, &headers), &question(0)), seen, "{headers:?}");
        }
        let wrong = judge(&reply(200, &[named]), &question(1));
        assert_eq!(wrong, failed("a wrong answer"));
        let refused =
            reply(503, &[("proxy-status", "switchback; error=connection_refused")]);
        assert_eq!(
            judge(&refused, &question(0)),
            failed("status 503 (switchback; error=connection_refused)")
        );
    }

    #[test]
    fn books_add_up_and_do_not_grow_without_end() {
        let mut books = Books::default();
        let fresh = |rescued| Seen::Fresh { version: "v1".to_owned(), rescued };
        books.enter(fresh(false), Duration::ZERO);
        books.enter(fresh(true), Duration::from_secs(1));
        books.enter(Seen::Cached, Duration::ZERO);
        for number in 0..100 {
            books.enter(Seen::Failed(format!("kind {number}")), Duration::ZERO);
        }
        assert_eq!((books.answered(), books.rescued, books.late), (2, 1, 1));
        assert_eq!((books.answered_by("v1"), books.answered_by("v2")), (2, 0));
        assert_eq!((books.cached, books.failures(), books.ended()), (1, 100, 103));
        assert_eq!(books.failed.len(), MOST_KINDS + 1);
        assert!(books.first_cached.is_some());
        count(&mut books.failed, "kind 0".to_owned());
        assert_eq!(books.failed["kind 0"], 2);
    }

    #[test]
    fn callers_ask_real_servers_and_count_what_ended() {
        on_local_runtime(async {
            let server = ModelServer::start("v1").await.unwrap();
            server.switch(Mode::Failing);
            let load = Load { callers: 8, pace: Duration::from_millis(10) };
            let clients = Clients::start(server.address(), load);
            while clients.books().failures() < 50 {
                tokio::task::yield_now().await;
            }
            server.switch(Mode::Down);
            while !clients
                .books()
                .failed
                .keys()
                .any(|why| why.starts_with("no connection"))
            {
                tokio::task::yield_now().await;
            }
            let books = clients.finish().await;
            assert!(books.failed["status 500"] >= 42, "{books:?}");
            assert_eq!((books.answered(), books.cached), (0, 0), "{books:?}");
        });
    }
}
