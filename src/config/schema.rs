//! The JSON Schema of the file, printed from the same table that reads it.
//!
//! Apart because editors and pipelines read it, not this program. Every single value may
//! also be a text with an insertion, which only loading can judge.

use serde_json::{Map, Value, json};

use super::file::FILE;
use super::shape::{Key, Need, Shape};
use super::units;

/// The JSON Schema (2020-12) of a configuration file, as indented text.
#[must_use]
pub fn schema() -> String {
    let Value::Object(shape) = of_keys(FILE) else { return String::new() };
    let mut schema = Map::new();
    schema
        .insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "Switchback configuration".into());
    schema.extend(shape);
    format!("{:#}", Value::Object(schema))
}

fn of_keys(keys: &[Key]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        properties.insert(key.name.to_owned(), of_key(key));
    }
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| matches!(key.need, Need::Required))
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn of_key(key: &Key) -> Value {
    let shape = of_shape(&key.shape);
    let mut schema = match key.need {
        Need::Required => shape,
        // Null is the same as absent.
        Need::Optional | Need::Default(_) => {
            json!({ "anyOf": [shape, { "type": "null" }] })
        }
    };
    if let Value::Object(schema) = &mut schema {
        let about = if let Shape::NotBuilt { why, .. } = &key.shape {
            format!("{} (not built yet: {why})", key.about)
        } else {
            key.about.to_owned()
        };
        schema.insert("description".into(), about.into());
        if let Need::Default(text) = key.need {
            schema.insert("default".into(), default(&key.shape, text));
        }
    }
    schema
}

fn default(shape: &Shape, text: &str) -> Value {
    if matches!(shape, Shape::List { .. }) {
        return text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    }
    // A number or a boolean is printed as one.
    let bare = matches!(shape, Shape::Flag | Shape::Count { .. });
    serde_json::from_str(text).ok().filter(|_| bare).unwrap_or_else(|| json!(text))
}

fn of_shape(shape: &Shape) -> Value {
    match shape {
        Shape::Map(keys) => of_keys(keys),
        Shape::Named(variants) => of_variants("name", variants),
        Shape::Typed(variants) => of_variants("type", variants),
        Shape::Headers => {
            json!({ "type": "object", "additionalProperties": of_shape(&TEXT) })
        }
        Shape::List { of, least, most } => json!({
            "type": "array",
            "items": of_shape(of),
            "minItems": least,
            "maxItems": most,
        }),
        // What stands without quotes may look like a number or a boolean.
        Shape::Text(_) => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Word { built, .. } => {
            let bare = built.iter().filter_map(|word| word.parse::<bool>().ok());
            let words = built.iter().map(|word| json!(word)).chain(bare.map(Value::from));
            or_inserted(&json!({ "enum": words.collect::<Vec<_>>() }))
        }
        Shape::Flag => or_inserted(&json!({ "type": "boolean" })),
        Shape::Count { least, most, word } => {
            let number = json!({ "type": "integer", "minimum": least, "maximum": most });
            match word {
                Some(word) => {
                    or_inserted(&json!({ "anyOf": [number, { "const": word }] }))
                }
                None => or_inserted(&number),
            }
        }
        Shape::Number { least, most } => {
            or_inserted(&json!({ "type": "number", "minimum": least, "maximum": most }))
        }
        Shape::Span { .. } => or_inserted(&json!({
            "type": "string",
            "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 2,
        })),
        Shape::Size { .. } => or_inserted(&json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+([KMG]iB|[kKMG]?B)?$" },
        ] })),
        Shape::Percent => or_inserted(&json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": 100 },
            { "type": "string", "pattern": "^[0-9]*[.]?[0-9]*%?$" },
        ] })),
        Shape::NotBuilt { .. } => {
            json!({ "enum": [json!(null), json!(false), json!("off"), json!("none"), json!([])] })
        }
    }
}

fn of_variants(tag: &str, variants: &[(&str, &[Key])]) -> Value {
    let of_variant = |(name, keys): &(&str, &[Key])| {
        let mut schema = of_keys(keys);
        schema["properties"][tag] = json!({ "const": name });
        schema
    };
    json!({ "oneOf": variants.iter().map(of_variant).collect::<Vec<_>>() })
}

fn or_inserted(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": "\\$\\{" }] })
}

/// Any text.
const TEXT: Shape = Shape::Text(units::line);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::schema;

    #[test]
    fn the_schema_has_the_keys_and_defaults_of_the_table() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        assert_eq!(schema["required"], serde_json::json!(["listeners", "routes"]));
        assert_eq!(schema["additionalProperties"], false);
        let route = &schema["properties"]["routes"]["items"];
        let timeouts = &route["properties"]["timeouts"]["anyOf"][0]["properties"];
        assert_eq!(timeouts["firstByte"]["default"], "120s");
        let retry = &route["properties"]["retry"]["anyOf"][0]["properties"];
        assert_eq!(retry["attempts"]["default"], 1);
        assert_eq!(
            retry["on"]["default"],
            serde_json::json!(["connect", "reset", "503"])
        );
        let shadow = route["properties"]["shadow"]["description"].as_str().unwrap();
        assert!(shadow.contains("not built yet"), "{shadow}");
    }
}
