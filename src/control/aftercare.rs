//! What is looked after on every tick beside the verdicts: routes whose versions are all
//! down, and routes that serve kept answers only.

use super::driver::Driver;
use super::seats::Seat;
use super::source::Source;
use crate::route::{Mode, Route};
use crate::vocab::amount::Percent;
use crate::vocab::time::Timestamp;

impl<S: Source> Driver<S> {
    pub(super) fn look_after_routes(&mut self, now: Timestamp) {
        let table = self.desk.live.load();
        for route in table.routes() {
            if route.mode() == Mode::Normal && self.all_down(route) {
                let why = "every version that takes requests is down".to_owned();
                self.desk.emergency(&route.name, None, (why, None), now);
            }
        }
        self.desk.look_after_journal(now);
        if !self.desk.emergencies.is_empty() {
            self.desk.emergencies.retain(|name, _| table.route(name).is_some());
            self.desk.examine_stable(&table);
        }
    }

    /// Whether every version that takes requests of the route is down.
    fn all_down(&self, route: &Route) -> bool {
        let mut taking = route
            .versions()
            .iter()
            .filter(|version| route.share(version) > Percent::ZERO)
            .peekable();
        taking.peek().is_some()
            && taking.all(|one| self.seats.get(one.slot).is_some_and(Seat::is_down))
            && self.seats.get(route.stable().slot).is_some_and(Seat::is_down)
    }
}
