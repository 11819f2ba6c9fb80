//! `Outlets`: the real audit log and the real outbox behind the clerk. Apart from the clerk,
//! who does not know that there are files and sinks.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::journal::{Done, Journal, Weight};
use crate::audit::{Auditor, Urgency};
use crate::effects::{OfDead, Outbox};
use crate::telemetry::{Exporter, logs};
use crate::vocab::notice::{Entry, Notice};

/// The audit log, and those who are told.
pub(super) struct Outlets {
    pub(super) auditor: Auditor,
    pub(super) outbox: Outbox,
}

impl Journal for Outlets {
    fn write(&self, entry: Entry, weight: Weight) -> BoxFuture<'static, Done> {
        let urgency = match weight {
            Weight::Order => Urgency::Ordinary,
            Weight::Rollback => Urgency::Rollback,
            Weight::Fact => Urgency::Protective,
        };
        let written = self.auditor.write(&entry, urgency);
        Box::pin(
            async move { written.await.map(drop).map_err(|error| logs::chain(&error)) },
        )
    }

    fn head(&self) -> String {
        self.auditor.head().hash.to_string()
    }

    fn trouble(&self) -> Option<String> {
        self.auditor.trouble().map(|trouble| trouble.to_string())
    }

    fn tell(&self, notice: Notice) {
        self.outbox.offer(notice);
    }

    fn notices(&self) -> Value {
        serde_json::to_value(self.outbox.view()).unwrap_or_default()
    }

    fn settle_dead(
        &self,
        sink: Option<String>,
        how: OfDead,
    ) -> BoxFuture<'static, usize> {
        let outbox = self.outbox.clone();
        Box::pin(async move { outbox.settle_dead(sink.as_deref(), how).await })
    }

    fn figures(&self, exporter: &Exporter) {
        exporter.audited(self.auditor.figures());
        exporter.notices(self.outbox.facts());
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let left = self.auditor.close(LAST_WORDS).await;
            if left > 0 {
                tracing::error!(left, "entries of the audit log are lost");
            }
            self.outbox.close().await;
        })
    }
}

/// How long the end waits for the disk.
const LAST_WORDS: Duration = Duration::from_secs(5);
