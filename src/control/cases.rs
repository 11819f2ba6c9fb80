//! `Cases`: the failure analyses of rollbacks under way. What is known of the versions is
//! taken when a rollback begins, for the window goes on; the files are written then, and
//! again when it has ended.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::driver::Driver;
use super::explain::{EvidenceView, RuleView, TrialView};
use super::seats::{Label, Seat};
use super::source::Source;
use crate::incident;
use crate::incident::{Breach, ClassCount, Facts, Latency, Moment, Slice, Unit, Version};
use crate::judge::Timing;
use crate::tasks;
use crate::telemetry::{emit, logs};
use crate::vocab::ids::Slot;
use crate::vocab::outcome::Class;
use crate::vocab::record::{Impact, RollbackRecord, Status};
use crate::vocab::time::Timestamp;

/// The analyses of rollbacks under way.
#[derive(Debug, Default)]
pub(super) struct Cases {
    /// The state directory; none of them is written without one.
    pub(super) state_dir: Option<PathBuf>,
    open: BTreeMap<String, Facts>,
}

impl Cases {
    /// Begins an analysis, and writes it as far as it is known.
    pub(super) fn open(&mut self, facts: Facts) {
        self.write(facts.clone());
        if self.open.len() == MOST_OPEN {
            self.open.pop_first();
        }
        self.open.insert(facts.record.rollback_id.clone(), facts);
    }

    /// Something happened in the course of a rollback.
    pub(super) fn note(&mut self, id: &str, moment: Moment) {
        if let Some(facts) = self.open.get_mut(id)
            && facts.timeline.len() < MOST_MOMENTS
        {
            facts.timeline.push(moment);
        }
    }

    /// The rollback has ended: writes the whole of it.
    pub(super) fn close(&mut self, record: &RollbackRecord, now: Timestamp) {
        let Some(mut facts) = self.open.remove(&record.rollback_id) else { return };
        facts.record = record.clone();
        facts.at = now;
        let (event, detail) = (format!("rollback.{}", status(record)), String::new());
        facts.timeline.push(Moment { at: now, event, detail });
        self.write(facts);
    }

    /// What became of the requests of the version, as it was when the rollback began.
    pub(super) fn impact(&self, id: &str) -> Option<Impact> {
        self.open.get(id)?.record.impact
    }

    fn write(&self, facts: Facts) {
        let Some(dir) = self.state_dir.clone() else { return };
        let write = tokio::task::spawn_blocking(move || {
            let id = &facts.record.rollback_id;
            if let Err(error) = incident::write(&dir, &facts) {
                let what = format!("the failure analysis of {id}");
                let why = logs::chain(&error);
                emit::persist_failed(&what, 1, Duration::ZERO, &why);
            }
        });
        // A panic in there was told by the task.
        drop(tasks::shared("incident", async move { drop(write.await) }));
    }
}

fn status(record: &RollbackRecord) -> &'static str {
    match record.status {
        Status::Completed => "completed",
        Status::Pending | Status::InProgress | Status::Failed | Status::RolledBack => {
            "failed"
        }
    }
}

