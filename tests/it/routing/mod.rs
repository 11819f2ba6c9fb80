//! Which version a request gets by what it says itself: the model it names, its session, a
//! pin; and what a stranger can make of these.
//!
//! THREATS 35 (spoofed pins), 36 (labels from callers) and 37 (log injection by names) are
//! proven here, and issue 5, items 5 (names) and 6.

mod bounds;
mod models;
mod pins;
mod sessions;
