//! `Quarantine`: which versions may take no traffic, whatever a configuration says.
//!
//! Apart from the store that keeps it, because the question it answers is a rule: a
//! quarantine holds for one digest, so that a repaired version under the old name is free
//! while the bad one stays out, under its own name only.

use crate::vocab::ids::{Digest, Name};
use crate::vocab::record::QuarantineEntry;

/// All quarantines. Grows with each rollback and shrinks with each release; the store
/// bounds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    entries: Vec<QuarantineEntry>,
}

impl Quarantine {
    /// The quarantine of these entries; of two for the same version the later stands.
    #[must_use]
    pub fn new(entries: Vec<QuarantineEntry>) -> Self {
        let mut all = Self::default();
        for entry in entries {
            all.add(entry);
        }
        all
    }

    /// The entry that keeps this very build of the version out of traffic.
    #[must_use]
    pub fn holding(
        &self,
        route: &Name,
        version: &Name,
        digest: &Digest,
    ) -> Option<&QuarantineEntry> {
        self.entries
            .iter()
            .find(|entry| same(entry, route, version) && entry.digest == *digest)
    }

    /// Whether this very build of the version may take no traffic.
    #[must_use]
    pub fn holds(&self, route: &Name, version: &Name, digest: &Digest) -> bool {
        self.holding(route, version, digest).is_some()
    }

    /// Puts a version in quarantine. An entry for the same build is replaced.
    pub fn add(&mut self, entry: QuarantineEntry) {
        self.entries.retain(|old| {
            !(same(old, &entry.route, &entry.version) && old.digest == entry.digest)
        });
        self.entries.push(entry);
    }

    /// Lets every build of the version go; says whether there was one.
    pub fn release(&mut self, route: &Name, version: &Name) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !same(entry, route, version));
        self.entries.len() < before
    }

    /// All entries, the latest last.
    #[must_use]
    pub fn entries(&self) -> &[QuarantineEntry] {
        &self.entries
    }
}

fn same(entry: &QuarantineEntry, route: &Name, version: &Name) -> bool {
    entry.route == *route && entry.version == *version
}

#[cfg(test)]
mod tests {
    use super::Quarantine;
    use crate::vocab::ids::{Digest, Name};
    use crate::vocab::record::QuarantineEntry;
    use crate::vocab::time::Timestamp;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn entry(version: &str, digest: &str, id: &str) -> QuarantineEntry {
        QuarantineEntry {
            route: name("iris"),
            version: name(version),
            digest: Digest::new(digest),
            since: Timestamp(1),
            reason: "errors".to_owned(),
            rollback_id: id.to_owned(),
        }
    }

    #[test]
    fn holds_one_build_of_one_version_of_one_route() {
        let all = Quarantine::new(vec![entry("v2", "sha256:a", "rb-1")]);
        for (route, version, digest, held) in [
            ("iris", "v2", "sha256:a", true),
            ("iris", "v2", "sha256:b", false),
            ("iris", "v3", "sha256:a", false),
            ("rose", "v2", "sha256:a", false),
        ] {
            let digest = Digest::new(digest);
            assert_eq!(
                all.holds(&name(route), &name(version), &digest),
                held,
                "{version}"
            );
        }
    }

    #[test]
    fn a_release_frees_every_build_of_the_version() {
        let mut all =
            Quarantine::new(vec![entry("v2", "a", "rb-1"), entry("v2", "b", "rb-2")]);
        all.add(entry("v3", "c", "rb-3"));
        assert!(all.release(&name("iris"), &name("v2")));
        assert!(!all.release(&name("iris"), &name("v2")));
        assert_eq!(all.entries().len(), 1);
        assert!(all.holds(&name("iris"), &name("v3"), &Digest::new("c")));
    }

    #[test]
    fn the_later_entry_for_one_build_stands() {
        let all =
            Quarantine::new(vec![entry("v2", "a", "rb-1"), entry("v2", "a", "rb-2")]);
        let held = all.holding(&name("iris"), &name("v2"), &Digest::new("a")).unwrap();
        assert_eq!((all.entries().len(), held.rollback_id.as_str()), (1, "rb-2"));
    }
}
