//! The servers behind a version: who they are, whether they may be asked, how they are.
//!
//! An [`Upstream`] is one version's servers with its settings; the [`Registry`] has one for
//! each slot. An [`Endpoint`] carries two judgements that the request path reads with
//! relaxed loads: passive (ejection, fed by requests) and active ([`Probes`], which ask on
//! their own). Both are about one server; whether the *version* is bad is for `judge`.

mod balance;
mod connect;
mod dial;
mod eject;
mod endpoint;
mod examine;
mod guard;
mod opening;
mod pool;
mod probe;
mod probe_grpc;
mod queue;
mod registry;
mod renew;
mod roll;
mod settings;
mod spots;

pub use balance::Serving;
pub use connect::ConnectError;
pub use endpoint::{Endpoint, Health};
pub use examine::{Examined, examine};
pub use guard::Guard;
pub use opening::LocalExecutor;
pub use pool::{Busy, Pool as Connections};
pub use probe::Probes;
pub use registry::{Checks, Registry, Upstream};
pub use renew::{Renewal, Where};
pub use settings::{
    Address, Balance, HealthCheck, Integrity, Origin, Outlier, Pool, Protocol, Settings,
    Tls,
};
