//! Given a million requests, a thousand idle connections, or streams of 1 GiB each way, then
//! memory stays flat.

use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::client::{Client, INFER, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::http1::Framing;
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::street::Street;
use crate::support::wait;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const PIECE: usize = 256 * 1024;
const CACHE: &str = "fallback: { cache: { enabled: true } }";

/// A million in CI; fewer by default, so that the suite stays quick.
fn requests() -> u64 {
    env::var("SWITCHBACK_TEST_REQUESTS").map_or(120_000, |n| n.parse().unwrap())
}

/// The highest resident memory seen while `work` runs.
fn peak<T: Send>(street: &Street, work: impl FnOnce() -> T + Send) -> (u64, T) {
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        let mut peak = street.rss();
        while !work.is_finished() {
            peak = peak.max(street.rss());
            wait::linger(Duration::from_millis(20));
        }
        (peak, work.join().unwrap())
    })
}

#[test]
fn memory_is_flat_over_many_requests() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "10%", &canary).workers(2);
    let street = Street::open(&config.route_with(NO_RULES).route_with(CACHE));
    let load = Load::new(street.http);
    load.clone().requests(requests() / 5).run().is_clean();
    let before = street.rss();
    load.requests(requests() * 4 / 5).run().is_clean();
    let after = street.rss();
    assert!(
        after < before + 6 * MIB,
        "{} KiB grew to {} KiB over {} requests",
        before / 1024,
        after / 1024,
        requests()
    );
}

#[test]
fn a_thousand_idle_connections_take_little() {
    if open_files() < 4_000 {
        return again_with_more_files("a_thousand_idle_connections_take_little");
    }
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    Load::new(street.http).requests(2_000).run().is_clean();
    let before = street.rss();
    let idle: Vec<Client> = (0..1_000)
        .map(|_| {
            let mut client = Client::new(street.http);
            assert_eq!(client.ask(&Request::infer("{}")).status, 200);
            client
        })
        .collect();
    let grown = street.rss().saturating_sub(before);
    assert!(grown < 24 * MIB, "{} KiB for {} connections", grown / 1024, idle.len());
    let count = Load::new(street.http).requests(2_000).run();
    count.is_clean();
    assert!(count.longest < Duration::from_secs(2), "{:?}", count.longest);
    assert_eq!(street.admin(Request::get("/livez")).status, 200);
    for mut client in idle.into_iter().step_by(100) {
        assert_eq!(client.ask(&Request::infer("{}")).status, 200);
    }
}

fn open_files() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(u64::MAX)
}

/// Both ends of every connection are this machine's; the usual limit is below that.
fn again_with_more_files(test: &str) {
    let this = env::current_exe().unwrap();
    let name = format!("acceptance::memory::{test}");
    let order = format!("ulimit -n 4096 && exec {} --exact {name}", this.display());
    let status = Command::new("sh").args(["-c", &order]).status().unwrap();
    assert!(status.success(), "{order}: {status}");
}

#[test]
fn a_gibibyte_goes_up_in_bounded_memory() {
    let arrived = Arc::new(AtomicU64::new(0));
    let sum = arrived.clone();
    let server = ModelServer::new(Arc::new(move |ask, line| {
        let end = line.pipe.each_piece(ask.framing, |piece| {
            sum.fetch_add(piece.len() as u64, Ordering::Relaxed);
        });
        line.body_is_read();
        if end.is_ok() { line.reply(200, "", "thanks") } else { Then::Close }
    }));
    let config = Config::plain(&server).limits("{ bodySize: 2GiB }").route_with(CACHE);
    let street = Street::open(&config);
    street.ask(&Request::infer("{}"));
    let before = street.rss();
    let http = street.http;
    let (peak, answer) = peak(&street, move || {
        let mut client = Client::new(http);
        let head =
            format!("POST {INFER} HTTP/1.1\r\nhost: m\r\ncontent-length: {GIB}\r\n\r\n");
        client.send(head);
        let piece = vec![7; PIECE];
        for _ in 0..GIB / PIECE as u64 {
            client.send(&piece);
        }
        client.answer()
    });
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(arrived.load(Ordering::Relaxed), GIB + 2);
    assert!(peak < before + 24 * MIB, "{} KiB at the peak", peak / 1024);
}

#[test]
fn a_gibibyte_comes_down_in_bounded_memory() {
    for chunked in [false, true] {
        let server = ModelServer::new(gibibyte(chunked));
        let street = Street::open(&Config::plain(&server).route_with(CACHE));
        let before = street.rss();
        let http = street.http;
        let (peak, sum) = peak(&street, move || {
            let mut client = Client::new(http);
            client.send(Request::infer("{}").bytes());
            let (_, head) = client.head().unwrap();
            let mut sum = 0;
            let framing = head.framing(Framing::UntilClose).unwrap();
            let end = client.pipe.each_piece(framing, |piece| sum += piece.len() as u64);
            end.map(|_| sum)
        });
        assert_eq!(sum, Ok(GIB), "chunked: {chunked}");
        assert!(peak < before + 24 * MIB, "{} KiB at the peak", peak / 1024);
    }
}

fn gibibyte(chunked: bool) -> Script {
    Arc::new(move |_, line| {
        line.body().unwrap_or_default();
        let piece = vec![7; PIECE];
        let framing = match chunked {
            true => "transfer-encoding: chunked".to_owned(),
            false => format!("content-length: {GIB}"),
        };
        line.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
        for _ in 0..GIB / PIECE as u64 {
            let sent = if chunked { line.chunk(&piece) } else { line.send(&piece) };
            if !sent {
                return Then::Close;
            }
        }
        let end = if chunked { "0\r\n\r\n" } else { "" };
        if line.send(end) { Then::Keep } else { Then::Close }
    })
}
