//! The shapes of notices that wait, were given up, or are tried again. Apart from the table of
//! all shapes, which is as long as a file may be.

use super::shapes::{CLOSED, OPEN, Shape};

/// What waits.
pub(super) const NOTICES: Shape = (
    "Notices",
    OPEN,
    "What waits to be delivered, and to whom.",
    &[("sinks", "[Sink]"), ("is_writing", "boolean"), ("not_on_disk", "string?")],
);

/// One of those who are told.
pub(super) const SINK: Shape = (
    "Sink",
    OPEN,
    "How one sink stands; counts are since the start.",
    &[
        ("name", "string"),
        ("type", "string"),
        ("waiting", "integer"),
        ("dead", "integer"),
        ("is_failing", "boolean"),
        ("last_error", "string?"),
        ("last_error_at", "string?"),
        ("last_delivery", "string?"),
        ("delivered", "integer"),
        ("failed", "integer"),
        ("given_up", "integer"),
        ("pushed_out", "integer"),
        ("lost", "integer"),
        ("dead_letters", "[DeadLetter]?"),
    ],
);

/// One of those who are told, as the status has it.
pub(super) const SINK_STAND: Shape = (
    "SinkStand",
    OPEN,
    "How one of those who are told stands.",
    &[
        ("name", "string"),
        ("waiting", "integer"),
        ("dead", "integer"),
        ("is_failing", "boolean"),
        ("last_error", "string?"),
    ],
);

/// What was given up.
pub(super) const DEAD_LETTER: Shape = (
    "DeadLetter",
    OPEN,
    "Something that was given up and is kept.",
    &[
        ("key", "string?"),
        ("summary", "string?"),
        ("queued", "string"),
        ("given_up", "string"),
        ("why", "string"),
    ],
);

/// What becomes of it.
pub(super) const DEAD_ORDER: Shape = (
    "DeadOrder",
    CLOSED,
    "What was given up is to be tried again or forgotten: of one sink, or of all.",
    &[("sink", "string?"), ("reason", "string")],
);

/// How much that was.
pub(super) const REDELIVERED: Shape = (
    "Redelivered",
    OPEN,
    "How much that was.",
    &[
        ("sink", "string?"),
        ("letters", "integer"),
        ("operator", "string"),
        ("reason", "string"),
    ],
);
