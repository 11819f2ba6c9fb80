//! `switchback run`: reads the configuration, sets up the log and gives both to `app`.
//!
//! Apart because it is the way from `main` to the proxy, and should be read in a minute.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use super::check;
use super::output::{Exit, Output};
use super::tree::{LogFormat, RunArgs};
use crate::app;
use crate::app::Running;
use crate::config;
use crate::config::{Change, Watch};
use crate::control::ControlHandle;
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
    let watch = Watch::new(&args.config, &loaded);
    app::run(loaded.settings, announce, |control, again| {
        config::watch(watch, again, move |change| take(control.clone(), change))
    })
}

/// Says on stdout where the process listens, once it does: scripts wait for these lines.
fn announce(running: &Running) {
    let mut lines = String::new();
    for (name, address) in running.listeners() {
        lines.push_str(&format!("listening name={name} address={address}\n"));
    }
    lines.push_str(&format!("listening name=admin address={}\n", running.admin()));
    if let Some(address) = running.metrics() {
        lines.push_str(&format!("listening name=metrics address={address}\n"));
    }
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::debug!(%error, "stdout is closed");
    }
}

/// Gives a changed configuration to the control loop, or says loudly why not.
async fn take(control: ControlHandle, change: Change) {
    match change {
        Change::Live { settings, warnings, needs_restart } => {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            for key in needs_restart {
                tracing::warn!(key, "the new value takes effect at the next start");
            }
            if let Err(error) = control.reload(*settings).await {
                tracing::error!(%error, "the new configuration was not taken");
                control.reload_refused(error.to_string());
            }
        }
        Change::Refused(errors) => {
            for line in errors.lines() {
                tracing::error!("the new configuration is refused: {line}");
            }
            control.reload_refused(errors.to_string());
        }
    }
}
