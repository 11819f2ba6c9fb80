//! What the scenarios are told with: the proxy ([`street::Street`]), the servers behind it
//! ([`model_server::ModelServer`] and its [`scripts`]), the clients before it
//! ([`client::Client`], [`load::Load`], [`h2`]), those who are told ([`people::People`]), what
//! is left behind ([`evidence`]), and the patience between ([`wait`]).
//!
//! The servers and clients are threads with blocking sockets that write and read HTTP by
//! hand, so that nothing of what they judge is shared with the proxy.

pub mod client;
pub mod config;
pub mod evidence;
pub mod h2;
pub mod http1;
pub mod load;
pub mod metrics;
pub mod model_server;
pub mod name_server;
pub mod peers;
pub mod people;
pub mod scripts;
pub mod sinks;
pub mod streams;
pub mod street;
pub mod tls;
pub mod traces;
pub mod wait;
