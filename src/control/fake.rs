//! A control loop that only writes down what it is told, for the tests of those who give
//! orders.

use std::sync::{Arc, Mutex};

use super::explain::{EvidenceView, Explanation, HistoryView, TrialView};
use super::feed::Feed;
use super::handle::{ControlHandle, Order, OrderError};
use super::refused::Refused;
use super::status::{ModeView, RolloutView, StatusView, VersionView};
use crate::rollout::Verb;
use crate::tasks;
use crate::vocab::ids::Name;
use crate::vocab::record::{Phase, PhaseRecord, RollbackRecord, Status};
use crate::vocab::time::Timestamp;

/// The orders so far, one line each.
pub(crate) type Orders = Arc<Mutex<Vec<String>>>;

/// A handle that shows `status` and carries out every order, but one on a version called
/// `stubborn`. A rollback goes one phase further each time its record is asked for; that of a
/// version called `doomed` fails.
pub(crate) fn fake(status: StatusView) -> (ControlHandle, Orders) {
    let (handle, mut inbox) = ControlHandle::new(Feed::new(), None);
    let orders = Orders::default();
    let book = Arc::clone(&orders);
    tasks::shared("fake control", async move {
        let mut running = None;
        while let Some(order) = inbox.recv().await {
            let line = obey(order, &status, &mut running);
            book.lock().unwrap().extend(line);
        }
    });
    (handle, orders)
}

fn obey(
    order: Order,
    status: &StatusView,
    running: &mut Option<RollbackRecord>,
) -> Option<String> {
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
        Order::Rollback { route, from, to, by, answer } => {
            let from = from.unwrap_or_else(|| Name::parse("v2.5").unwrap());
            let onto = to.as_ref().map(|to| format!(" -> {to}")).unwrap_or_default();
            let line =
                format!("rollback {route} {from}{onto} {}: {}", by.operator, by.reason);
            let mut begun = record(route, from.clone(), by.operator.id, by.reason);
            if let Some(to) = to {
                begun.to_version = to;
            }
            *running = Some(begun.clone());
            answer.send(carry_out(&from, begun)).unwrap();
            Some(line)
        }
        Order::Release { route, version, by, answer } => {
            answer.send(carry_out(&version, ())).unwrap();
            Some(format!("release {route} {version} {}: {}", by.operator, by.reason))
        }
        Order::Steer { route, verb, by, answer } => {
            let version = version_of(&route, status);
            let view = RolloutView {
                strategy: "canary".to_owned(),
                version: version.to_string(),
                phase: "progressing".to_owned(),
                ..RolloutView::default()
            };
            answer.send(carry_out(&version, view)).unwrap();
            let full =
                if verb == (Verb::Promote { full: true }) { " --full" } else { "" };
            Some(format!("{verb}{full} {route} {}: {}", by.operator, by.reason))
        }
        Order::SetMode { route, read_only, by, answer } => {
            let mode = if read_only { "readOnly" } else { "normal" }.to_owned();
            let line = format!("mode {route} {mode} {}: {}", by.operator, by.reason);
            let (ordered_by, reason) = (Some(by.operator.id), Some(by.reason));
            let view = ModeView { mode, ordered_by, reason, ..ModeView::default() };
            answer.send(carry_out(&route, view)).unwrap();
            Some(line)
        }
        Order::SettleDead { sink, how, by, answer } => {
            answer.send(Ok(3)).unwrap();
            Some(format!("{how:?} {sink:?} {}: {}", by.operator, by.reason))
        }
        Order::Refused(refused) => Some(told(*refused)),
        Order::Record(id, answer) => {
            let unknown = || OrderError::Unknown(format!("there is no rollback {id}"));
            let known = running.as_mut().filter(|record| record.rollback_id == id);
            answer.send(known.map(further).ok_or_else(unknown)).ok().and(None)
        }
        Order::Notices(answer) => {
            answer.send(Ok(serde_json::json!({ "sinks": [] }))).ok().and(None)
        }
        Order::Status(answer) => answer.send(status.clone()).ok().and(None),
        Order::Metrics(answer) => answer.send("up 1\n".to_owned()).ok().and(None),
        Order::Explain(id, answer) => answer.send(explain(id, status)).ok().and(None),
        Order::History(answer) => answer.send(history(status)).ok().and(None),
    }
}

fn told(refused: Refused) -> String {
    let Refused { operator, method, path, status, more, .. } = refused;
    let operator = operator.map_or_else(|| "nobody".to_owned(), |it| it.id);
    format!("refused {method} {path} {status} {operator} +{more}")
}

/// The record as it stands, which is one phase further the next time.
fn further(record: &mut RollbackRecord) -> RollbackRecord {
    let shown = record.clone();
    let (done, left) = (record.phases.len(), Phase::ALL.get(record.phases.len()));
    if let Some(last) = record.phases.last_mut() {
        last.status = Status::Completed;
        last.duration_seconds = 0.25;
    }
    match left {
        Some(phase) if done < 2 => {
            record.phases.push(PhaseRecord::example(*phase, Status::InProgress, 0.0));
        }
        _ if record.from_version.as_str() == "doomed" => {
            record.status = Status::Failed;
            record.notes = vec!["the target is dead".to_owned()];
            record.total_duration_seconds = Some(0.5);
        }
        _ => {
            record.status = Status::Completed;
            record.total_duration_seconds = Some(0.5);
        }
    }
    shown
}

/// The version that the rollout of a route is of, or one of that name.
fn version_of(route: &Name, status: &StatusView) -> Name {
    let found = status.routes.iter().find(|one| one.name == route.as_str());
    let version = found.and_then(|route| route.rollout.as_ref()).map(|it| &it.version);
    version.and_then(|version| Name::parse(version).ok()).unwrap_or_else(|| route.clone())
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
        timestamp: Timestamp(1_795_554_358_123),
        route,
        from_version: from,
        to_version: Name::parse("v2.4").unwrap(),
        reason,
        initiated_by: Some(operator),
        ..RollbackRecord::example("rb-1")
    }
}
