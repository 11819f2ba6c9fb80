//! From the table of shapes to JSON Schema, as `OpenAPI` 3.1 takes it.
//!
//! Apart from the table, which is long and has no logic.

use serde_json::{Map, Value, json};

use super::shapes::{Shape, TABLE};

/// All shapes as JSON Schema.
pub(super) fn all() -> Value {
    let named = TABLE.iter().map(|shape| (shape.0.to_owned(), schema(shape)));
    Value::Object(named.collect())
}

/// Points at a shape of the description.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn schema((_, closed, about, members): &Shape) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, kind) in *members {
        let schema = match kind.strip_suffix('?') {
            Some(kind) => json!({ "anyOf": [of(kind), { "type": "null" }] }),
            None => {
                required.push(*name);
                of(kind)
            }
        };
        properties.insert((*name).to_owned(), schema);
    }
    let mut schema = json!({
        "type": "object", "description": about, "properties": properties, "required": required,
    });
    if *closed {
        schema["additionalProperties"] = json!(false);
    }
    schema
}

fn of(kind: &str) -> Value {
    if let Some(item) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({ "type": "array", "items": of(item) });
    }
    if kind.contains('|') {
        return json!({ "type": "string", "enum": kind.split('|').collect::<Vec<_>>() });
    }
    match kind {
        "any" => json!({}),
        "share" => json!({ "type": ["number", "string"] }),
        "string" | "integer" | "number" | "boolean" => json!({ "type": kind }),
        name => reference(name),
    }
}
