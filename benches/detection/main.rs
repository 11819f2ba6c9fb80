//! How soon a bad canary is noticed, how often a good one is taken for bad, and at what
//! cost: Switchback and the rules of others on the same simulated requests.
//!
//! Apart from the tests because it takes minutes to hours, and because its figures are
//! frequencies. `cargo bench --bench detection -- --help` names the options; README.md says
//! how to read the figures.

mod accept;
mod bound;
mod dice;
mod drift;
mod grid;
mod kayenta;
mod law;
mod number;
mod options;
mod ours;
mod peer;
mod rollout;
mod scenario;
mod selftest;
mod summary;
mod table;
mod tally;
mod weather;
mod window;
mod world;

use std::io::Write;
use std::process::ExitCode;

use options::{Effort, Options, USAGE};

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--help") {
        rollout::tell(USAGE);
        return ExitCode::SUCCESS;
    }
    let run = Options::parse(std::env::args().skip(1)).and_then(|options| run(&options));
    run.unwrap_or_else(|fault| {
        rollout::tell(&fault);
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let faults = selftest::faults();
    if !faults.is_empty() {
        return Err(format!("the samplers are off:\n{}", faults.join("\n")));
    }
    if options.selftest {
        rollout::tell("the samplers draw what they say");
        return Ok(ExitCode::SUCCESS);
    }
    let only = options.only.as_deref();
    let scenarios = grid::scenarios(options.effort, only);
    let begun = clock();
    let mut progress = |text: &str| {
        rollout::tell(&format!("{:6.0} s  {text}", begun.elapsed().as_secs_f64()));
    };
    let reports = rollout::play_all(scenarios, options.seed, &mut progress);
    let with_drift = only.is_none_or(|word| "drift of outputs".contains(word));
    let drifts = if with_drift {
        progress("drift of outputs");
        drift::play_all(options.effort, options.seed)
    } else {
        Vec::new()
    };
    let is_full = options.effort == Effort::Full;
    let lines = accept::lines(&reports, &drifts, is_full && only.is_none());
    let text = format!(
        "Seed {}, {:.0} s.\n\n{}{}\n{}",
        options.seed,
        begun.elapsed().as_secs_f64(),
        summary::markdown(&reports),
        table::markdown(&reports, &drifts),
        table::acceptance(&lines)
    );
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|e| format!("the report could not be written: {e}"))?;
    if let Some(path) = &options.json {
        let json = table::json(options.seed, &reports, &drifts, &lines);
        std::fs::write(path, json)
            .map_err(|e| format!("{} could not be written: {e}", path.display()))?;
    }
    let met = lines.iter().all(|line| line.met != Some(false));
    Ok(if met || !is_full { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::disallowed_types, reason = "measures from outside")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}
