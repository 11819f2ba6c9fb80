//! The loop: ticks, orders and events, one after the other. Only here does time come in.
//!
//! Nothing in it waits for a disk or for a drain; what takes time runs beside it and comes
//! back as an event. So an order is answered within one turn, and a breach is acted on in
//! the turn that sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use super::execute::{Desk, Happened};
use super::handle::{Order, OrderError};
use super::journal::Then;
use super::observe::observe;
use super::plan::{Known, Weights, plan, relieved};
use super::record::Recording;
use super::refused::Refused;
use super::scribe::Release;
use super::seats::{Label, Seats};
use super::settings::{RouteSettings, Settings};
use super::source::Source;
use super::trials::Trials;
use super::view::View;
use crate::clock;
use crate::rollout::Procedure;
use crate::telemetry::{emit, logs};
use crate::vocab::ids::Name;
use crate::vocab::notice::Delivery;
use crate::vocab::time::Timestamp;

/// The control loop.
pub(super) struct Driver<S> {
    pub(super) source: S,
    pub(super) seats: Seats,
    pub(super) desk: Desk,
    pub(super) settings: Settings,
    pub(super) weights: Weights,
    pub(super) trials: Trials,
    pub(super) inbox: mpsc::Receiver<Order>,
    pub(super) events: mpsc::Receiver<Happened>,
    /// Notices that have reached somebody.
    pub(super) deliveries: mpsc::Receiver<Delivery>,
    pub(super) scribe: JoinHandle<()>,
    pub(super) clerk: JoinHandle<()>,
    pub(super) recording: Option<Recording>,
    reload_error: Option<String>,
    /// When each route is judged next, by its place in the settings.
    due: Vec<Timestamp>,
}

/// What reaches the loop beside the tick.
pub(super) struct Inlets {
    pub(super) inbox: mpsc::Receiver<Order>,
    pub(super) events: mpsc::Receiver<Happened>,
    pub(super) deliveries: mpsc::Receiver<Delivery>,
    pub(super) scribe: JoinHandle<()>,
    pub(super) clerk: JoinHandle<()>,
}

impl<S: Source> Driver<S> {
    pub(super) fn new(
        source: S,
        seats: Seats,
        desk: Desk,
        settings: Settings,
        inlets: Inlets,
    ) -> Self {
        let Inlets { inbox, events, deliveries, scribe, clerk } = inlets;
        let (weights, reload_error, due) = (Weights::default(), None, Vec::new());
        Self {
            source,
            seats,
            desk,
            settings,
            weights,
            trials: Trials::default(),
            inbox,
            events,
            deliveries,
            scribe,
            clerk,
            recording: None,
            reload_error,
            due,
        }
    }

    /// Runs until nobody can give orders any more.
    #[cfg(test)]
    pub(super) async fn run(self) {
        self.run_until(std::future::pending()).await;
    }

    /// Runs until the end, or until nobody can give orders any more.
    pub(super) async fn run_until(mut self, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        let mut ticks = ticks(period(&self.settings));
        let roster = Arc::clone(&self.desk.roster);
        let names = self.seats.names.clone();
        loop {
            tokio::select! {
                order = self.inbox.recv() => match order {
                    Some(order) => {
                        self.obey(order).await;
                        let period = period(&self.settings);
                        if period != ticks.period() {
                            ticks = self::ticks(period);
                        }
                    }
                    None => break,
                },
                Some(happened) = self.events.recv() => self.happened(happened).await,
                Some(delivery) = self.deliveries.recv() => self.desk.delivered(&delivery),
                () = roster.urgent() => self.look_now().await,
                () = names.changed() => self.seats.renew(clock::wall()),
                () = &mut end => break,
                _ = ticks.tick() => self.tick().await,
            }
        }
        self.close().await;
    }

    /// One turn of the clock.
    pub(super) async fn tick(&mut self) {
        let now = self.close_books().await;
        let desk = &self.desk;
        self.seats.sweep(now, |slot| desk.is_using(slot));
        self.desk.tick(now);
        self.look_after_ramps(now);
        self.look_after_routes(now);
        self.judge(now);
        self.look_after_rollouts(now);
    }

