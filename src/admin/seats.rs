//! `Seats`: so many callers at a time, and who has to go when one more comes.
//!
//! Apart because of what it keeps: an operator gets in although somebody else opened as
//! many connections as there may be and says nothing on them. When all seats are taken the
//! caller who has been without an order for longest loses his; whoever has an order
//! running keeps it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock;

/// The seats of one listener.
#[derive(Debug)]
pub(super) struct Seats {
    limit: usize,
    taken: Mutex<Vec<Arc<Place>>>,
    freed: Notify,
}

/// One caller's seat; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    place: Arc<Place>,
}

/// Keeps a seat from being taken away while an order runs.
#[derive(Debug)]
pub(super) struct AtWork(Arc<Place>);

#[derive(Debug)]
struct Place {
    state: Mutex<State>,
    leave: Notify,
}

#[derive(Debug)]
struct State {
    since: Instant,
    at_work: bool,
    leaving: bool,
}

impl Seats {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let taken = Mutex::new(Vec::with_capacity(limit));
        Arc::new(Self { limit, taken, freed: Notify::new() })
    }

    /// Waits for a seat, which takes one from an idle caller if it must.
    pub(super) async fn take(self: &Arc<Self>) -> Seat {
        loop {
            let freed = self.freed.notified();
            let again = match self.try_take() {
                Ok(seat) => return seat,
                Err(again) => again,
            };
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep_until(again) => {}
            }
        }
    }

    /// Waits until nobody sits.
    pub(super) async fn empty(&self) {
        loop {
            let freed = self.freed.notified();
            if lock(&self.taken).is_empty() {
                return;
            }
            freed.await;
        }
    }

    /// Asks everybody to leave, orders running or not.
    pub(super) fn dismiss(&self) {
        for place in lock(&self.taken).iter() {
            place.leave.notify_one();
        }
    }

    /// A seat, or when it is worth asking again.
    fn try_take(self: &Arc<Self>) -> Result<Seat, Instant> {
        let mut taken = lock(&self.taken);
        if taken.len() < self.limit {
            let state = State { since: clock::now(), at_work: false, leaving: false };
            let place =
                Arc::new(Place { state: Mutex::new(state), leave: Notify::new() });
            taken.push(Arc::clone(&place));
            return Ok(Seat { seats: Arc::clone(self), place });
        }
        let idlest = taken
            .iter()
            .filter_map(|place| {
                let state = lock(&place.state);
                (!state.at_work && !state.leaving).then_some((state.since, place))
            })
            .min_by_key(|(since, _)| *since);
        let now = clock::now();
        match idlest {
            Some((since, place)) if since + GRACE <= now => {
                lock(&place.state).leaving = true;
                place.leave.notify_one();
                Err(now + GRACE)
            }
            Some((since, _)) => Err(since + GRACE),
            None => Err(now + GRACE),
        }
    }
}

impl Seat {
    /// Waits until the seat is needed for somebody else.
    pub(super) async fn asked_to_leave(&self) {
        self.place.leave.notified().await;
    }

    /// An order runs until the guard is dropped.
    pub(super) fn work(&self) -> AtWork {
        lock(&self.place.state).at_work = true;
        AtWork(Arc::clone(&self.place))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.seats.taken).retain(|place| !Arc::ptr_eq(place, &self.place));
        self.seats.freed.notify_one();
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.at_work = false;
        state.since = clock::now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole after every line that changes it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A caller may be silent for so long before his seat can be taken: enough to send a
/// request or to take an answer, short enough that a thousand silent ones do not keep an
/// operator out.
const GRACE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::Seats;

    #[tokio::test(start_paused = true)]
    async fn the_idlest_caller_makes_room_for_one_more() {
        let seats = Seats::new(2);
        let (old, new) = (seats.take().await, seats.take().await);
        let work = old.work();
        let (next, ()) = tokio::join!(seats.take(), async {
            // `old` has an order running, so it is `new` who is asked.
            new.asked_to_leave().await;
            drop(new);
        });
        drop(work);
        assert!(timeout(Duration::from_secs(9), old.asked_to_leave()).await.is_err());
        drop((old, next));
        seats.empty().await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_sent_away_while_all_have_orders_running() {
        let seats = Seats::new(1);
        let only = seats.take().await;
        let _work = only.work();
        assert!(timeout(Duration::from_secs(60), seats.take()).await.is_err());
        assert!(timeout(Duration::from_secs(1), only.asked_to_leave()).await.is_err());
    }
}
