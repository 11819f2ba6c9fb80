//! Any bytes as the first of a gRPC request, as `grpc-timeout`, `grpc-status` and as the
//! message of an error of ours.

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use switchback::dialect::{GRPC_NAME_BYTES, GrpcModel, grpc_model, grpc_status, is_grpc};
use switchback::proxy::door::{grpc_class, timeout};

use super::{choice, cuts, grown};

const METHODS: [&str; 8] = [
    "ModelInfer",
    "ModelStreamInfer",
    "ModelReady",
    "ModelMetadata",
    "ModelConfig",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "Other",
];

pub(super) fn body(data: &[u8]) {
    let (what, rest) = choice(data, 4);
    match what {
        0 => message(rest, false),
        1 => message(rest, true),
        2 => fields(rest),
        _ => said(rest),
    }
}

/// The first bytes of a request, with a prefix of their own or one that fits.
fn message(data: &[u8], framed: bool) {
    let (method, rest) = choice(data, 8);
    let path =
        format!("/inference.GRPCInferenceService/{}", METHODS[usize::from(method)]);
    let rest = grown(rest);
    let length = u32::try_from(rest.len()).unwrap_or(u32::MAX).to_be_bytes();
    let bytes = if framed { [&[0], &length[..], &rest].concat() } else { rest };
    let whole = read(&path, &[&bytes]);
    for pieces in cuts(&bytes) {
        assert_eq!(read(&path, &pieces), whole);
    }
    if let Some((model, version)) = whole {
        let named = |name: &str| {
            bytes.windows(name.len()).any(|part| part == name.as_bytes())
                && !name.is_empty()
        };
        assert!(named(&model) && version.is_none_or(|version| named(&version)));
    }
}

/// What the proxy makes of a request that comes in these pieces.
fn read(path: &str, pieces: &[&[u8]]) -> Option<(String, Option<String>)> {
    let mut first = Vec::new();
    for piece in pieces {
        let room = GRPC_NAME_BYTES.saturating_sub(first.len()).min(piece.len());
        first.extend_from_slice(&piece[..room]);
        if grpc_model(path, &first) != GrpcModel::More {
            break;
        }
    }
    match grpc_model(path, &first) {
        GrpcModel::Named { model, version } => {
            Some((model.to_owned(), version.map(str::to_owned)))
        }
        GrpcModel::More | GrpcModel::None => None,
    }
}

fn fields(bytes: &[u8]) {
    if let Some((span, written)) = timeout(bytes) {
        let again = timeout(written.as_bytes()).map(|(span, _)| span);
        // Never longer than the caller waits, and shorter by less than the unit.
        let most = Duration::from_secs(99_999_999);
        let lost = again.map(|again| span.min(most).checked_sub(again));
        let unit = if written.ends_with('S') { 1_000_000 } else { 1_000 };
        let unit = Duration::from_micros(if written.ends_with('u') { 1 } else { unit });
        assert!(lost.flatten().is_some_and(|lost| lost < unit), "{span:?} as {written}");
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        assert_eq!(grpc_class(&value).is_some(), value.to_str().is_ok());
    }
    assert!(!is_grpc(bytes) || bytes[..16].eq_ignore_ascii_case(b"application/grpc"));
}

/// A message of ours is a field that decodes to itself.
fn said(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut headers = HeaderMap::new();
    grpc_status(&mut headers, 14, &text);
    assert_eq!(headers["grpc-status"], "14");
    let mut decoded = Vec::new();
    let mut left = headers["grpc-message"].as_bytes();
    while let Some((byte, rest)) = left.split_first() {
        assert!((b' '..=b'~').contains(byte));
        left = rest;
        if *byte == b'%' {
            let digits = std::str::from_utf8(&rest[..2]).unwrap_or_default();
            decoded.extend(u8::from_str_radix(digits, 16));
            left = &rest[2..];
        } else {
            decoded.push(*byte);
        }
    }
    assert_eq!(decoded, text.as_bytes());
}
