//! A control loop that only writes down what it is told, for the tests of those who give
//! orders.

use std::sync::{Arc, Mutex};

use super::handle::{ControlHandle, Order, OrderError};
use super::status::StatusView;
use crate::tasks;
use crate::vocab::ids::Name;
use crate::vocab::record::{RollbackRecord, Status};
use crate::vocab::time::Timestamp;
use crate::vocab::trigger::Trigger;

/// The orders so far, one line each.
pub(crate) type Orders = Arc<Mutex<Vec<String>>>;

/// A handle that shows `status` and carries out every order, but one on a version called
/// `stubborn`.
pub(crate) fn fake(status: StatusView) -> (ControlHandle, Orders) {
    let (handle, mut inbox) = ControlHandle::new();
    let orders = Orders::default();
    let book = Arc::clone(&orders);
    tasks::shared("fake control", async move {
        while let Some(order) = inbox.recv().await {
            let line = obey(order, &status);
            book.lock().unwrap().extend(line);
        }
    });
    (handle, orders)
}

fn obey(order: Order, status: &StatusView) -> Option<String> {
    match order {
        Order::Reload(_, answer) => {
            answer.send(Ok(())).ok().map(|()| "reload".to_owned())
        }
        Order::ReloadRefused(why) => Some(format!("reload refused: {why}")),
        Order::SetWeight { route, version, weight, by, answer } => {
            answer.send(carry_out(&version, ())).unwrap();
            Some(format!(
                "weight {route} {version} {weight} {}: {}",
                by.operator, by.reason
            ))
        }
        Order::Rollback { route, from, by, answer } => {
            let from = from.unwrap_or_else(|| Name::parse("v2.5").unwrap());
            let line = format!("rollback {route} {from} {}: {}", by.operator, by.reason);
            let done =
                carry_out(&from.clone(), record(route, from, by.operator, by.reason));
            answer.send(done).unwrap();
            Some(line)
        }
        Order::Release { route, version, by, answer } => {
            answer.send(carry_out(&version, ())).unwrap();
            Some(format!("release {route} {version} {}: {}", by.operator, by.reason))
        }
        Order::Status(answer) => answer.send(status.clone()).ok().and(None),
        Order::Metrics(answer) => answer.send("up 1\n".to_owned()).ok().and(None),
    }
}

fn carry_out<T>(version: &Name, answer: T) -> Result<T, OrderError> {
    match version.as_str() {
        "stubborn" => Err(OrderError::Refused("stubborn stays as it is".to_owned())),
        _ => Ok(answer),
    }
}

fn record(route: Name, from: Name, operator: String, reason: String) -> RollbackRecord {
    RollbackRecord {
        rollback_id: "rb-1".to_owned(),
        timestamp: Timestamp(1_795_554_358_123),
        route,
        trigger: Trigger::Manual,
        from_version: from,
        to_version: Name::parse("v2.4").unwrap(),
        reason,
        automatic: false,
        initiated_by: operator,
        status: Status::InProgress,
        phases: Vec::new(),
        total_duration_seconds: None,
        trigger_latency_seconds: None,
        protect: None,
        notes: Vec::new(),
    }
}
