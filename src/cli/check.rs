//! `switchback check` and `switchback schema`: what a configuration means, and what one may
//! say.
//!
//! Apart because neither starts anything; `run` reads its configuration through here too,
//! so that both say the same of the same file.

use std::path::Path;

use super::output::{Exit, Output, Unwritten};
use crate::config;

/// Prints what the file means, or everything that is wrong with it.
pub(super) fn check(file: &Path, output: &mut Output<'_>) -> Result<Exit, Unwritten> {
    let Some(loaded) = load(file, output) else { return Ok(Exit::Error) };
    for warning in &loaded.warnings {
        output.errors(format!("warning: {warning}"));
    }
    output.lines(config::describe(&loaded))?;
    Ok(Exit::Good)
}

/// Prints the JSON Schema of the configuration.
pub(super) fn schema(output: &mut Output<'_>) -> Result<Exit, Unwritten> {
    output.lines(config::schema())?;
    Ok(Exit::Good)
}

/// The file's settings; what is wrong with it is said, one problem a line.
pub(super) fn load(file: &Path, output: &mut Output<'_>) -> Option<config::Loaded> {
    config::load(file).map_err(|problems| output.errors(problems)).ok()
}
