//! The wire: what may pass from callers to versions and back, what may not, and how long
//! and how large anything may be. `THREATS` rows are named where a case is one of them.

mod answers;
mod frames;
mod hangup;
mod headers;
mod http2;
mod hygiene;
mod limits;
mod requests;
mod rescue;
mod streaming;
mod timeouts;
mod upgrade;
