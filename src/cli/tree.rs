//! The command line as clap reads it: one type a verb.
//!
//! Apart from the verbs so that the whole tree is read in one place. Verbs that the
//! interface names and that are not built yet are here too, so that they are refused by
//! name and not as unknown.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::audit::AuditVerb;
use crate::admin::wire::Share;
use crate::config;

/// Splits inference traffic between a stable and a canary version, measures each and takes
/// the traffic away from a bad one.
#[derive(Debug, Parser)]
#[command(
    name = "switchback",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 good, 1 error, 2 rolled back, 3 inconclusive, 4 timeout."
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the proxy.
    Run(RunArgs),
    /// Say what a configuration means, or everything that is wrong with it.
    Check(CheckArgs),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Show a canary go bad and be rolled back, on this machine and with nothing else.
    Demo(DemoArgs),
    /// Say what a configuration would have done with a recorded trace.
    Replay(ReplayArgs),
    /// Show the versions of every route of a running Switchback.
    Status(StatusArgs),
    /// Show the rollbacks and protects so far.
    History(HistoryArgs),
    /// Say why: the evidence on a version on trial, or what a protect or rollback rested on.
    Explain(ExplainArgs),
    /// Give a version another share of its route.
    SetWeight(SetWeightArgs),
    /// Take all traffic from a version and put it in quarantine.
    Rollback(RollbackArgs),
    /// End what a rollout waits for, or skip all that is left of it.
    Promote(PromoteArgs),
    /// Stop a rollout where it is, until it is resumed.
    Pause(SteerArgs),
    /// Let a rollout go on where it was paused or frozen.
    Resume(SteerArgs),
    /// Give the traffic of the version that is rolled out back to stable; no quarantine.
    Abort(SteerArgs),
    /// Begin a rollout again, after it ended.
    Retry(SteerArgs),
    /// Keep the rollouts of a route from changing anything until it is resumed.
    Freeze(SteerArgs),
    /// Make a route read-only, or let its versions be asked again.
    Mode(ModeArgs),
    /// Show or release the versions that may have no traffic.
    #[command(subcommand)]
    Quarantine(QuarantineVerb),
    /// Show the failure analyses of rollbacks.
    #[command(subcommand)]
    Incident(IncidentVerb),
    /// Show what waits to be told, or settle what was given up.
    #[command(subcommand)]
    Notices(NoticesVerb),
    /// Check or show the audit log on this machine.
    #[command(subcommand)]
    Audit(AuditVerb),
    #[command(hide = true)]
    Drill(NotBuilt),
    #[command(hide = true)]
    Evidence(NotBuilt),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The configuration; reloaded when it changes and on SIGHUP.
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// How records are written to standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// What is logged: a level, or levels by module such as `info,switchback::proxy=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(super) log_level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The configuration.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct DemoArgs {
    /// Plain lines even on a terminal.
    #[arg(long)]
    pub(super) plain: bool,
    /// No colours.
    #[arg(long)]
    pub(super) no_color: bool,
    /// How fast the script goes, 0.5 to 4.
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, value_parser = speed)]
    pub(super) speed: f64,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The configuration to try; several are compared side by side.
    #[arg(long, short, value_name = "FILE", required = true, num_args = 1..)]
    pub(super) config: Vec<PathBuf>,
    /// The route; needed when the configuration has several with a canary.
    #[arg(long, value_name = "NAME")]
    pub(super) route: Option<String>,
    /// The trace: JSON lines, plain or compressed by gzip; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(super) trace: PathBuf,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub(super) output: Format,
}

