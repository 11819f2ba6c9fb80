//! Makes the parts and connects them, bottom up; reads like a list of parts.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};

use super::descriptors;
use super::kept::KeptThread;
use super::runtimes::{WorkerParts, WorkerThread};
use super::settings::Settings;
use super::shutdown::{
    Asked, Mover, Signals, Stage, Watcher, advance, leaving_time, reached,
};
use crate::admin;
use crate::admin::Readiness;
use crate::audit;
use crate::cache::Cache;
use crate::clock;
use crate::control;
use crate::control::ControlHandle;
use crate::measure::{Ledger, Roster};
use crate::proxy::{BindError, Bound, Sessions, Shared};
use crate::store::Store;
use crate::tasks;
use crate::telemetry::Exporter;
use crate::upstream::Registry;

/// A running proxy.
#[derive(Debug)]
pub struct Running {
    control: ControlHandle,
    readiness: Readiness,
    listeners: Vec<(String, SocketAddr)>,
    admin: SocketAddr,
    metrics: Option<SocketAddr>,
    stage: Mover,
    drain: Duration,
    workers: Vec<WorkerThread>,
    kept: KeptThread,
    other: thread::JoinHandle<()>,
    reload: Arc<Notify>,
}

/// Opens all listeners, for as many connections as there are file descriptors.
fn listen(settings: &Settings) -> Result<Vec<Bound>, BindError> {
    let room = descriptors::connections(settings.listeners.len());
    let listeners = settings.listeners.iter();
    listeners.map(|it| Bound::bind(it.clone(), settings.workers, room)).collect()
}

/// Starts everything and returns once connections are taken.
///
/// # Errors
/// What cannot be had: the state directory, an address, a thread.
pub fn start(settings: Settings) -> anyhow::Result<Running> {
    let store = Store::open(&settings.state_dir).context("cannot open stateDir")?;
    let sessions = Arc::new(Sessions::open(&settings.state_dir)?);
    let audit = audit::open(&audit::Settings::below(&settings.state_dir))
        .context("cannot open the audit log in stateDir")?;
    let bound_admin = admin::bind(&settings.admin)?;
    let bound = listen(&settings)?;
    let listeners =
        bound.iter().map(|bound| (bound.name().to_owned(), bound.address())).collect();
    let (admin, metrics) = (bound_admin.address()?, bound_admin.metrics_address()?);
    let own = bound.iter().map(Bound::address).chain([admin]).chain(metrics).collect();

    let roster = Roster::new(settings.workers);
    let registry = Registry::new();
    let cache = Arc::new(Cache::new());
    let (ledger, tills) = Ledger::new(settings.workers);
    let exporter = Exporter::new();
    let counts = Arc::clone(exporter.kept());
    let parts = control::Parts {
        settings: settings.live,
        roster: Arc::clone(&roster),
        registry: Arc::clone(&registry),
        ledger,
        store,
        audit,
        effects: settings.effects,
        state_dir: settings.state_dir.clone(),
        exporter,
        hooks: hooks(&cache),
        own,
        record: settings.record,
    };
    let (stage, watcher) = watch::channel(Stage::Serving);
    let readiness = Readiness::new();
    let service = Service {
        parts,
        admin: (settings.admin, bound_admin),
        readiness: readiness.clone(),
        cache: Arc::clone(&cache),
        stage: watcher.clone(),
    };
    let (other, control, live) = service.spawn()?;
    let kept = KeptThread::start(&cache, &settings.state_dir, &live.load(), &counts)?;
    let workers = settings.workers;
    let shared = Shared { live, registry, roster, cache, sessions, workers };
    let mut workers = Vec::new();
    for (number, till) in tills.into_iter().enumerate() {
        let parts = WorkerParts {
            number,
            shared: shared.clone(),
            till,
            listeners: bound.iter().filter_map(Bound::take).collect(),
            drain: settings.shutdown_drain,
        };
        workers.push(WorkerThread::start(parts, watcher.clone())?);
    }
    readiness.ready();
    Ok(Running {
        control,
        readiness,
        listeners,
        admin,
        metrics,
        stage,
        drain: settings.shutdown_drain,
        workers,
        kept,
        other,
        reload: Arc::new(Notify::new()),
    })
}

impl Running {
    /// The way to give orders and to see how things stand.
    #[must_use]
    pub fn control(&self) -> &ControlHandle {
        &self.control
    }

    /// The listeners' names and addresses, with the ports that the kernel chose.
    #[must_use]
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// The address of the operators' side.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The open address of metrics and health, if there is one.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Wakes whoever reloads the configuration.
    #[must_use]
    pub fn reload(&self) -> &Arc<Notify> {
        &self.reload
    }

    /// Goes down in order: how many connections had to be cut.
    #[must_use]
    pub fn stop(self) -> usize {
        self.leave();
        let wait = leaving_time(self.drain);
        thread::park_timeout(wait);
        self.drain()
    }

    fn leave(&self) {
        self.readiness.stopping();
        advance(&self.stage, Stage::Leaving);
    }

