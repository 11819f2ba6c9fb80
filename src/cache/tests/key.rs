//! No two different requests share a key, and the same request always has the same one.

use bytes::Bytes;
use http::Method;
use proptest::prelude::*;

use super::{Cover, Key, LEFT_OUT, SOMETIMES, cover};
use crate::cache::words::{Asked, World, policy};
use crate::wire::Headers;

fn key(asked: &Asked) -> Key {
    asked.question(&World::new()).unwrap().key
}

#[test]
fn the_fixed_list_can_be_searched() {
    assert!(LEFT_OUT.is_sorted());
    assert!(SOMETIMES.iter().all(|name| LEFT_OUT.binary_search(name).is_err()));
}

#[test]
fn whatever_tells_callers_or_questions_apart_is_in_the_key() {
    let base = Asked::post("[1,2]");
    let plain = key(&base);
    let asked = [
        base.clone().change(|a| a.method = Method::GET),
        base.clone().change(|a| "other".clone_into(&mut a.host)),
        base.clone().change(|a| "models:80".clone_into(&mut a.host)),
        base.clone().change(|a| "/v2/infer/".clone_into(&mut a.path)),
        base.clone().change(|a| "/v2/infer/x.css".clone_into(&mut a.path)),
        base.clone().change(|a| "/v2%2finfer".clone_into(&mut a.path)),
        base.clone().change(|a| "/x/../v2/infer".clone_into(&mut a.path)),
        base.clone().change(|a| a.query = Some(String::new())),
        base.clone().change(|a| a.query = Some("a=1".to_owned())),
        base.clone().change(|a| a.body = Bytes::from_static(b"[1,2] ")),
        base.clone().change(|a| a.body = Bytes::new()),
        base.clone().change(|a| a.headers = Headers::new()),
        base.clone().with("content-type", "text/plain"),
        base.clone().with("content-encoding", "gzip"),
        base.clone().with("accept", "text/csv"),
        base.clone().with("accept", ""),
        base.clone().with("inference-header-content-length", "3"),
        base.clone().with("authorization", "Bearer a"),
        base.clone().with("authorization", "Bearer b"),
        base.clone().with("authorization", ""),
        base.clone().with("authorization", "").with("authorization", ""),
        base.clone().with("cookie", "a=1"),
        base.clone().with("cookie", "a=1").with("cookie", "b=2"),
        base.clone().with("cookie", "b=2").with("cookie", "a=1"),
        base.clone().with("x-api-key", "a"),
        base.clone().with("x-tenant", "a"),
        base.clone().with("x-tenant-id", "a"),
        base.clone().with("api-key", "a"),
        base.clone().with("x-user", "a"),
        base.clone().with("x-session-id", "a"),
        base.clone().with("x-auth-request-email", "a"),
        base.clone().with("x-never-heard-of", "a"),
        base.clone().with("x-never-heard-of", "b"),
        base.clone().with("x_tenant", "a"),
        base.clone().with("x_api_key", "a"),
        base.clone().with("proxy-user", "a"),
        base.clone().with("x-forwarded-host", "evil"),
        base.clone().with("x-original-url", "/admin"),
        base.clone().with("x-rewrite-url", "/admin"),
        base.clone().with("x-http-method-override", "DELETE"),
        base.with("x-http-method-override", "PUT"),
    ];
    let mut keys = vec![plain];
    for asked in asked {
        let key = key(&asked);
        let same = |other: &&Key| other.any == key.any || other.exact == key.exact;
        assert!(keys.iter().find(same).is_none(), "{asked:?}");
        keys.push(key);
    }
}

#[test]
fn a_route_and_its_vary_are_in_the_key() {
    let asked = Asked::post("{}");
    let plain = key(&asked);
    let mut fewer = policy();
    fewer.vary.retain(|name| name != "x-tenant");
    assert_ne!(asked.question(&World::of(fewer)).unwrap().key, plain);
    let mut world = World::new();
    world.route = crate::vocab::ids::Name::parse("other").unwrap();
    assert_ne!(asked.question(&world).unwrap().key, plain);
}

