//! Webhook: notices as CloudEvents 1.0 in structured mode, signed.
//!
//! The body is the event as `application/cloudevents+json`: `specversion`, `id` (the
//! notice's key), `source`, `type` (`io.switchback.` and the topic), `subject`, `time`,
//! `datacontenttype`, `data`, and the documented extensions `severitytext`,
//! `severitynumber`, `recordedtime` and `correlationid` (the incident).
//!
//! Where there is a secret, deliveries bear the three headers of Standard Webhooks:
//! `webhook-id`, `webhook-timestamp` in seconds, and `webhook-signature`, which is `v1,` and
//! the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`. The key is the secret's bytes,
//! or what base64 stands for behind `whsec_`. A receiver should refuse timestamps that are
//! more than five minutes away.

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::Method;
use http::header::HeaderName;
use serde_json::{Value, json};

use super::door::{About, Door, read};
use crate::clock;
use crate::effects::post::Call;
use crate::effects::settings::SecretFile;
use crate::effects::sink::{BoxFuture, Earlier, Sink, SinkError, Taken};
use crate::effects::text::{base64, unbase64};
use crate::vocab::notice::{Notice, Severity};
use crate::vocab::time::Timestamp;

#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) door: Door,
    pub(super) about: About,
    pub(super) secret: Option<SecretFile>,
}

impl Sink for Webhook {
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        _earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>> {
        Box::pin(async move {
            let mut open = self.door.open().await?;
            let now = clock::wall();
            let event = event(notice, self.about.runbook_url.as_deref(), now);
            let body = event.to_string();
            let seconds = (now.0 / 1_000).to_string();
            // An id in a header is of visible characters, whatever a key is.
            let id: String = notice.key.chars().map(visible).collect();
            let mut headers = vec![
                (HeaderName::from_static("webhook-id"), id.clone()),
                (HeaderName::from_static("webhook-timestamp"), seconds.clone()),
            ];
            if let Some(file) = &self.secret {
                let secret = read(file).await?;
                open.hide(&secret);
                let signature = sign(&secret, &format!("{id}.{seconds}.{body}"));
                headers.push((HeaderName::from_static("webhook-signature"), signature));
            }
            let mut call = Call::new(
                Method::POST,
                "application/cloudevents+json",
                Bytes::from(body),
            );
            for (name, value) in headers {
                let never = |error: crate::effects::post::PostError| SinkError::Never {
                    why: error.to_string(),
                };
                call = call.header(name, &value).map_err(never)?;
            }
            open.send(&open.target, call).await?;
            Ok(self.about.taken(None))
        })
    }
}

fn event(notice: &Notice, runbook: Option<&str>, now: Timestamp) -> Value {
    // The numbers of OpenTelemetry's logs, as the extension says.
    let number = match notice.severity {
        Severity::Info => 9,
        Severity::Low => 13,
        Severity::High => 17,
        Severity::Critical => 21,
    };
    let route = notice.route.as_ref();
    let mut event = json!({
        "specversion": "1.0",
        "id": notice.key,
        "source": route.map_or("/switchback".to_owned(), |r| format!("/switchback/routes/{r}")),
        "type": format!("io.switchback.{}", notice.topic.as_str()),
        "time": notice.at,
        "datacontenttype": "application/json",
        "severitytext": notice.severity.as_str(),
        "severitynumber": number,
        "recordedtime": now,
        "correlationid": notice.incident,
        "data": {
            "topic": notice.topic,
            "state": notice.state,
            "severity": notice.severity,
            "incident": notice.incident,
            "route": notice.route,
            "version": notice.version,
            "to_version": notice.to_version,
            "summary": notice.summary,
            "details": notice.details,
            "runbook_url": runbook,
            "audit_head": notice.audit_head,
            "record": notice.record,
        },
    });
    if let Some(version) = &notice.version {
        event["subject"] = version.as_str().into();
    }
    event
}

/// The signature of a text, as the header has it.
fn sign(secret: &str, text: &str) -> String {
    let decoded = secret.strip_prefix("whsec_").and_then(unbase64);
    let bytes = decoded.unwrap_or_else(|| secret.as_bytes().to_vec());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    format!("v1,{}", base64(hmac::sign(&key, text.as_bytes()).as_ref()))
}

fn visible(c: char) -> char {
    if c.is_ascii_graphic() { c } else { '_' }
}

#[cfg(test)]
mod tests {
    use super::sign;

    /// The example in the documentation of the Standard Webhooks libraries.
    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        let text = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(sign(secret, text), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_ne!(sign("plain", text), sign("other", text));
    }
}
