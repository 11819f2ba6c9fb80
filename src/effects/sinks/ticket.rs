//! What tickets have in common: one for each incident, found again by its label, and what
//! is written in it. Apart from the products, which differ in spelling.

use std::fmt::Write as _;

use aws_lc_rs::digest;

use crate::effects::text::facts;
use crate::vocab::notice::Notice;

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

/// Characters of an incident's id that fit into a label of GitHub, which has fifty.
const PLAIN: usize = 39;

#[cfg(test)]
mod tests {
    use super::{label, tail};

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
