//! As much of JSON Schema 2020-12 as the API's description uses, stricter than it: a member
//! that an object's schema does not name is a fault, so that a shape cannot be left behind.

use serde_json::Value;

/// Everything about `value` that `schema` does not allow; `root` is what references point
/// into.
pub fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        let target = root.pointer(pointer);
        let target = target.unwrap_or_else(|| panic!("{reference} points nowhere"));
        return faults(root, target, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Vec<_> = any.iter().map(|one| faults(root, one, value, at)).collect();
        if all.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        return all.into_iter().next().unwrap();
    }
    let mut found = Vec::new();
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at}: {value} is none of {words:?}"));
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{at}: no such type: {other}"),
    };
    let fits = match &schema["type"] {
        Value::Null => true,
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            panic!("{at}: {} is no type", schema["type"])
        }
    };
    if !fits {
        found.push(format!("{at}: {value} is not {}", schema["type"]));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (place, value) in values.iter().enumerate() {
            found.extend(faults(root, items, value, &format!("{at}[{place}]")));
        }
    }
    if let (Some(known), Some(members)) =
        (schema["properties"].as_object(), value.as_object())
    {
        for (name, value) in members {
            match known.get(name) {
                Some(schema) => {
                    found.extend(faults(root, schema, value, &format!("{at}.{name}")));
                }
                // One without members is any object.
                None if known.is_empty() => {}
                None => found.push(format!("{at}.{name} is in no schema")),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !members.contains_key(name) {
                found.push(format!("{at}.{name} is missing"));
            }
        }
    }
    found
}
