//! What a caller gets of a kept answer.

use std::time::Duration;

use bytes::Bytes;

use super::{Detail, Served, banner_header, serve, with_member};
use crate::cache::words::{entry, headers, second};
use crate::vocab::policy::Banner;

fn banner(field: Option<&str>) -> Banner {
    Banner {
        header: "x-service-degraded".to_owned(),
        json_field: field.map(str::to_owned),
        message: "old \"news\"".to_owned(),
    }
}

fn served(lines: &[(&str, &str)], body: &str, field: Option<&str>) -> Served {
    let mut held = entry(1, 0, 0);
    held.headers = headers(lines);
    held.body = Bytes::copy_from_slice(body.as_bytes());
    serve(&held, &banner(field), Detail::UpstreamFailed, second(9))
}

#[test]
fn it_says_how_old_it_is_and_where_it_comes_from() {
    for (fresh, age, now, want_age, want_ttl) in
        [(0, 0, 0, "0", "0"), (0, 0, 120, "120", "-120"), (60, 5, 20, "25", "35")]
    {
        let mut held = entry(1, 3, 0);
        held.headers = headers(&[("cache-status", "origin; hit")]);
        (held.fresh, held.age) = (Duration::from_secs(fresh), Duration::from_secs(age));
        let out = serve(&held, &banner(None), Detail::ReadOnly, second(now));
        assert_eq!(out.headers["age"], want_age);
        let status: Vec<_> = out.headers.values("cache-status").collect();
        assert_eq!(status[0], "origin; hit");
        assert_eq!(
            status[1],
            &format!("switchback; hit; ttl={want_ttl}; detail=read-only")
        );
        assert_eq!(out.headers["content-length"], "3");
        assert_eq!(out.headers["x-service-degraded"], "old \"news\"");
        assert_eq!((out.status.as_u16(), out.body.as_ref()), (200, b"xxx".as_ref()));
    }
}

#[test]
fn the_banner_goes_into_json_objects_only() {
    let json = ("content-type", "application/json");
    let field = Some("warning");
    for (lines, body, want) in [
        (
            vec![json],
            "{\"a\":1.10}",
            Some("{\"warning\":\"old \\\"news\\\"\",\"a\":1.10}"),
        ),
        (vec![json], " { } ", Some(" {\"warning\":\"old \\\"news\\\"\" } ")),
        (
            vec![("content-type", "Application/Problem+JSON; a=b")],
            "{}",
            Some("{\"warning\":\"old \\\"news\\\"\"}"),
        ),
        (
            vec![json, ("content-encoding", "identity")],
            "{}",
            Some("{\"warning\":\"old \\\"news\\\"\"}"),
        ),
        (vec![json, ("content-encoding", "gzip")], "{}", None),
        (vec![json, json], "{}", None),
        (vec![json], "[{}]", None),
        (vec![json], "\"{\"", None),
        (vec![json], "", None),
        (vec![json], "{\"a\":1", None),
        (vec![json], "{\"a\":1}}", None),
        (vec![json], "{\"a\":01}", None),
        (vec![json], "{\"warning\":null}", None),
        (vec![json], "{\"w\\u0061rning\":null}", None),
        (
            vec![json],
            "{\"deep\":{\"warning\":1}}",
            Some("{\"warning\":\"old \\\"news\\\"\",\"deep\":{\"warning\":1}}"),
        ),
        (vec![("content-type", "text/plain")], "{}", None),
        (vec![("content-type", "application/jsonlines")], "{}", None),
        (vec![], "{}", None),
    ] {
        let out = served(&lines, body, field);
        let want = want.unwrap_or(body);
        assert_eq!(std::str::from_utf8(&out.body).unwrap(), want, "{lines:?}");
        assert_eq!(out.headers["content-length"], want.len().to_string());
        assert_eq!(served(&lines, body, None).body, body, "no field asked for");
    }
}

#[test]
fn headers_that_vouch_for_the_bytes_go_when_the_bytes_change() {
    let lines = [
        ("content-type", "application/json"),
        ("etag", "\"abc\""),
        ("content-md5", "x"),
        ("digest", "x"),
        ("content-digest", "x"),
        ("repr-digest", "x"),
        ("last-modified", "Tue, 24 Nov 2026 21:00:00 GMT"),
    ];
    let changed = served(&lines, "{}", Some("warning")).headers;
    for name in ["etag", "content-md5", "digest", "content-digest", "repr-digest"] {
        assert!(!changed.has(name), "{name}");
    }
    assert!(changed.has("last-modified"));
    let same = served(&lines, "[]", Some("warning")).headers;
    assert!(lines.iter().all(|(name, value)| same[*name] == *value));
}

#[test]
fn odd_bodies_are_survived() {
    assert_eq!(with_member(b"{\"a\":\"\xff\"}", "warning", "x"), None, "no text");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
    let marked = with_member(deep.as_bytes(), "warning", "x").unwrap();
    assert_eq!(marked.len(), deep.len() + "\"warning\":\"x\",".len());
}

#[test]
fn a_banner_cannot_break_the_head() {
    let mut odd = banner(None);
    "a\r\nx-evil: 1\0".clone_into(&mut odd.message);
    assert_eq!(banner_header(&odd).unwrap().1, "a  x-evil: 1");
    "gestört".clone_into(&mut odd.message);
    assert_eq!(banner_header(&odd).unwrap().1.as_bytes(), "gestört".as_bytes());
    "no header".clone_into(&mut odd.header);
    assert_eq!(banner_header(&odd), None);
    assert!(!format!("{:?}", served(&[], "secret", None)).contains("secret"));
}
