//! `Replay`: one route under one policy, fed with the lines of a trace.

use std::sync::Arc;
use std::time::Duration;

use super::arm::Arm;
use super::canary::Canary;
use super::policy::{Policy, ReplayError};
use super::problems::Problems;
use super::report::Report;
use super::time::Time;
use crate::judge::trial::Baseline;
use crate::judge::{Deadlines, Rules};
use crate::route::Role;
use crate::trace::{Event, Fault, Line, Reader, Weights};
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// One route under one policy.
#[derive(Debug)]
pub struct Replay {
    route: Name,
    rules: Arc<Rules>,
    stable: Arm,
    baseline: Baseline,
    deadlines: Deadlines,
    canaries: Vec<Canary>,
    /// Versions of the route that are not compared.
    others: Vec<Name>,
    /// `None` before the first request.
    time: Option<Time>,
    /// When it was last looked before its time.
    early: Option<Timestamp>,
    events: u64,
    ignored: u64,
    problems: Problems,
}

impl Replay {
    /// A replay under that policy, before the first line.
    ///
    /// # Errors
    /// [`ReplayError::NoCanary`] when the route has nothing on trial.
    pub fn new(policy: &Policy) -> Result<Self, ReplayError> {
        let Policy { route, rules, versions } = policy;
        let none = || ReplayError::NoCanary(route.clone());
        let of_role = |role| versions.iter().filter(move |one| one.1 == role);
        let (stable, ..) = of_role(Role::Stable).next().ok_or_else(none)?;
        let all: f64 = of_role(Role::Canary).map(|one| one.2.fraction()).sum();
        let rest = (1.0 - all).max(0.0);
        let canaries: Vec<Canary> = of_role(Role::Canary)
            .map(|(name, _, weight)| {
                let share = share(weight.fraction(), rest);
                Canary::new(name.clone(), rules, share, Timestamp::default())
            })
            .collect();
        if canaries.is_empty() {
            return Err(none());
        }
        Ok(Self {
            route: route.clone(),
            rules: Arc::clone(rules),
            stable: Arm::new(stable.clone(), rules),
            baseline: Baseline::new(rules),
            deadlines: Deadlines::default(),
            canaries,
            others: of_role(Role::Candidate).map(|one| one.0.clone()).collect(),
            time: None,
            early: None,
            events: 0,
            ignored: 0,
            problems: Problems::default(),
        })
    }

    /// Takes in the line of that number.
    pub fn line(&mut self, number: u64, line: &Line<'_>) {
        match line {
            Line::Event(event) if self.is_ours(event.route.as_deref()) => {
                self.event(number, event);
            }
            Line::Weights(weights) if self.is_ours(weights.route.as_deref()) => {
                self.weights(number, weights);
            }
            Line::Event(_) | Line::Weights(_) => {}
        }
    }

    /// What is wrong with the story that the lines tell, so far.
    #[must_use]
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// The verdict at the end of the trace. `read` are the problems of its lines, and
    /// `lines` how many there were.
    ///
    /// # Errors
    /// [`ReplayError`] when nothing in the trace was of this route.
    pub fn finish(mut self, read: &Problems, lines: u64) -> Result<Report, ReplayError> {
        let route = self.route.clone();
        if self.events == 0 {
            return Err(ReplayError::Empty { route, lines });
        }
        let Some(time) = self.time else {
            let names: Vec<&str> = self.names().map(Name::as_str).collect();
            let (events, names) = (self.events, names.join(", "));
            return Err(ReplayError::Strangers { route, events, names });
        };
        let last = time.look_at(time.now());
        self.beat(last);
        self.decide(last);
        for place in 0..=self.canaries.len() {
            self.silence(place, lines, last, true);
        }
        self.problems.join(read);
        let stable = (self.stable.known, self.stable.failures);
        let events = (self.events, self.ignored);
        let report =
            Report::of(route.clone(), &self.canaries, stable, events, &self.problems);
        report.ok_or(ReplayError::NoCanary(route))
    }

