//! `Refused`: an order that did not get as far as the control loop, on its way to the audit
//! log.
//!
//! Apart from the orders because nothing comes of it but a record: who tried what, from
//! where, and why it was turned down.

use std::net::SocketAddr;

use serde_json::{Map, Value};

use crate::vocab::ids::Operator;
use crate::vocab::notice::Entry;
use crate::vocab::time::Timestamp;

/// A call that would have changed something, and was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who, if a credential said so.
    pub operator: Option<Operator>,
    /// The method.
    pub method: String,
    /// The pattern of the path, never the path itself: `other` where there is none.
    pub path: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// Why, in one bounded line that repeats no body.
    pub why: String,
    /// Where the call came from.
    pub peer: Option<SocketAddr>,
    /// So many more before this one were only counted.
    pub more: u64,
}

impl Refused {
    /// As the audit log keeps it.
    #[must_use]
    pub fn entry(self, at: Timestamp, config_hash: &str) -> Entry {
        let peer = self.peer.map(|peer| peer.to_string());
        let members = [
            ("method", Value::from(self.method)),
            ("path", Value::from(self.path)),
            ("status", Value::from(self.status)),
            ("peer", Value::from(peer)),
            ("more", Value::from(self.more)),
        ];
        let body: Map<String, Value> =
            members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Entry {
            kind: "order.refused",
            at,
            operator: self.operator,
            reason: Some(self.why),
            config_hash: config_hash.to_owned(),
            body,
        }
    }

    /// Writes it to the log.
    pub(super) fn log(&self) {
        let operator = self.operator.as_ref().map(|operator| &*operator.id);
        let Self { method, path, status, why, peer, more, .. } = self;
        let peer = peer.map(tracing::field::display);
        tracing::warn!(operator, method, path, status, why, peer, more, "order refused");
    }
}

#[cfg(test)]
mod tests {
    use super::Refused;
    use crate::vocab::ids::{Credential, Operator};
    use crate::vocab::time::Timestamp;

    #[test]
    fn the_entry_says_who_tried_what_from_where() {
        let bob = Operator { id: "bob".to_owned(), method: Credential::Token };
        let refused = Refused {
            operator: Some(bob.clone()),
            method: "POST".to_owned(),
            path: "/api/v1/routes/{route}/rollback",
            status: 403,
            why: "bob has the role Viewer and this needs Operator".to_owned(),
            peer: Some(([10, 0, 0, 7], 4711).into()),
            more: 3,
        };
        let entry = refused.entry(Timestamp(7), "abc");
        assert_eq!(
            (entry.kind, entry.at, entry.operator),
            ("order.refused", Timestamp(7), Some(bob))
        );
        let body = serde_json::Value::Object(entry.body);
        let right = serde_json::json!({
            "method": "POST", "path": "/api/v1/routes/{route}/rollback", "status": 403,
            "peer": "10.0.0.7:4711", "more": 3,
        });
        assert_eq!(body, right);
    }
}
