//! `switchback status`: once, again every second, or until something is decided.
//!
//! Apart from the other remote verbs because it alone asks more than once.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::news::News;
use super::output::{Exit, Output, one_line};
use super::remote::talk;
use super::table::{Column, table};
use super::tree::{Format, StatusArgs};
use super::wait::Stand;
use crate::admin::AdminClient;
use crate::admin::wire::{
    ModeView, NameView, RolloutView, RouteView, SinkStand, StatusView, StreamsView,
    VersionView,
};
use crate::cli::history::{protect_sentence, sentence};

/// Shows the status as often as asked.
pub(super) fn status(args: &StatusArgs, output: &mut Output<'_>) -> anyhow::Result<Exit> {
    let client = args.remote.client()?;
    talk(async {
        let first = client.get(PATH).await?;
        if args.wait {
            return wait(&client, args, first, output).await;
        }
        show(&first, args, output)?;
        if args.watch {
            watch(&client, args, output).await?;
        }
        Ok(Exit::Good)
    })
}

/// Shows the status every second, and at once when something changes, until nobody reads it.
async fn watch(
    client: &AdminClient,
    args: &StatusArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let mut news = News::default();
    loop {
        news.wait(client).await;
        // A Switchback that restarts may be silent for a while.
        match client.get(PATH).await {
            Ok(next) => {
                frame(&next, args, output)?;
                let heard = news.text();
                if args.remote.output == Format::Table && !heard.is_empty() {
                    output.lines(heard)?;
                }
            }
            Err(error) => output.errors(one_line(&error)),
        }
    }
}

/// Asks until the waiting has an end, which is also the exit code.
async fn wait(
    client: &AdminClient,
    args: &StatusArgs,
    mut last: StatusView,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let mut unheard = None;
    let asking = async {
        loop {
            if let Some(exit) = Stand::of(&last).end() {
                return anyhow::Ok(exit);
            }
            if args.watch {
                frame(&last, args, output)?;
            }
            sleep(WAIT_EVERY).await;
            match client.get(PATH).await {
                Ok(next) => (last, unheard) = (next, None),
                Err(error) => unheard = Some(error),
            }
        }
    };
    let ended = match args.timeout {
        Some(time) => timeout(time, asking).await.ok(),
        None => Some(asking.await),
    };
    if let Some(error) = unheard {
        output.errors(one_line(&error));
        return Ok(Exit::Timeout);
    }
    show(&last, args, output)?;
    ended.unwrap_or_else(|| Ok(Stand::of(&last).at_timeout()))
}

/// Shows it in the place of what was shown before, where there is a screen.
fn frame(
    status: &StatusView,
    args: &StatusArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    if args.remote.output == Format::Table {
        output.clear()?;
    }
    show(status, args, output)
}

fn show(
    status: &StatusView,
    args: &StatusArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    match args.remote.output {
        Format::Json => output.json(status),
        Format::Table => Ok(output.lines(text(status))?),
    }
}

/// All routes as text.
fn text(status: &StatusView) -> String {
    let mut text = String::new();
    if let Some(error) = &status.audit_error {
        let line = format!("AUDIT LOG: {}\n", one_line(error));
        text.push_str(&line);
    }
    if let Some(error) = &status.reload_error {
        text.push_str(&format!("the last reload was refused: {}\n\n", one_line(error)));
    }
    for sink in status.sinks.iter().filter(|sink| sink.is_failing || sink.dead > 0) {
        text.push_str(&sink_line(sink));
    }
    for (at, route) in status.routes.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        text.push_str(&route_text(route));
    }
    if status.routes.is_empty() {
        text.push_str("no routes\n");
    }
    text
}

/// A sink to see to.
fn sink_line(sink: &SinkStand) -> String {
    let mut said = Vec::new();
    if sink.dead > 0 {
        said.push(format!("{} given up, see switchback notices list", sink.dead));
    }
    if sink.is_failing {
        let why = sink.last_error.as_deref().map_or_else(nothing, one_line);
        said.push(format!("{} waiting, the last try failed: {why}", sink.waiting));
    }
    format!("NOTICES to {}: {}\n", one_line(&sink.name), said.join("; "))
}

