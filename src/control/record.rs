//! `Recording`: what the workers noted, with names, on its way to the recorder.
//!
//! Apart from the loop, so that recording is one call a tick, and none when it is off.

use std::sync::Arc;
use std::time::Duration;

use super::seats::Seats;
use crate::measure::Tape;
use crate::route::RouteTable;
use crate::telemetry::Recorded;
use crate::trace::{Batch, Names, Recorder, Shares};
use crate::vocab::ids::Generation;
use crate::vocab::time::Timestamp;

/// A trace that is being recorded.
#[derive(Debug)]
pub(super) struct Recording {
    recorder: Recorder,
    names: Arc<Names>,
    /// The table that the names and the shares are of.
    generation: Option<Generation>,
    /// And the servers.
    renewals: u64,
    /// Shares that the recorder had no room for.
    unsaid: Option<Shares>,
    /// The last batch may have left lines that wait for the next one.
    waiting: bool,
    /// All that ended before this moment has been passed on.
    until: Timestamp,
}

impl Recording {
    pub(super) fn new(recorder: Recorder) -> Self {
        let (generation, renewals) = (None, 0);
        let (names, unsaid, waiting) = (Arc::default(), None, false);
        let until = Timestamp(0);
        Self { recorder, names, generation, renewals, unsaid, waiting, until }
    }

    /// Passes on what was noted. All that ended before `until` is in it or came earlier,
    /// unless a worker is late; `since` is when the table came into force.
    pub(super) fn take(
        &mut self,
        tape: Tape,
        until: Timestamp,
        seats: &Seats,
        (table, since): (&RouteTable, Timestamp),
    ) {
        let renewals = seats.registry().renewals();
        if self.renewals != renewals {
            self.renewals = renewals;
            self.names = Arc::new(names(seats));
        }
        if self.generation != Some(table.generation()) {
            self.generation = Some(table.generation());
            self.names = Arc::new(names(seats));
            self.unsaid = Some(shares(table, since));
        }
        let behind = Duration::from_millis(until.0.saturating_sub(self.until.0));
        if !tape.partial || behind > LATEST {
            self.until = until;
        }
        let mut waiting = !tape.entries.is_empty() || tape.partial;
        if let Some(shares) = self.unsaid.take() {
            self.unsaid = self.recorder.shares(shares).err();
            waiting = true;
        }
        if waiting || self.waiting || tape.lost > 0 {
            let Tape { entries, lost, partial: _ } = tape;
            let (names, until) = (Arc::clone(&self.names), self.until);
            self.recorder.batch(Batch { entries, lost, until, names });
        }
        self.waiting = waiting;
    }

    /// How it stands.
    pub(super) fn state(&self) -> Recorded {
        let state = self.recorder.state();
        let (written, lost) = (state.written, state.lost);
        Recorded { written, lost, is_failing: state.failing.is_some() }
    }

    /// Writes what is left.
    pub(super) async fn close(self) {
        if tokio::time::timeout(LAST_WORDS, self.recorder.close()).await.is_err() {
            tracing::error!("the disk is too slow: the end of the trace is lost");
        }
    }
}

/// What every slot is called, also those that are leaving.
fn names(seats: &Seats) -> Names {
    let mut names = Names::default();
    for (slot, seat) in seats.all() {
        let endpoints = seat.upstream.names_by_place();
        names.insert(slot, (&seat.label.route, &seat.label.version), &endpoints);
    }
    names
}

fn shares(table: &RouteTable, at: Timestamp) -> Shares {
    let routes = table.routes().iter().map(|route| {
        let versions = route.versions().iter();
        let shares =
            versions.map(|it| (it.name.clone(), route.share(it).percent())).collect();
        (route.name.clone(), shares)
    });
    Shares { at, routes: routes.collect() }
}

/// Lines wait no longer than this for a worker that is stuck.
const LATEST: Duration = Duration::from_secs(30);
/// How long the end waits for the disk.
const LAST_WORDS: Duration = Duration::from_secs(2);
