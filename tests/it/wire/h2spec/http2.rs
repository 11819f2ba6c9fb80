//! Frames, streams, settings and windows: h2spec's suite `http2`, sections 3 to 7.

use super::cases::{Case, Then, case};
use super::conn::{
    CANCEL, COMPRESSION, Conn, FLOW_CONTROL, FRAME_SIZE, PROTOCOL, REFUSED,
    STREAM_CLOSED, common, dummies,
};
use super::generic::{PADDED, PRIORITIZED};
use crate::support::h2::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "http2/3.5 a preface that is none",
        greet: false,
        act: |c| c.raw(b"INVALID CONNECTION PREFACE\r\n\r\n"),
        then: Then::Closes,
    },
    case("http2/4.1 an unknown kind", |c| unknown(c, 0), Then::Pong(PLAIN)),
    case("http2/4.1 an unknown flag", |c| c.ping(0x16, *PLAIN), Then::Pong(PLAIN)),
    case(
        "http2/4.1 the reserved bit",
        |c| c.frame(PING, 0x16, 1 << 31, PLAIN),
        Then::Pong(PLAIN),
    ),
    case("http2/4.2 data of 2^14", |c| body_of(c, 16_384), Then::Answers),
    case(
        "http2/4.2 data of 2^14 + 1",
        |c| body_of(c, 16_385),
        Then::Stream(&[FRAME_SIZE]),
    ),
    case(
        "http2/4.2 headers above 2^14",
        |c| {
            let block = [common("GET", &[]), dummies(5)].concat();
            c.headers(END_STREAM, 1, &block);
        },
        Then::Connection(&[FRAME_SIZE]),
    ),
    case(
        "http2/4.3 a block that is none",
        |c| c.headers(END_STREAM, 1, b"\x40"),
        Then::Connection(&[COMPRESSION]),
    ),
    case(
        "http2/4.3 priority within a block",
        |c| block_then(c, |c| c.priority(1, 0, 255)),
        BAD,
    ),
    case("http2/4.3 another stream within a block", |c| block_then(c, |c| c.get(3)), BAD),
    case("http2/5.1 idle: data", |c| c.data(END_STREAM, 1, b"test"), BAD),
    case("http2/5.1 idle: reset", |c| c.reset(1, CANCEL), BAD),
    case("http2/5.1 idle: window update", |c| c.window(1, 100), BAD),
    case(
        "http2/5.1 idle: continuation",
        |c| c.more(END_HEADERS, 1, &common("GET", &[])),
        BAD,
    ),
    case(
        "http2/5.1 half-closed: data",
        |c| {
            c.get(1);
            c.data(END_STREAM, 1, b"test");
        },
        GONE,
    ),
    case(
        "http2/5.1 half-closed: headers",
        |c| {
            c.get(1);
            c.get(1);
        },
        GONE,
    ),
    case(
        "http2/5.1 half-closed: continuation",
        |c| {
            c.get(1);
            c.more(END_HEADERS, 1, &common("GET", &[]));
        },
        Then::Stream(&[STREAM_CLOSED, PROTOCOL]),
    ),
    case(
        "http2/5.1 after a reset: data",
        |c| {
            half_then_reset(c);
            c.data(END_STREAM, 1, b"test");
        },
        GONE,
    ),
    case(
        "http2/5.1 after a reset: headers",
        |c| {
            half_then_reset(c);
            c.get(1);
        },
        GONE,
    ),
    case(
        "http2/5.1 after a reset: continuation",
        |c| {
            half_then_reset(c);
            c.more(END_HEADERS, 1, &dummies(1));
        },
        Then::Stream(&[STREAM_CLOSED, PROTOCOL]),
    ),
    case(
        "http2/5.1 closed: data",
        |c| {
            whole(c);
            c.data(END_STREAM, 1, b"test");
        },
        Then::Connection(&[STREAM_CLOSED]),
    ),
    case(
        "http2/5.1 closed: headers",
        |c| {
            whole(c);
            c.get(1);
        },
        Then::Connection(&[STREAM_CLOSED]),
    ),
    case(
        "http2/5.1 closed: continuation",
        |c| {
            whole(c);
            c.more(END_HEADERS, 1, &dummies(1));
        },
        Then::Connection(&[STREAM_CLOSED, PROTOCOL]),
    ),
    case("http2/5.1.1 an even number", |c| c.get(2), BAD),
    case(
        "http2/5.1.1 a smaller number",
        |c| {
            c.get(5);
            c.get(3);
        },
        BAD,
    ),
    case(
        "http2/5.1.1 a number twice",
        |c| {
            c.get(5);
            c.get(5);
        },
        GONE,
    ),
    case(
        "http2/5.1.2 more streams than allowed",
        |c| {
            c.set(&[(4, 0)]);
            let most = c.settings.iter().find(|(id, _)| *id == 3).unwrap().1;
            for number in 0..=most {
                c.get(number * 2 + 1);
            }
        },
        Then::Stream(&[PROTOCOL, REFUSED]),
    ),
    case(
        "http2/5.3.1 headers that depend on themselves",
        |c| {
            let block = [&[0, 0, 0, 1, 255][..], &common("GET", &[])].concat();
            c.headers(END_STREAM | PRIORITIZED, 1, &block);
        },
        MALFORMED,
    ),
    case(
        "http2/5.3.1 priority that depends on itself",
        |c| c.priority(1, 1, 255),
        MALFORMED,
    ),
    case("http2/5.4.1 an error closes", |c| c.frame(PING, 0, 3, PLAIN), Then::Closes),
    case(
        "http2/5.4.1 an error is told",
        |c| c.frame(PING, 0, 3, PLAIN),
        Then::GoesAway(PROTOCOL),
    ),
    case("http2/5.5 an unknown extension", |c| unknown(c, 0), Then::Pong(PLAIN)),
    case(
        "http2/5.5 an unknown extension of a stream",
        |c| unknown(c, 1),
        Then::Pong(PLAIN),
    ),
    case(
        "http2/5.5 an extension within a block",
        |c| block_then(c, |c| c.frame(0x16, 0, 0, PLAIN)),
        BAD,
    ),
    case("http2/6.1 data on stream 0", |c| c.data(END_STREAM, 0, b"test"), BAD),
    case(
        "http2/6.1 data on a half-closed stream",
        |c| {
            c.headers(END_STREAM, 1, &common("POST", &[]));
            c.data(END_STREAM, 1, b"test");
        },
        GONE,
    ),
    case(
        "http2/6.1 more padding than data",
        |c| {
            c.post(1, &[("content-length", "4")]);
            c.data(END_STREAM | PADDED, 1, b"\x06Test");
        },
        BAD,
    ),
    case(
        "http2/6.2 priority within a block",
        |c| block_then(c, |c| c.priority(1, 0, 255)),
        BAD,
    ),
    case("http2/6.2 other headers within a block", |c| block_then(c, |c| c.get(3)), BAD),
    case("http2/6.2 headers on stream 0", |c| c.get(0), BAD),
    case(
        "http2/6.2 more padding than headers",
        |c| {
            let block = common("GET", &[]);
            let pad = u8::try_from(block.len() + 2).unwrap();
            c.headers(END_STREAM | PADDED, 1, &[&[pad], &block[..]].concat());
        },
        MALFORMED,
    ),
    case("http2/6.3 priority of stream 0", |c| c.priority(0, 0, 255), BAD),
    case(
        "http2/6.3 priority of another length",
        |c| {
            c.get(1);
            c.frame(2, 0, 1, b"\x80\0\0\x01");
        },
        Then::Stream(&[FRAME_SIZE]),
    ),
    case("http2/6.4 reset of stream 0", |c| c.reset(0, CANCEL), BAD),
    case("http2/6.4 reset of an idle stream", |c| c.reset(1, CANCEL), BAD),
    case(
        "http2/6.4 reset of another length",
        |c| {
            c.get(1);
            c.frame(RST_STREAM, 0, 1, &[0; 3]);
        },
        Then::Stream(&[FRAME_SIZE]),
    ),
    case(
        "http2/6.5 acknowledgement with content",
        |c| c.frame(SETTINGS, ACK, 0, &[0]),
        Then::Connection(&[FRAME_SIZE]),
    ),
    case(
        "http2/6.5 settings of a stream",
        |c| c.frame(SETTINGS, 0, 1, b"\0\x03\0\0\0\x64"),
        BAD,
    ),
    case(
        "http2/6.5 settings of another length",
        |c| c.frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64\0\x02\0"),
        Then::Stream(&[PROTOCOL, FRAME_SIZE]),
    ),
    case("http2/6.5.2 push of 2", |c| c.set(&[(2, 2)]), BAD),
    case("http2/6.5.2 a window of 2^31", |c| c.set(&[(4, 1 << 31)]), TOO_WIDE),
    case("http2/6.5.2 frames below 2^14", |c| c.set(&[(5, 16_383)]), BAD),
    case("http2/6.5.2 frames of 2^24", |c| c.set(&[(5, 1 << 24)]), BAD),
    case(
        "http2/6.5.2 an unknown setting",
        |c| {
            c.set(&[(0xff, 1)]);
            c.ping(0, *PLAIN);
        },
        Then::Pong(PLAIN),
    ),
    case(
        "http2/6.5.3 the last of two windows counts",
        |c| {
            c.set(&[(4, 100), (4, 1)]);
            c.await_settings();
            c.get(1);
        },
        Then::Data(1),
    ),
    case(
        "http2/6.5.3 settings are acknowledged",
        |c| c.set(&[(2, 0)]),
        Then::Acknowledges,
    ),
    case("http2/6.7 ping", |c| c.ping(0, *WORD), Then::Pong(WORD)),
    case(
        "http2/6.7 an answer is not answered",
        |c| {
            c.ping(ACK, *b"invalid!");
            c.ping(0, *WORD);
        },
        Then::Pong(WORD),
    ),
    case("http2/6.7 ping of a stream", |c| c.frame(PING, 0, 1, PLAIN), BAD),
    case(
        "http2/6.7 ping of another length",
        |c| c.frame(PING, 0, 0, &[0; 6]),
        Then::Connection(&[FRAME_SIZE]),
    ),
    case("http2/6.8 goaway of a stream", |c| c.frame(GOAWAY, 0, 1, PLAIN), BAD),
    case("http2/6.9 no increment of the connection", |c| c.window(0, 0), BAD),
    case(
        "http2/6.9 no increment of a stream",
        |c| {
            c.headers(0, 1, &common("GET", &[]));
            c.window(1, 0);
        },
        MALFORMED,
    ),
    case(
        "http2/6.9 window update of another length",
        |c| c.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]),
        Then::Connection(&[FRAME_SIZE]),
    ),
    case(
        "http2/6.9.1 a window of one",
        |c| {
            c.set(&[(4, 1)]);
            c.await_settings();
            c.get(1);
        },
        Then::Data(1),
    ),
    case(
        "http2/6.9.1 the connection's window above 2^31 - 1",
        |c| {
            c.window(0, WIDEST);
            c.window(0, WIDEST);
        },
        Then::GoesAway(FLOW_CONTROL),
    ),
    case(
        "http2/6.9.1 a stream's window above 2^31 - 1",
        |c| {
            c.headers(0, 1, &common("GET", &[]));
            c.window(1, WIDEST);
            c.window(1, WIDEST);
        },
        Then::Resets(FLOW_CONTROL),
    ),
    case(
        "http2/6.9.2 the window changes under a stream",
        |c| {
            c.set(&[(4, 0)]);
            c.await_settings();
            c.get(1);
            c.set(&[(4, 1)]);
            c.await_settings();
        },
        Then::Data(1),
    ),
    case(
        "http2/6.9.2 a window below zero",
        |c| {
            c.set(&[(4, 3)]);
            c.await_settings();
            c.get(1);
            c.await_data();
            c.set(&[(4, 2)]);
            c.await_settings();
            c.window(1, 2);
        },
        Then::Data(1),
    ),
    case(
        "http2/6.9.2 a first window above the widest",
        |c| c.frame(SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"),
        TOO_WIDE,
    ),
    case(
        "http2/6.10 two continuations",
        |c| {
            c.frame(HEADERS, END_STREAM, 1, &common("GET", &[]));
            c.more(0, 1, &dummies(1));
            c.more(END_HEADERS, 1, &dummies(1));
        },
        Then::Answers,
    ),
    case(
        "http2/6.10 data within a block",
        |c| {
            c.frame(HEADERS, 0, 1, &common("POST", &[]));
            c.more(0, 1, &dummies(1));
            c.data(END_STREAM, 1, b"test");
        },
        BAD,
    ),
    case(
        "http2/6.10 continuation of stream 0",
        |c| {
            c.frame(HEADERS, END_STREAM, 1, &common("GET", &[]));
            c.more(END_HEADERS, 0, &dummies(1));
        },
        BAD,
    ),
    case(
        "http2/6.10 continuation of a whole head",
        |c| {
            c.get(1);
            c.more(END_HEADERS, 1, &dummies(1));
        },
        BAD,
    ),
    case(
        "http2/6.10 continuation after the last one",
        |c| {
            c.frame(HEADERS, END_STREAM, 1, &common("GET", &[]));
            c.more(END_HEADERS, 1, &dummies(1));
            c.more(END_HEADERS, 1, &dummies(1));
        },
        BAD,
    ),
    case(
        "http2/6.10 continuation after data",
        |c| {
            c.frame(HEADERS, 0, 1, &common("POST", &[]));
            c.frame(DATA, END_STREAM, 1, b"test");
            c.more(0, 1, &dummies(1));
            c.more(END_HEADERS, 1, &dummies(1));
        },
        BAD,
    ),
    case(
        "http2/7 goaway of an unknown code",
        |c| c.frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xff"),
        Then::Closes,
    ),
    case(
        "http2/7 reset of an unknown code",
        |c| {
            c.post(1, &[]);
            c.reset(1, 0xff);
            c.ping(0, *PLAIN);
        },
        Then::Pong(PLAIN),
    ),
];

