//! What is told of names that are looked up; apart from the other things that happen,
//! because no route and no version has a part in it.

use std::net::IpAddr;
use std::time::Duration;

/// A name leads to other addresses.
pub fn name_changed(name: &str, come: &[IpAddr], gone: &[IpAddr]) {
    let (come, gone) = (shown(come), shown(gone));
    tracing::info!(name, come, gone, "the addresses of a name have changed");
}

/// A name has no good answer any more.
pub fn name_failing(name: &str, why: &str, kept: usize) {
    tracing::warn!(name, why, kept, "a name cannot be looked up: what was known stays");
}

/// A name has a good answer again.
pub fn name_well(name: &str, after: Duration) {
    tracing::info!(name, seconds = after.as_secs_f64(), "a name can be looked up again");
}

/// A name has more addresses than are used.
pub fn name_left_out(name: &str, count: usize) {
    tracing::warn!(name, count, "a name has too many addresses: some are not used");
}

/// The first of them.
fn shown(all: &[IpAddr]) -> String {
    let first: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = all.len().saturating_sub(SHOWN);
    let first = first.join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

const SHOWN: usize = 16;
