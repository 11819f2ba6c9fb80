//! Which path answers what: one table, read by the router and by the description that
//! `openapi.rs` makes of it.
//!
//! Apart from both so that neither can be left behind, and so that who may ask for what is
//! read in one place. No GET changes anything.

use http::Method;

use super::auth::Access;
use super::settings::OperatorRole;
use crate::effects::OfDead;
use crate::incident::File;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Nothing is changed.
    Look(Look),
    /// Something is.
    Order(Want),
    /// Changes are told as they happen.
    Events,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Live,
    Ready,
    Metrics,
    OpenApi,
    Dashboard,
    Status,
    Route,
    Quarantine,
    History,
    Record,
    Incidents,
    Incident,
    Report(File),
    Analysis,
    Explain,
    Notices,
}

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    SetWeight,
    Rollback,
    Steer(Steer),
    Mode,
    Release,
    Dead(OfDead),
}

/// What a rollout is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steer {
    Promote,
    Pause,
    Resume,
    Abort,
    Retry,
    Freeze,
}

/// One path and what may be asked of it.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its segments; those in braces stand for any one segment.
    pub(super) path: &'static str,
    /// Its name in the description, unique.
    pub(super) name: &'static str,
    pub(super) call: Call,
    pub(super) access: Access,
    /// In one sentence.
    pub(super) about: &'static str,
    /// The schema of the body; a path that takes one is asked by POST.
    pub(super) takes: Option<&'static str>,
    pub(super) gives: Gives,
}

