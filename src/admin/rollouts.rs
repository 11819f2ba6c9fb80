//! What operators order: a weight, a rollback, a rollout's next step, a mode, a release, and
//! what becomes of notices that were given up.
//!
//! Apart from the router because here requests become typed orders: a name, a share and a
//! reason are parsed before anything reaches the control loop.

use std::time::Duration;

use tokio::time::timeout;

use super::reply::AdminError;
use super::table::Steer;
use super::wire::{
    DeadOrder, Done, ModeOrder, ModeView, PlainOrder, PromoteOrder, Redelivered,
    ReleaseOrder, RollbackOrder, RolloutView, RouteView, ServiceMode, StatusView,
    WeightOrder, reason,
};
use crate::control::{ControlHandle, Deed, OrderError};
use crate::effects::OfDead;
use crate::vocab::ids::{Name, Operator};
use crate::vocab::record::RollbackRecord;

/// An order as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordered<'a> {
    pub(super) handle: &'a ControlHandle,
    /// Who ordered it.
    pub(super) by: &'a Operator,
    /// The route of the path, if it has one.
    pub(super) route: &'a str,
    pub(super) body: &'a [u8],
}

/// Waits for the control loop, but not for ever.
pub(super) async fn within<T>(
    answer: impl Future<Output = Result<T, OrderError>>,
) -> Result<T, AdminError> {
    Ok(timeout(PATIENCE, answer).await.map_err(|_| AdminError::Late(PATIENCE))??)
}

/// Gives a version another weight.
pub(super) async fn set_weight(ordered: Ordered<'_>) -> Result<Done, AdminError> {
    let Ordered { handle, by, route, body } = ordered;
    let order: WeightOrder = serde_json::from_slice(body)?;
    let by = deed(by, &order.reason)?;
    let weight = order.weight.percent()?;
    let status = within(handle.status()).await?;
    let (route, version) = names(&status, route, &order.version)?;
    within(handle.set_weight(route.clone(), version.clone(), weight, by.clone())).await?;
    let operator = &by.operator.id;
    tracing::info!(operator, %route, %version, %weight, "a weight was set");
    Ok(done(&route, &version, Some(weight.percent()), by))
}

/// Takes the traffic from a version.
pub(super) async fn rollback(ordered: Ordered<'_>) -> Result<RollbackRecord, AdminError> {
    let Ordered { handle, by, route, body } = ordered;
    let order: RollbackOrder = serde_json::from_slice(body)?;
    let by = deed(by, &order.reason)?;
    let status = within(handle.status()).await?;
    find(&status, route)?;
    let named = |version: &Option<String>| match version {
        Some(version) => names(&status, route, version).map(|(_, version)| Some(version)),
        None => Ok(None),
    };
    let (from, to) = (named(&order.version)?, named(&order.to)?);
    let route = Name::parse(route)?;
    let operator = by.operator.id.clone();
    let record = within(handle.rollback(route.clone(), from, to, by)).await?;
    let id = &record.rollback_id;
    tracing::info!(operator, %route, id, "a rollback was ordered");
    Ok(record)
}

/// Lets the rollout of a route go on, stop, or begin again.
pub(super) async fn steer(
    steer: Steer,
    ordered: Ordered<'_>,
) -> Result<RolloutView, AdminError> {
    let Ordered { handle, by, route, body } = ordered;
    let (full, why) = if steer == Steer::Promote {
        let PromoteOrder { full, reason } = serde_json::from_slice(body)?;
        (full, reason)
    } else {
        let PlainOrder { reason } = serde_json::from_slice(body)?;
        (false, reason)
    };
    let by = deed(by, &why)?;
    find(&within(handle.status()).await?, route)?;
    let route = Name::parse(route)?;
    match steer {
        Steer::Promote => within(handle.promote(route, full, by)).await,
        Steer::Pause => within(handle.pause(route, by)).await,
        Steer::Resume => within(handle.resume(route, by)).await,
        Steer::Abort => within(handle.abort(route, by)).await,
        Steer::Retry => within(handle.retry(route, by)).await,
        Steer::Freeze => within(handle.freeze(route, by)).await,
    }
}

/// Makes a route read-only, or ends that.
pub(super) async fn set_mode(ordered: Ordered<'_>) -> Result<ModeView, AdminError> {
    let Ordered { handle, by, route, body } = ordered;
    let order: ModeOrder = serde_json::from_slice(body)?;
    let by = deed(by, &order.reason)?;
    find(&within(handle.status()).await?, route)?;
    let read_only = order.mode == ServiceMode::ReadOnly;
    within(handle.set_mode(Name::parse(route)?, read_only, by)).await
}

/// Lets a version out of quarantine.
pub(super) async fn release(ordered: Ordered<'_>) -> Result<Done, AdminError> {
    let Ordered { handle, by, body, .. } = ordered;
    let order: ReleaseOrder = serde_json::from_slice(body)?;
    let by = deed(by, &order.reason)?;
    let status = within(handle.status()).await?;
    let (route, version) = names(&status, &order.route, &order.version)?;
    within(handle.release(route.clone(), version.clone(), by.clone())).await?;
    let operator = &by.operator.id;
    tracing::info!(operator, %route, %version, "a version was released");
    Ok(done(&route, &version, None, by))
}

/// Has notices that were given up tried again, or forgotten.
pub(super) async fn settle_dead(
    how: OfDead,
    ordered: Ordered<'_>,
) -> Result<Redelivered, AdminError> {
    let Ordered { handle, by, body, .. } = ordered;
    let DeadOrder { sink, reason } = serde_json::from_slice(body)?;
    let by = deed(by, &reason)?;
    let letters = within(handle.settle_dead(sink.clone(), how, by.clone())).await?;
    Ok(Redelivered { sink, letters, operator: by.operator.id, reason: by.reason })
}

/// The route of that name.
pub(super) fn find<'a>(
    status: &'a StatusView,
    route: &str,
) -> Result<&'a RouteView, AdminError> {
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

fn deed(caller: &Operator, why: &str) -> Result<Deed, AdminError> {
    Ok(Deed { operator: caller.clone(), reason: reason(why)? })
}

fn done(route: &Name, version: &Name, weight: Option<f64>, by: Deed) -> Done {
    Done {
        route: route.to_string(),
        version: version.to_string(),
        weight,
        operator: by.operator.id,
        reason: by.reason,
    }
}

/// How long the control loop may take to answer; it does in well under a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of an unknown name is repeated.
const NAME_CHARS: usize = 80;
