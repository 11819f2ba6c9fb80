//! Pure: which version answers this request.
//!
//! A [`RouteTable`] is whole, immutable and numbered. Every change makes the next table
//! ([`RouteTable::with_route`]); nothing is ever edited in place, so a request that holds a
//! table sees one consistent world. [`assign()`] is a function of the table and the few facts
//! in a [`Signature`]; the coin of the split is one of those facts, so the room needs no
//! randomness of its own.
//!
//! [`Live`] is the one place where the current table hangs. Only `control` publishes.

mod assign;
mod live;
mod matcher;
mod signature;
mod split;
mod table;

pub use assign::{Assignment, Reason, assign};
pub use live::Live;
pub use matcher::RouteMatch;
pub use signature::{HeaderLookup, Signature};
pub use split::Split;
pub use table::{Override, Role, Route, RouteTable, Standing, TableError, Version};
