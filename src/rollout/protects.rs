//! `Protects`: which versions have their users on stable while they are tested.
//!
//! Apart from [`Quarantine`](super::Quarantine), because a protect is a question and not a
//! verdict: a version has at most one, it ends by itself or by an operator, and what came of
//! it is told.

use crate::vocab::ids::{Digest, Name};
use crate::vocab::record::{Outcome, ProtectEntry, ProtectRecord};
use crate::vocab::time::Timestamp;

/// All protects that have not ended; at most one a version, the store bounds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protects {
    entries: Vec<ProtectEntry>,
}

impl Protects {
    /// The protects of these entries; of two for the same version the later stands.
    #[must_use]
    pub fn new(entries: Vec<ProtectEntry>) -> Self {
        let mut all = Self::default();
        for entry in entries {
            all.add(entry);
        }
        all
    }

    /// The entry that keeps users off this very build of the version.
    #[must_use]
    pub fn holding(
        &self,
        route: &Name,
        version: &Name,
        digest: &Digest,
    ) -> Option<&ProtectEntry> {
        self.of(route, version).filter(|entry| entry.digest == *digest)
    }

    /// The entry of a version, whichever build it is of.
    #[must_use]
    pub fn of(&self, route: &Name, version: &Name) -> Option<&ProtectEntry> {
        self.entries.iter().find(|entry| is_of(entry, route, version))
    }

    /// Begins one; any other of the same version is replaced.
    pub fn add(&mut self, entry: ProtectEntry) {
        let ProtectRecord { route, version, .. } = &entry.record;
        self.entries.retain(|old| !is_of(old, route, version));
        self.entries.push(entry);
    }

    /// Nothing came of one: it goes on until an operator decides. Gives its record; `None`
    /// when there is none or it is held already.
    pub fn hold(
        &mut self,
        route: &Name,
        version: &Name,
        why: &str,
        now: Timestamp,
    ) -> Option<&ProtectRecord> {
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|entry| is_of(entry, route, version))?;
        if entry.record.outcome == Outcome::Held {
            return None;
        }
        settle(&mut entry.record, Outcome::Held, why, now);
        Some(&entry.record)
    }

    /// One that was held is tested anew. Gives its record; `None` when it was not held.
    pub fn reopen(&mut self, route: &Name, version: &Name) -> Option<&ProtectRecord> {
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|entry| is_of(entry, route, version))?;
        if entry.record.outcome != Outcome::Held {
            return None;
        }
        let record = &mut entry.record;
        (record.outcome, record.resolved, record.why) = (Outcome::Open, None, None);
        Some(record)
    }

    /// Ends one with what came of it, and gives its last record.
    pub fn end(
        &mut self,
        route: &Name,
        version: &Name,
        (outcome, why): (Outcome, &str),
        now: Timestamp,
    ) -> Option<ProtectRecord> {
        let at = self.entries.iter().position(|entry| is_of(entry, route, version))?;
        let mut record = self.entries.remove(at).record;
        settle(&mut record, outcome, why, now);
        Some(record)
    }

    /// All entries, the latest last.
    #[must_use]
    pub fn entries(&self) -> &[ProtectEntry] {
        &self.entries
    }
}

fn settle(record: &mut ProtectRecord, outcome: Outcome, why: &str, now: Timestamp) {
    record.outcome = outcome;
    record.resolved = Some(now);
    record.why = Some(why.to_owned());
}

fn is_of(entry: &ProtectEntry, route: &Name, version: &Name) -> bool {
    entry.record.route == *route && entry.record.version == *version
}

#[cfg(test)]
mod tests {
    use super::Protects;
    use crate::vocab::ids::{Digest, Name};
    use crate::vocab::record::{Outcome, ProtectEntry, ProtectRecord};
    use crate::vocab::time::Timestamp;
    use crate::vocab::trigger::Trigger;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn entry(version: &str, digest: &str, id: &str) -> ProtectEntry {
        let record = ProtectRecord {
            protect_id: id.to_owned(),
            timestamp: Timestamp(1),
            route: name("iris"),
            version: name(version),
            to_version: name("v1"),
            trigger: Trigger::ErrorRate,
            finding: "odds".to_owned(),
            outcome: Outcome::Open,
            resolved: None,
            why: None,
            rollback_id: None,
        };
        ProtectEntry { digest: Digest::new(digest), record }
    }

    #[test]
    fn a_version_has_one_and_it_holds_for_one_build() {
        let all = Protects::new(vec![
            entry("v2", "a", "pr-1"),
            entry("v3", "c", "pr-2"),
            entry("v2", "b", "pr-3"),
        ]);
        assert_eq!(all.entries().len(), 2);
        for (route, version, digest, held) in [
            ("iris", "v2", "b", Some("pr-3")),
            ("iris", "v2", "a", None),
            ("rose", "v2", "b", None),
            ("iris", "v3", "c", Some("pr-2")),
        ] {
            let found = all.holding(&name(route), &name(version), &Digest::new(digest));
            let id = found.map(|entry| entry.record.protect_id.as_str());
            assert_eq!(id, held, "{route} {version} {digest}");
        }
    }

    #[test]
    fn it_is_held_once_and_ends_once() {
        let mut all = Protects::new(vec![entry("v2", "a", "pr-1")]);
        let (iris, v2) = (name("iris"), name("v2"));
        let held = all.hold(&iris, &v2, "unclear", Timestamp(9)).unwrap();
        assert_eq!((held.outcome, held.resolved), (Outcome::Held, Some(Timestamp(9))));
        assert!(all.hold(&iris, &v2, "unclear", Timestamp(10)).is_none());
        let again = all.reopen(&iris, &v2).unwrap();
        assert_eq!((again.outcome, again.resolved), (Outcome::Open, None));
        assert!(all.reopen(&iris, &v2).is_none());
        let how = (Outcome::Resumed, "by alice: fine");
        let over = all.end(&iris, &v2, how, Timestamp(11)).unwrap();
        assert_eq!((over.outcome, over.why.as_deref()), (how.0, Some(how.1)));
        assert!(all.end(&iris, &v2, how, Timestamp(12)).is_none());
        assert!(all.entries().is_empty());
    }
}
