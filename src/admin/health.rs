//! `Readiness`: whether the process may be sent requests.
//!
//! Apart because two sides hold it: the start and the shutdown say, the probes ask. It
//! only goes forward, so a late "ready" cannot undo a shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether the process may be sent requests. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not all parts are up.
    Starting,
    /// Requests are taken.
    Ready,
    /// Requests in flight end, new ones should go elsewhere.
    Stopping,
}

impl Readiness {
    /// Begins as not ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests are taken from now on. Without effect once [`Readiness::stopping`] was said.
    pub fn ready(&self) {
        self.0.fetch_max(READY, Ordering::SeqCst);
    }

    /// The process goes down; `/readyz` fails from now on.
    pub fn stopping(&self) {
        self.0.fetch_max(STOPPING, Ordering::SeqCst);
    }

    pub(super) fn standing(&self) -> Standing {
        match self.0.load(Ordering::SeqCst) {
            STOPPING => Standing::Stopping,
            READY => Standing::Ready,
            _ => Standing::Starting,
        }
    }
}

const READY: u8 = 1;
const STOPPING: u8 = 2;

#[cfg(test)]
mod tests {
    use super::{Readiness, Standing};

    #[test]
    fn it_only_goes_forward() {
        let readiness = Readiness::new();
        assert_eq!(readiness.standing(), Standing::Starting);
        readiness.ready();
        assert_eq!(readiness.standing(), Standing::Ready);
        let other = readiness.clone();
        other.stopping();
        readiness.ready();
        assert_eq!(readiness.standing(), Standing::Stopping);
    }
}
