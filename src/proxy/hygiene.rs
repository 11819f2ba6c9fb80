//! What goes through and what does not: the one place that cleans requests on their way to
//! a version and answers on their way to a caller, whatever protocol either side speaks.
//!
//! Framing was settled where the message was parsed; here it is hosts, targets, hop-by-hop
//! fields (RFC 9110 section 7.6.1), forwarding fields, and the names that are ours to set.
//! A name that differs from a guarded one by underscores only is the same name to many
//! servers, and is treated so here.

use std::collections::HashSet;

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use super::caller::Caller;
use super::error::ProxyError;
use super::ids::Given;
use super::target::{settle_host, settle_target, without_port};
use crate::route::HeaderLookup;
use crate::wire::Headers;

/// The head of a request as it came, whatever its caller speaks.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: Headers,
}

impl From<Parts> for Head {
    fn from(parts: Parts) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers: headers.into() }
    }
}

/// What is left of a request once it is clean: what a version is sent.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Its method.
    pub(super) method: Method,
    /// Its target in origin form.
    pub(super) target: PathAndQuery,
    /// Its fields, `host` included, without framing.
    pub(super) headers: Headers,
    /// It wants to become a WebSocket.
    pub(super) upgrade: bool,
    /// Its caller asked for leave before it sends the body.
    pub(super) expects: bool,
    /// Which fields there were that follow a request.
    pub(super) given: Given,
}

/// Header fields as the table may look at them.
pub(super) struct Fields<'a>(pub(super) &'a Headers);

impl HeaderLookup for Fields<'_> {
    fn only(&self, name: &str) -> Option<&str> {
        self.0.only(name)?.to_str().ok()
    }
}

impl Asked {
    /// The host without port, as sent; empty when there is none.
    pub(super) fn host(&self) -> &str {
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.map_or("", without_port)
    }
}

/// Cleans a request.
///
/// # Errors
/// [`ProxyError`] with what is wrong with it.
pub(super) fn clean_request(head: Head, caller: &Caller) -> Result<Asked, ProxyError> {
    let Head { method, uri, version, mut headers } = head;
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(ProxyError::Method);
    }
    settle_host(&uri, version, &mut headers)?;
    let target = settle_target(&method, uri.into_parts().path_and_query)?;
    let seen = look(&headers);
    if seen.twin {
        return Err(ProxyError::BadRequest(
            "a field name imitates one that frames the request",
        ));
    }
    if seen.quoted {
        return Err(ProxyError::BadRequest("a field name has characters that none has"));
    }
    let mut upgrade = false;
    if seen.connection {
        if version == Version::HTTP_2 {
            return Err(ProxyError::BadRequest(
                "connection fields have no place in HTTP/2",
            ));
        }
        // HTTP/1.0 knows no upgrade (RFC 9110 section 7.8).
        upgrade = version == Version::HTTP_11 && wants_websocket(&method, &headers);
        drop_named_by_connection(&mut headers)?;
    }
    if seen.expect {
        expectation(&headers)?;
    }
    if seen.dropped || (seen.untrusted && !caller.trusted) {
        headers.retain(|name| sort(name.as_str()).is_sent_on(caller.trusted));
    }
    if seen.te {
        keep_trailers_only(&mut headers);
    }
    if version == Version::HTTP_2 {
        join_cookies(&mut headers);
    }
    if caller.trusted && seen.untrusted {
        forward_too(&mut headers, caller);
    } else {
        forward(&mut headers, caller);
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let Seen { expect: expects, given, .. } = seen;
    Ok(Asked { method, target, headers, upgrade, expects, given })
}

/// Cleans an answer. `upgraded` keeps what a 101 says.
pub(super) fn clean_answer(headers: &mut Headers, upgraded: bool) {
    let (mut connection, mut dropped) = (false, false);
    for name in headers.names() {
        connection |= name == header::CONNECTION;
        dropped |= is_dropped(name.as_str(), upgraded);
    }
    if connection && !upgraded {
        let named: HashSet<HeaderName> = connection_tokens(headers)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            .filter(|name| *name != header::CONTENT_LENGTH)
            .collect();
        headers.retain(|name| !named.contains(name));
    }
    if dropped {
        headers.retain(|name| !is_dropped(name.as_str(), upgraded));
    }
}

