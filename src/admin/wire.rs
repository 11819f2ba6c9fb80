//! What goes over the operators' connection: bodies of requests and answers, and the words
//! that both ends parse the same way.
//!
//! Apart from the handlers because the command line reads and writes the same shapes. An
//! unknown member is an error, so that nothing is accepted and ignored.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use crate::control::{
    EventView, EvidenceView, Explanation, HistoryView, ModeView, NameView, RolloutView,
    RouteView, RuleView, SinkStand, StatusView, StreamsView, TransitionView, TrialView,
    VersionView,
};
use crate::vocab::amount::Percent;

/// Asks for another weight of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightOrder {
    /// The version's name.
    pub version: String,
    /// Its new share.
    pub weight: Share,
    /// Why.
    pub reason: String,
}

/// Asks for a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackOrder {
    /// The version that is to lose its traffic; the canary when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version that is to take it, any of the route that is not in quarantine; stable
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why.
    pub reason: String,
}

/// Asks for something that only needs a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainOrder {
    /// Why.
    pub reason: String,
}

/// Asks for a rollout to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteOrder {
    /// Whether all that is left of it is skipped.
    #[serde(default)]
    pub full: bool,
    /// Why.
    pub reason: String,
}

/// Asks for another mode of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeOrder {
    /// Which.
    pub mode: ServiceMode,
    /// Why.
    pub reason: String,
}

/// How a route is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceMode {
    /// Its versions are asked.
    Normal,
    /// Kept answers are served and nothing else.
    ReadOnly,
}

/// Asks for a version to be let out of quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseOrder {
    /// The route's name.
    pub route: String,
    /// The version's name.
    pub version: String,
    /// Why.
    pub reason: String,
}

/// Asks for what was given up to be tried again, or forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadOrder {
    /// The sink whose notices are meant; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Why.
    pub reason: String,
}

/// Says how much that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivered {
    /// The sink; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Notices, or lines of the audit log.
    pub letters: usize,
    /// The operator, as the records name him.
    pub operator: String,
    /// Why.
    pub reason: String,
}

/// Says that an order was carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The route's name.
    pub route: String,
    /// The version's name.
    pub version: String,
    /// Its weight in percent, where that was the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The operator, as the records name him.
    pub operator: String,
    /// Why.
    pub reason: String,
}

/// All versions that may have no traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// One entry a version.
    pub quarantine: Vec<Quarantined>,
}

/// A version that may have no traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The route's name.
    pub route: String,
    /// The version's name.
    pub version: String,
    /// Why it is there.
    pub reason: String,
}

/// The failure analyses that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents {
    /// One entry an analysis, the latest first.
    pub incidents: Vec<Listed>,
}

/// A failure analysis that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The id of the rollback.
    pub id: String,
    /// Its files that are there.
    pub files: Vec<String>,
}

/// One failure analysis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The id of the rollback.
    pub id: String,
    /// Its files that are there.
    pub files: Vec<String>,
    /// What `report.json` says; absent while it is not there.
    pub report: Option<serde_json::Value>,
}

/// What the analysis says of a route's canary, in the words of Argo Rollouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The verdict.
    pub result: Finding,
    /// The failed share of the canary's requests in the window, 0 to 1; null without any.
    pub value: Option<f64>,
    /// The version it is about; absent when none is on trial.
    pub version: Option<String>,
    /// The verdict in one sentence.
    pub verdict: String,
    /// Every version on trial: rules, evidence, what is missing, and the phases so far.
    #[serde(default)]
    pub trials: Vec<TrialView>,
}

/// A verdict in the words of Argo Rollouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// Every rule holds.
    Successful,
    /// A rule is broken, or the version was rolled back.
    Failed,
    /// Not enough is known.
    Inconclusive,
}

/// An error as RFC 9457 writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the status says the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong with this very request.
    pub detail: String,
}

/// A share as people write it: a number of percent, or a text like `10%`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Share {
    /// A number of percent.
    Number(f64),
    /// A number of percent with or without its sign.
    Text(String),
}

/// Why a text is not a share.
#[derive(Debug, Error, PartialEq)]
#[error("weight: {text:?} is not a share: {why}")]
pub struct ShareError {
    text: String,
    why: String,
}

/// Why a text is not a reason.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReasonError {
    /// There is nothing in it.
    #[error("reason: say why, in 1 to {REASON_CHARS} characters")]
    Empty,
    /// Too much is in it.
    #[error("reason: {0} characters are more than {REASON_CHARS}")]
    Long(usize),
    /// It would break the lines of whoever prints it.
    #[error("reason: the character {0:?} is not allowed in it")]
    Control(char),
}

