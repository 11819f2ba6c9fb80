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
use super::observe::observe;
use super::plan::{Known, Weights, plan};
use super::record::Recording;
use super::scribe::Release;
use super::seats::{Label, Seats};
use super::settings::{RouteSettings, Settings};
use super::source::Source;
use super::trials::Trials;
use super::view::View;
use crate::clock;
use crate::rollout::DrainPolicy;
use crate::telemetry::{emit, logs};
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
    pub(super) scribe: JoinHandle<()>,
    pub(super) recording: Option<Recording>,
    reload_error: Option<String>,
    /// When each route is judged next, by its place in the settings.
    due: Vec<Timestamp>,
}

/// What reaches the loop beside the tick.
pub(super) struct Inlets {
    pub(super) inbox: mpsc::Receiver<Order>,
    pub(super) events: mpsc::Receiver<Happened>,
    pub(super) scribe: JoinHandle<()>,
}

impl<S: Source> Driver<S> {
    pub(super) fn new(
        source: S,
        seats: Seats,
        desk: Desk,
        settings: Settings,
        inlets: Inlets,
    ) -> Self {
        let Inlets { inbox, events, scribe } = inlets;
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
            scribe,
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
                Some(happened) = self.events.recv() => self.happened(happened),
                () = roster.urgent() => self.look_now().await,
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
        self.judge(now);
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

    /// Carries one order out and answers it. Whoever no longer waits for the answer gets
    /// none.
    pub(super) async fn obey(&mut self, order: Order) {
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
                let _gone = answer.send(self.set_weight(label, weight, &by));
            }
            Order::Rollback { route, from, by, answer } => {
                let _gone = answer.send(self.roll_back(&route, from.as_ref(), by));
            }
            Order::Release { route, version, by, answer } => {
                self.release(Release { route, version, by, answer });
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
        }
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
            table: &self.desk.live.load(),
        };
        let planned = plan(&settings, known);
        let mut plan =
            planned.map_err(|error| OrderError::Refused(logs::chain(&error)))?;
        self.seats.seat(&plan, &settings);
        plan.settle();
        let table = std::mem::take(&mut plan.table);
        let generation = self.desk.put_in_force(table)?;
        let leaving = self.seats.dismiss(&plan, &self.settings, clock::wall());
        self.weights.fit(&settings);
        let changes = format!("{}, {leaving} leaving", plan.summary());
        emit::reload_taken(&settings.config_hash, generation, &changes);
        self.settings = settings;
        self.reload_error = None;
        self.due.clear();
        self.align(clock::wall());
        Ok(())
    }

    fn refuse_reload(&mut self, why: String) {
        emit::reload_refused(&why);
        self.reload_error = Some(why);
    }

    /// Takes in what happened beside the loop.
    pub(super) fn happened(&mut self, happened: Happened) {
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
        }
    }
}

pub(super) fn policy(route: &RouteSettings) -> DrainPolicy {
    let settings = route.rollback;
    DrainPolicy {
        timeout: settings.drain_timeout,
        on_timeout: settings.on_timeout,
        cap: settings.cap,
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
