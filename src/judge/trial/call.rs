//! What goes into a trial and what it asks for: plain values, apart from the machine that
//! exchanges them.

use std::fmt;

use crate::judge::sums::Sums;
use crate::judge::verdict::Finding;
use crate::vocab::time::Timestamp;

/// What both versions did since the last beat, within one epoch.
#[derive(Clone, Copy, Debug)]
pub struct Beat<'a> {
    /// What the canary did, or its copies under protect.
    pub canary: &'a Sums,
    /// What stable did.
    pub stable: &'a Sums,
    /// By which chance a request became the canary's.
    pub share: Share,
}

/// The chance by which a request (or its copy) was the canary's rather than stable's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// By our own coin: canary / (canary + stable), 0 to 1.
    Nominal(f64),
    /// Unknown: what the counts say is taken.
    Realised,
}

/// What a trial asks for. Whoever obeys takes it for done: the trial has moved on.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Take the users off the version, and go on testing it on copies or on a trickle.
    Protect(Finding),
    /// Roll the version back.
    Rollback(Finding),
    /// It was noise: give the users back at the former share.
    Resume,
    /// Nothing came of the confirmation: keep the users off and ask somebody. The text says
    /// why.
    Hold(String),
    /// No copies come: go on testing on a trickle of users.
    Trickle,
    /// The version takes everything and seems to fail: give stable a part back to compare.
    Probe,
    /// The comparison is over without a rollback; the text says what it showed.
    ProbeOver(String),
}

/// Where a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Users are on the version, at its share.
    Running,
    /// The users are off; copies go on testing it.
    Protected,
    /// The users but a trickle are off; the trickle goes on testing it.
    Trickling,
    /// The users are off and nothing tests it: somebody has to decide.
    Held,
    /// The version takes everything and stable got a part back to compare.
    Probing,
    /// It was rolled back.
    RolledBack,
}

impl Phase {
    /// The word used in status, logs and traces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Protected => "protected",
            Self::Trickling => "trickling",
            Self::Held => "held",
            Self::Probing => "probing",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step of a trial from phase to phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// Where it went.
    pub to: Phase,
    /// Why, in one sentence.
    pub why: String,
}
