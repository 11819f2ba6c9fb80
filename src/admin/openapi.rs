//! The API's description in `OpenAPI` 3.1, made of the table that the router reads.
//!
//! Apart from the table because it is only words: what each path may refuse follows from
//! what it asks for, so nothing here is said twice.

use serde_json::{Map, Value, json};

use super::auth::Access;
use super::schemas;
use super::table::{Call, Entry, Gives, Look, TABLE};

/// The whole description.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for entry in TABLE {
        let method = if entry.posts() { "post" } else { "get" };
        paths.insert(entry.path.to_owned(), json!({ method: operation(entry) }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Switchback",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
        },
    })
}

fn operation(entry: &Entry) -> Value {
    let params = entry.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({
            "name": name, "in": "path", "required": true,
            "schema": { "type": "string" },
        }))
    });
    let mut params: Vec<Value> = params.collect();
    if entry.call == Call::Events {
        params.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "schema": { "type": "integer", "minimum": 0 },
        }));
    }
    let mut said = json!({
        "operationId": entry.name,
        "summary": entry.about,
        "parameters": params,
        "security": security(entry.access),
        "x-role": role(entry.access),
        "responses": responses(entry),
    });
    if let Some(takes) = entry.takes {
        said["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schemas::reference(takes) } },
        });
    }
    said
}

/// Whoever may do nothing needs to show nothing.
fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Scrape => json!([{ "token": [] }, { "certificate": [] }, {}]),
        Access::Role(_) => json!([{ "token": [] }, { "certificate": [] }]),
    }
}

fn role(access: Access) -> &'static str {
    match access {
        Access::Open => "none",
        Access::Scrape => "viewer",
        Access::Role(role) => role.as_str(),
    }
}

fn responses(entry: &Entry) -> Value {
    let mut all = Map::new();
    let good = match entry.gives {
        Gives::Json(schema) => {
            Some(content("application/json", &schemas::reference(schema)))
        }
        Gives::Text(kind) => Some(content(kind, &json!({ "type": "string" }))),
        Gives::Events => {
            let mut events = content("text/event-stream", &json!({ "type": "string" }));
            events["x-event-data"] = schemas::reference("Event");
            Some(events)
        }
        Gives::Nothing => None,
    };
    if let Some(mut good) = good {
        good["description"] = json!("All is well.");
        all.insert("200".to_owned(), good);
    }
    for status in refusals(entry) {
        let content = if entry.call == READY && *status == 503 {
            content("text/plain; charset=utf-8", &json!({ "type": "string" }))
        } else {
            content("application/problem+json", &schemas::reference("Problem"))
        };
        let mut refusal = content;
        refusal["description"] = json!(about(*status));
        if matches!(status, 429 | 503) && entry.call != READY {
            refusal["headers"] = json!({
                "Retry-After": {
                    "description": "Seconds to wait.",
                    "schema": { "type": "integer", "minimum": 0 },
                },
            });
        }
        all.insert(status.to_string(), refusal);
    }
    Value::Object(all)
}

fn content(kind: &str, schema: &Value) -> Value {
    json!({ "content": { kind: { "schema": schema } } })
}

/// The statuses that are not 200 and may come.
fn refusals(entry: &Entry) -> &'static [u16] {
    match (entry.call, entry.access) {
        (Call::Look(Look::Ready), _) => &[403, 503],
        (Call::Look(Look::Dashboard), _) => &[403, 501],
        (_, Access::Open) => &[403],
        (_, Access::Scrape) => &[401, 403, 429, 503],
        _ if entry.posts() => &[400, 401, 403, 404, 408, 409, 413, 429, 501, 503],
        (Call::Look(Look::Notices), _) => &[400, 401, 403, 429, 501, 503],
        (Call::Look(Look::OpenApi), _) => &[400, 401, 403, 429],
        (Call::Look(Look::Incidents), _) => &[400, 401, 403, 429, 500],
        (Call::Look(Look::Incident | Look::Report(_)), _) => {
            &[400, 401, 403, 404, 429, 500]
        }
        _ if entry.path.contains('{') => &[400, 401, 403, 404, 429, 503],
        _ => &[400, 401, 403, 429, 503],
    }
}

fn about(status: u16) -> &'static str {
    match status {
        400 => "The request says too little, too much, or something wrong.",
        401 => "No credential, or none that anybody has.",
        403 => "The caller may not do this, or the request was meant for another host.",
        404 => "There is nothing of that name.",
        408 => "The body did not come in time.",
        409 => "The order makes no sense as things stand.",
        413 => "The body is too large.",
        429 => "Too many calls, or too many wrong tokens.",
        500 => "What is on disk cannot be read.",
        501 => "This build or this configuration has no such thing.",
        _ => "Not now.",
    }
}

const READY: Call = Call::Look(Look::Ready);
const ABOUT: &str = "The operators' side of Switchback. An order needs a reason; the \
    operator's name is the credential's and never the request's. Unknown members of a body are \
    refused. Errors are application/problem+json (RFC 9457).";

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::document;
    use crate::admin::shapes;
    use crate::admin::table::TABLE;

    /// Every `$ref` in it.
    fn references(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str() {
                        Some(to) if name == "$ref" => into.push(to.to_owned()),
                        _ => references(value, into),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_entry_of_the_table_is_in_it() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        for entry in TABLE {
            let method = if entry.posts() { "post" } else { "get" };
            let said = &document["paths"][entry.path][method];
            assert_eq!(said["operationId"], entry.name, "{}", entry.path);
            assert_eq!(said["requestBody"].is_object(), entry.posts(), "{}", entry.path);
            assert!(said["x-role"].is_string() && said["security"].is_array());
            let responses = said["responses"].as_object().unwrap();
            assert!(!responses.is_empty());
            for (status, response) in responses {
                assert!(response["description"].is_string(), "{} {status}", entry.path);
                assert!(response["content"].is_object(), "{} {status}", entry.path);
            }
            let braces = entry.path.matches('{').count();
            let params = said["parameters"].as_array().unwrap();
            let in_path = params.iter().filter(|param| param["in"] == "path").count();
            assert_eq!(in_path, braces, "{}", entry.path);
        }
        assert_eq!(document["paths"].as_object().unwrap().len(), TABLE.len());
    }

    #[test]
    fn every_reference_resolves_and_every_schema_is_used() {
        let document = document();
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(all.len() > 40, "{}", all.len());
        for reference in &all {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for (name, ..) in shapes::TABLE {
            let used = all.contains(&format!("#/components/schemas/{name}"));
            assert!(used, "{name} is described and used nowhere");
        }
    }
}
