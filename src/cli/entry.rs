//! From the command line to an exit code.
//!
//! Apart from the verbs because here alone errors become text and numbers: clap's own exit
//! code for a wrong usage would be mistaken for a rollback.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;

use super::output::{Exit, Output, Unwritten, one_line};
use super::tree::{Cli, QuarantineVerb, Verb};
use super::{
    audit, check, demo, explain, history, incident, notices, orders, replay, rollback,
    run, status,
};

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    // Not locked: the proxy's threads log to the same places.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let terminal = out.is_terminal();
    let mut output = Output::new(&mut out, &mut err, terminal);
    dispatch(std::env::args_os(), &mut output)
}

/// The same with other words and another place to write.
pub(super) fn dispatch(
    words: impl IntoIterator<Item = OsString>,
    output: &mut Output<'_>,
) -> ExitCode {
    let done = match Cli::try_parse_from(words) {
        Ok(cli) => obey(cli.verb, output),
        Err(wrong) => usage(&wrong, output).map(ExitCode::from).map_err(Into::into),
    };
    done.unwrap_or_else(|error| {
        if error.downcast_ref::<Unwritten>().is_some_and(Unwritten::is_closed) {
            return Exit::Good.into();
        }
        output.errors(one_line(format!("error: {error:#}")));
        Exit::Error.into()
    })
}

fn obey(verb: Verb, output: &mut Output<'_>) -> anyhow::Result<ExitCode> {
    if let Some(name) = verb.not_built() {
        anyhow::bail!("switchback {name} is not built yet");
    }
    let exit = match verb {
        Verb::Run(args) => return run::run(args, output),
        Verb::Demo(args) => return demo::demo(args),
        Verb::Replay(args) => replay::replay(&args, output)?,
        Verb::Check(args) => check::check(&args.file, output)?,
        Verb::Schema => check::schema(output)?,
        Verb::Status(args) => status::status(&args, output)?,
        Verb::Explain(args) => explain::explain(&args, output)?,
        Verb::History(args) => history::history(&args, output)?,
        Verb::SetWeight(args) => orders::set_weight(args, output)?,
        Verb::Rollback(args) => rollback::rollback(&args, output)?,
        Verb::Promote(args) => orders::steer("promote", args.full, args.order, output)?,
        Verb::Pause(args) => orders::steer("pause", false, args, output)?,
        Verb::Resume(args) => orders::steer("resume", false, args, output)?,
        Verb::Abort(args) => orders::steer("abort", false, args, output)?,
        Verb::Retry(args) => orders::steer("retry", false, args, output)?,
        Verb::Freeze(args) => orders::steer("freeze", false, args, output)?,
        Verb::Mode(args) => orders::mode(args, output)?,
        Verb::Incident(verb) => incident::incident(&verb, output)?,
        Verb::Quarantine(QuarantineVerb::List(remote)) => {
            orders::quarantine(&remote, output)?
        }
        Verb::Quarantine(QuarantineVerb::Release(args)) => orders::release(args, output)?,
        Verb::Notices(verb) => notices::notices(verb, output)?,
        Verb::Audit(verb) => audit::audit(&verb, output)?,
        Verb::Drill(_) | Verb::Evidence(_) => Exit::Error,
    };
    Ok(exit.into())
}

/// Help and version are answers, everything else is an error.
fn usage(wrong: &clap::Error, output: &mut Output<'_>) -> Result<Exit, Unwritten> {
    let text = wrong.render();
    if wrong.use_stderr() {
        output.errors(text);
        return Ok(Exit::Error);
    }
    output.lines(text)?;
    Ok(Exit::Good)
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::dispatch;
    use crate::cli::output::Output;

    fn run(line: &str) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let words = line.split(' ').map(Into::into);
        let code = dispatch(words, &mut Output::new(&mut out, &mut err, false));
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn help_and_version_are_good_and_wrong_usage_is_an_error() {
        let (code, out, err) = run("switchback --help");
        assert_eq!((code, err), (ExitCode::SUCCESS, String::new()));
        assert!(out.contains("set-weight") && out.contains("3 inconclusive"), "{out}");
        let (code, out, _) = run("switchback --version");
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(out.starts_with("switchback 0."), "{out}");
        for line in ["switchback", "switchback rol", "switchback run", "switchback check"]
        {
            let (code, out, err) = run(line);
            assert_eq!((code, out), (ExitCode::from(1), String::new()), "{line}");
            assert!(err.contains("Usage: switchback"), "{line} {err}");
        }
    }

    #[test]
    fn what_is_not_built_says_so() {
        let (code, out, err) = run("switchback drill run");
        assert_eq!((code, out), (ExitCode::from(1), String::new()));
        assert_eq!(err, "error: switchback drill is not built yet\n");
    }
}
