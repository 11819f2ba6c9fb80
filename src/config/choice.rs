//! What a request may say about its own version: its session and its pin.
//!
//! Apart from the traffic and the rules because most of it is checks between values: a pin
//! or a key of sessions under a name that never arrives would be accepted and do nothing.

use super::reader::View;
use super::units;
use super::units::{Parsed, Why};
use crate::dialect::MODEL_NAME_BYTES;
use crate::vocab::ids::Name;
use crate::vocab::policy::{Affinity, Pin};

/// What keeps the sessions of a route with their versions.
pub(super) fn affinity(route: &View<'_>) -> Option<Affinity> {
    let view = route.maybe_child("sessionAffinity")?;
    let named = view.maybe_text("name");
    match view.text("by") {
        "header" => {
            let header = units::header(named.unwrap_or(SESSION_HEADER));
            let why = match &header {
                Ok(header) => never_comes(header),
                Err(_) => Some("is not a header name"),
            };
            if let Some(why) = why {
                view.wrong("name", format!("{} {why}", view.shown("name")));
            }
            Some(Affinity::Header(header.unwrap_or_default()))
        }
        "cookie" => {
            let name = named.unwrap_or(SESSION_COOKIE).to_owned();
            if !is_token(&name) {
                let shown = view.shown("name");
                view.wrong("name", format!("{shown} cannot be the name of a cookie"));
            }
            Some(Affinity::Cookie { name, max_age: view.span("maxAge") })
        }
        _ => None,
    }
}

/// Who may demand a version of a route.
pub(super) fn pin(route: &View<'_>) -> Option<Pin> {
    let view = route.maybe_child("pin")?;
    let header = units::header(view.text("header")).unwrap_or_default();
    let shown = view.shown("header");
    if let Some(why) = never_comes(&header) {
        view.wrong("header", format!("{shown} {why}"));
    } else if header.contains('_') {
        let why = "has an underscore, so that many servers drop it or confuse it";
        view.wrong("header", format!("{shown} {why}"));
    } else if !header.starts_with("x-model-") {
        view.warn(
            "header",
            "a trailer of that name is passed on, unlike one that begins with x-model-",
        );
    }
    let same = |other: &View<'_>, key| other.text(key).eq_ignore_ascii_case(&header);
    if route.children("overrides").iter().any(|other| same(other, "header")) {
        view.wrong("header", format!("{shown} is also the header of an override"));
    }
    let allowed = allowed(route, &view);
    let refuse = view.text("quarantined") == "refuse";
    Some(Pin { header, allowed, refuse })
}

fn allowed(route: &View<'_>, view: &View<'_>) -> Vec<Name> {
    let versions = route.children("versions");
    let names: Vec<Option<Name>> = versions.iter().map(|it| it.name("name")).collect();
    let mut allowed: Vec<Name> = Vec::new();
    for item in view.items("allowed") {
        let Ok(name) = units::name(item.text) else { continue };
        let shown = &item.shown;
        if let Some(first) = allowed.iter().position(|other| *other == name) {
            view.wrong_item(&item, format!("{shown} is the same as allowed[{first}]"));
            continue;
        }
        // A version whose own name is wrong may have been meant.
        if !names.contains(&Some(name.clone())) && !names.contains(&None) {
            view.wrong_item(&item, format!("{shown} is not a version of this route"));
        }
        allowed.push(name);
    }
    allowed
}

/// Says that nobody is trusted to pin.
pub(super) fn trusted(root: &View<'_>) {
    let trusts = |listener: &View<'_>| !listener.items("trustForwardedFrom").is_empty();
    if root.children("listeners").iter().any(trusts) {
        return;
    }
    for route in root.children("routes").iter().filter(|route| route.given("pin")) {
        route.warn("pin", "no listener has trustForwardedFrom: nobody is believed");
    }
}

/// Why a header of that name is not what a caller has sent, where that is so.
fn never_comes(header: &str) -> Option<&'static str> {
    const HOPS: [&str; 14] = [
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    const OURS: [&str; 5] = [
        "x-model-version",
        "x-request-id",
        "x-shadow",
        "x-service-degraded",
        "traceparent",
    ];
    if HOPS.contains(&header) {
        return Some("is a header that HTTP itself needs");
    }
    let ours = OURS.contains(&header) || header.starts_with("x-switchback-");
    ours.then_some("is a header that this proxy sets itself")
}

/// A token of RFC 9110, as the name of a cookie must be (RFC 6265 section 4.1.1).
fn is_token(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// The name of a model, as a request has it.
pub(super) fn is_model(text: &str) -> Parsed<()> {
    if text.is_empty() {
        return Err(Why::Wrong("is empty".to_owned()));
    }
    if text.len() > MODEL_NAME_BYTES || text.chars().any(char::is_control) {
        let most = MODEL_NAME_BYTES;
        return Err(Why::Wrong(format!("is not one line of at most {most} bytes")));
    }
    Ok(())
}

/// What the interface calls it in its example.
const SESSION_HEADER: &str = "x-session-id";
/// No other software has that name.
const SESSION_COOKIE: &str = "switchback-session";
