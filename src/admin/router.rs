//! The order in which a request is looked at, and which handler answers it.
//!
//! Apart from the handlers so that what is checked before any of them runs is read in one
//! place, and apart from the table, which says who may ask for what.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::auth::{self, Access, Gate, honest};
use super::events::{self, Pulse};
use super::health::{Readiness, Standing};
use super::incidents;
use super::looks;
use super::openapi;
use super::pace::Bucket;
use super::refusals;
use super::refusals::Refusals;
use super::reply::{AdminError, Reply, json, metrics, problem, word};
use super::rollouts::{self, Ordered, within};
use super::seats::Seat;
use super::table::{self, Call, Entry, Look, Want};
use crate::control::ControlHandle;
use crate::tls::{Fingerprint, TlsServer};

/// Everything a listener answers from.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) side: Side,
    pub(super) handle: ControlHandle,
    pub(super) readiness: Readiness,
    pub(super) state_dir: PathBuf,
    /// Event streams that may still be opened.
    pub(super) streams: Arc<Semaphore>,
}

/// Which of the two listeners it is.
#[derive(Debug)]
pub(super) enum Side {
    /// Everything, behind this gate.
    Operators {
        /// Who may do what.
        gate: Box<Gate>,
        /// The certificate, where there is one.
        tls: Option<Arc<TlsServer>>,
        /// Where refused calls go.
        refusals: Box<Refusals>,
    },
    /// Metrics and health, for everybody at this pace.
    Metrics(Mutex<Bucket>),
}

/// One caller's connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) peer: SocketAddr,
    pub(super) certificate: Option<Fingerprint>,
    pub(super) seat: Seat,
    /// When an event stream on it last got on.
    pub(super) pulse: Pulse,
    /// True once the process goes down.
    pub(super) stopped: watch::Receiver<bool>,
}

/// Answers one request, whatever it is.
pub(super) async fn answer(
    api: &Api,
    line: &Arc<Line>,
    request: Request<Incoming>,
) -> Reply {
    let mut call = refusals::Call {
        operator: None,
        method: method(request.method()),
        pattern: "other",
        peer: line.peer,
    };
    match consider(api, line, request, &mut call).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::debug!(%error, "a request to the operators' side was refused");
            if let Side::Operators { refusals, .. } = &api.side
                && (!matches!(call.method, "GET" | "HEAD") || error.is_a_guess())
            {
                refusals.tell(&call, error.status().as_u16(), &error.for_records());
            }
            problem(&error)
        }
    }
}

async fn consider(
    api: &Api,
    line: &Arc<Line>,
    request: Request<Incoming>,
    call: &mut refusals::Call,
) -> Result<Reply, AdminError> {
    let (head, body) = request.into_parts();
    if head.uri.authority().is_some() || head.method == Method::CONNECT {
        return Err(AdminError::Target);
    }
    if let Side::Operators { tls, .. } = &api.side {
        honest(&head, tls.as_deref())?;
    }
    let (entry, params) = find(api, &head, call)?;
    match &api.side {
        Side::Operators { gate, .. } => {
            let (access, shown) = (entry.access, line.certificate);
            gate.admit(access, &head.headers, shown, &mut call.operator)?;
        }
        Side::Metrics(pace) if entry.access == Access::Scrape => auth::take(pace)?,
        Side::Metrics(_) => {}
    }
    if head.uri.query().is_some() && head.uri.path().starts_with("/api/") {
        return Err(AdminError::Query);
    }
    let given: &[&str] = &params;
    let [first, second] = [given.first(), given.get(1)].map(|it| *it.unwrap_or(&""));
    match entry.call {
        Call::Events => events::stream(api, line, &head.headers),
        Call::Look(look) => {
            let _at_work = line.seat.work();
            show(api, look, first, second).await
        }
        Call::Order(want) => {
            let body = read(body).await?;
            let _at_work = line.seat.work();
            let by = call.operator.as_ref().ok_or(AdminError::Nobody)?;
            let order = Ordered { handle: &api.handle, by, route: first, body: &body };
            carry_out(want, order).await
        }
    }
}

/// Answers what changes nothing.
async fn show(
    api: &Api,
    look: Look,
    first: &str,
    second: &str,
) -> Result<Reply, AdminError> {
    let handle = &api.handle;
    match look {
        Look::Live => Ok(word(StatusCode::OK, "live")),
        Look::Ready => Ok(ready(&api.readiness)),
        Look::Metrics => Ok(metrics(within(handle.metrics()).await?)),
        Look::OpenApi => Ok(json(&openapi::document())),
        Look::Status => Ok(json(&within(handle.status()).await?)),
        Look::Route => Ok(json(&looks::route(handle, first).await?)),
        Look::Quarantine => Ok(json(&looks::quarantine(handle).await?)),
        Look::History => Ok(json(&within(handle.history()).await?)),
        Look::Record => Ok(json(&within(handle.record(first.to_owned())).await?)),
        Look::Analysis => Ok(json(&looks::analysis(handle, first).await?)),
        Look::Explain => Ok(json(&looks::explain(handle, first, second).await?)),
        Look::Notices => Ok(json(&within(handle.notices()).await?)),
        Look::Incidents => Ok(json(&incidents::list(&api.state_dir).await?)),
        Look::Incident => Ok(json(&incidents::one(&api.state_dir, first).await?)),
        Look::Report(file) => incidents::file(&api.state_dir, first, file).await,
        Look::Dashboard => Err(AdminError::NotBuilt("the dashboard".to_owned())),
    }
}

/// Answers what changes something.
async fn carry_out(want: Want, order: Ordered<'_>) -> Result<Reply, AdminError> {
    match want {
        Want::SetWeight => Ok(json(&rollouts::set_weight(order).await?)),
        Want::Rollback => Ok(json(&rollouts::rollback(order).await?)),
        Want::Steer(steer) => Ok(json(&rollouts::steer(steer, order).await?)),
        Want::Mode => Ok(json(&rollouts::set_mode(order).await?)),
        Want::Release => Ok(json(&rollouts::release(order).await?)),
        Want::Dead(how) => Ok(json(&rollouts::settle_dead(how, order).await?)),
    }
}

/// The entry for a path and a method, and what stands for the parts in braces.
fn find<'a>(
    api: &Api,
    head: &'a Parts,
    call: &mut refusals::Call,
) -> Result<(&'static Entry, table::Params<'a>), AdminError> {
    let on_this_side = |entry: &Entry| match api.side {
        Side::Operators { .. } => true,
        Side::Metrics(_) => {
            let open = [Look::Live, Look::Ready, Look::Metrics];
            open.iter().any(|look| entry.call == Call::Look(*look))
        }
    };
    let found = table::find(head.uri.path()).filter(|(entry, _)| on_this_side(entry));
    let (entry, params) = found.ok_or(AdminError::NoPath)?;
    call.pattern = entry.path;
    if entry.fits(&head.method) {
        Ok((entry, params))
    } else {
        Err(AdminError::Method(entry.allow()))
    }
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

/// The method's name, if it is one that somebody registered; records hold no other.
fn method(method: &Method) -> &'static str {
    const KNOWN: &[&str] =
        &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    let known = KNOWN.iter().find(|known| **known == method.as_str());
    known.copied().unwrap_or("other")
}

/// The largest body of an order; the largest sensible one is a reason of 2 KiB.
const BODY_BYTES: usize = 64 * 1024;
/// How long an order's body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);
