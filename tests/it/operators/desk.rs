//! A proxy with alice, who may do everything, and bob, who may look, and how they ask.

use std::path::Path;

use serde_json::Value;

use crate::support::client::{Answer, Request};
use crate::support::config::Config;
use crate::support::street::{Dir, Street, run};
use crate::support::wait::{self, SOON};

pub const ALICE: &str = "alices-own-token-0123456789";
pub const BOB: &str = "bobs-own-token-0123456789";

/// A running proxy of that configuration, where `admin` stands for what else the operators'
/// side has.
pub fn open(config: &Config, dir: Dir, admin: &str) -> Street {
    let (alice, bob) = (dir.write("alice", ALICE), dir.write("bob", BOB));
    let operators = format!(
        "operators: [{{ name: alice, tokenFile: {alice:?}, role: operator }}, \
         {{ name: bob, tokenFile: {bob:?}, role: viewer }}]"
    );
    let open = "admin: { address: \"127.0.0.1:0\" }";
    let named = format!("admin: {{ address: \"127.0.0.1:0\", {operators}{admin} }}");
    let text = config.yaml(dir.path());
    assert!(text.contains(open), "{text}");
    dir.write("switchback.yaml", &text.replace(open, &named));
    Street::start(dir, "switchback.yaml")
}

/// The same without anything else, once it lets alice in.
pub fn plain(config: &Config) -> Street {
    let street = open(config, Dir::new(), "");
    wait::eventually("alice is let in", SOON, || {
        (get(&street, ALICE, "/api/v1/status").status == 200).then_some(())
    });
    street
}

/// Looks as the bearer of that token.
pub fn get(street: &Street, token: &str, path: &str) -> Answer {
    street.admin(Request::get(path).field("authorization", &format!("Bearer {token}")))
}

/// Orders as the bearer of that token.
pub fn post(street: &Street, token: &str, path: &str, body: &Value) -> Answer {
    let order = Request::post(path, body.to_string());
    let order = order.field("content-type", "application/json");
    street.admin(order.field("authorization", &format!("Bearer {token}")))
}

/// The JSON of an answer.
pub fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// Runs a remote verb with these further words; its exit code and what it printed where.
pub fn verb(words: &[&str], further: &[&str]) -> (Option<i32>, String, String) {
    let output = run(words.iter().chain(further));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs a remote verb as alice.
pub fn as_alice(street: &Street, words: &[&str]) -> (Option<i32>, String, String) {
    let admin = format!("http://{}", street.admin);
    let token = token_file(street.dir().path());
    verb(words, &["--admin", &admin, "--token-file", &token])
}

/// Where alice's token is.
pub fn token_file(dir: &Path) -> String {
    dir.join("alice").display().to_string()
}
