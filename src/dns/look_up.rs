//! `look_up`: everything that a name may mean, until one of it has an address: the hosts
//! file, this machine, and the name servers with the search domains.
//!
//! Both kinds of address are asked for under one whole name before the next is tried, as
//! the C library does: a name's IPv4 and IPv6 addresses then never come from two places.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use thiserror::Error;

use super::ask::{Answer, AskError, ask};
use super::message::{Fqdn, Kind};
use super::settings::Settings;
use super::system::{Resolver, hosts_of_system};
use crate::telemetry::logs;

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) v4: Family,
    pub(super) v6: Family,
    /// The whole name that has the addresses.
    pub(super) through: Through,
}

/// Where addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Through {
    /// The hosts file.
    Hosts,
    /// `localhost` and what is below it (RFC 6761 section 6.3).
    Itself,
    /// This whole name.
    Dns(String),
}

/// The addresses of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// These, for so many seconds.
    At(Vec<IpAddr>, u32),
    /// There is none.
    Nothing,
    /// Nobody could say.
    Unknown,
}

/// Why a name means nothing.
#[derive(Debug, Error)]
pub(super) enum LookUpError {
    /// The servers say that it has no address.
    #[error("there is no address for {0}")]
    Nothing(String),
    /// They could not say.
    #[error("{0}")]
    Failed(String),
    /// It is not one.
    #[error("DNS cannot have this name")]
    Name,
}

/// Looks a name up. `before` is the whole name that was meant the last time: another that is
/// tried later is not taken in its place, so that a name which is gone for a moment does not
/// lead to somebody else's server.
///
/// # Errors
/// [`LookUpError`].
pub(super) async fn look_up(
    name: &str,
    settings: &Settings,
    before: Option<&Through>,
) -> Result<Found, LookUpError> {
    let (resolver, hosts) = local(name, settings).await;
    if !hosts.is_empty() {
        return Ok(of_machine(&hosts, Through::Hosts, HOSTS_AGE));
    }
    if is_itself(name) {
        let all = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(of_machine(&all, Through::Itself, u32::MAX));
    }
    let mut failed = None;
    let mut tried: Vec<String> = Vec::new();
    for candidate in resolver.candidates(name) {
        let Some(whole) = Fqdn::parse(&candidate) else { continue };
        if tried.contains(&candidate) {
            continue;
        }
        let through = Through::Dns(candidate.clone());
        let is_it = before == Some(&through);
        match both(&resolver, &whole, settings.timeout).await {
            (Ok(Answer::Nothing), Ok(Answer::Nothing)) => {}
            (v4, v6) => match (family(&v4), family(&v6)) {
                (Family::At(..), _) | (_, Family::At(..)) => {
                    let (v4, v6) = (family(&v4), family(&v6));
                    return Ok(Found { v4, v6, through });
                }
                (
                    Family::Nothing | Family::Unknown,
                    Family::Nothing | Family::Unknown,
                ) => {
                    let error = v4.err().or(v6.err());
                    let why = error.map_or_else(String::new, |error| logs::chain(&error));
                    // Whether it is this one that is meant is not known then.
                    if before.is_some() {
                        return Err(LookUpError::Failed(why));
                    }
                    failed.get_or_insert(LookUpError::Failed(why));
                }
            },
        }
        tried.push(candidate);
        if is_it {
            break;
        }
    }
    Err(failed.unwrap_or_else(|| match tried.is_empty() {
        true => LookUpError::Name,
        false => LookUpError::Nothing(tried.join(", ")),
    }))
}

/// Whom to ask, and what the hosts file says; read beside the runtime.
async fn local(name: &str, settings: &Settings) -> (Resolver, Vec<IpAddr>) {
    let (name, settings) = (name.to_owned(), settings.clone());
    let read = move || {
        let mut resolver = if settings.servers.is_empty() {
            Resolver::of_system()
        } else {
            Resolver { servers: settings.servers, search: Vec::new(), ndots: 1 }
        };
        resolver.search = settings.search.unwrap_or(resolver.search);
        resolver.ndots = settings.ndots.unwrap_or(resolver.ndots);
        (resolver, hosts_of_system(&name))
    };
    let nobody = || (Resolver::parse(""), Vec::new());
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| nobody())
}

type Asked = Result<Answer, AskError>;

async fn both(resolver: &Resolver, name: &Fqdn, patience: Duration) -> (Asked, Asked) {
    let servers = &resolver.servers;
    tokio::join!(
        ask(servers, name, Kind::V4, patience),
        ask(servers, name, Kind::V6, patience)
    )
}

fn family(asked: &Asked) -> Family {
    match asked {
        Ok(Answer::Addresses(all, ttl)) => Family::At(all.clone(), *ttl),
        Ok(Answer::Nothing) => Family::Nothing,
        Err(_) => Family::Unknown,
    }
}

fn of_machine(all: &[IpAddr], through: Through, ttl: u32) -> Found {
    let of = |six: bool| {
        let ours: Vec<IpAddr> =
            all.iter().filter(|ip| ip.is_ipv6() == six).copied().collect();
        if ours.is_empty() { Family::Nothing } else { Family::At(ours, ttl) }
    };
    Found { v4: of(false), v6: of(true), through }
}

fn is_itself(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// How long the hosts file is believed, in seconds: it says nothing itself.
const HOSTS_AGE: u32 = 5;
