//! Where a route asks for it (`incident: { bodies }`), the samples of its failed exchanges
//! show what was asked and answered; nothing else ever does, and what callers get is the same
//! as without. `secrets` is the other half: without the key nothing is written down. (row 33)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::secrets::telling;
use crate::support::client::{Answer, Request};
use crate::support::config::Config;
use crate::support::evidence;
use crate::support::model_server::{ModelServer, Script, Then};
use crate::support::scripts;
use crate::support::sinks::Office;
use crate::support::street::{Dir, Street};
use crate::support::wait;

/// What failed exchanges say, and what good ones do.
const ASKED: &str = "asked-of-one-that-fails";
const FAILED: &str = "said-by-one-that-fails";
const WELL: &str = "said-by-one-that-works";

/// The ways in which a version fails here, one after the other.
const WAYS: u64 = 6;

/// Fails in each way in turn; in the odd rounds as servers do that write a head and what
/// follows it in two goes.
fn fails() -> Script {
    let count = AtomicU64::new(0);
    Arc::new(move |_, line| {
        if line.body().is_err() {
            return Then::Close;
        }
        let n = count.fetch_add(1, Ordering::Relaxed);
        let chunked =
            "HTTP/1.1 502 X\r\ntransfer-encoding: chunked\r\ntrailer: x-why\r\n\r\n";
        let (head, rest, then) = match n % WAYS {
            0 => {
                let json = format!("{{\"error\":\"{FAILED}\"}}");
                let head =
                    format!("HTTP/1.1 500 X\r\ncontent-length: {}\r\n\r\n", json.len());
                (head, json.into_bytes(), Then::Keep)
            }
            1 => {
                let text = format!(
                    "{:x}\r\n{FAILED}\r\n0\r\nx-why: {FAILED}\r\n\r\n",
                    FAILED.len()
                );
                (chunked.to_owned(), text.into_bytes(), Then::Keep)
            }
            2 => {
                let mut bytes = vec![0x1f, 0x8b, 0, 0xff];
                bytes.extend_from_slice(FAILED.as_bytes());
                let head =
                    format!("HTTP/1.1 503 X\r\ncontent-length: {}\r\n\r\n", bytes.len());
                (head, bytes, Then::Keep)
            }
            3 => {
                let long = FAILED.repeat(2_000);
                let head =
                    format!("HTTP/1.1 500 X\r\ncontent-length: {}\r\n\r\n", long.len());
                (head, long.into_bytes(), Then::Keep)
            }
            // Good by its head, and then cut short.
            4 => {
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n".to_owned();
                (head, FAILED.as_bytes().to_vec(), Then::Close)
            }
            // Bad by its head, and cut short as well.
            _ => {
                (chunked.to_owned(), format!("63\r\n{FAILED}").into_bytes(), Then::Close)
            }
        };
        let apart = (n / WAYS) % 2 == 1;
        if apart {
            if !line.send(head) {
                return Then::Close;
            }
            wait::linger(Duration::from_millis(1));
        } else {
            return if line.send([head.as_bytes(), &rest].concat()) {
                then
            } else {
                Then::Close
            };
        }
        if line.send(rest) { then } else { Then::Close }
    })
}

fn ask(street: &Street) -> Answer {
    let body = format!("{{\"prompt\":\"{ASKED}\"}}");
    street
        .ask(&Request::infer(body).field("authorization", "Bearer secret-canary-string"))
}

/// The samples in the analysis of the rollback of that version.
fn samples(street: &Street) -> Vec<Value> {
    let record = evidence::audited(street, "rollback.completed");
    let id =
        record["rollback"]["rollback_id"].as_str().or(record["rollback_id"].as_str());
    let (facts, page) = evidence::incident(street, id.unwrap());
    let samples = facts["failed_exchanges"].as_array().unwrap().clone();
    let shows = samples.iter().any(|sample| sample.get("response_body").is_some());
    assert_eq!(page.contains(FAILED), shows, "{page}");
    samples
}

fn rolled_back(config: &Config) -> (Street, Office) {
    let (office, dir) = (Office::open(), Dir::new());
    let config = config.clone().with(&office.notify(&dir));
    dir.write("switchback.yaml", &config.yaml(dir.path()));
    let street = Street::start(dir, "switchback.yaml");
    wait::eventually("the canary loses its traffic", 3 * wait::SOON, || {
        for _ in 0..20 {
            let answer = ask(&street);
            assert_eq!(
                (answer.status, answer.is_whole()),
                (200, true),
                "a user is rescued"
            );
            assert!(answer.text().contains(WELL), "{}", answer.text());
        }
        (street.version("v2")["state"] == "quarantined").then_some(())
    });
    street.rolled_back("v2");
    (street, office)
}

