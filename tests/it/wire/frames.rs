//! Hostile HTTP/2: fields that would break out of HTTP/1.1, and floods. (rows 8, 9, 15-18)

use std::time::{Duration, Instant};

use crate::support::config::Config;
use crate::support::h2::{
    CONTINUATION, DATA, Deed, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::Street;

/// The fields of one request.
type Fields = Vec<(&'static str, &'static str)>;

fn street(limits: &str) -> (ModelServer, Street) {
    let server = ModelServer::new(scripts::echo());
    let street = Street::open(&Config::plain(&server).limits(limits));
    (server, street)
}

fn open(frames: &mut Frames, stream: u32, fields: &[(&str, &str)]) {
    frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields));
}

#[test]
fn frames_by_hand_are_answered() {
    let (_server, street) = street("{}");
    let mut frames = Frames::new(street.http);
    open(&mut frames, 1, &get("/by-hand", &[("x-a", "b")]));
    assert_eq!(frames.deed(1, LONG), Deed::Answers(200));
}

#[test]
fn fields_that_http_1_cannot_bear_are_refused() {
    let mut cases: Vec<Fields> =
        BAD_FIELDS.iter().map(|bad| get("/t", &[*bad])).collect();
    cases.extend(bad_pseudos());
    let (server, street) = street("{}");
    let mut wrong = Vec::new();
    for fields in cases {
        let (before, faults) = (server.requests(), server.faults().len());
        let mut frames = Frames::new(street.http);
        open(&mut frames, 1, &fields);
        let deed = frames.deed(1, LONG);
        let fine = match deed {
            Deed::Answers(status) => (400..500).contains(&status) || status == 501,
            Deed::Resets(_) | Deed::GoesAway(_) | Deed::Closes => true,
            Deed::Nothing => false,
        };
        if !fine || server.requests() > before || server.faults().len() > faults {
            wrong.push(format!("{fields:?}\n    {deed:?} {:?}", server.faults()));
        }
    }
    assert!(wrong.is_empty(), "{} do harm:\n{}\n", wrong.len(), wrong.join("\n"));
    street.is_well();
}

