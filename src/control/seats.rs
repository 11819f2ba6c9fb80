//! `Seats`: every version that has a slot, with its servers, its window and its sums.
//!
//! A version that a reload removes stays seated until its last request has ended and been
//! counted; only then its slot may be given to another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::plan::{Move, Plan};
use super::settings::{Settings, VersionSettings};
use crate::dns::Names;
use crate::judge::{Health, Reading, Verdict, Window};
use crate::measure::{Roster, Samples, Tally};
use crate::route::Role;
use crate::telemetry::Totals;
use crate::upstream::{Guard, Health as EndpointHealth, Probes, Registry, Upstream};
use crate::vocab::ids::{Digest, Name, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::sample::Sample;
use crate::vocab::time::Timestamp;

/// What a version is called everywhere outside the process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label {
    pub(super) route: Name,
    pub(super) version: Name,
}

/// All versions that have a slot.
#[derive(Debug)]
pub(super) struct Seats {
    roster: Arc<Roster>,
    pub(super) registry: Arc<Registry>,
    /// Where the names of endpoints lead.
    pub(super) names: Names,
    /// Where they must not.
    pub(super) guard: Guard,
    pub(super) seats: BTreeMap<Slot, Seat>,
    /// By name and not by slot: a version that moves to other servers goes on counting.
    totals: BTreeMap<Label, Totals>,
}

/// One version with a slot.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) label: Label,
    pub(super) role: Role,
    pub(super) upstream: Arc<Upstream>,
    /// The last verdict on it, if it was ever on trial.
    pub(super) verdict: Option<Verdict>,
    /// Rules whose breach was said and has not ended.
    pub(super) alerted: BTreeSet<&'static str>,
    digest: Digest,
    span: Duration,
    window: Window,
    pub(super) probes: Option<Probes>,
    leaving: Option<Leaving>,
    refused: Refused,
    /// Failed exchanges, the oldest first.
    samples: Samples,
}

/// Requests in a row to which no connection came about.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    requests: u64,
    since: Timestamp,
    last: Timestamp,
}

/// A version that is in no table any more.
#[derive(Debug)]
struct Leaving {
    /// When its last requests are cut.
    cut_at: Timestamp,
    /// It had no request in flight when its books were last collected.
    was_idle: bool,
}

impl Seats {
    pub(super) fn new(
        roster: Arc<Roster>,
        registry: Arc<Registry>,
        (names, guard): (Names, Guard),
    ) -> Self {
        let (seats, totals) = (BTreeMap::new(), BTreeMap::new());
        Self { roster, registry, names, guard, seats, totals }
    }

    pub(super) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The seat that the table in force has for this name.
    pub(super) fn current(&self, label: &Label) -> Option<(Slot, &Seat)> {
        self.seats
            .iter()
            .find(|(_, seat)| seat.leaving.is_none() && seat.label == *label)
            .map(|(slot, seat)| (*slot, seat))
    }