#[test]
fn samples_show_bodies_where_a_route_asks_for_them_and_nothing_else_does() {
    let (stable, canary) =
        (ModelServer::new(scripts::good(WELL)), ModelServer::new(fails()));
    let config =
        Config::pair(&stable, "50%", &canary).route_with("incident: { bodies: 100B }");
    let (street, office) = rolled_back(&config);
    let samples = samples(&street);
    assert!(samples.len() >= 2, "{samples:?}");
    let asked = format!("{{\"prompt\":\"{ASKED}\"}}");
    for sample in &samples {
        assert_eq!(sample["request_body"], asked, "{sample}");
        let said = sample["response_body"].as_str().unwrap_or("");
        let binary = said == format!("({} bytes, not text)", FAILED.len() + 4);
        let text = said.contains(FAILED);
        // One that has not come within some milliseconds on a full machine is left out.
        assert!(binary || text || said.is_empty(), "{sample}");
        assert!(said.len() <= 100 + "…".len(), "{sample}");
        if said.len() > 90 {
            assert!(said.ends_with('…'), "{sample}");
        }
    }
    assert!(
        samples.iter().any(|sample| sample["response_body"].is_string()),
        "{samples:?}"
    );
    nothing_else_tells(&street, &office, true);
}

/// Of what failed only the analysis tells, and that only where bodies are shown; of what went
/// well and of credentials nothing at all.
fn nothing_else_tells(street: &Street, office: &Office, shown: bool) {
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    telling(street.dir().path(), &["secret-canary-string", WELL], &mut found);
    telling(street.dir().path(), &[ASKED, FAILED], &mut failed);
    failed.retain(|place| !shown || !place.contains("/state/incidents/"));
    found.extend(failed);
    let mut said = vec![("the log".to_owned(), street.log())];
    for path in ["/metrics", "/api/v1/status", "/api/v1/history", "/api/v1/incidents"] {
        said.push((path.to_owned(), street.admin(Request::get(path)).text()));
    }
    said.extend(office.letters().into_iter().map(|it| (it.product.to_owned(), it.text)));
    assert!(!office.letters().is_empty());
    for (place, text) in &said {
        for secret in [ASKED, FAILED, WELL, "secret-canary-string"] {
            if text.contains(secret) {
                found.push(format!("{secret} in {place}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn samples_show_no_bodies_by_default() {
    for line in ["incident: {}", "incident: { bodies: 0B }"] {
        let stable = ModelServer::new(scripts::good(WELL));
        let canary = ModelServer::new(fails());
        let config = Config::pair(&stable, "50%", &canary).route_with(line);
        let (street, office) = rolled_back(&config);
        for sample in samples(&street) {
            let bodies = [&sample["request_body"], &sample["response_body"]];
            assert_eq!(bodies, [&Value::Null, &Value::Null], "{sample}");
        }
        nothing_else_tells(&street, &office, false);
    }
}

/// What callers of a version get that fails in every way, nobody being there to rescue them.
fn answers(line: &str) -> Vec<(u16, Vec<u8>, bool, String)> {
    let stable = ModelServer::new(fails());
    let config =
        Config::plain(&stable).route_with("retry: { attempts: 0 }").route_with(line);
    let street = Street::open(&config);
    let tell = |answer: Answer| {
        let trailer = answer.end.as_ref().ok().and_then(|end| end.field("x-why"));
        (
            answer.status,
            answer.body.clone(),
            answer.is_whole(),
            trailer.unwrap_or_default(),
        )
    };
    (0..2 * WAYS).map(|_| tell(ask(&street))).collect()
}

#[test]
fn callers_get_the_same_answers_whether_bodies_are_shown_or_not() {
    let (without, with) =
        (answers("incident: {}"), answers("incident: { bodies: 4KiB }"));
    for (way, (one, other)) in without.iter().zip(&with).enumerate() {
        assert_eq!(one.0, other.0, "way {way}");
        assert_eq!((one.2, &one.3), (other.2, &other.3), "way {way}");
        assert!(!one.2 || one.1 == other.1, "way {way}");
    }
    assert_eq!(with.iter().filter(|answer| !answer.2).count(), 4, "{with:?}");
}