    fn is_ours(&self, route: Option<&str>) -> bool {
        route.is_none_or(|route| route == self.route.as_str())
    }

    fn names(&self) -> impl Iterator<Item = &Name> {
        let canaries = self.canaries.iter().map(|canary| &canary.arm.name);
        std::iter::once(&self.stable.name).chain(canaries).chain(&self.others)
    }

    /// The place of a version among stable (0) and the canaries (from 1).
    fn place_of(&self, version: &str) -> Option<usize> {
        if self.stable.name.as_str() == version {
            return Some(0);
        }
        let mut canaries = self.canaries.iter();
        canaries.position(|one| one.arm.name.as_str() == version).map(|at| at + 1)
    }

    fn event(&mut self, number: u64, event: &Event<'_>) {
        self.events += 1;
        let Some(place) = self.place_of(&event.version) else {
            self.ignored += 1;
            if !self.others.iter().any(|name| name.as_str() == event.version) {
                let version: String = event.version.chars().take(80).collect();
                self.problems.say(number, Fault::UnknownVersion, || {
                    format!("{version:?} is no version of route {}", self.route)
                });
            }
            return;
        };
        let now = self.arrive(number, event.at);
        self.silence(place, number, now, false);
        let limits = self.deadlines;
        let mut urgent = false;
        match place.checked_sub(1) {
            None => {
                self.stable.last = Some(now);
                self.stable.count(event, (!event.shadow, event.judged), &limits);
                let good = event.class.is_evidence() && !event.class.is_failure();
                if good && !event.judged {
                    self.baseline.alive(now);
                }
            }
            Some(at) => {
                let placed = self.shareless(number, at, event, now);
                let canary = &mut self.canaries[at];
                canary.arm.last = Some(now);
                urgent = canary.count(event, placed, &limits);
            }
        }
        let soon = |early: Timestamp| now.since(early) < BETWEEN;
        if urgent && !self.early.is_some_and(soon) {
            // As the data path wakes control.
            self.early = Some(now);
            self.beat(now);
            self.decide(now);
        }
    }

    /// The time at which a line counts, after every look before it.
    fn arrive(&mut self, number: u64, at: Timestamp) -> Timestamp {
        let Some(time) = &mut self.time else {
            self.time = Some(Time::new(self.rules.interval, at));
            for canary in &mut self.canaries {
                let (name, share) = (canary.arm.name.clone(), canary.share);
                let off = canary.off;
                *canary = Canary::new(name, &self.rules, share, at);
                canary.off = off.map(|_| at);
            }
            return at;
        };
        let (at, wrong) = time.of(at);
        if let Some((fault, what)) = wrong {
            self.problems.say(number, fault, || what);
        }
        while let Some(due) = self.time.as_mut().and_then(|time| time.due(at)) {
            self.beat(due);
            self.decide(due);
        }
        if let Some(time) = &mut self.time {
            time.set(at);
        }
        at
    }

    /// Gives every trial what was counted since the last beat.
    fn beat(&mut self, now: Timestamp) {
        self.baseline.observe(now, &self.stable.sums);
        self.deadlines = self.baseline.deadlines();
        for canary in &mut self.canaries {
            canary.beat(now, &self.stable.sums, &self.baseline);
        }
        self.stable.sums.clear();
    }

    fn decide(&mut self, now: Timestamp) {
        if self.canaries.iter().all(Canary::is_over) {
            return;
        }
        let stable = self.stable.reading(now);
        for canary in &mut self.canaries {
            canary.decide(now, &stable, &self.baseline);
        }
    }

