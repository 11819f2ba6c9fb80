//! Any bytes as the frames of HTTP/2 and of a WebSocket: what is found does not depend on
//! where they were split, and is what a second, slower reading finds.

use switchback::wire::frames::{Head, Heads};
use switchback::wire::websocket::{Boundary, close};

use super::{choice, cuts};

pub(super) fn body(data: &[u8]) {
    match choice(data, 2) {
        (0, rest) => http2(rest),
        (_, rest) => websocket(rest),
    }
}

fn http2(data: &[u8]) {
    let (skip, bytes) = choice(data, 32);
    let skip = u32::from(skip);
    let found = |pieces: &[&[u8]]| {
        let (mut heads, mut seen) = (Heads::after(skip), Vec::new());
        for piece in pieces {
            heads.feed(piece, |head| seen.push(head));
        }
        (seen, heads.is_between(), heads.begun())
    };
    let whole = found(&[bytes]);
    for pieces in cuts(bytes) {
        assert_eq!(found(&pieces), whole);
    }
    assert_eq!(whole.0, slowly(bytes, skip));
}

/// RFC 9113 section 4.1, over bytes that are all here.
fn slowly(bytes: &[u8], skip: u32) -> Vec<Head> {
    let mut heads = Vec::new();
    let mut at = usize::try_from(skip).unwrap_or(usize::MAX);
    while let Some(&[a, b, c, kind, flags, s0, s1, s2, s3]) = bytes.get(at..at + 9) {
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut code = 0;
        if kind == 3 && length == 4 {
            let Some(&[w, x, y, z]) = bytes.get(at + 9..at + 13) else { break };
            code = u32::from_be_bytes([w, x, y, z]);
        }
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        heads.push(Head { length, kind, flags, stream, code });
        at += 9 + usize::try_from(length).unwrap_or(usize::MAX);
    }
    heads
}

fn websocket(bytes: &[u8]) {
    let fed = |pieces: &[&[u8]]| {
        let mut boundary = Boundary::default();
        for piece in pieces {
            boundary.feed(piece);
        }
        boundary
    };
    let mut whole = fed(&[bytes]);
    for pieces in cuts(bytes) {
        assert_eq!(format!("{:?}", fed(&pieces)), format!("{whole:?}"));
    }
    if whole.may_close() {
        for mask in [None, Some([1, 2, 3, 4])] {
            let mut other = fed(&[bytes]);
            other.feed(&close(1001, mask));
            assert!(!other.may_close(), "two close frames");
        }
        whole.feed(&[0x89, 0]);
        assert!(whole.may_close(), "a ping is a frame");
    }
}
