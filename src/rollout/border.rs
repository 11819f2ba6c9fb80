//! What reaches the machine of a rollout and what comes out of it: its whole border.
//!
//! Apart from the machine, because operators, gates and the control loop speak these words
//! without knowing how a rollout thinks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::headroom::Headroom;
use super::state::Rollout;
use crate::vocab::amount::Percent;
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// What follows from one event: the next state, and what to do now, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RolloutStep {
    /// The rollout after the event.
    pub next: Rollout,
    /// What to do; often nothing.
    pub commands: Vec<RolloutCommand>,
}

/// Something to be done for a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutCommand {
    /// Give the version this share, and answer with [`RolloutEvent::Shifted`] or
    /// [`RolloutEvent::NotShifted`].
    SetWeight {
        /// The version.
        version: Name,
        /// Its share.
        weight: Percent,
    },
    /// Ask the gates of this type, and answer with [`RolloutEvent::Gate`].
    AskGate {
        /// Which.
        gate: Gate,
    },
    /// Look whether the version's servers can take this share, and answer with
    /// [`RolloutEvent::Headroom`].
    CheckHeadroom {
        /// The share.
        weight: Percent,
    },
    /// Roll the version back: a gate asks for it.
    RollBack {
        /// Why, in one sentence.
        why: String,
    },
    /// Answer with [`RolloutEvent::Woken`] at `at`; replaces any earlier alarm.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// Tell everybody what changed.
    Tell(Change),
    /// The order makes no sense now; the answer to a [`RolloutEvent::Ordered`] alone.
    Refuse(String),
    /// The rollout is over. Given once for each begin.
    Finish {
        /// Whether the version has all traffic.
        succeeded: bool,
    },
}

/// Something that happened to a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutEvent {
    /// The time that a [`RolloutCommand::Wake`] asked for has come.
    Woken,
    /// What the analysis says now.
    Judged(Judged),
    /// A rule that pauses rollouts is broken, and was not before; the finding.
    Concern(String),
    /// An operator orders something.
    Ordered {
        /// What.
        verb: Verb,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator gave the version a weight by hand; it is in force.
    Overruled {
        /// The weight.
        weight: Percent,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A gate has answered, or could not be asked.
    Gate {
        /// Which.
        gate: Gate,
        /// What it says.
        answer: Answer,
    },
    /// Whether there is room for what was asked about.
    Headroom(Headroom),
    /// The version has this share.
    Shifted {
        /// The share.
        weight: Percent,
    },
    /// The share could not be given.
    NotShifted {
        /// Why.
        why: String,
    },
    /// The rollback of the version has ended, whatever way.
    RolledBack {
        /// What it was for.
        why: String,
    },
}

/// What the analysis says about the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It has shown that it is no worse than stable by more than the margin.
    Good,
    /// Neither good nor bad is shown.
    Inconclusive,
    /// It had no request since its share was last changed.
    NoTraffic,
    /// Its users are on stable while it is tested.
    Suspicious,
    /// A rollback of it has begun, or it is in quarantine.
    Breached,
}

/// What a gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It lets the rollout pass.
    Go,
    /// It does not, or could not be asked.
    Halt {
        /// Why, in a few words.
        why: String,
    },
}

/// The kinds of gates, by the names that Flagger gave them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Before anything.
    ConfirmRollout,
    /// Before the first request.
    PreRollout,
    /// Before each step.
    Rollout,
    /// Before each step of weight.
    ConfirmTrafficIncrease,
    /// Before the step to 100 %.
    ConfirmPromotion,
    /// When it is over; what it answers is only told.
    PostRollout,
    /// All along; when it lets pass, the version is rolled back.
    Rollback,
}

impl Gate {
    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmRollout => "confirm-rollout",
            Self::PreRollout => "pre-rollout",
            Self::Rollout => "rollout",
            Self::ConfirmTrafficIncrease => "confirm-traffic-increase",
            Self::ConfirmPromotion => "confirm-promotion",
            Self::PostRollout => "post-rollout",
            Self::Rollback => "rollback",
        }
    }
}

/// Something that changed, for logs, notices and event webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What kind of change.
    pub kind: ChangeKind,
    /// The change in one sentence.
    pub text: String,
}

/// What kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A rollout began.
    Begun,
    /// The version has another share.
    Stepped,
    /// The rollout waits for somebody or something.
    Waiting,
    /// The version's servers cannot take more.
    Short,
    /// Somebody, or a rule, paused or froze it.
    Paused,
    /// It goes on.
    Resumed,
    /// The version has all traffic.
    Promoted,
    /// It is over and the version has all traffic.
    Succeeded,
    /// Its traffic is being taken away.
    Aborting,
    /// A rollback of the version has begun.
    RollingBack,
    /// It is over and the version has no traffic.
    Failed,
}

impl ChangeKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Stepped => "stepped",
            Self::Waiting => "waiting",
            Self::Short => "short",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Promoted => "promoted",
            Self::Succeeded => "succeeded",
            Self::Aborting => "aborting",
            Self::RollingBack => "rollingBack",
            Self::Failed => "failed",
        }
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_bad(self) -> bool {
        match self {
            Self::Short
            | Self::Paused
            | Self::Aborting
            | Self::RollingBack
            | Self::Failed => true,
            Self::Begun
            | Self::Stepped
            | Self::Waiting
            | Self::Resumed
            | Self::Promoted
            | Self::Succeeded => false,
        }
    }
}

/// What an operator orders of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// End the wait of now; `full`: skip all that is left, up to 100 %.
    Promote {
        /// Skip all that is left.
        full: bool,
    },
    /// Change nothing until it is resumed.
    Pause,
    /// Go on where it was paused or frozen.
    Resume,
    /// Give the version's traffic back to stable; no quarantine.
    Abort,
    /// Begin again.
    Retry,
    /// No rollout of the route changes anything until it is resumed, a new one included.
    Freeze,
}

impl Verb {
    /// The word of the command line and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote { .. } => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Freeze => "freeze",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
