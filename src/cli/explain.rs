//! `switchback explain`: why a version, a protect or a rollback is as it is.
//!
//! Apart from the status because it is read once and slowly: every rule, every test with its
//! odds and what it still needs, and the way that led here.

use super::history::{protect_sentence, sentence};
use super::output::{Exit, Output, one_line};
use super::remote::talk;
use super::table::{Column, table};
use super::tree::{ExplainArgs, Format};
use crate::admin::wire::{EvidenceView, Explanation, RuleView, TrialView};
use crate::vocab::time::Timestamp;

/// Says why.
pub(super) fn explain(
    args: &ExplainArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let path = format!("/api/v1/explain/{}", segments(&args.id)?);
    let client = args.remote.client()?;
    let told: Explanation = talk(async { Ok(client.get(&path).await?) })?;
    match args.remote.output {
        Format::Json => output.json(&told)?,
        Format::Table => output.lines(text(&told))?,
    }
    Ok(Exit::Good)
}

/// The id as a part of a path: ids and names have only plain characters.
fn segments(id: &str) -> anyhow::Result<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let fits = (1..=LONGEST).contains(&id.len()) && id.chars().all(plain);
    anyhow::ensure!(
        fits,
        "{id:?} is no id: write a route, route/version, or the id of a protect or a rollback"
    );
    Ok(id)
}

fn text(told: &Explanation) -> String {
    let (kind, route) = (one_line(&told.kind), one_line(&told.route));
    let mut text = match (&*told.kind, &told.record) {
        ("protect", Some(record)) => format!(
            "{}\nthe evidence when the users were moved:\n",
            protect_sentence(record)
        ),
        ("rollback", Some(record)) => {
            format!("{}\nthe evidence at the decision:\n", sentence(record))
        }
        _ => format!("{kind} {} of route {route}\n", one_line(&told.id)),
    };
    if told.kind == "route" {
        text = format!("route {route} at {}\n", Timestamp(told.at));
    }
    for trial in &told.trials {
        text.push('\n');
        text.push_str(&of_trial(trial));
    }
    if told.trials.is_empty() {
        text.push_str(match &*told.kind {
            "protect" | "rollback" => "none was kept\n",
            _ => "no version is on trial\n",
        });
    }
    text
}

fn of_trial(trial: &TrialView) -> String {
    let (name, state) = (one_line(&trial.version), one_line(&trial.state));
    let mut text = format!("{name}: {state}");
    if let Some(phase) = &trial.phase {
        text.push_str(&format!(", trial {}", one_line(phase)));
    }
    if let Some(since) = trial.since {
        text.push_str(&format!(" since {}", Timestamp(since)));
    }
    text.push_str(&format!(", {}% of requests\n", number(trial.share)));
    if let Some(cause) = &trial.cause {
        let id = trial.record_id.as_ref().map(|id| format!(" ({})", one_line(id)));
        text.push_str(&format!("  for: {}{}\n", one_line(cause), id.unwrap_or_default()));
    }
    if trial.promotable {
        text.push_str(
            "  it has shown to be no worse than stable by more than the margin\n",
        );
    }
    if !trial.rules.is_empty() {
        let rows: Vec<Vec<String>> = trial.rules.iter().map(rule).collect();
        text.push_str(&table(RULES, &rows));
    }
    if !trial.evidence.is_empty() {
        let rows: Vec<Vec<String>> = trial.evidence.iter().map(evidence).collect();
        text.push_str(&table(EVIDENCE, &rows));
    }
    for step in &trial.transitions {
        let (to, why) = (one_line(&step.to), one_line(&step.why));
        text.push_str(&format!("{} {to}: {why}\n", Timestamp(step.at)));
    }
    text
}

fn rule(rule: &RuleView) -> Vec<String> {
    vec![
        rule.rule.clone(),
        rule.test.clone(),
        rule.verdict.clone(),
        value(rule.value, &rule.unit),
        value(rule.stable_value, &rule.unit),
        rule.samples.to_string(),
        rule.stable_samples.to_string(),
        rule.why.clone(),
    ]
}

fn evidence(one: &EvidenceView) -> Vec<String> {
    let unit = one.unit.as_deref().unwrap_or_default();
    vec![
        one.rule.clone(),
        one.test.clone(),
        value(one.value, unit),
        value(one.stable_value, unit),
        one.samples.to_string(),
        one.stable_samples.to_string(),
        odds(one.odds),
        odds(one.bound),
        format!("{:.0}%", one.reached * 100.0),
        one.why.clone(),
    ]
}

fn value(value: Option<f64>, unit: &str) -> String {
    match (value, unit) {
        (None, _) => "-".to_owned(),
        (Some(value), "share") => format!("{:.2}%", value * 100.0),
        (Some(value), "seconds") => format!("{:.1} ms", value * 1_000.0),
        (Some(value), _) => number(value),
    }
}

