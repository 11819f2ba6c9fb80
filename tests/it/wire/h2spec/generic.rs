//! What every server must accept: h2spec's suite `generic`.

use super::cases::{Case, Then, case};
use super::conn::{CANCEL, Conn, PREFACE, common};
use crate::support::h2::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, SETTINGS, block};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "generic/1 the preface is answered by settings",
        greet: false,
        act: |c| {
            c.raw(PREFACE);
            c.set(&[(4, 65_535)]);
        },
        then: Then::Greets,
    },
    case(
        "generic/2 priority on an idle stream",
        |c| {
            c.priority(1, 0, 255);
            c.ping(0, *PLAIN);
        },
        Then::Pong(PLAIN),
    ),
    case(
        "generic/2 window update on a half-closed stream",
        |c| {
            c.set(&[(4, 0)]);
            c.get(1);
            c.window(1, 1);
        },
        Then::Data(0),
    ),
    case(
        "generic/2 priority on a half-closed stream",
        |c| {
            c.set(&[(4, 0)]);
            c.get(1);
            c.priority(1, 0, 255);
            c.window(1, 1);
        },
        Then::Data(0),
    ),
    case(
        "generic/2 reset of a half-closed stream",
        |c| {
            c.get(1);
            c.reset(1, CANCEL);
            c.ping(0, *PLAIN);
        },
        Then::PongOrCloses(PLAIN),
    ),
    case(
        "generic/2 priority on a closed stream",
        |c| {
            c.get(1);
            c.await_end();
            c.priority(1, 0, 255);
            c.ping(0, *PLAIN);
        },
        Then::Pong(PLAIN),
    ),
    case(
        "generic/3.1 one data frame",
        |c| {
            c.post(1, &[]);
            c.data(END_STREAM, 1, b"test");
        },
        Then::Answers,
    ),
    case(
        "generic/3.1 two data frames",
        |c| {
            c.post(1, &[]);
            c.data(0, 1, b"test");
            c.data(END_STREAM, 1, b"test");
        },
        Then::Answers,
    ),
    case(
        "generic/3.1 data with padding",
        |c| {
            c.post(1, &[]);
            c.data(END_STREAM | PADDED, 1, b"\x06testpadded");
        },
        Then::Answers,
    ),
    case("generic/3.2 headers", |c| c.get(1), Then::Answers),
    case(
        "generic/3.2 headers with padding",
        |c| {
            let block = [&[8][..], &common("GET", &[]), &[0; 8]].concat();
            c.headers(END_STREAM | PADDED, 1, &block);
        },
        Then::Answers,
    ),
    case(
        "generic/3.2 headers with priority",
        |c| {
            let block = [&[0, 0, 0, 0, 255][..], &common("GET", &[])].concat();
            c.headers(END_STREAM | PRIORITIZED, 1, &block);
        },
        Then::Answers,
    ),
    case("generic/3.3 priority 1", |c| after_priority(c, 1, 0, 0), Then::Answers),
    case("generic/3.3 priority 256", |c| after_priority(c, 1, 0, 255), Then::Answers),
    case("generic/3.3 a dependency", |c| after_priority(c, 3, 1, 0), Then::Answers),
    case("generic/3.3 exclusive", |c| after_priority(c, 1, 1 << 31, 0), Then::Answers),
    case("generic/3.3 a later idle", |c| after_priority(c, 3, 0, 255), Then::Answers),
    case(
        "generic/3.4 reset",
        |c| {
            c.headers(0, 1, &common("GET", &[]));
            c.reset(1, CANCEL);
            c.ping(0, *PLAIN);
        },
        Then::PongOrCloses(PLAIN),
    ),
    case(
        "generic/3.5 settings of all kinds",
        |c| c.set(&[(1, 4096), (2, 1), (3, 100), (4, 65_535), (5, 16_384), (6, 100)]),
        Then::Acknowledges,
    ),
    case("generic/3.7 ping", |c| c.ping(0, *WORD), Then::Pong(WORD)),
    case(
        "generic/3.8 goaway",
        |c| c.frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0words"),
        Then::Closes,
    ),
    case(
        "generic/3.9 window update of the connection",
        |c| {
            c.window(0, 1);
            c.ping(0, *PLAIN);
        },
        Then::Pong(PLAIN),
    ),
    case(
        "generic/3.9 window update of a stream",
        |c| {
            c.get(1);
            c.window(1, 1);
        },
        Then::Answers,
    ),
    case("generic/3.10 a continuation", |c| in_parts(c, &[5]), Then::Answers),
    case("generic/3.10 continuations", |c| in_parts(c, &[5, 10]), Then::Answers),
    case("generic/4 get", |c| c.get(1), Then::Answers),
    case(
        "generic/4 head",
        |c| c.headers(END_STREAM, 1, &common("HEAD", &[])),
        Then::Answers,
    ),
    case(
        "generic/4 post",
        |c| {
            c.post(1, &[]);
            c.data(END_STREAM, 1, b"test");
        },
        Then::Answers,
    ),
    case(
        "generic/4 post with trailers",
        |c| {
            c.post(1, &[("trailer", "x-test")]);
            c.data(0, 1, b"test");
            c.headers(END_STREAM, 1, &block(&[("x-test", "ok")]));
        },
        Then::Answers,
    ),
    case("generic/5 indexed", |c| with(c, b"\xba"), Then::Answers),
    case(
        "generic/5 incremental, indexed name",
        |c| with(c, b"\x7a\x04test"),
        Then::Answers,
    ),
    case(
        "generic/5 incremental, indexed name, huffman",
        |c| with(c, b"\x7a\x83\x49\x50\x9f"),
        Then::Answers,
    ),
    case(
        "generic/5 incremental, new name",
        |c| with(c, b"\x40\x06x-test\x04test"),
        Then::Answers,
    ),
    case(
        "generic/5 incremental, new name, huffman",
        |c| with(c, b"\x40\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x9f"),
        Then::Answers,
    ),
    case(
        "generic/5 without indexing, indexed name",
        |c| with(c, b"\x0f\x2b\x04test"),
        Then::Answers,
    ),
    case(
        "generic/5 without indexing, indexed name, huffman",
        |c| with(c, b"\x0f\x2b\x83\x49\x50\x9f"),
        Then::Answers,
    ),
    case(
        "generic/5 without indexing, new name",
        |c| with(c, b"\x00\x06x-test\x04test"),
        Then::Answers,
    ),
    case(
        "generic/5 without indexing, new name, huffman",
        |c| with(c, b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x9f"),
        Then::Answers,
    ),
    case(
        "generic/5 never indexed, indexed name",
        |c| with(c, b"\x1f\x2b\x04test"),
        Then::Answers,
    ),
    case(
        "generic/5 never indexed, indexed name, huffman",
        |c| with(c, b"\x1f\x2b\x83\x49\x50\x9f"),
        Then::Answers,
    ),
    case(
        "generic/5 never indexed, new name",
        |c| with(c, b"\x10\x06x-test\x04test"),
        Then::Answers,
    ),
    case(
        "generic/5 never indexed, new name, huffman",
        |c| with(c, b"\x10\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x9f"),
        Then::Answers,
    ),
    case("generic/5 one size update", |c| after_update(c, b"\x20"), Then::Answers),
    case(
        "generic/5 two size updates",
        |c| after_update(c, b"\x20\x3f\xe1\x1f"),
        Then::Answers,
    ),
    case(
        "generic settings may be empty",
        |c| c.frame(SETTINGS, 0, 0, &[]),
        Then::Acknowledges,
    ),
];

