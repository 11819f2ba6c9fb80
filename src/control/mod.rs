//! The control plane.

#[cfg(test)]
mod fake;
mod handle;
mod settings;
mod status;

#[cfg(test)]
pub(crate) use fake::{Orders, fake};
pub use handle::{ControlHandle, Deed, OrderError};
pub use settings::{
    OnTimeout, RollbackSettings, RouteSettings, Settings, VersionSettings,
};
pub use status::{RouteView, StatusView, VersionView};
