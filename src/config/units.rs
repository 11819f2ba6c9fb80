//! Durations, sizes, percentages and the other small languages of single values.
//!
//! Apart because each is a parser of its own. An error here is the end of a sentence whose
//! subject the caller knows (`… is not a duration`): the parsers never print the value, so
//! that an inserted secret cannot get out through them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::proxy::Network;
use crate::tls::{Dialer, Fingerprint};
use crate::upstream::{Address, Origin};
use crate::vocab::amount::{Percent, PercentError};
use crate::vocab::ids::Name;

/// Why a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is wrong: the rest of a sentence about the value.
    Wrong(String),
    /// It asks for something that is not built yet: what, and what to write instead.
    NotBuilt(String),
}

pub(super) type Parsed<T> = Result<T, Why>;

fn wrong<T>(why: &str) -> Parsed<T> {
    Err(Why::Wrong(why.to_owned()))
}

/// A duration such as `250ms`, `30s`, `5m`, `1h` or `1h30m`, for whoever takes one outside
/// the file.
///
/// # Errors
/// The end of a sentence about the text.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    span(text).map_err(|(Why::Wrong(why) | Why::NotBuilt(why))| why)
}

/// A duration such as `250ms`, `30s`, `5m`, `1h` or `1h30m`.
pub(super) fn span(text: &str) -> Parsed<Duration> {
    const FORM: &str = "is not a duration: write one such as 250ms, 30s, 5m or 1h30m";
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return wrong("has no unit: write a duration such as 250ms, 30s, 5m or 1h30m");
    }
    let (mut rest, mut total, mut next) = (text, 0_u64, 0);
    while !rest.is_empty() {
        let digits =
            rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let Ok(number) = number.parse::<u64>() else { return wrong(FORM) };
        let letters =
            tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        // Larger units come first, each at most once.
        let Some(at) = UNITS[next..].iter().position(|(name, _)| *name == unit) else {
            return wrong(FORM);
        };
        let ms =
            number.checked_mul(UNITS[next + at].1).and_then(|ms| total.checked_add(ms));
        let Some(ms) = ms else { return wrong("is too long for a duration") };
        (total, next, rest) = (ms, next + at + 1, tail);
    }
    if next == 0 { wrong(FORM) } else { Ok(Duration::from_millis(total)) }
}

