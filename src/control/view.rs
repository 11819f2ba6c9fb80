//! What can be seen from outside: the status view for operators, the page for Prometheus.
//!
//! Apart from the loop, because it only reads, and because both must tell the same story.

use std::collections::BTreeMap;
use std::time::Duration;

use super::execute::Desk;
use super::observe;
use super::seats::{Label, Seat, Seats};
use super::settings::Settings;
use super::status::{
    NameView, RouteView, SinkStand, StatusView, StreamsView, VersionView,
};
use super::trials::Trials;
use crate::dns::Names;
use crate::judge::Reading;
use crate::route::{Role, Route, RouteTable, Standing, Version};
use crate::telemetry::{NameFacts, Page, RouteFacts, Totals, VersionFacts};
use crate::upstream::{Origin, Upstream};
use crate::vocab::amount::Percent;
use crate::vocab::ids::{Name, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::record::{Outcome, ProtectRecord};
use crate::vocab::time::Timestamp;

/// Everything at one moment.
pub(super) struct View<'a> {
    pub(super) table: &'a RouteTable,
    settings: &'a Settings,
    pub(super) trials: &'a Trials,
    pub(super) seats: &'a Seats,
    pub(super) desk: &'a Desk,
    pub(super) readings: BTreeMap<Slot, Reading>,
    pub(super) now: Timestamp,
}

impl<'a> View<'a> {
    /// Looks at everything; the books should have been closed just before.
    pub(super) fn of(
        table: &'a RouteTable,
        (settings, trials): (&'a Settings, &'a Trials),
        seats: &'a mut Seats,
        desk: &'a Desk,
        now: Timestamp,
    ) -> Self {
        let readings = seats.readings(now);
        Self { table, settings, trials, seats, desk, readings, now }
    }

    /// For operators.
    pub(super) fn status(&self, reload_error: Option<String>) -> StatusView {
        StatusView {
            generation: self.table.generation().0,
            config_hash: self.settings.config_hash.clone(),
            reload_error,
            audit_error: self.desk.trouble.clone(),
            routes: self.table.routes().iter().map(|route| self.route(route)).collect(),
            sinks: SinkStand::all(&self.desk.clerk.journal().notices()),
        }
    }

    fn route(&self, route: &Route) -> RouteView {
        let out = |one: &Version| one.standing != Standing::Serving;
        let degraded = self.desk.rolling_on(&route.name).is_some()
            || route.versions().iter().any(out);
        let read_only = route.mode().is_read_only();
        let versions =
            route.versions().iter().map(|version| self.version(route, version));
        let leaving =
            self.leaving(&route.name).map(|(slot, seat)| self.leaver(slot, seat));
        let last = self.desk.history.last(&route.name);
        let settings = self.settings.route(&route.name);
        let protect = self.desk.history.last_protect(&route.name);
        RouteView {
            name: route.name.to_string(),
            health: match (read_only, degraded) {
                (true, _) => "ReadOnly",
                (false, true) => "Degraded",
                (false, false) => "Healthy",
            }
            .to_owned(),
            versions: versions.chain(leaving).collect(),
            last_rollback: last.and_then(|record| serde_json::to_value(record).ok()),
            last_protect: protect.and_then(|record| serde_json::to_value(record).ok()),
            rollout: settings.and_then(|it| self.desk.rollouts.view(it)),
            mode: read_only.then(|| self.desk.mode_view(&route.name)),
            held_back: route.held().map(|(_, part)| part.percent()),
            affinity: route.policy.affinity.as_ref().map(ToString::to_string),
            pin: route.policy.pin.as_ref().map(ToString::to_string),
        }
    }