fn route_text(route: &RouteView) -> String {
    let rows: Vec<Vec<String>> = route.versions.iter().map(row).collect();
    let (name, health) = (one_line(&route.name), one_line(&route.health));
    let mode = route.mode.as_ref();
    let mode = mode.map_or_else(String::new, |mode| format!(", {}", mode_sentence(mode)));
    let mut text = format!("route {name}: {health}{mode}\n");
    text.push_str(&table(COLUMNS, &rows));
    for version in &route.versions {
        let name = one_line(&version.name);
        if let Some(streams) = &version.streams {
            text.push_str(&format!("{name} streams: {}\n", streams_sentence(streams)));
        }
        if let Some(why) = &version.quarantine {
            text.push_str(&format!("{name} is in quarantine: {}\n", one_line(why)));
        } else if let Some(why) = &version.protect {
            text.push_str(&format!("{name} is under protect: {}\n", one_line(why)));
        } else if !version.verdict.is_empty() {
            text.push_str(&format!("{name}: {}\n", one_line(&version.verdict)));
        }
        for found in &version.names {
            text.push_str(&name_sentence(&name, found).unwrap_or_default());
        }
    }
    if let Some(held) = route.held_back {
        let held = number(held);
        text.push_str(&format!(
            "{held}% of the requests are held back: stable has no room for them yet\n"
        ));
    }
    for (what, said) in [("sessions stay by", &route.affinity), ("pins:", &route.pin)] {
        if let Some(said) = said {
            text.push_str(&format!("{what} {}\n", one_line(said)));
        }
    }
    if let Some(rollout) = &route.rollout {
        text.push_str(&format!("{}\n", rollout_sentence(rollout)));
    }
    if let Some(record) = &route.last_rollback {
        text.push_str(&format!("last rollback: {}\n", sentence(record)));
    }
    if let Some(record) = &route.last_protect {
        text.push_str(&format!("last protect: {}\n", protect_sentence(record)));
    }
    text
}

/// The streams of tokens of a version in the window, in one line.
fn streams_sentence(streams: &StreamsView) -> String {
    let time = |ms: Option<f64>| ms.map_or_else(nothing, milliseconds);
    format!(
        "{} in the window, first token p50 {} p99 {}, each token p50 {} p99 {} ({} tokens/s)",
        streams.samples,
        time(streams.first_token_p50_ms),
        time(streams.first_token_p99_ms),
        time(streams.per_token_p50_ms),
        time(streams.per_token_p99_ms),
        streams.tokens_per_second.map_or_else(nothing, |rate| format!("{rate:.0}")),
    )
}

/// What is wrong with a name that a version has, in one line.
fn name_sentence(version: &str, found: &NameView) -> Option<String> {
    let why = one_line(found.problem.as_ref()?);
    let since = one_line(found.failing_since.as_deref().unwrap_or("the start"));
    let kept = match found.addresses.len() {
        0 => "no address is known".to_owned(),
        1 => "its last good address stays in use".to_owned(),
        kept => format!("its last {kept} good addresses stay in use"),
    };
    let name = one_line(&found.name);
    Some(format!("{version}: {name} cannot be looked up since {since}: {why}; {kept}\n"))
}

/// How a route is served, in a few words.
pub(super) fn mode_sentence(mode: &ModeView) -> String {
    let word = match &*mode.mode {
        "readOnly" => "read-only".to_owned(),
        other => one_line(other),
    };
    let part = |what: &str, value: &Option<String>| {
        value
            .as_ref()
            .map_or_else(String::new, |value| format!("{what}{}", one_line(value)))
    };
    let since = part(" since ", &mode.since);
    let (by, why) = (part(" by ", &mode.ordered_by), part(": ", &mode.reason));
    let asked = part(", asking ", &mode.emergency_version);
    format!("{word}{since}{by}{asked}{why}")
}

