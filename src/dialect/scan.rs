//! `StreamScan`: an answer looked at while it passes, and what it comes to.
//!
//! Nothing is held up or changed by it. A compressed stream is decoded on the side where
//! that can be done within bounds (`inflate`); of what is coded otherwise nothing is seen,
//! and only the connection's own failures count.

use std::io;

use super::inflate::{Coding, Side};
use super::sse::{Event, Events};
use super::state::{Finish, State, Usage};
use super::whole::{WHOLE_MAX, error_object};
use super::{anthropic, generate, openai};
use crate::vocab::outcome::Class;
use crate::vocab::policy::Dialect;

/// Of an answer's head what a scan needs.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    /// The status.
    pub status: u16,
    /// `Content-Type`, as it is.
    pub content_type: Option<&'a [u8]>,
    /// `Content-Encoding`, as it is.
    pub content_encoding: Option<&'a [u8]>,
    /// The length in bytes, where it was announced.
    pub length: Option<u64>,
}

/// What some bytes have brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first meaningful bytes of the stream were among them.
    pub first: bool,
    /// Pieces of output that came with them, each a token or a few.
    pub tokens: u64,
}

/// An answer that is looked at while it passes.
#[derive(Debug)]
pub struct StreamScan {
    dialect: Dialect,
    coding: Coding,
    side: Side,
    core: Core,
}

/// What looks at the bytes, decoded where that was necessary.
#[derive(Debug)]
pub(super) struct Core {
    dialect: Dialect,
    kind: Kind,
    state: State,
}

#[derive(Debug)]
enum Kind {
    /// Server-sent events.
    Events(Events),
    /// A small answer of that length, where it is known, kept until it is whole; `None` when
    /// it is not small, or has been looked at.
    Whole(Option<u64>, Option<Vec<u8>>),
}

impl StreamScan {
    /// A scan of an answer in that dialect; `None` where there is nothing to be seen: no good
    /// status, gRPC, or neither events nor a small answer in JSON.
    #[must_use]
    pub fn new(dialect: Dialect, head: &AnswerHead<'_>) -> Option<Self> {
        if !(200..300).contains(&head.status) || dialect == Dialect::Grpc {
            return None;
        }
        let is = |kind: &[u8]| head.content_type.is_some_and(|it| is_type(it, kind));
        let coding = Coding::of(head.content_encoding);
        let kind = if is(b"text/event-stream") {
            Kind::Events(Events::default())
        } else {
            let fits = head.length.is_none_or(|length| length <= WHOLE_MAX as u64);
            let plain = dialect == Dialect::Plain || coding != Coding::None;
            if plain || !fits || !is(b"application/json") {
                return None;
            }
            Kind::Whole(head.length, Some(Vec::new()))
        };
        let core = Core { dialect, kind, state: State::default() };
        Some(Self { dialect, coding, side: Side::default(), core })
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        let (content, tokens) = (self.core.state.content, self.core.state.tokens);
        match self.coding {
            Coding::None => self.core.take(bytes),
            Coding::Gzip | Coding::Deflate => {
                let decoded = self.side.decode(self.coding, bytes, &mut self.core);
                if let Err(error) = decoded {
                    self.coding = Coding::Unseen;
                    // What cannot be decoded here cannot be decoded by the caller either.
                    if error.kind() == io::ErrorKind::InvalidInput && !self.is_complete()
                    {
                        self.core.state.fail(Class::ProtocolError);
                    }
                }
            }
            // Pieces are all that can be counted of such a stream.
            Coding::Unseen if !bytes.is_empty() => self.core.state.output(1),
            Coding::Unseen => {}
        }
        let state = &self.core.state;
        Progress {
            first: state.content && !content,
            tokens: state.tokens.saturating_sub(tokens),
        }
    }

