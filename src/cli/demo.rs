//! `switchback demo`: from its arguments to the demo's own options.
//!
//! Apart because the demo is a room of its own and knows no command line.

use std::process::ExitCode;

use super::tree::DemoArgs;
use crate::demo::{self, DemoOptions};

/// Plays the demo.
pub(super) fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let DemoArgs { plain, no_color, speed } = args;
    demo::run(DemoOptions { plain, color: !no_color, speed })
}
