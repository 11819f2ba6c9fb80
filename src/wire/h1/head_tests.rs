//! Tables of heads: what is taken, what is refused, and that nothing panics.

use bytes::BytesMut;
use http::Method;
use proptest::prelude::*;

use super::{HeadError, HeadLimits, parse_answer, parse_request, write_request};
use crate::wire::body::BodyLength;

const LIMITS: HeadLimits = HeadLimits { size: 2_048, count: 20 };

fn request(text: &str) -> Result<Option<super::RequestHead>, HeadError> {
    parse_request(&mut BytesMut::from(text), LIMITS, &mut 0)
}

fn answer(text: &str, method: &Method) -> Result<Option<super::AnswerHead>, HeadError> {
    parse_answer(&mut BytesMut::from(text), method, LIMITS)
}

#[test]
fn a_plain_request() {
    let mut buffer = BytesMut::from(
        "\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    );
    let head = parse_request(&mut buffer, LIMITS, &mut 0).unwrap().unwrap();
    assert_eq!((head.method, head.uri.to_string()), (Method::POST, "/a?b".into()));
    assert_eq!((head.length, head.keep_alive), (BodyLength::Exact(3), true));
    assert_eq!(head.headers.len(), 1, "the length is no longer a header");
    assert_eq!(&buffer[..], b"abc");
}

#[test]
fn more_bytes_are_asked_for_until_the_head_is_whole() {
    let text = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for end in 0..text.len() {
        assert!(matches!(request(&text[..end]), Ok(None)), "{end}");
    }
    assert!(request(text).unwrap().is_some());
}

#[test]
fn ambiguous_lengths_are_refused() {
    for fields in [
        "Content-Length: +3",
        "Content-Length: -1",
        "Content-Length: 0x3",
        "Content-Length: 1_0",
        "Content-Length: 3, 3",
        "Content-Length: 3, 30",
        "Content-Length:",
        "Content-Length: 3 3",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999",
        "Content-Length: 47\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: x",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding:",
    ] {
        let got = request(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n"));
        assert!(matches!(got, Err(HeadError::Framing)), "{fields}: {got:?}");
    }
    let old = request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(matches!(old, Err(HeadError::Framing)));
    let chunked =
        request("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n");
    assert_eq!(chunked.unwrap().unwrap().length, BodyLength::Unknown);
}

#[test]
fn what_is_not_http_is_refused() {
    for text in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
        "GET / HTTP/1.1\r\nA\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\n\r\n",
        "GET /a#b HTTP/1.1\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding\x0b: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
    ] {
        let got = request(text);
        assert!(got.is_err(), "{text:?}: {got:?}");
    }
}

#[test]
fn another_version_is_told_from_none() {
    for version in ["HTTP/2.0", "HTTP/2", "HTTP/0.9", "HTTP/1.2", "HTTP/3"] {
        let got = request(&format!("GET / {version}\r\nHost: h\r\n\r\n"));
        assert!(matches!(got, Err(HeadError::Version)), "{version}: {got:?}");
    }
    for line in [
        "/  HTTP/1.1",
        "/ HTTP/",
        "/ HTTP/01.1",
        "/ HTTP/1.1 ",
        "/ HTTP/1.1x",
        "/ x HTTP/9.9",
    ] {
        let got = request(&format!("GET {line}\r\nHost: h\r\n\r\n"));
        assert!(matches!(got, Err(HeadError::Malformed)), "{line}: {got:?}");
    }
}

#[test]
fn what_cannot_become_a_request_is_not_waited_for() {
    for text in
        ["GET /\r\n", "\u{16}\u{3}\u{1}", "\u{0}", " GET", "hello\r\nx", "\nGET / H"]
    {
        let got = request(text);
        assert!(matches!(got, Err(HeadError::Malformed)), "{text:?}: {got:?}");
    }
    for text in ["\r", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nA: b\r\n"] {
        assert!(matches!(request(text), Ok(None)), "{text:?}");
    }
}

#[test]
fn answers_with_bare_line_ends_or_before_their_beginning_are_refused() {
    for text in [
        "HTTP/1.1 200 OK\ncontent-length: 2\n\n",
        "HTTP/1.1 200 OK\r\nx: 1\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
        "\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\n",
    ] {
        let got = answer(text, &Method::GET);
        assert!(got.is_err(), "{text:?}: {got:?}");
    }
}

#[test]
fn heads_are_bounded() {
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(3_000));
    assert!(matches!(request(&long), Err(HeadError::TargetTooLong)));
    let big = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(3_000));
    assert!(matches!(request(&big), Err(HeadError::TooLarge)));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(21));
    assert!(matches!(request(&many), Err(HeadError::TooLarge)));
}

