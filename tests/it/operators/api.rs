//! Every operation of the API, driven once and held against the description that the same
//! process serves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::desk::{ALICE, BOB, get, json as parsed, plain, post};
use super::schema::faults;
use crate::support::client::{Answer, Request};
use crate::support::config::{Config, NO_RULES};
use crate::support::evidence::incident;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::street::Street;

/// An operation, what stands for the braces of its path, its body, and the status.
type Drive = (&'static str, &'static [(&'static str, &'static str)], Value, u16);

/// `ID` stands for the id of the rollback that is ordered below.
fn drives() -> Vec<Drive> {
    let (iris, id): (&[_], &[_]) = (&[("route", "iris")], &[("id", "ID")]);
    let none = Value::Null;
    let why = json!({ "reason": "a test" });
    vec![
        ("live", &[], none.clone(), 200),
        ("ready", &[], none.clone(), 200),
        ("healthLive", &[], none.clone(), 200),
        ("healthReady", &[], none.clone(), 200),
        ("metrics", &[], none.clone(), 200),
        ("dashboard", &[], none.clone(), 501),
        ("openapi", &[], none.clone(), 200),
        ("status", &[], none.clone(), 200),
        ("route", iris, none.clone(), 200),
        ("route", &[("route", "rose")], none.clone(), 404),
        (
            "setWeight",
            iris,
            json!({ "version": "v2", "weight": "20%", "reason": "a test" }),
            200,
        ),
        ("setWeight", iris, json!({ "version": "v2" }), 400),
        ("analysis", iris, none.clone(), 200),
        ("explain", &[("id", "iris")], none.clone(), 200),
        ("explainVersion", &[("route", "iris"), ("version", "v2")], none.clone(), 200),
        // The route has no rollout in its configuration.
        ("promote", iris, json!({ "reason": "a test", "full": true }), 409),
        ("pause", iris, why.clone(), 409),
        ("resume", iris, why.clone(), 409),
        ("abort", iris, why.clone(), 409),
        ("retry", iris, why.clone(), 409),
        ("freeze", iris, why.clone(), 409),
        ("setMode", iris, json!({ "mode": "readOnly", "reason": "a test" }), 200),
        ("route", iris, none.clone(), 200),
        ("setMode", iris, json!({ "mode": "normal", "reason": "a test" }), 200),
        ("rollback", iris, json!({ "version": "v2", "reason": "a test" }), 200),
        ("rollback", &[("route", "rose")], why, 404),
        ("rollbackRecord", id, none.clone(), 200),
        ("explain", id, none.clone(), 200),
        ("history", &[], none.clone(), 200),
        ("incidents", &[], none.clone(), 200),
        ("incident", id, none.clone(), 200),
        ("incidentMarkdown", id, none.clone(), 200),
        ("incidentJson", id, none.clone(), 200),
        ("incidentPlot", id, none.clone(), 200),
        ("incident", &[("id", "rb-0")], none.clone(), 404),
        ("quarantine", &[], none.clone(), 200),
        (
            "release",
            &[],
            json!({ "route": "iris", "version": "v2", "reason": "a test" }),
            200,
        ),
        ("notices", &[], none, 200),
        ("retryNotices", &[], json!({ "reason": "a test" }), 200),
        ("dropNotices", &[], json!({ "sink": "nobody", "reason": "a test" }), 409),
    ]
}

#[test]
fn every_operation_answers_as_the_description_says() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "10%", &canary).route_with(NO_RULES);
    let street = plain(&config);
    Load::new(street.http).requests(300).run().is_clean();
    let said = parsed(&get(&street, ALICE, "/api/v1/openapi.json"));
    let mut driven = BTreeSet::from(["events"]);
    let mut id = String::new();
    for (name, params, body, status) in drives() {
        let (path, method, operation) = find(&said, name);
        let mut path = path.to_owned();
        for (param, value) in params {
            let value = if *value == "ID" { &id } else { *value };
            path = path.replace(&format!("{{{param}}}"), value);
        }
        if !body.is_null() && status == 200 {
            let schema =
                &operation["requestBody"]["content"]["application/json"]["schema"];
            assert_eq!(faults(&said, schema, &body, name), [""; 0]);
        }
        let answer = match method {
            "post" => post(&street, ALICE, &path, &body),
            _ => get(&street, ALICE, &path),
        };
        assert_eq!(answer.status, status, "{name} {path}: {}", answer.text());
        holds(&said, operation, name, &answer);
        if name == "rollback" && status == 200 {
            id = parsed(&answer)["rollback_id"].as_str().unwrap().to_owned();
            street.has_rolled_back(&id);
        }
        driven.insert(name);
    }
    let all: BTreeSet<&str> = operations(&said).map(|(_, _, it)| name_of(it)).collect();
    assert_eq!(driven, all, "an operation that is not driven, or is no more");
}

trait Patient {
    fn has_rolled_back(&self, id: &str);
}

impl Patient for Street {
    /// Waits for the end of a rollback, and for its analysis.
    fn has_rolled_back(&self, id: &str) {
        let (facts, _) = incident(self, id);
        assert_eq!(facts["rollback"]["status"], "completed", "{facts:#}");
    }
}

/// Holds an answer against what the operation says of its status.
fn holds(said: &Value, operation: &Value, name: &str, answer: &Answer) {
    let status = answer.status.to_string();
    let response = &operation["responses"][&status];
    assert!(response.is_object(), "{name} does not say that it may answer {status}");
    let kind = answer.field("content-type");
    let content = &response["content"][&kind];
    assert!(content.is_object(), "{name} {status} does not say {kind}: {response:#}");
    if kind.ends_with("json") {
        let value = parsed(answer);
        assert_eq!(faults(said, &content["schema"], &value, name), [""; 0], "{value:#}");
    }
    assert_eq!(answer.field("cache-control"), "no-store", "{name}");
    assert_eq!(answer.field("x-content-type-options"), "nosniff", "{name}");
}

fn operations(said: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    said["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (&**path, &**method, operation))
    })
}

fn name_of(operation: &Value) -> &str {
    operation["operationId"].as_str().unwrap()
}

fn find<'s>(said: &'s Value, name: &str) -> (&'s str, &'s str, &'s Value) {
    let found = operations(said).find(|(_, _, operation)| name_of(operation) == name);
    found.unwrap_or_else(|| panic!("the description has no {name}"))
}

#[test]
fn every_operation_asks_for_the_role_that_it_says() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let street = plain(&Config::pair(&stable, "10%", &canary));
    let said = parsed(&get(&street, ALICE, "/api/v1/openapi.json"));
    for (path, method, operation) in operations(&said) {
        let name = name_of(operation);
        let role = operation["x-role"].as_str().unwrap();
        let path = path.replace(['{', '}'], "");
        let ask = |token: Option<&str>| {
            let mut request = Request::new(&method.to_uppercase(), &path);
            if method == "post" {
                request = Request::post(&path, "{}");
            }
            if let Some(token) = token {
                request = request.field("authorization", &format!("Bearer {token}"));
            }
            street.admin(request).status
        };
        let open = operation["security"].as_array().unwrap().is_empty()
            || operation["security"].as_array().unwrap().contains(&json!({}));
        if name != "events" {
            assert_eq!(ask(None) == 401, !open, "{name} without a token");
            let refused = role == "operator";
            assert_eq!(ask(Some(BOB)) == 403, refused, "{name} as a viewer");
        }
        let wrong = ask(Some("no-token-of-anybody"));
        assert_eq!(
            matches!(wrong, 401 | 429),
            !open,
            "{name} with a wrong token: {wrong}"
        );
    }
}
