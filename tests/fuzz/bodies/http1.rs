//! Any bytes as a request and its body, and as an answer and its body: what comes out does
//! not depend on where the bytes were split, no field holds an end of line, and a request as
//! it is sent on is read as one and the same request again.

use bytes::BytesMut;
use http::{HeaderMap, Method, Request, Version};
use switchback::proxy::door::{clean_answer, clean_request};
use switchback::wire::h1::{
    Decoder, HeadError, HeadLimits, Piece, RequestHead, parse_answer, parse_request,
    write_answer, write_request,
};
use switchback::wire::{BodyLength, Headers};

use super::cuts;

const LIMITS: HeadLimits = HeadLimits { size: 8 * 1024, count: 64 };
const ROOMY: HeadLimits = HeadLimits { size: 64 * 1024, count: 256 };

/// What a body came to: its bytes, its trailers, and whether it was sound as far as it was.
#[derive(Debug, Default, PartialEq)]
struct Came {
    bytes: Vec<u8>,
    trailers: Option<HeaderMap>,
    broken: bool,
    over: bool,
}

fn drain(decoder: &mut Decoder, buffer: &mut BytesMut, came: &mut Came) {
    while !came.over && !came.broken {
        match decoder.decode(buffer) {
            Ok(Piece::Data(bytes)) => {
                assert!(!bytes.is_empty(), "a piece of nothing");
                came.bytes.extend_from_slice(&bytes);
            }
            Ok(Piece::Trailers(trailers)) => {
                clean(&trailers.clone().into());
                came.trailers = Some(trailers);
                came.over = true;
            }
            Ok(Piece::End) => came.over = true,
            Ok(Piece::More) => return,
            Err(_) => came.broken = true,
        }
    }
}

fn clean(headers: &Headers) {
    for (_, value) in headers {
        assert!(!value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)));
    }
}

/// The request as it comes out when the input arrives in these pieces.
fn request(pieces: &[&[u8]]) -> Option<Result<(String, Came), HeadError>> {
    let (mut buffer, mut scanned, mut rest) = (BytesMut::new(), 0, pieces.iter());
    let head = loop {
        match parse_request(&mut buffer, LIMITS, &mut scanned) {
            Ok(Some(head)) => break head,
            Ok(None) => buffer.extend_from_slice(rest.next()?),
            Err(error) => return Some(Err(error)),
        }
    };
    clean(&head.headers);
    let mut decoder = Decoder::of(head.length, true);
    let mut came = Came::default();
    drain(&mut decoder, &mut buffer, &mut came);
    for piece in rest {
        if came.over || came.broken {
            break;
        }
        buffer.extend_from_slice(piece);
        drain(&mut decoder, &mut buffer, &mut came);
    }
    let said =
        format!("{:?} {:?} {:?} {:?}", head.method, head.uri, head.version, head.headers);
    Some(Ok((said, came)))
}

pub(super) fn body(data: &[u8]) {
    let whole = request(&[data]);
    for pieces in cuts(data) {
        let split = request(&pieces);
        match (&whole, &split) {
            // A head that is broken and too long may be either, by how much of it is here;
            // one that is bound to be broken is refused before it is whole.
            (Some(Err(_)), Some(Err(_))) | (None, None) => {}
            _ => assert_eq!(whole, split, "in {} pieces", pieces.len()),
        }
    }
    let mut buffer = BytesMut::from(data);
    if let Ok(Some(head)) = parse_request(&mut buffer, LIMITS, &mut 0) {
        for trusted in [false, true] {
            sent_on(&head, trusted);
        }
    }
    for method in [Method::GET, Method::HEAD] {
        answer(data, &method);
    }
}

/// Fields that end at each hop (RFC 9110 section 7.6.1); an upgrade has those of its own.
const HOP: [&str; 7] = [
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "content-length",
    "trailer",
    "proxy-authorization",
    "http2-settings",
];

/// The request that a version gets is read as that request, its body as long as it was.
fn sent_on(head: &RequestHead, trusted: bool) {
    let made =
        Request::builder().method(&head.method).uri(&head.uri).version(head.version);
    let Ok(made) = made.body(()) else { return };
    let (mut parts, ()) = made.into_parts();
    parts.headers = head.headers.clone().into();
    let Some((target, headers)) = clean_request(parts, trusted) else { return };
    for name in
        HOP.iter().filter(|name| **name != "trailer" && **name != "proxy-authorization")
    {
        assert!(!headers.has(*name), "{name} goes on");
    }
    assert!(headers.values("host").count() <= 1, "two hosts");
    assert!(headers.has("host") || head.version == Version::HTTP_10, "no host");
    let mut written = BytesMut::new();
    write_request(&mut written, &head.method, &target, &headers, head.length);
    let shown = written.clone();
    let again = parse_request(&mut written, ROOMY, &mut 0);
    let Ok(Some(again)) = again else {
        assert!(
            again.is_err() && shown.is_empty(),
            "{:?} {again:?}",
            shown.escape_ascii()
        );
        return;
    };
    assert!(written.is_empty(), "more than a head: {}", shown.escape_ascii());
    assert_eq!(again.method, head.method);
    assert_eq!(again.uri.to_string(), target);
    let none =
        |length| if length == BodyLength::Exact(0) { BodyLength::None } else { length };
    assert_eq!(none(again.length), none(head.length), "{}", shown.escape_ascii());
    for (name, value) in &headers {
        let mut all = again.headers.values(name);
        assert!(all.any(|it| it.as_bytes() == value.as_bytes().trim_ascii()), "{name}");
    }
}

fn answer(data: &[u8], method: &Method) {
    let mut buffer = BytesMut::from(data);
    let Ok(Some(mut head)) = parse_answer(&mut buffer, method, LIMITS) else { return };
    clean(&head.headers);
    let mut decoder = Decoder::of(head.length, head.chunked);
    drain(&mut decoder, &mut buffer, &mut Came::default());
    clean_answer(&mut head.headers);
    let mut written = BytesMut::new();
    write_answer(&mut written, head.status, head.reason.as_ref(), &head.headers);
    written.extend_from_slice(b"\r\n");
    let shown = written.clone();
    let again = parse_answer(&mut written, method, ROOMY);
    let Ok(Some(again)) = again else {
        assert!(again.is_err() && shown.is_empty(), "{} {again:?}", shown.escape_ascii());
        return;
    };
    assert!(written.is_empty(), "more than a head: {}", shown.escape_ascii());
    assert_eq!(again.status, head.status);
}