#[test]
fn the_wish_for_another_request_is_understood() {
    for (text, keep) in [
        ("HTTP/1.1\r\n", true),
        ("HTTP/1.1\r\nConnection: a, Close\r\n", false),
        ("HTTP/1.0\r\n", false),
        ("HTTP/1.0\r\nConnection: Keep-Alive\r\n", true),
    ] {
        let head = request(&format!("GET / {text}\r\n")).unwrap().unwrap();
        assert_eq!(head.keep_alive, keep, "{text}");
    }
}

#[test]
fn where_an_answer_ends() {
    use BodyLength::{Exact, None as Nothing, Unknown};
    for (text, method, length, chunked, keep) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Method::GET, Exact(5), false, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Method::HEAD, Nothing, false, true),
        ("HTTP/1.1 204 No Content\r\n", Method::GET, Nothing, false, true),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n",
            Method::GET,
            Nothing,
            false,
            true,
        ),
        (
            "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n",
            Method::GET,
            Unknown,
            true,
            true,
        ),
        ("HTTP/1.1 200 OK\r\n", Method::GET, Unknown, false, false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", Method::GET, Nothing, false, false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
            Method::GET,
            Exact(5),
            false,
            true,
        ),
    ] {
        let head = answer(&format!("{text}\r\n"), &method).unwrap().unwrap();
        assert_eq!(
            (head.length, head.chunked, head.keep_alive),
            (length, chunked, keep),
            "{text}"
        );
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 99 Low\r\n",
    ] {
        assert!(answer(&format!("{text}\r\n"), &Method::GET).is_err(), "{text}");
    }
    let odd = answer("HTTP/1.1 200 Fine\r\n\r\n", &Method::HEAD).unwrap().unwrap();
    assert_eq!(odd.reason.unwrap().0, "Fine");
    let empty = answer("HTTP/1.1 200 \r\n\r\n", &Method::HEAD).unwrap().unwrap();
    assert_eq!(empty.reason.unwrap().0, "");
}

#[test]
fn a_written_head_reads_back() {
    let mut buffer = BytesMut::new();
    let head =
        request("GET /x HTTP/1.1\r\nHost: h\r\nA: 1\r\nA: 2\r\n\r\n").unwrap().unwrap();
    write_request(
        &mut buffer,
        &Method::PUT,
        "/y?z",
        &head.headers,
        BodyLength::Exact(1_234_567),
    );
    let again = parse_request(&mut buffer, LIMITS, &mut 0).unwrap().unwrap();
    assert_eq!((again.method, again.uri.to_string()), (Method::PUT, "/y?z".into()));
    assert_eq!(
        (again.headers, again.length),
        (head.headers, BodyLength::Exact(1_234_567))
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _request = parse_request(&mut BytesMut::from(&bytes[..]), LIMITS, &mut 0);
        let _answer = parse_answer(&mut BytesMut::from(&bytes[..]), &Method::GET, LIMITS);
    }

    #[test]
    fn no_field_makes_it_panic(field in "[ -~\t\r\n]{0,60}") {
        let _request = request(&format!("GET / HTTP/1.1\r\n{field}\r\n\r\n"));
    }
}
