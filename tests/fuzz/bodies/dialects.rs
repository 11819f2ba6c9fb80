//! Any bytes as an answer in each dialect, plain and compressed: what it comes to does not
//! depend on where it was split, and the farewell that is put behind it, wherever it was cut,
//! is an event of its own.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::StatusCode;
use switchback::dialect::{
    AnswerHead, Events, OwnError, StreamScan, WHOLE_MAX, error_object, farewell, object,
    pick,
};
use switchback::vocab::outcome::Class;
use switchback::vocab::policy::Dialect;

use super::{choice, cuts, grown};

const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAi,
    Dialect::Anthropic,
    Dialect::OpenInference,
    Dialect::Plain,
    Dialect::TorchServe,
];

const ERROR: OwnError<'static> = OwnError {
    status: StatusCode::BAD_GATEWAY,
    grpc: 14,
    code: "upstream_closed",
    message: "the server \"closed\"\r\nits connection",
    request_id: Some("id"),
};

pub(super) fn body(data: &[u8]) {
    let (dialect, rest) = choice(data, 5);
    let dialect = DIALECTS[usize::from(dialect)];
    let (form, rest) = choice(rest, 6);
    let rest = grown(rest);
    match form {
        0 => {
            stream(dialect, None, &rest);
            last_words(dialect, &rest);
        }
        1 => stream(dialect, Some("gzip"), &gzip(&rest)),
        2 => stream(dialect, Some("deflate"), &zlib(&rest)),
        3 => stream(dialect, Some("gzip"), &rest),
        4 => stream(dialect, Some("deflate"), &rest),
        _ => whole(dialect, &rest),
    }
    if let Ok(path) = std::str::from_utf8(&rest) {
        let chosen = pick(path, Some(&rest));
        assert!(chosen != Dialect::Grpc || path.to_ascii_lowercase().starts_with("app"));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let done = encoder.write_all(bytes).and_then(|()| encoder.finish());
    done.unwrap_or_default()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let done = encoder.write_all(bytes).and_then(|()| encoder.finish());
    done.unwrap_or_default()
}

fn events(dialect: Dialect, coding: Option<&str>) -> Option<StreamScan> {
    let head = AnswerHead {
        status: 200,
        content_type: Some(b"text/event-stream"),
        content_encoding: coding.map(str::as_bytes),
        length: None,
    };
    StreamScan::new(dialect, &head)
}

/// What a stream comes to. Pieces of what cannot be seen are counted as they come, so that
/// their number says nothing.
fn came(
    scan: Option<StreamScan>,
    pieces: &[&[u8]],
) -> (Class, Option<Class>, bool, String) {
    let Some(mut scan) = scan else {
        return (Class::Success, None, false, String::new());
    };
    let (mut tokens, mut firsts) = (0u64, 0);
    for piece in pieces {
        let progress = scan.push(piece);
        tokens += progress.tokens;
        firsts += u32::from(progress.first);
        assert!(firsts <= 1, "it began twice");
    }
    assert_eq!(tokens, scan.tokens());
    let counted = match scan.is_unseen() {
        true => String::new(),
        false => format!("{tokens} {firsts} {:?} {:?}", scan.usage(), scan.finish()),
    };
    (scan.end(), scan.failed(), scan.is_complete(), counted)
}

fn stream(dialect: Dialect, coding: Option<&str>, bytes: &[u8]) {
    let once = came(events(dialect, coding), &[bytes]);
    for pieces in cuts(bytes) {
        let first = pieces.first().map_or(0, |piece| piece.len());
        let split = came(events(dialect, coding), &pieces);
        assert_eq!(once, split, "in pieces that begin with one of {first}");
    }
}

/// What we say when we cut a stream is seen, and as an event of its own.
fn last_words(dialect: Dialect, bytes: &[u8]) {
    let Some(mut scan) = events(dialect, None) else { return };
    scan.push(bytes);
    let Some(words) = farewell(&scan, &ERROR) else {
        assert!(scan.is_complete() || scan.failed().is_some());
        return;
    };
    scan.push(&words);
    assert_ne!(scan.end(), Class::Success, "the end is not seen to be an error");
    let mut parser = Events::default();
    let mut said = Vec::new();
    parser.push(bytes, &mut |_| {});
    parser.push(&words, &mut |event| said.push((event.is_cut, event.data.to_vec())));
    let Some((is_cut, last)) = said.pop() else {
        assert!(bytes.is_empty() && words.is_empty(), "no event came of it");
        return;
    };
    assert!(!is_cut && said.len() <= 1, "{} events before it", said.len());
    let value: Option<serde_json::Value> = serde_json::from_slice(&last).ok();
    assert!(value.is_some_and(|value| value.is_object()), "{}", last.escape_ascii());
}

fn whole(dialect: Dialect, bytes: &[u8]) {
    let scan = |length| {
        let head = AnswerHead {
            status: 200,
            content_type: Some(b"application/json"),
            content_encoding: None,
            length,
        };
        StreamScan::new(dialect, &head)
    };
    let class = error_object(dialect, bytes);
    let expected = class.filter(|_| bytes.len() <= WHOLE_MAX).unwrap_or(Class::Success);
    let length = Some(bytes.len() as u64);
    for known in [None, length] {
        assert_eq!(came(scan(known), &[bytes]).0, expected);
        for pieces in cuts(bytes) {
            assert_eq!(came(scan(known), &pieces).0, expected);
        }
    }
    // Our own error objects are seen to be errors.
    let own = object(dialect, &ERROR).to_string();
    let seen = error_object(dialect, own.as_bytes());
    assert!(seen.is_some() || dialect == Dialect::Plain, "{own}");
}
