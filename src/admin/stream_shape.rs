//! The shape of the numbers of streams of tokens. Apart from the table of all shapes, which
//! is as long as a file may be.

use super::shapes::{OPEN, Shape};

/// One version's streams.
pub(super) const STREAMS: Shape = (
    "Streams",
    OPEN,
    "The streams of tokens of one version: the window's times in milliseconds, tokens since the start.",
    &[
        ("samples", "integer"),
        ("first_token_p50_ms", "number?"),
        ("first_token_p99_ms", "number?"),
        ("per_token_p50_ms", "number?"),
        ("per_token_p99_ms", "number?"),
        ("tokens_per_second", "number?"),
        ("output_tokens", "integer"),
    ],
);
