//! What tickets have in common: one for each incident, found again by its label, and what
//! is written in it. Apart from the products, which differ in spelling.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;

use crate::effects::text::facts;
use crate::vocab::notice::Notice;

/// Keys of notices whose note is in its ticket already while what follows the note is tried
/// again: a product that takes notes and nothing else does not get one with every try.
/// Bounded; forgotten at a restart, after which a note may be there twice.
#[derive(Debug, Default)]
pub(super) struct Noted(Mutex<VecDeque<String>>);

impl Noted {
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys().iter().any(|other| other == key)
    }

    pub(super) fn put(&self, key: &str) {
        let mut keys = self.keys();
        if keys.iter().any(|other| other == key) {
            return;
        }
        if keys.len() == NOTED {
            keys.pop_front();
        }
        keys.push_back(key.to_owned());
    }

    pub(super) fn forget(&self, key: &str) {
        self.keys().retain(|other| other != key);
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The label by which the ticket of an incident is found: short, plain, and another one for
/// every other incident.
pub(super) fn label(incident: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if incident.len() <= PLAIN && !incident.is_empty() && incident.bytes().all(is_plain) {
        return format!("switchback-{incident}");
    }
    let hash = digest::digest(&digest::SHA256, incident.as_bytes());
    let mut label = "switchback-".to_owned();
    for byte in &hash.as_ref()[..16] {
        // Writing into a `String` does not fail.
        let _done = write!(label, "{byte:02x}");
    }
    label
}

/// The text of a ticket or a comment, plain and with line ends.
pub(super) fn body(notice: &Notice, runbook: Option<&str>) -> String {
    let mut text = format!("{}\n", notice.summary);
    if !notice.details.trim().is_empty() {
        let _done = write!(text, "\n{}\n", notice.details.trim());
    }
    text.push('\n');
    for (name, value) in facts(notice) {
        let _done = writeln!(text, "{name}: {value}");
    }
    if let Some(url) = runbook {
        let _done = writeln!(text, "Runbook: {url}");
    }
    text
}

/// What tells a ticket apart, at the end of the address where a person finds it.
pub(super) fn tail<'a>(reference: &'a str, mark: &str) -> Option<&'a str> {
    let (_, tail) = reference.rsplit_once(mark)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let fits = (1..=64).contains(&tail.len()) && tail.bytes().all(plain);
    fits.then_some(tail)
}

/// One delivery after the other is under way, but many may wait to be tried again.
const NOTED: usize = 256;

/// Characters of an incident's id that fit into a label of GitHub, which has fifty.
const PLAIN: usize = 39;

#[cfg(test)]
mod tests {
    use super::{NOTED, Noted, label, tail};

    #[test]
    fn what_was_noted_is_known_and_bounded() {
        let noted = Noted::default();
        for number in 0..=NOTED {
            noted.put(&number.to_string());
            noted.put(&number.to_string());
        }
        assert_eq!(
            [noted.has("0"), noted.has("1"), noted.has("256")],
            [false, true, true]
        );
        noted.forget("1");
        assert!(!noted.has("1"));
    }

    #[test]
    fn labels_are_plain_and_tell_incidents_apart() {
        assert_eq!(label("rb-01JD3QW8Z7"), "switchback-rb-01JD3QW8Z7");
        let odd = ["a b", "a\"b", "", "ü", &"x".repeat(40), &"x".repeat(41)].map(label);
        for (place, label) in odd.iter().enumerate() {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            assert!(label.len() <= 50 && label.bytes().all(plain), "{label}");
            assert!(!odd[..place].contains(label), "{label}");
        }
    }

    #[test]
    fn a_ticket_is_told_from_its_address() {
        assert_eq!(tail("https://j.example/browse/OPS-7", "/browse/"), Some("OPS-7"));
        assert_eq!(tail("https://j.example/browse/", "/browse/"), None);
        assert_eq!(tail("https://j.example/browse/a/../b", "/browse/"), None);
        assert_eq!(tail("OPS-7", "/browse/"), None);
    }
}