/// Odds to one; long ones as a power of ten.
fn odds(odds: f64) -> String {
    match odds {
        few if few < 0.01 => "below 0.01".to_owned(),
        few if few < 10.0 => format!("{few:.2}"),
        some if some < 100_000.0 => format!("{some:.0}"),
        many => format!("{many:.0e}"),
    }
}

/// With at most four decimals, as weights have them.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Two names and what is between them, with room to spare.
const LONGEST: usize = 160;
/// Numbers here are the window's.
const RULES: &[Column] = &[
    ("RULE", false),
    ("TEST", false),
    ("VERDICT", false),
    ("VALUE", true),
    ("STABLE", true),
    ("SAMPLES", true),
    ("OF STABLE", true),
    ("WHY", false),
];
/// Numbers here are those of the present phase.
const EVIDENCE: &[Column] = &[
    ("EVIDENCE", false),
    ("BY", false),
    ("VALUE", true),
    ("STABLE", true),
    ("SAMPLES", true),
    ("OF STABLE", true),
    ("ODDS", true),
    ("NEEDED", true),
    ("REACHED", true),
    ("WHY", false),
];

#[cfg(test)]
mod tests {
    use super::{odds, segments, text};
    use crate::admin::wire::{
        EvidenceView, Explanation, RuleView, TransitionView, TrialView,
    };

    fn trial() -> TrialView {
        TrialView {
            version: "v2.5".to_owned(),
            role: "canary".to_owned(),
            state: "protected".to_owned(),
            phase: Some("protected".to_owned()),
            since: Some(951_782_400_000),
            share: 0.0,
            verdict: "breach: errorRate".to_owned(),
            cause: Some("errorRate: 8.00%\nodds 24 to 1".to_owned()),
            record_id: Some("pr-1".to_owned()),
            promotable: false,
            rules: vec![RuleView {
                rule: "errorRate".to_owned(),
                test: "sequential".to_owned(),
                acts: true,
                verdict: "inconclusive".to_owned(),
                value: Some(0.08),
                stable_value: Some(0.02),
                unit: "share".to_owned(),
                samples: 100,
                stable_samples: 900,
                why: "evidence is being gathered".to_owned(),
            }],
            evidence: vec![
                EvidenceView {
                    rule: "errorRate".to_owned(),
                    test: "split".to_owned(),
                    acts: true,
                    value: Some(0.081),
                    stable_value: Some(0.02),
                    unit: Some("share".to_owned()),
                    samples: 90,
                    stable_samples: 800,
                    odds: 4.5,
                    bound: 60.0,
                    reached: 0.37,
                    missing: Some(40),
                    why: "needs about 40 more canary requests at this rate".to_owned(),
                },
                EvidenceView {
                    rule: "latencyP99".to_owned(),
                    test: "bank".to_owned(),
                    value: Some(0.0125),
                    unit: Some("seconds".to_owned()),
                    ..EvidenceView::default()
                },
            ],
            transitions: vec![TransitionView {
                at: 951_782_400_000,
                to: "protected".to_owned(),
                why: "odds".to_owned(),
            }],
        }
    }

    #[test]
    fn an_explanation_reads_like_this() {
        let told = Explanation {
            id: "iris/v2.5".to_owned(),
            kind: "version".to_owned(),
            route: "iris".to_owned(),
            trials: vec![trial()],
            ..Explanation::default()
        };
        let golden = "\
version iris/v2.5 of route iris

v2.5: protected, trial protected since 2000-02-29T00:00:00.000Z, 0% of requests
  for: errorRate: 8.00%\\nodds 24 to 1 (pr-1)
RULE       TEST        VERDICT       VALUE  STABLE  SAMPLES  OF STABLE  WHY
errorRate  sequential  inconclusive  8.00%   2.00%      100        900  evidence is being gathered
EVIDENCE    BY       VALUE  STABLE  SAMPLES  OF STABLE        ODDS      NEEDED  REACHED  WHY
errorRate   split    8.10%   2.00%       90        800        4.50          60      37%  needs about 40 more canary requests at this rate
latencyP99  bank   12.5 ms       -        0          0  below 0.01  below 0.01       0%
2000-02-29T00:00:00.000Z protected: odds
";
        assert_eq!(text(&told), golden);
        let none = Explanation { trials: Vec::new(), ..told };
        assert!(text(&none).ends_with("no version is on trial\n"));
    }

    #[test]
    fn odds_are_short() {
        for (value, says) in
            [(0.001, "below 0.01"), (4.5, "4.50"), (99.6, "100"), (3.2e9, "3e9")]
        {
            assert_eq!(odds(value), says);
        }
    }

    #[test]
    fn what_is_no_id_is_not_asked_for() {
        for good in ["iris", "iris/v2.5", "rb-01a20fce2d22-b3e74a2b"] {
            assert_eq!(segments(good).unwrap(), good);
        }
        for bad in ["", "a b", "iris?x", "../..\n", &"x".repeat(161)] {
            assert!(segments(bad).is_err(), "{bad:?}");
        }
    }
}
