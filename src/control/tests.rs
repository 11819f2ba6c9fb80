//! The control plane without a data plane: books are handed in, requests in flight are
//! flights that the test holds.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::driver::Driver;
use super::handle::{ControlHandle, Deed, Order, OrderError};
use super::plan::PlanError;
use super::scribe::Shelf;
use super::settings::VersionSettings;
use super::settings::{OnTimeout, RollbackSettings, RouteSettings, Settings};
use super::source::Source;
use super::start::{Hooks, House, build};
use super::status::{RouteView, StatusView, VersionView};
use crate::clock;
use crate::judge::{Confirm, Metric, OnBreach, Rule, Rules, Test};
use crate::measure::{Books, Flight, Roster, Stamp, Tally};
use crate::route::{Live, Role, RouteMatch, Standing};
use crate::store::{Store, StoreError};
use crate::tasks;
use crate::telemetry::Exporter;
use crate::upstream::{
    Address, Balance, HealthCheck, Outlier, Pool, Protocol, Registry,
    Settings as UpstreamSettings,
};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Digest, Name, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::policy::{
    Banner, FailureSet, Repeatable, Rescue, Retry, RoutePolicy, Timeouts,
};
use crate::vocab::record::{ProtectEntry, QuarantineEntry, RollbackRecord};

/// A control plane on the bench.
struct Bench {
    handle: ControlHandle,
    live: Arc<Live>,
    roster: Arc<Roster>,
    registry: Arc<Registry>,
    purged: Arc<Mutex<Vec<Slot>>>,
    books: Fed,
    worker: Rc<Books>,
}

impl Bench {
    fn new(settings: Settings) -> (Self, Driver<Fed>) {
        Self::with(settings, Arc::new(Paper::default()), Vec::new()).unwrap()
    }

    fn with(
        settings: Settings,
        shelf: Arc<dyn Shelf>,
        kept: Vec<QuarantineEntry>,
    ) -> Result<(Self, Driver<Fed>), PlanError> {
        let (roster, registry) = (Roster::new(1), Registry::new());
        let (purged, books) = (Arc::<Mutex<Vec<Slot>>>::default(), Fed::default());
        let seen = Arc::clone(&purged);
        let hooks = Hooks {
            on_quarantine: Box::new(move |slot| seen.lock().unwrap().push(slot)),
            on_table: Box::new(|_| ()),
        };
        let house = House {
            roster: Arc::clone(&roster),
            registry: Arc::clone(&registry),
            exporter: Exporter::new(),
            hooks,
        };
        let (handle, live, driver) = build(house, settings, books.clone(), shelf, kept)?;
        let worker = Books::new(0, Arc::clone(&roster));
        Ok((Self { handle, live, roster, registry, purged, books, worker }, driver))
    }

    fn slot(&self, route: &str, version: &str) -> Slot {
        let table = self.live.load();
        table.route(&name(route)).unwrap().version(&name(version)).unwrap().slot
    }

    fn standing(&self, route: &str, version: &str) -> Standing {
        let table = self.live.load();
        table.route(&name(route)).unwrap().version(&name(version)).unwrap().standing
    }

    fn weight(&self, route: &str, version: &str) -> Percent {
        let table = self.live.load();
        table.route(&name(route)).unwrap().version(&name(version)).unwrap().weight
    }

    fn flight(&self, slot: Slot) -> Flight {
        Flight::open(&self.worker, Stamp::plain(slot), clock::now())
    }

