//! What comes after a failure: the answers that were kept for it, and the class that a
//! head gives.

use std::future::poll_fn;

use bytes::Bytes;
use http::header;
use http::{Method, StatusCode};

use super::forward::Answer;
use super::grpc::class_of_grpc_head;
use super::hygiene::Asked;
use super::outgoing::{Outgoing, Reply};
use super::read_only::{HELD_BACK, READ_ONLY, mark};
use super::reply::{Stamps, stamp};
use super::view::View;
use super::worker::Worker;
use crate::cache::{Detail, Pending, RequestFacts, Scope, Source, serve};
use crate::clock;
use crate::route::Route;
use crate::route::Standing;
use crate::vocab::outcome::Class;
use crate::wire::Body;
use crate::wire::Copy;
use crate::wire::Kept;

fn facts(asked: &Asked) -> RequestFacts<'_> {
    let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    RequestFacts {
        method: &asked.method,
        host: host.unwrap_or_default(),
        path: asked.target.path(),
        query: asked.target.query(),
        headers: &asked.headers,
    }
}

impl Worker {
    /// The beginning of the request's question to the cache, where the route has opted in.
    pub(super) fn question(&self, route: &Route, asked: &Asked) -> Option<Pending> {
        let policy = route.policy.cache.as_ref()?;
        if asked.method == Method::HEAD {
            return None;
        }
        self.cache.begin(Scope { route: &route.name, policy }, &facts(asked))
    }

    /// What was kept about a target goes when a request has changed it (RFC 9111, 4.4): one
    /// of an unsafe method, of which no answers are kept, that was answered without an error.
    pub(super) fn forget_target(&self, route: &Route, asked: &Asked, status: StatusCode) {
        let Some(policy) = &route.policy.cache else { return };
        let asks = asked.method.is_safe()
            || policy.methods.iter().any(|method| method == asked.method.as_str());
        if !asks && (status.is_success() || status.is_redirection()) {
            let scope = Scope { route: &route.name, policy };
            self.cache.touch(scope, &facts(asked), clock::wall());
        }
    }

    /// A kept answer for a request that no version answers.
    pub(super) async fn kept_answer(
        &self,
        (view, place): (&View, usize),
        pending: Option<&Pending>,
        (copy, body): (Option<&Copy>, Option<Body>),
        detail: Detail,
        mut stamps: Stamps,
    ) -> Option<Reply> {
        let pending = pending?;
        let route = view.table.routes().get(place)?;
        let policy = route.policy.cache.as_ref()?;
        let whole = match copy.and_then(Copy::whole) {
            Some(whole) => whole,
            None => read_whole(body?, route.policy.rescue.max_body).await?,
        };
        let question = pending.question(&whole.pieces());
        let mut serving: Vec<(bool, Source)> = route
            .versions()
            .iter()
            .zip(view.places.get(place)?)
            .filter(|(version, _)| version.standing == Standing::Serving)
            .map(|(version, place)| {
                (version.slot != route.stable().slot, place.source.clone())
            })
            .collect();
        serving.sort_by_key(|(other, _)| *other);
        let sources: Vec<Source> =
            serving.into_iter().map(|(_, source)| source).collect();
        let scope = Scope { route: &route.name, policy };
        let now = clock::wall();
        let entry = self.cache.lookup(scope, &question, &sources, now)?;
        let banner = &route.policy.banner;
        let mut served = serve(&entry, banner, detail, now);
        // The length is the body's own; whoever writes the head says it.
        served.headers.remove(header::CONTENT_LENGTH);
        if let Ok(version) = entry.source.name.as_str().parse() {
            stamps.version = version;
        }
        stamps.reason = Some(match detail {
            Detail::UpstreamFailed => "cache",
            Detail::ReadOnly => READ_ONLY,
            Detail::HeldBack => HELD_BACK,
        });
        // What an answer is stamped with is never kept.
        stamp(&mut served.headers, &stamps);
        let mut answer = Reply {
            status: served.status,
            reason: None,
            headers: served.headers,
            body: Outgoing::own(served.body),
            last: false,
        };
        if detail == Detail::ReadOnly {
            mark(&mut answer, route, Some(&banner.message));
        }
        Some(answer)
    }
}

async fn read_whole(mut body: Body, bound: usize) -> Option<Kept> {
    let mut kept = Kept::default();
    loop {
        match poll_fn(|cx| body.poll_next(cx)).await {
            None => return Some(kept),
            Some(frame) => {
                let bytes: Bytes = frame.ok()?.into_data().ok()?;
                if kept.len() + bytes.len() > bound {
                    return None;
                }
                kept.push(&bytes);
            }
        }
    }
}

/// The class of an answer by its head, and whether the status of a call is still to come.
pub(super) fn class_of_head(answer: &Answer) -> (Class, bool) {
    match answer.call {
        Some(_) => class_of_grpc_head(answer),
        None => (Class::of_status(answer.status.as_u16()), false),
    }
}
