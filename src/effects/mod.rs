//! The edge of the system: facts on their way to people and their tools.
//!
//! Control offers a [`Notice`](crate::vocab::notice::Notice) to the [`Outbox`] and never
//! waits: the swap comes first. The outbox keeps it on disk until every sink that wants it
//! has taken it or it is given up, and says of each delivery when it was and whom it
//! reached. Lines of the audit log take the same way to stores for logs; the log itself
//! stays the truth.
//!
//! # The way of a notice
//! 1. `outbox`: the door. Texts are bounded, the notice goes into a bounded channel.
//! 2. `desk`: the one task that changes anything. A notice whose key came before is dropped;
//!    every sink that wants it (`settings`) gets it into its queue (`queue`, `notices`,
//!    `lines` on a bounded `shelf`).
//! 3. `disk`: what changed in a round is written together (`journal`), then it may leave.
//! 4. `sinks`: each turns it into its product's wire format and asks by way of [`post`], the
//!    HTTP client that asks only what the configuration names, never follows where an
//!    answer points, and connects to the very address that it looked at (`target`).
//! 5. What was not taken is tried again (`retry`) until it is given up after a day; it is
//!    kept for a while and can be given another try. What lasts is said again until it is
//!    over (`incidents`), where the product wants that.

pub mod post;

mod desk;
mod disk;
mod incidents;
mod journal;
mod lines;
mod notices;
mod outbox;
mod queue;
mod retry;
mod settings;
mod shelf;
mod sink;
mod sinks;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod view;

pub use disk::DiskError;
pub use outbox::{NotDurable, OfDead, Outbox, OutboxError};
pub use settings::{
    Auth, Filter, JiraEdition, SecretFile, Settings, SinkKind, SinkSettings, Url,
};
pub use sink::{BoxFuture, Earlier, Repeats, Shipped, Shipper, Sink, SinkError, Taken};
pub use view::{DeadLetter, OutboxView, SinkView};
