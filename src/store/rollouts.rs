//! Rollouts: one row a route, whatever its caller makes of it.
//!
//! Apart from the other kinds, because the row is the caller's own: where a rollout stands
//! is known in the room of rollouts alone.

use redb::TableDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::{Kind, Store};
use super::error::StoreError;
use crate::vocab::ids::Name;

impl Store {
    /// Keeps where the rollouts of a route stand, in place of what was kept before.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the limit, [`StoreError::Engine`] when the disk fails.
    pub fn rollout<T: Serialize>(&self, route: &Name, row: &T) -> Result<(), StoreError> {
        self.keep(&ROLLOUTS, (route.as_str(), SAME, ""), row, false)
    }

    /// Forgets the rollouts of a route; says whether there were any.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the disk fails.
    pub fn forget_rollout(&self, route: &Name) -> Result<bool, StoreError> {
        let forgotten = self.change(&ROLLOUTS, |table| {
            Ok(table.remove((route.as_str(), SAME, ""))?.is_some())
        });
        forgotten.map_err(|error| self.engine(ROLLOUTS.forget, error))
    }

    /// Where the rollouts of every route stand, in the order of the routes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row is not what was written, [`StoreError::Engine`]
    /// when the disk fails.
    pub fn rollouts<T: DeserializeOwned>(&self) -> Result<Vec<(Name, T)>, StoreError> {
        self.read(&ROLLOUTS, |(route, ..), row: T| (route, row))
    }
}

pub(super) const ROLLOUTS: Kind = Kind {
    table: TableDefinition::new("rollout"),
    one: "rollout",
    many: "rollouts",
    keep: "keep a rollout",
    forget: "forget a rollout",
    read: "read the rollouts",
};
/// The rows of all kinds have keys of three parts; a route has one rollout, whose version
/// is part of the row.
const SAME: &str = "rollout";
