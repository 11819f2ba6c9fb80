//! What operators look at and nothing is changed by: a route, what is in quarantine, what
//! the analysis says, and why.
//!
//! Apart from the orders, which need a reason and go into records.

use super::reply::AdminError;
use super::rollouts::{find, within};
use super::wire::{
    Analysis, Explanation, Finding, Quarantine, Quarantined, RouteView, finding,
};
use crate::control::{ControlHandle, OrderError};

/// One route.
pub(super) async fn route(
    handle: &ControlHandle,
    name: &str,
) -> Result<RouteView, AdminError> {
    let status = within(handle.status()).await?;
    find(&status, name).cloned()
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
    version: &str,
) -> Result<Explanation, AdminError> {
    let id = if version.is_empty() { id.to_owned() } else { format!("{id}/{version}") };
    within(handle.explain(id)).await
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
