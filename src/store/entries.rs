//! Quarantines, protects, and who acts as stable: what is written of each, and how.
//!
//! Apart from the engine, because these are the facts that keep users safe after a restart,
//! and their shape on disk must outlive versions of this program.

use serde::{Deserialize, Serialize};

use super::engine::{Kind, Store};
use super::error::StoreError;
use crate::vocab::ids::{Digest, Name};
use crate::vocab::record::{
    ActingEntry, Outcome, ProtectEntry, ProtectRecord, QuarantineEntry,
};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;
use redb::TableDefinition;

impl Store {
    /// Keeps a quarantine; one for the same build of the version is replaced.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the limit, [`StoreError::Engine`] when the disk fails.
    pub fn quarantine(&self, entry: &QuarantineEntry) -> Result<(), StoreError> {
        let key = (entry.route.as_str(), entry.version.as_str(), entry.digest.as_str());
        let about = Stored {
            since: entry.since,
            reason: entry.reason.clone(),
            rollback_id: entry.rollback_id.clone(),
        };
        self.keep(&QUARANTINES, key, &about, false)
    }

    /// Forgets the quarantines of every build of a version; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the disk fails.
    pub fn release(&self, route: &Name, version: &Name) -> Result<bool, StoreError> {
        self.forget(&QUARANTINES, route, version)
    }

    /// All quarantines, in the order of route, version and digest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row is not what was written, [`StoreError::Engine`]
    /// when the disk fails.
    pub fn all(&self) -> Result<Vec<QuarantineEntry>, StoreError> {
        self.read(&QUARANTINES, |(route, version, digest), about: Stored| {
            QuarantineEntry {
                route,
                version,
                digest,
                since: about.since,
                reason: about.reason,
                rollback_id: about.rollback_id,
            }
        })
    }

    /// Keeps a protect, in place of any other of the same version.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the limit, [`StoreError::Engine`] when the disk fails.
    pub fn protect(&self, entry: &ProtectEntry) -> Result<(), StoreError> {
        let ProtectEntry { digest, record } = entry;
        let key = (record.route.as_str(), record.version.as_str(), digest.as_str());
        let about = StoredProtect {
            protect_id: record.protect_id.clone(),
            since: record.timestamp,
            to_version: record.to_version.to_string(),
            trigger: record.trigger,
            finding: record.finding.clone(),
        };
        self.keep(&PROTECTS, key, &about, true)
    }

    /// Forgets the protect of a version; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the disk fails.
    pub fn unprotect(&self, route: &Name, version: &Name) -> Result<bool, StoreError> {
        self.forget(&PROTECTS, route, version)
    }

    /// All protects that have not ended, in the order of route and version. Whether one was
    /// held is not kept: a new run tests the version anew.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row is not what was written, [`StoreError::Engine`]
    /// when the disk fails.
    pub fn protects(&self) -> Result<Vec<ProtectEntry>, StoreError> {
        let rows =
            self.read(&PROTECTS, |(route, version, digest), it: StoredProtect| {
                let to_version = self.name(PROTECTS.one, &it.to_version)?;
                let record = ProtectRecord {
                    protect_id: it.protect_id,
                    timestamp: it.since,
                    route,
                    version,
                    to_version,
                    trigger: it.trigger,
                    finding: it.finding,
                    outcome: Outcome::Open,
                    resolved: None,
                    why: None,
                    rollback_id: None,
                };
                Ok(ProtectEntry { digest, record })
            })?;
        rows.into_iter().collect()
    }

    /// Keeps who acts as stable on a route, in place of any other of it.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the limit, [`StoreError::Engine`] when the disk fails.
    pub fn act(&self, entry: &ActingEntry) -> Result<(), StoreError> {
        self.unact(&entry.route)?;
        let key = (entry.route.as_str(), entry.version.as_str(), entry.digest.as_str());
        let about = StoredActing {
            instead_of: entry.instead_of.to_string(),
            instead_digest: entry.instead_digest.clone(),
            rollback_id: entry.rollback_id.clone(),
        };
        self.keep(&ACTING, key, &about, true)
    }

    /// Forgets who acts as stable on a route.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the disk fails.
    pub fn unact(&self, route: &Name) -> Result<(), StoreError> {
        let forgotten = self.change(&ACTING, |table| {
            table.retain(|(of, _, _), _| of != route.as_str())?;
            Ok(())
        });
        forgotten.map_err(|error| self.engine(ACTING.forget, error))
    }

    /// Who acts as stable, in the order of the routes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row is not what was written, [`StoreError::Engine`]
    /// when the disk fails.
    pub fn acting(&self) -> Result<Vec<ActingEntry>, StoreError> {
        let rows = self.read(&ACTING, |(route, version, digest), it: StoredActing| {
            let instead_of = self.name(ACTING.one, &it.instead_of)?;
            let StoredActing { instead_digest, rollback_id, .. } = it;
            Ok(ActingEntry {
                route,
                version,
                digest,
                instead_of,
                instead_digest,
                rollback_id,
            })
        })?;
        rows.into_iter().collect()
    }
}

/// What is written beside the key.
#[derive(Serialize, Deserialize)]
struct Stored {
    since: Timestamp,
    reason: String,
    rollback_id: String,
}

/// What is written of a protect beside the key.
#[derive(Serialize, Deserialize)]
struct StoredProtect {
    protect_id: String,
    since: Timestamp,
    to_version: String,
    trigger: Trigger,
    finding: String,
}

/// What is written beside the key of who acts as stable.
#[derive(Serialize, Deserialize)]
struct StoredActing {
    instead_of: String,
    instead_digest: Digest,
    rollback_id: String,
}

pub(super) const QUARANTINES: Kind = Kind {
    table: TableDefinition::new("quarantine"),
    one: "quarantine",
    many: "quarantines",
    keep: "keep a quarantine",
    forget: "release a quarantine",
    read: "read the quarantines",
};
pub(super) const PROTECTS: Kind = Kind {
    table: TableDefinition::new("protect"),
    one: "protect",
    many: "protects",
    keep: "keep a protect",
    forget: "end a protect",
    read: "read the protects",
};
pub(super) const ACTING: Kind = Kind {
    table: TableDefinition::new("acting"),
    one: "version acting as stable",
    many: "versions acting as stable",
    keep: "keep who acts as stable",
    forget: "end who acts as stable",
    read: "read who acts as stable",
};
