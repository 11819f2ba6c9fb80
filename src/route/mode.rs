//! `Mode`, and who acts as stable: the two changes of a route that concern all of its
//! requests. Apart from the table, because neither is anything that weights could say.

use super::table::{Route, Standing, TableError};
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// Whether the versions of a route take requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They do, each its share.
    #[default]
    Normal,
    /// None does: requests are answered by what is kept of earlier answers, or refused.
    /// Weights and standings stay, for the time after.
    ReadOnly {
        /// Since when; told to callers.
        since: Timestamp,
        /// The version that is asked when nothing is kept, by its place in the route. It
        /// goes by itself when that version is quarantined.
        emergency: Option<usize>,
    },
}

impl Mode {
    /// Whether the route is read-only.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        self != Self::Normal
    }

    /// The same mode, without an emergency version of which `is_out` is true.
    pub(super) fn without(self, is_out: impl Fn(usize) -> bool) -> Self {
        match self {
            Self::Normal => self,
            Self::ReadOnly { since, emergency } => {
                Self::ReadOnly { since, emergency: emergency.filter(|it| !is_out(*it)) }
            }
        }
    }
}

impl Route {
    /// The same route in that mode.
    ///
    /// # Errors
    /// [`TableError`] when the emergency version is not there or is quarantined.
    pub fn with_mode(&self, mode: Mode) -> Result<Self, TableError> {
        if let Mode::ReadOnly { emergency: Some(place), .. } = mode {
            let name = || self.name.clone();
            let Some(version) = self.versions().get(place) else {
                return Err(TableError::NoEmergency(name(), place));
            };
            if version.standing == Standing::Quarantined {
                let (version, standing) = (version.name.clone(), version.standing);
                return Err(TableError::OutOfService(name(), version, standing));
            }
        }
        let mut next = self.clone();
        next.mode = mode;
        if mode.is_read_only() {
            // Nothing is left to hold back from.
            next.held = None;
            next.settle()?;
        }
        Ok(next.counted_after(self))
    }

    /// The same route, in which this version acts as stable: it takes what nobody else takes
    /// and answers for a version that failed. A weight of its own has no effect meanwhile;
    /// the others keep theirs. The version that has the role takes nothing while another
    /// acts, and may have any standing; naming it here gives it its part back.
    ///
    /// # Errors
    /// [`TableError`] when there is no such version, it does not serve, or the weights of
    /// the others are above 100 % together.
    pub fn with_stable(&self, version: &Name) -> Result<Self, TableError> {
        let place = self.find(version)?;
        let standing = self.versions()[place].standing;
        if standing != Standing::Serving {
            return Err(TableError::NotServing(
                self.name.clone(),
                version.clone(),
                standing,
            ));
        }
        let mut next = self.clone();
        next.stable = place;
        next.settle()?;
        Ok(next.counted_after(self))
    }

    /// The place of the version that the configuration names for the read-only mode, unless
    /// it is quarantined.
    #[must_use]
    pub fn emergency_place(&self) -> Option<usize> {
        let place = self.find(self.policy.emergency.as_ref()?).ok()?;
        (self.versions()[place].standing != Standing::Quarantined).then_some(place)
    }

    /// Lets the version act as stable that did in `old`, if both routes have the same
    /// version in the role and the acting one is still there and serves.
    pub(super) fn acting_like(self, old: &Self) -> Self {
        let role = |route: &Self| route.versions()[route.configured].slot;
        let acting = old.stable();
        if role(&self) != role(old) || self.is_stable(acting) {
            return self;
        }
        let same = self.versions().iter().find(|one| one.slot == acting.slot);
        let name = same.map(|one| one.name.clone());
        match name.map(|name| self.with_stable(&name)) {
            Some(Ok(next)) => next,
            Some(Err(_)) | None => self,
        }
    }

    /// Puts the route into the mode of `old`. In the read-only mode the emergency version is
    /// the one that the configuration names now.
    pub(super) fn in_mode_of(mut self, old: &Self) -> Self {
        self.mode = match old.mode {
            Mode::Normal => Mode::Normal,
            Mode::ReadOnly { since, .. } => {
                Mode::ReadOnly { since, emergency: self.emergency_place() }
            }
        };
        self
    }

    /// Whether requests are taken by the same versions as far as the mode goes.
    pub(super) fn is_in_mode_of(&self, old: &Self) -> bool {
        let asked = |route: &Self| match route.mode {
            Mode::Normal => None,
            Mode::ReadOnly { emergency, .. } => {
                Some(emergency.map(|place| route.versions()[place].slot))
            }
        };
        asked(self) == asked(old)
    }
}

#[cfg(test)]
#[path = "mode_tests.rs"]
mod tests;
