//! `Refusals`: calls that were turned down, on their way to the audit log.
//!
//! Apart from the answers because of their pace: whoever sends a thousand wrong tokens must
//! not fill the log. Some are written one by one, the rest are counted, and the count is
//! written too.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::pace::{Bucket, Rate};
use super::wire::breaks_lines;
use crate::control::{ControlHandle, Refused};
use crate::vocab::ids::Operator;

/// What is known of a call while it is looked at.
#[derive(Debug)]
pub(super) struct Call {
    /// Who, once a credential said so.
    pub(super) operator: Option<Operator>,
    /// The method, if it is a known one.
    pub(super) method: &'static str,
    /// The pattern that its path fits.
    pub(super) pattern: &'static str,
    /// From where.
    pub(super) peer: SocketAddr,
}

/// Gives refused calls to the control loop, at a bounded pace.
#[derive(Debug)]
pub(super) struct Refusals {
    handle: ControlHandle,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    /// The last one that was only counted, and how many before it were.
    unsaid: Option<(Refused, u64)>,
}

impl Refusals {
    pub(super) fn new(handle: ControlHandle) -> Self {
        let state = State { bucket: Bucket::new(RATE), unsaid: None };
        Self { handle, state: Mutex::new(state) }
    }

    /// Has a refusal written down, or counted when there are too many.
    pub(super) fn tell(&self, call: &Call, status: u16, why: &str) {
        let refused = Refused {
            operator: call.operator.clone(),
            method: call.method.to_owned(),
            path: call.pattern,
            status,
            why: plain(why),
            peer: Some(call.peer),
            more: 0,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.unsaid.take().map_or(0, |(_, before)| before + 1);
        let told = state.bucket.take().is_ok()
            && self.handle.refused(Refused { more: before, ..refused.clone() }).is_ok();
        if !told {
            state.unsaid = Some((refused, before));
        }
    }

    /// Writes the count of those that were only counted.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((last, before)) = state.unsaid.take() else { return };
        if self.handle.refused(Refused { more: before, ..last.clone() }).is_err() {
            state.unsaid = Some((last, before));
        }
    }

    /// Does so from time to time for as long as this is polled.
    pub(super) async fn keep_flushing(&self) {
        let mut every = interval(FLUSH);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.flush();
        }
    }
}

/// One bounded line without anything that moves a cursor.
fn plain(why: &str) -> String {
    let cut = why.chars().take(WHY_CHARS);
    cut.map(|c| if breaks_lines(c) { ' ' } else { c }).collect()
}

/// Refusals that are written one by one: enough to see who tries what.
const RATE: Rate = Rate { at_once: 20, a_second: 1 };
/// How long a count waits to be written.
const FLUSH: Duration = Duration::from_secs(5);
const WHY_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Call, Refusals};
    use crate::control::{StatusView, fake};

    #[tokio::test(start_paused = true)]
    async fn a_thousand_refusals_are_some_lines_and_the_count_of_the_rest() {
        let (handle, orders) = fake(StatusView::default());
        let refusals = Refusals::new(handle);
        let call = Call {
            operator: None,
            method: "POST",
            pattern: "/api/v1/quarantine/release",
            peer: ([127, 0, 0, 1], 1).into(),
        };
        for _ in 0..1_000 {
            refusals.tell(&call, 401, "no operator has this token\n\u{1b}[2J");
        }
        advance(Duration::from_secs(1)).await;
        refusals.tell(&call, 401, "again");
        refusals.flush();
        for _ in 0..5 {
            refusals.tell(&call, 401, "and again");
        }
        refusals.flush();
        refusals.flush();
        tokio::task::yield_now().await;
        let lines = orders.lock().unwrap().clone();
        let line = "refused POST /api/v1/quarantine/release 401 nobody";
        assert_eq!(lines[..20], vec![format!("{line} +0"); 20]);
        assert_eq!(lines[20..], [format!("{line} +980"), format!("{line} +4")]);
    }

    #[test]
    fn what_is_said_is_one_plain_bounded_line() {
        assert_eq!(super::plain("a\nb\u{1b}[2J\u{202e}c"), "a b [2J c");
        assert_eq!(super::plain(&"ü".repeat(900)).chars().count(), 200);
    }
}
