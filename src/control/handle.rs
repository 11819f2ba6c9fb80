//! `ControlHandle`: the one way to give the driver an order, from a reload, an operator or
//! the shutdown. Orders are taken one after the other, so a reload never races a rollback.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::explain::{Explanation, HistoryView};
use super::feed::{Cursor, Feed};
use super::refused::Refused;
use super::settings::Settings;
use super::status::{ModeView, RolloutView, StatusView};
use crate::dns::Names;
use crate::effects::OfDead;
use crate::rollout::Verb;
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Name, Operator};
use crate::vocab::record::RollbackRecord;

/// Orders waiting for the driver; more are refused as [`OrderError::Busy`].
pub(super) const QUEUE: usize = 256;
/// How long a start or a reload waits for names to be looked up.
pub(super) const LOOKING: Duration = Duration::from_secs(2);

/// Gives orders to the driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    orders: mpsc::Sender<Order>,
    feed: Feed,
    /// Where the names of endpoints lead.
    names: Option<Names>,
}

/// One order with the place for its answer.
#[derive(Debug)]
pub(super) enum Order {
    /// Take this configuration.
    Reload(Box<Settings>, Answer<()>),
    /// Say that a configuration was refused before it got here.
    ReloadRefused(String),
    /// Give a version another weight.
    SetWeight {
        route: Name,
        version: Name,
        weight: Percent,
        by: Deed,
        answer: Answer<()>,
    },
    /// Take all traffic from a version.
    Rollback {
        route: Name,
        from: Option<Name>,
        to: Option<Name>,
        by: Deed,
        answer: Answer<RollbackRecord>,
    },
    /// Let a version have weight again.
    Release { route: Name, version: Name, by: Deed, answer: Answer<()> },
    /// Do something with the rollout of a route.
    Steer { route: Name, verb: Verb, by: Deed, answer: Answer<RolloutView> },
    /// Ask no version of a route any more, or ask them again.
    SetMode { route: Name, read_only: bool, by: Deed, answer: Answer<ModeView> },
    /// Try again or forget what was given up, of one sink or of all.
    SettleDead { sink: Option<String>, how: OfDead, by: Deed, answer: Answer<usize> },
    /// Write down that something was refused before it got here.
    Refused(Box<Refused>),
    /// Close the books now and show everything.
    Status(oneshot::Sender<StatusView>),
    /// Close the books now and give the metrics as Prometheus text.
    Metrics(oneshot::Sender<String>),
    /// Close the books now and say why something is as it is.
    Explain(String, Answer<Explanation>),
    /// Give the records of what happened.
    History(oneshot::Sender<HistoryView>),
    /// Give the record of one rollback as it stands.
    Record(String, Answer<RollbackRecord>),
    /// Give what waits to be delivered, and to whom.
    Notices(Answer<serde_json::Value>),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, OrderError>>;

/// Who ordered something, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The operator, from the credential.
    pub operator: Operator,
    /// The operator's reason.
    pub reason: String,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OrderError {
    /// Too many orders wait.
    #[error("the control loop is busy: try again")]
    Busy,
    /// The process is going down.
    #[error("the control loop has ended")]
    Gone,
    /// It names something that does not exist, or asks for something impossible.
    #[error("{0}")]
    Refused(String),
    /// There is nothing of that name to look at.
    #[error("{0}")]
    Unknown(String),
    /// It is not in the audit log, so it was not done.
    #[error("nothing was changed, because the audit log cannot be written: {0}")]
    Unrecorded(String),
    /// This build or this configuration has no such thing.
    #[error("{0} is not available")]
    NotAvailable(String),
}

impl ControlHandle {
    pub(super) fn new(feed: Feed, names: Option<Names>) -> (Self, mpsc::Receiver<Order>) {
        let (orders, inbox) = mpsc::channel(QUEUE);
        (Self { orders, feed, names }, inbox)
    }

    /// Takes a new configuration; what it does not change goes on undisturbed. Names that are
    /// new are looked up before, so that no version begins without servers.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or refuses it.
    pub async fn reload(&self, settings: Settings) -> Result<(), OrderError> {
        if let Some(names) = &self.names {
            names.prepare(&settings.names(), LOOKING).await;
        }
        self.ask(|answer| Order::Reload(Box::new(settings), answer)).await
    }

    /// Shows in `status` that a configuration was refused, and why.
    pub fn reload_refused(&self, why: String) {
        if self.orders.try_send(Order::ReloadRefused(why)).is_err() {
            tracing::warn!(
                "the control loop is busy: the refused reload is not in status"
            );
        }
    }

    /// Gives a version another weight.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or the table refuses the weight.
    pub async fn set_weight(
        &self,
        route: Name,
        version: Name,
        weight: Percent,
        by: Deed,
    ) -> Result<(), OrderError> {
        self.ask(|answer| Order::SetWeight { route, version, weight, by, answer }).await
    }

    /// Takes all traffic from a version of the route (the canary, when none is named), puts
    /// it in quarantine, and gives the traffic to `to` (stable, when none is named). Returns
    /// once new requests are there.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or there is nothing to roll back.
    pub async fn rollback(
        &self,
        route: Name,
        from: Option<Name>,
        to: Option<Name>,
        by: Deed,
    ) -> Result<RollbackRecord, OrderError> {
        self.ask(|answer| Order::Rollback { route, from, to, by, answer }).await
    }

