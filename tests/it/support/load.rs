//! Many clients at once, each on a connection that it keeps, who count what they get.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Answer, Client, Request};
use super::http1::Broken;
use super::wait;

/// What to ask, how often and by how many.
#[derive(Clone, Debug)]
pub struct Load {
    address: SocketAddr,
    clients: u64,
    requests: u64,
    request: Request,
    pause: Duration,
}

/// Clients at work.
#[derive(Debug)]
pub struct Running {
    mood: Arc<AtomicU8>,
    sent: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Count>>,
}

/// What clients got.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// Whole answers below 400 by version and `x-switchback-reason`.
    pub good: BTreeMap<(String, String), u64>,
    /// Everything else, and what it was, up to a few.
    pub failed: u64,
    /// The first failures in words.
    pub failures: Vec<String>,
    /// The longest wait for an answer.
    pub longest: Duration,
    /// Connections that the proxy announced to close, or refused after it was told to stop.
    pub sent_away: u64,
}

impl Load {
    /// Inferences by 8 clients until they are stopped.
    pub fn new(address: SocketAddr) -> Self {
        let request = Request::infer("{\"inputs\":[1,2,3]}");
        let pause = Duration::ZERO;
        Self { address, clients: 8, requests: u64::MAX, request, pause }
    }

    /// By so many clients.
    pub fn clients(self, clients: u64) -> Self {
        Self { clients, ..self }
    }

    /// So many requests in all.
    pub fn requests(self, requests: u64) -> Self {
        Self { requests, ..self }
    }

    /// Each client thinks so long between two requests.
    pub fn paced(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Of this kind.
    pub fn of(self, request: Request) -> Self {
        Self { request, ..self }
    }

    /// Sets the clients to work.
    pub fn start(self) -> Running {
        let mood = Arc::new(AtomicU8::new(EAGER));
        let sent = Arc::new(AtomicU64::new(0));
        let begin = |_| {
            let (load, mood, sent) = (self.clone(), mood.clone(), sent.clone());
            std::thread::spawn(move || load.work(&mood, &sent))
        };
        let clients = (0..self.clients).map(begin).collect();
        Running { mood, sent, clients }
    }

    /// Sets them to work and waits for the end.
    pub fn run(self) -> Count {
        self.start().finish()
    }

    fn work(&self, mood: &AtomicU8, sent: &AtomicU64) -> Count {
        let request = self.request.bytes();
        let mut count = Count::default();
        let mut line: Option<Client> = None;
        while mood.load(Ordering::Relaxed) != DONE
            && sent.fetch_add(1, Ordering::Relaxed) < self.requests
        {
            if !self.pause.is_zero() {
                wait::linger(self.pause);
            }
            let fresh = line.is_none();
            let kept = line.take().map_or_else(|| Client::try_new(self.address), Ok);
            let begun = Instant::now();
            let answer = match kept {
                Ok(mut client) => {
                    let answer = client.send(&request).answer();
                    line = Some(client);
                    answer
                }
                Err(_) => Err(Broken::Closed),
            };
            count.longest = count.longest.max(begun.elapsed());
            // A fresh connection may meet a listener that is about to close.
            let refused = matches!(answer, Err(Broken::Closed | Broken::Reset)) && fresh;
            if refused && mood.load(Ordering::Relaxed) != EAGER {
                count.sent_away += 1;
                return count;
            }
            count.take(&answer);
            if answer.is_err() || answer.is_ok_and(|a| a.field("connection") == "close") {
                count.sent_away += 1;
                line = None;
            }
        }
        count
    }
}

impl Running {
    /// How many requests were begun.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many were begun.
    pub fn reaches(&self, requests: u64) -> &Self {
        let what = format!("{requests} requests are sent");
        wait::eventually(&what, MINUTES, || (self.sent() >= requests).then_some(()));
        self
    }

    /// From now on a refused connection is the end of a client's work and no failure.
    pub fn expect_the_end(&self) {
        self.mood.store(LEAVING, Ordering::SeqCst);
    }

    /// Ends the clients' work.
    pub fn stop(self) -> Count {
        self.mood.store(DONE, Ordering::SeqCst);
        self.finish()
    }

    /// Waits for the clients and adds up what they got.
    pub fn finish(self) -> Count {
        self.each().into_iter().fold(Count::default(), Count::plus)
    }

    /// What each client got.
    pub fn each(self) -> Vec<Count> {
        self.clients.into_iter().map(|client| client.join().unwrap()).collect()
    }
}

impl Count {
    /// Good answers of that version.
    pub fn of(&self, version: &str) -> u64 {
        self.good.iter().filter(|((v, _), _)| v == version).map(|(_, n)| n).sum()
    }

    /// Good answers with that reason.
    pub fn with_reason(&self, reason: &str) -> u64 {
        self.good.iter().filter(|((_, r), _)| r == reason).map(|(_, n)| n).sum()
    }

    /// All good answers.
    pub fn all(&self) -> u64 {
        self.good.values().sum()
    }

    /// Fails when a client saw a failure.
    pub fn is_clean(&self) {
        assert!(
            self.failed == 0,
            "{} of {} requests failed, among them: {:#?}",
            self.failed,
            self.failed + self.all(),
            self.failures
        );
    }

    fn take(&mut self, answer: &Result<Answer, Broken>) {
        match answer {
            Ok(answer)
                if answer.status < 400 && answer.is_whole() && !ends_in_error(answer) =>
            {
                let key = (answer.version(), answer.field("x-switchback-reason"));
                *self.good.entry(key).or_default() += 1;
            }
            Ok(answer) => {
                let what = answer.head.raw.escape_ascii();
                self.fail(format!("{what} {} {:?}", answer.text(), answer.end));
            }
            Err(broken) => self.fail(format!("{broken:?} in place of an answer")),
        }
    }

    fn fail(&mut self, what: String) {
        self.failed += 1;
        if self.failures.len() < 5 {
            self.failures.push(what);
        }
    }

    fn plus(mut self, other: Self) -> Self {
        for (key, n) in other.good {
            *self.good.entry(key).or_default() += n;
        }
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(5);
        self.longest = self.longest.max(other.longest);
        self.sent_away += other.sent_away;
        self
    }
}

/// A stream of events with an error among them.
fn ends_in_error(answer: &Answer) -> bool {
    answer.field("content-type").starts_with("text/event-stream")
        && answer.text().contains("\"error\"")
}

/// Clients that ask on, that leave when they are sent away, and that have done their work.
const EAGER: u8 = 0;
const LEAVING: u8 = 1;
const DONE: u8 = 2;
const MINUTES: Duration = Duration::from_secs(600);
