//! What operators ask of routes and versions: look, change a weight, roll back, release.
//!
//! Apart from the router because here requests become typed orders: a name, a share and a
//! reason are parsed before anything reaches the control loop.

use std::time::Duration;

use tokio::time::timeout;

use super::reply::AdminError;
use super::wire::{
    Analysis, Done, Explanation, Finding, HistoryView, Quarantine, Quarantined,
    ReleaseOrder, RollbackOrder, RouteView, StatusView, WeightOrder, finding, reason,
};
use crate::control::{ControlHandle, Deed, OrderError};
use crate::vocab::ids::Name;
use crate::vocab::record::RollbackRecord;

/// Waits for the control loop, but not for ever.
pub(super) async fn within<T>(
    answer: impl Future<Output = Result<T, OrderError>>,
) -> Result<T, AdminError> {
    Ok(timeout(PATIENCE, answer).await.map_err(|_| AdminError::Late(PATIENCE))??)
}

/// One route.
pub(super) async fn route(
    handle: &ControlHandle,
    name: &str,
) -> Result<RouteView, AdminError> {
    let status = within(handle.status()).await?;
    find(&status, name).cloned()
}

/// Gives a version another weight.
pub(super) async fn set_weight(
    handle: &ControlHandle,
    caller: &str,
    route: &str,
    body: &[u8],
) -> Result<Done, AdminError> {
    let order: WeightOrder = serde_json::from_slice(body)?;
    let by = deed(caller, &order.reason)?;
    let weight = order.weight.percent()?;
    let status = within(handle.status()).await?;
    let (route, version) = names(&status, route, &order.version)?;
    within(handle.set_weight(route.clone(), version.clone(), weight, by.clone())).await?;
    tracing::info!(operator = by.operator, %route, %version, %weight, "a weight was set");
    Ok(done(&route, &version, Some(weight.percent()), by))
}

/// Takes the traffic from a version.
pub(super) async fn rollback(
    handle: &ControlHandle,
    caller: &str,
    route: &str,
    body: &[u8],
) -> Result<RollbackRecord, AdminError> {
    let order: RollbackOrder = serde_json::from_slice(body)?;
    let by = deed(caller, &order.reason)?;
    let status = within(handle.status()).await?;
    let view = find(&status, route)?;
    if let Some(to) = &order.to {
        let stable = view.versions.iter().find(|version| version.role == "stable");
        if stable.is_none_or(|stable| stable.name != *to) {
            let what = "a rollback to another version than stable";
            return Err(AdminError::NotBuilt(what.to_owned()));
        }
    }
    let from = match &order.version {
        Some(version) => Some(names(&status, route, version)?.1),
        None => None,
    };
    let route = Name::parse(route)?;
    let record = within(handle.rollback(route.clone(), from, by.clone())).await?;
    let id = &record.rollback_id;
    tracing::info!(operator = by.operator, %route, id, "a rollback was ordered");
    Ok(record)
}

/// Lets a version out of quarantine.
pub(super) async fn release(
    handle: &ControlHandle,
    caller: &str,
    body: &[u8],
) -> Result<Done, AdminError> {
    let order: ReleaseOrder = serde_json::from_slice(body)?;
    let by = deed(caller, &order.reason)?;
    let status = within(handle.status()).await?;
    let (route, version) = names(&status, &order.route, &order.version)?;
    within(handle.release(route.clone(), version.clone(), by.clone())).await?;
    tracing::info!(operator = by.operator, %route, %version, "a version was released");
    Ok(done(&route, &version, None, by))
}

/// All versions in quarantine.
pub(super) async fn quarantine(handle: &ControlHandle) -> Result<Quarantine, AdminError> {
    let status = within(handle.status()).await?;
    let all = status.routes.iter().flat_map(|route| {
        route.versions.iter().filter_map(|version| {
            Some(Quarantined {
                route: route.name.clone(),
                version: version.name.clone(),
                reason: version.quarantine.clone()?,
            })
        })
    });
    Ok(Quarantine { quarantine: all.collect() })
}

/// The rollbacks and protects so far.
pub(super) async fn history(handle: &ControlHandle) -> Result<HistoryView, AdminError> {
    within(handle.history()).await
}

/// What the analysis says of the route's canary.
pub(super) async fn analysis(
    handle: &ControlHandle,
    route: &str,
) -> Result<Analysis, AdminError> {
    let status = within(handle.status()).await?;
    let mut analysis = analyse(find(&status, route)?);
    // A route that went away between the two has nothing on trial.
    match within(handle.explain(route.to_owned())).await {
        Ok(explanation) => analysis.trials = explanation.trials,
        Err(AdminError::Order(OrderError::Unknown(_))) => {}
        Err(error) => return Err(error),
    }
    Ok(analysis)
}

/// Why something is as it is.
pub(super) async fn explain(
    handle: &ControlHandle,
    id: &str,
) -> Result<Explanation, AdminError> {
    within(handle.explain(id.to_owned())).await
}

/// The verdict on the canary that is worst off, where a route has several.
fn analyse(route: &RouteView) -> Analysis {
    let canaries = route.versions.iter().filter(|version| version.role == "canary");
    let Some((result, canary)) =
        canaries.map(|v| (finding(v), v)).max_by_key(|(f, _)| rank(*f))
    else {
        return Analysis {
            result: Finding::Inconclusive,
            value: None,
            version: None,
            verdict: "no version is on trial".to_owned(),
            trials: Vec::new(),
        };
    };
    let (version, verdict) = (Some(canary.name.clone()), canary.verdict.clone());
    let (value, trials) = (canary.error_rate, Vec::new());
    Analysis { result, value, version, verdict, trials }
}

fn rank(finding: Finding) -> u8 {
    match finding {
        Finding::Successful => 0,
        Finding::Inconclusive => 1,
        Finding::Failed => 2,
    }
}

fn find<'a>(status: &'a StatusView, route: &str) -> Result<&'a RouteView, AdminError> {
    let found = status.routes.iter().find(|view| view.name == route);
    found.ok_or_else(|| AdminError::NoRoute(route.chars().take(NAME_CHARS).collect()))
}

/// The names, if there is such a route with such a version.
fn names(
    status: &StatusView,
    route: &str,
    version: &str,
) -> Result<(Name, Name), AdminError> {
    let view = find(status, route)?;
    if !view.versions.iter().any(|known| known.name == version) {
        let version = version.chars().take(NAME_CHARS).collect();
        return Err(AdminError::NoVersion(route.to_owned(), version));
    }
    Ok((Name::parse(route)?, Name::parse(version)?))
}

fn deed(caller: &str, why: &str) -> Result<Deed, AdminError> {
    Ok(Deed { operator: caller.to_owned(), reason: reason(why)? })
}

fn done(route: &Name, version: &Name, weight: Option<f64>, by: Deed) -> Done {
    Done {
        route: route.to_string(),
        version: version.to_string(),
        weight,
        operator: by.operator,
        reason: by.reason,
    }
}

/// How long the control loop may take to answer; it does in well under a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of an unknown name is repeated.
const NAME_CHARS: usize = 80;
