//! Given one client who wants the canary rolled back and may not order it, when it sends a
//! thousand requests that are slow, cut off, malformed, wrong or too many, then none of them
//! speaks against the canary: no protect, no rollback, and nobody else notices anything.
//! (issue 4: bad input, 0 of 1,000 attempts)

use std::sync::Arc;

use crate::support::client::{Client, Request};
use crate::support::config::{Config, TWO_STAGES};
use crate::support::load::Load;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::street::Street;

/// A model server that says what is wrong with a request, as real ones do.
fn strict(model: &str) -> Script {
    let (well, badly) = (scripts::good(model), scripts::status(422));
    Arc::new(move |ask, line| match line.body() {
        Ok(body) if body.is_empty() || body.starts_with(b"{") => well(ask, line),
        Ok(_) => badly(ask, line),
        Err(_) => Then::Close,
    })
}

fn attempt(street: &Street, number: usize, held: &mut Vec<Client>) {
    let mut client = Client::new(street.http);
    let head = |fields: &str| {
        format!("POST /v2/models/iris/infer HTTP/1.1\r\nhost: m\r\n{fields}\r\n")
    };
    let said = match number % 10 {
        // Half of a body, then gone.
        0 => (head("content-length: 100\r\n") + "{\"inputs\"").into_bytes(),
        1 => b"\x01\x02 nonsense\r\n\r\n".to_vec(),
        // A body that the model refuses, whose answer nobody waits for.
        2 => Request::infer("not json").bytes(),
        // A body that never comes to its end.
        3 => {
            client.send(head("content-length: 100\r\n") + "{");
            held.push(client);
            return;
        }
        // Gone before the answer.
        4 => Request::infer("{\"inputs\":[1]}").bytes(),
        5 => head("content-length: 5\r\ncontent-length: 6\r\n").into_bytes(),
        6 => (head("transfer-encoding: chunked\r\n") + "zz\r\nabc\r\n").into_bytes(),
        7 => head(&format!("x-fat: {}\r\n", "y".repeat(100_000))).into_bytes(),
        // A flood on one connection.
        8 => Request::infer("{\"inputs\":[2]}").bytes().repeat(50),
        _ => {
            let answer = client.ask(&Request::infer("no json either"));
            assert_eq!(answer.status, 422, "{}", answer.text());
            return;
        }
    };
    client.send(said);
}

#[test]
fn none_of_a_thousand_attempts_speaks_against_the_canary() {
    let (stable, canary) =
        (ModelServer::new(strict("v1")), ModelServer::new(strict("v2")));
    let config = Config::pair(&stable, "50%", &canary).route_with(TWO_STAGES);
    let street = Street::open(&config);
    let load = Load::new(street.http).clients(2).start();
    load.reaches(200);
    let mut held = Vec::new();
    for number in 0..1_000 {
        attempt(&street, number, &mut held);
    }
    drop(held);
    load.reaches(load.sent() + 500);
    load.stop().is_clean();
    let route = street.status()["routes"][0].clone();
    assert!(route["last_rollback"].is_null(), "{:#}", route["last_rollback"]);
    assert!(route["last_protect"].is_null(), "{:#}", route["last_protect"]);
    assert_eq!(street.version("v2")["state"], "serving");
    assert_eq!(street.metrics().sum("rollback_triggered_total", &[]), 0.0);
    street.is_well();
}