#[test]
fn te_trailers_and_a_doubled_host_of_the_same_name_are_lawful() {
    let (server, street) = street("{}");
    let mut frames = Frames::new(street.http);
    open(&mut frames, 1, &get("/t", &[("te", "trailers")]));
    assert_eq!(frames.deed(1, LONG), Deed::Answers(200));
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn a_fragment_goes_no_further() {
    let (server, street) = street("{}");
    let mut frames = Frames::new(street.http);
    open(&mut frames, 1, &get("/t#part", &[]));
    if frames.deed(1, LONG) == Deed::Answers(200) {
        server.asked("/t");
    }
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn a_body_that_is_not_its_length_is_refused() {
    let (server, street) = street("{}");
    for (length, body) in [("5", "abc"), ("2", "abc"), ("0", "abc")] {
        let mut frames = Frames::new(street.http);
        let mut fields = get("/v2/models/iris/infer", &[("content-length", length)]);
        fields[0] = (":method", "POST");
        frames.send(HEADERS, END_HEADERS, 1, &block(&fields));
        frames.send(DATA, END_STREAM, 1, body.as_bytes());
        let deed = frames.deed(1, LONG);
        let refused = !matches!(deed, Deed::Answers(200) | Deed::Nothing);
        assert!(refused, "{length} {body}: {deed:?}");
    }
    assert_eq!(server.faults(), Vec::<String>::new());
    street.is_well();
}

const BAD_FIELDS: &[(&str, &str)] = &[
    ("x-a", "b\r\nx-evil: 1"),
    ("x-a", "b\nx-evil: 1"),
    ("x-a", "b\rx"),
    ("x-a", "b\0c"),
    ("x-a\r\nx-evil", "1"),
    ("x-a: 1\r\nx-evil", "1"),
    ("x a", "1"),
    ("x:a", "1"),
    ("", "1"),
    ("X-Upper", "1"),
    ("x-\0", "1"),
    ("connection", "close"),
    ("connection", "x-a"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("upgrade", "websocket"),
    ("transfer-encoding", "chunked"),
    ("te", "gzip"),
    ("te", "trailers, deflate"),
    ("content-length", "10"),
    ("content-length", "-1"),
    ("content-length", "x"),
    (":path", "/again"),
    (":status", "200"),
    (":made-up", "1"),
    ("host", "evil.test"),
    ("host", ""),
    ("host", "models.test, evil.test"),
    ("x-a", "\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"),
    ("x-a", "b\r\n"),
    ("x-a", "\n"),
    ("x-a", "b\x7f"),
    ("x-a", "b\x01c"),
    ("x-a", "b\x0bc"),
    ("x-a", "b\x1b[31m"),
    ("cookie", "a=1\r\nx-evil: 1"),
    ("cookie", "a=1\0"),
    ("x\ta", "1"),
    ("x-a\n", "1"),
    ("x\u{e9}", "1"),
    ("x-a(", "1"),
    ("x-\"a\"", "1"),
    ("content-type\r\nx", "1"),
    ("Host", "models.test"),
    ("Transfer-Encoding", "chunked"),
    ("transfer_encoding", "chunked"),
    ("content_length", "0"),
    ("transfer-encoding", "identity"),
    ("transfer-encoding", ""),
    ("connection", ""),
    ("connection", "upgrade"),
    ("connection", "te"),
    ("keep-alive", ""),
    ("upgrade", "h2c"),
    ("upgrade", ""),
    ("http2-settings", "AAMAAABkAAQAAP__\r\nx: y"),
    ("te", "chunked"),
    ("te", "trailers;q=1"),
    ("te", " trailers"),
    ("content-length", "+0"),
    ("content-length", "0x0"),
    ("content-length", "0, 0"),
    ("content-length", "1_0"),
    ("content-length", "18446744073709551616"),
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "models.test"),
    (":authority", "evil.test"),
    (":protocol", "websocket"),
    (":", "1"),
    (":Path", "/again"),
];

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn bad_pseudos() -> Vec<Fields> {
    let pseudo = |method, scheme, authority, path| {
        vec![
            (":method", method),
            (":scheme", scheme),
            (":authority", authority),
            (":path", path),
        ]
    };
    vec![
        pseudo(
            "GET",
            "http",
            "models.test",
            "/t HTTP/1.1\r\nx-evil: 1\r\n\r\nGET /smuggled",
        ),
        pseudo("GET", "http", "models.test", "/t\r\nx: y"),
        pseudo("GET", "http", "models.test", "/a b"),
        pseudo("GET", "http", "models.test", ""),
        pseudo("GET", "http", "models.test", "t"),
        pseudo("GET", "http", "models.test", "http://evil.test/"),
        pseudo("GET /smuggled HTTP/1.1\r\nx:", "http", "models.test", "/t"),
        pseudo("G T", "http", "models.test", "/t"),
        pseudo("", "http", "models.test", "/t"),
        pseudo("GET", "http", "models.test\r\nx-evil: 1", "/t"),
        pseudo("GET", "http", "a@models.test", "/t"),
        pseudo("GET", "http", "models.test/evil", "/t"),
        pseudo("GET", "http", "a b", "/t"),
        pseudo("GET", "http", "", "/t"),
        pseudo("GET", "http", "models.test\0", "/t"),
        pseudo("GET", "http", "models.test#x", "/t"),
        pseudo("GET", "http", "models.test?x", "/t"),
        pseudo("GET", "http", "models.test\\evil", "/t"),
        pseudo("GET", "http", "a:b@models.test", "/t"),
        pseudo("GET", "http", "models.test:99999", "/t"),
        pseudo("GET", "http", "models.test:80:80", "/t"),
        pseudo("GET", "http", "models.test, evil.test", "/t"),
        pseudo("GET", "http", "[::1", "/t"),
        pseudo("GET", "http", "\tmodels.test", "/t"),
        pseudo("GET", "http\r\nx: y", "models.test", "/t"),
        pseudo("GET", "http\0", "models.test", "/t"),
        pseudo("GET", "", "models.test", "/t"),
        pseudo("GET", "file", "models.test", "/t"),
        pseudo("GET", "http ", "models.test", "/t"),
        pseudo("GET", "http://models.test/", "models.test", "/t"),
        pseudo("GET\0", "http", "models.test", "/t"),
        pseudo("GET\n", "http", "models.test", "/t"),
        pseudo("GET\r\nx-evil: 1", "http", "models.test", "/t"),
        pseudo("get/", "http", "models.test", "/t"),
        pseudo("(GET)", "http", "models.test", "/t"),
        pseudo("PRI", "http", "models.test", "*"),
        pseudo("TRACE", "http", "models.test", "/t"),
        pseudo("GET", "http", "models.test", "*"),
        pseudo("GET", "http", "models.test", "//evil.test\r\n/t"),
        pseudo("GET", "http", "models.test", "/t\0"),
        pseudo("GET", "http", "models.test", "/t\tx"),
        pseudo("GET", "http", "models.test", "/t\n"),
        pseudo("GET", "http", "models.test", "/t\x7f"),
        pseudo("GET", "http", "models.test", "?a=b"),
        pseudo("GET", "http", "models.test", " /t"),
        pseudo("GET", "http", "models.test", "/t\u{e9}"),
        pseudo("GET", "http://evil.test/?", "models.test", "/t"),
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/t")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "models.test")],
        vec![(":method", "GET"), (":authority", "models.test"), (":path", "/t")],
        vec![(":scheme", "http"), (":authority", "models.test"), (":path", "/t")],
        vec![(":method", "CONNECT"), (":authority", "127.0.0.1:22")],
        [
            vec![(":method", "CONNECT"), (":protocol", "websocket")],
            pseudo("GET", "http", "m", "/t"),
        ]
        .concat(),
        [vec![("x-early", "1")], pseudo("GET", "http", "models.test", "/t")].concat(),
        [pseudo("GET", "http", "models.test", "/t"), vec![(":method", "POST")]].concat(),
    ]
}

/// Sends until the proxy gives the connection up, and says how much it took.
fn flood(
    street: &Street,
    most: u32,
    mut next: impl FnMut(u32) -> Vec<u8>,
) -> (u32, Deed) {
    let mut frames = Frames::new(street.http);
    for number in 0..most {
        if !frames.send_raw(&next(number)) {
            return (number, Deed::Closes);
        }
        if number % 500 == 499 {
            match frames.deed(0, Duration::from_millis(1)) {
                Deed::Nothing => {}
                deed @ (Deed::Answers(_)
                | Deed::Resets(_)
                | Deed::GoesAway(_)
                | Deed::Closes) => return (number, deed),
            }
        }
    }
    (most, frames.deed(0, Duration::from_secs(2)))
}

fn is_stopped(what: &str, limit: u32, next: impl FnMut(u32) -> Vec<u8>) {
    let (server, street) = street("{}");
    street.is_well();
    let before = street.rss();
    let (taken, deed) = flood(&street, 20_000, next);
    let ended = matches!(deed, Deed::GoesAway(_) | Deed::Closes);
    assert!(ended, "{what}: {deed:?} after {taken}");
    assert!(
        server.requests() <= u64::from(limit),
        "{what}: {} requests",
        server.requests()
    );
    let grown = street.rss().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{what}: {} KiB", grown / 1024);
    let begun = Instant::now();
    street.is_well();
    assert!(begun.elapsed() < Duration::from_secs(2), "{what}: {:?}", begun.elapsed());
}

#[test]
fn rapid_resets_end_the_connection() {
    is_stopped("rapid reset", 3_000, |number| {
        let stream = number * 2 + 1;
        let mut bytes =
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get("/rapid", &[])));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    });
}