    /// A worker saw what should not wait for the next turn of the clock.
    pub(super) async fn look_now(&mut self) {
        let now = self.close_books().await;
        self.due.clear();
        self.judge(now);
    }

    fn judge(&mut self, now: Timestamp) {
        let table = self.desk.live.load();
        self.due.resize(self.settings.routes.len(), now);
        // A tick is never exactly on time; half a period early is this one.
        let slack = period(&self.settings) / 2;
        let mut asked = Vec::new();
        for (route, due) in self.settings.routes.iter().zip(&mut self.due) {
            if now < *due {
                continue;
            }
            *due = now.after(route.rules.interval.saturating_sub(slack));
            let Some(current) = table.route(&route.name) else { continue };
            asked.extend(observe(current, &mut self.seats, &mut self.trials, now));
        }
        for one in asked {
            self.answer(one, now);
        }
    }

    /// Carries one order out and answers it, once it is written down where it has to be.
    pub(super) async fn obey(&mut self, order: Order) {
        if let Some(order) = self.record_first(order) {
            self.carry_out(order).await;
        }
    }

    /// Carries one order out and answers it. Whoever no longer waits for the answer gets
    /// none.
    pub(super) async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Reload(settings, answer) => {
                let done = self.reload(*settings);
                if let Err(error) = &done {
                    self.refuse_reload(error.to_string());
                }
                let _gone = answer.send(done);
            }
            Order::ReloadRefused(why) => self.refuse_reload(why),
            Order::SetWeight { route, version, weight, by, answer } => {
                let label = Label { route, version };
                let done = self.set_weight(&label, weight, &by);
                let _gone = answer.send(self.told("order.set_weight", &by, done));
            }
            Order::Rollback { route, from, to, by, answer } => {
                let versions = (from.as_ref(), to.as_ref());
                self.desk.awaiting = Some(answer);
                let done = self.roll_back(&route, versions, by.clone());
                let done = self.told("order.rollback", &by, done);
                if let Some(answer) = self.desk.awaiting.take() {
                    let _gone = answer.send(done);
                }
            }
            Order::Release { route, version, by, answer } => {
                self.release(Release { route, version, by, answer });
            }
            Order::Steer { route, verb, by, answer } => {
                self.steer(&route, verb, &by, answer);
            }
            Order::SetMode { route, read_only, by, answer } => {
                let done = self.set_mode(&route, read_only, &by);
                let _gone = answer.send(self.told("order.mode", &by, done));
            }
            Order::SettleDead { sink, how, by, answer } => {
                self.settle_dead(sink, how, &by, answer);
            }
            Order::Refused(refused) => {
                self.write_refused(*refused);
            }
            Order::Status(answer) => {
                let now = self.close_books().await;
                let error = self.reload_error.clone();
                let _gone = answer.send(self.view(now, |view| view.status(error)));
            }
            Order::Metrics(answer) => {
                let now = self.close_books().await;
                if let Some(recording) = &self.recording {
                    self.desk.exporter.recorded(recording.state());
                }
                self.desk.clerk.journal().figures(&self.desk.exporter);
                let unrouted = self.source.unrouted();
                let _gone = answer.send(self.view(now, |view| view.page(&unrouted)));
            }
            Order::Explain(id, answer) => {
                let now = self.close_books().await;
                let _gone = answer.send(self.view(now, |view| view.explain(&id)));
            }
            Order::History(answer) => {
                let _gone = answer.send(self.desk.history.view());
            }
            Order::Record(id, answer) => {
                let _gone = answer.send(self.record_of(&id));
            }
            Order::Notices(answer) => {
                let _gone = answer.send(Ok(self.desk.clerk.journal().notices()));
            }
        }
    }

    fn write_refused(&self, refused: Refused) {
        refused.log();
        let entry = refused.entry(clock::wall(), &self.settings.config_hash);
        self.desk.clerk.fact(entry, Then::default());
    }

    pub(super) fn view<T>(
        &mut self,
        now: Timestamp,
        look: impl FnOnce(&View<'_>) -> T,
    ) -> T {
        let table = self.desk.live.load();
        let (settings, trials) = (&self.settings, &self.trials);
        look(&View::of(&table, (settings, trials), &mut self.seats, &self.desk, now))
    }

    fn reload(&mut self, settings: Settings) -> Result<(), OrderError> {
        let known = Known {
            seats: &self.seats,
            weights: &self.weights,
            quarantine: &self.desk.quarantine,
            protects: &self.desk.protects,
            probing: &self.desk.probing,
            acting: &self.desk.acting,
            table: &self.desk.live.load(),
        };
        let relieved = relieved(&settings, known);
        let planned = plan(&settings, known);
        let mut plan =
            planned.map_err(|error| OrderError::Refused(logs::chain(&error)))?;
        self.seats.would_serve(&settings)?;
        self.seats.seat(&plan, &settings);
        plan.settle();
        let table = std::mem::take(&mut plan.table);
        let generation = self.desk.put_in_force(table)?;
        let leaving = self.seats.dismiss(&plan, &self.settings, clock::wall());
        self.seats.names.configure(&settings.dns);
        self.seats.names.follow(&settings.names());
        self.weights.fit(&settings);
        for route in relieved {
            self.desk.relieve(&route);
        }
        let changes = format!("{}, {leaving} leaving", plan.summary());
        emit::reload_taken(&settings.config_hash, generation, &changes);
        let said = serde_json::json!({ "config_hash": settings.config_hash, "changes": changes });
        self.desk.feed.tell("reload.taken", None, None, said);
        self.desk.config_hash.clone_from(&settings.config_hash);
        self.settings = settings;
        self.reload_error = None;
        self.due.clear();
        self.align(clock::wall());
        Ok(())
    }

    fn refuse_reload(&mut self, why: String) {
        emit::reload_refused(&why);
        let said = serde_json::json!({ "why": why });
        self.desk.feed.tell("reload.refused", None, None, said);
        self.reload_error = Some(why);
    }

    /// Takes in what happened beside the loop.
    pub(super) async fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Rollback { id, event } => {
                self.desk.happened(&id, &event, clock::wall());
            }
            Happened::Released { release, done } => {
                let Release { route, version, by, answer } = release;
                let done = match done {
                    Ok(()) => self.let_go(&Label { route, version }, &by),
                    Err(why) => Err(OrderError::Refused(why)),
                };
                let _gone = answer.send(done);
            }
            Happened::Recorded { order, done } => self.recorded(*order, done).await,
            Happened::Started { id, answer } => {
                self.desk.put_aside(&id);
                if let Some(answer) = answer {
                    let _gone = answer.send(self.record_of(&id));
                }
            }
            Happened::Ended(record) => self.desk.ended(*record),
            Happened::Gate { route, gate, number, answer } => {
                self.gate_answered(&route, (gate, number), answer, clock::wall());
            }
            Happened::Examined { route, passed } => {
                self.desk.examined(&route, passed, clock::wall());
            }
        }
    }
}

