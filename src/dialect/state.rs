//! `State`: what a stream has come to so far, in the words that all dialects share. The
//! dialects write it, event by event; `scan` reads it.

use crate::vocab::outcome::Class;

/// Tokens as the server itself counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the question.
    pub prompt: Option<u64>,
    /// Of the answer.
    pub completion: Option<u64>,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// It was done, or met a stop word.
    Stop,
    /// It reached the length that was allowed.
    Length,
    /// It calls a tool.
    Tool,
    /// A filter stopped it, or it refused.
    Filter,
    /// It says that it failed.
    Failed,
    /// A reason of another name.
    Other,
}

/// What a stream has come to so far.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct State {
    /// Something meaningful has come.
    pub(super) content: bool,
    /// Pieces of output, each a token or a few.
    pub(super) tokens: u64,
    /// The dialect's own end has come.
    pub(super) ended: bool,
    /// It is a failure, whatever follows.
    pub(super) failed: Option<Class>,
    pub(super) usage: Usage,
    pub(super) finish: Option<Finish>,
    /// Choices that have begun and those that are finished, a bit each.
    pub(super) begun: u64,
    pub(super) done: u64,
    /// The events are those of the Responses API.
    pub(super) is_responses: bool,
    /// The last event was an error.
    pub(super) error_last: bool,
}

impl State {
    /// Output has come: pieces of it.
    pub(super) fn output(&mut self, pieces: u64) {
        self.content = true;
        self.tokens = self.tokens.saturating_add(pieces);
    }

    /// The first failure stands.
    pub(super) fn fail(&mut self, class: Class) {
        self.failed.get_or_insert(class);
    }

    pub(super) fn finished(&mut self, reason: Finish) {
        if reason == Finish::Failed {
            self.fail(Class::StreamError);
        }
        // A call or a refusal says something by itself.
        self.content |= matches!(reason, Finish::Tool | Finish::Filter);
        self.finish = Some(reason);
    }

    /// Whether the stream is whole as its dialect sees it.
    pub(super) fn is_complete(&self) -> bool {
        self.ended || (self.begun != 0 && self.begun & !self.done == 0)
    }

    /// Whether the stream is known to be of a kind that has an end of its own. Other streams
    /// of the OpenAI API (speech, transcriptions, images) end as they like.
    pub(super) fn has_known_end(&self) -> bool {
        self.begun != 0 || self.is_responses
    }
}

impl Usage {
    /// Takes over what another one says.
    pub(super) fn merge(&mut self, other: Self) {
        self.prompt = other.prompt.or(self.prompt);
        self.completion = other.completion.or(self.completion);
    }
}

impl Finish {
    /// The reason of that name in the OpenAI or the Anthropic API.
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"stop" | b"end_turn" | b"stop_sequence" | b"eos" => Self::Stop,
            b"length" | b"max_tokens" | b"model_context_window_exceeded" => Self::Length,
            b"tool_calls" | b"function_call" | b"tool_use" | b"pause_turn" => Self::Tool,
            b"content_filter" | b"refusal" => Self::Filter,
            b"error" | b"abort" => Self::Failed,
            _ => Self::Other,
        }
    }
}
