//! What is taken here `httparse` takes as well, and makes the same of it; and what that takes
//! is refused here for a reason that is known.

use http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{Field, Lines};

/// Name and value of each field.
type Fields = Vec<(String, Vec<u8>)>;
/// Method, target, version and fields.
type Asked = (String, Vec<u8>, Vec<u8>, Fields);
/// Status, reason and fields.
type Answered = (u16, Vec<u8>, Fields);

fn ours(lines: &mut Lines<'_>, head: &[u8]) -> Option<Fields> {
    let mut all = Vec::new();
    while let Some(Field { name, value }) = lines.field().ok()? {
        HeaderValue::from_bytes(value).ok()?;
        all.push((name.to_string(), value.to_vec()));
    }
    (lines.begin == head.len()).then_some(all)
}

fn theirs(fields: &[httparse::Header<'_>]) -> Fields {
    let field = |field: &httparse::Header<'_>| {
        (field.name.to_ascii_lowercase(), field.value.to_vec())
    };
    fields.iter().map(field).collect()
}

/// Whether every line ends in CRLF, which `httparse` does not ask for.
fn ends_well(head: &[u8]) -> bool {
    let feeds = head.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    feeds.into_iter().all(|(at, _)| at > 0 && head[at - 1] == b'\r')
}

fn request(head: &[u8]) -> Option<Asked> {
    let mut lines = Lines::of(head, &[]);
    let line = lines.request_line()?;
    super::version(line.version)?;
    let (target, version) = (line.target.to_vec(), line.version.to_vec());
    Some((line.method.to_string(), target, version, ours(&mut lines, head)?))
}

fn their_request(head: &[u8]) -> Option<Asked> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let whole = request.parse(head).ok()?;
    (whole == httparse::Status::Complete(head.len())).then_some(())?;
    let version = format!("HTTP/1.{}", request.version?);
    let target = request.path?.as_bytes().to_vec();
    let method = request.method?.to_owned();
    Some((method, target, version.into_bytes(), theirs(request.headers)))
}

fn answer(head: &[u8]) -> Option<Answered> {
    let mut lines = Lines::of(head, &[]);
    let line = lines.status_line()?;
    Some((line.status.as_u16(), line.reason.to_vec(), ours(&mut lines, head)?))
}

fn their_answer(head: &[u8]) -> Option<Answered> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut fields);
    let whole = answer.parse(head).ok()?;
    (whole == httparse::Status::Complete(head.len())).then_some(())?;
    let reason = answer.reason?.as_bytes().to_vec();
    Some((answer.code?, reason, theirs(answer.headers)))
}

/// Heads as they are, and with single bytes exchanged, left out or put in.
fn heads(first: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let fields = &[
        "Host: h\r\n",
        "host:h\r\n",
        "Content-Length: 3\r\n",
        "accept: */*  \r\n",
        "X-Any:\t a b\t\r\n",
        "X-Empty:\r\n",
        "x_y: \"q\"\r\n",
        "Cookie: a=b; c=d\r\n",
        "x-obs: \u{e9}\r\n",
    ][..];
    let fields = prop::collection::vec(prop::sample::select(fields), 0..6);
    let bytes = &b" \t\r\n:\"\0\x7f\x80\xffA/_(,;@.0129"[..];
    let change = (any::<prop::sample::Index>(), 0..3, prop::sample::select(bytes));
    let changes = prop::collection::vec(change, 0..4);
    (prop::sample::select(first), fields, changes).prop_map(|(first, fields, changes)| {
        let mut head = format!("{first}{}\r\n", fields.concat()).into_bytes();
        for (at, how, byte) in changes {
            let at = at.index(head.len());
            match how {
                0 => head[at] = byte,
                1 => drop(head.remove(at)),
                _ => head.insert(at, byte),
            }
        }
        head
    })
}

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b=c HTTP/1.0\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "GET http://h/p HTTP/1.1\r\n",
    "X-METHOD /%20 HTTP/1.1\r\n",
];

const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 404 Not Found\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.1 299 \r\n",
    "HTTP/1.1 500 \u{e9}\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn requests_are_read_as_by_the_library(head in heads(REQUESTS)) {
        let (ours, theirs) = (request(&head), their_request(&head));
        let plain = |target: &[u8]| {
            target.iter().all(|byte| (0x21..0x7f).contains(byte)) && !target.is_empty()
        };
        match (ours, theirs) {
            // Which targets there are is looked at later.
            (Some(ours), None) => prop_assert!(!plain(&ours.1), "{}", head.escape_ascii()),
            (None, Some(theirs)) => prop_assert!(
                !ends_well(&head) || head.starts_with(b"\r\n"),
                "{} is {theirs:?}", head.escape_ascii()
            ),
            (ours, theirs) => prop_assert_eq!(ours, theirs, "{}", head.escape_ascii()),
        }
    }

    #[test]
    fn answers_are_read_as_by_the_library(head in heads(ANSWERS)) {
        let (ours, theirs) = (answer(&head), their_answer(&head));
        match (ours, theirs) {
            (None, Some(theirs)) => prop_assert!(
                !ends_well(&head) || head.starts_with(b"\r\n") || theirs.0 < 100,
                "{} is {theirs:?}", head.escape_ascii()
            ),
            (ours, theirs) => prop_assert_eq!(ours, theirs, "{}", head.escape_ascii()),
        }
    }

    #[test]
    fn any_name_is_the_librarys(text in prop::collection::vec(any::<u8>(), 0..12)) {
        let ours = super::name(&text);
        let token = |byte: &u8| {
            byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
        };
        prop_assert_eq!(ours.is_some(), !text.is_empty() && text.iter().all(token));
        prop_assert_eq!(ours, HeaderName::from_bytes(&text).ok().filter(|_| text.iter().all(token)));
    }
}

#[test]
fn the_usual_names_are_those_of_the_library() {
    for name in [
        "Host",
        "Date",
        "Accept",
        "Cookie",
        "Server",
        "User-Agent",
        "Connection",
        "Content-Type",
        "Authorization",
        "Content-Length",
        "Accept-Encoding",
        "Transfer-Encoding",
    ] {
        for text in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            assert_eq!(
                super::name(text.as_bytes()),
                HeaderName::from_bytes(text.as_bytes()).ok()
            );
        }
    }
}
