//! The control plane. It reads the books of the workers, judges every version on trial, and
//! writes the table that the data plane obeys; the two never call each other.
//!
//! # Life of a rollback
//! 1. `driver` ticks, the only place where time comes in, or an order arrives through the
//!    [`ControlHandle`]. The books are closed: every worker hands over what it counted.
//! 2. `observe` holds the reading of each version on trial against stable's and against the
//!    route's rules. [`judge`](crate::judge) gives a verdict.
//! 3. A breach that acts begins a [`Rollback`](crate::rollout::Rollback): a pure machine,
//!    which answers each event with commands.
//! 4. `execute` carries them out in order. **Replace**: a table in which the version takes
//!    nothing is published; new requests are on stable from that instant, and nothing else
//!    is needed for users to be safe. The version's kept answers are dropped.
//! 5. **Quarantine**: in memory at once, on disk by the `scribe`, who tries until the disk
//!    takes it. The loop never waits for a disk.
//! 6. **Drain**: a task looks at the requests in flight until there are none or the time is
//!    over. What is left is reported; it may finish up to the cap, or is cut.
//! 7. Each deed comes back as an event and goes through the machine again, until **Notify**
//!    says that it is over. `history` keeps the record, `view` shows it.
//!
//! # Life of a reload
//! `plan` makes the next table from the settings and changes nothing yet: a version whose
//! build and servers are the same keeps its slot, and with it window, sums and health; what
//! is in quarantine stays there; a weight that an operator gave stays until the
//! configuration says another. Then the new servers are seated, the table is published, and
//! what it no longer names leaves as its last request ends. Orders are taken one after the
//! other and a swap is done within its turn, so a reload never meets a half-done one.

mod books;
mod copies;
mod driver;
mod epochs;
mod execute;
mod explain;
#[cfg(test)]
mod fake;
mod guard;
mod handle;
mod history;
mod observe;
mod plan;
mod record;
mod scribe;
mod seats;
mod settings;
mod source;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod trials;
mod view;
mod why;

pub use explain::{
    EvidenceView, Explanation, HistoryView, RuleView, TransitionView, TrialView,
};
#[cfg(test)]
pub(crate) use fake::{Orders, fake};
pub use handle::{ControlHandle, Deed, OrderError};
pub use plan::PlanError;
pub use settings::{
    OnTimeout, RollbackSettings, RouteSettings, Settings, VersionSettings,
};
pub use start::{Hooks, Parts, StartError, start};
pub use status::{RouteView, StatusView, VersionView};
