//! Whom and what a request asks for: one valid host, and a path. Apart from the rest of the
//! hygiene because both are settled before any field is looked at; the server that answers
//! never comes from here, it comes from the route table.

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Version};

use super::error::ProxyError;
use crate::wire::Headers;

/// Leaves exactly one valid `Host`, and none that differs from the target's own.
pub(super) fn settle_host(
    uri: &http::Uri,
    version: Version,
    headers: &mut Headers,
) -> Result<(), ProxyError> {
    let (first, more) = {
        let mut hosts = headers.values(header::HOST);
        (hosts.next(), hosts.next().is_some())
    };
    if more {
        return Err(ProxyError::BadRequest("more than one Host field"));
    }
    if let Some(host) = first
        && !is_authority(host.as_bytes())
    {
        return Err(ProxyError::BadRequest("the Host field is not a host"));
    }
    if let Some(scheme) = uri.scheme_str()
        && scheme != "http"
        && scheme != "https"
    {
        return Err(ProxyError::BadRequest(
            "the scheme of the target is not http or https",
        ));
    }
    match (uri.authority(), first) {
        (Some(authority), Some(host))
            if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Err(ProxyError::BadRequest("the target's host and the Host field differ"))
        }
        (Some(_), Some(_)) => Ok(()),
        (Some(authority), None) => {
            let host = authority.as_str();
            let value = HeaderValue::from_str(host)
                .ok()
                .filter(|_| is_authority(host.as_bytes()));
            let value =
                value.ok_or(ProxyError::BadRequest("the target's host is not a host"))?;
            if version == Version::HTTP_11 {
                return Err(ProxyError::BadRequest("there is no Host field"));
            }
            headers.insert(header::HOST, value);
            Ok(())
        }
        (None, Some(_)) => Ok(()),
        (None, None) if version == Version::HTTP_10 => Ok(()),
        (None, None) => Err(ProxyError::BadRequest("there is no Host field")),
    }
}

fn is_authority(host: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~');
    let port_ok = |port: &[u8]| {
        let digits = port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
        digits
            && port.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'))
                < 65_536
    };
    if let Some(rest) = host.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let (address, port) = (&rest[..end], &rest[end + 1..]);
        let address_ok = std::str::from_utf8(address)
            .is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        return address_ok
            && (port.is_empty() || port.strip_prefix(b":").is_some_and(port_ok));
    }
    let (name, port) = match host.iter().position(|byte| *byte == b':') {
        Some(at) => (&host[..at], &host[at + 1..]),
        None => (host, &b""[..]),
    };
    !name.is_empty() && name.len() <= 255 && name.iter().all(plain) && port_ok(port)
}

/// A host without its port.
pub(super) fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    let colon = host.bytes().position(|byte| byte == b':');
    colon.and_then(|colon| host.get(..colon)).unwrap_or(host)
}

/// The target in origin form.
pub(super) fn settle_target(
    method: &Method,
    target: Option<PathAndQuery>,
) -> Result<PathAndQuery, ProxyError> {
    let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = target.as_str();
    let ok = path.starts_with('/') || (path == "*" && method == Method::OPTIONS);
    if ok && path.is_ascii() {
        Ok(target)
    } else {
        Err(ProxyError::BadRequest("the target is not a path"))
    }
}
