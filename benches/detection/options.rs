//! What the run is asked for on its command line.

use std::path::PathBuf;

/// How long a run takes, and with it how narrow its figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// A minute: whether it works.
    Quick,
    /// Some minutes: the tables.
    Usual,
    /// As long as the acceptance takes: at least 100,000 hours of equal versions.
    Full,
}

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) effort: Effort,
    /// Only scenarios whose group or name holds the word.
    pub(crate) only: Option<String>,
    pub(crate) seed: u64,
    /// Where the figures go for machines.
    pub(crate) json: Option<PathBuf>,
    /// Check the samplers and simulate nothing.
    pub(crate) selftest: bool,
}

/// What may be asked for.
pub(crate) const USAGE: &str = "\
usage: cargo bench --bench detection -- [OPTIONS]
  --quick      about a minute
  --full       the acceptance: 100,000 hours of equal versions; exit code 1 if a number is
               not met
  --only WORD  only what has WORD in its table's title or its name
  --seed N     other chance (default 1)
  --json FILE  the figures for machines too
  --selftest   check the samplers and nothing else";

impl Options {
    /// From the words after the program's name.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            effort: Effort::Usual,
            only: None,
            seed: 1,
            json: None,
            selftest: false,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or(format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--quick" => options.effort = Effort::Quick,
                "--full" => options.effort = Effort::Full,
                "--only" => options.only = Some(value()?.to_lowercase()),
                "--json" => options.json = Some(value()?.into()),
                "--selftest" => options.selftest = true,
                // What `cargo bench` and `cargo test --benches` add.
                "--bench" | "--test" => {}
                "--seed" => {
                    let text = value()?;
                    let seed = text.parse();
                    options.seed = seed.map_err(|e| format!("--seed {text}: {e}"))?;
                }
                other => return Err(format!("unknown option {other}\n{USAGE}")),
            }
        }
        Ok(options)
    }
}
