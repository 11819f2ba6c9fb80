//! The whole configuration, validated: what [`crate::config`] makes and `app` builds from.

use std::path::PathBuf;
use std::time::Duration;

use crate::admin;
use crate::control;
use crate::effects;
use crate::proxy::ListenerSettings;
use crate::trace::RecordSettings;

/// Everything the process needs to know to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Data-plane threads, at least one.
    pub workers: usize,
    /// Addresses that take requests; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// The operators' side.
    pub admin: admin::Settings,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_drain: Duration,
    /// Where requests are recorded, if they are.
    pub record: Option<RecordSettings>,
    /// Who is told what.
    pub effects: effects::Settings,
    /// What a reload may change.
    pub live: control::Settings,
}
