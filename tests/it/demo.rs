//! The README's first command: the demo runs by itself, ends in time and tells the truth.

use std::time::{Duration, Instant};

use crate::support::street::run;

#[test]
fn the_demo_ends_by_itself_and_no_client_request_failed() {
    let begun = Instant::now();
    let output = run(["demo"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(text.lines().count() > 10, "no progress without a terminal:\n{text}");
    assert!(!text.contains('\u{1b}'), "escapes without a terminal:\n{text}");
    let lower = text.to_lowercase();
    for word in
        ["canary", "stable", "breach", "swap", "drain", "cache", "p99", " 0 failed"]
    {
        assert!(lower.contains(word), "no {word:?} in:\n{text}");
    }
}
