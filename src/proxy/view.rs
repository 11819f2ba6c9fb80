//! `View`: the current table as one worker uses it, with its own ways to every version.
//!
//! Made anew when the table's number has changed, so that a request finds everything by
//! index: no lock, no lookup by name, and no counter that another worker writes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use crate::cache::Source;
use crate::clock::Wheel;
use crate::measure::Books;
use crate::route::RouteTable;
use crate::upstream::Connections;
use crate::upstream::Registry;
use crate::upstream::Serving;
use crate::upstream::Upstream;
use crate::vocab::ids::Slot;

/// The current table as one worker uses it.
#[derive(Debug)]
pub(super) struct View {
    /// The table.
    pub(super) table: Arc<RouteTable>,
    /// By the place of the route and of the version in it.
    pub(super) places: Vec<Vec<Place>>,
}

/// One version as one worker uses it.
#[derive(Debug)]
pub(super) struct Place {
    /// The way to its servers; `None` when there are none, which control prevents.
    pub(super) serving: Option<Rc<Serving>>,
    /// The value of `x-model-version`.
    pub(super) stamp: HeaderValue,
    /// What its kept answers are known by.
    pub(super) source: Source,
}

/// One worker's pools and ways, kept from view to view.
#[derive(Debug)]
pub(super) struct Ways {
    registry: Arc<Registry>,
    books: Rc<Books>,
    wheel: Rc<Wheel>,
    workers: usize,
    pools: RefCell<HashMap<u32, Rc<Connections>>>,
    serving: RefCell<HashMap<Slot, Rc<Serving>>>,
}

impl Ways {
    /// No ways yet. `workers` is how many share the bounds on connections.
    pub(super) fn new(
        registry: Arc<Registry>,
        books: Rc<Books>,
        wheel: Rc<Wheel>,
        workers: usize,
    ) -> Self {
        let (pools, serving) = (RefCell::default(), RefCell::default());
        Self { registry, books, wheel, workers, pools, serving }
    }

    /// The view of a table. Ways that it no longer needs are closed.
    pub(super) fn view(&self, table: Arc<RouteTable>) -> View {
        let before = self.serving.take();
        let mut after = HashMap::new();
        let places = table
            .routes()
            .iter()
            .map(|route| {
                let places = route.versions().iter().map(|version| {
                    let serving = self.serving(version.slot, before.get(&version.slot));
                    if let Some(serving) = &serving {
                        after.insert(version.slot, Rc::clone(serving));
                    }
                    self.books.prepare(version.slot);
                    let stamp = HeaderValue::from_str(version.name.as_str());
                    Place {
                        serving,
                        stamp: stamp
                            .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
                        source: Source {
                            name: version.name.clone(),
                            digest: version.digest.clone(),
                            slot: version.slot,
                        },
                    }
                });
                places.collect()
            })
            .collect();
        for gone in before.keys().filter(|slot| !after.contains_key(slot)) {
            self.books.forget(*gone);
        }
        self.retire(&after);
        self.serving.replace(after);
        View { table, places }
    }

    /// Closes what has been idle too long.
    pub(super) fn tidy(&self) {
        let now = crate::clock::now();
        for pool in self.pools.borrow().values() {
            pool.tidy(now);
        }
    }

    fn serving(&self, slot: Slot, before: Option<&Rc<Serving>>) -> Option<Rc<Serving>> {
        let upstream = self.registry.get(slot)?;
        match before {
            Some(serving) if Arc::ptr_eq(&serving.upstream, &upstream) => {
                Some(Rc::clone(serving))
            }
            Some(_) | None => Some(self.connect(upstream)),
        }
    }

    fn connect(&self, upstream: Arc<Upstream>) -> Rc<Serving> {
        let settings = &upstream.settings;
        let (bounds, timeout) = (settings.pool, settings.connect_timeout);
        let mut pools = self.pools.borrow_mut();
        let ours = upstream.endpoints.iter().map(|endpoint| {
            let pool = pools.entry(endpoint.id).or_insert_with(|| {
                let (endpoint, wheel) = (Arc::clone(endpoint), Rc::clone(&self.wheel));
                Connections::new(endpoint, bounds, timeout, self.workers, wheel)
            });
            pool.configure(bounds, timeout, self.workers);
            Rc::clone(pool)
        });
        let ours = ours.collect();
        Rc::new(Serving::new(upstream, ours))
    }

    fn retire(&self, needed: &HashMap<Slot, Rc<Serving>>) {
        self.pools.borrow_mut().retain(|id, pool| {
            let kept = needed.values().any(|serving| {
                serving.pools().iter().any(|pool| pool.endpoint.id == *id)
            });
            if !kept {
                pool.retire();
            }
            kept
        });
    }
}
