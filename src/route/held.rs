//! What a route holds back of a version's former requests, while the version that takes them
//! has no room for all. Apart from the table, because it is neither a weight nor a standing.

use super::table::{Route, Standing, TableError, Version};
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;

impl Route {
    /// The same route, in which so much of what this version had and stable is to take is
    /// held back: such requests get what is kept of earlier answers, or a refusal that says
    /// when to come again. 0 % ends it, and so does the version's return to service. At most
    /// what no other version takes is held, and of one version at a time.
    ///
    /// # Errors
    /// [`TableError`] when there is no such version, or it serves as ever.
    pub fn with_held(&self, version: &Name, part: Percent) -> Result<Self, TableError> {
        let mut next = self.clone();
        let at = self.find(version)?;
        if part == Percent::ZERO {
            next.held = None;
        } else if self.versions[at].standing == Standing::Serving {
            return Err(TableError::Serves(self.name.clone(), version.clone()));
        } else {
            next.held = Some((at, part));
        }
        next.settle()?;
        Ok(next.counted_after(self))
    }

    /// What is held back, and of which version's former requests.
    #[must_use]
    pub fn held(&self) -> Option<(&Version, Percent)> {
        self.held.map(|(at, part)| (&self.versions[at], part))
    }

    /// Holds back what `old` does, as far as the version is still there and out.
    pub(super) fn holding_like(mut self, old: &Self) -> Self {
        let Some((before, part)) = old.held() else { return self };
        let same = self
            .versions
            .iter()
            .position(|one| one.slot == before.slot && one.standing != Standing::Serving);
        self.held = same.map(|at| (at, part));
        // It only takes from what is stable's.
        let _fits = self.settle();
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::route::assign::tests::route_of;
    use crate::route::{Standing, TableError};
    use crate::vocab::amount::Percent;
    use crate::vocab::ids::Name;

    #[test]
    fn only_what_a_version_has_lost_is_held_and_it_ends_with_its_return() {
        let share = |percent| Percent::of(percent).unwrap();
        let v2 = Name::parse("v2").unwrap();
        let whole = route_of(&[share(40.0), share(50.0)]);
        let refused = whole.with_held(&v2, share(10.0));
        assert!(matches!(refused, Err(TableError::Serves(..))));
        let out = whole.with_standing(&v2, Standing::Protected).unwrap();
        let held = out.with_held(&v2, share(30.0)).unwrap();
        assert_eq!(
            held.held().map(|(of, part)| (&of.name, part)),
            Some((&v2, share(30.0)))
        );
        assert_eq!(held.share(held.stable()), share(20.0));
        assert_ne!(held.epoch(), out.epoch());
        let gone = held.with_standing(&v2, Standing::Quarantined).unwrap();
        assert!(gone.held().is_some());
        assert_eq!(whole.following(&gone).held(), None, "it serves again");
        let reloaded = out.clone().following(&gone);
        assert_eq!(reloaded.share(reloaded.stable()), share(20.0));
        // The other version has half: no more than the rest can be held.
        let most = out.with_held(&v2, Percent::FULL).unwrap();
        assert_eq!(most.share(most.stable()), Percent::ZERO);
        for back in [
            held.with_standing(&v2, Standing::Serving).unwrap(),
            held.with_held(&v2, Percent::ZERO).unwrap(),
        ] {
            assert_eq!(back.held(), None);
        }
    }
}
