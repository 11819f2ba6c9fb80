//! Waiting, for all tests: for a condition and with a bound, never for a guess. Apart so
//! that there is one place that sleeps, which `tests/tidy.rs` checks.

use std::time::{Duration, Instant};

/// Long enough for anything that should happen at once on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Asks until there is an answer, and fails naming `what` when there is none in time.
pub fn eventually<T>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        linger(Duration::from_millis(5));
    }
}

/// Asserts that something stays true for a while.
pub fn holds(what: &str, span: Duration, mut ask: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        assert!(ask(), "no longer true after {:?}: {what}", begun.elapsed());
        linger(Duration::from_millis(20));
    }
}

/// How a slow peer spends its time. Not for waiting on the proxy.
pub fn linger(span: Duration) {
    std::thread::sleep(span);
}

/// The same for a peer that shares its thread with others.
pub async fn nap(span: Duration) {
    tokio::time::sleep(span).await;
}
