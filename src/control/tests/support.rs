//! The bench that the tests of the control plane stand on: books are handed in, requests in
//! flight are flights that the test holds.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock;
use crate::control::driver::Driver;
use crate::control::explain::{Explanation, HistoryView};
use crate::control::handle::{ControlHandle, Deed, Order, OrderError};
use crate::control::journal::{Done, Journal, Weight};
use crate::control::plan::PlanError;
use crate::control::scribe::Shelf;
use crate::control::settings::VersionSettings;
use crate::control::settings::{OnTimeout, RollbackSettings, RouteSettings, Settings};
use crate::control::source::Source;
use crate::control::start::{Hooks, House, Kept, build};
use crate::control::status::{ModeView, RouteView, StatusView, VersionView};
use crate::dns::Names;
use crate::effects::OfDead;
use crate::judge::{Confirm, Metric, OnBreach, Rule, Rules, Sums, Test, bin_of};
use crate::measure::{Books, Flight, Roster, Stamp, Tally};
use crate::rollout::Protects;
use crate::route::{Live, Role, Route, RouteMatch, Standing, Version};
use crate::store::StoreError;
use crate::telemetry::Exporter;
use crate::upstream::{
    Address, Balance, Examined, Guard, Outlier, Pool, Protocol, Registry,
    Settings as UpstreamSettings, Tls, Upstream,
};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Credential, Digest, Epoch, Name, Operator, Slot};
use crate::vocab::notice::{Entry, Notice};
use crate::vocab::outcome::Class;
use crate::vocab::policy::{
    Banner, FailureSet, Repeatable, Rescue, Retry, RoutePolicy, Timeouts,
};
use crate::vocab::record::{
    ActingEntry, Outcome, ProtectEntry, ProtectRecord, QuarantineEntry, RollbackRecord,
    Status,
};
use crate::vocab::trigger::Trigger;

/// A control plane on the bench.
pub(crate) struct Bench {
    pub(crate) handle: ControlHandle,
    pub(crate) live: Arc<Live>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) purged: Arc<Mutex<Vec<Slot>>>,
    pub(crate) books: Fed,
    pub(crate) worker: Rc<Books>,
    pub(crate) journal: Arc<Book>,
    /// Versions whose servers do not pass when they are asked.
    pub(crate) dead: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> (Self, Driver<Fed>) {
        Self::with(settings, Arc::new(Paper::default()), Kept::default()).unwrap()
    }

    pub(crate) fn with(
        settings: Settings,
        shelf: Arc<dyn Shelf>,
        kept: Kept,
    ) -> Result<(Self, Driver<Fed>), PlanError> {
        let (roster, registry) = (Roster::new(1), Registry::new());
        let (purged, books) = (Arc::<Mutex<Vec<Slot>>>::default(), Fed::default());
        let seen = Arc::clone(&purged);
        let journal = Arc::<Book>::default();
        let (_, deliveries) = tokio::sync::mpsc::channel(8);
        let dead = Arc::<Mutex<BTreeSet<&'static str>>>::default();
        let asked = Arc::clone(&dead);
        let hooks = Hooks {
            on_quarantine: Box::new(move |slot| seen.lock().unwrap().push(slot)),
            on_table: Box::new(|_| ()),
        };
        let house = House {
            roster: Arc::clone(&roster),
            registry: Arc::clone(&registry),
            names: (Names::idle(settings.dns.clone()), Guard::default()),
            exporter: Exporter::new(),
            hooks,
            examine: Arc::new(move |upstream: Arc<Upstream>| {
                let passed = !asked.lock().unwrap().contains(upstream.version.as_str());
                let detail = "1 of 1 endpoints were asked".to_owned();
                Box::pin(async move { Examined { passed, detail } })
            }),
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            deliveries,
        };
        let (handle, live, driver) = build(house, settings, books.clone(), shelf, kept)?;
        let worker = Books::new(0, Arc::clone(&roster));
        Ok((
            Self { handle, live, roster, registry, purged, books, worker, journal, dead },
            driver,
        ))
    }

    pub(crate) fn slot(&self, route: &str, version: &str) -> Slot {
        let table = self.live.load();
        table.route(&name(route)).unwrap().version(&name(version)).unwrap().slot
    }

    pub(crate) fn standing(&self, route: &str, version: &str) -> Standing {
        let table = self.live.load();
        table.route(&name(route)).unwrap().version(&name(version)).unwrap().standing
    }

    pub(crate) fn weight(&self, route: &str, version: &str) -> Percent {
        let table = self.live.load();
        table.route(&name(route)).unwrap().version(&name(version)).unwrap().weight
    }

    pub(crate) fn flight(&self, slot: Slot) -> Flight {
        Flight::open(&self.worker, Stamp::plain(slot), clock::now())
    }

    /// So many requests to a version, and so many of them failed.
    pub(crate) fn feed(&self, slot: Slot, requests: u32, failed: u32) {
        let mut tally = Tally::default();
        tally.outcomes[Class::ServerError.index()] = failed.into();
        tally.outcomes[Class::Success.index()] = (requests - failed).into();
        tally.total.record_n(5_000, requests - failed);
        tally.first_byte.record_n(4_000, requests - failed);
        tally.rest.record_n(900, failed);
        self.books.0.lock().unwrap().push_back((slot, tally));
    }
}

