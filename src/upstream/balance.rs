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
}

impl Serving {
    /// The version's servers with this worker's pool for each, in the same order.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, pools: Vec<Rc<Pool>>) -> Self {
        Self {
            upstream,
            pools,
            turn: Cell::new(0),
            retries: Cell::new(RETRIES_AT_FIRST * ONE),
        }
    }

    /// This worker's pools.
    #[must_use]
    pub fn pools(&self) -> &[Rc<Pool>] {
        &self.pools
    }

    /// The place of one of the pools, which is its endpoint's place in the version.
    #[must_use]
    pub fn place_of(&self, pool: &Rc<Pool>) -> usize {
        self.pools.iter().position(|own| Rc::ptr_eq(own, pool)).unwrap_or(0)
    }

    /// Counts a request: it earns a share of a retry.
    pub fn earn_retry(&self, budget: Percent) {
        let more = self.retries.get() + u64::from(budget.ppm());
        self.retries.set(more.min(RETRIES_AT_MOST * ONE));
    }

    /// Takes a retry out of what requests have earned, if there is one.
    pub fn spend_retry(&self) -> bool {
        let left = self.retries.get().checked_sub(ONE);
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
const RETRIES_AT_MOST: u64 = 100;