fn unknown(c: &mut Conn, stream: u32) {
    c.frame(0x16, 0, stream, PLAIN);
    c.ping(0, *PLAIN);
}

fn body_of(c: &mut Conn, length: usize) {
    c.post(1, &[]);
    c.data(END_STREAM, 1, &vec![b'x'; length]);
}

/// Something else in the middle of a header block.
fn block_then(c: &mut Conn, other: fn(&mut Conn)) {
    c.frame(HEADERS, 0, 1, &common("GET", &[]));
    other(c);
    c.more(END_HEADERS, 1, &dummies(1));
}

fn half_then_reset(c: &mut Conn) {
    c.headers(0, 1, &common("GET", &[]));
    c.reset(1, CANCEL);
}

/// A request and the whole of its answer.
fn whole(c: &mut Conn) {
    c.get(1);
    c.await_end();
}

const BAD: Then = Then::Connection(&[PROTOCOL]);
const MALFORMED: Then = Then::Stream(&[PROTOCOL]);
const GONE: Then = Then::Stream(&[STREAM_CLOSED]);
const TOO_WIDE: Then = Then::Connection(&[FLOW_CONTROL]);
const WIDEST: u32 = (1 << 31) - 1;
const PLAIN: &[u8; 8] = &[0; 8];
const WORD: &[u8; 8] = b"switched";
