//! `switchback rollback`: ordered at once, followed to its end.
//!
//! Apart from the other orders because it alone goes on after it was ordered, and because
//! whoever types it may find the admin API gone: then it says how to do it by file.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::history::{sentence, word};
use super::ledger::{Ledger, end, ending};
use super::output::{Exit, Output, one_line};
use super::remote::talk;
use super::tree::{Format, RollbackArgs};
use crate::admin::wire::{RollbackOrder, reason};
use crate::admin::{AdminClient, ClientError};
use crate::clock;
use crate::vocab::ids::Name;

/// Takes all traffic from a version and says how it goes.
pub(super) fn rollback(
    args: &RollbackArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let route = Name::parse(&args.route)?;
    let order = RollbackOrder {
        version: args.version.clone(),
        to: args.to.clone(),
        reason: reason(&args.reason)?,
    };
    let client = args.remote.client()?;
    talk(async {
        let begun = clock::now();
        let path = format!("/api/v1/routes/{route}/rollback");
        let record: Value = match client.post(&path, &order).await {
            Ok(record) => record,
            Err(error) if error.is_unreachable() => {
                output.errors(one_line(format!("error: {:#}", anyhow!(error))));
                output.errors(by_file(args));
                return Ok(Exit::Error);
            }
            Err(error) => return Err(error.into()),
        };
        let deadline = args.timeout.map(|span| begun + span);
        let mut said = Said::new(args.remote.output, &route, record, output)?;
        let exit = if args.no_wait && end(&said.record).is_none() {
            Exit::Good
        } else {
            said.follow(&client, deadline).await?
        };
        said.finish(exit)?;
        Ok(exit)
    })
}

/// What is printed of a rollback.
struct Said<'o, 'a> {
    format: Format,
    output: &'o mut Output<'a>,
    ledger: Ledger,
    /// As last heard.
    record: Value,
}

impl<'o, 'a> Said<'o, 'a> {
    fn new(
        format: Format,
        route: &Name,
        record: Value,
        output: &'o mut Output<'a>,
    ) -> anyhow::Result<Self> {
        let mut said = Self { format, output, ledger: Ledger::default(), record };
        let head = format!("route {route}: {}\n", sentence(&said.record));
        said.say(&head)?;
        said.news()?;
        Ok(said)
    }

    /// Asks until it has ended or the time is over.
    async fn follow(
        &mut self,
        client: &AdminClient,
        deadline: Option<Instant>,
    ) -> anyhow::Result<Exit> {
        let path = format!("/api/v1/rollbacks/{}", word(&self.record, "rollback_id"));
        let mut unheard: Option<(Instant, ClientError)> = None;
        loop {
            match end(&self.record) {
                Some(true) => return Ok(Exit::Good),
                Some(false) => return Ok(Exit::Error),
                None => {}
            }
            if deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return Ok(Exit::Timeout);
            }
            sleep(EVERY).await;
            let asked = client.get::<Value>(&path);
            let heard = match deadline {
                Some(deadline) => match timeout_at(deadline, asked).await {
                    Ok(heard) => heard,
                    Err(_) => return Ok(Exit::Timeout),
                },
                None => asked.await,
            };
            match heard {
                Ok(record) => {
                    (self.record, unheard) = (record, None);
                    self.news()?;
                }
                // Busy, or restarting: the rollback goes on by itself.
                Err(error) if passes(&error) => {
                    let (since, _) = *unheard.get_or_insert((clock::now(), error));
                    if clock::now() - since > PATIENCE {
                        break;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        match unheard {
            Some((_, error)) => Err(error.into()),
            None => Ok(Exit::Error),
        }
    }

    fn news(&mut self) -> anyhow::Result<()> {
        let news = self.ledger.news(&self.record);
        self.say(&news)
    }

    /// The last words: the record itself where that was asked for.
    fn finish(&mut self, exit: Exit) -> anyhow::Result<()> {
        if self.format == Format::Json {
            self.output.json(&self.record)?;
        }
        if end(&self.record).is_some() {
            let ending = ending(&self.record);
            return self.say(&ending);
        }
        let id = word(&self.record, "rollback_id");
        let goes_on = format!("it goes on: switchback history --id {id} says how\n");
        if exit == Exit::Timeout {
            self.output.errors(goes_on);
            return Ok(());
        }
        self.say(&goes_on)
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        if self.format == Format::Table && !text.is_empty() {
            self.output.lines(text)?;
        }
        Ok(())
    }
}

/// Whether asking again may help.
fn passes(error: &ClientError) -> bool {
    error.is_unreachable()
        || matches!(error, ClientError::Refused { status: 429 | 503, .. })
}

/// How to roll back without the admin API.
fn by_file(args: &RollbackArgs) -> String {
    let RollbackArgs { route, version, to, .. } = args;
    let from = version.as_deref().unwrap_or("the canary");
    let mut text = format!(
        "to roll back without it, edit the configuration that `switchback run --config FILE` reads, in \
         route {route}:\n  on {from}, write\n      weight: 0%\n"
    );
    if let Some(to) = to {
        text.push_str(&format!(
            "  on {to}, write\n      role: stable\n  on the version that is stable now, write\n      \
             role: candidate\n"
        ));
    }
    text.push_str(
        "the file is read again by itself when it changes; `kill -HUP PID` asks for it at once, \
         and `switchback check FILE` says beforehand what it means\n",
    );
    text
}

/// Between two looks at the ledger.
const EVERY: Duration = Duration::from_millis(100);
/// So long the other side may be silent while a rollback is followed.
const PATIENCE: Duration = Duration::from_secs(30);
