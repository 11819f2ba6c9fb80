//! `switchback run`: reads the configuration, sets up the log and gives both to `app`.
//!
//! Apart because it is the way from `main` to the proxy, and should be read in a minute.

use std::process::ExitCode;

use super::check;
use super::output::{Exit, Output};
use super::tree::{LogFormat, RunArgs};
use crate::app;
use crate::telemetry::logs;

/// Runs the proxy until it is told to stop.
pub(super) fn run(args: RunArgs, output: &mut Output<'_>) -> anyhow::Result<ExitCode> {
    let Some(loaded) = check::load(&args.config, output) else {
        return Ok(Exit::Error.into());
    };
    let format = match args.log_format {
        LogFormat::Text => logs::Format::Text,
        LogFormat::Json => logs::Format::Json,
    };
    logs::init(&logs::Settings { format, filter: args.log_level })?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    app::run(loaded.settings, args.config)
}
