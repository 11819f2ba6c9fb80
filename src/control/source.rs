//! `Source`: where the loop gets the books from. The ledger of the workers in the program,
//! a list of tallies in tests.

use crate::measure::{Ledger, Tally, Tape};
use crate::vocab::ids::Slot;
use crate::vocab::outcome::Class;

/// Where books come from.
pub(super) trait Source: Send + 'static {
    /// Everybody's books since the last time, added up by version.
    fn collect(&mut self) -> impl Future<Output = Vec<(Slot, Tally)>> + Send;

    /// Takes a tally back, to be filled again.
    fn give_back(&mut self, tally: Tally);

    /// Requests since the start that belonged to no route, by [`Class::index`].
    fn unrouted(&self) -> [u64; Class::COUNT];

    /// Has every request noted from the next collection on.
    fn record(&mut self) {}

    /// What was noted since the last time; `None` when nothing is to be.
    fn tape(&mut self) -> Option<Tape> {
        None
    }
}

impl Source for Ledger {
    async fn collect(&mut self) -> Vec<(Slot, Tally)> {
        Self::collect(self).await
    }

    fn give_back(&mut self, tally: Tally) {
        Self::give_back(self, tally);
    }

    fn unrouted(&self) -> [u64; Class::COUNT] {
        Self::unrouted(self)
    }

    fn record(&mut self) {
        Self::record(self);
    }

    fn tape(&mut self) -> Option<Tape> {
        Self::tape(self)
    }
}
