//! INFERENCE-SERVERS, gRPC ports: all kinds of streams pass piece by piece and both ways at
//! once; what one side gives up, the other hears of; and time is the caller's own.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::server::{Deed, GrpcServer, INFER, OTHER, ask, call, message, status};
use crate::support::config::{BARE, Config, NO_RULES, Route};
use crate::support::h2::H2Client;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

fn to(server: &GrpcServer, more: &str) -> Street {
    let route = Route::new("calls")
        .version("v1", "role: stable", std::slice::from_ref(&server.url))
        .with("dialect: grpc")
        .with(NO_RULES)
        .with(BARE)
        .with(more);
    Street::open(&Config::new([route]))
}

async fn connect(street: &Street) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(street.http).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

/// A call is on its way to the server, which says nothing.
async fn reached(server: &GrpcServer) {
    while server.seen().len() < 2 {
        wait::nap(Duration::from_millis(5)).await;
    }
}

fn run<T>(task: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(SOON, task).await.expect("in time") })
}

#[test]
fn messages_go_both_ways_before_either_side_is_done() {
    let server = GrpcServer::new(Deed::Echoes);
    let street = to(&server, "");
    run(async {
        let mut sender = connect(&street).await;
        let (answer, mut send) = sender.send_request(call(OTHER, &[]), false).unwrap();
        // The head is here though nothing has been sent.
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["x-bin"], "AAEC");
        let mut body = answer.into_body();
        for turn in 0..50u32 {
            let sent = message(format!("turn {turn}").as_bytes());
            send.send_data(sent.clone().into(), false).unwrap();
            let mut got = Vec::new();
            while got.len() < sent.len() {
                let piece = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                got.extend_from_slice(&piece);
            }
            assert_eq!(got, sent);
        }
        send.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-end-bin"], "/////w");
    });
    server.saw("half-closed");
    let wanted = format!("{OTHER} te trailers");
    assert!(server.seen().contains(&wanted), "{:?}", server.seen());
}

#[test]
fn large_messages_pass_both_windows_both_ways() {
    let server = GrpcServer::new(Deed::Echoes);
    let street = to(&server, "");
    let large = message(&vec![7; 12 << 20]);
    let all: Vec<_> = (0..3).map(|_| (call(OTHER, &[]), large.clone(), None)).collect();
    for answer in H2Client::new(street.http).ask_all(all) {
        let answer = answer.unwrap();
        assert_eq!(status(&answer), Some(0));
        assert_eq!(answer.body.len(), large.len());
        assert!(answer.body == large);
    }
}

#[test]
fn a_stream_of_many_messages_comes_whole() {
    let server = GrpcServer::new(Deed::Pours(2_000));
    let street = to(&server, "");
    let answer = ask(&street, OTHER, &[]);
    assert_eq!((status(&answer), answer.body.len()), (Some(0), 2_000 * 305));
}

#[test]
fn a_caller_that_gives_up_is_heard_by_the_server_and_nobodys_fault() {
    for deed in [Deed::Hangs(false), Deed::Hangs(true), Deed::Echoes] {
        for half in [true, false] {
            if half && deed == Deed::Echoes {
                continue;
            }
            let server = GrpcServer::new(deed);
            let street = to(&server, "");
            run(async {
                let mut sender = connect(&street).await;
                let (answer, mut send) =
                    sender.send_request(call(INFER, &[]), false).unwrap();
                send.send_data(message(b"one").into(), half).unwrap();
                if deed == Deed::Hangs(false) {
                    reached(&server).await;
                } else {
                    let mut body = answer.await.unwrap().into_body();
                    body.data().await.unwrap().unwrap();
                }
                send.send_reset(h2::Reason::CANCEL);
                // So that it is on the wire.
                wait::nap(Duration::from_millis(20)).await;
            });
            server.saw("reset 8");
            wait::eventually(&format!("{deed:?} {half} is counted"), SOON, || {
                let classes = street.metrics().classes("v1");
                (classes.keys().collect::<Vec<_>>() == ["client_cancelled"]).then_some(())
            });
        }
    }
}