#[test]
fn resets_that_the_proxy_is_made_to_send_end_the_connection() {
    is_stopped("made you reset", 3_000, |number| {
        let stream = number * 2 + 1;
        let mut bytes =
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get("/made", &[])));
        bytes.extend(frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()));
        bytes
    });
}

#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let fields = block(&get("/long", &[]));
    is_stopped("continuation", 1, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, &fields),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x-more", &"y".repeat(1_000))])),
    });
    is_stopped("empty continuation", 1, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, &fields),
        _ => frame(CONTINUATION, 0, 1, &[]),
    });
}

#[test]
fn floods_of_small_frames_are_survived() {
    let (server, street) = street("{}");
    street.is_well();
    let before = street.rss();
    let floods: [(&str, Vec<u8>); 4] = [
        ("ping", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("window", frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ("unknown", frame(0xbe, 0, 0, &[0; 16])),
    ];
    for (what, bytes) in floods {
        let mut frames = Frames::new(street.http);
        let many = bytes.repeat(100);
        for _ in 0..200 {
            // Answers are read so that the flood is not stopped by its own back-pressure.
            if !frames.send_raw(&many)
                || frames.deed(0, Duration::from_millis(1)) != Deed::Nothing
            {
                break;
            }
        }
        let begun = Instant::now();
        street.is_well();
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{what}: {:?}",
            begun.elapsed()
        );
    }
    let grown = street.rss().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{} KiB", grown / 1024);
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn the_limits_of_a_connection_are_told_and_kept() {
    let (_server, street) = street("{ concurrentStreams: 10, headerSize: 16KiB }");
    let mut frames = Frames::new(street.http);
    let settings = frames.settings();
    assert!(settings.contains(&(3, 10)), "{settings:?}");
    let large = "y".repeat(40_000);
    let bytes = block(&get("/large", &[("x-large", &large)]));
    frames.send(HEADERS, END_STREAM, 1, &bytes[..16_000]);
    frames.send(CONTINUATION, 0, 1, &bytes[16_000..32_000]);
    frames.send(CONTINUATION, END_HEADERS, 1, &bytes[32_000..]);
    let deed = frames.deed(1, LONG);
    let refused = !matches!(deed, Deed::Answers(200) | Deed::Nothing);
    assert!(refused, "{deed:?}");
    street.is_well();
}

#[test]
fn a_preface_that_is_none_is_closed() {
    let (_server, street) = street("{ headerTimeout: 1s }");
    for bytes in ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n"] {
        let mut client = crate::support::client::Client::new(street.http);
        client.send(bytes);
        assert!(client.is_closed(Duration::from_secs(10)), "{bytes:?}");
    }
    street.is_well();
}

const LONG: Duration = Duration::from_secs(10);
