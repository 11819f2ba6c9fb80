//! `start`: puts the control plane together and makes the first table.
//!
//! Quarantines and protects of earlier runs are in that table from the first moment: it exists before
//! any worker has a table to serve from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;

use super::driver::{Driver, Inlets};
use super::execute::{Desk, Examine, Pens};
use super::handle::{ControlHandle, LOOKING};
use super::journal::{Clerk, Journal};
use super::outlets::Outlets;
use super::past::Past;
use super::plan::{Known, PlanError, Weights, plan, relieved};
use super::rollouts::{Rollouts, Row};
use super::scribe::{self, NOTES, Shelf};
use super::seats::Seats;
use super::settings::Settings;
use super::source::Source;
use crate::audit;
use crate::clock;
use crate::dns::Names;
use crate::effects;
use crate::effects::{Outbox, OutboxError};
use crate::measure::{Ledger, Roster};
use crate::rollout::{Protects, Quarantine};
use crate::route::{Live, RouteTable};
use crate::store::{Store, StoreError};
use crate::tasks;
use crate::telemetry::{Exporter, emit, logs};
use crate::trace::{RecordSettings, Recorder};
use crate::upstream::{Guard, Registry, Upstream, examine};
use crate::vocab::ids::{Name, Slot};
use crate::vocab::notice::Delivery;
use crate::vocab::record::{ActingEntry, ProtectEntry, QuarantineEntry};

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
    /// Where failure analyses are put.
    pub state_dir: PathBuf,
    /// Where everything is written down that is done.
    pub audit: (audit::Unstarted, audit::Opened),
    /// Who is told what.
    pub effects: effects::Settings,
    /// Makes the metrics page.
    pub exporter: Exporter,
    /// Who wants to know.
    pub hooks: Hooks,
    /// The addresses that this process listens on.
    pub own: Vec<SocketAddr>,
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
    /// The records of earlier runs cannot be read.
    #[error("cannot read the records of earlier runs")]
    Audit(#[from] audit::AuditError),
    /// Nobody can be told anything.
    #[error("cannot start the outbox")]
    Outbox(#[from] OutboxError),
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
    let Parts { settings, roster, registry, ledger, store, exporter, .. } = parts;
    let Parts { hooks, record, audit, effects, state_dir, own, .. } = parts;
    let (unstarted, opened) = audit;
    let past = Past::read(&opened.recent(MOST_RECORDS, Past::wants)?);
    let (outbox, deliveries) = Outbox::start(&effects, &state_dir)?;
    let shipping = outbox.clone();
    let auditor = unstarted.start(move |line| shipping.ship(line));
    let journal: Arc<dyn Journal> = Arc::new(Outlets { auditor, outbox });
    let (mut quarantines, protects) = (store.all()?, store.protects()?);
    for entry in &past.out {
        if !quarantines.iter().any(|known| known.rollback_id == entry.rollback_id) {
            if let Err(error) = store.quarantine(entry) {
                // It stands in this process; the next start finds it in the log again.
                let what = format!("the quarantine of {}", entry.version);
                emit::persist_failed(&what, 1, Duration::ZERO, &logs::chain(&error));
            }
            quarantines.push(entry.clone());
        }
    }
    let (acting, rollouts) = (store.acting()?, store.rollouts()?);
    let kept = Kept { quarantines, protects, acting, rollouts, past };
    let examine: Examine = Arc::new(|upstream: Arc<Upstream>| {
        Box::pin(async move { examine(&upstream).await })
    });
    let names = Names::start(settings.dns.clone());
    names.prepare(&settings.names(), LOOKING).await;
    let names = (names, Guard::new(own));
    let house =
        House { roster, registry, names, exporter, hooks, examine, journal, deliveries };
    let (handle, live, mut driver) =
        build(house, settings, ledger, Arc::new(store), kept)?;
    driver.desk.cases.state_dir = Some(state_dir);
    if let Some(record) = record {
        driver.record(Recorder::start(&record));
    }
    Ok((handle, live, driver.run_until(end)))
}

/// What the loop works on, whatever its books and its shelf are.
pub(super) struct House {
    pub(super) roster: Arc<Roster>,
    pub(super) registry: Arc<Registry>,
    /// Where the names of endpoints lead, and where they must not.
    pub(super) names: (Names, Guard),
    pub(super) exporter: Exporter,
    pub(super) hooks: Hooks,
    pub(super) examine: Examine,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) deliveries: mpsc::Receiver<Delivery>,
}

/// What earlier runs left.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) quarantines: Vec<QuarantineEntry>,
    pub(super) protects: Vec<ProtectEntry>,
    pub(super) acting: Vec<ActingEntry>,
    pub(super) rollouts: Vec<(Name, Row)>,
    pub(super) past: Past,
}

pub(super) fn build<S: Source>(
    house: House,
    settings: Settings,
    source: S,
    shelf: Arc<dyn Shelf>,
    kept: Kept,
) -> Result<(ControlHandle, Arc<Live>, Driver<S>), PlanError> {
    let House { roster, registry, names, exporter, .. } = house;
    let House { hooks, examine, journal, deliveries, .. } = house;
    let quarantine = Quarantine::new(kept.quarantines);
    // A run may have ended between a quarantine and the end of the protect before it.
    let open = kept.protects.into_iter().filter(|ProtectEntry { record, digest }| {
        !quarantine.holds(&record.route, &record.version, digest)
    });
    let protects = Protects::new(open.collect());
    let acting = kept.acting.into_iter().map(|entry| (entry.route.clone(), entry));
    let mut acting: BTreeMap<Name, ActingEntry> = acting.collect();
    names.0.follow(&settings.names());
    let following = names.0.clone();
    let mut seats = Seats::new(Arc::clone(&roster), registry, names);
    let rollouts = Rollouts::of(kept.rollouts);
    let mut weights = Weights::default();
    rollouts.weights(&settings, &mut weights);
    let known = Known {
        seats: &seats,
        weights: &weights,
        quarantine: &quarantine,
        protects: &protects,
        probing: &BTreeSet::new(),
        acting: &acting,
        table: &RouteTable::default(),
    };
    let relieved = relieved(&settings, known);
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
    let (notes, to_write) = mpsc::channel(NOTES);
    let (tell, events) = mpsc::channel(EVENTS);
    let scribe = tasks::shared("scribe", scribe::write(shelf, to_write, tell.clone()));
    let (clerk, work) = Clerk::new(journal, tell.clone());
    let clerks_work = tasks::shared("clerk", work);
    let mut desk = Desk::new(
        Arc::clone(&live),
        (roster, Arc::clone(seats.registry())),
        (exporter, hooks, examine),
        (quarantine, protects),
        Pens { scribe: notes, clerk, events: tell },
    );
    desk.config_hash.clone_from(&settings.config_hash);
    acting.retain(|route, _| !relieved.contains(route));
    desk.acting = acting;
    desk.rollouts = rollouts;
    for route in relieved {
        desk.relieve(&route);
    }
    let (handle, inbox) = ControlHandle::new(desk.feed.clone(), Some(following));
    let inlets = Inlets { inbox, events, scribe, deliveries, clerk: clerks_work };
    let mut driver = Driver::new(source, seats, desk, settings, inlets);
    driver.weights = weights;
    driver.align(clock::wall());
    driver.go_on(kept.past);
    Ok((handle, live, driver))
}

/// So many records of earlier runs make the history; more than one run keeps of them.
const MOST_RECORDS: usize = 2_000;
/// Events that wait for the loop; whoever has one more waits.
const EVENTS: usize = 256;
