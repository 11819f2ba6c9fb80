//! Versions that speak HTTP/2 badly: what they say is judged, bounded, and never sent on as
//! if it were well; what they have not begun is asked again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{Answer, Request};
use crate::support::config::{BARE, Config, Route};
use crate::support::h2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM,
    SETTINGS, block, frame,
};
use crate::support::street::Street;

/// What a server does with the request on that stream, the how many-th it is.
type Script = fn(&mut Line, u32, u64) -> bool;

/// A connection of such a server.
struct Line(TcpStream);

impl Line {
    fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.0.write_all(&frame(kind, flags, stream, payload)).is_ok()
    }

    fn head(&mut self, flags: u8, stream: u32, fields: &[(&str, &str)]) -> bool {
        self.say(HEADERS, flags | END_HEADERS, stream, &block(fields))
    }

    fn well(&mut self, stream: u32) -> bool {
        self.head(0, stream, &[(":status", "200")])
            && self.say(DATA, END_STREAM, stream, b"well")
    }

    fn frame(&mut self) -> Option<(u8, u8, u32)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some((head[3], head[4], stream))
    }
}

/// A server that follows the script; where it is, and how many requests came.
fn server(script: Script) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicU64::new(0));
    let count = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let count = count.clone();
            std::thread::spawn(move || serve(Line(stream), script, &count));
        }
    });
    (url, requests)
}

fn serve(mut line: Line, script: Script, count: &AtomicU64) -> Option<()> {
    line.0.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    line.0.read_exact(&mut [0; 24]).ok()?;
    line.say(SETTINGS, 0, 0, &[]);
    loop {
        match line.frame()? {
            (SETTINGS, flags, _) if flags & ACK == 0 => {
                line.say(SETTINGS, ACK, 0, &[]);
            }
            (HEADERS, _, stream) => {
                let nth = count.fetch_add(1, Ordering::SeqCst);
                if !script(&mut line, stream, nth) {
                    return None;
                }
            }
            _ => {}
        }
    }
}

fn street(url: &str, more: &str) -> Street {
    let members = "role: stable, protocol: http2";
    let urls = [url.to_owned()];
    let route = Route::new("iris").version("v1", members, &urls);
    Street::open(&Config::new([route]).route_with(more))
}

/// One request to such a server, with nothing tried again, and the classes it left.
fn once(script: Script, more: &str) -> (Answer, Vec<(String, u64)>, Street) {
    let (url, _) = server(script);
    let street = street(&url, &format!("{BARE}\n    {more}"));
    let answer = street.ask(&Request::get("/once"));
    let classes = crate::support::wait::eventually("it is counted", SOON, || {
        let classes = street.metrics().classes("v1");
        let all: Vec<(String, u64)> =
            classes.into_iter().filter(|(_, n)| *n > 0).collect();
        (!all.is_empty()).then_some(all)
    });
    (answer, classes, street)
}

const SOON: Duration = crate::support::wait::SOON;

/// What a server may do wrong, what the caller may see, and the class in the books.
const WRONG: &[(&str, Script, &[u16], &str)] = &[
    (
        "more data than the length",
        |line, stream, _| {
            line.head(0, stream, &[(":status", "200"), ("content-length", "3")])
                && line.say(DATA, END_STREAM, stream, b"four")
        },
        &[502, 200],
        "protocol_error",
    ),
    (
        "less data than the length",
        |line, stream, _| {
            line.head(0, stream, &[(":status", "200"), ("content-length", "30")])
                && line.say(DATA, END_STREAM, stream, b"four")
        },
        &[502, 200],
        "protocol_error",
    ),
    (
        "no status",
        |line, stream, _| line.head(END_STREAM, stream, &[("x", "y")]),
        &[502],
        "protocol_error",
    ),
    (
        "a field of the connection",
        |line, stream, _| {
            let fields = [(":status", "200"), ("transfer-encoding", "chunked")];
            line.head(END_STREAM, stream, &fields)
        },
        &[502],
        "protocol_error",
    ),
    (
        "upper case",
        |line, stream, _| {
            line.head(END_STREAM, stream, &[(":status", "200"), ("X-A", "b")])
        },
        &[502],
        "protocol_error",
    ),
    (
        "a push",
        |line, stream, _| {
            let promise = [&[0, 0, 0, 2][..], &block(&[(":method", "GET")])].concat();
            line.say(5, END_HEADERS, stream, &promise)
        },
        &[502],
        "protocol_error",
    ),
    (
        "data before the head",
        |line, stream, _| line.say(DATA, END_STREAM, stream, b"early"),
        &[502],
        "protocol_error",
    ),
    (
        "a reset instead of an answer",
        |line, stream, _| line.say(RST_STREAM, 0, stream, &2_u32.to_be_bytes()),
        &[502],
        "upstream_reset",
    ),
    (
        "a reset within the answer",
        |line, stream, _| {
            line.head(0, stream, &[(":status", "200")])
                && line.say(DATA, 0, stream, b"four")
                && line.say(RST_STREAM, 0, stream, &2_u32.to_be_bytes())
        },
        &[200],
        "upstream_reset",
    ),
    (
        "the end of the connection within the answer",
        |line, stream, _| {
            line.head(0, stream, &[(":status", "200")]);
            line.say(DATA, 0, stream, b"four");
            false
        },
        // The end may overtake the head.
        &[200, 502],
        "upstream_reset",
    ),
];

