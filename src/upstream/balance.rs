//! Which endpoint of a version is next: the less busy of two, or in turn.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::pool::Pool;
use super::registry::Upstream;
use super::settings::Balance;
use crate::clock;
use crate::vocab::amount::Percent;

/// One worker's way to the servers of one version.
#[derive(Debug)]
pub struct Serving {
    /// The servers, as all workers see them.
    pub upstream: Arc<Upstream>,
    pools: Vec<Rc<Pool>>,
    turn: Cell<usize>,
    /// Retries that may be made, in millionths.
    retries: Cell<u64>,
    /// Requests that failed in a row, whatever server they were on.
    failed: Cell<u32>,
}

impl Serving {
    /// The version's servers with this worker's pool for each, in the same order; `before`
    /// is the way to the version that this one takes the place of.
    #[must_use]
    pub fn new(
        upstream: Arc<Upstream>,
        pools: Vec<Rc<Pool>>,
        before: Option<&Self>,
    ) -> Self {
        let retries =
            before.map_or(RETRIES_AT_FIRST * ONE, |before| before.retries.get());
        let turn = before.map_or(0, |before| before.turn.get());
        let failed = before.map_or(0, |before| before.failed.get());
        Self {
            upstream,
            pools,
            turn: Cell::new(turn),
            retries: Cell::new(retries),
            failed: Cell::new(failed),
        }
    }

    /// This worker's pools.
    #[must_use]
    pub fn pools(&self) -> &[Rc<Pool>] {
        &self.pools
    }

    /// The place that the endpoint of one of the pools has in the version.
    #[must_use]
    pub fn place_of(&self, pool: &Rc<Pool>) -> usize {
        let position = self.pools.iter().position(|own| Rc::ptr_eq(own, pool));
        position.map_or(0, |position| self.upstream.place(position))
    }

    /// Counts a request: it earns a share of a retry.
    pub fn earn_retry(&self, budget: Percent) {
        let more = self.retries.get() + u64::from(budget.ppm());
        self.retries.set(more.min(RETRIES_AT_MOST * ONE));
    }

    /// Notes how a request ended.
    pub fn noted(&self, good: bool) {
        self.failed.set(if good { 0 } else { self.failed.get().saturating_add(1) });
    }

    /// Whether nothing that was asked of late was answered well.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failed.get() >= FAILING
    }

    /// Takes a retry out of what requests have earned, if there is one. Of a version that
    /// only fails it costs double: more requests are what it needs least.
    pub fn spend_retry(&self) -> bool {
        let price = if self.is_failing() { 2 * ONE } else { ONE };
        let left = self.retries.get().checked_sub(price);
        left.inspect(|left| self.retries.set(*left)).is_some()
    }

    /// The endpoint for a request; `tried` is the one that just failed, taken only when
    /// there is no other. When none may be asked all are: a refusal is no better than what
    /// a server that is thought dead may answer. `draw` gives random numbers.
    pub fn choose(
        &self,
        tried: Option<u32>,
        mut draw: impl FnMut(usize) -> usize,
    ) -> Option<&Rc<Pool>> {
        if let [only] = &self.pools[..] {
            return Some(only);
        }
        let now = clock::wall();
        let fits = |pool: &&Rc<Pool>, strict: bool| {
            (!strict || pool.endpoint.usable(now)) && Some(pool.endpoint.id) != tried
        };
        let strict = self.pools.iter().any(|pool| fits(&pool, true));
        let count = self.pools.iter().filter(|pool| fits(pool, strict)).count();
        if count == 0 {
            return self.pools.first();
        }
        let pick =
            |at: usize| self.pools.iter().filter(|pool| fits(pool, strict)).nth(at);
        match self.upstream.settings.balance {
            Balance::RoundRobin => {
                let turn = self.turn.get();
                self.turn.set(turn.wrapping_add(1));
                pick(turn % count)
            }
            Balance::LeastRequest if count == 1 => pick(0),
            Balance::LeastRequest => {
                let first = draw(count);
                let second = (first + 1 + draw(count - 1)) % count;
                let (first, second) = (pick(first)?, pick(second)?);
                Some(if second.busy() < first.busy() { second } else { first })
            }
        }
    }
}

const ONE: u64 = 1_000_000;

/// So that the first failure after a start can be tried again.
const RETRIES_AT_FIRST: u64 = 10;

/// What can be saved up for a burst.
const RETRIES_AT_MOST: u64 = 50;

/// So many failures in a row are no accident.
const FAILING: u32 = 5;