/// Books that a test writes.
#[derive(Clone, Default)]
pub(crate) struct Fed(pub(crate) Arc<Mutex<VecDeque<(Slot, Tally)>>>);

impl Source for Fed {
    async fn collect(&mut self) -> Vec<(Slot, Tally)> {
        self.0.lock().unwrap().drain(..).collect()
    }

    fn give_back(&mut self, _: Tally) {}

    fn unrouted(&self) -> [u64; Class::COUNT] {
        let mut counts = [0; Class::COUNT];
        counts[Class::Rejected.index()] = 7;
        counts
    }
}

/// A journal in memory, which may be ill.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) entries: Mutex<Vec<Entry>>,
    pub(crate) notices: Mutex<Vec<Notice>>,
    pub(crate) ill: AtomicBool,
}

impl Book {
    /// What was written down, in order.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.entries.lock().unwrap().iter().map(|entry| entry.kind).collect()
    }

    /// What was told, in order.
    pub(crate) fn topics(&self) -> Vec<&'static str> {
        self.notices.lock().unwrap().iter().map(|it| it.topic.as_str()).collect()
    }
}

impl Journal for Book {
    fn write(&self, entry: Entry, _: Weight) -> BoxFuture<'static, Done> {
        if self.ill.load(Ordering::Relaxed) {
            return Box::pin(async { Err("the disk is full".to_owned()) });
        }
        self.entries.lock().unwrap().push(entry);
        Box::pin(async { Ok(()) })
    }

    fn head(&self) -> String {
        format!("head-{}", self.entries.lock().unwrap().len())
    }

    fn trouble(&self) -> Option<String> {
        self.ill.load(Ordering::Relaxed).then(|| "the disk is full".to_owned())
    }

    fn tell(&self, notice: Notice) {
        self.notices.lock().unwrap().push(notice);
    }

    fn notices(&self) -> serde_json::Value {
        serde_json::json!({ "told": self.notices.lock().unwrap().len() })
    }

    fn settle_dead(&self, _: Option<String>, _: OfDead) -> BoxFuture<'static, usize> {
        Box::pin(async { 3 })
    }

    fn figures(&self, _: &Exporter) {}

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// A shelf that looks at the table when it is asked to keep something, and may be ill.
#[derive(Default)]
pub(crate) struct Paper {
    pub(crate) live: OnceLock<Arc<Live>>,
    pub(crate) was_swapped: AtomicBool,
    pub(crate) ill_for: AtomicU32,
    pub(crate) kept: Mutex<Vec<QuarantineEntry>>,
    pub(crate) protect: Mutex<Option<ProtectEntry>>,
    pub(crate) rolled: Mutex<std::collections::BTreeMap<Name, serde_json::Value>>,
    pub(crate) acting: Mutex<Vec<ActingEntry>>,
}

impl Shelf for Paper {
    fn keep(&self, entry: &QuarantineEntry) -> Result<(), StoreError> {
        if let Some(live) = self.live.get() {
            let table = live.load();
            let version = table.route(&entry.route).unwrap().version(&entry.version);
            let out = version.unwrap().standing == Standing::Quarantined;
            self.was_swapped.store(out, Ordering::SeqCst);
        }
        if self.ill_for.load(Ordering::SeqCst) > 0 {
            self.ill_for.fetch_sub(1, Ordering::SeqCst);
            return Err(StoreError::Full {
                path: PathBuf::from("/full"),
                what: "quarantines",
            });
        }
        self.kept.lock().unwrap().push(entry.clone());
        Ok(())
    }

