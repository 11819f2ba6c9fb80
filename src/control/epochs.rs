//! `Epochs`: by which chance a request was a version's rather than stable's, epoch by epoch.
//!
//! Apart from the trials, because it is written when a table is published and read when the
//! requests that were placed by it have ended, which may be many tables later.

use std::collections::{BTreeMap, VecDeque};

use crate::judge::trial::Share;
use crate::route::{Route, RouteTable, Version};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Epoch, Name, Slot};

/// The last epochs of every route of the table in force, at most [`MOST`] each.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    routes: BTreeMap<Name, VecDeque<(Epoch, Chances)>>,
}

/// Each version's chance beside stable, 0 to 1; only of those that have one.
type Chances = Vec<(Slot, f64)>;

/// A request rarely outlasts this many changes of the shares.
const MOST: usize = 64;

impl Epochs {
    /// Keeps what this table, which is about to be in force, says.
    pub(super) fn remember(&mut self, table: &RouteTable) {
        self.routes.retain(|name, _| table.route(name).is_some());
        for route in table.routes() {
            let epochs = self.routes.entry(route.name.clone()).or_default();
            if epochs.back().is_some_and(|(epoch, _)| *epoch == route.epoch()) {
                continue;
            }
            if epochs.len() == MOST {
                epochs.pop_front();
            }
            epochs.push_back((route.epoch(), chances(route)));
        }
    }

    /// The chance of a version in an epoch of a route; `None` where the split gave it
    /// nothing. Of an epoch that is forgotten the counts themselves must tell.
    pub(super) fn share(&self, route: &Name, epoch: Epoch, slot: Slot) -> Option<Share> {
        let epochs = self.routes.get(route);
        let known = epochs.and_then(|it| it.iter().rev().find(|(own, _)| *own == epoch));
        match known {
            Some((_, chances)) => {
                let own = chances.iter().find(|(of, _)| *of == slot)?;
                Some(Share::Nominal(own.1))
            }
            None => Some(Share::Realised),
        }
    }
}

fn chances(route: &Route) -> Chances {
    let versions = route.versions().iter().filter(|one| !route.is_stable(one));
    versions.filter_map(|one| Some((one.slot, chance(route, one)?))).collect()
}

fn chance(route: &Route, version: &Version) -> Option<f64> {
    if let Some(copying) = route.copying()
        && route.versions()[copying.to].slot == version.slot
    {
        let part = copying.part.fraction();
        return Some(part / (1.0 + part));
    }
    let (own, stable) = (route.share(version), route.share(route.stable()));
    let both = own.fraction() + stable.fraction();
    (own > Percent::ZERO).then(|| own.fraction() / both)
}

/// Whether an epoch is that one or a later one of the same route.
pub(super) fn is_since(epoch: Epoch, from: Epoch) -> bool {
    epoch.0.wrapping_sub(from.0) < u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Epochs, MOST, is_since};
    use crate::control::tests::support::{name, percent, plain_route};
    use crate::judge::trial::Share;
    use crate::route::{Route, RouteTable, Standing};
    use crate::vocab::ids::{Epoch, Generation};

    fn table(route: &Route) -> RouteTable {
        RouteTable::new(Generation(1), vec![Arc::new(route.clone())])
    }

    #[test]
    fn shares_are_those_of_the_epoch_a_request_was_placed_in() {
        let (iris, v2) = (name("iris"), name("v2"));
        let whole = plain_route(10.0);
        let slot = whole.version(&v2).unwrap().slot;
        let out = whole.with_standing(&v2, Standing::Protected).unwrap();
        let copied = out.with_copying(&v2, Some(percent(25.0))).unwrap();
        let trickle = copied.with_standing(&v2, Standing::Trickling).unwrap();
        let all = trickle.with_standing(&v2, Standing::Serving).unwrap();
        let all = all.with_weight(&v2, percent(100.0)).unwrap();
        let mut epochs = Epochs::default();
        let mut seen = Vec::new();
        for route in [&whole, &whole, &out, &copied, &trickle, &all] {
            epochs.remember(&table(route));
            seen.push(epochs.share(&iris, route.epoch(), slot));
        }
        let nominal = |share| Some(Share::Nominal(share));
        let tenth = nominal(0.1);
        assert_eq!(
            seen,
            [tenth, tenth, None, nominal(0.2), nominal(0.025), nominal(1.0)]
        );
        assert_eq!(epochs.share(&iris, whole.epoch(), slot), tenth);
        assert_eq!(epochs.routes[&iris].len(), 5);
        // Whoever acts as stable has no chance beside itself.
        let acted = whole.with_stable(&v2).unwrap();
        let mut other = Epochs::default();
        other.remember(&table(&acted));
        assert_eq!(other.share(&iris, acted.epoch(), slot), None);
        let mut route = all;
        for step in 0..MOST {
            let weight = if step % 2 == 0 { 1.0 } else { 2.0 };
            route = route.with_weight(&v2, percent(weight)).unwrap();
            epochs.remember(&table(&route));
        }
        assert_eq!(epochs.routes[&iris].len(), MOST);
        assert_eq!(epochs.share(&iris, whole.epoch(), slot), Some(Share::Realised));
        epochs.remember(&RouteTable::default());
        assert!(epochs.routes.is_empty());
    }

    #[test]
    fn epochs_are_compared_across_the_end_of_their_numbers() {
        for (epoch, from, since) in
            [(5, 5, true), (4, 5, false), (6, 5, true), (0, u32::MAX, true)]
        {
            assert_eq!(is_since(Epoch(epoch), Epoch(from)), since, "{epoch} {from}");
        }
    }
}
