//! The servers behind a version: who they are, which one is next, how to reach it.

mod settings;

pub use settings::{
    Address, Balance, HealthCheck, Integrity, Outlier, Pool, Protocol, Settings,
};