    fn forget(&self, route: &Name, version: &Name) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().unwrap();
        kept.retain(|entry| entry.route != *route || entry.version != *version);
        Ok(())
    }

    fn protect(&self, entry: &ProtectEntry) -> Result<(), StoreError> {
        if self.ill_for.load(Ordering::SeqCst) > 0 {
            self.ill_for.fetch_sub(1, Ordering::SeqCst);
            return Err(StoreError::Full {
                path: PathBuf::from("/full"),
                what: "protects",
            });
        }
        *self.protect.lock().unwrap() = Some(entry.clone());
        Ok(())
    }

    fn act(&self, entry: &ActingEntry) -> Result<(), StoreError> {
        self.acting.lock().unwrap().push(entry.clone());
        Ok(())
    }

    fn unact(&self, route: &Name) -> Result<(), StoreError> {
        self.acting.lock().unwrap().retain(|entry| entry.route != *route);
        Ok(())
    }

    fn roll(&self, route: &Name, row: &serde_json::Value) -> Result<(), StoreError> {
        self.rolled.lock().unwrap().insert(route.clone(), row.clone());
        Ok(())
    }

    fn unroll(&self, route: &Name) -> Result<(), StoreError> {
        self.rolled.lock().unwrap().remove(route);
        Ok(())
    }

    fn unprotect(&self, _: &Name, _: &Name) -> Result<(), StoreError> {
        *self.protect.lock().unwrap() = None;
        Ok(())
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn percent(number: f64) -> Percent {
    Percent::of(number).unwrap()
}

pub(crate) fn by(reason: &str) -> Deed {
    let operator = Operator { id: "alice".into(), method: Credential::Token };
    Deed { operator, reason: reason.into() }
}

pub(crate) fn version(text: &str, role: Role, weight: f64, port: u16) -> VersionSettings {
    VersionSettings {
        name: name(text),
        role,
        weight: percent(weight),
        digest: Digest::new(text),
        upstream: UpstreamSettings {
            endpoints: vec![
                Address::Tcp { host: "127.0.0.1".into(), port, tls: false }.into(),
            ],
            protocol: Protocol::Http1,
            tls: Tls::default(),
            pool: Pool {
                max_idle: 1,
                max_connections: 1,
                idle_timeout: Duration::from_secs(4),
            },
            max_in_flight: 0,
            balance: Balance::LeastRequest,
            outlier: Outlier {
                consecutive_failures: 5,
                base_ejection: Duration::from_secs(30),
                max_ejected: percent(50.0),
            },
            health: None,
            connect_timeout: Duration::from_secs(1),
        },
    }
}

pub(crate) fn route(text: &str, versions: Vec<VersionSettings>) -> RouteSettings {
    let zero = Duration::ZERO;
    let policy = RoutePolicy {
        timeouts: Timeouts { connect: zero, first_byte: zero, idle: zero, total: zero },
        retry: Retry { attempts: 0, budget: Percent::ZERO, on: FailureSet::default() },
        rescue: Rescue { on: FailureSet::default(), max_body: 0 },
        repeatable: Repeatable::Auto,
        dialect: None,
        affinity: None,
        pin: None,
        cache: None,
        banner: Banner { header: "x".into(), json_field: None, message: String::new() },
        emergency: None,
        sample_bodies: 0,
    };
    RouteSettings {
        name: name(text),
        matcher: RouteMatch::default(),
        policy: Arc::new(policy),
        versions,
        overrides: vec![("canary".into(), "true".into(), 1)],
        rules: Arc::new(rules(OnBreach::Rollback)),
        rollback: RollbackSettings {
            drain_timeout: Duration::from_secs(30),
            on_timeout: OnTimeout::Finish,
            cap: Duration::from_secs(600),
            stabilization: Duration::from_secs(10),
            max_error_rate: percent(5.0),
            ramp: None,
        },
        rollout: None,
    }
}

pub(crate) fn rules(on_breach: OnBreach) -> Rules {
    let errors = Rule::ErrorRate {
        max_ratio: Some(2.0),
        floor: percent(1.0),
        max: Some(percent(5.0)),
        min_samples: 50,
    };
    let rule = |rule| Metric { rule, on_breach, dry_run: false, test: Test::Window };
    Rules {
        interval: Duration::from_millis(250),
        window: Duration::from_secs(300),
        false_alarm: 0.001,
        confirm: Confirm::Off,
        metrics: vec![rule(errors), rule(Rule::HealthCheck)],
    }
}

pub(crate) fn iris() -> Settings {
    let versions =
        vec![version("v1", Role::Stable, 0.0, 1), version("v2", Role::Canary, 10.0, 2)];
    Settings {
        routes: vec![route("iris", versions)],
        dns: Default::default(),
        config_hash: "one".into(),
        described: "".into(),
    }
}

/// The paused clock goes on by so much, and everything that is due happens.
pub(crate) async fn pass(span: Duration) {
    assert!(tokio::time::timeout(span, std::future::pending::<()>()).await.is_err());
}

/// Events of the loop, until the condition holds. Bounded by an hour of the paused clock.
pub(crate) async fn until(
    driver: &mut Driver<Fed>,
    done: impl Fn(&mut Driver<Fed>) -> bool,
) {
    let work = async {
        while !done(driver) {
            tokio::select! {
                Some(happened) = driver.events.recv() => driver.happened(happened).await,
                () = pass(Duration::from_millis(250)) => driver.tick().await,
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(3_600), work).await.is_ok());
}

/// Until the rollback of this version has ended and its end may be shown.
pub(crate) async fn ended(driver: &mut Driver<Fed>, slot: Slot) {
    until(driver, |driver| {
        let shown = driver.desk.history.last(&name("iris"));
        let open = |status| matches!(status, Status::Pending | Status::InProgress);
        !driver.desk.is_rolling(slot) && shown.is_some_and(|it| !open(it.status))
    })
    .await;
}

pub(crate) async fn status(driver: &mut Driver<Fed>) -> StatusView {
    let (answer, wait) = tokio::sync::oneshot::channel();
    driver.obey(Order::Status(answer)).await;
    wait.await.unwrap()
}

pub(crate) async fn page(driver: &mut Driver<Fed>) -> String {
    let (answer, wait) = tokio::sync::oneshot::channel();
    driver.obey(Order::Metrics(answer)).await;
    wait.await.unwrap()
}

pub(crate) async fn reload(
    driver: &mut Driver<Fed>,
    settings: Settings,
) -> Result<(), OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    driver.obey(Order::Reload(Box::new(settings), answer)).await;
    wait.await.unwrap()
}

pub(crate) async fn set_weight(
    driver: &mut Driver<Fed>,
    version: &str,
    weight: f64,
) -> Result<(), OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let (route, version) = (name("iris"), name(version));
    let weight = percent(weight);
    driver.obey(Order::SetWeight { route, version, weight, by: by("x"), answer }).await;
    heard(driver, wait).await
}

