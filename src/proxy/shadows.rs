//! Which copies one worker has in flight: how many there may be at once, and their end when
//! the table no longer wants them. Apart from `shadow`, because it knows nothing of requests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::task::AbortHandle;

use crate::route::RouteTable;
use crate::vocab::ids::{Name, Slot};

/// Copies in flight of one worker to one version.
const PER_VERSION: usize = 64;

/// Bytes of request bodies that one worker's copies hold.
const BYTES: usize = 16 * 1024 * 1024;

/// The copies that one worker has in flight.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    flying: RefCell<BTreeMap<u64, Flying>>,
    bytes: Cell<usize>,
    next: Cell<u64>,
}

#[derive(Debug)]
struct Flying {
    route: Name,
    slot: Slot,
    bytes: usize,
    task: Option<AbortHandle>,
}

/// Room for one copy, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    shadows: Rc<Shadows>,
    number: u64,
}

impl Shadows {
    /// Room for a copy with a body of so many bytes; `None` when too many are in flight.
    pub(super) fn seat(
        self: &Rc<Self>,
        route: &Name,
        slot: Slot,
        bytes: usize,
    ) -> Option<Seat> {
        let mut flying = self.flying.borrow_mut();
        let held = self.bytes.get() + bytes;
        let others = flying.values().filter(|one| one.slot == slot).count();
        if others >= PER_VERSION || held > BYTES {
            return None;
        }
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        self.bytes.set(held);
        flying.insert(number, Flying { route: route.clone(), slot, bytes, task: None });
        Some(Seat { shadows: Rc::clone(self), number })
    }

    /// The task of the copy in that seat, so that it can be ended.
    pub(super) fn hold(&self, number: u64, task: AbortHandle) {
        if let Some(flying) = self.flying.borrow_mut().get_mut(&number) {
            flying.task = Some(task);
        }
    }

    /// Ends the copies that this table does not want.
    pub(super) fn fit(&self, table: &RouteTable) {
        self.end(|one| !copies_to(table, &one.route, one.slot));
    }

    /// Ends all copies.
    pub(super) fn end_all(&self) {
        self.end(|_| true);
    }

    /// An ended task gives its seat back where it is dropped.
    fn end(&self, which: impl Fn(&Flying) -> bool) {
        let tasks: Vec<AbortHandle> = {
            let flying = self.flying.borrow();
            let ended = flying.values().filter(|one| which(one));
            ended.filter_map(|one| one.task.clone()).collect()
        };
        tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Seat {
    /// Which seat it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(gone) = self.shadows.flying.borrow_mut().remove(&self.number) {
            self.shadows.bytes.set(self.shadows.bytes.get() - gone.bytes);
        }
    }
}

/// Whether the table copies requests of that route to the version in that slot. A route
/// that is read-only sends no version anything.
pub(super) fn copies_to(table: &RouteTable, route: &Name, slot: Slot) -> bool {
    let route = table.route(route).filter(|route| !route.mode().is_read_only());
    route.is_some_and(|route| {
        route.copying().is_some_and(|copying| route.versions()[copying.to].slot == slot)
    })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::{BYTES, PER_VERSION, Shadows};
    use crate::vocab::ids::{Name, Slot};

    #[test]
    fn copies_are_bounded_by_version_and_by_bytes() {
        let shadows = Rc::<Shadows>::default();
        let name = Name::parse("r").unwrap();
        let slot = |number| Slot::new(number).unwrap();
        let mut seats: Vec<_> =
            (0..PER_VERSION).map(|_| shadows.seat(&name, slot(1), 1).unwrap()).collect();
        assert!(shadows.seat(&name, slot(1), 0).is_none());
        assert!(shadows.seat(&name, slot(2), 0).is_some());
        seats.pop();
        assert!(shadows.seat(&name, slot(1), 0).is_some());
        drop(seats);
        let whole = shadows.seat(&name, slot(1), BYTES).unwrap();
        assert!(shadows.seat(&name, slot(2), 1).is_none());
        assert!(shadows.seat(&name, slot(2), 0).is_some());
        drop(whole);
        assert!(shadows.seat(&name, slot(2), BYTES).is_some());
        assert!(shadows.flying.borrow().is_empty() && shadows.bytes.get() == 0);
    }
}
