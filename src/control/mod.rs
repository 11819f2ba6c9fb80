//! The control plane.

mod handle;
mod settings;
mod status;

pub use handle::{ControlHandle, Deed, OrderError};
pub use settings::{
    OnTimeout, RollbackSettings, RouteSettings, Settings, VersionSettings,
};
pub use status::{RouteView, StatusView, VersionView};
