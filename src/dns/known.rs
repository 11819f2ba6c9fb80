//! `Known`: what is known of a name, and what becomes of it with each look.
//!
//! Pure, with the time as a parameter. The rule is that an answer may bring addresses and
//! take them away, and that no answer takes nothing away: whatever keeps a resolver from
//! answering, also an answer without an address, leaves the last good ones in force.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::look_up::{Family, Found, LookUpError, Through};
use super::settings::Settings;
use crate::telemetry::logs;
use crate::vocab::time::Timestamp;

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its addresses of the last good answer, in order, at most 256.
    pub addresses: Arc<[IpAddr]>,
    /// Addresses of that answer for which there was no room.
    pub left_out: usize,
    /// When that was.
    pub good_at: Option<Timestamp>,
    /// Since when there has been no good answer, and why.
    pub failing: Option<(Timestamp, String)>,
    /// When it is looked up again.
    pub next: Timestamp,
    /// Looks that had a good answer, and looks that had none.
    pub looks: (u64, u64),
    pub(super) through: Option<Through>,
    failures: u32,
}

/// What is to be told of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The addresses are others than before.
    Changed { come: Vec<IpAddr>, gone: Vec<IpAddr> },
    /// There is no good answer any more.
    Failing { why: String, kept: usize },
    /// There is one again.
    Well { after: Duration },
    /// There are more addresses than are used.
    LeftOut(usize),
}

/// Addresses of one name that are used.
pub(super) const MOST: usize = 256;

impl Known {
    /// What is known after a look.
    pub(super) fn after(
        &self,
        seen: Result<Found, LookUpError>,
        settings: &Settings,
        now: Timestamp,
    ) -> (Self, Vec<Told>) {
        match seen {
            Ok(found) => self.after_answer(found, settings, now),
            Err(error) => self.after_failure(&error, settings, now),
        }
    }

    fn after_answer(
        &self,
        found: Found,
        settings: &Settings,
        now: Timestamp,
    ) -> (Self, Vec<Told>) {
        let Found { v4, v6, through } = found;
        let is_same = self.through.as_ref() == Some(&through);
        let mut ttl = u32::MAX;
        let mut all: Vec<IpAddr> = Vec::new();
        for (family, six) in [(v4, false), (v6, true)] {
            match family {
                Family::At(more, least) => {
                    ttl = ttl.min(least);
                    // As it would be spoken to: an IPv4 address is one however it is written.
                    all.extend(more.iter().map(IpAddr::to_canonical));
                }
                Family::Unknown if is_same => {
                    let old = self.addresses.iter().filter(|ip| ip.is_ipv6() == six);
                    all.extend(old);
                }
                Family::Unknown | Family::Nothing => {}
            }
        }
        all.sort_unstable();
        all.dedup();
        if all.len() > MOST {
            all.sort_by_key(|ip| !self.addresses.contains(ip));
        }
        let left_out = all.len().saturating_sub(MOST);
        all.truncate(MOST);
        all.sort_unstable();
        let mut told = Vec::new();
        if let Some((since, _)) = &self.failing {
            told.push(Told::Well { after: now.since(*since) });
        }
        let lacks = |some: &[IpAddr], ip: &IpAddr| !some.contains(ip);
        let come: Vec<IpAddr> =
            all.iter().filter(|ip| lacks(&self.addresses, ip)).copied().collect();
        let gone: Vec<IpAddr> =
            self.addresses.iter().filter(|ip| lacks(&all, ip)).copied().collect();
        let addresses = if come.is_empty() && gone.is_empty() {
            Arc::clone(&self.addresses)
        } else {
            told.push(Told::Changed { come, gone });
            all.into()
        };
        if left_out > 0 && self.left_out == 0 {
            told.push(Told::LeftOut(left_out));
        }
        let holds = Duration::from_secs(u64::from(ttl));
        let (good, bad) = self.looks;
        let next = Self {
            addresses,
            left_out,
            good_at: Some(now),
            failing: None,
            next: now.after(holds.clamp(settings.min_ttl, settings.max_ttl)),
            looks: (good.saturating_add(1), bad),
            through: Some(through),
            failures: 0,
        };
        (next, told)
    }

    fn after_failure(
        &self,
        error: &LookUpError,
        settings: &Settings,
        now: Timestamp,
    ) -> (Self, Vec<Told>) {
        let why = logs::chain(error);
        let (good, bad) = self.looks;
        let doubled = 1_u32 << self.failures.min(DOUBLINGS);
        let pause = settings.min_ttl.saturating_mul(doubled);
        let pause = pause.min(LONGEST.min(settings.max_ttl)).max(settings.min_ttl);
        let since = self.failing.as_ref().map_or(now, |(since, _)| *since);
        let told = match &self.failing {
            Some(_) => Vec::new(),
            None => vec![Told::Failing { why: why.clone(), kept: self.addresses.len() }],
        };
        let next = Self {
            failing: Some((since, why)),
            next: now.after(pause),
            looks: (good, bad.saturating_add(1)),
            failures: self.failures.saturating_add(1),
            ..self.clone()
        };
        (next, told)
    }
}

/// The longest pause between two looks while none has a good answer.
const LONGEST: Duration = Duration::from_secs(30);
/// The pause doubles so often at most, which is well beyond that.
const DOUBLINGS: u32 = 16;

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
