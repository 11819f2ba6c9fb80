//! The processor time and the memory of the proxy that is being measured.
//!
//! Read from `/proc` for all its processes and threads. `schedstat` counts nanoseconds of
//! user and system time together; for a thread that is running it is brought up to date at
//! each timer tick, so a window is wrong by at most one tick (4 ms) at each end.

use std::fs;
use std::time::Duration;

/// How long all threads of some processes have had a processor, and waited for one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Time {
    pub(crate) ran: Duration,
    pub(crate) waited: Duration,
}

impl Time {
    /// What was added since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(earlier.ran),
            waited: self.waited.saturating_sub(earlier.waited),
        }
    }
}

/// The time of these processes until now.
pub(crate) fn time(pids: &[u32]) -> Result<Time, String> {
    let mut all = Time::default();
    for pid in pids {
        let tasks = format!("/proc/{pid}/task");
        let entries =
            fs::read_dir(&tasks).map_err(|error| format!("{tasks}: {error}"))?;
        for entry in entries.flatten() {
            // A thread that has just ended is no longer there.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else {
                continue;
            };
            let mut numbers = text.split_whitespace().map(str::parse);
            let (Some(Ok(ran)), Some(Ok(waited))) = (numbers.next(), numbers.next())
            else {
                return Err(format!("{tasks}: not a schedstat: {text:?}"));
            };
            all.ran += Duration::from_nanos(ran);
            all.waited += Duration::from_nanos(waited);
        }
    }
    Ok(all)
}

/// The resident memory of these processes, in KiB.
pub(crate) fn memory(pids: &[u32]) -> Result<u64, String> {
    let mut all = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/status");
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size =
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        all += size.ok_or_else(|| format!("{path}: no VmRSS"))?;
    }
    Ok(all)
}
