//! File descriptors: as many as the system allows, and how many of them are callers'.
//!
//! Apart because it is the one bound that comes from outside. A proxy that runs out of
//! descriptors can neither reach a server nor write its audit log, so callers never get all
//! of them: a connection of a caller may need one to a server, and some are kept back.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for files, for the admin address and for checks; an eighth where there are few.
const RESERVE: usize = 32;

/// How many connections each of so many listeners may have at most. Raises the limit of the
/// process to what the system allows first.
pub(super) fn connections(listeners: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            limit
        }
    };
    let Some(most) = limit.current else { return usize::MAX };
    let open = std::fs::read_dir("/proc/self/fd").map_or(RESERVE, Iterator::count);
    share(usize::try_from(most).unwrap_or(usize::MAX), open, listeners)
}

/// Half of what is left, divided among the listeners.
fn share(most: usize, open: usize, listeners: usize) -> usize {
    let left = most.saturating_sub(open + RESERVE.min(most / 8));
    (left / 2 / listeners.max(1)).max(4)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn callers_never_get_all_descriptors() {
        assert_eq!(share(1_048_576, 20, 1), 524_262);
        assert_eq!(share(1_024, 24, 2), 242);
        assert_eq!(share(64, 30, 1), 13);
        assert_eq!(share(64, 70, 1), 4, "a few, whatever happens");
    }
}