    fn weights(&mut self, number: u64, weights: &Weights<'_>) {
        let mut shares: Vec<Option<f64>> = vec![None; self.canaries.len() + 1];
        for (version, weight) in &weights.shares {
            match self.place_of(version) {
                Some(place) => shares[place] = Some(*weight),
                None if self.others.iter().any(|name| name.as_str() == version) => {}
                None => {
                    let version: String = version.chars().take(80).collect();
                    self.problems.say(number, Fault::UnknownVersion, || {
                        let route = &self.route;
                        format!("weights names {version:?}, no version of route {route}")
                    });
                }
            }
        }
        let Some(stable) = shares[0] else {
            let name = &self.stable.name;
            let what = || format!("weights does not name {name}, the stable version");
            return self.problems.say(number, Fault::NoShare, what);
        };
        if shares.iter().flatten().sum::<f64>() <= 0.0 {
            let what = || "weights gives no version anything".to_owned();
            return self.problems.say(number, Fault::NoShare, what);
        }
        let mut now = weights.at;
        if self.time.is_some() {
            now = self.arrive(number, weights.at);
            // What was counted until here was placed by the shares until here.
            self.beat(now);
        }
        for (canary, weight) in self.canaries.iter_mut().zip(&shares[1..]) {
            match share(weight.unwrap_or_default(), stable) {
                Some(share) => (canary.share, canary.off) = (Some(share), None),
                None => canary.off = canary.off.or(Some(now)),
            }
        }
    }

    /// Says once that a canary has requests although it has no share of them. `false` for
    /// one that had begun before the share was taken away: it belongs to an earlier phase.
    fn shareless(
        &mut self,
        number: u64,
        at: usize,
        event: &Event<'_>,
        now: Timestamp,
    ) -> bool {
        let canary = &mut self.canaries[at];
        if event.shadow || !event.judged || canary.is_over() {
            return true;
        }
        let name = &canary.arm.name;
        if let Some(since) = canary.off {
            let begun = now.0.saturating_sub(event.latency_us.div_ceil(1_000));
            if begun <= since.0 {
                return false;
            }
            canary.off = None;
            let what = || format!("{name} has a request, but a weight of zero");
            self.problems.say(number, Fault::NoShare, what);
        } else if canary.share.is_none() && canary.arm.last.is_none() {
            let what = || {
                format!(
                    "{name} has a request, but no weight in the configuration or trace"
                )
            };
            self.problems.say(number, Fault::NoShare, what);
        }
        true
    }

    /// Says that a version was silent for long, or for the whole trace.
    fn silence(&mut self, place: usize, number: u64, now: Timestamp, at_end: bool) {
        let arm = match place.checked_sub(1) {
            None => &self.stable,
            Some(at) if self.canaries[at].is_over() => return,
            Some(at) => &self.canaries[at].arm,
        };
        let name = &arm.name;
        match arm.last {
            Some(last) if now.since(last) > LONG => {
                let what = || {
                    let minutes = now.since(last).as_secs() / 60;
                    format!(
                        "{name} was silent for {minutes} minutes from t_ms {}",
                        last.0
                    )
                };
                self.problems.say(number, Fault::Silence, what);
            }
            None if at_end => {
                let what = || format!("{name} has no request in the trace");
                self.problems.say(number, Fault::Silence, what);
            }
            Some(_) | None => {}
        }
    }
}

/// Feeds a whole trace to replays side by side; gives back what is wrong with its lines.
pub fn feed(reader: &mut Reader, replays: &mut [Replay]) -> Problems {
    let mut problems = Problems::default();
    while let Some(read) = reader.read() {
        match read {
            Ok((number, line)) => {
                replays.iter_mut().for_each(|replay| replay.line(number, &line));
            }
            Err(problem) => problems.add(problem),
        }
    }
    problems
}

/// The chance by which a request of either was the canary's; `None` where there is none.
fn share(canary: f64, stable: f64) -> Option<f64> {
    let share = canary / (canary + stable);
    (share.is_finite() && share > 0.0).then_some(share)
}

/// Longer silences are asked about.
const LONG: Duration = Duration::from_secs(3_600);
/// Between two looks that could not wait.
const BETWEEN: Duration = Duration::from_millis(10);
