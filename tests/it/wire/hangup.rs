//! Callers that leave: it is their doing and nobody else's, and the version is told at once.
//! (rows 42, 43)

use std::sync::Arc;
use std::time::Duration;

use crate::support::client::{Client, INFER, Request};
use crate::support::config::Config;
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script, Then, reset};
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// Streams for as long as somebody reads.
fn endless() -> Script {
    Arc::new(|ask, line| {
        if ask.method() == "GET" {
            return line.reply(200, "", "ok");
        }
        line.body().unwrap_or_default();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while line.chunk("token ") {
            wait::linger(Duration::from_millis(10));
        }
        Then::Close
    })
}

fn cancelled(street: &Street, version: &str, times: u64) {
    wait::eventually("the hang-ups are counted", SOON, || {
        let count = street.metrics().requests(version, "client_cancelled");
        (count == times).then_some(())
    });
    let view = street.version(version);
    assert_eq!(view["failures"], 0, "{view:#}");
    assert_eq!(view["in_flight"], 0, "{view:#}");
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_an_answer() {
    let server = ModelServer::new(endless());
    let street = Street::open(&Config::plain(&server));
    for turn in 0..10 {
        let mut client = Client::new(street.http);
        client.send(Request::infer("{}").bytes());
        client.head().unwrap();
        client.pipe.chunk().unwrap();
        if turn % 2 == 0 {
            reset(&client.pipe.stream);
        }
    }
    wait::eventually("the server is told", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
    cancelled(&street, "v1", 10);
    street.is_well();
}

#[test]
fn a_caller_that_leaves_before_the_answer() {
    let server = ModelServer::new(scripts::stalls());
    let street = Street::open(&Config::plain(&server));
    let mut clients: Vec<Client> = (0..5).map(|_| Client::new(street.http)).collect();
    for client in &mut clients {
        client.send(Request::infer("{}").bytes());
    }
    wait::eventually("all are at the server", SOON, || {
        (server.requests() == 5).then_some(())
    });
    drop(clients);
    wait::eventually("the server is told", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
    cancelled(&street, "v1", 5);
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_its_request() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    for _ in 0..5 {
        let mut client = Client::new(street.http);
        let head = format!(
            "POST {INFER} HTTP/1.1\r\nhost: m\r\ncontent-length: 1000\r\n\r\nabc"
        );
        client.send(head);
        wait::linger(Duration::from_millis(30));
    }
    wait::eventually("the server is told", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
    wait::eventually("nothing is left in flight", SOON, || {
        (street.version("v1")["in_flight"] == 0).then_some(())
    });
    let view = street.version("v1");
    assert_eq!(view["failures"], 0, "{:?}", street.metrics().classes("v1"));
    street.is_well();
}

#[test]
fn callers_that_leave_convict_no_canary() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::new(endless()));
    let street = Street::open(&Config::pair(&stable, "50%", &canary));
    for _ in 0..200 {
        let mut client = Client::new(street.http);
        client.send(Request::infer("{}").bytes());
        client.head().unwrap();
    }
    wait::holds("the canary serves", Duration::from_millis(1_500), || {
        street.version("v2")["state"] == "serving"
    });
    canary.now(scripts::good("v2"));
    let count = Load::new(street.http).requests(500).run();
    count.is_clean();
    assert!(count.of("v2") > 100, "{:?}", count.good);
}

#[test]
fn callers_that_read_slowly_convict_no_canary() {
    let large: Script = Arc::new(|_, line| {
        line.body().unwrap_or_default();
        line.reply(200, "", vec![b'x'; 2_000_000])
    });
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::new(large));
    let rule = "analysis: { confirm: off, metrics: [{ name: errorRate, max: 5%, minSamples: 5, test: window }] }";
    let street = Street::open(&Config::pair(&stable, "100%", &canary).route_with(rule));
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let http = street.http;
            std::thread::spawn(move || {
                let mut client = Client::new(http);
                client.send(Request::infer("{}").bytes());
                wait::linger(Duration::from_millis(800));
                client.answer().unwrap().body.len()
            })
        })
        .collect();
    for reader in slow {
        assert_eq!(reader.join().unwrap(), 2_000_000);
    }
    assert_eq!(street.version("v2")["failures"], 0);
    assert_eq!(street.version("v2")["state"], "serving");
}