    /// Everybody, also those that are in no table any more.
    pub(super) fn all(&self) -> impl Iterator<Item = (Slot, &Seat)> {
        self.seats.iter().map(|(slot, seat)| (*slot, seat))
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Seat> {
        self.seats.get(&slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Seat> {
        self.seats.get_mut(&slot)
    }

    /// Versions that are in no table any more.
    pub(super) fn leaving(&self) -> impl Iterator<Item = (Slot, &Seat)> {
        let seats = self.seats.iter().filter(|(_, seat)| seat.leaving.is_some());
        seats.map(|(slot, seat)| (*slot, seat))
    }

    /// What every window holds.
    pub(super) fn readings(&mut self, now: Timestamp) -> BTreeMap<Slot, Reading> {
        let seats = self.seats.iter_mut();
        seats.map(|(slot, seat)| (*slot, seat.reading(now))).collect()
    }

    /// The sums of a version.
    pub(super) fn totals(&self, label: &Label) -> Option<&Totals> {
        self.totals.get(label)
    }

    /// The sums of a version, to be changed by what comes of its protects.
    pub(super) fn totals_mut(&mut self, label: &Label) -> Option<&mut Totals> {
        self.totals.get_mut(label)
    }

    /// Requests in flight under this name, on whichever slots.
    pub(super) fn in_flight(&self, label: &Label) -> u64 {
        let named = self.seats.iter().filter(|(_, seat)| seat.label == *label);
        named.map(|(slot, _)| self.roster.in_flight(*slot)).sum()
    }

    /// Seats everybody whom the plan needs, servers and probes with them. Comes before the
    /// plan's table is published. Needs a runtime, for the probes.
    pub(super) fn seat(&mut self, plan: &Plan, settings: &Settings) {
        let versions = settings
            .routes
            .iter()
            .flat_map(|route| route.versions.iter().map(move |version| (route, version)));
        for ((route, version), (slot, made)) in versions.zip(&plan.moves) {
            let label =
                Label { route: route.name.clone(), version: version.name.clone() };
            let span = route.rules.window;
            if *made != Move::Keep {
                let before = self.current(&label).map(|(_, seat)| &*seat.upstream);
                let (route, name) = (route.name.clone(), version.name.clone());
                let upstream =
                    Upstream::new(route, name, version.upstream.clone(), before);
                let upstream = self.looked_up(upstream);
                self.registry.insert(*slot, Arc::clone(&upstream));
                self.place(*slot, &label, version, upstream, span);
            }
            if let Some(seat) = self.seats.get_mut(slot) {
                seat.role = version.role;
                if seat.span != span {
                    (seat.span, seat.window) = (span, Window::new(span));
                }
            }
            self.totals.entry(label).or_default();
        }
    }

    fn place(
        &mut self,
        slot: Slot,
        label: &Label,
        version: &VersionSettings,
        upstream: Arc<Upstream>,
        span: Duration,
    ) {
        let probes = Some(Probes::start(&upstream));
        match self.seats.get_mut(&slot) {
            Some(seat) => (seat.upstream, seat.probes) = (upstream, probes),
            None => {
                let seat = Seat {
                    label: label.clone(),
                    role: version.role,
                    upstream,
                    verdict: None,
                    alerted: BTreeSet::new(),
                    digest: version.digest.clone(),
                    span,
                    window: Window::new(span),
                    probes,
                    leaving: None,
                    refused: Refused::default(),
                    samples: Samples::default(),
                };
                self.seats.insert(slot, seat);
            }
        }
    }

    /// Those that the table in force does not name begin to leave.
    pub(super) fn dismiss(
        &mut self,
        plan: &Plan,
        before: &Settings,
        now: Timestamp,
    ) -> usize {
        let named: BTreeSet<Slot> = plan.moves.iter().map(|(slot, _)| *slot).collect();
        let mut count = 0;
        for (slot, seat) in &mut self.seats {
            if named.contains(slot) || seat.leaving.is_some() {
                continue;
            }
            let cap = before.route(&seat.label.route).map(|route| route.rollback.cap);
            let cut_at = now.after(cap.unwrap_or_default());
            seat.leaving = Some(Leaving { cut_at, was_idle: false });
            seat.probes = None;
            count += 1;
        }
        count
    }

    /// Enters what a version did into its window and its sums.
    pub(super) fn enter(&mut self, slot: Slot, tally: &Tally, now: Timestamp) {
        let Some(seat) = self.seats.get_mut(&slot) else { return };
        seat.samples.forget_before(Timestamp(now.0.saturating_sub(ms(seat.span))));
        seat.window.add(now, &tally.outcomes, &tally.total);
        if let Some(streams) = &tally.streams {
            seat.window.add_streams(now, &streams.first_token, &streams.per_token);
        }
        seat.refused.take(tally, now);
        seat.samples.add(&tally.samples);
        let totals = self.totals.entry(seat.label.clone()).or_default();
        add(totals, tally);
    }

    /// Lets those go who have left, except from slots that are `in_use`. Comes right after
    /// the books were collected, because the end of a request is written before it stops
    /// being in flight: what was idle at the collection before this one is all counted.
    pub(super) fn sweep(&mut self, now: Timestamp, in_use: impl Fn(Slot) -> bool) {
        let mut gone = Vec::new();
        for (slot, seat) in &mut self.seats {
            let Some(leaving) = &mut seat.leaving else { continue };
            if leaving.was_idle && !in_use(*slot) {
                gone.push(*slot);
                continue;
            }
            leaving.was_idle = self.roster.in_flight(*slot) == 0;
            if !leaving.was_idle && now >= leaving.cut_at && !self.roster.is_cut(*slot) {
                self.roster.cut(*slot);
            }
        }
        for slot in gone {
            self.seats.remove(&slot);
            self.registry.remove(slot);
            self.roster.release(slot);
        }
        let seats = &self.seats;
        self.totals.retain(|label, _| seats.values().any(|seat| seat.label == *label));
    }
}

impl Seat {
    /// Whether it is in no table any more.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether the settings mean this very build on these very servers.
    pub(super) fn is_same(&self, version: &VersionSettings) -> bool {
        self.digest == version.digest
            && self.upstream.settings.endpoints == version.upstream.endpoints
    }

    /// What the window holds.
    pub(super) fn reading(&mut self, now: Timestamp) -> Reading {
        self.window.reading(now)
    }

    /// What the active checks say.
    pub(super) fn health(&self) -> Health {
        let seen = self.upstream.health();
        let healthy = |health| health == EndpointHealth::Healthy;
        if seen.all_unhealthy {
            Health::Unhealthy { failed_checks: seen.failed }
        } else if self.upstream.endpoints.iter().any(|one| healthy(one.health())) {
            Health::Healthy
        } else {
            Health::Unchecked
        }
    }

    /// What it did over the trailing window.
    pub(super) fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    /// The last failed exchanges, the oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.samples.kept().to_vec()
    }

    /// Whether nothing can be expected of it: every server is unhealthy by its checks, or
    /// where it has none, or where nobody knows where they are, no connection came about for
    /// a while.
    pub(super) fn is_down(&self) -> bool {
        let unchecked =
            self.upstream.settings.health.is_none() || self.upstream.is_nowhere();
        (unchecked && self.refused.is_down())
            || matches!(self.health(), Health::Unhealthy { .. })
    }

    /// Begins anew, as after a release: what it did before does not count.
    pub(super) fn pardon(&mut self) {
        self.window.clear();
        self.samples = Samples::default();
        self.verdict = None;
        self.alerted.clear();
    }
}

impl Refused {
    fn take(&mut self, tally: &Tally, now: Timestamp) {
        let refused = tally.outcomes[Class::ConnectError.index()];
        let others = Class::all()
            .filter(|class| class.is_evidence() && *class != Class::ConnectError);
        if others.map(|class| tally.outcomes[class.index()]).sum::<u64>() > 0 {
            *self = Self::default();
        } else if refused > 0 {
            if self.requests == 0 {
                self.since = now;
            }
            self.requests = self.requests.saturating_add(refused);
            self.last = now;
        }
    }

    fn is_down(&self) -> bool {
        self.requests >= REFUSED && self.last.since(self.since) >= REFUSED_FOR
    }
}

fn add(totals: &mut Totals, tally: &Tally) {
    for (sum, more) in totals.outcomes.iter_mut().zip(&tally.outcomes) {
        *sum += more;
    }
    totals.rescued += tally.rescued;
    totals.cache_served += tally.cache_served;
    totals.retries += tally.retries;
    for (sum, more) in totals.shadow.iter_mut().zip(&tally.shadow) {
        *sum += more;
    }
    totals.shadow_dropped += tally.shadow_dropped;
    totals.durations.fill(&tally.total);
    totals.durations.fill(&tally.rest);
    totals.first_bytes.fill(&tally.first_byte);
    totals.overheads.fill(&tally.overhead);
    if let Some(streams) = &tally.streams {
        let sums = totals.streams.get_or_insert_default();
        sums.tokens = sums.tokens.saturating_add(streams.tokens);
        sums.first_tokens.fill(&streams.first_token);
        sums.each_tokens.fill(&streams.per_token);
        sums.lengths.fill(&streams.length);
        totals.durations.fill(&streams.total);
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// So many requests in a row without a connection are no accident.
const REFUSED: u64 = 5;
/// And neither is a span of that length: a server that restarts takes longer.
const REFUSED_FOR: Duration = Duration::from_millis(400);