    pub(super) fn version(&self, route: &Route, version: &Version) -> VersionView {
        let label = Label { route: route.name.clone(), version: version.name.clone() };
        let (name, digest) = (&version.name, &version.digest);
        let held = self.desk.quarantine.holding(&route.name, name, digest);
        let entry = self.desk.protects.holding(&route.name, name, digest);
        let spared = entry.map(|entry| &entry.record).filter(|_| held.is_none());
        let state = match spared.map(|record| record.outcome) {
            _ if self.desk.is_draining(version.slot) => "draining",
            Some(Outcome::Held) => "held",
            Some(_) | None => observe::state(version.standing),
        };
        let given = |one: &&Version| one.role == Role::Canary;
        let weight = match version.role {
            Role::Stable => {
                route.versions().iter().filter(given).fold(Percent::FULL, |left, one| {
                    Percent::from_ppm(left.ppm().saturating_sub(one.weight.ppm()))
                })
            }
            Role::Canary | Role::Candidate => version.weight,
        };
        VersionView {
            share: route.share(version).percent(),
            weight: weight.percent(),
            state: state.to_owned(),
            verdict: match self.seats.get(version.slot).and_then(|it| it.verdict.as_ref())
            {
                _ if version.role == Role::Stable => {
                    "what the others are held against".to_owned()
                }
                Some(verdict) => verdict.to_string(),
                None => "not judged yet".to_owned(),
            },
            quarantine: held.map(|entry| entry.reason.clone()),
            protect: spared.map(reason),
            ..self.numbers(&label, version.role, version.slot)
        }
    }

    fn leaver(&self, slot: Slot, seat: &Seat) -> VersionView {
        VersionView {
            state: "draining".to_owned(),
            verdict: "no longer in the configuration".to_owned(),
            ..self.numbers(&seat.label, seat.role, slot)
        }
    }

    fn numbers(&self, label: &Label, role: Role, slot: Slot) -> VersionView {
        let millis = |us| Duration::from_micros(us).as_secs_f64() * 1_000.0;
        let reading = self.readings.get(&slot);
        let totals = self.seats.totals(label);
        let upstream = self.seats.get(slot).map(|seat| &seat.upstream);
        let count = |number: fn(&Totals) -> u64| totals.map_or(0, number);
        VersionView {
            name: label.version.to_string(),
            role: role.as_str().to_owned(),
            healthy_endpoints: upstream.map_or(0, |it| it.healthy_count(self.now)),
            endpoints: upstream.map_or(0, |it| it.endpoints.len()),
            in_flight: self.seats.in_flight(label),
            samples: reading.map_or(0, |reading| reading.samples),
            error_rate: reading.and_then(Reading::error_rate),
            p50_ms: reading.and_then(|reading| reading.p50_us).map(millis),
            p99_ms: reading.and_then(|reading| reading.p99_us).map(millis),
            streams: reading.zip(totals).and_then(|(reading, totals)| {
                Some(StreamsView::of(reading, totals.streams.as_deref()?))
            }),
            requests: count(Totals::requests),
            failures: count(Totals::failures),
            rescued: count(|totals| totals.rescued),
            cache_served: count(|totals| totals.cache_served),
            names: upstream.map(|it| names(it, &self.seats.names)).unwrap_or_default(),
            ..VersionView::default()
        }
    }

    /// For Prometheus.
    pub(super) fn page(&self, unrouted: &[u64; Class::COUNT]) -> String {
        let mut routes: Vec<RouteFacts<'_>> = Vec::new();
        for route in self.table.routes() {
            let settings = self.settings.route(&route.name);
            let facts = |version| self.facts(route, version);
            let mut versions: Vec<_> =
                route.versions().iter().filter_map(facts).collect();
            versions.extend(self.leaving_facts(&route.name));
            routes.push(RouteFacts {
                name: &route.name,
                verdicts: settings
                    .map(|settings| observe::verdicts(settings, route, self.seats))
                    .unwrap_or_default(),
                versions,
            });
        }
        for (_, seat) in self.seats.leaving() {
            let name = &seat.label.route;
            if !routes.iter().any(|route| route.name == name) {
                let versions = self.leaving_facts(name);
                routes.push(RouteFacts { name, verdicts: Vec::new(), versions });
            }
        }
        let names = self.seats.names.all();
        let names = names.iter().map(|(name, known)| NameFacts {
            name,
            addresses: known.addresses.len(),
            is_failing: known.failing.is_some(),
            looks: known.looks,
        });
        let (mode, names) = (self.mode(), names.collect());
        self.desk.exporter.render(&Page { mode, unrouted, routes, names })
    }