    /// So many requests to a version, and so many of them failed.
    fn feed(&self, slot: Slot, requests: u32, failed: u32) {
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
struct Fed(Arc<Mutex<VecDeque<(Slot, Tally)>>>);

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

/// A shelf that looks at the table when it is asked to keep something, and may be ill.
#[derive(Default)]
struct Paper {
    live: OnceLock<Arc<Live>>,
    was_swapped: AtomicBool,
    ill_for: AtomicU32,
    kept: Mutex<Vec<QuarantineEntry>>,
    protect: Mutex<Option<ProtectEntry>>,
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

    fn unprotect(&self, _: &Name, _: &Name) -> Result<(), StoreError> {
        *self.protect.lock().unwrap() = None;
        Ok(())
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn percent(number: f64) -> Percent {
    Percent::of(number).unwrap()
}

fn by(reason: &str) -> Deed {
    Deed { operator: "alice".into(), reason: reason.into() }
}

fn version(text: &str, role: Role, weight: f64, port: u16) -> VersionSettings {
    VersionSettings {
        name: name(text),
        role,
        weight: percent(weight),
        digest: Digest::new(text),
        upstream: UpstreamSettings {
            endpoints: vec![Address::Tcp { host: "127.0.0.1".into(), port }],
            protocol: Protocol::Http1,
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

fn route(text: &str, versions: Vec<VersionSettings>) -> RouteSettings {
    let zero = Duration::ZERO;
    let policy = RoutePolicy {
        timeouts: Timeouts { connect: zero, first_byte: zero, idle: zero, total: zero },
        retry: Retry { attempts: 0, budget: Percent::ZERO, on: FailureSet::default() },
        rescue: Rescue { on: FailureSet::default(), max_body: 0 },
        repeatable: Repeatable::Auto,
        cache: None,
        banner: Banner { header: "x".into(), json_field: None, message: String::new() },
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
        },
    }
}

fn rules(on_breach: OnBreach) -> Rules {
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

fn iris() -> Settings {
    let versions =
        vec![version("v1", Role::Stable, 0.0, 1), version("v2", Role::Canary, 10.0, 2)];
    Settings { routes: vec![route("iris", versions)], config_hash: "one".into() }
}

/// The paused clock goes on by so much, and everything that is due happens.
async fn pass(span: Duration) {
    assert!(tokio::time::timeout(span, std::future::pending::<()>()).await.is_err());
}

/// Events of the loop, until the condition holds. Bounded by an hour of the paused clock.
async fn until(driver: &mut Driver<Fed>, done: impl Fn(&mut Driver<Fed>) -> bool) {
    let work = async {
        while !done(driver) {
            tokio::select! {
                Some(happened) = driver.events.recv() => driver.happened(happened),
                () = pass(Duration::from_millis(250)) => driver.tick().await,
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(3_600), work).await.is_ok());
}

async fn status(driver: &mut Driver<Fed>) -> StatusView {
    let (answer, wait) = tokio::sync::oneshot::channel();
    driver.obey(Order::Status(answer)).await;
    wait.await.unwrap()
}

async fn page(driver: &mut Driver<Fed>) -> String {
    let (answer, wait) = tokio::sync::oneshot::channel();
    driver.obey(Order::Metrics(answer)).await;
    wait.await.unwrap()
}

async fn reload(driver: &mut Driver<Fed>, settings: Settings) -> Result<(), OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    driver.obey(Order::Reload(Box::new(settings), answer)).await;
    wait.await.unwrap()
}

async fn set_weight(
    driver: &mut Driver<Fed>,
    version: &str,
    weight: f64,
) -> Result<(), OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let (route, version) = (name("iris"), name(version));
    let weight = percent(weight);
    driver.obey(Order::SetWeight { route, version, weight, by: by("x"), answer }).await;
    wait.await.unwrap()
}

async fn roll_back(
    driver: &mut Driver<Fed>,
    from: Option<&str>,
) -> Result<RollbackRecord, OrderError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let (route, from) = (name("iris"), from.map(name));
    driver.obey(Order::Rollback { route, from, by: by("bad answers"), answer }).await;
    wait.await.unwrap()
}

async fn release(driver: &mut Driver<Fed>, version: &str) -> Result<(), OrderError> {
    let (answer, mut wait) = tokio::sync::oneshot::channel();
    let (route, version) = (name("iris"), name(version));
    driver.obey(Order::Release { route, version, by: by("fixed"), answer }).await;
    loop {
        tokio::select! {
            done = &mut wait => return done.unwrap(),
            Some(happened) = driver.events.recv() => driver.happened(happened),
        }
    }
}

type Spoil = fn(&mut Settings);

fn last(view: &StatusView) -> &serde_json::Value {
    view.routes[0].last_rollback.as_ref().unwrap()
}

fn of<'v>(view: &'v RouteView, version: &str) -> &'v VersionView {
    view.versions.iter().find(|one| one.name == version).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_breach_swaps_at_once_then_persists_then_drains() {
    let shelf = Arc::new(Paper::default());
    let (bench, mut driver) =
        Bench::with(iris(), Arc::<Paper>::clone(&shelf), Vec::new()).unwrap();
    assert!(shelf.live.set(Arc::clone(&bench.live)).is_ok());
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    let running = bench.flight(v2);
    bench.feed(v1, 900, 0);
    bench.feed(v2, 100, 60);
    driver.tick().await;

    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert_eq!(bench.live.generation().0, 2);
    assert_eq!(*bench.purged.lock().unwrap(), [v2]);
    assert!(shelf.kept.lock().unwrap().is_empty(), "the disk was not waited for");
    let seen = status(&mut driver).await;
    let (stable, canary) = (of(&seen.routes[0], "v1"), of(&seen.routes[0], "v2"));
    assert_eq!((canary.state.as_str(), canary.in_flight), ("draining", 1));
    assert_eq!((canary.requests, canary.failures, canary.samples), (100, 60, 100));
    assert!(canary.share.abs() < 1e-9 && (stable.share - 100.0).abs() < 1e-9);
    assert!((canary.weight - 10.0).abs() < 1e-9);
    assert!(
        canary.verdict.starts_with("breach: errorRate: 60.00%"),
        "{}",
        canary.verdict
    );
    assert_eq!(seen.routes[0].health, "Degraded");

    until(&mut driver, |_| !shelf.kept.lock().unwrap().is_empty()).await;
    assert!(shelf.was_swapped.load(Ordering::SeqCst));
    assert_eq!(shelf.kept.lock().unwrap()[0].digest, Digest::new("v2"));

    running.close(Class::Success);
    until(&mut driver, |driver| !driver.desk.is_rolling(v2)).await;
    let seen = status(&mut driver).await;
    let record = last(&seen);
    assert_eq!(record["status"], "completed");
    assert_eq!(record["trigger"], "error_rate");
    assert_eq!(record["phases"][1]["drained_requests"], 1);
    assert_eq!(record["phases"][1]["left_requests"], 0);
    assert_eq!(of(&seen.routes[0], "v2").state, "quarantined");
    assert!(of(&seen.routes[0], "v2").quarantine.as_ref().unwrap().contains("60.00%"));
    let text = page(&mut driver).await;
    for line in [
        "rollback_triggered_total 1\n",
        "rollback_completed_total 1\n",
        "switchback_service_mode 1\n",
        "switchback_analysis_verdict{route=\"iris\",metric=\"errorRate\"} 2\n",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_drain_is_reported_and_cut_as_the_policy_says() {
    for (policy, seconds) in [(OnTimeout::Cut, 30), (OnTimeout::Finish, 600)] {
        let mut settings = iris();
        settings.routes[0].rollback.on_timeout = policy;
        let (bench, mut driver) = Bench::new(settings);
        let v2 = bench.slot("iris", "v2");
        let hangs = bench.flight(v2);
        let begun = clock::now();
        let record = roll_back(&mut driver, None).await.unwrap();
        assert_eq!((record.initiated_by.as_str(), record.automatic), ("alice", false));
        assert_eq!(record.phases.len(), 2, "routed, and draining");
        until(&mut driver, |driver| !driver.desk.is_rolling(v2)).await;
        let seen = status(&mut driver).await;
        assert_eq!(last(&seen)["phases"][1]["left_requests"], 1);
        assert_eq!(bench.roster.is_cut(v2), policy == OnTimeout::Cut);
        until(&mut driver, |_| bench.roster.is_cut(v2)).await;
        let took = (clock::now() - begun).as_secs();
        assert!((seconds..=seconds + 1).contains(&took), "{policy:?}: {took}");
        let seen = status(&mut driver).await;
        let notes = last(&seen)["notes"].to_string();
        assert!(notes.contains("1 requests were cut"), "{notes}");
        drop(hangs);
        // Released, it must not be cut any more.
        release(&mut driver, "v2").await.unwrap();
        assert!(!bench.roster.is_cut(v2));
        assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_takes_back_the_cut_that_was_to_come() {
    let (bench, mut driver) = Bench::new(iris());
    let v2 = bench.slot("iris", "v2");
    let _hangs = bench.flight(v2);
    roll_back(&mut driver, Some("v2")).await.unwrap();
    let early = release(&mut driver, "v2").await.unwrap_err();
    assert!(early.to_string().contains("has not ended"), "{early}");
    until(&mut driver, |driver| !driver.desk.is_rolling(v2)).await;
    release(&mut driver, "v2").await.unwrap();
    pass(Duration::from_secs(700)).await;
    driver.tick().await;
    assert!(!bench.roster.is_cut(v2));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_ill_is_tried_again_and_the_record_says_so() {
    let shelf = Arc::new(Paper::default());
    shelf.ill_for.store(5, Ordering::SeqCst);
    let (bench, mut driver) =
        Bench::with(iris(), Arc::<Paper>::clone(&shelf), Vec::new()).unwrap();
    roll_back(&mut driver, None).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    let _hangs = bench.flight(bench.slot("iris", "v2"));
    until(&mut driver, |_| !shelf.kept.lock().unwrap().is_empty()).await;
    let seen = status(&mut driver).await;
    let notes = last(&seen)["notes"].to_string();
    assert!(notes.contains("not on disk") && notes.contains("/full"), "{notes}");
}

#[tokio::test(start_paused = true)]
async fn a_release_is_never_overtaken_by_the_quarantine_it_ends() {
    let shelf = Arc::new(Paper::default());
    shelf.ill_for.store(1, Ordering::SeqCst);
    let (bench, mut driver) =
        Bench::with(iris(), Arc::<Paper>::clone(&shelf), Vec::new()).unwrap();
    let v2 = bench.slot("iris", "v2");
    roll_back(&mut driver, None).await.unwrap();
    until(&mut driver, |driver| !driver.desk.is_rolling(v2)).await;
    release(&mut driver, "v2").await.unwrap();
    pass(Duration::from_secs(120)).await;
    assert!(shelf.kept.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_it_does_not_change() {
    let (bench, mut driver) = Bench::new(iris());
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    bench.feed(v1, 900, 9);
    bench.feed(v2, 100, 1);
    driver.tick().await;
    let mut next = iris();
    next.config_hash = "two".into();
    next.routes[0].versions[1].upstream.pool.max_idle = 9;
    next.routes[0].versions[1].weight = percent(20.0);
    next.routes[0].versions.push(version("v3", Role::Candidate, 0.0, 3));
    reload(&mut driver, next).await.unwrap();

    assert_eq!((bench.slot("iris", "v1"), bench.slot("iris", "v2")), (v1, v2));
    assert_eq!(bench.registry.get(v2).unwrap().settings.pool.max_idle, 9);
    assert!(bench.registry.get(bench.slot("iris", "v3")).is_some());
    let seen = status(&mut driver).await;
    assert_eq!(seen.config_hash, "two");
    let canary = of(&seen.routes[0], "v2");
    assert_eq!((canary.samples, canary.requests, canary.failures), (100, 100, 1));
    assert!((canary.share - 20.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_moves_gets_new_books_and_goes_on_counting() {
    let (bench, mut driver) = Bench::new(iris());
    let old = bench.slot("iris", "v2");
    bench.feed(old, 100, 10);
    driver.tick().await;
    let late = bench.flight(old);
    let mut next = iris();
    next.routes[0].versions[1] = version("v2", Role::Canary, 10.0, 22);
    reload(&mut driver, next).await.unwrap();
    let new = bench.slot("iris", "v2");
    assert_ne!(new, old);
    bench.feed(old, 1, 0);
    bench.feed(new, 30, 0);
    let seen = status(&mut driver).await;
    assert_eq!(seen.routes[0].versions.len(), 2);
    let canary = of(&seen.routes[0], "v2");
    assert_eq!((canary.samples, canary.requests, canary.in_flight), (30, 131, 1));
    let text = page(&mut driver).await;
    let version = r#"route="iris",version="v2""#;
    let count = format!("switchback_request_duration_seconds_count{{{version}}} 131\n");
    assert_eq!(text.matches(&count).count(), 1, "{text}");

    // The old slot goes back only when its last request has ended and been counted.
    driver.tick().await;
    assert!(bench.registry.get(old).is_some());
    drop(late);
    driver.tick().await;
    assert!(bench.registry.get(old).is_some());
    driver.tick().await;
    assert!(bench.registry.get(old).is_none());
    assert_eq!(bench.roster.claim(), Some(old));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_removed_drains_and_leaves_nothing_behind() {
    let (bench, mut driver) = Bench::new(iris());
    let v2 = bench.slot("iris", "v2");
    bench.feed(v2, 100, 0);
    let late = bench.flight(v2);
    let mut next = iris();
    next.routes[0].versions.pop();
    next.routes[0].overrides.clear();
    reload(&mut driver, next).await.unwrap();
    let seen = status(&mut driver).await;
    let leaver = of(&seen.routes[0], "v2");
    assert_eq!((leaver.state.as_str(), leaver.in_flight), ("draining", 1));
    assert!(page(&mut driver).await.contains("version=\"v2\""));
    // It is cut at the cap.
    pass(Duration::from_secs(601)).await;
    driver.tick().await;
    assert!(bench.roster.is_cut(v2));
    drop(late);
    driver.tick().await;
    driver.tick().await;
    assert!(bench.registry.get(v2).is_none());
    assert!(!page(&mut driver).await.contains("version=\"v2\""));
    assert_eq!(status(&mut driver).await.routes[0].versions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_in_the_middle_of_a_rollback_lets_nobody_go() {
    let (bench, mut driver) = Bench::new(iris());
    let v2 = bench.slot("iris", "v2");
    let late = bench.flight(v2);
    roll_back(&mut driver, None).await.unwrap();
    let mut next = iris();
    next.routes[0].versions[1].weight = percent(50.0);
    reload(&mut driver, next).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);

    // Not as stable either, and not on other servers; another build is another version.
    let mut promoted = iris();
    promoted.routes[0].versions[0].role = Role::Canary;
    promoted.routes[0].versions[1].role = Role::Stable;
    let error = reload(&mut driver, promoted).await.unwrap_err();
    assert!(error.to_string().contains("cannot be stable"), "{error}");
    assert!(status(&mut driver).await.reload_error.unwrap().contains("cannot be stable"));
    let mut moved = iris();
    moved.routes[0].versions[1] = version("v2", Role::Canary, 10.0, 22);
    reload(&mut driver, moved.clone()).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    assert_eq!(status(&mut driver).await.reload_error, None);
    moved.routes[0].versions[1].digest = Digest::new("repaired");
    reload(&mut driver, moved).await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);

    // The rollback that was under way still ends, on the slot it began on.
    drop(late);
    until(&mut driver, |driver| !driver.desk.is_rolling(v2)).await;
    assert_eq!(last(&status(&mut driver).await)["status"], "completed");
}

#[tokio::test(start_paused = true)]
async fn an_operators_weight_stays_until_the_configuration_says_another() {
    let (bench, mut driver) = Bench::new(iris());
    set_weight(&mut driver, "v2", 35.0).await.unwrap();
    reload(&mut driver, iris()).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(35.0));
    let mut next = iris();
    next.routes[0].versions[1].weight = percent(12.0);
    reload(&mut driver, next).await.unwrap();
    assert_eq!(bench.weight("iris", "v2"), percent(12.0));
    reload(&mut driver, iris()).await.unwrap();
    assert_eq!(
        bench.weight("iris", "v2"),
        percent(10.0),
        "what was overruled does not come back"
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_weights_in_a_row() {
    let (bench, driver) = Bench::new(iris());
    let running = tasks::shared("control", driver.run());
    for step in 0..10_000_u32 {
        let weight = Percent::from_ppm(step * 100);
        let (route, version) = (name("iris"), name("v2"));
        bench.handle.set_weight(route, version, weight, by("ramp")).await.unwrap();
        let table = bench.live.load();
        let iris = table.route(&name("iris")).unwrap();
        let shares = iris.versions().iter().map(|one| u64::from(iris.share(one).ppm()));
        assert_eq!(shares.sum::<u64>(), 1_000_000);
        assert_eq!(iris.version(&name("v2")).unwrap().weight, weight);
    }
    assert_eq!(bench.live.generation().0, 10_001);
    let Bench { handle, .. } = bench;
    drop(handle);
    assert!(running.await.is_ok(), "it ends when nobody can give orders");
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    let mut settings = iris();
    settings.routes[0].versions.push(version("v3", Role::Candidate, 0.0, 3));
    let (bench, mut driver) = Bench::new(settings);
    let weights = [
        ("v1", 5.0, "is what the others leave"),
        ("v9", 5.0, "has no version v9"),
        ("v3", 5.0, "is a candidate"),
    ];
    for (version, weight, why) in weights {
        let error = set_weight(&mut driver, version, weight).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let back = [(Some("v1"), "nothing to go back to"), (Some("v9"), "no version v9")];
    for (from, why) in back {
        let error = roll_back(&mut driver, from).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = release(&mut driver, "v2").await.unwrap_err();
    assert!(error.to_string().contains("v2 is not in quarantine"), "{error}");
    let before = bench.live.generation();
    roll_back(&mut driver, None).await.unwrap();
    for (error, why) in [
        (roll_back(&mut driver, Some("v2")).await.unwrap_err(), "in quarantine already"),
        (roll_back(&mut driver, None).await.unwrap_err(), "no canary"),
        (set_weight(&mut driver, "v2", 1.0).await.unwrap_err(), "release it first"),
    ] {
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(bench.live.generation().0, before.0 + 1);
}

#[tokio::test(start_paused = true)]
async fn settings_that_do_not_fit_change_nothing_and_keep_no_slot() {
    let (bench, mut driver) = Bench::new(iris());
    let mut twice = iris();
    twice.routes.push(route("other", vec![version("a", Role::Stable, 0.0, 8)]));
    let cases: [(Spoil, &str); 4] = [
        (|it| it.routes[1].name = name("iris"), "route iris is there twice"),
        (
            |it| it.routes[1].versions.push(version("a", Role::Canary, 1.0, 9)),
            "version a",
        ),
        (|it| it.routes[1].overrides[0].2 = 4, "version number 4"),
        (|it| it.routes[0].versions[1].weight = percent(100.0), ""),
    ];
    for (spoil, why) in cases {
        let mut settings = twice.clone();
        settings.routes[0].versions.push(version("v3", Role::Canary, 50.0, 3));
        spoil(&mut settings);
        let error = reload(&mut driver, settings).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(bench.live.generation().0, 1);
    let free = std::iter::from_fn(|| bench.roster.claim()).count();
    assert_eq!(free, Slot::LIMIT - 2);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_only_alerts_and_a_version_without_traffic_roll_nothing_back() {
    let mut settings = iris();
    settings.routes[0].rules = Arc::new(rules(OnBreach::Alert));
    let (bench, mut driver) = Bench::new(settings);
    bench.feed(bench.slot("iris", "v2"), 100, 90);
    driver.tick().await;
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    let seen = status(&mut driver).await;
    assert!(of(&seen.routes[0], "v2").verdict.starts_with("breach without consequence"));

    // A candidate that is not up yet fails its checks and harms nobody.
    let mut settings = iris();
    settings.routes[0].versions[1].role = Role::Candidate;
    settings.routes[0].versions[1].upstream.health = Some(HealthCheck {
        liveness: Some("/live".into()),
        readiness: None,
        integrity: None,
        interval: Duration::from_millis(10),
        timeout: Duration::from_millis(100),
        unhealthy_after: 1,
        healthy_after: 1,
    });
    settings.routes[0].versions[1].upstream.endpoints =
        vec![Address::Unix("/nowhere/at/all".into())];
    let (bench, mut driver) = Bench::new(settings);
    let slot = bench.slot("iris", "v2");
    let (registry, standing) =
        (Arc::clone(&bench.registry), || bench.standing("iris", "v2"));
    until(&mut driver, |_| registry.get(slot).unwrap().health().all_unhealthy).await;
    driver.tick().await;
    assert_eq!(standing(), Standing::Serving);
    // One that gets requests does.
    bench.feed(slot, 1, 0);
    until(&mut driver, |_| standing() == Standing::Quarantined).await;
    assert_eq!(last(&status(&mut driver).await)["trigger"], "health_check");
}

#[tokio::test]
async fn quarantine_survives_a_restart_and_a_release_does_too() {
    let dir =
        std::env::temp_dir().join(format!("switchback-control-{}", fastrand::u64(..)));
    let open = || Arc::new(Store::open(&dir).unwrap());
    let start = |store: Arc<Store>| {
        let kept = store.all().unwrap();
        Bench::with(iris(), store, kept).unwrap()
    };
    let (bench, mut driver) = start(open());
    roll_back(&mut driver, None).await.unwrap();
    // The end of the loop waits for what is to be written.
    drop(bench);
    driver.run().await;

    let (bench, mut driver) = start(open());
    assert_eq!(bench.standing("iris", "v2"), Standing::Quarantined);
    let seen = status(&mut driver).await;
    assert_eq!(of(&seen.routes[0], "v2").quarantine.as_deref(), Some("bad answers"));
    release(&mut driver, "v2").await.unwrap();
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    drop(bench);
    driver.run().await;

    let (bench, driver) = start(open());
    assert_eq!(bench.standing("iris", "v2"), Standing::Serving);
    drop(bench);
    driver.run().await;
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_page_adds_up_to_what_was_fed() {
    let (bench, mut driver) = Bench::new(iris());
    let (v1, v2) = (bench.slot("iris", "v1"), bench.slot("iris", "v2"));
    let mut sum = 7_u64;
    for turn in 1..=40_u32 {
        bench.feed(v1, turn * 3, turn % 2);
        bench.feed(v2, turn, 0);
        sum += u64::from(turn) * 4;
        if turn % 3 == 0 {
            driver.tick().await;
        }
    }
    let text = page(&mut driver).await;
    let total = |family: &str| -> u64 {
        let lines = text.lines().filter(|line| line.starts_with(family));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert_eq!(total("switchback_requests_total{"), sum);
    assert_eq!(total("switchback_request_duration_seconds_count{"), sum - 7);
    let good = sum - 7 - 20;
    assert_eq!(total("switchback_time_to_first_byte_seconds_count{"), good);
}