/// How a rollout stands, in one line.
pub(super) fn rollout_sentence(rollout: &RolloutView) -> String {
    let RolloutView { version, phase, step, steps, weight, .. } = rollout;
    let mut text = format!("rollout of {}: {}", one_line(version), one_line(phase));
    if *steps > 0 {
        text.push_str(&format!(", step {step} of {steps}"));
    }
    text.push_str(&format!(", {}%", number(*weight)));
    for (what, value) in [
        (", waits for ", &rollout.waits_for),
        (" until ", &rollout.until),
        (", paused by ", &rollout.paused_by),
        (", frozen by ", &rollout.frozen_by),
        (": ", &rollout.reason),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("{what}{}", one_line(value)));
        }
    }
    text
}

fn row(version: &VersionView) -> Vec<String> {
    vec![
        version.name.clone(),
        version.role.clone(),
        version.state.clone(),
        format!("{}%", number(version.share)),
        version.requests.to_string(),
        version.failures.to_string(),
        version.error_rate.map_or_else(nothing, |rate| format!("{:.2}%", rate * 100.0)),
        version.p50_ms.map_or_else(nothing, milliseconds),
        version.p99_ms.map_or_else(nothing, milliseconds),
        version.in_flight.to_string(),
        format!("{}/{}", version.healthy_endpoints, version.endpoints),
    ]
}

/// With at most four decimals, as weights have them.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn milliseconds(ms: f64) -> String {
    if ms >= 100.0 { format!("{ms:.0} ms") } else { format!("{ms:.1} ms") }
}

fn nothing() -> String {
    "-".to_owned()
}

const PATH: &str = "/api/v1/status";
/// Often enough not to miss a rollback by much, seldom enough to cost nothing.
const WAIT_EVERY: Duration = Duration::from_millis(250);
/// Requests and failures count from the start; rates and times are the window's.
const COLUMNS: &[Column] = &[
    ("VERSION", false),
    ("ROLE", false),
    ("STATE", false),
    ("SHARE", true),
    ("REQUESTS", true),
    ("FAILED", true),
    ("ERRORS", true),
    ("P50", true),
    ("P99", true),
    ("IN FLIGHT", true),
    ("ENDPOINTS", true),
];

#[cfg(test)]
mod tests {
    use super::text;
    use crate::admin::wire::{
        ModeView, RolloutView, RouteView, SinkStand, StatusView, VersionView,
    };

    fn iris() -> RouteView {
        let stable = VersionView {
            name: "v2.4".to_owned(),
            role: "stable".to_owned(),
            state: "serving".to_owned(),
            share: 99.5,
            requests: 90_123,
            failures: 27,
            error_rate: Some(0.0003),
            p50_ms: Some(11.96),
            p99_ms: Some(148.2),
            in_flight: 12,
            healthy_endpoints: 2,
            endpoints: 2,
            ..VersionView::default()
        };
        let canary = VersionView {
            name: "v2.5".to_owned(),
            role: "canary".to_owned(),
            state: "quarantined".to_owned(),
            endpoints: 1,
            requests: 412,
            failures: 60,
            quarantine: Some("errorRate: 14.56% is above 1.00%\n\u{1b}[2Jrow".to_owned()),
            ..VersionView::default()
        };
        let rollback = serde_json::json!({
            "rollback_id": "rb-1", "timestamp": "2026-11-24T21:05:58.123Z", "trigger": "error_rate",
            "from_version": "v2.5", "to_version": "v2.4", "status": "completed",
            "initiated_by": "switchback", "total_duration_seconds": 0.312,
        });
        RouteView {
            name: "iris".to_owned(),
            health: "Degraded".to_owned(),
            versions: vec![stable, canary],
            last_rollback: Some(rollback),
            last_protect: None,
            rollout: None,
            mode: None,
            held_back: Some(12.5),
            affinity: Some("the header x-session-id".to_owned()),
            pin: None,
        }
    }