    /// 0 normal, 1 degraded, 2 some route is read-only.
    fn mode(&self) -> u8 {
        let routes = self.table.routes();
        if routes.iter().any(|route| route.mode().is_read_only()) {
            return 2;
        }
        let degraded = routes.iter().any(|route| {
            self.desk.rolling_on(&route.name).is_some()
                || route.versions().iter().any(|it| it.standing != Standing::Serving)
        });
        u8::from(degraded)
    }

    fn facts<'s>(
        &'s self,
        route: &Route,
        version: &'s Version,
    ) -> Option<VersionFacts<'s>> {
        let label = Label { route: route.name.clone(), version: version.name.clone() };
        let reading = self.readings.get(&version.slot);
        let p99 = reading.and_then(|reading| reading.p99_us);
        Some(VersionFacts {
            name: &version.name,
            role: version.role.as_str(),
            share: route.share(version).percent(),
            in_flight: self.seats.in_flight(&label),
            p99: p99.map(|us| Duration::from_micros(us).as_secs_f64()),
            stream_p99: reading.map_or([None; 2], |reading| {
                [&reading.first_token, &reading.each_token].map(|spread| {
                    spread.p99_us.map(|us| Duration::from_micros(us).as_secs_f64())
                })
            }),
            error_ratio: reading.and_then(Reading::error_rate),
            trial: self.sight(route, version, |sight| sight.facts()).unwrap_or_default(),
            totals: self.seats.totals(&label)?,
        })
    }

    fn leaving_facts<'s>(&'s self, route: &'s Name) -> Vec<VersionFacts<'s>> {
        let facts = self.leaving(route).filter_map(|(_, seat)| {
            Some(VersionFacts {
                name: &seat.label.version,
                role: seat.role.as_str(),
                share: 0.0,
                in_flight: self.seats.in_flight(&seat.label),
                p99: None,
                stream_p99: [None; 2],
                error_ratio: None,
                trial: Vec::new(),
                totals: self.seats.totals(&seat.label)?,
            })
        });
        facts.collect()
    }

    /// Versions of the route that drain after a reload, each name once, those left out whose
    /// name the table still has: their numbers are shown there.
    fn leaving<'s>(&'s self, route: &'s Name) -> impl Iterator<Item = (Slot, &'s Seat)> {
        let in_table = self.table.route(route);
        let mut said: Vec<&Name> = Vec::new();
        let ours = |entry: &(Slot, &Seat)| entry.1.label.route == *route;
        self.seats.leaving().filter(ours).filter(move |(_, seat)| {
            let name = &seat.label.version;
            let known = in_table.is_some_and(|route| route.version(name).is_some());
            let fresh = !known && !said.contains(&name);
            if fresh {
                said.push(name);
            }
            fresh
        })
    }
}

/// Where the names of a version lead.
fn names(upstream: &Upstream, names: &Names) -> Vec<NameView> {
    let mut views: Vec<NameView> = Vec::new();
    for name in upstream.settings.endpoints.iter().filter_map(Origin::name) {
        if views.iter().any(|view| view.name == name) {
            continue;
        }
        let known = names.known(name).unwrap_or_default();
        let failing = known.failing.as_ref();
        views.push(NameView {
            name: name.to_owned(),
            addresses: known.addresses.iter().map(ToString::to_string).collect(),
            left_out: known.left_out,
            good_at: known.good_at.map(|at| at.to_string()),
            next: known.next.to_string(),
            failing_since: failing.map(|(since, _)| since.to_string()),
            problem: failing.map(|(_, why)| why.clone()),
        });
    }
    views
}

/// Why and since when a version is under protect, in one sentence.
fn reason(record: &ProtectRecord) -> String {
    let ProtectRecord { protect_id: id, timestamp, finding, .. } = record;
    let why = record.why.as_ref().map(|why| format!("; held: {why}"));
    format!("{finding} ({id}, since {timestamp}){}", why.unwrap_or_default())
}
