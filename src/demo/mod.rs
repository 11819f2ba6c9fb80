//! The whole product in one process: two model servers, the proxy, clients, and a screen.
//!
//! A reader of the README runs this first, on a machine where nothing else is installed.
//! The servers and the callers are as foreign to the proxy as they would be on other
//! machines: they meet over sockets only, and the proxy is started from the text of a
//! configuration file. What is shown are the proxy's own books ([`crate::control`]) and the
//! callers'; the script (`script.rs`) only makes things break. The summary holds each claim
//! against both and the exit code follows from it.

mod clients;
mod meter;
mod model;
mod model_server;
mod product;
mod rollback;
mod run;
mod scratch;
mod screen;
mod script;
mod socket;
mod summary;
#[cfg(test)]
mod testing;
mod view;

pub use run::{DemoOptions, run};
