//! The order in which the process goes down, so that no caller is left without an answer.
//!
//! Told to stop, it first says so: readiness fails and every answer ends its connection,
//! while new connections are still taken, because whoever balances load needs a moment to
//! notice. Then the listeners close, and what is in flight may finish until the drain time
//! is over. A second signal ends it at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How far the process is on its way down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It serves.
    #[default]
    Serving,
    /// It still takes connections and ends each with its next answer.
    Leaving,
    /// It takes no more connections and waits for what is in flight.
    Draining,
    /// It waits no longer.
    Over,
}

/// Who moves the stage on.
pub(super) type Mover = watch::Sender<Stage>;

/// Who sees it move.
pub(super) type Watcher = watch::Receiver<Stage>;

/// Moves the stage on; it never goes back.
pub(super) fn advance(mover: &Mover, stage: Stage) {
    mover.send_if_modified(|now| {
        let later = *now < stage;
        if later {
            *now = stage;
        }
        later
    });
}

/// Waits until the stage is at least this one, or nobody is left to move it.
pub(super) async fn reached(watcher: &mut Watcher, stage: Stage) {
    let _gone = watcher.wait_for(|now| *now >= stage).await;
}

/// How long connections are still taken after the order to stop.
pub(super) fn leaving_time(drain: Duration) -> Duration {
    LEAVING.min(drain / 4)
}

/// The signals that end the process.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

impl Signals {
    /// Takes the signals over from the system's own way with them.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

const LEAVING: Duration = Duration::from_secs(1);
