//! The shape of a route's rollout in the file. Apart from `file_route` for its length; the
//! tables are one.

use std::time::Duration;

use super::defaults;
use super::file::{HOUR, NAME, SPAN, WAIT, key, list, words};
use super::rollout;
use super::shape::Need::{Default, Optional, Required};
use super::shape::{Key, Shape};
use super::units;

/// How a canary gains traffic.
pub(super) const ROLLOUT: &[Key] = &[
    key(
        "strategy",
        Shape::Word { built: &["canary", "blueGreen", "rolling"], later: &["shadow"] },
        Default(defaults::STRATEGY),
        "canary = in the steps that are given, blueGreen = all at once, rolling = in even steps",
    ),
    key(
        "steps",
        list(&Shape::Map(STEP), 1, 64),
        Optional,
        "weights and pauses, in order; to 100% comes by itself at the end",
    ),
    key(
        "stepWeights",
        list(&Shape::Percent, 1, 32),
        Optional,
        "weights alone, with a pause of interval after each",
    ),
    key(
        "stepWeight",
        Shape::Percent,
        Default(defaults::STEP_WEIGHT),
        "how much more each step of a rolling rollout gives",
    ),
    key("interval", WAIT, Optional, "between two steps of stepWeights or of rolling"),
    key(
        "bake",
        SPAN,
        Default(defaults::BAKE),
        "how long a version is watched at 100%, stable kept warm; 0s = not at all",
    ),
    key("webhooks", list(&Shape::Map(WEBHOOK), 0, 32), Optional, "who is asked and told"),
];

const STEP: &[Key] = &[
    key("setWeight", Shape::Percent, Optional, "the share from here on"),
    key(
        "pause",
        Shape::Text(rollout::is_pause),
        Optional,
        "a duration, or untilPromoted: until an operator promotes it",
    ),
];

const WEBHOOK: &[Key] = &[
    key("name", NAME, Required, "its name in messages"),
    key(
        "type",
        words(&[
            "confirm-rollout",
            "pre-rollout",
            "rollout",
            "confirm-traffic-increase",
            "confirm-promotion",
            "post-rollout",
            "rollback",
            "event",
        ]),
        Required,
        "when it is asked; rollback: a good answer rolls back; event: only told",
    ),
    key("url", Shape::Text(units::line), Optional, "where it is"),
    key("urlFile", Shape::Text(units::line), Optional, "a file with where it is"),
    key(
        "timeout",
        Shape::Span { least: Duration::from_millis(1), most: HOUR },
        Default(defaults::WEBHOOK_TIMEOUT),
        "for one answer; none within it is a no",
    ),
    key(
        "interval",
        Shape::Span { least: Duration::from_millis(100), most: HOUR },
        Default(defaults::WEBHOOK_INTERVAL),
        "between two questions while the answer is no",
    ),
    key("metadata", Shape::Headers, Optional, "names and values that it is sent"),
    key(
        "allowPrivate",
        Shape::Flag,
        Default(defaults::ALLOW_PRIVATE),
        "whether it may be on this machine or a private network",
    ),
];