/// What an order is answered, once it was written down.
pub(crate) async fn heard<T>(
    driver: &mut Driver<Fed>,
    mut wait: tokio::sync::oneshot::Receiver<Result<T, OrderError>>,
) -> Result<T, OrderError> {
    loop {
        tokio::select! {
            done = &mut wait => return done.unwrap(),
            Some(happened) = driver.events.recv() => driver.happened(happened).await,
        }
    }
}

pub(crate) async fn roll_back(
    driver: &mut Driver<Fed>,
    from: Option<&str>,
) -> Result<RollbackRecord, OrderError> {
    roll_back_to(driver, from, None).await
}

pub(crate) async fn roll_back_to(
    driver: &mut Driver<Fed>,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<RollbackRecord, OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let (route, from) = (name("iris"), from.map(name));
    let (to, by) = (to.map(name), by("bad answers"));
    driver.obey(Order::Rollback { route, from, to, by, answer }).await;
    heard(driver, wait).await
}

pub(crate) async fn set_mode(
    driver: &mut Driver<Fed>,
    read_only: bool,
) -> Result<ModeView, OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let (route, by) = (name("iris"), by("it is dark"));
    driver.obey(Order::SetMode { route, read_only, by, answer }).await;
    heard(driver, wait).await
}

pub(crate) async fn release(
    driver: &mut Driver<Fed>,
    version: &str,
) -> Result<(), OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let (route, version) = (name("iris"), name(version));
    driver.obey(Order::Release { route, version, by: by("fixed"), answer }).await;
    heard(driver, wait).await
}

pub(crate) type Spoil = fn(&mut Settings);

pub(crate) fn last(view: &StatusView) -> &serde_json::Value {
    view.routes[0].last_rollback.as_ref().unwrap()
}

pub(crate) fn of<'v>(view: &'v RouteView, version: &str) -> &'v VersionView {
    view.versions.iter().find(|one| one.name == version).unwrap()
}

