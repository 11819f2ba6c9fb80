//! What may be kept and who may be answered with it, as tables.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{AnswerFacts, Demand, Terms, Why, demand, terms};
use crate::cache::words::{Asked, entry, headers, policy, second, source};

fn judged(demand: &Demand, status: u16, lines: &[(&str, &str)]) -> Result<Terms, Why> {
    let (source, headers) = (source("v1", 1), headers(lines));
    let status = StatusCode::from_u16(status).unwrap();
    let facts =
        AnswerFacts { source: &source, status, headers: &headers, now: second(0) };
    terms(&policy(), demand, &facts)
}

fn kept(lines: &[(&str, &str)]) -> Result<Terms, Why> {
    judged(&Demand::default(), 200, lines)
}

#[test]
fn only_200_is_kept() {
    for status in [201, 203, 204, 206, 301, 304, 400, 404, 410, 429, 500, 502, 503, 504] {
        let why = judged(&Demand::default(), status, &[]);
        assert_eq!(why, Err(Why::Status(status)));
    }
    assert!(kept(&[]).is_ok());
}

#[test]
fn what_forbids_keeping() {
    for (lines, want) in [
        (vec![("cache-control", "no-store")], Why::Forbidden("no-store")),
        (vec![("cache-control", "max-age=60, No-Store")], Why::Forbidden("no-store")),
        (
            vec![("cache-control", "public"), ("cache-control", "private")],
            Why::Forbidden("private"),
        ),
        (vec![("cache-control", "private=\"x-user\"")], Why::Forbidden("private")),
        (vec![("cache-control", "no-cache")], Why::Forbidden("no-cache")),
        (vec![("cache-control", "no-cache=\"set-cookie\"")], Why::Forbidden("no-cache")),
        (vec![("cache-control", "x=\"no-store")], Why::Forbidden("an open quote")),
        (vec![("pragma", "no-cache")], Why::Forbidden("no-cache")),
        (vec![("cache-control", "max-age=0, must-revalidate")], Why::Stale),
        (vec![("cache-control", "proxy-revalidate")], Why::Stale),
        (vec![("cache-control", "s-maxage=0")], Why::Stale),
        (vec![("cache-control", "s-maxage=nonsense, stale-if-error=60")], Why::Stale),
        (vec![("cache-control", "stale-if-error=0")], Why::Stale),
        (vec![("cache-control", "max-age=0")], Why::Stale),
        (vec![("cache-control", "max-age=-1")], Why::Stale),
        (vec![("cache-control", "max-age=10"), ("age", "10")], Why::Stale),
        // An age that is no one number may be any age.
        (vec![("age", "nonsense")], Why::Stale),
        (vec![("cache-control", "max-age=3600"), ("age", "7200.0")], Why::Stale),
        (vec![("cache-control", "max-age=3600"), ("age", "-7200")], Why::Stale),
        (
            vec![("cache-control", "max-age=3600"), ("age", "0"), ("age", "7200")],
            Why::Stale,
        ),
        (vec![("cache-control", "max-age=3600"), ("age", "7200,0")], Why::Stale),
        (
            vec![("cache-control", "max-age=5, stale-if-error=60"), ("age", "x")],
            Why::Stale,
        ),
        (vec![("expires", "Tue, 24 Nov 2026 21:04:58 GMT")], Why::Stale),
        (vec![("expires", "0")], Why::Stale),
        (
            vec![("cache-control", "max-age=5, stale-if-error=5"), ("age", "10")],
            Why::Stale,
        ),
        (vec![("set-cookie", "a=1")], Why::Cookie),
        (vec![("content-range", "bytes 0-1/2")], Why::Piece),
        (vec![("trailer", "grpc-status")], Why::Trailers),
        (
            vec![("content-type", "Text/Event-Stream; charset=utf-8")],
            Why::Stream("text/event-stream"),
        ),
        (
            vec![("content-type", "application/grpc+proto")],
            Why::Stream("application/grpc"),
        ),
        (vec![("vary", "*")], Why::Varies("*".to_owned())),
        (vec![("vary", "Accept, *")], Why::Varies("*".to_owned())),
        (
            vec![("vary", "accept"), ("vary", "X-Request-Id")],
            Why::Varies("x-request-id".to_owned()),
        ),
        (vec![("content-length", "65537")], Why::TooLarge { limit: 65_536 }),
    ] {
        assert_eq!(kept(&lines), Err(want), "{lines:?}");
    }
}

