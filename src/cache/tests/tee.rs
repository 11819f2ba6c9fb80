//! The copy: whole or not at all, and bounded while it grows.

use bytes::Bytes;
use http::StatusCode;

use super::{ALL_COPIES, Tee};
use crate::cache::policy::{AnswerFacts, Why};
use crate::cache::words::{Asked, World, headers, policy, second, source};
use crate::wire::Headers;

fn tee(world: &World, asked: &Asked, answer: &Headers) -> Result<Tee, Why> {
    let (source, question) = (source("v1", 1), asked.question(world).unwrap());
    let status = StatusCode::OK;
    let facts = AnswerFacts { source: &source, status, headers: answer, now: second(0) };
    world.cache.keep(world.scope(), &question, &facts)
}

fn find(world: &World, asked: &Asked) -> Option<String> {
    world.find(asked, &[source("v1", 1)], second(1))
}

#[test]
fn chunks_become_one_body_of_its_own() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let buffer = Bytes::from(vec![b'x'; 32 * 1024]);
    let mut copy = tee(&world, &asked, &Headers::new()).unwrap();
    copy.push(&buffer.slice(..2));
    copy.push(&buffer.slice(2..2));
    copy.push(&buffer.slice(2..3));
    copy.finish().unwrap();
    assert!(buffer.is_unique(), "the entry must not hold the read buffer");
    assert_eq!(find(&world, &asked).as_deref(), Some("xxx"));
    assert_eq!(world.cache.copying(), 0);
}

#[test]
fn an_answer_without_a_body_is_an_answer() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let declared = headers(&[("content-length", "0")]);
    tee(&world, &asked, &declared).unwrap().finish().unwrap();
    assert_eq!(find(&world, &asked).as_deref(), Some(""));
}

#[test]
fn what_was_cut_short_is_not_kept() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let declared = headers(&[("content-length", "10")]);
    for (body, want) in [
        ("123456789", Err(Why::Truncated { got: 9, declared: 10 })),
        ("12345678901", Err(Why::Truncated { got: 11, declared: 10 })),
        ("", Err(Why::Truncated { got: 0, declared: 10 })),
        ("1234567890", Ok(())),
    ] {
        let mut copy = tee(&world, &asked, &declared).unwrap();
        copy.push(body.as_bytes());
        assert_eq!(copy.finish(), want, "{body:?}");
        assert_eq!(find(&world, &asked).is_some(), want.is_ok(), "{body:?}");
    }
}

#[test]
fn a_copy_that_is_dropped_leaves_nothing() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let mut copy = tee(&world, &asked, &Headers::new()).unwrap();
    copy.push(&[0; 5_000]);
    assert_eq!(world.cache.copying(), 8_192);
    drop(copy);
    assert_eq!((world.cache.copying(), world.cache.len()), (0, 0));
}

#[test]
fn an_endless_answer_is_given_up_and_its_memory_with_it() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let mut copy = tee(&world, &asked, &Headers::new()).unwrap();
    let chunk = [b'x'; 4_096];
    let mut most = 0;
    for _ in 0..1_000 {
        copy.push(&chunk);
        most = most.max(world.cache.copying());
    }
    assert!(!copy.is_copying());
    assert!(most <= world.policy.max_entry, "{most}");
    assert_eq!(world.cache.copying(), 0);
    let limit = world.policy.max_entry;
    assert_eq!(copy.finish(), Err(Why::TooLarge { limit }));
    assert_eq!(world.cache.len(), 0);
}

#[test]
fn headers_count_towards_the_size_of_an_entry() {
    let (world, asked) = (World::new(), Asked::post("{}"));
    let limit = world.policy.max_entry;
    let long = "x".repeat(limit);
    let why = tee(&world, &asked, &headers(&[("x-long", &long)])).unwrap_err();
    assert_eq!(why, Why::TooLarge { limit });
    let declared = headers(&[("content-length", &limit.to_string())]);
    assert_eq!(tee(&world, &asked, &declared).unwrap_err(), Why::TooLarge { limit });
}

#[test]
fn all_copies_together_are_bounded() {
    let mut large = policy();
    (large.max_size, large.max_entry) = (64 << 20, 8 << 20);
    let (world, asked) = (World::of(large), Asked::post("{}"));
    let chunk = vec![b'x'; 4 << 20];
    let mut copies = Vec::new();
    for _ in 0..ALL_COPIES / chunk.len() {
        let mut copy = tee(&world, &asked, &Headers::new()).unwrap();
        copy.push(&chunk);
        assert!(copy.is_copying());
        copies.push(copy);
    }
    let mut one_more = tee(&world, &asked, &Headers::new()).unwrap();
    one_more.push(b"x");
    assert_eq!(one_more.finish(), Err(Why::Busy { limit: ALL_COPIES }));
    drop(copies);
    assert_eq!(world.cache.copying(), 0);
    let mut again = tee(&world, &asked, &Headers::new()).unwrap();
    again.push(b"x");
    again.finish().unwrap();
}
