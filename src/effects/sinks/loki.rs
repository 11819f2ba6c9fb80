//! Grafana Loki: lines of the audit log, by its push API.
//!
//! `POST /loki/api/v1/push` takes `{"streams": [{"stream": {labels}, "values": [["ns",
//! "line"], …]}]}` and answers 204. The labels are few and have few values: `job` and the
//! record's `kind`. A line that came before, at the same time in the same stream, is
//! dropped by Loki, so that a repetition changes nothing.

use std::collections::BTreeMap;

use http::Method;
use http::header::HeaderName;
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::Door;
use crate::clock;
use crate::effects::post::Call;
use crate::effects::sink::{BoxFuture, Shipped, Shipper, SinkError};
use crate::effects::text::clipped;
use crate::vocab::time::Timestamp;

#[derive(Debug)]
pub(super) struct Loki {
    pub(super) door: Door,
    pub(super) tenant: Option<String>,
}

/// A record of the audit log as far as it is looked at.
#[derive(Deserialize)]
struct Line {
    kind: Option<String>,
    /// When it was written down, where that is not when it happened.
    recorded_at: Option<Timestamp>,
    timestamp: Option<Timestamp>,
}

impl Shipper for Loki {
    fn ship<'a>(
        &'a self,
        lines: &'a [String],
    ) -> BoxFuture<'a, Result<Shipped, SinkError>> {
        Box::pin(async move {
            let open = self.door.open().await?;
            let never = |error: crate::effects::post::PostError| SinkError::Never {
                why: error.to_string(),
            };
            let mut call = Call::json(Method::POST, &push(lines)).map_err(never)?;
            if let Some(tenant) = &self.tenant {
                let name = HeaderName::from_static("x-scope-orgid");
                call = call.header(name, tenant).map_err(never)?;
            }
            let target = open.target.below("loki/api/v1/push");
            open.is_taken(&open.send(&target, call).await?)?;
            Ok(Shipped::default())
        })
    }
}

fn push(lines: &[String]) -> Value {
    let mut streams: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in lines {
        let read: Option<Line> = serde_json::from_str(line).ok();
        let kind = read.as_ref().and_then(|line| line.kind.as_deref());
        let kind = clipped(kind.unwrap_or("unknown"), 64).into_owned();
        let at = read.and_then(|line| line.recorded_at.or(line.timestamp));
        let ns = u128::from(at.unwrap_or_else(clock::wall).0) * 1_000_000;
        streams.entry(kind).or_default().push(json!([ns.to_string(), line]));
    }
    let streams: Vec<Value> = streams
        .into_iter()
        .map(|(kind, values)| {
            json!({ "stream": { "job": "switchback", "kind": kind }, "values": values })
        })
        .collect();
    json!({ "streams": streams })
}