const UNITS: [(&str, u64); 4] =
    [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration as the file would write it.
pub(super) fn show_span(span: Duration) -> String {
    let mut left = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, ms) in UNITS {
        if left >= ms {
            text += &format!("{}{unit}", left / ms);
            left %= ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A size such as `64KiB`, `10MB` or a bare number of bytes.
pub(super) fn size(text: &str) -> Parsed<u64> {
    const FORM: &str =
        "is not a size: write one such as 64KiB, 1MiB, 10MB or a number of bytes";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (Ok(number), Some((_, bytes))) =
        (number.parse::<u64>(), SIZES.iter().find(|(name, _)| *name == unit))
    else {
        return wrong(FORM);
    };
    number.checked_mul(*bytes).ok_or_else(|| Why::Wrong("is too large".to_owned()))
}

const SIZES: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// A size as the file would write it.
pub(super) fn show_size(bytes: u64) -> String {
    let whole =
        SIZES[..3].iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match whole {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// A percentage: `10%` or a bare number of percent.
pub(super) fn percent(text: &str) -> Parsed<Percent> {
    const FORM: &str = "is not a percentage: write one such as 10% or 0.5";
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let Some(number) = decimal(number) else { return wrong(FORM) };
    match Percent::of(number) {
        Ok(percent) if percent == Percent::ZERO && number > 0.0 => {
            wrong("is below the smallest share, 0.0001%")
        }
        Ok(percent) => Ok(percent),
        Err(PercentError::Above(_)) => wrong("is above 100%"),
        Err(PercentError::Below(_)) => wrong("is below 0%"),
        Err(PercentError::NotANumber) => wrong(FORM),
    }
}

/// A decimal number without exponent.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    if plain { number } else { None }
}

/// A whole number.
pub(super) fn count(text: &str) -> Parsed<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        Ok(_) | Err(_) => wrong("is not a whole number"),
    }
}

/// A name of a route, version or listener.
pub(super) fn name(text: &str) -> Parsed<Name> {
    const FORM: &str = "is not a name: use 1 to 63 of the characters A-Z a-z 0-9 . _ -, the first a letter or digit";
    Name::parse(text).map_err(|_| Why::Wrong(FORM.to_owned()))
}

/// An IP address with its port.
pub(super) fn socket(text: &str) -> Parsed<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.parse::<IpAddr>().is_ok() {
        return wrong("has no port: write an address such as 127.0.0.1:8080");
    }
    let host = text.strip_prefix(':').unwrap_or(text);
    if host.parse::<u16>().is_ok() {
        return wrong("has no IP address: write one such as 0.0.0.0:8080");
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_err() => {
            let known = host.parse::<IpAddr>().is_ok();
            wrong(if known {
                "has no port between 0 and 65535 after the colon"
            } else {
                FORM_SOCKET
            })
        }
        Some(_) | None => wrong(FORM_SOCKET),
    }
}

const FORM_SOCKET: &str =
    "is not an IP address with a port: write one such as 127.0.0.1:8080 or [::1]:8080";

/// A network in CIDR notation, or one address.
pub(super) fn network(text: &str) -> Parsed<Network> {
    Network::parse(text)
        .ok_or_else(|| Why::Wrong("is not a network such as 10.0.0.0/8".to_owned()))
}

/// A name or IP address that a certificate can be for.
pub(super) fn is_certain_name(text: &str) -> Parsed<()> {
    if Dialer::is_name(text) {
        Ok(())
    } else {
        wrong(
            "is no name that a certificate can be for: write one such as models.example.com",
        )
    }
}

/// Where model servers are: `http://host:port`, `https://host:port`, `unix:/path`, or
/// `dns+http://name:port` for every address of a name.
pub(super) fn endpoint(text: &str) -> Parsed<Origin> {
    const FORM: &str = "is not an endpoint: write http://HOST:PORT, https://HOST:PORT, dns+http://NAME:PORT or unix:/PATH";
    if let Some(path) = text.strip_prefix("unix:") {
        // What the kernel takes, with the byte that ends it.
        return if !path.starts_with('/') || path.starts_with("//") {
            wrong("names no absolute path: write unix:/PATH")
        } else if path.len() > 107 || path.contains('\0') {
            wrong("has a path longer than the 107 bytes that a socket may have")
        } else {
            Ok(Address::Unix(PathBuf::from(path)).into())
        };
    }
    let Some((scheme, rest)) = text.split_once("://") else { return wrong(FORM) };
    let scheme = scheme.to_ascii_lowercase();
    let (each, scheme) = match scheme.strip_prefix("dns+") {
        Some(scheme) => (true, scheme),
        None => (false, scheme.as_str()),
    };
    let tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return wrong(FORM),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return wrong("has a user name, which an endpoint may not have");
    }
    if rest.contains(['/', '?', '#']) {
        return wrong("has a path or query, which an endpoint may not have");
    }
    let address = authority(rest, tls)?;
    if !each {
        return Ok(Origin::One(address));
    }
    match address.name() {
        Some(_) => Ok(Origin::Each(address)),
        None => wrong("has an IP address, which needs no look-up: leave dns+ out"),
    }
}

/// A name server: an IP address, with a port if that is not 53.
pub(super) fn name_server(text: &str) -> Parsed<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 53));
    }
    match text.parse::<SocketAddr>() {
        Ok(at) if at.port() > 0 => Ok(at),
        Ok(_) | Err(_) => {
            wrong("is not a name server: write 10.96.0.10 or 127.0.0.1:5353")
        }
    }
}

