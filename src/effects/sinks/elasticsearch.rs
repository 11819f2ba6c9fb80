//! Elasticsearch: lines of the audit log, by its bulk API.
//!
//! `POST /{index}/_bulk` takes, as `application/x-ndjson`, a line `{"create": {"_id"}}`
//! before each document, and answers 200 with a status for each. The id is the record's
//! hash, so that a repetition is a conflict (409), which is as good as taken. `create` is
//! what a data stream wants too, and so is the member `@timestamp` that is added.

use std::fmt::Write as _;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::door::Door;
use crate::clock;
use crate::effects::post::Call;
use crate::effects::sink::{BoxFuture, Shipped, Shipper, SinkError};
use crate::effects::text::{percent_encoded, shown};
use crate::vocab::time::Timestamp;

#[derive(Debug)]
pub(super) struct Elasticsearch {
    pub(super) door: Door,
    pub(super) index: String,
}

/// A record of the audit log as far as it is looked at.
#[derive(Default, Deserialize)]
struct Line {
    hash: Option<String>,
    seq: Option<u64>,
    recorded_at: Option<Timestamp>,
    timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Bulk {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Created,
}

#[derive(Deserialize)]
struct Created {
    status: u16,
    error: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Shipper for Elasticsearch {
    fn ship<'a>(
        &'a self,
        lines: &'a [String],
    ) -> BoxFuture<'a, Result<Shipped, SinkError>> {
        Box::pin(async move {
            let open = self.door.open().await?;
            // Only what is looked at, so that the answer for a full batch is short.
            let path = format!(
                "{}/_bulk?filter_path=errors,items.*.status,items.*.error.type",
                percent_encoded(&self.index)
            );
            let call =
                Call::new(Method::POST, "application/x-ndjson", bulk(lines).into());
            let answer = open.send(&open.target.below(&path), call).await?;
            let bulk: Bulk = open.read(&answer)?;
            if !bulk.errors {
                return Ok(Shipped::default());
            }
            if bulk.items.len() != lines.len() {
                let (has, of) = (bulk.items.len(), lines.len());
                let why =
                    format!("{} said something of {has} of {of} lines", open.target);
                return Err(SinkError::again(why));
            }
            Ok(sorted(&bulk.items))
        })
    }
}

fn sorted(items: &[Item]) -> Shipped {
    let mut shipped = Shipped::default();
    for (place, Item { create }) in items.iter().enumerate() {
        let kind = create.error.as_ref().and_then(|error| error.kind.as_deref());
        let kind = shown(kind.unwrap_or("no reason").as_bytes());
        let why = format!("a line was answered {}: {kind}", create.status);
        match create.status {
            200..=299 | 409 => {}
            429 | 500..=599 => {
                shipped.again.push(place);
                shipped.why.get_or_insert(why);
            }
            _ => shipped.refused.push((place, why)),
        }
    }
    shipped
}

fn bulk(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        let read: Line = serde_json::from_str(line).unwrap_or_default();
        let id = read.hash.or(read.seq.map(|seq| seq.to_string()));
        let create = match id {
            Some(id) => json!({ "create": { "_id": id } }),
            None => json!({ "create": {} }),
        };
        let at = read.recorded_at.or(read.timestamp).unwrap_or_else(clock::wall);
        // Writing into a `String` does not fail.
        let _done = writeln!(text, "{create}");
        let _done = match line.trim_end().strip_prefix('{') {
            Some(rest) if rest != "}" => {
                writeln!(text, "{{\"@timestamp\":\"{at}\",{rest}")
            }
            Some(_) | None => {
                writeln!(text, "{}", json!({ "@timestamp": at, "message": line }))
            }
        };
    }
    text
}
