//! Who is answered with what: tenants, versions, purges, reloads and threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::cache::entry::Source;
use crate::cache::policy::{AnswerFacts, Why};
use crate::cache::words::{Asked, World, headers, policy, second, source};
use crate::vocab::ids::{Digest, Name};
use crate::wire::Headers;

fn plain() -> Headers {
    headers(&[("content-type", "application/json")])
}

#[test]
fn nobody_sees_the_answer_of_another() {
    let world = World::new();
    let stable = [source("v1", 1)];
    let owner = Asked::post("{\"x\":1}")
        .with("authorization", "Bearer alice")
        .with("cookie", "s=1")
        .with("x-api-key", "k1")
        .with("x-tenant", "acme");
    world.keep(&owner, &stable[0], &plain(), "alice's", second(0)).unwrap();
    assert_eq!(world.find(&owner, &stable, second(1)).as_deref(), Some("alice's"));
    let without = |name: &'static str| {
        owner.clone().change(|a| {
            a.headers.remove(name);
        })
    };
    let other = |name: &'static str, value: &str| without(name).with(name, value);
    for asked in [
        without("authorization"),
        other("authorization", "Bearer bob"),
        owner.clone().with("authorization", "Bearer bob"),
        without("cookie"),
        other("cookie", "s=2"),
        without("x-api-key"),
        other("x-api-key", "k2"),
        without("x-tenant"),
        other("x-tenant", "Acme"),
        other("x-tenant", ""),
        owner.clone().with("x-forwarded-host", "evil"),
        owner.clone().change(|a| a.body = Bytes::from_static(b"{\"x\":2}")),
        owner.clone().change(|a| a.query = Some("y".to_owned())),
        owner.clone().change(|a| "evil".clone_into(&mut a.host)),
        owner.clone().change(|a| "/v2/infer/x.css".clone_into(&mut a.path)),
        owner.clone().change(|a| "/v2/infer%2f..".clone_into(&mut a.path)),
        owner.clone().change(|a| a.method = Method::GET),
    ] {
        assert_eq!(world.find(&asked, &stable, second(1)), None, "{asked:?}");
    }
}

#[test]
fn a_forbidden_answer_leaves_nothing() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let v1 = source("v1", 1);
    for line in [
        ("cache-control", "private"),
        ("cache-control", "no-store"),
        ("set-cookie", "session=alice"),
        ("vary", "*"),
        ("content-type", "text/event-stream"),
    ] {
        world.keep(&asked, &v1, &headers(&[line]), "x", second(0)).unwrap_err();
    }
    assert!(world.cache.is_empty());
}

#[test]
fn a_rolled_back_version_answers_nobody_and_leaves_stable_its_answers() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let (stable, canary) = (source("v1", 1), source("v2", 2));
    world.keep(&asked, &stable, &plain(), "good", second(0)).unwrap();
    world.keep(&asked, &canary, &plain(), "bad", second(1)).unwrap();
    let only_bad = Asked::post("{\"only\":\"canary\"}");
    world.keep(&only_bad, &canary, &plain(), "bad", second(1)).unwrap();

    let both = [stable.clone(), canary.clone()];
    assert_eq!(world.find(&asked, &both, second(2)).as_deref(), Some("good"));
    assert_eq!(world.find(&only_bad, &both, second(2)).as_deref(), Some("bad"));
    // The table says quarantined before the purge is done.
    let serving = std::slice::from_ref(&stable);
    assert_eq!(world.find(&only_bad, serving, second(2)), None);

    assert_eq!(world.cache.purge(canary.slot), 2);
    assert_eq!(world.find(&asked, &both, second(2)).as_deref(), Some("good"));
    assert_eq!(world.find(&only_bad, &both, second(2)), None);
    assert_eq!(world.cache.len(), 1);
}

#[test]
fn an_answer_under_way_during_the_purge_does_not_come_back() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let canary = source("v2", 2);
    let before = asked.question(&world).unwrap();
    let headers = plain();
    let facts = AnswerFacts {
        source: &canary,
        status: StatusCode::OK,
        headers: &headers,
        now: second(0),
    };
    let streaming = world.cache.keep(world.scope(), &before, &facts).unwrap();
    world.cache.purge(canary.slot);
    assert_eq!(streaming.finish(), Err(Why::Purged));
    // Its head came later still, but the request is as old.
    let late = world.cache.keep(world.scope(), &before, &facts).unwrap();
    assert_eq!(late.finish(), Err(Why::Purged));
    // Another version of the same request is free to answer, and so is a later request.
    let stable = source("v1", 1);
    let by_stable = AnswerFacts { source: &stable, ..facts };
    world.cache.keep(world.scope(), &before, &by_stable).unwrap().finish().unwrap();
    world.keep(&asked, &canary, &plain(), "released", second(1)).unwrap();
    assert_eq!(world.cache.len(), 2);
}