/// Whether a field of an answer is for this proxy alone, or is its own to set.
fn is_dropped(name: &str, upgraded: bool) -> bool {
    match name {
        "connection" | "upgrade" => !upgraded,
        "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "te"
        | "transfer-encoding"
        | "http2-settings"
        | "x-model-version"
        | "x-request-id"
        | "x-switchback-reason"
        | "x-service-degraded" => true,
        _ => false,
    }
}

/// What one look over the fields found.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one head")]
struct Seen {
    connection: bool,
    expect: bool,
    te: bool,
    twin: bool,
    quoted: bool,
    /// There are fields that are never sent on.
    dropped: bool,
    /// There are fields that are sent on only for callers that are trusted.
    untrusted: bool,
    given: Given,
}

fn look(headers: &Headers) -> Seen {
    let mut seen = Seen::default();
    for name in headers.names() {
        match sort(name.as_str()) {
            Sort::Plain => {}
            Sort::Connection => (seen.connection, seen.dropped) = (true, true),
            Sort::Expect => (seen.expect, seen.dropped) = (true, true),
            Sort::Te => seen.te = true,
            Sort::Twin => seen.twin = true,
            Sort::Quoted => seen.quoted = true,
            Sort::Id => seen.given.id = true,
            Sort::Trace => seen.given.trace = true,
            Sort::Framing | Sort::Dropped => seen.dropped = true,
            Sort::Untrusted => seen.untrusted = true,
        }
    }
    seen
}

/// How a field is treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Plain,
    Framing,
    Connection,
    Expect,
    Te,
    Id,
    Trace,
    Dropped,
    Untrusted,
    /// It imitates one that frames the request.
    Twin,
    /// It has a quotation mark in it, which no grammar has and HTTP/2 lets through all the
    /// same.
    Quoted,
}

impl Sort {
    fn is_sent_on(self, trusted: bool) -> bool {
        match self {
            Self::Plain | Self::Id | Self::Trace | Self::Te => true,
            Self::Untrusted => trusted,
            Self::Framing
            | Self::Connection
            | Self::Expect
            | Self::Dropped
            | Self::Twin
            | Self::Quoted => false,
        }
    }
}

fn sort(name: &str) -> Sort {
    // Names are short: this costs less than to begin a search.
    if !name.bytes().any(|byte| byte == b'_' || byte == b'"') {
        return sort_plain(name);
    }
    if name.contains('"') {
        return Sort::Quoted;
    }
    match sort_plain(&name.replace('_', "-")) {
        Sort::Plain | Sort::Id | Sort::Trace => Sort::Plain,
        Sort::Framing | Sort::Te => Sort::Twin,
        Sort::Connection
        | Sort::Expect
        | Sort::Dropped
        | Sort::Untrusted
        | Sort::Twin
        | Sort::Quoted => Sort::Dropped,
    }
}

fn sort_plain(name: &str) -> Sort {
    match name {
        "transfer-encoding" | "content-length" => Sort::Framing,
        "connection" => Sort::Connection,
        "expect" => Sort::Expect,
        "te" => Sort::Te,
        "keep-alive"
        | "proxy-connection"
        | "proxy-authorization"
        | "upgrade"
        // What CGI programs take for the proxy that they are to use themselves.
        | "proxy"
        | "http2-settings" => Sort::Dropped,
        "forwarded" => Sort::Untrusted,
        "x-request-id" => Sort::Id,
        "traceparent" | "tracestate" => Sort::Trace,
        _ if !name.starts_with("x-") => Sort::Plain,
        "x-model-version" | "x-shadow" | "x-service-degraded" => Sort::Dropped,
        "x-model-pin"
        | "x-real-ip"
        | "x-original-url"
        | "x-original-host"
        | "x-rewrite-url"
        | "x-http-method"
        | "x-http-method-override"
        | "x-method-override"
        | "x-region"
        | "x-drill"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "x-host" => Sort::Untrusted,
        _ if name.starts_with("x-forwarded-") => Sort::Untrusted,
        _ if name.starts_with("x-switchback-") => Sort::Dropped,
        _ => Sort::Plain,
    }
}

fn connection_tokens(headers: &Headers) -> impl Iterator<Item = &str> {
    headers
        .values(header::CONNECTION)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
}

