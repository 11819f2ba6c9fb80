//! `start`: puts the control plane together and makes the first table.
//!
//! Quarantines and protects of earlier runs are in that table from the first moment: it exists before
//! any worker has a table to serve from.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;

use super::driver::{Driver, Inlets};
use super::execute::Desk;
use super::handle::ControlHandle;
use super::plan::{Known, PlanError, Weights, plan};
use super::scribe::{self, NOTES, Shelf};
use super::seats::Seats;
use super::settings::Settings;
use super::source::Source;
use crate::clock;
use crate::measure::{Ledger, Roster};
use crate::rollout::{Protects, Quarantine};
use crate::route::{Live, RouteTable};
use crate::store::{Store, StoreError};
use crate::tasks;
use crate::telemetry::{Exporter, emit};
use crate::trace::{RecordSettings, Recorder};
use crate::upstream::Registry;
use crate::vocab::ids::Slot;
use crate::vocab::record::{ProtectEntry, QuarantineEntry};

/// What the control plane is made of.
#[derive(Debug)]
pub struct Parts {
    /// What the configuration says.
    pub settings: Settings,
    /// Slots and requests in flight.
    pub roster: Arc<Roster>,
    /// Where the servers of each slot are put.
    pub registry: Arc<Registry>,
    /// Where the books come from.
    pub ledger: Ledger,
    /// Where quarantines and protects are kept.
    pub store: Store,
    /// Makes the metrics page.
    pub exporter: Exporter,
    /// Who wants to know.
    pub hooks: Hooks,
    /// Where requests are recorded, if they are.
    pub record: Option<RecordSettings>,
}

/// What others do when something happens here. Called within the turn, so they are quick.
pub struct Hooks {
    /// A version was just taken out of the table.
    pub on_quarantine: Box<dyn Fn(Slot) + Send>,
    /// This table is about to be in force.
    pub on_table: Box<dyn Fn(&RouteTable) + Send>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// Why the control plane cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The quarantines and protects of earlier runs cannot be read.
    #[error("cannot read the quarantines and protects of earlier runs")]
    Store(#[from] StoreError),
    /// The settings do not make a table.
    #[error("the configuration does not make a route table")]
    Plan(#[from] PlanError),
}

/// Makes the first table and starts what runs beside the loop. Gives the way in, the table,
/// and the loop itself, to be spawned; it ends at `end`, or when nobody can give orders any
/// more, and what is still to be written then gets a moment. Needs a runtime. Blocks for as long as the store takes to be read.
///
/// # Errors
/// [`StartError`] when the store cannot be read or the settings do not make a table.
pub async fn start(
    parts: Parts,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<
    (ControlHandle, Arc<Live>, impl Future<Output = ()> + Send + 'static),
    StartError,
> {
    let Parts { settings, roster, registry, ledger, store, exporter, hooks, record } =
        parts;
    let kept = Kept { quarantines: store.all()?, protects: store.protects()? };
    let house = House { roster, registry, exporter, hooks };
    let (handle, live, mut driver) =
        build(house, settings, ledger, Arc::new(store), kept)?;
    if let Some(record) = record {
        driver.record(Recorder::start(&record));
    }
    Ok((handle, live, driver.run_until(end)))
}

/// What the loop works on, whatever its books and its shelf are.
pub(super) struct House {
    pub(super) roster: Arc<Roster>,
    pub(super) registry: Arc<Registry>,
    pub(super) exporter: Exporter,
    pub(super) hooks: Hooks,
}

/// What earlier runs left.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) quarantines: Vec<QuarantineEntry>,
    pub(super) protects: Vec<ProtectEntry>,
}

pub(super) fn build<S: Source>(
    house: House,
    settings: Settings,
    source: S,
    shelf: Arc<dyn Shelf>,
    kept: Kept,
) -> Result<(ControlHandle, Arc<Live>, Driver<S>), PlanError> {
    let House { roster, registry, exporter, hooks } = house;
    let quarantine = Quarantine::new(kept.quarantines);
    // A run may have ended between a quarantine and the end of the protect before it.
    let open = kept.protects.into_iter().filter(|ProtectEntry { record, digest }| {
        !quarantine.holds(&record.route, &record.version, digest)
    });
    let protects = Protects::new(open.collect());
    let mut seats = Seats::new(Arc::clone(&roster), registry);
    let known = Known {
        seats: &seats,
        weights: &Weights::default(),
        quarantine: &quarantine,
        protects: &protects,
        probing: &BTreeSet::new(),
        table: &RouteTable::default(),
    };
    let mut plan = plan(&settings, known)?;
    seats.seat(&plan, &settings);
    plan.settle();
    let table = plan.table;
    for route in table.routes() {
        for version in route.versions() {
            let (name, digest) = (&version.name, &version.digest);
            if let Some(entry) = quarantine.holding(&route.name, name, digest) {
                emit::quarantine_loaded(&route.name, name, &entry.reason);
            }
            if let Some(entry) = protects.holding(&route.name, name, digest) {
                emit::protect_loaded(&entry.record);
            }
        }
    }
    (hooks.on_table)(&table);
    let live = Arc::new(Live::new(table));
    let (handle, inbox) = ControlHandle::new();
    let (notes, to_write) = mpsc::channel(NOTES);
    let (tell, events) = mpsc::channel(EVENTS);
    let scribe = tasks::shared("scribe", scribe::write(shelf, to_write, tell.clone()));
    let desk = Desk::new(
        (Arc::clone(&live), roster),
        (exporter, hooks),
        (quarantine, protects),
        notes,
        tell,
    );
    let inlets = Inlets { inbox, events, scribe };
    let mut driver = Driver::new(source, seats, desk, settings, inlets);
    driver.align(clock::wall());
    Ok((handle, live, driver))
}

/// Events that wait for the loop; whoever has one more waits.
const EVENTS: usize = 256;
