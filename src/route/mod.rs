//! Pure: which version answers this request.
//!
//! A [`RouteTable`] is whole, immutable and numbered. Every change makes the next table
//! ([`RouteTable::with_route`]); nothing is ever edited in place, so a request that holds a
//! table sees one consistent world. [`assign()`] is a function of the table and the few facts
//! in a [`Signature`]; the coin of the split is one of those facts, so the room needs no
//! randomness of its own.
//!
//! A session keeps its version because its coin is always the same ([`session_coin`]): no
//! list of sessions is kept, every process finds the same answer, and a rollback, which takes
//! the version's share away, moves all of them at once.
//!
//! A version under suspicion is [`Standing::Protected`]: users are on stable, and a part of
//! their requests is copied to it ([`Route::copying`]), so that what it does can still be
//! measured. [`Route::epoch`] numbers the stretches in which shares and copying stay as they
//! are.
//!
//! Two changes concern a route as a whole. In [`Mode::ReadOnly`] no version is asked but
//! perhaps one for emergencies; [`assign()`] is not called then. With [`Route::with_stable`]
//! another version than the one with the role takes what nobody else takes:
//! [`Route::stable`] is always the one that acts, [`Version::role`] always what the
//! configuration says.
//!
//! [`Live`] is the one place where the current table hangs. Only `control` publishes.

mod assign;
mod copying;
mod held;
mod live;
mod matcher;
mod mode;
mod session;
mod signature;
mod split;
mod table;

pub use assign::{Assignment, Reason, Refused, assign};
pub use copying::Copying;
pub use live::Live;
pub use matcher::{Fit, RouteMatch};
pub use mode::Mode;
pub use session::session_coin;
pub use signature::{HeaderLookup, Model, Signature};
pub use split::Split;
pub use table::{
    Found, Override, Role, Route, RouteTable, Standing, TableError, Version,
};