#[test]
fn answers_that_are_not_http_2_are_the_versions_fault() {
    let mut wrong = Vec::new();
    for (name, script, statuses, class) in WRONG {
        let (answer, classes, street) = once(*script, "timeouts: { firstByte: 5s }");
        let whole = answer.status == 200 && answer.is_whole();
        let counted = classes.iter().any(|(name, _)| name == class);
        if whole || !statuses.contains(&answer.status) || !counted {
            wrong.push(format!("{name}: {} {classes:?}", answer.status));
        }
        assert!(!street.log().contains("panicked"), "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a server may send without end instead of an answer.
const FLOODS: &[(&str, Script)] = &[
    ("ping", |line, _, _| pour(line, |_| frame(PING, 0, 0, &[0; 8]))),
    ("settings", |line, _, _| pour(line, |_| frame(SETTINGS, 0, 0, &[]))),
    ("unknown kinds", |line, _, _| pour(line, |_| frame(0xbe, 0, 0, &[]))),
    ("interim answers", |line, stream, _| {
        let wait = frame(HEADERS, END_HEADERS, stream, &block(&[(":status", "103")]));
        pour(line, move |_| wait.clone())
    }),
    ("continuation", |line, stream, _| {
        line.say(HEADERS, 0, stream, &block(&[(":status", "200")]));
        let more = frame(CONTINUATION, 0, stream, &block(&[("x", &"y".repeat(1_000))]));
        pour(line, move |_| more.clone())
    }),
    ("empty continuation", |line, stream, _| {
        line.say(HEADERS, 0, stream, &block(&[(":status", "200")]));
        pour(line, move |_| frame(CONTINUATION, 0, stream, &[]))
    }),
    ("empty data", |line, stream, _| {
        line.head(0, stream, &[(":status", "200")]);
        pour(line, move |_| frame(DATA, 0, stream, &[]))
    }),
];

/// Sends until the proxy gives the connection up, or five seconds.
fn pour(line: &mut Line, next: impl Fn(u32) -> Vec<u8>) -> bool {
    let begun = Instant::now();
    line.0.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    for turn in 0..200_000 {
        if line.0.write_all(&next(turn)).is_err() {
            return false;
        }
        if begun.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    // What the scripts leave open is a failure of the test's own: the caller would wait.
    std::thread::park_timeout(Duration::from_secs(20));
    false
}

#[test]
fn floods_of_a_version_end_its_connection_and_count_against_it() {
    for (name, script) in FLOODS {
        let begun = Instant::now();
        let (answer, classes, street) = once(*script, "timeouts: { firstByte: 60s }");
        let failed = answer.status == 502 || !answer.is_whole();
        assert!(failed, "{name}: {} {classes:?}", answer.status);
        let kinds = ["protocol_error", "upstream_reset"];
        let counted = classes.iter().all(|(class, _)| kinds.contains(&class.as_str()));
        assert!(counted, "{name}: {classes:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{name}: {:?}",
            begun.elapsed()
        );
        assert!(street.rss() < 200 << 20, "{name}: {} KiB", street.rss() >> 10);
    }
}

#[test]
fn requests_that_a_version_has_not_begun_are_asked_again() {
    let gone: Script = |line, stream, nth| {
        if nth == 1 {
            // The first is done, and this one was not looked at.
            line.say(GOAWAY, 0, 0, &[&1_u32.to_be_bytes()[..], &[0; 4]].concat());
            return stream == 0;
        }
        line.well(stream)
    };
    let refused: Script = |line, stream, nth| {
        if nth == 1 {
            return line.say(RST_STREAM, 0, stream, &7_u32.to_be_bytes());
        }
        line.well(stream)
    };
    for (name, script) in [("goaway", gone), ("refused", refused)] {
        let (url, requests) = server(script);
        let street = street(&url, "repeatable: false");
        for turn in 0..3 {
            let answer = street.ask(&Request::post("/orders", "one"));
            assert_eq!(answer.status, 200, "{name}, request {turn}: {}", answer.text());
        }
        assert_eq!(requests.load(Ordering::SeqCst), 4, "{name}: one was asked twice");
    }
}

#[test]
fn a_request_that_a_version_has_begun_is_not_asked_twice() {
    let (url, requests) = server(|line, stream, nth| {
        if nth == 1 {
            line.say(RST_STREAM, 0, stream, &2_u32.to_be_bytes());
            return true;
        }
        line.well(stream)
    });
    let street = street(&url, "repeatable: false");
    assert_eq!(street.ask(&Request::post("/orders", "one")).status, 200);
    assert_eq!(street.ask(&Request::post("/orders", "two")).status, 502);
    assert_eq!(street.ask(&Request::post("/orders", "three")).status, 200);
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[test]
fn a_version_that_leaves_in_peace_finishes_what_it_has_begun() {
    let (url, _) = server(|line, stream, _| {
        line.say(GOAWAY, 0, 0, &[&stream.to_be_bytes()[..], &[0; 4]].concat());
        line.well(stream);
        while line.frame().is_some() {}
        false
    });
    let street = street(&url, "repeatable: false");
    for _ in 0..20 {
        let answer = street.ask(&Request::post("/orders", "one"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "well"));
    }
}
