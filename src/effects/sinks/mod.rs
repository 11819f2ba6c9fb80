//! Every sink, each from the documented wire format of its product.
//!
//! [`outlets`] makes them from the settings. A sink turns a notice into requests and an
//! answer into what the outbox understands; `door` has what all of them need for that:
//! secrets read anew, the client, and the meaning of a status.

mod alertmanager;
mod build;
mod door;
mod elasticsearch;
mod github;
mod jira;
mod loki;
mod pagerduty;
mod servicenow;
mod slack;
#[cfg(test)]
mod tests;
mod ticket;
mod webhook;

pub(super) use build::outlets;
