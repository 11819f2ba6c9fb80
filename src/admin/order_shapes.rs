//! The shapes of the orders to a route. Apart from the table of all shapes, which is as long
//! as a file may be.

use super::shapes::{CLOSED, Shape};

/// `WeightOrder`.
pub(super) const WEIGHT: Shape = (
    "WeightOrder",
    CLOSED,
    "Another share for a version: a number of percent, or a text like 10%.",
    &[("version", "string"), ("weight", "share"), ("reason", "string")],
);

/// `RollbackOrder`.
pub(super) const ROLLBACK: Shape = (
    "RollbackOrder",
    CLOSED,
    "A rollback of `version` (the canary when absent) to `to` (stable when absent; any \
     version of the route that is not in quarantine).",
    &[("version", "string?"), ("to", "string?"), ("reason", "string")],
);

/// `PromoteOrder`.
pub(super) const PROMOTE: Shape = (
    "PromoteOrder",
    CLOSED,
    "Lets a rollout go on; `full` skips all that is left of it.",
    &[("full", "boolean?"), ("reason", "string")],
);

/// `ModeOrder`.
pub(super) const MODE: Shape = (
    "ModeOrder",
    CLOSED,
    "Another mode of a route.",
    &[("mode", "normal|readOnly"), ("reason", "string")],
);

/// `ReleaseOrder`.
pub(super) const RELEASE: Shape = (
    "ReleaseOrder",
    CLOSED,
    "A version to be let out of quarantine.",
    &[("route", "string"), ("version", "string"), ("reason", "string")],
);