    /// Lets a quarantined version have weight again.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or the version is not in quarantine.
    pub async fn release(
        &self,
        route: Name,
        version: Name,
        by: Deed,
    ) -> Result<(), OrderError> {
        self.ask(|answer| Order::Release { route, version, by, answer }).await
    }

    /// Ends what the rollout of the route waits for; `full`: skips all that is left of it.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or the version is
    /// in no state to be promoted.
    pub async fn promote(
        &self,
        route: Name,
        full: bool,
        by: Deed,
    ) -> Result<RolloutView, OrderError> {
        self.steer(route, Verb::Promote { full }, by).await
    }

    /// Stops the rollout of the route where it is, until it is resumed.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or there is
    /// nothing to pause.
    pub async fn pause(&self, route: Name, by: Deed) -> Result<RolloutView, OrderError> {
        self.steer(route, Verb::Pause, by).await
    }

    /// Lets the rollout of the route go on where it was paused or frozen.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or it
    /// is neither.
    pub async fn resume(&self, route: Name, by: Deed) -> Result<RolloutView, OrderError> {
        self.steer(route, Verb::Resume, by).await
    }

    /// Gives the traffic of the version that is rolled out back to stable, without a
    /// quarantine.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or there is
    /// nothing to abort.
    pub async fn abort(&self, route: Name, by: Deed) -> Result<RolloutView, OrderError> {
        self.steer(route, Verb::Abort, by).await
    }

    /// Begins the rollout of the route again, after it ended.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or it has
    /// not ended, or its version is in quarantine.
    pub async fn retry(&self, route: Name, by: Deed) -> Result<RolloutView, OrderError> {
        self.steer(route, Verb::Retry, by).await
    }

    /// Keeps rollouts of the route from changing anything until it is resumed; a rollback
    /// works as ever.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or the
    /// route has no rollout in its configuration.
    pub async fn freeze(&self, route: Name, by: Deed) -> Result<RolloutView, OrderError> {
        self.steer(route, Verb::Freeze, by).await
    }

    /// Makes a route read-only, or lets its versions be asked again.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or the route is in no state for it.
    pub async fn set_mode(
        &self,
        route: Name,
        read_only: bool,
        by: Deed,
    ) -> Result<ModeView, OrderError> {
        self.ask(|answer| Order::SetMode { route, read_only, by, answer }).await
    }

    /// Has notices that were given up tried again, or forgotten, of one sink or of all; says
    /// how many.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or there is no such sink.
    pub async fn settle_dead(
        &self,
        sink: Option<String>,
        how: OfDead,
        by: Deed,
    ) -> Result<usize, OrderError> {
        self.ask(|answer| Order::SettleDead { sink, how, by, answer }).await
    }

    /// Has it written down that a call was refused. Never waits.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone; the caller counts it then.
    pub fn refused(&self, refused: Refused) -> Result<(), OrderError> {
        self.orders
            .try_send(Order::Refused(Box::new(refused)))
            .map_err(|why| unsent(&why))
    }

    /// Where changes are told.
    #[cfg(test)]
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// What changes from now on, or since the event of that number as far as it is kept.
    #[must_use]
    pub fn events(&self, after: Option<u64>) -> Cursor {
        self.feed.follow(after)
    }

    /// Everything an operator may see, up to this moment.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone.
    pub async fn status(&self) -> Result<StatusView, OrderError> {
        self.read(Order::Status).await
    }

    /// All metrics, up to this moment, as Prometheus text.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone.
    pub async fn metrics(&self) -> Result<String, OrderError> {
        self.read(Order::Metrics).await
    }

    /// Why something is as it is: a route, a version (`route/version`), a protect or a
    /// rollback, by its id.
    ///
    /// # Errors
    /// [`OrderError::Unknown`] when there is nothing of that id, with what there is;
    /// [`OrderError`] when the driver is busy or gone.
    pub async fn explain(&self, id: String) -> Result<Explanation, OrderError> {
        self.ask(|answer| Order::Explain(id, answer)).await
    }

    /// The records of what happened since the start, as far as they are kept.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone.
    pub async fn history(&self) -> Result<HistoryView, OrderError> {
        self.read(Order::History).await
    }

    /// The record of one rollback as it stands.
    ///
    /// # Errors
    /// [`OrderError::Unknown`] when there is none of that id; [`OrderError`] when the driver
    /// is busy or gone.
    pub async fn record(&self, id: String) -> Result<RollbackRecord, OrderError> {
        self.ask(|answer| Order::Record(id, answer)).await
    }

    /// What waits to be delivered, and to whom.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or nobody is told anything.
    pub async fn notices(&self) -> Result<serde_json::Value, OrderError> {
        self.ask(Order::Notices).await
    }

    async fn steer(
        &self,
        route: Name,
        verb: Verb,
        by: Deed,
    ) -> Result<RolloutView, OrderError> {
        self.ask(|answer| Order::Steer { route, verb, by, answer }).await
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(Answer<T>) -> Order,
    ) -> Result<T, OrderError> {
        self.read(order).await?
    }

    async fn read<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, OrderError> {
        let (answer, wait) = oneshot::channel();
        self.orders.try_send(order(answer)).map_err(|why| unsent(&why))?;
        wait.await.map_err(|_| OrderError::Gone)
    }
}

fn unsent<T>(why: &mpsc::error::TrySendError<T>) -> OrderError {
    match why {
        mpsc::error::TrySendError::Full(_) => OrderError::Busy,
        mpsc::error::TrySendError::Closed(_) => OrderError::Gone,
    }
}