#[test]
fn how_long_an_answer_may_be_served() {
    let date = ("date", "Tue, 24 Nov 2026 21:05:58 GMT");
    for (lines, fresh, limit) in [
        (vec![], 0, 3_600),
        (vec![("cache-control", "max-age=60")], 60, 3_600),
        (vec![("cache-control", "max-age=0, stale-if-error=60")], 0, 60),
        (vec![("cache-control", "max-age=99999")], 99_999, 3_600),
        (vec![("cache-control", "stale-if-error=30")], 0, 30),
        (vec![("cache-control", "max-age=60, stale-if-error=30")], 60, 90),
        (vec![("cache-control", "max-age=60, stale-if-error=30"), ("age", "50")], 60, 40),
        (vec![("cache-control", "stale-if-error=86400")], 0, 3_600),
        (vec![("cache-control", "max-age=60, must-revalidate")], 60, 60),
        (
            vec![("cache-control", "max-age=60, must-revalidate, stale-if-error=99")],
            60,
            60,
        ),
        (vec![("cache-control", "s-maxage=20, max-age=60")], 20, 20),
        (vec![date, ("expires", "Tue, 24 Nov 2026 21:06:58 GMT")], 60, 3_600),
        (vec![("expires", "Tue, 24 Nov 2026 21:06:58 GMT")], 0, 3_600),
        (
            vec![
                date,
                ("expires", "Tue, 24 Nov 2026 21:06:58 GMT"),
                ("cache-control", "must-revalidate"),
            ],
            60,
            60,
        ),
    ] {
        let terms = kept(&lines).unwrap_or_else(|why| panic!("{lines:?}: {why}"));
        assert_eq!(terms.fresh, Duration::from_secs(fresh), "{lines:?}");
        assert_eq!(terms.limit, Duration::from_secs(limit), "{lines:?}");
    }
}

#[test]
fn an_answer_is_as_old_as_its_date_and_its_age_say() {
    // It comes at 21:05:58.
    let date = |text| ("date", text);
    for (lines, age) in [
        (vec![], 0),
        (vec![("age", "9")], 9),
        (vec![date("Tue, 24 Nov 2026 21:05:58 GMT")], 0),
        (vec![date("Tue, 24 Nov 2026 21:05:38 GMT")], 20),
        (vec![date("Tue, 24 Nov 2026 21:05:38 GMT"), ("age", "9")], 20),
        (vec![date("Tue, 24 Nov 2026 21:05:38 GMT"), ("age", "30")], 30),
        (vec![date("Tue, 24 Nov 2026 21:09:00 GMT")], 0),
        (vec![date("yesterday"), ("age", "7")], 7),
    ] {
        let terms = kept(&lines).unwrap();
        assert_eq!(terms.age, Duration::from_secs(age), "{lines:?}");
    }
    // So it is less long that it may be served.
    let late = [
        date("Tue, 24 Nov 2026 21:05:28 GMT"),
        ("cache-control", "max-age=60, must-revalidate"),
    ];
    assert_eq!(kept(&late).unwrap().limit, Duration::from_secs(30));
}

#[test]
fn answers_that_depend_on_the_exact_headers_say_or_show_it() {
    for (lines, exact) in [
        (vec![], false),
        (vec![("vary", "")], false),
        (vec![("vary", "Authorization, Accept, Host")], false),
        (vec![("vary", "Accept-Encoding")], true),
        (vec![("vary", "accept,origin")], true),
        (vec![("content-encoding", "gzip")], true),
        (vec![("content-encoding", "identity")], false),
        (vec![("access-control-allow-origin", "*")], false),
        (vec![("access-control-allow-origin", "https://a.example")], true),
    ] {
        assert_eq!(kept(&lines).map(|terms| terms.exact), Ok(exact), "{lines:?}");
    }
}

