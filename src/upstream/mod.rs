//! The servers behind a version: who they are, whether they may be asked, how they are.
//!
//! An [`Upstream`] is one version's servers with its settings; the [`Registry`] has one for
//! each slot. An [`Endpoint`] carries two judgements that the request path reads with
//! relaxed loads: passive (ejection, fed by requests) and active ([`Probes`], which ask on
//! their own). Both are about one server; whether the *version* is bad is for `judge`.

mod balance;
mod connect;
mod eject;
mod endpoint;
mod examine;
mod pool;
mod probe;
mod registry;
mod settings;

pub use balance::Serving;
pub use connect::ConnectError;
pub use endpoint::{Endpoint, Health};
pub use examine::{Examined, examine};
pub use pool::{Busy, LocalExecutor, Pool as Connections};
pub use probe::Probes;
pub use registry::{Checks, Registry, Upstream};
pub use settings::{
    Address, Balance, HealthCheck, Integrity, Outlier, Pool, Protocol, Settings,
};