    /// Whether it is a stream of events, rather than an answer that is looked at whole.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self.core.kind, Kind::Events(_))
    }

    /// Whether it is a stream in a dialect that says what its events are.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self.dialect {
            Dialect::OpenAi | Dialect::Anthropic | Dialect::OpenInference => true,
            Dialect::Plain | Dialect::TorchServe | Dialect::Grpc => false,
        }
    }

    /// Whether anything meaningful has come: more than signs of life and frames that only
    /// open the stream. True too of what cannot be seen.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.core.state.content || self.is_unseen()
    }

    /// Whether nothing of the stream can be seen, or nothing more.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.coding == Coding::Unseen
    }

    /// The class that the stream has already come to, whatever may follow: that of an error
    /// inside it, or of an event that is none.
    #[must_use]
    pub fn failed(&self) -> Option<Class> {
        self.core.state.failed
    }

    /// Whether the dialect's own end has come.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.core.state.is_complete()
    }

    /// Pieces of output so far, each a token or a few.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.core.state.tokens
    }

    /// Tokens as the server counted them, where it said.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.core.state.usage
    }

    /// Why the model stopped, where it said.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.core.state.finish
    }

    /// What the answer comes to, its body having ended well.
    #[must_use]
    pub fn end(&self) -> Class {
        let state = &self.core.state;
        if let Some(class) = state.failed {
            return class;
        }
        if self.is_unseen() {
            return Class::Success;
        }
        match &self.core.kind {
            Kind::Whole(_, body) => body
                .as_ref()
                .and_then(|body| error_object(self.dialect, body))
                .unwrap_or(Class::Success),
            Kind::Events(_) => match self.dialect {
                Dialect::OpenAi | Dialect::Anthropic if !state.content => {
                    Class::EmptyStream
                }
                Dialect::OpenAi if state.has_known_end() && !state.is_complete() => {
                    Class::Truncated
                }
                Dialect::Anthropic if !state.is_complete() => Class::Truncated,
                Dialect::OpenInference if !state.content => Class::EmptyStream,
                Dialect::Plain | Dialect::TorchServe if state.error_last => {
                    Class::StreamError
                }
                Dialect::OpenAi
                | Dialect::Anthropic
                | Dialect::OpenInference
                | Dialect::Plain
                | Dialect::TorchServe
                | Dialect::Grpc => Class::Success,
            },
        }
    }

    /// What the answer comes to when the caller leaves before its end: `None` when that says
    /// nothing of the version. Callers leave at an error, and some at the dialect's own end.
    #[must_use]
    pub fn left(&self) -> Option<Class> {
        match self.failed() {
            Some(class) => Some(class),
            None if self.is_stream() && self.is_complete() => Some(self.end()),
            None => None,
        }
    }

    /// The dialect, and whether its events are those of the Responses API; with what has to
    /// be sent for a new event to begin. `None` where no event can be added.
    pub(super) fn standing(&self) -> Option<(Dialect, bool, &'static [u8])> {
        match (&self.core.kind, self.coding) {
            (Kind::Events(events), Coding::None) => {
                let state = &self.core.state;
                Some((self.dialect, state.is_responses, events.boundary()))
            }
            (Kind::Events(_) | Kind::Whole(..), _) => None,
        }
    }
}

impl Core {
    /// Takes decoded bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let Self { dialect, kind, state } = self;
        match kind {
            Kind::Events(events) => {
                let read = reader(*dialect);
                events.push(bytes, &mut |event| read(&event, state));
            }
            Kind::Whole(length, kept) => {
                let Some(before) = kept else { return };
                if before.is_empty() && *length == Some(bytes.len() as u64) {
                    // All of it at once, as most are: nothing need be kept.
                    state.failed = error_object(*dialect, bytes);
                    *kept = None;
                } else if before.len() + bytes.len() > WHOLE_MAX {
                    *kept = None;
                } else {
                    before.extend_from_slice(bytes);
                }
            }
        }
    }
}

/// What stands in a scan's place while a decoder has it: it takes nothing.
impl Default for Core {
    fn default() -> Self {
        let (dialect, kind) = (Dialect::Plain, Kind::Whole(None, None));
        Self { dialect, kind, state: State::default() }
    }
}

type Reader = fn(&Event<'_>, &mut State);

fn reader(dialect: Dialect) -> Reader {
    match dialect {
        Dialect::OpenAi => openai::read,
        Dialect::Anthropic => anthropic::read,
        Dialect::OpenInference => generate::read,
        Dialect::Plain | Dialect::TorchServe | Dialect::Grpc => generate::read_any,
    }
}

/// Whether a `Content-Type` is of that type, whatever its parameters.
fn is_type(value: &[u8], kind: &[u8]) -> bool {
    let value = value.trim_ascii_start();
    value.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
        && value.get(kind.len()).is_none_or(|next| b"; \t".contains(next))
}

#[cfg(test)]
#[path = "tests/scan.rs"]
mod tests;