#[test]
fn a_later_version_of_the_same_name_or_slot_is_another() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let old = source("v1", 1);
    world.keep(&asked, &old, &plain(), "old", second(0)).unwrap();
    let rebuilt = Source { digest: Digest::new("sha256:2"), ..old.clone() };
    let renamed = Source { name: Name::parse("v9").unwrap(), ..old.clone() };
    for other in [rebuilt, renamed, source("v1", 3)] {
        assert_eq!(world.find(&asked, &[other], second(1)), None);
    }
    assert_eq!(world.find(&asked, &[old], second(1)).as_deref(), Some("old"));
}

#[test]
fn the_newer_answer_replaces_the_older() {
    let (world, asked) =
        (World::new(), Asked::post("{}").with("accept-encoding", "gzip"));
    let v1 = source("v1", 1);
    let versions = std::slice::from_ref(&v1);
    world.keep(&asked, &v1, &plain(), "one", second(0)).unwrap();
    world.keep(&asked, &v1, &plain(), "two", second(1)).unwrap();
    assert_eq!(world.cache.len(), 1);
    assert_eq!(world.find(&asked, versions, second(2)).as_deref(), Some("two"));
    // An answer that depends on the encoding lies elsewhere and is the newest now.
    let encoded = headers(&[("content-encoding", "gzip"), ("vary", "accept-encoding")]);
    world.keep(&asked, &v1, &encoded, "three", second(2)).unwrap();
    assert_eq!(world.find(&asked, versions, second(3)).as_deref(), Some("three"));
    // Who does not ask for gzip never gets it.
    assert_eq!(
        world.find(&Asked::post("{}"), versions, second(3)).as_deref(),
        Some("two")
    );
}

#[test]
fn time_runs_out_by_ttl_and_by_what_the_answer_said() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let v1 = source("v1", 1);
    let versions = std::slice::from_ref(&v1);
    let short =
        headers(&[("cache-control", "max-age=10, stale-if-error=20"), ("age", "5")]);
    for (answer, last) in [(plain(), 3_599), (short, 24)] {
        world.keep(&asked, &v1, &answer, "x", second(0)).unwrap();
        assert!(world.find(&asked, versions, second(last)).is_some());
        assert!(world.find(&asked, versions, second(last + 1)).is_none());
        assert_eq!(world.cache.sweep(second(last)), 0);
        assert_eq!(world.cache.sweep(second(last + 1)), 1);
        assert_eq!(world.cache.bytes(), 0);
    }
}

#[test]
fn a_shorter_ttl_counts_for_what_is_kept_already() {
    let (mut world, asked) = (World::new(), Asked::post("{}"));
    let v1 = source("v1", 1);
    world.keep(&asked, &v1, &plain(), "x", second(0)).unwrap();
    world.policy.ttl = Duration::from_secs(10);
    let versions = [v1];
    assert!(world.find(&asked, &versions, second(9)).is_some());
    assert!(world.find(&asked, &versions, second(10)).is_none());
}

#[test]
fn what_was_changed_is_forgotten_and_nothing_else() {
    let world = World::new();
    let v1 = source("v1", 1);
    let versions = std::slice::from_ref(&v1);
    let get = |path: &str, query: Option<&str>| {
        Asked::post("").change(|asked| {
            asked.method = Method::GET;
            path.clone_into(&mut asked.path);
            asked.query = query.map(str::to_owned);
        })
    };
    let target = get("/v2/models/iris", None);
    let others = [
        get("/v2/models/iris", Some("")),
        get("/v2/models", None),
        get("/v2/models/iris", None).change(|asked| "other".clone_into(&mut asked.host)),
    ];
    let tenant = target.clone().with("x-tenant", "acme");
    for asked in others.iter().chain([&target, &tenant]) {
        world.keep(asked, &v1, &plain(), "old", second(0)).unwrap();
    }
    let deleted = target.clone().change(|asked| asked.method = Method::DELETE);
    world.cache.touch(world.scope(), &deleted.facts(), second(1));
    assert_eq!(world.find(&target, versions, second(2)), None);
    assert_eq!(world.find(&tenant, versions, second(2)), None, "whoever asked");
    for other in &others {
        assert_eq!(world.find(other, versions, second(2)).as_deref(), Some("old"));
    }
    world.keep(&target, &v1, &plain(), "new", second(2)).unwrap();
    assert_eq!(world.find(&target, versions, second(3)).as_deref(), Some("new"));
    // Another size of the route's room forgets no change.
    let mut smaller = world.policy.clone();
    smaller.max_size /= 2;
    world.cache.touch(world.scope(), &deleted.facts(), second(4));
    world.cache.fit([(&world.route, &smaller)]);
    assert_eq!(world.find(&target, versions, second(5)), None);
}

