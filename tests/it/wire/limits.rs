//! How large and how many anything may be. (rows 21, 22)

use std::time::Duration;

use crate::support::client::{Client, INFER, Request};
use crate::support::config::Config;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait;

fn street(limits: &str) -> (ModelServer, Street) {
    let server = ModelServer::new(scripts::echo());
    let street = Street::open(&Config::plain(&server).limits(limits));
    (server, street)
}

/// The status of whatever was sent, or 0 for a connection that was closed without one.
fn status(street: &Street, bytes: impl AsRef<[u8]>) -> u16 {
    let mut client = Client::new(street.http);
    client.send(bytes).answer().map_or(0, |answer| answer.status)
}

#[test]
fn a_head_above_the_limit_is_refused_before_its_end() {
    let (server, street) = street("{ headerSize: 16KiB }");
    let fits = Request::get("/fits").field("x-large", &"x".repeat(12 * 1024));
    assert_eq!(street.ask(&fits).status, 200);
    // Neither ends: the refusal may not wait for that.
    let head = format!("GET / HTTP/1.1\r\nhost: m\r\nx: {}", "x".repeat(40 * 1024));
    assert!([431, 400].contains(&status(&street, head)));
    let line = format!("GET /{}", "x".repeat(40 * 1024));
    assert!([414, 431, 400].contains(&status(&street, line)));
    assert_eq!(server.requests(), 1);
    street.is_well();
}

#[test]
fn more_fields_than_the_limit_are_refused() {
    let (server, street) = street("{ headerCount: 50 }");
    let with = |fields: usize| {
        (0..fields).fold(Request::get("/n"), |r, n| r.field(&format!("x-{n}"), "y"))
    };
    assert_eq!(street.ask(&with(45)).status, 200);
    assert!([431, 400].contains(&status(&street, with(60).bytes())));
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_body_above_the_limit_is_refused_without_waiting_for_it() {
    let (server, street) = street("{ bodySize: 64KiB }");
    let fits = vec![b'x'; 64 * 1024];
    assert_eq!(street.ask(&Request::infer(&fits)).body.len(), fits.len());
    for length in ["65537", "1099511627776", "18446744073709551615"] {
        let head = format!(
            "POST {INFER} HTTP/1.1\r\nhost: m\r\ncontent-length: {length}\r\n\r\n"
        );
        // The last is no length that anything can have.
        let refused = if length.len() > 19 { [413, 400] } else { [413, 413] };
        assert!(refused.contains(&status(&street, head)), "{length}");
    }
    assert_eq!(server.requests(), 1, "a body that is too large is not begun");
    let mut chunked =
        format!("POST {INFER} HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        chunked += &format!("2000\r\n{}\r\n", "x".repeat(0x2000));
    }
    assert!([413, 0].contains(&status(&street, chunked + "0\r\n\r\n")));
    assert_eq!(
        street.version("v1")["failures"],
        0,
        "{:?}",
        street.metrics().classes("v1")
    );
    street.is_well();
}

#[test]
fn a_connection_takes_so_many_requests() {
    let (_server, street) = street("{ requestsPerConnection: 3 }");
    let mut client = Client::new(street.http);
    for turn in 1..=3 {
        let answer = client.ask(&Request::infer("{}"));
        let closes = answer.field("connection") == "close";
        assert_eq!((answer.status, closes), (200, turn == 3), "request {turn}");
    }
    assert!(client.is_closed(Duration::from_secs(5)));
}

#[test]
fn connections_above_the_limit_wait_or_go_and_the_admin_side_answers() {
    let (server, street) = street("{ maxConnections: 20, headerTimeout: 60s }");
    server.now(scripts::stalls());
    // All of them have something to wait for: none gives way to another.
    let held: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = Client::new(street.http);
            client.send(Request::infer("{}").bytes());
            client
        })
        .collect();
    wait::eventually("all are asked", wait::SOON, || {
        (server.requests() == 20).then_some(())
    });
    server.now(scripts::echo());
    let more: Vec<_> =
        (0..50).filter_map(|_| Client::try_new(street.http).ok()).collect();
    assert_eq!(street.admin(Request::get("/livez")).status, 200);
    assert_eq!(street.admin(Request::get("/readyz")).status, 200);
    street.metrics();
    let served = more.into_iter().take(5).filter_map(|mut client| {
        client.pipe.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        client.send(Request::infer("{}").bytes()).answer().ok()
    });
    assert!(
        served.filter(|answer| answer.status == 200).count() == 0,
        "a 21st was served"
    );
    drop(held);
    wait::eventually("places are given back", wait::SOON, || {
        let mut client = Client::try_new(street.http).ok()?;
        client.pipe.stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let answer = client.send(Request::infer("{}").bytes()).answer().ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn a_version_takes_so_many_at_once() {
    let server = ModelServer::new(scripts::stalls());
    let members = "role: stable, maxInFlight: 2";
    let route = crate::support::config::Route::new("iris");
    let config = Config::new([route.version("v1", members, &[server.url()])]);
    let street = Street::open(&config);
    let mut held: Vec<Client> = (0..2).map(|_| Client::new(street.http)).collect();
    for client in &mut held {
        client.send(Request::infer("{}").bytes());
    }
    wait::eventually("both are at the server", wait::SOON, || {
        (server.requests() == 2).then_some(())
    });
    let answer = street.ask(&Request::infer("{}"));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.field("proxy-status").contains("error="));
    assert_eq!(server.requests(), 2);
}

#[test]
fn labels_come_from_the_configuration_only() {
    let (_server, street) = street("{ headerCount: 100 }");
    street.ask(&Request::infer("{}"));
    let before = street.metrics().series();
    let mut client = Client::new(street.http);
    for number in 0..300 {
        let request = Request::new(&format!("M{number}"), &format!("/path-{number}"))
            .field("x-model-version", &format!("v{number}"))
            .field("x-model-pin", &format!("v{number}"))
            .host(&format!("h{number}.test"));
        assert!(client.ask(&request).status < 500);
    }
    let after = street.metrics().series();
    assert!(after <= before + 10, "{before} series became {after}");
}
