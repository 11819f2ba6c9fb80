//! The control plane. It reads the books of the workers, judges every version on trial, and
//! writes the table that the data plane obeys; the two never call each other.
//!
//! # Life of a rollback
//! 1. `driver` ticks, the only place where time comes in, or a worker wakes it because what it
//!    saw should not wait, or an order arrives through the [`ControlHandle`]. The books are
//!    closed: every worker hands over what it counted, by version and by epoch.
//! 2. `trials` gives the sums to the [`Trial`](crate::judge::trial::Trial) of every version,
//!    each with the chance (`epochs`) by which its requests were placed; the baseline of the
//!    route learns from stable's. `observe` asks each trial for its verdict, with the readings
//!    of the windows beside it.
//! 3. A first verdict is a **protect** (`guard`): a table is published in which the version has
//!    no users, and copies of requests (`copies`) or a trickle go on testing it. The entry is
//!    written down at once, so that a restart begins under protect. Sums of requests that were
//!    placed before do not count any more.
//! 4. From there the trial resumes (users are back), holds (an operator decides), or confirms.
//!    With `confirm: off`, and for rules of the window and of health, the first verdict is
//!    final.
//! 5. A final verdict begins a [`Rollback`](crate::rollout::Rollback): a pure machine,
//!    which answers each event with commands.
//! 6. `execute` carries them out in order. **Replace**: a table in which the version takes
//!    nothing is published; new requests are on stable from that instant, and nothing else
//!    is needed for users to be safe. The version's kept answers are dropped.
//! 7. **Quarantine**: in memory at once, on disk by the `scribe`, who tries until the disk
//!    takes it. The loop never waits for a disk. The protect it grew from has ended.
//! 8. **Drain**: a task looks at the requests in flight until there are none or the time is
//!    over. What is left is reported; it may finish up to the cap, or is cut.
//! 9. Each deed comes back as an event and goes through the machine again, until **Notify**
//!    says that it is over. `history` keeps the record with the evidence it rested on, `view`
//!    shows it, `why` explains it.
//!
//! # Life of a reload
//! `plan` makes the next table from the settings and changes nothing yet: a version whose
//! build and servers are the same keeps its slot, and with it window, sums and health; what
//! is in quarantine stays there, and what is under protect too, unless it is another build;
//! a weight that an operator gave stays until the configuration says another. Then the new
//! servers are seated, the table is published, and what it no longer names leaves as its last
//! request ends. A trial goes on where its rules and slots are the same, and begins anew
//! elsewhere. Orders are taken one after the other and a swap is done within its turn, so a
//! reload never meets a half-done one.

mod aftercare;
mod aside;
mod books;
mod cases;
mod copies;
mod deeds;
mod discovery;
mod driver;
mod epochs;
mod execute;
mod explain;
#[cfg(test)]
mod fake;
mod feed;
mod guard;
mod handle;
mod history;
mod journal;
mod meant;
mod observe;
mod orders;
mod outlets;
mod past;
mod plan;
mod ramps;
mod record;
mod refused;
mod rollouts;
mod room;
mod running;
mod scribe;
mod seats;
mod settings;
mod source;
mod start;
mod status;
mod steering;
mod steps;
mod swap;
mod tell;
#[cfg(test)]
mod tests;
mod trials;
mod view;
mod webhooks;
mod why;

pub use explain::{
    EvidenceView, Explanation, HistoryView, RuleView, TransitionView, TrialView,
};
#[cfg(test)]
pub(crate) use fake::{Orders, fake};
pub use feed::{Cursor, EventView, Feed, Next};
pub use handle::{ControlHandle, Deed, OrderError};
pub use plan::PlanError;
pub use refused::Refused;
pub use settings::{
    Hook, OnTimeout, RollbackSettings, RolloutSettings, RouteSettings, Settings,
    VersionSettings,
};
pub use start::{Hooks, Parts, StartError, start};
pub use status::{
    ModeView, NameView, RolloutView, RouteView, SinkStand, StatusView, StreamsView,
    VersionView,
};
