//! From the settings to the sinks. Apart so that one page shows which type is which code.

use std::sync::Arc;

use super::alertmanager::Alertmanager;
use super::door::{About, Door};
use super::elasticsearch::Elasticsearch;
use super::github::GitHub;
use super::jira::Jira;
use super::loki::Loki;
use super::pagerduty::PagerDuty;
use super::servicenow::ServiceNow;
use super::slack::Slack;
use super::ticket::Noted;
use super::webhook::Webhook;
use crate::effects::outbox::OutboxError;
use crate::effects::post::Client;
use crate::effects::queue::{Outlet, Way};
use crate::effects::settings::{Settings, SinkKind, SinkSettings};
use crate::effects::sink::{Shipper, Sink};
use crate::tls::TlsClient;

/// The sinks of the settings, in their order.
pub(in crate::effects) fn outlets(
    settings: &Settings,
) -> Result<Vec<Outlet>, OutboxError> {
    settings.sinks.iter().map(outlet).collect()
}

fn outlet(settings: &SinkSettings) -> Result<Outlet, OutboxError> {
    let tls = TlsClient::new(&settings.tls).map_err(|source| OutboxError::Tls {
        sink: settings.name.to_string(),
        source: Box::new(source),
    })?;
    let door = Door {
        client: Client::new(tls),
        url: settings.url.clone(),
        auth: settings.auth.clone(),
    };
    let about = About {
        recipients: settings.recipients.clone(),
        runbook_url: settings.runbook_url.clone(),
    };
    let filter = settings.filter.clone();
    let notices = |sink: Arc<dyn Sink>| Way::Notices(filter, sink);
    let lines = |shipper: Arc<dyn Shipper>| Way::Lines(shipper);
    let way = match settings.kind.clone() {
        SinkKind::Slack => notices(Arc::new(Slack { door, about })),
        SinkKind::Alertmanager => notices(Arc::new(Alertmanager { door, about })),
        SinkKind::PagerDuty { routing_key, commander_key } => {
            notices(Arc::new(PagerDuty { door, about, routing_key, commander_key }))
        }
        SinkKind::Webhook { secret } => {
            notices(Arc::new(Webhook { door, about, secret }))
        }
        SinkKind::Jira { edition, project, issue_type, labels, priority, transition } => {
            notices(Arc::new(Jira {
                door,
                about,
                edition,
                project,
                issue_type,
                labels,
                priority,
                transition,
                noted: Noted::default(),
            }))
        }
        SinkKind::GitHub { repo, labels, close } => {
            notices(Arc::new(GitHub { door, about, repo, labels, close }))
        }
        SinkKind::ServiceNow { assignment_group, close_state, close_code } => {
            notices(Arc::new(ServiceNow {
                door,
                about,
                assignment_group,
                close_state,
                close_code,
            }))
        }
        SinkKind::Loki { tenant } => lines(Arc::new(Loki { door, tenant })),
        SinkKind::Elasticsearch { index } => {
            lines(Arc::new(Elasticsearch { door, index }))
        }
    };
    let (name, type_name) = (settings.name.to_string(), settings.kind.as_str());
    Ok(Outlet { name, type_name, way })
}
