//! Switchback stands in the request path, splits requests between a stable and a canary
//! version of a model, measures each and takes the traffic away from a bad one.
//!
//! The rooms stand on floors; imports only go down (`tests/tidy.rs` holds the plan).

pub mod vocab;

pub mod judge;
pub mod rollout;
pub mod route;

pub mod cache;
pub mod clock;
pub mod measure;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod upstream;
pub mod wire;

pub mod control;
pub mod proxy;

pub mod admin;

pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
