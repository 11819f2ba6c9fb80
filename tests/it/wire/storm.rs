//! What failure may not multiply: requests to versions that are down, and what was done
//! once. (rows 27, 28)

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::grpc::server::{Deed, GrpcServer, INFER, OTHER, call, message, status};
use crate::support::client::{Client, Request};
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::h2::H2Client;
use crate::support::model_server::{ModelServer, Then};
use crate::support::scripts;
use crate::support::streams::CHAT;
use crate::support::street::Street;

/// How many requests reach both servers for each of so many callers' requests.
fn share(weight: &str, requests: u32) -> f64 {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, weight, &canary).route_with(NO_RULES);
    let street = Street::open(&config);
    for server in [&stable, &canary] {
        server.now(scripts::status(503));
    }
    let mut client = Client::new(street.http);
    for _ in 0..requests {
        let answer = client.ask(&Request::infer("{}"));
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    (stable.requests() + canary.requests()) as f64 / f64::from(requests)
}

#[test]
fn all_versions_down_are_not_asked_more_for_it() {
    for weight in ["0%", "10%", "50%", "100%"] {
        let share = share(weight, 600);
        assert!(share <= 1.2, "{share} requests a request, canary at {weight}");
    }
}

#[test]
fn several_servers_and_streams_are_not_asked_more_for_it_either() {
    let servers = ["v1", "v1", "v1", "v2", "v2", "v2"].map(ModelServer::good);
    for server in &servers {
        server.now(scripts::status(503));
    }
    let urls = servers.each_ref().map(ModelServer::url);
    let route = Route::new("iris")
        .version("v1", "role: stable", &urls[..3])
        .version("v2", "role: canary, weight: 50%", &urls[3..])
        .with("fallback: { cache: { enabled: true } }")
        .with(NO_RULES);
    let street = Street::open(&Config::new([route]).workers(2));
    let stream = Request::post(CHAT, "{\"stream\":true}");
    for request in [Request::infer("{}"), Request::get("/x"), stream] {
        let asked = || servers.iter().map(ModelServer::requests).sum::<u64>();
        let before = asked();
        let mut client = Client::new(street.http);
        for _ in 0..600 {
            assert_eq!(client.ask(&request).status, 503);
        }
        let share = (asked() - before) as f64 / 600.0;
        assert!(share <= 1.2, "{share} requests a request of {request:?}");
    }
}

#[test]
fn calls_that_all_versions_refuse_are_not_multiplied() {
    let servers = [(); 4].map(|()| GrpcServer::new(Deed::Only(14)));
    let urls = servers.each_ref().map(|server| server.url.clone());
    let route = Route::new("calls")
        .version("v1", "role: stable", &urls[..2])
        .version("v2", "role: canary, weight: 50%", &urls[2..])
        .with("dialect: grpc")
        .with(NO_RULES);
    let street = Street::open(&Config::new([route]));
    for path in [INFER, OTHER] {
        let asked = || {
            let seen = servers.iter().flat_map(GrpcServer::seen);
            seen.filter(|it| it.starts_with(path)).count()
        };
        let mut client = H2Client::new(street.http);
        for _ in 0..40 {
            let one = || (call(path, &[]), message(b"one"), None);
            for answer in client.ask_all((0..10).map(|_| one()).collect()) {
                assert_eq!(status(&answer.unwrap()), Some(14));
            }
        }
        let share = asked() as f64 / 400.0;
        assert!((1.0..=1.2).contains(&share), "{share} calls a call of {path}");
    }
}

#[test]
fn who_says_when_to_come_again_is_not_asked_at_once() {
    let server = ModelServer::new(scripts::says(
        "HTTP/1.1 503 Busy\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n",
        Then::Keep,
    ));
    let street = Street::open(&Config::plain(&server));
    for _ in 0..5 {
        let answer = street.ask(&Request::infer("{}"));
        assert_eq!((answer.status, answer.field("retry-after").as_str()), (503, "5"));
    }
    assert_eq!(server.requests(), 5);
}

#[test]
fn no_order_is_carried_out_twice_however_its_connection_dies() {
    for end in [Then::Close, Then::Reset] {
        let done: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
        let counted = done.clone();
        // Some connections die with the order carried out and no answer, some before it is
        // read, some just after an answer.
        let server = ModelServer::new(Arc::new(move |ask, line| {
            if ask.turn % 5 == 0 || line.body().is_err() {
                return end;
            }
            let id = ask.head.field("x-test-id").unwrap_or_default();
            *counted.lock().unwrap().entry(id).or_default() += 1;
            match ask.turn % 5 {
                3 => end,
                4 => {
                    line.reply(200, "", "ok");
                    end
                }
                _ => line.reply(200, "", "ok"),
            }
        }));
        let street = Street::open(&Config::plain(&server));
        std::thread::scope(|scope| {
            for caller in 0..4 {
                let street = &street;
                scope.spawn(move || {
                    let mut client = Client::new(street.http);
                    for turn in 0..orders() {
                        let id = format!("{caller}-{turn}");
                        let order = Request::post("/train", "{}");
                        let answer = client.ask(&order.field("x-test-id", &id));
                        assert!([200, 502].contains(&answer.status), "{}", answer.text());
                    }
                });
            }
        });
        let done = done.lock().unwrap();
        let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "done more than once: {twice:?}");
        assert!(done.len() as u64 > orders());
    }
}

/// Of each of four callers, for each of two ends: 10,000 races in CI and fewer by default.
fn orders() -> u64 {
    std::env::var("SWITCHBACK_TEST_RACES").map_or(400, |n| n.parse::<u64>().unwrap() / 8)
}