/// See [`name_server`].
pub(super) fn is_name_server(text: &str) -> Parsed<()> {
    name_server(text).map(|_| ())
}

/// A domain that is put behind names.
pub(super) fn is_domain(text: &str) -> Parsed<()> {
    if is_host_name(text) {
        return Ok(());
    }
    wrong("is not a domain such as svc.cluster.local")
}

fn authority(text: &str, tls: bool) -> Parsed<Address> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']'))
    {
        Some((host, after)) => {
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return wrong("has no IPv6 address between [ and ]");
            }
            (
                host,
                after.strip_prefix(':').or(if after.is_empty() {
                    None
                } else {
                    Some("?")
                }),
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None if tls => 443,
        None => 80,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => port,
            Ok(_) | Err(_) => return wrong("has no port between 1 and 65535"),
        },
    };
    if !text.starts_with('[') && !is_host_name(host) {
        return wrong("has no valid host name or IP address");
    }
    Ok(Address::Tcp { host: host.to_ascii_lowercase(), port, tls })
}

fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        })
}

/// A host that a request may be for, lower case; `*.` in front stands for any labels.
pub(super) fn host(text: &str) -> Parsed<String> {
    let is_ip6 = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        && is_ip6(inner)
    {
        return Ok(text.to_ascii_lowercase());
    }
    if is_ip6(text) {
        return wrong("is an IPv6 address: put it between [ and ]");
    }
    if text.contains(':') {
        return wrong("has a port, and a host to match may not have one");
    }
    if is_host_name(text.strip_prefix("*.").unwrap_or(text)) {
        Ok(text.to_ascii_lowercase())
    } else {
        wrong("is not a host: write a name such as models.example.com or *.example.com")
    }
}

/// Checks of texts that are read again later.
pub(super) fn is_name(text: &str) -> Parsed<()> {
    name(text).map(|_| ())
}

/// The SHA-256 of a certificate.
pub(super) fn fingerprint(text: &str) -> Parsed<Fingerprint> {
    text.parse().map_err(|_| {
        let how = "is not the SHA-256 of a certificate: write its 64 hexadecimal digits";
        Why::Wrong(how.to_owned())
    })
}

/// See [`fingerprint`].
pub(super) fn is_fingerprint(text: &str) -> Parsed<()> {
    fingerprint(text).map(|_| ())
}

/// See [`socket`].
pub(super) fn is_socket(text: &str) -> Parsed<()> {
    socket(text).map(|_| ())
}

/// See [`network`].
pub(super) fn is_network(text: &str) -> Parsed<()> {
    network(text).map(|_| ())
}

/// See [`endpoint`].
pub(super) fn is_endpoint(text: &str) -> Parsed<()> {
    endpoint(text).map(|_| ())
}

/// See [`host`].
pub(super) fn is_host(text: &str) -> Parsed<()> {
    host(text).map(|_| ())
}

/// See [`header`].
pub(super) fn is_header(text: &str) -> Parsed<()> {
    header(text).map(|_| ())
}

/// A header that may be added to an answer without breaking it.
pub(super) fn is_banner_header(text: &str) -> Parsed<()> {
    const TAKEN: [&str; 9] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    match header(text)?.as_str() {
        name if TAKEN.contains(&name) => wrong("is a header that HTTP itself needs"),
        _ => Ok(()),
    }
}

/// A method whose answers can be kept.
pub(super) fn is_method(text: &str) -> Parsed<()> {
    if ["GET", "HEAD", "POST"].contains(&text.to_ascii_uppercase().as_str()) {
        Ok(())
    } else {
        wrong("is not one of GET, HEAD, POST")
    }
}

/// A path that begins with `/` and has no query.
pub(super) fn path(text: &str) -> Parsed<()> {
    if !text.starts_with('/') {
        return wrong("does not begin with /");
    }
    let visible = text.bytes().all(|b| b.is_ascii_graphic());
    if !visible || text.contains(['?', '#']) || text.len() > 2_048 {
        return wrong("is not a plain path: no spaces, ?, # and at most 2048 characters");
    }
    Ok(())
}