    fn idle() -> RouteView {
        let protect = serde_json::json!({
            "protect_id": "pr-1", "timestamp": "2026-11-24T21:05:58.123Z", "version": "v2",
            "to_version": "v1", "finding": "odds 24 to 1", "outcome": "open",
        });
        let spared = VersionView {
            name: "v2".to_owned(),
            state: "protected".to_owned(),
            protect: Some("since 2026: odds 24 to 1".to_owned()),
            verdict: "breach: odds 24 to 1".to_owned(),
            ..VersionView::default()
        };
        let trial = VersionView {
            name: "v1".to_owned(),
            verdict: "inconclusive: errorRate: no traffic".to_owned(),
            ..VersionView::default()
        };
        RouteView {
            name: "idle".to_owned(),
            health: "Healthy".to_owned(),
            versions: vec![trial, spared],
            last_rollback: None,
            last_protect: Some(protect),
            rollout: Some(RolloutView {
                version: "v1".to_owned(),
                phase: "progressing".to_owned(),
                step: 2,
                steps: 7,
                weight: 12.5,
                waits_for: Some("the end of the pause".to_owned()),
                until: Some("2026-11-24T21:10:00.000Z".to_owned()),
                ..RolloutView::default()
            }),
            mode: Some(ModeView {
                mode: "readOnly".to_owned(),
                since: Some("2026-11-24T21:00:00.000Z".to_owned()),
                ordered_by: Some("alice".to_owned()),
                reason: Some("disk\nfull".to_owned()),
                emergency_version: Some("v0".to_owned()),
            }),
            held_back: None,
            affinity: None,
            pin: Some("x-model-pin: v0, or stable".to_owned()),
        }
    }

    fn sink(name: &str, dead: u64, error: Option<&str>) -> SinkStand {
        SinkStand {
            name: name.to_owned(),
            waiting: 3,
            dead,
            is_failing: error.is_some(),
            last_error: error.map(str::to_owned),
        }
    }

    fn view() -> StatusView {
        StatusView {
            reload_error: Some("f.yaml:3: routes: nothing".to_owned()),
            audit_error: None,
            routes: vec![iris(), idle()],
            sinks: vec![
                sink("well", 0, None),
                sink("ops", 2, Some("h answered 401: \u{1b}[2J\nno")),
                sink("hook", 0, Some("cannot connect")),
                sink("old", 1, None),
            ],
            ..StatusView::default()
        }
    }

    #[test]
    fn the_status_reads_like_this() {
        let golden = "\
the last reload was refused: f.yaml:3: routes: nothing

NOTICES to ops: 2 given up, see switchback notices list; 3 waiting, the last try failed: h answered 401: \u{1b}[2J\\nno
NOTICES to hook: 3 waiting, the last try failed: cannot connect
NOTICES to old: 1 given up, see switchback notices list
route iris: Degraded
VERSION  ROLE    STATE        SHARE  REQUESTS  FAILED  ERRORS      P50     P99  IN FLIGHT  ENDPOINTS
v2.4     stable  serving      99.5%     90123      27   0.03%  12.0 ms  148 ms         12        2/2
v2.5     canary  quarantined     0%       412      60       -        -       -          0        0/1
v2.5 is in quarantine: errorRate: 14.56% is above 1.00%\\n\u{1b}[2Jrow
12.5% of the requests are held back: stable has no room for them yet
sessions stay by the header x-session-id
last rollback: rb-1 at 2026-11-24T21:05:58.123Z, v2.5 -> v2.4, error_rate, by switchback, completed in 0.312 s

route idle: Healthy, read-only since 2026-11-24T21:00:00.000Z by alice, asking v0: disk\\nfull
VERSION  ROLE  STATE      SHARE  REQUESTS  FAILED  ERRORS  P50  P99  IN FLIGHT  ENDPOINTS
v1                           0%         0       0       -    -    -          0        0/0
v2             protected     0%         0       0       -    -    -          0        0/0
v1: inconclusive: errorRate: no traffic
v2 is under protect: since 2026: odds 24 to 1
pins: x-model-pin: v0, or stable
rollout of v1: progressing, step 2 of 7, 12.5%, waits for the end of the pause until 2026-11-24T21:10:00.000Z
last protect: pr-1 at 2026-11-24T21:05:58.123Z, users of v2 are moved to v1, odds 24 to 1; open
";
        assert_eq!(text(&view()), golden);
        assert_eq!(text(&StatusView::default()), "no routes\n");
    }
}