impl<S: Source> Driver<S> {
    /// Puts together what is known when a rollback begins.
    pub(super) fn open_case(
        &mut self,
        record: &RollbackRecord,
        (from, to): (Slot, Slot),
        evidence: Option<&TrialView>,
        now: Timestamp,
    ) {
        let label =
            Label { route: record.route.clone(), version: record.from_version.clone() };
        let impact = self.seats.totals(&label).map(|totals| Impact {
            requests: totals.requests(),
            rescued: totals.rescued,
            failed: totals.failures(),
        });
        let settings = self.settings.route(&record.route);
        let window = settings.map(|route| route.rules.window).unwrap_or_default();
        let versions: Vec<Version> = [from, to]
            .iter()
            .filter_map(|slot| self.seats.get_mut(*slot).map(|seat| version(seat, now)))
            .collect();
        let samples = self.seats.get(from).map(Seat::samples);
        let mut timeline = Vec::new();
        let mut tell = |at, event: &str, detail: &str| {
            let (event, detail) = (event.to_owned(), detail.to_owned());
            timeline.push(Moment { at, event, detail });
        };
        if let Some(protect) = &record.protect {
            tell(protect.timestamp, "protect.started", &protect.finding);
        }
        for step in evidence.iter().flat_map(|evidence| &evidence.transitions) {
            tell(Timestamp(step.at), &format!("trial {}", step.to), &step.why);
        }
        tell(record.timestamp, "rollback.started", &record.reason);
        for phase in record.phases.iter().filter(|phase| phase.duration_seconds > 0.0) {
            let status = format!("{:?}", phase.status).to_lowercase();
            tell(now, &format!("phase {}", phase.phase), &status);
        }
        let facts = Facts {
            at: now,
            record: RollbackRecord { impact, ..record.clone() },
            breaches: evidence.map(|it| breaches(it, window)).unwrap_or_default(),
            timeline,
            window_seconds: window.as_secs_f64(),
            versions,
            samples: samples.unwrap_or_default(),
            config: self.settings.described.to_string(),
        };
        self.desk.cases.open(facts);
        if let (Some(impact), Some(shown)) =
            (impact, self.desk.history.rollback(&record.rollback_id))
        {
            let shown = shown.record.clone();
            self.desk.history.put(RollbackRecord { impact: Some(impact), ..shown });
        }
    }
}

fn version(seat: &mut Seat, now: Timestamp) -> Version {
    let reading = seat.reading(now);
    let window = seat.window();
    let slices = window.slices(now).into_iter().map(|slice| Slice {
        at: slice.at,
        requests: slice.samples,
        failures: slice.failures,
        p99_us: slice.p99_us,
    });
    let slices = slices.collect();
    let counts = *window.classes();
    let classes = Class::all().filter_map(|class| {
        let count = counts[class.index()];
        (count > 0).then_some(ClassCount { class, count })
    });
    let classes = classes.collect();
    let [latency, first_token, each_token] =
        Timing::ALL.map(|timing| Latency::of(&window.times(timing)));
    Version {
        name: seat.label.version.clone(),
        role: seat.role.as_str().to_owned(),
        requests: reading.samples,
        failures: reading.failures,
        classes,
        latency,
        first_token,
        each_token,
        slices,
    }
}

/// What broke which rule, with its numbers.
fn breaches(trial: &TrialView, window: Duration) -> Vec<Breach> {
    let window_seconds = window.as_secs_f64();
    let rules = trial.rules.iter().filter(|rule| rule.verdict == "breach");
    let by_window = rules.map(|rule: &RuleView| Breach {
        rule: rule.rule.clone(),
        test: rule.test.clone(),
        acted: rule.acts,
        seen: rule.value,
        stable: rule.stable_value,
        limit: None,
        unit: Unit::of(&rule.unit),
        samples: rule.samples,
        stable_samples: rule.stable_samples,
        window_seconds,
        odds: None,
        odds_needed: None,
        finding: rule.why.clone(),
    });
    // What speaks for the version is no breach.
    let against = |test: &&EvidenceView| test.test != "promotion" && test.odds > 1.0;
    let evidence = trial.evidence.iter().filter(against);
    let by_evidence = evidence.map(|test: &EvidenceView| Breach {
        rule: test.rule.clone(),
        test: test.test.clone(),
        acted: test.acts && test.reached >= 1.0,
        seen: test.value,
        stable: test.stable_value,
        limit: None,
        unit: Unit::of(test.unit.as_deref().unwrap_or_default()),
        samples: test.samples,
        stable_samples: test.stable_samples,
        window_seconds,
        odds: Some(test.odds),
        odds_needed: Some(test.bound),
        finding: test.why.clone(),
    });
    by_window.chain(by_evidence).collect()
}

/// Rollbacks of so many versions are under way at a time.
const MOST_OPEN: usize = 64;
/// So much happens in the course of one.
const MOST_MOMENTS: usize = 256;
