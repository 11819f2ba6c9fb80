//! `Spots`: the addresses that lead to one server, and which of them is tried first.
//!
//! Apart from the endpoint, because the request path never looks here: only who opens a
//! connection does. A name's addresses change while connections to them live; each worker
//! compares the number of changes and then closes what leads elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::vocab::time::Timestamp;

/// The addresses of one server at one moment.
#[derive(Debug, Default)]
pub(super) struct Spots {
    list: Vec<Arc<Spot>>,
    /// Which is first for the next connection, so that all are used.
    turn: AtomicUsize,
    /// Why there is none.
    pub(super) why: Option<String>,
}

/// One address.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) at: SocketAddr,
    /// Until then it is tried after the others: it has just refused, or was slow.
    avoid_until: AtomicU64,
}

impl Spots {
    /// These addresses. What is known of those that `before` has too is kept.
    pub(super) fn new(all: &[SocketAddr], before: Option<&Self>) -> Self {
        let old = before.map_or(&[][..], |before| &before.list);
        let spot = |at: &SocketAddr| match old.iter().find(|spot| spot.at == *at) {
            Some(kept) => Arc::clone(kept),
            None => Arc::new(Spot { at: *at, avoid_until: AtomicU64::new(0) }),
        };
        Self { list: all.iter().map(spot).collect(), ..Self::default() }
    }

    /// No address, and why.
    pub(super) fn none(why: String) -> Self {
        Self { why: Some(why), ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The addresses.
    pub(super) fn all(&self) -> impl Iterator<Item = SocketAddr> {
        self.list.iter().map(|spot| spot.at)
    }

    pub(super) fn is(&self, all: &[SocketAddr]) -> bool {
        self.all().eq(all.iter().copied())
    }

    /// In which order they are tried for one connection: in turn, those to avoid last, and
    /// the two families by turns, so that a family without a route costs little.
    pub(super) fn order(&self, now: Timestamp) -> Vec<Arc<Spot>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn.checked_rem(self.list.len()).unwrap_or(0);
        let (late, early) = self.list.split_at(first);
        let mut order: Vec<Arc<Spot>> = early.iter().chain(late).cloned().collect();
        order = by_turns(order);
        order.sort_by_key(|spot| spot.is_avoided(now));
        order
    }
}

impl Spot {
    fn is_avoided(&self, now: Timestamp) -> bool {
        self.avoid_until.load(Ordering::Relaxed) > now.0
    }

    /// It is tried after the others until then.
    pub(super) fn avoid(&self, until: Timestamp) {
        self.avoid_until.store(until.0, Ordering::Relaxed);
    }
}

/// The first as it is, and then one of each family after the other as long as both last.
fn by_turns(all: Vec<Arc<Spot>>) -> Vec<Arc<Spot>> {
    let Some(six) = all.first().map(|spot| spot.at.is_ipv6()) else { return all };
    let count = all.len();
    let (same, other): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|spot| spot.at.is_ipv6() == six);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        order.extend(same.next());
        order.extend(other.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::Spots;
    use crate::vocab::time::Timestamp;

    fn sockets(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn order(spots: &Spots, now: u64) -> Vec<String> {
        spots.order(Timestamp(now)).iter().map(|spot| spot.at.to_string()).collect()
    }

    #[test]
    fn each_is_first_in_turn_and_families_take_turns() {
        let all = sockets(&["10.0.0.1:1", "10.0.0.2:1", "[::1]:1"]);
        let spots = Spots::new(&all, None);
        assert_eq!(order(&spots, 0), ["10.0.0.1:1", "[::1]:1", "10.0.0.2:1"]);
        assert_eq!(order(&spots, 0), ["10.0.0.2:1", "[::1]:1", "10.0.0.1:1"]);
        assert_eq!(order(&spots, 0), ["[::1]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        assert!(order(&Spots::default(), 0).is_empty());
    }

    #[test]
    fn what_refused_is_last_for_a_while_also_after_a_change() {
        let all = sockets(&["10.0.0.1:1", "10.0.0.2:1"]);
        let spots = Spots::new(&all, None);
        spots.order(Timestamp(0))[0].avoid(Timestamp(100));
        for _ in 0..4 {
            assert_eq!(order(&spots, 99)[1], "10.0.0.1:1");
        }
        let more = sockets(&["10.0.0.1:1", "10.0.0.3:1"]);
        let next = Spots::new(&more, Some(&spots));
        assert_eq!(order(&next, 99)[1], "10.0.0.1:1");
        assert_eq!(order(&next, 100).len(), 2);
        assert!(next.is(&more) && !next.is(&all));
    }
}
