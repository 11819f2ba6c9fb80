//! The cache of the process: a shelf for every route that has opted in, and what was purged.
//! Apart, because it is what the workers and the control plane share; a request touches
//! what is shared only to put an answer away or when every version has failed it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;

use super::disk::{Post, Seen};
use super::entry::{Entry, Source, kept_headers};
use super::key::{Pending, Question, RequestFacts, target};
use super::policy::{AnswerFacts, Scope, Why, demand, terms};
use super::shelf::{Shelf, Size, Spot};
use super::tee::{Allowance, Tee};
use crate::vocab::ids::{Name, Slot};
use crate::vocab::policy::CachePolicy;
use crate::vocab::time::Timestamp;

/// Kept answers of all routes, in memory; a route that asks for it has a copy on disk,
/// which is read back at the start and at no other time.
pub struct Cache {
    shelves: RwLock<HashMap<Name, Shelf>>,
    /// How many purges there have been.
    purges: AtomicU64,
    /// The number of the last purge of every slot.
    purged: Box<[AtomicU64]>,
    /// Slots of the configuration in force.
    known: Box<[AtomicBool]>,
    /// How often routes were made room for, and targets changed.
    fits: AtomicU64,
    touches: AtomicU64,
    post: OnceLock<Post>,
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
            known: (0..Slot::LIMIT).map(|_| AtomicBool::new(true)).collect(),
            fits: AtomicU64::new(0),
            touches: AtomicU64::new(0),
            post: OnceLock::new(),
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
            let mut shelf = match shelves.remove(name) {
                Some(shelf) if shelf.size() == size => shelf,
                Some(shelf) => shelf.resized(size),
                None => Shelf::new(size),
            };
            shelf.persist(policy.persist.then_some(policy.ttl));
            next.insert(name.clone(), shelf);
        }
        self.allowance.fit(largest);
        let left = std::mem::replace(&mut *shelves, next);
        drop(shelves);
        drop(left);
        self.fits.fetch_add(1, Ordering::AcqRel);
        self.look();
    }

    /// Names the slots of the configuration in force; to be called before [`Cache::fit`].
    /// What a version of another slot gave is not found any more, and its copy on disk goes.
    pub fn know(&self, slots: impl IntoIterator<Item = Slot>) {
        let mut known = vec![false; Slot::LIMIT];
        slots.into_iter().for_each(|slot| known[slot.index()] = true);
        for (place, is_known) in self.known.iter().zip(known) {
            place.store(is_known, Ordering::Release);
        }
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
                && !shelf.is_touched(entry.target, entry.stored)
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
            target: question.target,
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
        let gone = self.retain(|entry| entry.source.slot != slot);
        self.look();
        gone
    }

    /// Forgets what was kept about the target of a request that changed it: one of an unsafe
    /// method that a version answered without an error (RFC 9111, 4.4). To be called with
    /// requests whose own answers are not kept.
    pub fn touch(&self, scope: Scope<'_>, facts: &RequestFacts<'_>, now: Timestamp) {
        if let Some(shelf) = self.shelves().get(scope.route) {
            shelf.touch(target(facts), now);
        }
        self.touches.fetch_add(1, Ordering::AcqRel);
        self.look();
    }

    /// Has the copy on disk finished, if there is one: the thread of [`super::Disk::run`]
    /// writes what waits and ends.
    pub fn close(&self) {
        if let Some(post) = self.post.get() {
            post.stop();
        }
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
        let entry = Arc::new(entry);
        let shelves = self.shelves();
        let shelf = shelves.get(route).ok_or(Why::NoRoute)?;
        shelf.put(spot, Arc::clone(&entry), || self.is_valid(spot.slot, mark))?;
        if shelf.persisted().is_some()
            && let Some(post) = self.post.get()
        {
            post.keep(route, spot, mark, entry);
        }
        Ok(())
    }

    /// Puts an answer of an earlier run back, unless its slot was purged since `mark`.
    pub(super) fn restore(
        &self,
        route: &Name,
        spot: Spot,
        mark: u64,
        entry: Entry,
    ) -> Result<(), Why> {
        let shelves = self.shelves();
        let shelf = shelves.get(route).ok_or(Why::NoRoute)?;
        shelf.restore(spot, Arc::new(entry), || self.is_valid(spot.slot, mark))
    }

    /// Whether an answer to a request that began after `mark` purges is still to be kept.
    pub(super) fn is_valid(&self, slot: Slot, mark: u64) -> bool {
        self.purged[slot.index()].load(Ordering::Acquire) <= mark
    }

    pub(super) fn is_known(&self, slot: Slot) -> bool {
        self.known[slot.index()].load(Ordering::Acquire)
    }

    pub(super) fn is_touched(&self, route: &Name, target: u64, at: Timestamp) -> bool {
        self.shelves().get(route).is_some_and(|shelf| shelf.is_touched(target, at))
    }

    /// How much a route keeps and for how long, if it has a copy on disk.
    pub(super) fn persisted(&self, route: &Name) -> Option<(Size, Duration)> {
        let shelves = self.shelves();
        let shelf = shelves.get(route)?;
        Some((shelf.size(), shelf.persisted()?))
    }

    /// How much has changed that the copy on disk must follow.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            purges: self.purges.load(Ordering::Acquire),
            fits: self.fits.load(Ordering::Acquire),
            touches: self.touches.load(Ordering::Acquire),
        }
    }

    /// Gives the cache its copy on disk; whether it had none.
    pub(super) fn attach(&self, post: Post) -> bool {
        self.post.set(post).is_ok()
    }

    pub(super) fn post(&self) -> Option<&Post> {
        self.post.get()
    }

    fn look(&self) {
        if let Some(post) = self.post.get() {
            post.look();
        }
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
