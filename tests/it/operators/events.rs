//! Events of a running proxy: as they come, again after a cut, and for `status --watch`.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::desk::{ALICE, plain, post, token_file};
use crate::support::client::{Client, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::model_server::ModelServer;
use crate::support::street::{BINARY, Street};
use crate::support::wait::{self, SOON};

/// A stream as a browser would read it.
struct Stream {
    client: Client,
    held: String,
}

impl Stream {
    fn new(street: &Street, after: Option<&str>) -> Self {
        let mut request = Request::get("/api/v1/events").host("127.0.0.1");
        request = request.field("authorization", &format!("Bearer {ALICE}"));
        if let Some(after) = after {
            request = request.field("last-event-id", after);
        }
        let mut client = Client::new(street.admin);
        let (status, head) = client.send(request.bytes()).head().unwrap();
        assert_eq!(
            (status, head.field("content-type").as_deref()),
            (200, Some("text/event-stream"))
        );
        Self { client, held: String::new() }
    }

    /// The id, the name and the data of the next event.
    fn next(&mut self) -> (String, String, Value) {
        loop {
            if let Some((block, rest)) = self.held.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.held = rest;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(str::to_owned)
                };
                let Some(name) = field("event: ") else { continue };
                let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
                return (field("id: ").unwrap_or_default(), name, data);
            }
            let chunk = self.client.pipe.chunk().unwrap();
            assert!(!chunk.is_empty(), "the stream has ended");
            self.held += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// Skips to the next event of that name.
    fn find(&mut self, wanted: &str) -> (String, Value) {
        loop {
            let (id, name, data) = self.next();
            if name == wanted {
                return (id, data);
            }
        }
    }
}

fn weigh(street: &Street, weight: u32) {
    let order = json!({ "version": "v2", "weight": weight, "reason": "a test" });
    assert_eq!(post(street, ALICE, "/api/v1/routes/iris/weight", &order).status, 200);
}

#[test]
fn changes_are_told_in_order_and_again_after_a_cut() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(&Config::pair(&stable, "10%", &canary).route_with(NO_RULES));
    let mut stream = Stream::new(&street, None);
    weigh(&street, 20);
    let (first, said) = stream.find("weight.set");
    assert_eq!((&said["route"], &said["version"]), (&"iris".into(), &"v2".into()));
    assert_eq!(said["data"]["weight"], 20.0, "{said:#}");
    assert_eq!(said["data"]["operator"]["id"], "alice", "{said:#}");
    weigh(&street, 30);
    let order = json!({ "reason": "a test" });
    let path = "/api/v1/routes/iris/rollback";
    assert_eq!(post(&street, ALICE, path, &order).status, 200);
    let (_, begun) = stream.find("rollback.started");
    let (last, ended) = stream.find("rollback.completed");
    let id = |said: &Value| said["data"]["rollback_id"].as_str().unwrap().to_owned();
    assert_eq!(id(&begun), id(&ended));

    let mut again = Stream::new(&street, Some(&first));
    let (_, name, said) = again.next();
    assert_eq!((&*name, &said["data"]["weight"]), ("weight.set", &30.0.into()));
    assert_eq!(again.find("rollback.completed").0, last);
    let (_, name, _) = Stream::new(&street, Some("1")).next();
    assert_eq!(name, "missed", "the events of an earlier run");
}

#[test]
fn a_watched_status_shows_a_change_at_once() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(&Config::pair(&stable, "10%", &canary).route_with(NO_RULES));
    let (admin, token) =
        (format!("http://{}", street.admin), token_file(street.dir().path()));
    let mut watching = Command::new(BINARY)
        .args(["status", "--watch", "--admin", &admin, "--token-file", &token])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut from = watching.stdout.take().unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&seen);
    let reader = thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(got @ 1..) = from.read(&mut piece) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..got]));
        }
    });
    let shows = |what: &str| {
        wait::eventually(&format!("the watch shows {what:?}"), SOON, || {
            seen.lock().unwrap().contains(what).then_some(())
        });
    };
    shows("route iris: Healthy");
    // Until its stream stands; what comes before that is in the table only.
    wait::eventually("the watch hears of an order", SOON, || {
        weigh(&street, 20);
        seen.lock().unwrap().contains("weight.set iris v2").then_some(())
    });
    shows("events:");
    watching.kill().unwrap();
    watching.wait().unwrap();
    reader.join().unwrap();
}