#[test]
fn the_callers_deadline_ends_the_call_here_and_at_the_server() {
    for (deed, given) in [
        (Deed::Hangs(false), "300m"),
        (Deed::Hangs(true), "300m"),
        (Deed::Hangs(false), "300000u"),
    ] {
        let server = GrpcServer::new(deed);
        let street = to(&server, "");
        let begun = Instant::now();
        let answer = ask(&street, INFER, &[("grpc-timeout", given)]);
        assert_eq!(status(&answer), Some(4), "{deed:?} {given}: {answer:?}");
        assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
        server.saw("reset 8");
        assert!(server.seen()[0].starts_with("timeout "), "{:?}", server.seen());
        assert_ne!(server.seen()[0], "timeout none");
        wait::eventually("it is counted", SOON, || {
            let classes = street.metrics().classes("v1");
            (classes.keys().collect::<Vec<_>>() == ["client_cancelled"]).then_some(())
        });
    }
}

#[test]
fn the_smaller_of_the_two_limits_wins_and_ours_is_the_versions_failure() {
    let server = GrpcServer::new(Deed::Hangs(false));
    let street = to(&server, "timeouts: { total: 300ms }");
    for given in ["1H", "99999999H", "soon", "123456789m", "-5m"] {
        let answer = ask(&street, OTHER, &[("grpc-timeout", given)]);
        assert_eq!(status(&answer), Some(4), "{given}: {answer:?}");
        // What is malformed is the server's to judge.
        let seen = server.seen();
        assert!(
            given.ends_with('H') || seen.contains(&format!("timeout {given}")),
            "{seen:?}"
        );
    }
    let classes = street.metrics().classes("v1");
    assert_eq!(classes.keys().collect::<Vec<_>>(), ["timeout_total"], "{classes:?}");
}

#[test]
fn a_second_try_has_only_the_time_that_is_left() {
    let (stable, canary) =
        (GrpcServer::new(Deed::Ends(0)), GrpcServer::new(Deed::Hangs(false)));
    let route = Route::new("calls")
        .version("v1", "role: stable", std::slice::from_ref(&stable.url))
        .version("v2", "role: canary, weight: 100%", std::slice::from_ref(&canary.url))
        .with("dialect: grpc")
        .with("timeouts: { firstByte: 300ms }")
        .with(NO_RULES);
    let street = Street::open(&Config::new([route]));
    let answer = ask(&street, INFER, &[("grpc-timeout", "20S")]);
    assert_eq!(status(&answer), Some(0), "{answer:?}");
    let seen = stable.seen();
    let left = seen.iter().find_map(|it| it.strip_prefix("timeout ")?.strip_suffix('u'));
    let left: u64 = left.unwrap_or_else(|| panic!("{seen:?}")).parse().unwrap();
    assert!((10_000_000..=19_700_000).contains(&left), "{left}");
    canary.saw("reset 8");
}

#[test]
fn a_quiet_caller_of_a_stream_is_not_cut_off_by_the_limit_on_slow_bodies() {
    let server = GrpcServer::new(Deed::Echoes);
    let route = Route::new("calls")
        .version("v1", "role: stable", std::slice::from_ref(&server.url))
        .with("dialect: grpc")
        .with("timeouts: { idle: 2s }")
        .with(NO_RULES);
    let config = Config::new([route]).limits("{ bodyIdleTimeout: 300ms }");
    let street = Street::open(&config);
    run(async {
        let mut sender = connect(&street).await;
        let (answer, mut send) = sender.send_request(call(OTHER, &[]), false).unwrap();
        let mut body = answer.await.unwrap().into_body();
        for _ in 0..3 {
            wait::nap(Duration::from_millis(900)).await;
            send.send_data(message(b"one").into(), false).unwrap();
            let piece = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
        }
        // But not for ever: its turn ends with the route's own limit, as nobody's failure.
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "14");
    });
    wait::eventually("it is counted", SOON, || {
        let classes = street.metrics().classes("v1");
        (classes.keys().collect::<Vec<_>>() == ["client_cancelled"]).then_some(())
    });
}
