//! Which path answers what: one table, and the order in which a request is looked at.
//!
//! Apart from the handlers so that who may ask for what is read in one place. No GET
//! changes anything.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::auth::{Access, Gate, honest};
use super::health::{Readiness, Standing};
use super::reply::{AdminError, Reply, json, metrics, problem, word};
use super::rollouts::{self, within};
use super::seats::Seat;
use super::settings::OperatorRole;
use crate::control::ControlHandle;

/// Everything a listener answers from.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) side: Side,
    pub(super) handle: ControlHandle,
    pub(super) readiness: Readiness,
}

/// Which of the two listeners it is.
#[derive(Debug)]
pub(super) enum Side {
    /// Everything, behind this gate.
    Operators(Gate),
    /// Metrics and health, for everybody.
    Metrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Live,
    Ready,
    Metrics,
    Status,
    Route,
    SetWeight,
    Rollback,
    Quarantine,
    Release,
    History,
    Analysis,
    Explain,
    Dashboard,
}

struct Entry {
    path: &'static str,
    posts: bool,
    access: Access,
    call: Call,
}

const TABLE: &[Entry] = &[
    get("/livez", Access::Open, Call::Live),
    get("/readyz", Access::Open, Call::Ready),
    get("/health/live", Access::Open, Call::Live),
    get("/health/ready", Access::Open, Call::Ready),
    get("/metrics", Access::Scrape, Call::Metrics),
    get("/dashboard", Access::Open, Call::Dashboard),
    get("/api/v1/status", VIEW, Call::Status),
    get("/api/v1/routes/{route}", VIEW, Call::Route),
    post("/api/v1/routes/{route}/weight", Call::SetWeight),
    post("/api/v1/routes/{route}/rollback", Call::Rollback),
    get("/api/v1/quarantine", VIEW, Call::Quarantine),
    post("/api/v1/quarantine/release", Call::Release),
    get("/api/v1/history", VIEW, Call::History),
    get("/api/v1/analysis/{route}", VIEW, Call::Analysis),
    get("/api/v1/explain/{route}", VIEW, Call::Explain),
    get("/api/v1/explain/{route/version}", VIEW, Call::Explain),
];

/// Answers one request, whatever it is.
pub(super) async fn answer(api: &Api, seat: &Seat, request: Request<Incoming>) -> Reply {
    match consider(api, seat, request).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::debug!(%error, "a request to the operators' side was refused");
            problem(&error)
        }
    }
}

async fn consider(
    api: &Api,
    seat: &Seat,
    request: Request<Incoming>,
) -> Result<Reply, AdminError> {
    let (head, body) = request.into_parts();
    if head.uri.authority().is_some() || head.method == Method::CONNECT {
        return Err(AdminError::Target);
    }
    if matches!(api.side, Side::Operators(_)) {
        honest(&head)?;
    }
    let (entry, route) = find(api, &head)?;
    let caller = match &api.side {
        Side::Operators(gate) => gate.caller(entry.access, &head.headers)?,
        Side::Metrics => "anybody",
    };
    if head.uri.query().is_some() && head.uri.path().starts_with("/api/") {
        return Err(AdminError::Query);
    }
    let body = if entry.posts { read(body).await? } else { Bytes::new() };
    let _at_work = seat.work();
    let handle = &api.handle;
    match entry.call {
        Call::Live => Ok(word(StatusCode::OK, "live")),
        Call::Ready => Ok(ready(&api.readiness)),
        Call::Metrics => Ok(metrics(within(handle.metrics()).await?)),
        Call::Status => Ok(json(&within(handle.status()).await?)),
        Call::Route => Ok(json(&rollouts::route(handle, route).await?)),
        Call::SetWeight => {
            Ok(json(&rollouts::set_weight(handle, caller, route, &body).await?))
        }
        Call::Rollback => {
            Ok(json(&rollouts::rollback(handle, caller, route, &body).await?))
        }
        Call::Quarantine => Ok(json(&rollouts::quarantine(handle).await?)),
        Call::Release => Ok(json(&rollouts::release(handle, caller, &body).await?)),
        Call::History => Ok(json(&rollouts::history(handle).await?)),
        Call::Analysis => Ok(json(&rollouts::analysis(handle, route).await?)),
        Call::Explain => Ok(json(&rollouts::explain(handle, route).await?)),
        Call::Dashboard => Err(AdminError::NotBuilt("the dashboard".to_owned())),
    }
}