/// A header name; the parsed one is lower case.
pub(super) fn header(text: &str) -> Parsed<String> {
    match http::HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if text.len() <= 256 => Ok(name.as_str().to_owned()),
        Ok(_) | Err(_) => wrong("is not a header name"),
    }
}

/// The value of a header.
pub(super) fn header_value(text: &str) -> Parsed<()> {
    let visible = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if visible && text.trim() == text && text.len() <= 1_024 && !text.is_empty() {
        Ok(())
    } else {
        wrong("is not a header value: use 1 to 1024 visible ASCII characters")
    }
}

/// Any text of one line that is not empty.
pub(super) fn line(text: &str) -> Parsed<()> {
    if text.is_empty() {
        wrong("is empty")
    } else if text.len() > 1_024 || text.chars().any(char::is_control) {
        wrong("is not one line of at most 1024 bytes")
    } else {
        Ok(())
    }
}

/// A kind of failure as retry and rescue know it.
pub(super) fn failure(text: &str) -> Parsed<()> {
    let status = matches!(text.parse::<u16>(), Ok(400..=599)) && text.len() == 3;
    if status || FAILURES.contains(&text) {
        Ok(())
    } else {
        wrong(
            "is not one of connect, reset, timeout, streamError, 5xx or a status from 400 to 599",
        )
    }
}