impl Share {
    /// The share as a value.
    ///
    /// # Errors
    /// [`ShareError`] when it is no number between 0 % and 100 %.
    pub fn percent(&self) -> Result<Percent, ShareError> {
        let wrong = |why: String| ShareError {
            text: self.to_string().chars().take(40).collect(),
            why,
        };
        let number = match self {
            Self::Number(number) => *number,
            Self::Text(text) => {
                let digits = text.strip_suffix('%').unwrap_or(text).trim();
                let number = digits.parse::<f64>();
                number.map_err(|_| wrong("write it like 10% or 0.5".to_owned()))?
            }
        };
        Percent::of(number).map_err(|err| wrong(err.to_string()))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The verdict on a version in the words of Argo Rollouts.
#[must_use]
pub fn finding(version: &VersionView) -> Finding {
    // Its users are off it, but whether it is bad is being found out or left to somebody.
    if version.quarantine.is_none()
        && matches!(&*version.state, "protected" | "trickle" | "held")
    {
        return Finding::Inconclusive;
    }
    if version.quarantine.is_some() || version.state != "serving" {
        return Finding::Failed;
    }
    // The first words of the judge's sentence are the verdict; a breach without consequence
    // is one of a dry run or of a rule that only alerts.
    match version.verdict.split_once(':') {
        Some(("pass", _)) => Finding::Successful,
        Some(("breach", _)) => Finding::Failed,
        Some(_) | None => Finding::Inconclusive,
    }
}

/// A reason that may go into records: one line without anything that moves a cursor,
/// between 1 and 500 characters, the blanks around it taken off.
///
/// # Errors
/// [`ReasonError`] when it is none.
pub fn reason(text: &str) -> Result<String, ReasonError> {
    let text = text.trim_matches(' ');
    if let Some(bad) = text.chars().find(|&c| breaks_lines(c)) {
        return Err(ReasonError::Control(bad));
    }
    match text.chars().count() {
        0 => Err(ReasonError::Empty),
        1..=REASON_CHARS => Ok(text.to_owned()),
        more => Err(ReasonError::Long(more)),
    }
}

/// Whether a character ends a line, moves the cursor or turns the direction of a text.
#[must_use]
pub fn breaks_lines(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The longest reason, in characters.
const REASON_CHARS: usize = 500;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        Finding, RollbackOrder, Share, VersionView, WeightOrder, finding, reason,
    };
    use crate::judge;
    use crate::judge::{Ground, OnBreach, Verdict};
    use crate::vocab::trigger::Trigger;

    #[test]
    fn the_judge_s_sentence_is_understood() {
        let found = |ground, dry_run| judge::Finding {
            rule: "errorRate",
            trigger: Trigger::ErrorRate,
            on_breach: OnBreach::Rollback,
            dry_run,
            ground,
            timing: judge::Timing::Whole,
            seen: None,
            limit: None,
            window: Duration::from_secs(1),
            canary_samples: 1,
            stable_samples: 1,
        };
        let (open, broken) = (Ground::NoTraffic, Ground::AboveMax { chance: 0.0 });
        for (verdict, means) in [
            (Verdict::Pass, Finding::Successful),
            (Verdict::Inconclusive(vec![found(open, false)]), Finding::Inconclusive),
            (Verdict::Breach(vec![found(broken, false)]), Finding::Failed),
            (Verdict::Breach(vec![found(broken, true)]), Finding::Inconclusive),
        ] {
            let (state, verdict) = ("serving".to_owned(), verdict.to_string());
            let mut version = VersionView { state, verdict, ..VersionView::default() };
            assert_eq!(finding(&version), means, "{}", version.verdict);
            version.state = "draining".to_owned();
            assert_eq!(finding(&version), Finding::Failed, "{}", version.verdict);
            version.state = "protected".to_owned();
            assert_eq!(finding(&version), Finding::Inconclusive, "{}", version.verdict);
        }
    }

    #[test]
    fn a_share_is_a_number_or_a_text_of_percent() {
        for (json, ppm) in [
            ("10", 100_000),
            ("0.5", 5_000),
            ("\"10%\"", 100_000),
            ("\"1.5 %\"", 15_000),
            ("\"100\"", 1_000_000),
        ] {
            let share: Share = serde_json::from_str(json).unwrap();
            assert_eq!(share.percent().unwrap().ppm(), ppm, "{json}");
        }
        for (json, says) in [
            ("130", "weight: \"130\" is not a share: 130% is above 100%"),
            ("\"-1%\"", "weight: \"-1%\" is not a share: -1% is below 0%"),
            ("\"ten\"", "weight: \"ten\" is not a share: write it like 10% or 0.5"),
            ("\"NaN\"", "weight: \"NaN\" is not a share: not a number of percent"),
        ] {
            let share: Share = serde_json::from_str(json).unwrap();
            assert_eq!(share.percent().unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn a_reason_is_one_plain_line() {
        assert_eq!(
            reason(" p99 up after deploy – see INC-7 ").unwrap(),
            "p99 up after deploy – see INC-7"
        );
        assert_eq!(reason(&"ü".repeat(500)).unwrap().chars().count(), 500);
        for bad in [
            "",
            "  ",
            "a\nb",
            "x\n{\"actor\":\"root\"}",
            "\u{1b}[2J",
            "a\tb",
            "a\0",
            "\u{85}",
            "\u{2028}",
            "\u{202e}x",
            &"x".repeat(501),
        ] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_unknown_is_taken() {
        let order = r#"{"version":"v2","weight":"5%","reason":"slow","operator":"root"}"#;
        let refused = serde_json::from_str::<WeightOrder>(order).unwrap_err().to_string();
        assert!(refused.contains("unknown field `operator`"), "{refused}");
        assert!(serde_json::from_str::<RollbackOrder>(r#"{"version":"v2"}"#).is_err());
    }
}
