//! What the environment says of the terminal, by the names that everybody uses.
//!
//! It is apart because it has nothing to do with the file; it is here because the
//! environment is read nowhere else.

use super::insert::{Environment, process_environment};

/// What may be done on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Whether colour is welcome: `NO_COLOR` is not set.
    pub color: bool,
    /// Whether it understands more than lines of text: `TERM` is set and is not `dumb`.
    pub moves: bool,
}

/// What the environment says of this process's terminal.
#[must_use]
pub fn terminal() -> Terminal {
    terminal_in(&process_environment)
}

fn terminal_in(environment: Environment<'_>) -> Terminal {
    let value = |name| environment(name).filter(|text| !text.is_empty());
    Terminal {
        color: value("NO_COLOR").is_none(),
        moves: value("TERM").is_some_and(|term| term != "dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Terminal, terminal_in};

    #[test]
    fn the_usual_names_are_understood() {
        for (no_color, term, color, moves) in [
            (None, Some("xterm-256color"), true, true),
            (Some("1"), Some("linux"), false, true),
            (Some(""), Some("xterm"), true, true),
            (None, Some("dumb"), true, false),
            (None, None, true, false),
        ] {
            let seen = terminal_in(&|name| {
                match name {
                    "NO_COLOR" => no_color,
                    "TERM" => term,
                    _ => None,
                }
                .map(str::to_owned)
            });
            assert_eq!(seen, Terminal { color, moves }, "{no_color:?} {term:?}");
        }
    }
}
