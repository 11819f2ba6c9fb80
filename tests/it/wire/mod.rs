//! The wire: what may pass from callers to versions and back, what may not, and how long
//! and how large anything may be. `THREATS` rows are named where a case is one of them.

mod answers;
mod bodies;
mod floods;
mod frames;
mod h2_servers;
mod h2spec;
mod hangup;
mod headers;
mod http2;
mod hygiene;
mod limits;
mod poison;
mod requests;
mod rescue;
mod secrets;
mod siege;
mod slow;
mod storm;
mod streaming;
mod timeouts;
mod tls;
mod upgrade;
mod upgrade_h2;