fn wants_websocket(method: &Method, headers: &Headers) -> bool {
    let Some(only) = headers.only(header::UPGRADE) else { return false };
    method == Method::GET
        && only.as_bytes().eq_ignore_ascii_case(b"websocket")
        && connection_tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// Removes what `Connection` names. A name that must not be hop-by-hop is an attempt to
/// have a guard removed on the way.
fn drop_named_by_connection(headers: &mut Headers) -> Result<(), ProxyError> {
    let malformed = ProxyError::BadRequest("the Connection field is malformed");
    if headers.values(header::CONNECTION).any(|value| value.to_str().is_err()) {
        return Err(malformed);
    }
    let mut named = HashSet::new();
    for token in connection_tokens(headers).filter(|token| !token.is_empty()) {
        if [
            "close",
            "keep-alive",
            "upgrade",
            "te",
            "http2-settings",
            "trailer",
            "trailers",
        ]
        .iter()
        .any(|usual| token.eq_ignore_ascii_case(usual))
        {
            continue;
        }
        let Ok(name) = HeaderName::from_bytes(token.as_bytes()) else {
            return Err(malformed);
        };
        let text = name.as_str().replace('_', "-");
        let end_to_end = matches!(
            &*text,
            "host"
                | "authorization"
                | "cookie"
                | "content-length"
                | "transfer-encoding"
                | "content-type"
                | "content-encoding"
                | "cache-control"
                | "expect"
                | "range"
                | "x-request-id"
                | "traceparent"
                | "x-api-key"
                | "api-key"
                | "x-tenant"
                | "x-real-ip"
                | "remote-user"
                | "set-cookie"
                | "forwarded"
                | "origin"
        ) || text.starts_with("x-forwarded-")
            || text.starts_with("x-model-")
            || text.starts_with("x-switchback-");
        if end_to_end {
            return Err(ProxyError::BadRequest(
                "the Connection field names an end-to-end field",
            ));
        }
        named.insert(name);
    }
    if !named.is_empty() {
        headers.retain(|name| !named.contains(name));
    }
    Ok(())
}

/// The only expectation there is was seen to where the head was read.
fn expectation(headers: &Headers) -> Result<(), ProxyError> {
    let mut values = headers.values(header::EXPECT);
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Ok(())
        }
        (None, _) => Ok(()),
        (Some(_), _) => Err(ProxyError::Expectation),
    }
}

fn keep_trailers_only(headers: &mut Headers) {
    let trailers = headers
        .values(header::TE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(header::TE);
    }
}

/// HTTP/2 may send a cookie in crumbs; HTTP/1.1 has one field (RFC 9113 section 8.2.3).
pub(super) fn join_cookies(headers: &mut Headers) {
    if headers.values(header::COOKIE).nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> =
        headers.values(header::COOKIE).map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Says who asked, where nobody else has said anything about it.
fn forward(headers: &mut Headers, caller: &Caller) {
    let host = headers.get(header::HOST).cloned();
    headers.append(X_FORWARDED_FOR, caller.forwarded_for.clone());
    headers.append(header::FORWARDED, caller.forwarded.clone());
    headers.append(X_FORWARDED_PROTO, caller.proto.clone());
    if let Some(host) = host {
        headers.append(X_FORWARDED_HOST, host);
    }
}

/// Says who asked: appended to what a trusted caller said, or in its place.
fn forward_too(headers: &mut Headers, caller: &Caller) {
    append(headers, X_FORWARDED_FOR, &caller.forwarded_for);
    append(headers, header::FORWARDED, &caller.forwarded);
    if !headers.has(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, caller.proto.clone());
    }
    if !headers.has(X_FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

fn append(headers: &mut Headers, name: HeaderName, mine: &HeaderValue) {
    let before: Vec<&[u8]> = headers.values(&name).map(HeaderValue::as_bytes).collect();
    let value = if before.is_empty() {
        mine.clone()
    } else {
        let joined = [&before[..], &[mine.as_bytes()]].concat().join(&b", "[..]);
        HeaderValue::from_bytes(&joined).unwrap_or_else(|_| mine.clone())
    };
    headers.insert(name, value);
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
#[path = "hygiene_tests.rs"]
pub(super) mod tests;
