//! `ControlHandle`: the one way to give the driver an order, from a reload, an operator or
//! the shutdown. Orders are taken one after the other, so a reload never races a rollback.

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::explain::{Explanation, HistoryView};
use super::settings::Settings;
use super::status::StatusView;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::record::RollbackRecord;

/// Orders waiting for the driver; more are refused as [`OrderError::Busy`].
pub(super) const QUEUE: usize = 256;

/// Gives orders to the driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    orders: mpsc::Sender<Order>,
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
    Rollback { route: Name, from: Option<Name>, by: Deed, answer: Answer<RollbackRecord> },
    /// Let a version have weight again.
    Release { route: Name, version: Name, by: Deed, answer: Answer<()> },
    /// Close the books now and show everything.
    Status(oneshot::Sender<StatusView>),
    /// Close the books now and give the metrics as Prometheus text.
    Metrics(oneshot::Sender<String>),
    /// Close the books now and say why something is as it is.
    Explain(String, Answer<Explanation>),
    /// Give the records of what happened.
    History(oneshot::Sender<HistoryView>),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, OrderError>>;

/// Who ordered something, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The operator's name, from the token.
    pub operator: String,
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
}

impl ControlHandle {
    pub(super) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (orders, inbox) = mpsc::channel(QUEUE);
        (Self { orders }, inbox)
    }

    /// Takes a new configuration; what it does not change goes on undisturbed.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or refuses it.
    pub async fn reload(&self, settings: Settings) -> Result<(), OrderError> {
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

    /// Takes all traffic from a version of the route (the canary, when none is named) and
    /// puts it in quarantine. Returns once new requests are on stable.
    ///
    /// # Errors
    /// [`OrderError`] when the driver is busy or gone, or there is nothing to roll back.
    pub async fn rollback(
        &self,
        route: Name,
        from: Option<Name>,
        by: Deed,
    ) -> Result<RollbackRecord, OrderError> {
        self.ask(|answer| Order::Rollback { route, from, by, answer }).await
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
        self.orders.try_send(order(answer)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => OrderError::Busy,
            mpsc::error::TrySendError::Closed(_) => OrderError::Gone,
        })?;
        wait.await.map_err(|_| OrderError::Gone)
    }
}
