//! Requests as HTTP/2 must not carry them: h2spec's suite `http2`, section 8.

use super::cases::{Case, Then, case};
use super::conn::{Conn, PROTOCOL, common};
use crate::support::h2::{END_HEADERS, END_STREAM, block};

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "http2/8.1 a second head without an end",
        |c| {
            c.post(1, &[]);
            c.data(0, 1, b"test");
            c.headers(0, 1, &block(&[("x-test", "ok")]));
        },
        MALFORMED,
    ),
    case("http2/8.1.2 upper case", |c| and(c, &[("X-TEST", "ok")]), MALFORMED),
    case("http2/8.1.2.1 an unknown one", |c| and(c, &[(":test", "ok")]), MALFORMED),
    case("http2/8.1.2.1 one of answers", |c| and(c, &[(":status", "200")]), MALFORMED),
    case(
        "http2/8.1.2.1 one in trailers",
        |c| {
            c.post(1, &[]);
            c.data(0, 1, b"test");
            c.headers(0, 1, &block(&[(":method", "POST")]));
        },
        MALFORMED,
    ),
    case(
        "http2/8.1.2.1 one in trailers that end",
        |c| {
            c.post(1, &[]);
            c.data(0, 1, b"test");
            c.headers(END_STREAM, 1, &block(&[(":method", "POST")]));
        },
        // Dropped where the block is decoded, and so never sent on: h2spec does not ask.
        Then::Answers,
    ),
    case(
        "http2/8.1.2.1 one after a field",
        |c| {
            let block = [block(&[("x-test", "ok")]), common("GET", &[])].concat();
            c.headers(END_STREAM, 1, &block);
        },
        MALFORMED,
    ),
    case(
        "http2/8.1.2.2 a field of the connection",
        |c| and(c, &[("connection", "keep-alive")]),
        MALFORMED,
    ),
    case(
        "http2/8.1.2.2 te of more than trailers",
        |c| and(c, &[("trailers", "test"), ("te", "trailers, deflate")]),
        MALFORMED,
    ),
    case(
        "http2/8.1.2.3 an empty path",
        |c| of(c, &[METHOD, SCHEME, (":path", ""), HOST]),
        MALFORMED,
    ),
    case("http2/8.1.2.3 no method", |c| of(c, &[SCHEME, PATH, HOST]), MALFORMED),
    case("http2/8.1.2.3 no method and no scheme", |c| of(c, &[PATH, HOST]), MALFORMED),
    case("http2/8.1.2.3 no scheme", |c| of(c, &[METHOD, PATH, HOST]), MALFORMED),
    case("http2/8.1.2.3 no path", |c| of(c, &[METHOD, SCHEME, HOST]), MALFORMED),
    case("http2/8.1.2.3 two methods", |c| and(c, &[METHOD]), MALFORMED),
    case("http2/8.1.2.3 two schemes", |c| and(c, &[SCHEME]), MALFORMED),
    case("http2/8.1.2.3 two paths", |c| and(c, &[PATH]), MALFORMED),
    case("http2/8.1.2.3 two authorities", |c| and(c, &[HOST]), MALFORMED),
    case(
        "http2/8.1.2.6 a length that is not the data's",
        |c| {
            c.post(1, &[("content-length", "1")]);
            c.data(END_STREAM, 1, b"test");
        },
        MALFORMED,
    ),
    case(
        "http2/8.1.2.6 a length that is not the sum of the data's",
        |c| {
            c.post(1, &[("content-length", "1")]);
            c.data(0, 1, b"test");
            c.data(END_STREAM, 1, b"test");
        },
        MALFORMED,
    ),
    case(
        "http2/8.1.2.6 a length above the data's",
        |c| {
            c.post(1, &[("content-length", "9")]);
            c.data(END_STREAM, 1, b"test");
        },
        MALFORMED,
    ),
    case(
        "http2/8.2 a push from a client",
        |c| {
            let block = [&[0, 0, 0, 3][..], &common("GET", &[])].concat();
            c.frame(5, END_HEADERS, 1, &block);
        },
        Then::Connection(&[PROTOCOL]),
    ),
];

/// A `GET` with more fields.
fn and(c: &mut Conn, fields: &[(&str, &str)]) {
    c.headers(END_STREAM, 1, &common("GET", fields));
}

/// A request of these fields alone.
fn of(c: &mut Conn, fields: &[(&str, &str)]) {
    c.headers(END_STREAM, 1, &block(fields));
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const HOST: (&str, &str) = (":authority", "models.test");
const MALFORMED: Then = Then::Stream(&[PROTOCOL]);
