//! `View`: the current table as one worker uses it, with its own ways to every version.
//!
//! Made anew when the table's number has changed or other servers are behind it, so that a request finds everything by
//! index: no lock, no lookup by name, and no counter that another worker writes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use super::session::{Seen, Sessions};
use crate::cache::Source;
use crate::clock::Wheel;
use crate::measure::Books;
use crate::route::RouteTable;
use crate::upstream::Connections;
use crate::upstream::Registry;
use crate::upstream::Serving;
use crate::upstream::Upstream;
use crate::vocab::ids::Slot;
use crate::vocab::policy::Affinity;

/// The current table as one worker uses it.
#[derive(Debug)]
pub(super) struct View {
    /// The table.
    pub(super) table: Arc<RouteTable>,
    /// How often servers had changed under a table when this was made.
    renewals: u64,
    /// By the place of the route and of the version in it.
    pub(super) places: Vec<Vec<Place>>,
    /// By the place of the route: which of its sessions have given evidence.
    pub(super) seen: Vec<Option<Arc<Seen>>>,
    /// The cookies of our own, by name: no version gets them.
    pub(super) cookies: Vec<String>,
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
    pub(super) fn view(&self, table: Arc<RouteTable>, sessions: &Sessions) -> View {
        let renewals = self.registry.renewals();
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
        let routes = table.routes().iter();
        let seen = routes.map(|route| {
            let is_sticky = route.policy.affinity.is_some();
            is_sticky.then(|| sessions.seen(&route.name))
        });
        let (seen, cookies) = (seen.collect(), cookies(&table));
        View { table, renewals, places, seen, cookies }
    }

    /// Whether the servers behind the view's table are still those of now.
    pub(super) fn is_current(&self, view: &View) -> bool {
        view.renewals == self.registry.renewals()
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
            Some(_) | None => Some(self.connect(upstream, before)),
        }
    }

    fn connect(
        &self,
        upstream: Arc<Upstream>,
        before: Option<&Rc<Serving>>,
    ) -> Rc<Serving> {
        let settings = &upstream.settings;
        let mut pools = self.pools.borrow_mut();
        let ours = upstream.endpoints.iter().map(|endpoint| {
            let pool = pools.entry(endpoint.id).or_insert_with(|| {
                let (endpoint, wheel) = (Arc::clone(endpoint), Rc::clone(&self.wheel));
                Connections::new(endpoint, settings, self.workers, wheel)
            });
            pool.configure(settings, self.workers);
            Rc::clone(pool)
        });
        let ours = ours.collect();
        Rc::new(Serving::new(upstream, ours, before.map(|before| &**before)))
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

fn cookies(table: &RouteTable) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for route in table.routes() {
        if let Some(Affinity::Cookie { name, .. }) = &route.policy.affinity
            && !names.contains(name)
        {
            names.push(name.clone());
        }
    }
    names
}