#[test]
fn what_one_exchange_is_called_is_not() {
    let base = Asked::post("{}");
    for (name, value) in [
        ("x-request-id", "1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("accept", "*/*"),
        ("canary", "true"),
        ("date", "Tue, 24 Nov 2026 21:05:58 GMT"),
    ] {
        assert_eq!(key(&base.clone().with(name, value)), key(&base), "{name}");
    }
}

#[test]
fn the_order_of_headers_is_no_difference_and_that_of_values_is() {
    let base = Asked::post("{}");
    let one = base.clone().with("x-a", "1").with("x-b", "2");
    let other = base.clone().with("x-b", "2").with("x-a", "1");
    assert_eq!(key(&one), key(&other));
    let one = base.clone().with("x-a", "1").with("x-a", "2");
    assert_ne!(key(&one), key(&base.with("x-a", "2").with("x-a", "1")));
}

#[test]
fn callers_are_told_apart_as_the_route_says() {
    let asked = Asked::post("{}").with("authorization", "Bearer a");
    let mut shared = policy();
    shared.vary.clear();
    assert_eq!(cover("authorization", &shared.vary), Cover::Never);
    let world = World::of(shared);
    let plain = Asked::post("{}").question(&world).unwrap().key;
    assert_eq!(asked.question(&world).unwrap().key, plain);
}

#[test]
fn what_seldom_matters_is_in_the_exact_digest_alone() {
    let base = Asked::post("{}");
    let plain = key(&base);
    for name in SOMETIMES {
        let other = key(&base.clone().with(name, "x"));
        assert_eq!(other.any, plain.any, "{name}");
        assert_ne!(other.exact, plain.exact, "{name}");
    }
}

#[test]
fn coverage_is_known_by_name() {
    let vary = policy().vary;
    for (name, want) in [
        ("host", Cover::Always),
        ("authorization", Cover::Always),
        ("accept", Cover::Always),
        ("x-forwarded-host", Cover::Always),
        ("accept-encoding", Cover::Exact),
        ("origin", Cover::Exact),
        ("x-session-id", Cover::Always),
        ("x-request-id", Cover::Never),
        ("x-b3-traceid", Cover::Never),
        ("*", Cover::Never),
    ] {
        assert_eq!(cover(name, &vary), want, "{name}");
    }
}

#[test]
fn nothing_of_a_request_is_printed() {
    let asked = Asked::post("secret-canary-string")
        .with("authorization", "secret-canary-string")
        .change(|a| a.query = Some("secret-canary-string".to_owned()));
    let question = asked.question(&World::new()).unwrap();
    assert!(!format!("{question:?} {:?}", asked.facts()).contains("secret"));
}

/// Texts from few letters, so that parts often meet at their borders.
fn text() -> impl Strategy<Value = String> {
    "[ab]{0,3}"
}

prop_compose! {
    fn asked()(
        get in any::<bool>(),
        host in text(),
        path in text(),
        query in proptest::option::of(text()),
        body in text(),
        kind in proptest::option::of(text()),
        tenants in proptest::collection::vec(text(), 0..3),
        auth in proptest::option::of(text()),
    ) -> Asked {
        let mut asked = Asked::post("").change(|a| a.headers = Headers::new());
        if get {
            asked.method = Method::GET;
        }
        (asked.host, asked.path, asked.query) = (host, format!("/{path}"), query);
        asked.body = Bytes::from(body);
        for (name, values) in [
            ("content-type", kind.into_iter().collect()),
            ("x-tenant", tenants),
            ("authorization", auth.into_iter().collect::<Vec<_>>()),
        ] {
            for value in values {
                asked = asked.with(name, &value);
            }
        }
        asked
    }
}

/// Everything that must tell two of these requests apart.
fn parts(asked: &Asked) -> impl PartialEq + std::fmt::Debug + use<> {
    let values = |name: &str| -> Vec<Vec<u8>> {
        asked.headers.values(name).map(|v| v.as_bytes().to_vec()).collect()
    };
    let headers = [values("content-type"), values("x-tenant"), values("authorization")];
    let Asked { method, host, path, query, body, .. } = asked.clone();
    (method, host, path, query, body, headers)
}

proptest! {
    #[test]
    fn different_requests_never_share_a_key(one in asked(), other in asked()) {
        let (a, b) = (key(&one), key(&other));
        let same = parts(&one) == parts(&other);
        prop_assert_eq!(a.any == b.any, same);
        prop_assert_eq!(a.exact == b.exact, same);
    }

    #[test]
    fn it_does_not_matter_where_the_body_was_cut(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        cuts in proptest::collection::vec(0_usize..200, 0..5),
    ) {
        let world = World::new();
        let asked = Asked::post("");
        let pending = world.cache.begin(world.scope(), &asked.facts()).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let chunks: Vec<Bytes> =
            cuts.windows(2).map(|w| Bytes::copy_from_slice(&body[w[0]..w[1]])).collect();
        let whole = Bytes::from(body);
        prop_assert_eq!(pending.question(&chunks).key, pending.question(&[whole]).key);
    }
}