fn after_priority(c: &mut Conn, stream: u32, parent: u32, weight: u8) {
    c.priority(stream, parent, weight);
    c.get(1);
}

/// A `GET` whose block is cut at these places.
fn in_parts(c: &mut Conn, cuts: &[usize]) {
    let block = common("GET", &[]);
    c.frame(HEADERS, END_STREAM, 1, &block[..cuts[0]]);
    for (at, from) in cuts.iter().enumerate() {
        let to = cuts.get(at + 1).copied();
        let flags = if to.is_none() { END_HEADERS } else { 0 };
        c.more(flags, 1, &block[*from..to.unwrap_or(block.len())]);
    }
}

/// A `GET` with one more field, encoded so.
fn with(c: &mut Conn, field: &[u8]) {
    c.headers(END_STREAM, 1, &[&common("GET", &[]), field].concat());
}

/// A `GET` whose block begins with changes of the table's size.
fn after_update(c: &mut Conn, update: &[u8]) {
    c.headers(END_STREAM, 1, &[update, &common("GET", &[])].concat());
}

const PLAIN: &[u8; 8] = &[0; 8];
const WORD: &[u8; 8] = b"switched";
/// Flags of `DATA` and `HEADERS`.
pub const PADDED: u8 = 0x8;
/// A flag of `HEADERS`.
pub const PRIORITIZED: u8 = 0x20;
