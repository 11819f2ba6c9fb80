//! `Credit`: what a peer may still do on an HTTP/2 connection without its leading to
//! anything. Apart from the sentry, which sees frames, because this says what each is worth.
//!
//! # Resets
//! A caller that opens streams and resets them at once has work begun that nobody wants
//! (CVE-2023-44487), and goes round the bound on concurrent streams. One that resets what has
//! lived for [`LIVED`] does not: each such stream took up a place all the while. So these cost
//! nothing, however many end when somebody closes a page, and the others cost [`RESET`], of
//! which each answer that was begun earns five back.
//!
//! # Small pieces
//! HTTP/2 bounds what is held of small `DATA` frames that nobody has read. Those that are
//! read at once cost a turn of the whole proxy each, for a byte or two: they have a budget of
//! their own, far above what a stream of messages or tokens is.

use tokio::time::Instant;

use super::frames::{Head, kind};
use crate::clock;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A caller.
    Caller,
    /// A server.
    Server,
}

/// What a peer may still do.
#[derive(Debug)]
pub(super) struct Credit {
    peer: Peer,
    all: Purse,
    tiny: Purse,
    faults: Purse,
    /// Streams that a caller opened and nobody has ended, as far as frames say.
    open: u32,
    /// When which stream was the latest, at least [`BETWEEN`] apart; oldest first.
    marks: [Option<(Instant, u32)>; MARKS],
}

/// Something that is spent, earned, and given back by time.
#[derive(Debug)]
struct Purse {
    left: i64,
    most: i64,
    /// What a second gives back.
    back: i64,
    /// When time last gave some back.
    since: Instant,
}

impl Credit {
    /// All that a peer may have.
    pub(super) fn new(peer: Peer) -> Self {
        let since = clock::now();
        let purse = |most, back| Purse { left: most, most, back, since };
        Self {
            peer,
            all: purse(CREDIT, BACK),
            tiny: purse(PIECES, PIECES_BACK),
            faults: purse(WRONG, WRONG_BACK),
            open: 0,
            marks: [None; MARKS],
        }
    }

    /// A frame came; `false` when that was one too many. `is_new` says that it opens a stream.
    pub(super) fn came(&mut self, head: Head, is_new: bool) -> bool {
        let ends = head.has(END_STREAM);
        match (self.peer, head.kind) {
            (_, kind::DATA) if head.length > 0 || ends => {
                ends || head.length >= TINY || self.tiny.spend(1)
            }
            (Peer::Caller, kind::HEADERS) => {
                if is_new {
                    self.open = self.open.saturating_add(1);
                    self.mark(head.stream);
                }
                true
            }
            // A server that says "wait" without end; an answer and its trailers are paid for.
            (Peer::Server, kind::HEADERS) => self.all.spend(5),
            (_, kind::WINDOW_UPDATE | kind::CONTINUATION) if head.length > 0 => {
                self.all.spend(1)
            }
            (Peer::Caller, kind::RST_STREAM) => {
                let lived = self.open > 0 && self.has_lived(head.stream);
                self.open = self.open.saturating_sub(1);
                lived || self.all.spend(RESET)
            }
            (_, kind::RST_STREAM | kind::SETTINGS | kind::DATA | kind::CONTINUATION) => {
                self.all.spend(RESET)
            }
            // Pings and priorities, and kinds that nobody knows.
            _ => self.all.spend(5),
        }
    }

    /// A frame went: it earns the peer as many window updates as any implementation sends
    /// for it, and more for an answer or a request. `false` when it is the answer to one
    /// fault too many.
    pub(super) fn went(&mut self, head: Head) -> bool {
        let caller = self.peer == Peer::Caller;
        if caller && (head.has(END_STREAM) && is_of_answer(head) || is_reset(head)) {
            self.open = self.open.saturating_sub(1);
        }
        match head.kind {
            kind::DATA => self.all.earn(3 + i64::from(head.length / 2048)),
            kind::HEADERS => self.all.earn(ANSWER),
            // What the caller did wrong (CVE-2025-8671).
            kind::RST_STREAM if caller && FAULTS.contains(&head.code) => {
                return self.faults.spend(1);
            }
            _ => {}
        }
        true
    }

    /// Remembers when the stream was opened.
    fn mark(&mut self, stream: u32) {
        let now = clock::now();
        let last = self.marks[MARKS - 1];
        if last.is_none_or(|(at, _)| now.saturating_duration_since(at) >= BETWEEN) {
            self.marks.rotate_left(1);
            self.marks[MARKS - 1] = Some((now, stream));
        } else if let Some((_, latest)) = &mut self.marks[MARKS - 1] {
            // Taken for as old as the first of its time: a quarter of a second is no matter.
            *latest = stream.max(*latest);
        }
    }

    fn has_lived(&self, stream: u32) -> bool {
        let now = clock::now();
        let mut marks = self.marks.iter().flatten();
        marks.any(|(at, latest)| {
            stream <= *latest && now.saturating_duration_since(*at) >= LIVED
        })
    }
}

impl Purse {
    /// Takes `cost`; `false` when there is not enough. The clock is read only then.
    fn spend(&mut self, cost: i64) -> bool {
        self.left -= cost;
        if self.left >= 0 {
            return true;
        }
        let now = clock::now();
        let millis = now.saturating_duration_since(self.since).as_millis();
        let millis = i64::try_from(millis).unwrap_or(LONG).min(LONG);
        self.since = now;
        self.earn(millis * self.back / 1000);
        self.left >= 0
    }

    fn earn(&mut self, worth: i64) {
        self.left = (self.left + worth).min(self.most);
    }
}

fn is_of_answer(head: Head) -> bool {
    matches!(head.kind, kind::DATA | kind::HEADERS)
}

fn is_reset(head: Head) -> bool {
    head.kind == kind::RST_STREAM
}

/// Two hundred resets or settings at once, four hundred pings, two thousand window updates.
const CREDIT: i64 = 2_000;
/// Credit that a second gives back.
const BACK: i64 = 200;
/// What a reset costs of a stream that has not lived.
const RESET: i64 = 10;
/// What a head to the peer earns it.
const ANSWER: i64 = 50;
/// `DATA` frames of less than this have a budget of their own: it is what four bytes and the
/// frame of a message are.
const TINY: u32 = 10;
/// So many of them at once,
const PIECES: i64 = 16_384;
/// and so many a second for good.
const PIECES_BACK: i64 = 4_096;
/// What a caller may do wrong at once,
const WRONG: i64 = 200;
/// and a second for good.
const WRONG_BACK: i64 = 2;
/// Milliseconds of which time gives something back, at most.
const LONG: i64 = 60_000;
/// For so long a stream has to live that its end costs nothing.
const LIVED: std::time::Duration = std::time::Duration::from_secs(1);
/// Between two marks: together they reach back further than [`LIVED`].
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(250);
const MARKS: usize = 6;
/// Codes of resets that answer a peer's fault: protocol, flow control, a closed stream, a
/// frame's size, a stream too many, compression.
const FAULTS: [u32; 6] = [1, 3, 5, 6, 7, 9];
pub(super) const END_STREAM: u8 = 0x1;

#[cfg(test)]
#[path = "credit_tests.rs"]
mod tests;
