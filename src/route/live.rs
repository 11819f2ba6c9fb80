//! The one `ArcSwap` of the process: where the current table hangs.
//!
//! Both sides are sequentially consistent, and that is what makes "drained" true: control
//! publishes and then reads the in-flight counts; a request raises its count and then reads
//! the generation. Whatever the order, either the request sees the new table or the drain
//! sees the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::table::RouteTable;
use crate::vocab::ids::Generation;

/// The current table and its number.
#[derive(Debug)]
pub struct Live {
    table: ArcSwap<RouteTable>,
    generation: AtomicU64,
}

impl Live {
    /// Begins with this table.
    #[must_use]
    pub fn new(table: RouteTable) -> Self {
        let generation = AtomicU64::new(table.generation().0);
        Self { table: ArcSwap::from_pointee(table), generation }
    }

    /// The current table.
    #[must_use]
    pub fn load(&self) -> Arc<RouteTable> {
        self.table.load_full()
    }

    /// The number of the current table.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::SeqCst))
    }

    /// Makes `next` the current table, for every request that is not yet settled. Only
    /// `control` may call this. A table that is not newer than the current one is refused,
    /// and `false` returned.
    #[must_use]
    pub fn publish(&self, next: RouteTable) -> bool {
        let number = next.generation().0;
        if number <= self.generation.load(Ordering::SeqCst) {
            return false;
        }
        self.table.store(Arc::new(next));
        self.generation.store(number, Ordering::SeqCst);
        true
    }
}