#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    /// Where the admin API of the running Switchback is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
    pub(super) admin: String,
    /// A file that holds the operator's token.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// A file in PEM of who vouches for the admin API, beside those of the public web.
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// The operator's certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub(super) cert_file: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub(super) key_file: Option<PathBuf>,
    /// How answers are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Show it again every second, and at once when something changes.
    #[arg(long)]
    pub(super) watch: bool,
    /// Wait until a canary is rolled back (exit code 2) or none is on trial any more (0);
    /// when the time is over say how it stands: every canary passes (0), a verdict is
    /// inconclusive (3), or there is none to speak of (4).
    #[arg(long)]
    pub(super) wait: bool,
    /// How long to wait at most, such as 30s or 5m.
    #[arg(long, value_name = "D", requires = "wait", value_parser = config::parse_span)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A route, route/version, or the id of a protect (pr-…) or a rollback (rb-…).
    pub(super) id: String,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct SetWeightArgs {
    /// The route's name.
    pub(super) route: String,
    /// The version's name and its share in percent, such as v2.5=10%.
    #[arg(value_name = "VERSION=PERCENT", value_parser = weight)]
    pub(super) weight: (String, Share),
    /// Why; goes into the records.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The route's name.
    pub(super) route: String,
    /// The version that is to lose its traffic; the canary when absent.
    #[arg(long, value_name = "VERSION")]
    pub(super) version: Option<String>,
    /// The version that is to take the traffic; stable when absent.
    #[arg(long, value_name = "VERSION")]
    pub(super) to: Option<String>,
    /// Why; goes into the records.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Come back as soon as new requests go elsewhere.
    #[arg(long)]
    pub(super) no_wait: bool,
    /// How long to follow it at most, such as 30s or 5m; it goes on all the same.
    #[arg(long, value_name = "D", value_parser = config::parse_span)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The id of a rollback (rb-…), to show its ledger.
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct SteerArgs {
    /// The route's name.
    pub(super) route: String,
    /// Why; goes into the records.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct PromoteArgs {
    /// Skip all that is left, up to 100 %.
    #[arg(long)]
    pub(super) full: bool,
    #[command(flatten)]
    pub(super) order: SteerArgs,
}

#[derive(Debug, Args)]
pub(super) struct ModeArgs {
    /// The route's name.
    pub(super) route: String,
    /// How it is to be served.
    #[arg(value_enum)]
    pub(super) mode: ModeWord,
    /// Why; goes into the records.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ModeWord {
    /// Its versions are asked.
    Normal,
    /// Kept answers are served and nothing else.
    ReadOnly,
}

#[derive(Debug, Subcommand)]
pub(super) enum IncidentVerb {
    /// Show which failure analyses are kept.
    List(RemoteArgs),
    /// Print the failure analysis of a rollback.
    Show {
        /// The id of the rollback (rb-…).
        id: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum QuarantineVerb {
    /// Show the versions that may have no traffic.
    List(RemoteArgs),
    /// Let a version have traffic again.
    Release(ReleaseArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum NoticesVerb {
    /// Show what waits to be delivered, and what was given up.
    List(RemoteArgs),
    /// Try what was given up once more.
    Retry(DeadArgs),
    /// Forget what was given up.
    Drop(DeadArgs),
}

#[derive(Debug, Args)]
pub(super) struct DeadArgs {
    /// The sink whose notices are meant [default: all].
    #[arg(long, value_name = "NAME")]
    pub(super) sink: Option<String>,
    /// Why; goes into the records.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// The route's name.
    pub(super) route: String,
    /// The version's name.
    pub(super) version: String,
    /// Why; goes into the records.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

/// Whatever follows a verb that is not built yet.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct NotBuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

impl Verb {
    /// The name of a verb that is not built yet.
    pub(super) fn not_built(&self) -> Option<&'static str> {
        match self {
            Self::Drill(_) => Some("drill"),
            Self::Evidence(_) => Some("evidence"),
            Self::Run(_)
            | Self::Check(_)
            | Self::Schema
            | Self::Demo(_)
            | Self::Replay(_)
            | Self::Status(_)
            | Self::History(_)
            | Self::Explain(_)
            | Self::SetWeight(_)
            | Self::Rollback(_)
            | Self::Promote(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Abort(_)
            | Self::Retry(_)
            | Self::Freeze(_)
            | Self::Mode(_)
            | Self::Incident(_)
            | Self::Notices(_)
            | Self::Audit(_)
            | Self::Quarantine(_) => None,
        }
    }
}

fn weight(text: &str) -> Result<(String, Share), String> {
    let form = "write the version and its share, such as v2.5=10%";
    let (version, share) = text.rsplit_once('=').ok_or(form)?;
    let share = Share::Text(share.to_owned());
    share.percent().map_err(|err| err.to_string())?;
    Ok((version.to_owned(), share))
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().map_err(|err| err.to_string())?;
    let fits = (0.5..=4.0).contains(&speed);
    if fits { Ok(speed) } else { Err("is not between 0.5 and 4".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Verb};

    fn parse(line: &str) -> Result<Verb, String> {
        let words = line.split(' ');
        Cli::try_parse_from(words).map(|cli| cli.verb).map_err(|err| err.to_string())
    }

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_manual_deed_needs_a_reason() {
        for line in [
            "switchback set-weight iris v2.5=10%",
            "switchback rollback iris",
            "switchback quarantine release iris v2.5",
            "switchback promote iris --full",
            "switchback freeze iris",
            "switchback mode iris read-only",
        ] {
            assert!(parse(line).unwrap_err().contains("--reason <TEXT>"), "{line}");
            assert!(parse(&format!("{line} --reason slow")).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_share_is_checked_before_anything_is_asked() {
        for (share, says) in [
            ("v2.5", "such as v2.5=10%"),
            ("v2.5=", "write it like 10% or 0.5"),
            ("v2.5=130%", "130% is above 100%"),
        ] {
            let said = parse(&format!("switchback set-weight iris {share} --reason x"));
            assert!(said.as_ref().unwrap_err().contains(says), "{share} {said:?}");
        }
    }

    #[test]
    fn what_is_not_built_is_known_whatever_follows_it() {
        for (line, name) in [
            ("switchback drill run --help", "drill"),
            ("switchback evidence export --route f", "evidence"),
        ] {
            assert_eq!(parse(line).unwrap().not_built(), Some(name), "{line}");
        }
        assert!(!Cli::command().render_help().to_string().contains("drill"));
    }

    #[test]
    fn a_certificate_has_a_key() {
        let status = "switchback status --admin https://h:1 --ca-file a";
        assert!(parse(status).is_ok());
        for half in ["--cert-file c", "--key-file k"] {
            let said = parse(&format!("{status} {half}")).unwrap_err();
            assert!(said.contains("required"), "{said}");
        }
        assert!(parse(&format!("{status} --cert-file c --key-file k")).is_ok());
    }

    #[test]
    fn waiting_has_a_time_and_a_unit() {
        assert!(parse("switchback status --wait --timeout 30s").is_ok());
        assert!(
            parse("switchback status --wait --timeout 30").unwrap_err().contains("unit")
        );
        assert!(parse("switchback status --timeout 30s").unwrap_err().contains("--wait"));
    }
}
