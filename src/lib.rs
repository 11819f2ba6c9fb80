//! Switchback stands in the request path, splits requests between a stable and a canary
//! version of a model, measures each and takes the traffic away from a bad one.
//!
//! The library is all of it; `main.rs` picks the allocator and calls [`cli::main`].
//!
//! # The plan of the house
//! Each module is a room on a floor. Imports only go down, and `tests/tidy.rs` says for
//! every room which others it may import.
//!
//! ```text
//! floor 5   cli ── demo ── app ── config                    the ways in
//!                           │
//! floor 4                 admin      replay                 for operators
//!                           │
//! floor 3   proxy (data plane)       control (control plane)    never import each other
//!              │                        │
//! floor 2   cache upstream measure   store audit effects    working parts
//!           trace wire dialect dns   incident tls tasks clock telemetry
//!              │
//! floor 1   route     judge     rollout                     pure: decide, never act
//!              │
//! floor 0   vocab                                           words
//! ```
//!
//! - [`vocab`]: the words that all share, such as how a request ended and whose doing it was.
//! - [`route`]: which version answers a request. [`judge`]: whether a version is bad.
//!   [`rollout`]: how it loses its traffic. These know no clock, no IO and no randomness:
//!   `now` is an argument, and what is to be done comes back as data.
//! - [`wire`]: HTTP/1.1 on a connection and the bodies of every path. [`dialect`]: what
//!   inference protocols say inside them. [`upstream`]: the
//!   servers of a version. [`dns`]: where their names lead. [`measure`]: what a version did. [`cache`]: answers for the day
//!   all versions fail. [`store`]: what survives a restart. [`trace`]: what requests did, as
//!   a file of lines. [`effects`]: notices on their way to people and their tools, over
//!   [`tls`] where they leave the machine. [`incident`]: the failure analysis of one
//!   rollback, as files. [`audit`]: what was done, by whom and why, in a chain of hashes.
//! - [`clock`], [`tasks`] and [`telemetry`]: the only places that ask the time, spawn, and
//!   speak.
//! - [`admin`]: API, metrics and health on a listener of their own. [`replay`]: a recorded
//!   trace through the code that decides.
//! - [`config`]: from the file to the settings of each room. [`app`]: makes the parts and
//!   connects them. [`cli`]: the commands. [`demo`]: the whole product in one process,
//!   with servers and callers of its own.
//!
//! # The two walks
//! Read [`proxy`] for the life of a request and [`control`] for the life of a rollback; both
//! go step by step and name the file of each.
//!
//! The planes never call each other. They meet in three things: the current route table
//! ([`route::Live`]), which control publishes and the proxy obeys; the books
//! ([`measure::Books`]), which each worker writes and control collects; and the servers'
//! standing ([`upstream::Registry`]). A worker is one thread with its own runtime, listener,
//! connections and books, so that choosing a version and counting take no lock.
//!
//! # Why one crate
//! The direction of imports is what separate crates would give, and a test gives it too,
//! with a stricter list and one compilation.

pub mod vocab;

pub mod judge;
pub mod rollout;
pub mod route;

pub mod audit;
pub mod cache;
pub mod clock;
pub mod dialect;
pub mod dns;
pub mod effects;
pub mod incident;
pub mod measure;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod upstream;
pub mod wire;

pub mod control;
pub mod proxy;

pub mod admin;
pub mod replay;

pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
