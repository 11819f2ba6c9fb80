//! What may be said of a failed exchange in a sample: the request's method, path and id,
//! and of the headers a few whose values cannot be anybody's secret.
//!
//! Apart from the hot path, which comes here with failures only. Nothing of a body is in a
//! sample unless the route asks for it (`incident.bodies`): questions to a model are their
//! asker's own. Where it does, the beginnings of bodies are noted while they pass, and of an
//! answer that failed by its head a little is read ahead, as nobody may read it otherwise.

use std::future::poll_fn;
use std::time::Duration;

use http::Method;
use http::header::HeaderValue;
use http::uri::PathAndQuery;

use super::failure::Failure;
use super::fallback::class_of_head;
use super::forward::Answer;
use super::handle::Trip;
use super::hygiene::Asked;
use super::ids::X_REQUEST_ID;
use super::view::Place;
use crate::measure::{About, Flight};
use crate::vocab::outcome::Class;
use crate::wire::Beginning;
use crate::wire::Body;
use crate::wire::BodyLength;
use crate::wire::Copy;
use crate::wire::Headers;
use crate::wire::Kept;

/// What is left of a request while its answer's body is on its way: moved here, never
/// copied.
#[derive(Debug)]
pub(super) struct Subject {
    method: Method,
    target: PathAndQuery,
    id: HeaderValue,
    said: Option<Beginning>,
}

impl Subject {
    pub(super) fn new(
        method: Method,
        target: PathAndQuery,
        id: HeaderValue,
        said: Option<Beginning>,
    ) -> Self {
        Self { method, target, id, said }
    }

    /// Takes a sample of an exchange whose answer failed after its head.
    pub(super) fn sample(&self, flight: &Flight, class: Class, endpoint: Option<String>) {
        flight.sample(class, || About {
            endpoint: endpoint.unwrap_or_default(),
            method: self.method.to_string(),
            path: self.target.path().to_owned(),
            request_id: text(&self.id),
            headers: Vec::new(),
            request_body: self.said.clone(),
        });
    }
}

/// Takes a sample of an exchange that came to no good head.
pub(super) fn sample(
    flight: &Flight,
    class: Class,
    place: &Place,
    trip: &Trip<'_>,
    outcome: &Result<Answer, Failure>,
) {
    let answer = outcome.as_ref().ok().map(|answer| &answer.headers);
    let said = || trip.copy.as_ref().and_then(Copy::beginning);
    flight.sample(class, || about(flight, place, (trip.asked, said()), answer));
}

/// Takes a sample of a copy that failed; `said` is the beginning of its body.
pub(super) fn sample_copy(
    flight: &Flight,
    class: Class,
    place: &Place,
    (asked, said): (&Asked, Option<Beginning>),
) {
    flight.sample(class, || about(flight, place, (asked, said), None));
}

/// Takes note of the beginning of an answer that failed by its head. What is read is put
/// back; the rest is waited for only as long as nobody minds, since servers write a head and
/// what follows it in two goes.
pub(super) async fn look_ahead(answer: &mut Answer, flight: &Flight) {
    // The body of a failed call is its status.
    if !class_of_head(answer).0.is_failure() || answer.call.is_some() {
        return;
    }
    let (mut kept, mut last) = (Kept::default(), None);
    let (body, mut left) = (&mut answer.body, BodyLength::Unknown);
    let reading = async {
        while flight.wants_more() && !body.is_over() {
            left = body.left();
            match poll_fn(|cx| body.poll_next(cx)).await {
                None => break,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => {
                        flight.note(&bytes);
                        kept.push(&bytes);
                    }
                    Err(trailers) => {
                        left = BodyLength::Unknown;
                        last = Some(Box::new(Ok(trailers)));
                    }
                },
                Some(Err(error)) => last = Some(Box::new(Err(error))),
            }
            if last.is_some() {
                break;
            }
        }
    };
    let _late = tokio::time::timeout(AHEAD, reading).await;
    let mut rest = std::mem::replace(&mut answer.body, Body::Empty);
    if last.is_some() {
        rest = Body::Read(last, left, Box::new(rest));
    }
    answer.body = if kept.is_empty() { rest } else { Body::Again(kept, Box::new(rest)) };
}

