//! Orders that change something: written into the audit log before they are carried out, and
//! refused when they cannot be.

use serde_json::{Map, Value, json};

use super::driver::Driver;
use super::handle::{Answer, Deed, Order, OrderError};
use super::journal::Weight;
use super::source::Source;
use crate::clock;
use crate::effects::OfDead;
use crate::tasks;

impl Order {
    /// What it is to be written down as, whose it is and what else there is to say; `None`
    /// for orders that change nothing or are not an operator's.
    pub(super) fn deed(&self) -> Option<(&'static str, &Deed, Map<String, Value>)> {
        let (kind, by, body) = match self {
            Self::SetWeight { route, version, weight, by, .. } => {
                let weight = weight.percent();
                let body =
                    json!({ "route": route, "version": version, "weight": weight });
                ("order.set_weight", by, body)
            }
            Self::Rollback { route, from, to, by, .. } => {
                let body =
                    json!({ "route": route, "from_version": from, "to_version": to });
                ("order.rollback", by, body)
            }
            Self::Release { route, version, by, .. } => {
                ("order.release", by, json!({ "route": route, "version": version }))
            }
            Self::Steer { route, verb, by, .. } => {
                ("order.rollout", by, json!({ "route": route, "verb": verb.as_str() }))
            }
            Self::SetMode { route, read_only, by, .. } => {
                ("order.mode", by, json!({ "route": route, "read_only": read_only }))
            }
            Self::SettleDead { sink, how, by, .. } => {
                let how = match how {
                    OfDead::Retry => "retry",
                    OfDead::Drop => "drop",
                };
                ("order.notices", by, json!({ "sink": sink, "verb": how }))
            }
            Self::Reload(..)
            | Self::ReloadRefused(_)
            | Self::Refused(_)
            | Self::Status(_)
            | Self::Metrics(_)
            | Self::Explain(..)
            | Self::Record(..)
            | Self::Notices(_)
            | Self::History(_) => return None,
        };
        let Value::Object(body) = body else { return None };
        Some((kind, by, body))
    }

    /// Answers that it is not carried out.
    pub(super) fn refuse(self, error: OrderError) {
        // Whoever no longer waits for the answer gets none.
        match self {
            Self::SetWeight { answer, .. } | Self::Release { answer, .. } => {
                let _gone = answer.send(Err(error));
            }
            Self::Rollback { answer, .. } => {
                let _gone = answer.send(Err(error));
            }
            Self::SettleDead { answer, .. } => {
                let _gone = answer.send(Err(error));
            }
            Self::Steer { answer, .. } => {
                let _gone = answer.send(Err(error));
            }
            Self::SetMode { answer, .. } => {
                let _gone = answer.send(Err(error));
            }
            Self::Reload(..)
            | Self::ReloadRefused(_)
            | Self::Refused(_)
            | Self::Status(_)
            | Self::Metrics(_)
            | Self::Explain(..)
            | Self::Record(..)
            | Self::Notices(_)
            | Self::History(_) => {}
        }
    }
}

impl<S: Source> Driver<S> {
    /// Has an order written down first, if it is one that changes something; gives it back
    /// if not.
    pub(super) fn record_first(&mut self, order: Order) -> Option<Order> {
        let Some(entry) = self.desk.order_entry(&order, clock::wall()) else {
            return Some(order);
        };
        let is_rollback = matches!(order, Order::Rollback { .. });
        let weight = if is_rollback { Weight::Rollback } else { Weight::Order };
        if let Err(back) = self.desk.clerk.order(entry, weight, order) {
            back.refuse(OrderError::Busy);
        }
        None
    }

    /// Writes down that an order which is in the log was refused after all.
    pub(super) fn told<T>(
        &self,
        what: &'static str,
        by: &Deed,
        done: Result<T, OrderError>,
    ) -> Result<T, OrderError> {
        if let Err(error) = &done {
            self.desk.tell_refused(what, by, &error.to_string(), clock::wall());
        }
        done
    }

    /// What was given up is tried again or forgotten. Nobody here waits for it.
    pub(super) fn settle_dead(
        &self,
        sink: Option<String>,
        how: OfDead,
        by: &Deed,
        answer: Answer<usize>,
    ) {
        let journal = self.desk.clerk.journal();
        if let Some(name) = &sink {
            let view = journal.notices();
            let sinks = view["sinks"].as_array().into_iter().flatten();
            if !sinks.into_iter().any(|one| one["name"] == name.as_str()) {
                let name: String = name.chars().take(80).collect();
                let done = Err(OrderError::Refused(format!("there is no sink {name}")));
                let _gone = answer.send(self.told("order.notices", by, done));
                return;
            }
        }
        let work = journal.settle_dead(sink, how);
        // Whoever no longer waits for the answer gets none.
        let _task = tasks::shared("dead letters", async move {
            let _gone = answer.send(Ok(work.await));
        });
    }

    /// An order is written down, or cannot be.
    pub(super) async fn recorded(&mut self, order: Order, done: Result<(), String>) {
        match done {
            Ok(()) => self.carry_out(order).await,
            Err(why) => order.refuse(OrderError::Unrecorded(why)),
        }
    }
}
