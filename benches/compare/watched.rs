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

/// How long these cores have been busy, whoever it was for, in the kernel's ticks of 10 ms.
pub(crate) fn busy(cores: &[u32]) -> Result<Duration, String> {
    let text = fs::read_to_string("/proc/stat")
        .map_err(|error| format!("/proc/stat: {error}"))?;
    let mut ticks = 0;
    for core in cores {
        let name = format!("cpu{core}");
        let line = text.lines().find(|line| line.split(' ').next() == Some(&name));
        let line = line.ok_or_else(|| format!("/proc/stat: there is no {name}"))?;
        let numbers =
            line.split_whitespace().skip(1).map(|number| number.parse().unwrap_or(0));
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user.
        let busy: u64 = numbers
            .take(8)
            .enumerate()
            .map(|(at, n)| [n, 0][usize::from(at == 3 || at == 4)])
            .sum();
        ticks += busy;
    }
    Ok(Duration::from_millis(10 * ticks))
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
