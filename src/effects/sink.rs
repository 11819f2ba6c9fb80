//! `Sink`: who takes notices, and `Shipper`: who takes lines of the audit log. Apart from
//! the sinks themselves because the outbox knows only these two traits.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use thiserror::Error;

use crate::vocab::notice::Notice;

/// A future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes notices to people or their tools.
///
/// A notice may come more than once, with the same key; whoever can tells repetitions apart
/// by it. Everything that takes time in a delivery has a limit of its own.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Delivers a notice once.
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>>;

    /// How often what has begun is delivered again until it is over; `None`: never.
    fn repeats(&self) -> Option<Repeats> {
        None
    }
}

/// Takes lines of the audit log to a store for logs.
pub trait Shipper: fmt::Debug + Send + Sync {
    /// Sends lines, each a whole record without its line end.
    fn ship<'a>(
        &'a self,
        lines: &'a [String],
    ) -> BoxFuture<'a, Result<Shipped, SinkError>>;
}

/// What a sink was told of the same incident before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Earlier<'a> {
    /// What the sink said where it is found.
    pub reference: Option<&'a str>,
    /// The notice with which it began, if it lasts; its details are cut short and its
    /// record is left out.
    pub opened: Option<&'a Notice>,
}

/// A sink has taken a notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Where a person finds it: a ticket's address.
    pub reference: Option<String>,
    /// Whom it reached, as the configuration names them.
    pub recipients: Vec<String>,
}

/// What became of lines that a server looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Places of those that it will never take, with the reason.
    pub refused: Vec<(usize, String)>,
    /// Places of those that it may take later.
    pub again: Vec<usize>,
    /// Why these wait.
    pub why: Option<String>,
}

/// How often what has begun is delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// Between two deliveries.
    pub every: Duration,
    /// For how long its end is delivered again.
    pub end_for: Duration,
}

/// Why a sink did not take something. Never has a secret or a payload in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SinkError {
    /// It may take it later.
    #[error("{why}")]
    Again {
        /// What happened.
        why: String,
        /// When the sink asked to be tried again.
        after: Option<Duration>,
    },
    /// It may take it once an operator has put something right, such as a token.
    #[error("{why}")]
    Fix {
        /// What happened.
        why: String,
    },
    /// It will never take it.
    #[error("{why}")]
    Never {
        /// What happened.
        why: String,
    },
}

impl SinkError {
    /// Something that may pass.
    #[must_use]
    pub fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), after: None }
    }
}
