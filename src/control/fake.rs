//! A control loop that only writes down what it is told, for the tests of those who give
//! orders.

use std::sync::{Arc, Mutex};

use super::explain::{EvidenceView, Explanation, HistoryView, TrialView};
use super::handle::{ControlHandle, Order, OrderError};
use super::status::{StatusView, VersionView};
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
        Order::Explain(id, answer) => answer.send(explain(id, status)).ok().and(None),
        Order::History(answer) => answer.send(history(status)).ok().and(None),
    }
}

/// A route or `route/version` of the status, with one test on each version but stable.
fn explain(id: String, status: &StatusView) -> Result<Explanation, OrderError> {
    let (name, version) = id.split_once('/').unwrap_or((&id, ""));
    let found = status.routes.iter().find(|route| route.name == name);
    let Some(route) = found else {
        return Err(OrderError::Unknown(format!("there is nothing called {id}")));
    };
    let wanted = |one: &&VersionView| one.role == "canary" && one.name.contains(version);
    let trials = route.versions.iter().filter(wanted).map(|one| TrialView {
        version: one.name.clone(),
        role: one.role.clone(),
        state: one.state.clone(),
        phase: Some("running".to_owned()),
        verdict: one.verdict.clone(),
        evidence: vec![EvidenceView {
            rule: "errorRate".to_owned(),
            test: "split".to_owned(),
            odds: 4.5,
            bound: 20.0,
            reached: 0.5,
            why: "needs about 40 more canary requests at this rate".to_owned(),
            ..EvidenceView::default()
        }],
        ..TrialView::default()
    });
    let trials = trials.collect();
    let (kind, route) = ("route".to_owned(), route.name.clone());
    Ok(Explanation { id, kind, route, trials, ..Explanation::default() })
}

fn history(status: &StatusView) -> HistoryView {
    let routes = || status.routes.iter().rev();
    HistoryView {
        rollbacks: routes().filter_map(|route| route.last_rollback.clone()).collect(),
        protects: routes().filter_map(|route| route.last_protect.clone()).collect(),
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