pub(crate) async fn explain(
    driver: &mut Driver<Fed>,
    id: &str,
) -> Result<Explanation, OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    driver.obey(Order::Explain(id.to_owned(), answer)).await;
    wait.await.unwrap()
}

pub(crate) async fn history(driver: &mut Driver<Fed>) -> HistoryView {
    let (answer, wait) = tokio::sync::oneshot::channel();
    driver.obey(Order::History(answer)).await;
    wait.await.unwrap()
}

/// Rules that gather evidence on failures.
pub(crate) fn sequential(confirm: Confirm) -> Rules {
    let mut rules = rules(OnBreach::Rollback);
    for metric in &mut rules.metrics {
        metric.test = Test::Sequential;
    }
    Rules { confirm, ..rules }
}

/// The route `iris` under such rules, with 10 % on `v2`.
pub(crate) fn weighed(confirm: Confirm) -> Settings {
    let mut settings = iris();
    settings.routes[0].rules = Arc::new(sequential(confirm));
    settings
}

/// Two versions beside stable: `v2` with this weight, `v3` with none.
pub(crate) fn plain_route(weight: f64) -> Route {
    let one = |number, text: &str, role, weight| Version {
        name: name(text),
        slot: Slot::new(number).unwrap(),
        digest: Digest::new(text),
        role,
        weight: percent(weight),
        standing: Standing::Serving,
    };
    let versions = vec![
        one(0, "v1", Role::Stable, 0.0),
        one(1, "v2", Role::Canary, weight),
        one(2, "v3", Role::Canary, 0.0),
    ];
    let policy = route("iris", Vec::new()).policy;
    let matcher = RouteMatch::default();
    Route::new(name("iris"), matcher, versions, Vec::new(), policy).unwrap()
}

/// A protect of one version of `iris`.
pub(crate) fn protects(version: &str, outcome: Outcome) -> Protects {
    let record = ProtectRecord {
        protect_id: "pr-1".to_owned(),
        timestamp: clock::wall(),
        route: name("iris"),
        version: name(version),
        to_version: name("v1"),
        trigger: Trigger::ErrorRate,
        finding: "odds".to_owned(),
        outcome,
        resolved: None,
        why: None,
        rollback_id: None,
    };
    Protects::new(vec![ProtectEntry { digest: Digest::new(version), record }])
}

/// What a version does in every quarter of a second: requests, and failed ones of them.
pub(crate) type Does = (u32, u32);

impl Bench {
    pub(crate) fn epoch(&self) -> Epoch {
        self.live.load().route(&name("iris")).unwrap().epoch()
    }

    pub(crate) fn copying(&self) -> Option<(Slot, u32)> {
        let table = self.live.load();
        let route = table.route(&name("iris")).unwrap();
        let copying = route.copying()?;
        Some((route.versions()[copying.to].slot, copying.part.ppm()))
    }

    /// So many requests that a coin placed in that epoch, or copies of them.
    pub(crate) fn judged(&self, version: &str, (requests, failed): Does, epoch: Epoch) {
        let mut tally = Tally::default();
        let copies = self.standing("iris", version) == Standing::Protected;
        let classes = if copies { &mut tally.shadow } else { &mut tally.outcomes };
        classes[Class::ServerError.index()] = failed.into();
        classes[Class::Success.index()] = (requests - failed).into();
        let mut sums = Sums { opened: requests.into(), ..Sums::default() };
        let cell = sums.cell(0);
        (cell.known, cell.bad) = (requests.into(), failed.into());
        cell.bins[bin_of(5_000)] = requests - failed;
        tally.sums.push((epoch, sums));
        let slot = self.slot("iris", version);
        self.books.0.lock().unwrap().push_back((slot, tally));
    }

    /// Traffic until the condition holds, for at most so many seconds; says whether it did.
    pub(crate) async fn drive(
        &self,
        driver: &mut Driver<Fed>,
        (canary, stable): (Does, Does),
        seconds: u32,
        done: impl Fn(&Self) -> bool,
    ) -> bool {
        for _ in 0..seconds * 4 {
            if done(self) {
                return true;
            }
            let epoch = self.epoch();
            self.judged("v2", canary, epoch);
            self.judged("v1", stable, epoch);
            tokio::select! {
                Some(happened) = driver.events.recv() => driver.happened(happened).await,
                () = pass(Duration::from_millis(250)) => {}
            }
            driver.tick().await;
        }
        done(self)
    }
}
