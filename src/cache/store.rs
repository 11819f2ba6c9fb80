//! The cache of the process: a shelf for every route that has opted in, and the purges.
//! Apart, because it is what the workers and the control plane share; a request touches
//! what is shared only to put an answer away or when every version has failed it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;

use super::entry::{Entry, Source, kept_headers};
use super::key::{Pending, Question, RequestFacts};
use super::policy::{AnswerFacts, Scope, Why, demand, terms};
use super::shelf::{Shelf, Size, Spot};
use super::tee::{Allowance, Tee};
use crate::vocab::ids::{Name, Slot};
use crate::vocab::policy::CachePolicy;
use crate::vocab::time::Timestamp;

/// Kept answers of all routes, in memory only.
pub struct Cache {
    shelves: RwLock<HashMap<Name, Shelf>>,
    /// How many purges there have been.
    purges: AtomicU64,
    /// The number of the last purge of every slot.
    purged: Box<[AtomicU64]>,
    allowance: Arc<Allowance>,
}

impl Cache {
    /// A cache that keeps nothing until [`Cache::fit`] names routes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shelves: RwLock::default(),
            purges: AtomicU64::new(0),
            purged: (0..Slot::LIMIT).map(|_| AtomicU64::new(0)).collect(),
            allowance: Arc::new(Allowance::new()),
        }
    }

    /// Makes room for exactly these routes; to be called with every new configuration.
    /// What is kept for a route stays as far as the new size allows; what is kept for a
    /// route that is not named goes.
    pub fn fit<'a>(&self, routes: impl IntoIterator<Item = (&'a Name, &'a CachePolicy)>) {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::new();
        let mut largest = 0;
        for (name, policy) in routes {
            let size = Size::from(policy);
            largest = largest.max(size.each);
            let shelf = match shelves.remove(name) {
                Some(shelf) if shelf.size() == size => shelf,
                Some(shelf) => shelf.resized(size),
                None => Shelf::new(size),
            };
            next.insert(name.clone(), shelf);
        }
        self.allowance.fit(largest);
        let left = std::mem::replace(&mut *shelves, next);
        drop(shelves);
        drop(left);
    }

    /// The beginning of a question, or `None` when the request has nothing to do with the
    /// cache. Touches nothing that is shared but one counter that seldom changes.
    #[must_use]
    pub fn begin(&self, scope: Scope<'_>, facts: &RequestFacts<'_>) -> Option<Pending> {
        let demand = demand(scope.policy, facts)?;
        let mark = self.purges.load(Ordering::Acquire);
        Some(Pending::new(scope, facts, demand, mark))
    }

    /// A kept answer to the question by the first of `versions` that has one. Name those
    /// only that may serve now, stable first; never a quarantined one.
    #[must_use]
    pub fn lookup(
        &self,
        scope: Scope<'_>,
        question: &Question,
        versions: &[Source],
        now: Timestamp,
    ) -> Option<Arc<Entry>> {
        let shelves = self.shelves();
        let shelf = shelves.get(scope.route)?;
        let may = |entry: &Arc<Entry>, source: &Source| {
            entry.source == *source
                && !entry.is_over(now, scope.policy.ttl)
                && question.demand.accepts(entry, now)
        };
        versions.iter().find_map(|source| {
            let digests = [question.key.exact, question.key.any];
            let spots =
                digests.into_iter().map(|digest| Spot { digest, slot: source.slot });
            spots
                .filter_map(|spot| shelf.get(&spot))
                .filter(|entry| may(entry, source))
                .max_by_key(|entry| entry.stored)
        })
    }

    /// The copy of an answer that may be kept, to be fed while the answer streams.
    ///
    /// # Errors
    /// [`Why`] it may not be kept.
    pub fn keep(
        self: &Arc<Self>,
        scope: Scope<'_>,
        question: &Question,
        answer: &AnswerFacts<'_>,
    ) -> Result<Tee, Why> {
        let terms = terms(scope.policy, &question.demand, answer)?;
        let entry = Entry {
            source: answer.source.clone(),
            status: answer.status,
            headers: kept_headers(answer.headers),
            body: Bytes::new(),
            stored: answer.now,
            age: terms.age,
            fresh: terms.fresh,
            limit: terms.limit,
            public: terms.public,
        };
        let key = question.key;
        let digest = if terms.exact { key.exact } else { key.any };
        let place = (
            scope.route.clone(),
            Spot { digest, slot: answer.source.slot },
            question.mark,
        );
        Tee::new(Arc::clone(self), place, entry, (terms.length, scope.policy.max_entry))
    }

    /// Forgets every answer of that slot and says how many there were. Once it returns, no
    /// answer to a request that began before the call is kept under the slot again. To be
    /// called when a version is rolled back, and before its slot is given to another.
    pub fn purge(&self, slot: Slot) -> usize {
        let number = self.purges.fetch_add(1, Ordering::AcqRel) + 1;
        self.purged[slot.index()].fetch_max(number, Ordering::AcqRel);
        self.retain(|entry| entry.source.slot != slot)
    }

    /// Forgets what may not be served any more and says how much there was. Expired
    /// answers are never served, swept or not; this bounds how long they stay in memory.
    pub fn sweep(&self, now: Timestamp) -> usize {
        self.retain(|entry| !entry.is_over(now, Duration::MAX))
    }

    /// Bytes that kept answers take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shelves().values().map(Shelf::bytes).sum()
    }

    /// Bytes that copies under way take.
    #[must_use]
    pub fn copying(&self) -> usize {
        self.allowance.used()
    }

    /// How many answers are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelves().values().map(Shelf::len).sum()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn allowance(&self) -> &Arc<Allowance> {
        &self.allowance
    }

    /// Puts a whole answer away, unless its slot was purged since its request began.
    pub(super) fn put(
        &self,
        route: &Name,
        spot: Spot,
        mark: u64,
        entry: Entry,
    ) -> Result<(), Why> {
        let may = || self.purged[spot.slot.index()].load(Ordering::Acquire) <= mark;
        let shelves = self.shelves();
        let shelf = shelves.get(route).ok_or(Why::NoRoute)?;
        shelf.put(spot, Arc::new(entry), may)
    }

    fn retain(&self, keep: impl Fn(&Entry) -> bool) -> usize {
        self.shelves().values().map(|shelf| shelf.retain(&keep)).sum()
    }

    fn shelves(&self) -> RwLockReadGuard<'_, HashMap<Name, Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests/store.rs"]
mod tests;
