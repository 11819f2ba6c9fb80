//! Hostile versions: whatever one answers, its caller gets a whole answer, one that is
//! visibly cut, or a 502 that says why; and the next caller is not the one to pay. (row 25)

use std::time::Duration;

use crate::support::client::{Answer, Client, Request};
use crate::support::config::{BARE, Config};
use crate::support::http1::Broken;
use crate::support::model_server::{ModelServer, Then};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait;

/// What its caller must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Our own 502.
    BadGateway,
    /// A 200 whose body is cut, as far as it came.
    Cut,
    /// This body, whole.
    Whole(&'static str),
    /// A 502, or this body, whole.
    Either(&'static str),
}

use Seen::{BadGateway, Cut, Either, Whole};

/// An answer, whether its connection stays, what the caller sees and the class it counts as.
type Case = (&'static str, Then, Seen, &'static str);

const CASES: &[Case] = &[
    // Not HTTP at all.
    ("SSH-2.0-OpenSSH_9.6\r\n\r\n", Then::Close, BadGateway, "protocol_error"),
    ("\r\n\r\n\r\n", Then::Close, BadGateway, "protocol_error"),
    ("{\"model\":1}\n", Then::Close, BadGateway, ""),
    ("HTTP/1.1\r\n\r\n", Then::Close, BadGateway, "protocol_error"),
    (
        "HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 99 X\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 1000 X\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 2x0 X\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 -20 X\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    // Heads that are none.
    ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Then::Close, BadGateway, "protocol_error"),
    (
        "HTTP/1.1 200 OK\r\nX Y: z\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\nX: a\0b\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\nX: a\rb\r\ncontent-length: 0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    ("HTTP/1.1 200 OK\r\ncontent-", Then::Close, BadGateway, ""),
    // Lines that end in a line feed alone, and what comes before the first.
    (
        "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\nx: y\ncontent-length: 2\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\nx: y\r\n folded\r\ncontent-length: 2\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\n: y\r\ncontent-length: 2\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    // Lengths that are none, or two.
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        Then::Close,
        BadGateway,
        "protocol_error",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Then::Close,
        Either("ok"),
        "",
    ),
    // An upgrade nobody asked for.
    (
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nEVIL",
        Then::Keep,
        BadGateway,
        "protocol_error",
    ),
    // Bodies cut short, which must stay so.
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
        Then::Close,
        Cut,
        "truncated",
    ),
    ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this", Then::Reset, Cut, ""),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        Then::Close,
        Cut,
        "truncated",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\nonly this",
        Then::Close,
        Cut,
        "truncated",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n",
        Then::Close,
        Cut,
        "truncated",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\nxyz\r\n",
        Then::Close,
        Cut,
        "",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly thisXX0\r\n\r\n",
        Then::Close,
        Cut,
        "",
    ),
    // What is lawful, if unusual.
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Then::Close, Whole("ok"), "2xx"),
    ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Then::Close, Whole("ok"), "2xx"),
    ("HTTP/1.0 200 OK\r\n\r\nto the end", Then::Close, Whole("to the end"), "2xx"),
    (
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end",
        Then::Close,
        Whole("to the end"),
        "2xx",
    ),
    ("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", Then::Keep, Whole("ok"), "2xx"),
    ("HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", Then::Keep, Whole("ok"), "2xx"),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        Then::Keep,
        Whole("ok"),
        "2xx",
    ),
    (
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        Then::Keep,
        Whole("ok"),
        "2xx",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=\"b\"\r\nok\r\n0\r\n\r\n",
        Then::Keep,
        Whole("ok"),
        "2xx",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n000\r\n\r\n",
        Then::Keep,
        Whole("ok"),
        "2xx",
    ),
    // More than was asked for: the first answer counts, the rest is nobody's.
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL",
        Then::Keep,
        Either("ok"),
        "",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokEVIL EVIL",
        Then::Keep,
        Either("ok"),
        "",
    ),
    ("HTTP/1.1 204 No Content\r\n\r\nEVIL", Then::Keep, Either(""), ""),
    (
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nEVIL",
        Then::Keep,
        Either(""),
        "",
    ),
];

fn is_as(seen: Seen, answer: &Result<Answer, Broken>) -> bool {
    let Ok(answer) = answer else { return false };
    let gateway = answer.status == 502
        && answer.field("proxy-status").contains("error=")
        && answer.is_whole();
    let whole =
        |body: &str| answer.status < 400 && answer.is_whole() && answer.text() == body;
    match seen {
        BadGateway => gateway,
        Cut => answer.status == 200 && !answer.is_whole() && answer.text() == "only this",
        Whole(body) => whole(body),
        Either(body) => gateway || whole(body),
    }
}