/// The entry for a path and a method, and what stands for the part in braces.
fn find<'a>(api: &Api, head: &'a Parts) -> Result<(&'static Entry, &'a str), AdminError> {
    let path = head.uri.path();
    let on_this_side = |entry: &&Entry| match api.side {
        Side::Operators(_) => true,
        Side::Metrics => matches!(entry.call, Call::Live | Call::Ready | Call::Metrics),
    };
    let mut entries = TABLE.iter().filter(on_this_side);
    let found = entries.find_map(|entry| Some((entry, matches(entry.path, path)?)));
    let (entry, route) = found.ok_or(AdminError::NoPath)?;
    let (fits, allow) = if entry.posts {
        (head.method == Method::POST, "POST")
    } else {
        (head.method == Method::GET || head.method == Method::HEAD, "GET, HEAD")
    };
    if fits { Ok((entry, route)) } else { Err(AdminError::Method(allow)) }
}

/// What stands for the part of the pattern in braces (nothing, where it has none), if the
/// path fits the pattern. It has as many segments as are named there.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, (name, after))) = pattern
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return (pattern == path).then_some("");
    };
    let part = path.strip_prefix(before)?.strip_suffix(after)?;
    let fits = part.split('/').count() == name.split('/').count()
        && part.split('/').all(|segment| !segment.is_empty());
    fits.then_some(part)
}

async fn read(body: Incoming) -> Result<Bytes, AdminError> {
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(AdminError::LargeBody(BODY_BYTES));
    }
    let whole = timeout(BODY_TIME, Limited::new(body, BODY_BYTES).collect()).await;
    match whole.map_err(|_| AdminError::SlowBody(BODY_TIME))? {
        Ok(body) => Ok(body.to_bytes()),
        Err(err) if err.is::<LengthLimitError>() => {
            Err(AdminError::LargeBody(BODY_BYTES))
        }
        Err(_) => Err(AdminError::BrokenBody),
    }
}

fn ready(readiness: &Readiness) -> Reply {
    match readiness.standing() {
        Standing::Ready => word(StatusCode::OK, "ready"),
        Standing::Starting => word(StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Standing::Stopping => word(StatusCode::SERVICE_UNAVAILABLE, "shutting down"),
    }
}

const fn get(path: &'static str, access: Access, call: Call) -> Entry {
    Entry { path, posts: false, access, call }
}

const fn post(path: &'static str, call: Call) -> Entry {
    Entry { path, posts: true, access: Access::Role(OperatorRole::Operator), call }
}

const VIEW: Access = Access::Role(OperatorRole::Viewer);
/// The largest body of an order; the largest sensible one is a reason of 2 KiB.
const BODY_BYTES: usize = 64 * 1024;
/// How long an order's body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_path_fits_exactly_or_not_at_all() {
        for (pattern, path, fits) in [
            ("/livez", "/livez", Some("")),
            ("/livez", "/livez/", None),
            ("/livez", "//livez", None),
            ("/r/{route}", "/r/iris", Some("iris")),
            ("/r/{route}", "/r/", None),
            ("/r/{route}", "/r/a/b", None),
            ("/r/{route}/weight", "/r/iris/weight", Some("iris")),
            ("/r/{route}/weight", "/r/weight", None),
            ("/r/{route}/weight", "/r//weight", None),
            ("/e/{route/version}", "/e/iris/v2.5", Some("iris/v2.5")),
            ("/e/{route/version}", "/e/iris", None),
            ("/e/{route/version}", "/e/iris/", None),
            ("/e/{route/version}", "/e//v2.5", None),
            ("/e/{route/version}", "/e/iris/v2.5/x", None),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }
}