/// What an answer is when all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    /// JSON of that schema.
    Json(&'static str),
    /// Something else of that type.
    Text(&'static str),
    /// Server-sent events.
    Events,
    /// Never: it is not built.
    Nothing,
}

/// What stands for the segments in braces, in order.
pub(super) type Params<'a> = Vec<&'a str>;

impl Entry {
    const fn get(
        path: &'static str,
        name: &'static str,
        look: Look,
        gives: Gives,
        about: &'static str,
    ) -> Self {
        let (access, takes) = (Access::Role(OperatorRole::Viewer), None);
        let call = Call::Look(look);
        Self { path, name, call, access, about, takes, gives }
    }

    const fn post(
        path: &'static str,
        name: &'static str,
        want: Want,
        (takes, gives): (&'static str, &'static str),
        about: &'static str,
    ) -> Self {
        let (access, takes) = (Access::Role(OperatorRole::Operator), Some(takes));
        let (call, gives) = (Call::Order(want), Gives::Json(gives));
        Self { path, name, call, access, about, takes, gives }
    }

    const fn with(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Whether it changes something.
    pub(super) fn posts(&self) -> bool {
        self.takes.is_some()
    }

    /// The methods it answers to, as `Allow` says them.
    pub(super) fn allow(&self) -> &'static str {
        if self.posts() { "POST" } else { "GET, HEAD" }
    }

    /// Whether it answers to that method.
    pub(super) fn fits(&self, method: &Method) -> bool {
        match self.posts() {
            true => method == Method::POST,
            false => method == Method::GET || method == Method::HEAD,
        }
    }
}

/// Everything there is.
pub(super) const TABLE: &[Entry] = &[
    Entry::get("/livez", "live", Look::Live, PLAIN, "Whether the process runs.")
        .with(Access::Open),
    Entry::get(
        "/readyz",
        "ready",
        Look::Ready,
        PLAIN,
        "Whether requests should be sent here: 503 before the start is done and while it ends.",
    )
    .with(Access::Open),
    Entry::get("/health/live", "healthLive", Look::Live, PLAIN, "The same as /livez.")
        .with(Access::Open),
    Entry::get("/health/ready", "healthReady", Look::Ready, PLAIN, "The same as /readyz.")
        .with(Access::Open),
    Entry::get(
        "/metrics",
        "metrics",
        Look::Metrics,
        Gives::Text("text/plain; version=0.0.4; charset=utf-8"),
        "All metrics up to this moment, for Prometheus.",
    )
    .with(Access::Scrape),
    Entry::get(
        "/dashboard",
        "dashboard",
        Look::Dashboard,
        Gives::Nothing,
        "Not built yet: answers 501.",
    )
    .with(Access::Open),
    Entry::get(
        "/api/v1/openapi.json",
        "openapi",
        Look::OpenApi,
        Gives::Json("Object"),
        "This description.",
    ),
    Entry::get(
        "/api/v1/status",
        "status",
        Look::Status,
        Gives::Json("Status"),
        "All routes and versions up to this moment.",
    ),
    Entry::get(
        "/api/v1/routes/{route}",
        "route",
        Look::Route,
        Gives::Json("Route"),
        "One route.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/weight",
        "setWeight",
        Want::SetWeight,
        ("WeightOrder", "Done"),
        "Gives a version another share of its route.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/rollback",
        "rollback",
        Want::Rollback,
        ("RollbackOrder", "Rollback"),
        "Takes all traffic from a version and puts it in quarantine. Answers once new requests \
         go elsewhere; /api/v1/rollbacks/{id} says how the rest goes.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/promote",
        "promote",
        Want::Steer(Steer::Promote),
        ("PromoteOrder", "Rollout"),
        "Ends what the rollout of the route waits for, or skips all that is left of it.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/pause",
        "pause",
        Want::Steer(Steer::Pause),
        ("Order", "Rollout"),
        "Stops the rollout of the route where it is, until it is resumed.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/resume",
        "resume",
        Want::Steer(Steer::Resume),
        ("Order", "Rollout"),
        "Lets the rollout of the route go on where it was paused or frozen.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/abort",
        "abort",
        Want::Steer(Steer::Abort),
        ("Order", "Rollout"),
        "Gives the traffic of the version that is rolled out back to stable, without a \
         quarantine.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/retry",
        "retry",
        Want::Steer(Steer::Retry),
        ("Order", "Rollout"),
        "Begins the rollout of the route again, after it ended.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/freeze",
        "freeze",
        Want::Steer(Steer::Freeze),
        ("Order", "Rollout"),
        "Keeps rollouts of the route from changing anything until it is resumed; a rollback \
         works as ever.",
    ),
    Entry::post(
        "/api/v1/routes/{route}/mode",
        "setMode",
        Want::Mode,
        ("ModeOrder", "Mode"),
        "Makes a route read-only, so that kept answers are served and nothing else, or lets \
         its versions be asked again.",
    ),
    Entry::get(
        "/api/v1/quarantine",
        "quarantine",
        Look::Quarantine,
        Gives::Json("Quarantine"),
        "All versions that may have no traffic.",
    ),
    Entry::post(
        "/api/v1/quarantine/release",
        "release",
        Want::Release,
        ("ReleaseOrder", "Done"),
        "Lets a version out of quarantine.",
    ),
    Entry::get(
        "/api/v1/history",
        "history",
        Look::History,
        Gives::Json("History"),
        "The rollbacks and protects so far, the latest first.",
    ),
    Entry::get(
        "/api/v1/rollbacks/{id}",
        "rollbackRecord",
        Look::Record,
        Gives::Json("Rollback"),
        "The record of one rollback as it stands: its ledger, phase by phase.",
    ),
    Entry::get(
        "/api/v1/incidents",
        "incidents",
        Look::Incidents,
        Gives::Json("Incidents"),
        "The failure analyses that are kept, the latest first.",
    ),
    Entry::get(
        "/api/v1/incidents/{id}",
        "incident",
        Look::Incident,
        Gives::Json("Incident"),
        "The failure analysis of one rollback, and its files.",
    ),
    Entry::get(
        "/api/v1/incidents/{id}/report.md",
        "incidentMarkdown",
        Look::Report(File::Markdown),
        Gives::Text("text/markdown; charset=utf-8"),
        "The failure analysis for people.",
    ),
    Entry::get(
        "/api/v1/incidents/{id}/report.json",
        "incidentJson",
        Look::Report(File::Json),
        Gives::Json("Object"),
        "The failure analysis for tools.",
    ),
    Entry::get(
        "/api/v1/incidents/{id}/latency.svg",
        "incidentPlot",
        Look::Report(File::Svg),
        Gives::Text("image/svg+xml"),
        "Both versions' latencies, drawn.",
    ),
    Entry::get(
        "/api/v1/analysis/{route}",
        "analysis",
        Look::Analysis,
        Gives::Json("Analysis"),
        "What the analysis says of the route's canary, in the words of Argo Rollouts.",
    ),
    Entry::get(
        "/api/v1/explain/{id}",
        "explain",
        Look::Explain,
        Gives::Json("Explanation"),
        "Why a route, a protect or a rollback is as it is.",
    ),
    Entry::get(
        "/api/v1/explain/{route}/{version}",
        "explainVersion",
        Look::Explain,
        Gives::Json("Explanation"),
        "Why a version is as it is.",
    ),
    Entry::get(
        "/api/v1/notices",
        "notices",
        Look::Notices,
        Gives::Json("Notices"),
        "What waits to be delivered, and to whom.",
    ),
    Entry::post(
        "/api/v1/notices/retry",
        "retryNotices",
        Want::Dead(OfDead::Retry),
        ("DeadOrder", "Redelivered"),
        "Tries what was given up once more, of one sink or of all.",
    ),
    Entry::post(
        "/api/v1/notices/drop",
        "dropNotices",
        Want::Dead(OfDead::Drop),
        ("DeadOrder", "Redelivered"),
        "Forgets what was given up, of one sink or of all.",
    ),
    Entry {
        path: "/api/v1/events",
        name: "events",
        call: Call::Events,
        access: Access::Role(OperatorRole::Viewer),
        about: "Changes as they happen. Last-Event-ID gets what came after it, as far as it is kept; \
         an event `missed` says that some is not.",
        takes: None,
        gives: Gives::Events,
    },
];

/// The entry for a path, and what stands for its braces.
pub(super) fn find(path: &str) -> Option<(&'static Entry, Params<'_>)> {
    TABLE.iter().find_map(|entry| Some((entry, matches(entry.path, path)?)))
}

/// What stands for the segments in braces, if the path fits the pattern.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<Params<'a>> {
    let mut params = Params::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(params),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => {
                if given.is_empty() {
                    return None;
                }
                params.push(given);
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

const PLAIN: Gives = Gives::Text("text/plain; charset=utf-8");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{TABLE, matches};

    #[test]
    fn a_path_fits_exactly_or_not_at_all() {
        for (pattern, path, fits) in [
            ("/livez", "/livez", Some(vec![])),
            ("/livez", "/livez/", None),
            ("/livez", "//livez", None),
            ("/r/{route}", "/r/iris", Some(vec!["iris"])),
            ("/r/{route}", "/r/", None),
            ("/r/{route}", "/r/a/b", None),
            ("/r/{route}/weight", "/r/iris/weight", Some(vec!["iris"])),
            ("/r/{route}/weight", "/r/weight", None),
            ("/r/{route}/weight", "/r//weight", None),
            ("/e/{route}/{version}", "/e/iris/v2.5", Some(vec!["iris", "v2.5"])),
            ("/e/{route}/{version}", "/e/iris", None),
            ("/e/{route}/{version}", "/e/iris/", None),
            ("/e/{route}/{version}", "/e//v2.5", None),
            ("/e/{route}/{version}", "/e/iris/v2.5/x", None),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn no_two_entries_are_one() {
        let paths: BTreeSet<_> = TABLE.iter().map(|entry| entry.path).collect();
        let names: BTreeSet<_> = TABLE.iter().map(|entry| entry.name).collect();
        assert_eq!((paths.len(), names.len()), (TABLE.len(), TABLE.len()));
    }
}