#[test]
fn credentials_outside_the_key_need_a_public_answer() {
    let mut shared = policy();
    shared.vary = vec!["x-tenant".to_owned()];
    let public = [("cache-control", "public, max-age=60")];
    for (name, value) in [("authorization", "Bearer a"), ("cookie", "a=1")] {
        let asked = Asked::post("{}").with(name, value);
        let keyed = demand(&policy(), &asked.facts()).unwrap();
        assert!(judged(&keyed, 200, &[]).is_ok(), "{name}");
        let unkeyed = demand(&shared, &asked.facts()).unwrap();
        assert_eq!(judged(&unkeyed, 200, &[]), Err(Why::Credentials(name)));
        let revalidated = [("cache-control", "s-maxage=60")];
        assert_eq!(judged(&unkeyed, 200, &revalidated), Err(Why::Credentials(name)));
        assert!(judged(&unkeyed, 200, &public).is_ok(), "{name}");
        let mut held = entry(1, 1, 0);
        assert!(!unkeyed.accepts(&held, second(0)), "{name}");
        held.public = true;
        assert!(unkeyed.accepts(&held, second(0)), "{name}");
    }
}

#[test]
fn requests_that_have_nothing_to_do_with_the_cache() {
    let base = Asked::post("{}");
    for asked in [
        base.clone().change(|a| a.method = Method::HEAD),
        base.clone().change(|a| a.method = Method::PUT),
        base.clone().with("range", "bytes=0-1"),
        base.clone().with("if-range", "\"x\""),
        base.clone().with("if-match", "\"x\""),
        base.clone().with("if-unmodified-since", "Tue, 24 Nov 2026 21:00:00 GMT"),
        base.clone().with("upgrade", "websocket"),
        base.clone().with("x-shadow", "1"),
        base.clone().with("cache-control", "no-store"),
        base.clone().with("cache-control", "x=\"no-store"),
    ] {
        assert_eq!(demand(&policy(), &asked.facts()), None, "{asked:?}");
    }
    let mut head = policy();
    head.methods.push("HEAD".to_owned());
    let asked = base.clone().change(|a| a.method = Method::HEAD);
    assert_eq!(demand(&head, &asked.facts()), None);
    assert_eq!(demand(&policy(), &base.facts()), Some(Demand::default()));
}

#[test]
fn a_request_says_how_old_its_answer_may_be() {
    // Fresh for 60 s, and looked at when it is 30, 90 and 600 s old.
    for (lines, want) in [
        (vec![], [true, true, true]),
        (vec![("cache-control", "no-cache")], [false, false, false]),
        (vec![("pragma", "no-cache")], [false, false, false]),
        (
            vec![("pragma", "no-cache"), ("cache-control", "max-stale")],
            [true, true, true],
        ),
        (vec![("cache-control", "max-age=0")], [false, false, false]),
        (vec![("cache-control", "max-age=100")], [true, true, false]),
        (vec![("cache-control", "max-stale=60")], [true, true, false]),
        (vec![("cache-control", "stale-if-error=60")], [true, true, false]),
        (vec![("cache-control", "max-stale, stale-if-error=60")], [true, true, false]),
        (vec![("cache-control", "min-fresh=10")], [true, false, false]),
        (vec![("cache-control", "min-fresh=31")], [false, false, false]),
    ] {
        let mut asked = Asked::post("{}");
        for (name, value) in &lines {
            asked = asked.with(name, value);
        }
        let demand = demand(&policy(), &asked.facts()).unwrap();
        let mut held = entry(1, 1, 0);
        held.fresh = Duration::from_secs(60);
        let seen = [30, 90, 600].map(|at| demand.accepts(&held, second(at)));
        assert_eq!(seen, want, "{lines:?}");
    }
}