#[test]
fn routes_come_and_go_with_the_configuration() {
    let (mut world, asked) = (World::new(), Asked::post("{}"));
    let v1 = source("v1", 1);
    let versions = std::slice::from_ref(&v1);
    world.keep(&asked, &v1, &plain(), "x", second(0)).unwrap();
    world.cache.fit([(&world.route, &world.policy)]);
    assert!(world.find(&asked, versions, second(1)).is_some(), "the same again");
    world.policy.max_size /= 2;
    world.cache.fit([(&world.route, &world.policy)]);
    assert!(world.find(&asked, versions, second(1)).is_some(), "another size");
    world.cache.fit([]);
    assert!(world.find(&asked, versions, second(1)).is_none(), "gone");
    assert_eq!((world.cache.len(), world.cache.bytes()), (0, 0));
    assert_eq!(world.keep(&asked, &v1, &plain(), "x", second(0)), Err(Why::NoRoute));
    world.cache.fit([(&world.route, &world.policy)]);
    assert!(world.find(&asked, versions, second(1)).is_none(), "back, and empty");
}

#[test]
fn threads_store_look_and_purge_at_once() {
    let mut small = policy();
    (small.max_size, small.max_entry) = (200_000, 4_000);
    let world = Arc::new(World::of(small));
    let versions: Arc<Vec<Source>> = Arc::new((0..4).map(|n| source("v", n)).collect());
    let workers: Vec<_> = (0..4)
        .map(|number: usize| {
            let (world, versions) = (Arc::clone(&world), Arc::clone(&versions));
            std::thread::spawn(move || {
                for turn in 0..1_500_usize {
                    let asked = Asked::post("").change(|a| {
                        a.body = Bytes::from((turn % 97).to_string());
                    });
                    let source = &versions[(turn + number) % versions.len()];
                    let body = format!("{}:{}", turn % 97, source.slot.index());
                    match world.keep(&asked, source, &plain(), &body, second(0)) {
                        Ok(()) | Err(Why::Purged) => {}
                        Err(why) => panic!("{why}"),
                    }
                    if turn % 50 == 0 {
                        world.cache.purge(versions[number].slot);
                    }
                    let only = std::slice::from_ref(source);
                    if let Some(found) = world.find(&asked, only, second(1)) {
                        assert_eq!(found, body);
                    }
                    assert!(world.cache.bytes() <= world.policy.max_size);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    for source in versions.iter() {
        world.cache.purge(source.slot);
    }
    assert_eq!(
        (world.cache.len(), world.cache.bytes(), world.cache.copying()),
        (0, 0, 0)
    );
}

#[test]
fn a_purge_holds_against_threads_that_are_storing() {
    let world = Arc::new(World::new());
    let canary = source("v2", 2);
    for round in 0..200 {
        let asked = Asked::post("{}");
        let question = asked.question(&world).unwrap();
        let start = Arc::new(std::sync::Barrier::new(3));
        let storing: Vec<_> = (0..2)
            .map(|_| {
                let (world, canary, start) =
                    (Arc::clone(&world), canary.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    let (headers, status) = (plain(), StatusCode::OK);
                    let facts = AnswerFacts {
                        source: &canary,
                        status,
                        headers: &headers,
                        now: second(0),
                    };
                    let tee = world.cache.keep(world.scope(), &question, &facts).unwrap();
                    start.wait();
                    drop(tee.finish());
                })
            })
            .collect();
        start.wait();
        world.cache.purge(canary.slot);
        assert_eq!(world.cache.len(), 0, "round {round}, at once");
        for thread in storing {
            thread.join().unwrap();
        }
        assert_eq!(world.cache.len(), 0, "round {round}, after all");
    }
}