fn about(
    flight: &Flight,
    place: &Place,
    (asked, said): (&Asked, Option<Beginning>),
    answer: Option<&Headers>,
) -> About {
    let pools = place.serving.as_ref().map(|serving| serving.pools());
    let pool = pools.and_then(|pools| pools.get(flight.endpoint()));
    let mut headers = harmless("request", &asked.headers);
    if let Some(answer) = answer {
        headers.extend(harmless("answer", answer));
    }
    About {
        endpoint: pool.map(|it| it.endpoint.address.to_string()).unwrap_or_default(),
        method: asked.method.to_string(),
        path: asked.target.path().to_owned(),
        request_id: asked.headers.get(X_REQUEST_ID).map(text).unwrap_or_default(),
        headers,
        request_body: said,
    }
}

/// The headers of the list that are there once, with values that pass the list's check.
fn harmless(side: &str, headers: &Headers) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, reads) in HARMLESS {
        let Some(value) = headers.only(*name) else { continue };
        if let Some(value) = value.to_str().ok().and_then(reads) {
            found.push((format!("{side} {name}"), value));
        }
    }
    found
}

/// What is harmless about a value; `None` when nothing is.
type Reads = fn(&str) -> Option<String>;

/// Free text is on no such list: callers put what they like into it.
const HARMLESS: &[(&str, Reads)] = &[
    ("content-type", media_type),
    ("content-encoding", coding),
    ("content-length", digits),
    ("retry-after", digits),
    ("grpc-status", digits),
];

/// The type without its parameters.
fn media_type(value: &str) -> Option<String> {
    let kind = value.split(';').next()?.trim().to_ascii_lowercase();
    let (of, sub) = kind.split_once('/')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.+".contains(c);
    let fits =
        TYPES.contains(&of) && (1..=64).contains(&sub.len()) && sub.chars().all(plain);
    fits.then_some(kind)
}

fn coding(value: &str) -> Option<String> {
    let coding = value.trim().to_ascii_lowercase();
    ["br", "deflate", "gzip", "identity", "zstd"].contains(&&*coding).then_some(coding)
}

fn digits(value: &str) -> Option<String> {
    let value = value.trim();
    let fits =
        (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| value.to_owned())
}

/// How long the beginning of a failed answer is waited for.
const AHEAD: Duration = Duration::from_millis(10);

fn text(value: &HeaderValue) -> String {
    value.to_str().unwrap_or_default().to_owned()
}

/// The top-level types of RFC 6838 section 4.2 that models speak in.
const TYPES: [&str; 7] =
    ["application", "audio", "image", "message", "multipart", "text", "video"];

#[cfg(test)]
mod tests {
    use http::header::CONTENT_LENGTH;
    use http::{HeaderName, HeaderValue};

    use super::harmless;
    use crate::wire::Headers;

    #[test]
    fn only_values_that_can_hold_no_secret_are_in_a_sample() {
        let secret = "sk-secret-canary-string";
        let mut headers = Headers::new();
        for (name, value) in [
            ("authorization", "Bearer sk-secret-canary-string"),
            ("cookie", "s=sk-secret-canary-string"),
            ("x-api-key", secret),
            ("user-agent", secret),
            ("accept", secret),
            ("server", secret),
            ("content-type", "Application/JSON; boundary=sk-secret-canary-string"),
            ("content-length", "12"),
            ("content-encoding", "gzip"),
            ("retry-after", "Tue, 24 Nov 2026 21:05:58 GMT"),
            ("grpc-status", "14"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let found = harmless("answer", &headers);
        let want = [
            ("answer content-type", "application/json"),
            ("answer content-encoding", "gzip"),
            ("answer content-length", "12"),
            ("answer grpc-status", "14"),
        ];
        let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, want);
    }

    #[test]
    fn a_value_that_is_not_what_its_name_says_is_left_out() {
        let long = format!("text/{}", "a".repeat(65));
        for (name, value) in [
            ("content-type", "sk-secret/x"),
            ("content-type", "text/p l"),
            ("content-type", "text/"),
            ("content-type", long.as_str()),
            ("content-encoding", "sk-secret"),
            ("content-length", "12a"),
            ("content-length", ""),
            ("grpc-status", "111111111111111111111"),
        ] {
            let mut headers = Headers::new();
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
            assert_eq!(harmless("request", &headers), [], "{name}: {value}");
        }
        let mut twice = Headers::new();
        twice.append(CONTENT_LENGTH, HeaderValue::from_static("1"));
        twice.append(CONTENT_LENGTH, HeaderValue::from_static("2"));
        assert_eq!(harmless("request", &twice), []);
    }
}