/// How a rollback to this version goes.
pub(super) fn procedure(route: &RouteSettings, to: &Name) -> Procedure {
    let settings = route.rollback;
    let mut versions = route.versions.iter();
    let to = versions.find(|version| version.name == *to);
    Procedure {
        drain_timeout: settings.drain_timeout,
        on_timeout: settings.on_timeout,
        cap: settings.cap,
        check_timeout: to.map_or(Duration::ZERO, |to| to.upstream.patience()),
        settle: settings.stabilization,
        max_error_rate: settings.max_error_rate,
    }
}

/// Sorts by time, and is unique beside the time.
pub(super) fn rollback_id(now: Timestamp) -> String {
    format!("rb-{:012x}-{:08x}", now.0, fastrand::u32(..))
}

/// As for a rollback.
pub(super) fn protect_id(now: Timestamp) -> String {
    format!("pr-{:012x}-{:08x}", now.0, fastrand::u32(..))
}

/// The shortest interval of any route. Bounded below so that the loop stays cheap, and above
/// because alarms and cuts wait for a tick.
fn period(settings: &Settings) -> Duration {
    let intervals = settings.routes.iter().map(|route| route.rules.interval);
    intervals.min().unwrap_or(SLOWEST).clamp(FASTEST, SLOWEST)
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

const FASTEST: Duration = Duration::from_millis(20);
const SLOWEST: Duration = Duration::from_secs(1);
/// Who rolls back when nobody ordered it.
pub(super) const MACHINE: &str = "switchback";
