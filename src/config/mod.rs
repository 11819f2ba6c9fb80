//! File to settings of every room. Raw shapes stay in here.
//!
//! A configuration is read in four steps, and each leaves the next less that can be wrong:
//!
//! 1. `tree` reads YAML into a bounded tree that knows the line of every value.
//! 2. `insert` fills `${NAME}` and `${file:PATH}` into its texts (`$${` stands for `${`).
//! 3. `shape` holds the tree against the one table of keys in `file`: unknown keys, wrong
//!    types, bad units, what is out of range and what is not built yet. The same table
//!    gives the JSON Schema and the defaults.
//! 4. `services`, `notify`, `traffic` and `rules` turn it into each room's `Settings` and report what
//!    only shows between values, such as weights that do not add up.
//!
//! No step stops at the first problem: a file with ten mistakes gives ten messages, each
//! with its line and path. Paths of files are relative to the folder of the configuration,
//! but `stateDir` to the current one. An inserted value is never printed.
//!
//! # Why not derive the file from serde types
//!
//! A derived reader ends at the first value of a wrong type, so it cannot report every
//! problem at once, and it forgets the lines that the checks between values need.

mod certificates;
mod choice;
mod defaults;
mod describe;
mod describe_choice;
mod discovery;
mod error;
mod file;
mod file_notify;
mod file_rollout;
mod file_route;
mod file_rules;
mod insert;
mod load;
mod notify;
mod reader;
mod rollout;
mod rules;
mod schema;
mod services;
mod shape;
mod terminal;
#[cfg(test)]
mod tests;
mod traffic;
mod tree;
mod units;
mod watch;

pub use describe::describe;
pub use error::{ConfigErrors, Problem};
pub use load::{Loaded, load, parse};
pub use schema::schema;
pub use terminal::{Terminal, terminal};
pub use units::parse_span;
pub use watch::{Change, Watch, watch};
