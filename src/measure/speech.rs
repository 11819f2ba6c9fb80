//! `Speech`: what is noted of an answer that is a stream of tokens, and `Streams`: the
//! numbers of all such answers of one version.
//!
//! Apart from the flight and the tally, because most versions never stream: a tally has room
//! for these numbers only once one did.

use std::time::Duration;

use super::watch::micros;
use crate::trace::Streamed;
use crate::vocab::times::Times;

/// One stream of tokens so far. Times are the version's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Speech {
    /// Time to the first token.
    first: Option<Duration>,
    /// Pieces of content that came; one is a token with most servers.
    pieces: u64,
    /// Tokens by the version's own count, which is the better one: a piece may be several.
    said: Option<u64>,
}

impl Speech {
    /// More pieces of content are here, `spent` after the request. `true` for the first ones.
    pub(super) fn hear(&mut self, pieces: u64, spent: Duration) -> bool {
        let begins = self.first.is_none() && pieces > 0;
        if begins {
            self.first = Some(spent);
        }
        self.pieces = self.pieces.saturating_add(pieces);
        begins
    }

    /// The version's own count of its tokens. The last one counts, as servers count up.
    pub(super) fn say(&mut self, tokens: u64) {
        self.said = (tokens > 0).then_some(tokens.min(MOST_TOKENS)).or(self.said);
    }

    /// Time to the first token.
    pub(super) fn first(&self) -> Option<Duration> {
        self.first
    }

    /// Tokens: the version's own count where it gave one, else the pieces of content.
    pub(super) fn tokens(&self) -> u64 {
        self.said.unwrap_or(self.pieces)
    }

    /// What a trace says of it, when all of it took `total`.
    pub(super) fn traced(&self, total: Duration) -> Option<Streamed> {
        let (first_us, tokens) = (micros(self.first?), self.tokens());
        Some(Streamed { first_us, tokens, each_us: self.per_token_us(total) })
    }

    /// Microseconds for each token after the first, when all of it took `total`; `None`
    /// for fewer than two tokens.
    pub(super) fn per_token_us(&self, total: Duration) -> Option<u64> {
        let span = micros(total.saturating_sub(self.first?));
        let after = self.tokens().checked_sub(1).filter(|after| *after > 0)?;
        Some(span.saturating_add(after / 2) / after)
    }
}

/// The streams of one version. Allocated with the first of them.
#[derive(Clone, Debug)]
pub struct Streams {
    /// Time to the first token in microseconds, of every stream that came to one, however
    /// it ended.
    pub first_token: Times,
    /// Time for each token after the first in microseconds, of good answers.
    pub per_token: Times,
    /// Tokens of good answers, one number each.
    pub length: Times,
    /// Time to the last byte in microseconds, of good answers; apart from the total times of
    /// other answers, because a stream is not judged by it.
    pub total: Times,
    /// Tokens of all streams, however they ended.
    pub tokens: u64,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            first_token: Times::fine(),
            per_token: Times::fine(),
            length: Times::fine(),
            total: Times::fine(),
            tokens: 0,
        }
    }
}

impl Streams {
    /// Records a stream that has ended after so long.
    pub(super) fn ended(&mut self, speech: &Speech, total: Duration, good: bool) {
        self.tokens = self.tokens.saturating_add(speech.tokens());
        if !good {
            return;
        }
        self.total.record(micros(total));
        self.length.record(speech.tokens());
        if let Some(per_token) = speech.per_token_us(total) {
            self.per_token.record(per_token);
        }
    }

    /// Adds the streams of another tally.
    pub(super) fn add(&mut self, more: &Self) {
        self.tokens = self.tokens.saturating_add(more.tokens);
        self.first_token.add(&more.first_token);
        self.per_token.add(&more.per_token);
        self.length.add(&more.length);
        self.total.add(&more.total);
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens == 0 && self.first_token.is_empty() && self.total.is_empty()
    }

    /// Empties it without giving its memory back.
    pub(super) fn clear(&mut self) {
        self.tokens = 0;
        let Self { first_token, per_token, length, total, .. } = self;
        [first_token, per_token, length, total].into_iter().for_each(Times::clear);
    }
}

/// No answer has more; a version that claims more is not believed.
const MOST_TOKENS: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MOST_TOKENS, Speech, Streams};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_stream_is_timed_by_its_first_token_and_by_each_after_it() {
        let mut speech = Speech::default();
        assert!(!speech.hear(0, ms(10)), "nothing is no token");
        assert!(speech.hear(2, ms(30)) && !speech.hear(1, ms(90)));
        assert_eq!((speech.first(), speech.tokens()), (Some(ms(30)), 3));
        assert_eq!(speech.per_token_us(ms(130)), Some(50_000));
        speech.say(101);
        speech.say(0);
        assert_eq!((speech.tokens(), speech.per_token_us(ms(130))), (101, Some(1_000)));
        speech.say(u64::MAX);
        assert_eq!(speech.tokens(), MOST_TOKENS);
    }

    #[test]
    fn fewer_than_two_tokens_have_no_pace() {
        let mut speech = Speech::default();
        assert_eq!(speech.per_token_us(ms(5)), None);
        speech.say(7);
        assert_eq!(speech.per_token_us(ms(5)), None, "none of them was seen");
        let mut one = Speech::default();
        one.hear(1, ms(3));
        assert_eq!(one.per_token_us(ms(5)), None);
        one.hear(1, ms(4));
        assert_eq!(one.per_token_us(ms(2)), Some(0), "time that goes back is none");
    }

    #[test]
    fn a_bad_end_counts_its_tokens_and_nothing_else() {
        let mut speech = Speech::default();
        speech.hear(4, ms(10));
        let (mut one, mut two) = (Streams::default(), Streams::default());
        one.ended(&speech, ms(40), true);
        two.ended(&speech, ms(40), false);
        one.add(&two);
        assert_eq!((one.tokens, one.length.len(), one.total.len()), (8, 1, 1));
        assert_eq!((one.per_token.len(), one.length.max()), (1, 4));
        one.clear();
        assert!(one.is_empty() && one.per_token.is_empty() && one.length.is_empty());
    }
}