#[test]
fn hostile_answers_reach_nobody_as_they_are() {
    let server = ModelServer::good("v1");
    let street =
        Street::open(&Config::plain(&server).route_with(BARE).route_with(NO_EJECTION));
    let mut wrong = Vec::new();
    for (text, then, seen, class) in CASES {
        let before = street.metrics();
        server.now(scripts::says(*text, *then));
        let mut client = Client::new(street.http);
        let answer = client.send(Request::post("/once", "{}").bytes()).answer();
        server.now(scripts::good("v1"));
        let mut fail =
            |what: String| wrong.push(format!("{text:?} {then:?}\n    {what}"));
        if !is_as(*seen, &answer) {
            fail(format!("is not {seen:?}: {answer:?}"));
        }
        // May be sent again: a server that closes just as it is asked is no leak.
        let next = street.ask(&Request::infer("{}"));
        if next.text() != "{\"model\":\"v1\"}" {
            fail(format!("the next caller got {} {}", next.status, next.text()));
        }
        let counted =
            street.metrics().requests("v1", class) > before.requests("v1", class);
        if !class.is_empty() && !counted {
            fail(format!(
                "is not counted as {class}: {:?}",
                street.metrics().classes("v1")
            ));
        }
    }
    let (count, all) = (wrong.len(), CASES.len());
    assert!(wrong.is_empty(), "{count} of {all}:\n{}\n", wrong.join("\n"));
    street.is_well();
}

#[test]
fn a_switch_to_anything_else_is_none() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server).route_with(BARE));
    for upgrade in ["upgrade: h2c\r\n", "upgrade: websocket, h2c\r\n", ""] {
        let text = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n{upgrade}\r\nEVIL"
        );
        server.now(scripts::says(text, Then::Keep));
        let asked = Request::get("/socket")
            .field("connection", "upgrade")
            .field("upgrade", "websocket");
        let answer = Client::new(street.http).send(asked.bytes()).answer().unwrap();
        assert_eq!(answer.status, 502, "{upgrade:?}");
    }
}

#[test]
fn an_http_1_0_caller_without_a_host_is_no_such_caller_to_the_version() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    let mut client = Client::new(street.http);
    assert_eq!(client.send("GET /old HTTP/1.0\r\n\r\n").answer().unwrap().status, 200);
    let host = server.asked("/old").head.field("host").unwrap();
    assert_eq!(format!("http://{host}"), server.url());
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn an_endless_head_is_a_502_in_bounded_memory() {
    let endless = |line: &'static str| -> crate::support::model_server::Script {
        std::sync::Arc::new(move |_, out| {
            out.body().unwrap_or_default();
            out.send("HTTP/1.1 200 OK\r\n");
            let piece = line.repeat(1_000);
            for _ in 0..2_000 {
                if !out.send(&piece) {
                    break;
                }
            }
            Then::Close
        })
    };
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server).route_with(BARE));
    street.ask(&Request::infer("{}"));
    let before = street.rss();
    for line in ["x-field: value value\r\n", "x-field-without-an-end"] {
        server.now(endless(line));
        let answer = street.ask(&Request::post("/once", "{}"));
        assert_eq!(answer.status, 502, "{line:?}");
    }
    let grown = street.rss().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{} KiB", grown / 1024);
}

#[test]
fn a_flood_of_informational_answers_ends() {
    let flood = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100_000);
    let server = ModelServer::new(scripts::says(flood, Then::Close));
    let street = Street::open(&Config::plain(&server).route_with(BARE));
    let answer = street.ask(&Request::post("/once", "{}"));
    assert_eq!(answer.status, 502);
    server.now(scripts::good("v1"));
    street.is_well();
}

#[test]
fn bytes_on_an_idle_connection_are_nobodys_answer() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL";
    for evil in [
        evil,
        "EVIL",
        "\r\n",
        "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
    ] {
        let server = ModelServer::new(std::sync::Arc::new(move |_, line| {
            line.body().unwrap_or_default();
            line.reply(200, "", "mine");
            wait::linger(Duration::from_millis(30));
            line.send(evil);
            Then::Keep
        }));
        let street = Street::open(&Config::plain(&server));
        for turn in 0..5 {
            let answer = street.ask(&Request::infer("{}"));
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "mine"),
                "{evil:?} {turn}"
            );
            wait::linger(Duration::from_millis(60));
        }
    }
}

#[test]
fn bad_trailers_do_no_harm() {
    let trailers = [
        "authorization: secret\r\ncontent-length: 4\r\nx-model-version: liar\r\nhost: a\r\n",
        "transfer-encoding: chunked\r\nset-cookie: a=1\r\n",
        "no colon\r\n",
        "x: a\0b\r\n",
    ];
    for trailer in trailers {
        let text = format!(
            "HTTP/1.1 200 OK\r\ntrailer: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{trailer}\r\n"
        );
        let server = ModelServer::new(scripts::says(text, Then::Keep));
        let street = Street::open(&Config::plain(&server));
        let request =
            Request::infer("{}").field("te", "trailers").field("connection", "te");
        let mut client = Client::new(street.http);
        let answer = client.send(request.bytes()).answer().unwrap();
        assert_eq!(
            (answer.text().as_str(), answer.head.all("x-model-version")),
            ("ok", vec!["v1"])
        );
        let fields = answer.end.map(|end| end.fields).unwrap_or_default();
        let named = |name: &str| fields.iter().any(|(field, _)| field == name);
        for name in [
            "authorization",
            "content-length",
            "x-model-version",
            "transfer-encoding",
            "host",
        ] {
            assert!(!named(name), "{name} in a trailer");
        }
    }
}

const NO_EJECTION: &str = "outlierDetection: { consecutiveFailures: 0 }";