/// The words of [`failure`].
pub(super) const FAILURES: [&str; 5] =
    ["connect", "reset", "timeout", "streamError", "5xx"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        Why, count, endpoint, failure, header, host, parse_span, percent, show_size,
        show_span, size, socket, span,
    };

    fn says<T: std::fmt::Debug>(parsed: Result<T, Why>) -> String {
        match parsed {
            Ok(value) => format!("{value:?}"),
            Err(Why::Wrong(why)) => why.split(':').next().unwrap_or_default().to_owned(),
            Err(Why::NotBuilt(why)) => format!("not built {why}"),
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h2m3s4ms", 3_723_004),
        ] {
            assert_eq!(span(text).unwrap(), Duration::from_millis(ms), "{text}");
            assert_eq!(show_span(Duration::from_millis(ms)), text);
        }
        for text in ["", "s", "1.5s", "-1s", "1x", "5m1h", "1s1s", "1 s", "30S", "1d"] {
            assert_eq!(says(span(text)), "is not a duration", "{text:?}");
        }
        assert_eq!(says(span("30")), "has no unit");
        assert!(parse_span("x").unwrap_err().starts_with("is not a duration: "));
        assert_eq!(says(span("99999999999999999h")), "is too long for a duration");
    }

    #[test]
    fn sizes_are_binary_or_decimal() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("10MB", 10_000_000),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "KiB", "1.5MiB", "-1", "1 MiB", "1mib", "1Mi"] {
            assert_eq!(says(size(text)), "is not a size", "{text:?}");
        }
        assert_eq!(says(size("99999999999999999GiB")), "is too large");
        assert_eq!(show_size(65_536), "64KiB");
        assert_eq!(show_size(10_000_000), "10000000B");
        assert_eq!(show_size(3 << 30), "3GiB");
    }

    #[test]
    fn percentages_with_and_without_sign() {
        for (text, ppm) in [("10%", 100_000), ("10", 100_000), ("0.5", 5_000), ("0", 0)] {
            assert_eq!(percent(text).unwrap().ppm(), ppm, "{text}");
        }
        assert_eq!(says(percent("130%")), "is above 100%");
        assert_eq!(says(percent("-1")), "is below 0%");
        assert_eq!(says(percent("0.00001%")), "is below the smallest share, 0.0001%");
        for text in ["", "%", "ten", "1e1", "nan", "inf", "10%%", "1.2.3"] {
            assert_eq!(says(percent(text)), "is not a percentage", "{text:?}");
        }
    }

    #[test]
    fn endpoints_are_addresses_and_nothing_more() {
        for (text, shown) in [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("http://Model.svc", "http://model.svc:80"),
            ("http://[::1]:9001/", "http://[::1]:9001"),
            ("unix:/run/model.sock", "unix:/run/model.sock"),
            ("dns+http://Models:9001", "dns+http://models:9001"),
            ("DNS+HTTP://models.svc", "dns+http://models.svc:80"),
        ] {
            assert_eq!(endpoint(text).unwrap().to_string(), shown);
        }
        for (text, why) in [
            ("127.0.0.1:9001", "is not an endpoint"),
            ("ftp://x", "is not an endpoint"),
            ("http://", "has no valid host name or IP address"),
            ("http://a:0", "has no port between 1 and 65535"),
            ("http://a:70000", "has no port between 1 and 65535"),
            ("http://a:", "has no port between 1 and 65535"),
            ("http://a:+80", "has no port between 1 and 65535"),
            ("http://[::1", "has no port between 1 and 65535"),
            ("http://[::1]80", "has no port between 1 and 65535"),
            ("http://[zz]:80", "has no IPv6 address between [ and ]"),
            ("http://a b:80", "has no valid host name or IP address"),
            ("http://a:80/v2", "has a path or query, which an endpoint may not have"),
            ("http://a:80?x", "has a path or query, which an endpoint may not have"),
            ("http://u@a:80", "has a user name, which an endpoint may not have"),
            ("unix:run/x", "names no absolute path"),
            ("unix://run/x", "names no absolute path"),
            ("dns+http://10.0.0.1:1", "has an IP address, which needs no look-up"),
            ("dns+http://[::1]:1", "has an IP address, which needs no look-up"),
            ("dns+unix:/run/x", "is not an endpoint"),
            ("dns+ftp://a", "is not an endpoint"),
            ("dns://a:1", "is not an endpoint"),
            ("dns+http://a:1/x", "has a path or query, which an endpoint may not have"),
        ] {
            assert_eq!(says(endpoint(text)), why, "{text}");
        }
        for (text, shown) in [
            ("https://a", "https://a:443"),
            ("HTTPS://A:8443/", "https://a:8443"),
            ("https://[::1]", "https://[::1]:443"),
            ("dns+https://a", "dns+https://a:443"),
        ] {
            assert_eq!(endpoint(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn listening_addresses_are_numeric() {
        assert!(socket("[::]:8080").is_ok() && socket("0.0.0.0:0").is_ok());
        for (text, why) in [
            ("127.0.0.1", "has no port"),
            ("::1", "has no port"),
            ("8080", "has no IP address"),
            (":8080", "has no IP address"),
            ("127.0.0.1:http", "has no port between 0 and 65535 after the colon"),
            ("127.0.0.1:99999", "has no port between 0 and 65535 after the colon"),
            ("localhost:8080", "is not an IP address with a port"),
            ("", "is not an IP address with a port"),
        ] {
            assert_eq!(says(socket(text)), why, "{text}");
        }
    }

    #[test]
    fn hosts_headers_failures_and_counts() {
        assert_eq!(host("*.Example.com").unwrap(), "*.example.com");
        assert_eq!(host("[::1]").unwrap(), "[::1]");
        for bad in ["", "a b", "*", "*.", "a..b", "http://a", "a:80", "::1"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert_eq!(header("X-Team").unwrap(), "x-team");
        assert!(header("x team").is_err() && header("").is_err());
        assert!(failure("503").is_ok() && failure("5xx").is_ok());
        for bad in ["200", "+503", "0503", "4xx", "Connect"] {
            assert!(failure(bad).is_err(), "{bad}");
        }
        assert_eq!(count("10").unwrap(), 10);
        for bad in ["", "+1", "-1", "1.0", "0x10", "ten", "99999999999999999999"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }
}