    fn drain(self) -> usize {
        advance(&self.stage, Stage::Draining);
        let cut = self.workers.into_iter().map(WorkerThread::join).sum();
        self.kept.stop();
        advance(&self.stage, Stage::Over);
        if self.other.join().is_err() {
            tracing::error!(
                "the control thread panicked: this is a defect of switchback"
            );
        }
        cut
    }
}

/// Serves until a signal ends it. `reloads` makes the future that watches the
/// configuration; it runs on the thread of this call.
///
/// # Errors
/// What [`start`] says, or that signals cannot be taken.
pub fn run<F>(
    settings: Settings,
    announce: impl FnOnce(&Running),
    reloads: impl FnOnce(ControlHandle, Arc<Notify>) -> F,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = ()> + 'static,
{
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .context("cannot make a runtime")?;
    runtime.block_on(async move {
        let mut signals = Signals::take().context("cannot take signals over")?;
        let running = start(settings)?;
        announce(&running);
        let watching = reloads(running.control.clone(), Arc::clone(&running.reload));
        let _watching = tasks::local("configuration", watching);
        while signals.next().await == Asked::Reload {
            running.reload.notify_one();
        }
        tracing::info!("told to stop: draining");
        let begun = clock::now();
        running.leave();
        let again = async {
            while signals.next().await != Asked::Stop {}
            true
        };
        tokio::pin!(again);
        let hurried = tokio::select! {
            hurried = &mut again => hurried,
            () = tokio::time::sleep(leaving_time(running.drain)) => false,
        };
        let stage = running.stage.clone();
        if hurried {
            advance(&stage, Stage::Over);
        }
        let draining = tokio::task::spawn_blocking(move || running.drain());
        tokio::pin!(draining);
        let cut = tokio::select! {
            cut = &mut draining => cut,
            _ = &mut again, if !hurried => {
                advance(&stage, Stage::Over);
                draining.await
            }
        };
        let cut = cut.context("the drain panicked")?;
        let took = (clock::now() - begun).as_secs_f64();
        if cut > 0 {
            tracing::warn!(
                cut,
                took,
                "stopped: connections were cut at the end of the drain"
            );
        } else {
            tracing::info!(took, "stopped: every request was answered");
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn hooks(cache: &Arc<Cache>) -> control::Hooks {
    let (purge, fit) = (Arc::clone(cache), Arc::clone(cache));
    control::Hooks {
        on_quarantine: Box::new(move |slot| {
            let gone = purge.purge(slot);
            if gone > 0 {
                tracing::info!(gone, "kept answers of the version were dropped");
            }
        }),
        on_table: Box::new(move |table| {
            let versions = table.routes().iter().flat_map(|route| route.versions());
            fit.know(versions.map(|version| version.slot));
            let routes = table.routes().iter();
            fit.fit(
                routes.filter_map(|route| {
                    Some((&route.name, route.policy.cache.as_ref()?))
                }),
            );
        }),
    }
}

/// Everything but the data plane, on a thread of its own.
struct Service {
    parts: control::Parts,
    admin: (admin::Settings, admin::Bound),
    readiness: Readiness,
    cache: Arc<Cache>,
    stage: Watcher,
}

type Up = anyhow::Result<(ControlHandle, Arc<crate::route::Live>)>;

impl Service {
    fn spawn(
        self,
    ) -> anyhow::Result<(thread::JoinHandle<()>, ControlHandle, Arc<crate::route::Live>)>
    {
        let (up, waiting) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || self.serve(up))
            .context("cannot start the control thread")?;
        let (control, live) =
            waiting.recv().context("the control thread ended early")??;
        Ok((thread, control, live))
    }

    fn serve(self, up: mpsc::SyncSender<Up>) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let failed = anyhow::Error::new(error).context("cannot make a runtime");
                let _told = up.send(Err(failed));
                return;
            }
        };
        runtime.block_on(self.work(up));
    }

    async fn work(self, up: mpsc::SyncSender<Up>) {
        let Self { parts, admin: (settings, bound), readiness, cache, mut stage } = self;
        let mut over = stage.clone();
        let end = async move { reached(&mut over, Stage::Over).await };
        let (handle, live, driver) = match control::start(parts, end).await {
            Ok(started) => started,
            Err(error) => {
                let _told = up.send(Err(error.into()));
                return;
            }
        };
        if up.send(Ok((handle.clone(), live))).is_err() {
            return;
        }
        let driving = tasks::shared("control", driver);
        let _sweeping = tasks::shared("cache", async move {
            let mut every = tokio::time::interval(SWEEP);
            loop {
                every.tick().await;
                cache.sweep(clock::wall());
            }
        });
        let mut until = stage.clone();
        let served = admin::serve(&settings, bound, handle, readiness, async move {
            reached(&mut until, Stage::Over).await;
        });
        if let Err(error) = served.await {
            tracing::error!(%error, "the operators' side cannot be served");
        }
        reached(&mut stage, Stage::Over).await;
        if let Err(error) = driving.await {
            tracing::debug!(%error, "the control loop ended early");
        }
    }
}

/// Between two looks for kept answers that are too old.
const SWEEP: Duration = Duration::from_secs(30);
