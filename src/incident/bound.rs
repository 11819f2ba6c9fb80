//! The same facts within bounds: every text cleaned and cut, every list cut, and a note of
//! what was left out.
//!
//! Apart from the files, because all three are made of what comes out of here: that is why
//! none of them can be blown up, by whoever it is.

use serde::Serialize;

use super::facts::{Bar, Breach, Facts, Latency, Moment, Slice, Version};
use super::text::clean;
use crate::vocab::record::{AlertSent, PhaseRecord, ProtectRef, RollbackRecord};
use crate::vocab::sample::Sample;

/// How much was left out to stay within the bounds; 0 where all is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    pub(super) breaches: usize,
    pub(super) moments: usize,
    pub(super) notes: usize,
    pub(super) alerts: usize,
    pub(super) samples: usize,
    pub(super) config_bytes: usize,
}

/// Facts within bounds.
pub(super) fn bound(facts: &Facts) -> (Facts, LeftOut) {
    let mut left_out = LeftOut::default();
    let moments = &facts.timeline;
    // The beginning and the end of a story are worth more than its middle.
    let late = moments.len().saturating_sub(MOMENTS / 2).max(MOMENTS / 2);
    let timeline = moments.iter().take(MOMENTS / 2).chain(moments.iter().skip(late));
    let timeline: Vec<Moment> = timeline.map(moment).collect();
    left_out.moments = moments.len() - timeline.len();
    left_out.breaches = facts.breaches.len().saturating_sub(BREACHES);
    let config = clean(&facts.config, CONFIG_BYTES, true);
    left_out.config_bytes = facts.config.len().saturating_sub(config.len());
    let bounded = Facts {
        at: facts.at,
        record: record(&facts.record, &mut left_out),
        breaches: facts.breaches.iter().take(BREACHES).map(breach).collect(),
        timeline,
        window_seconds: facts.window_seconds,
        versions: facts.versions.iter().take(VERSIONS).map(version).collect(),
        samples: samples(&facts.samples, &mut left_out),
        config,
    };
    (bounded, left_out)
}

fn record(record: &RollbackRecord, left_out: &mut LeftOut) -> RollbackRecord {
    left_out.notes = record.notes.len().saturating_sub(NOTES);
    left_out.alerts = record.alerts_sent.len().saturating_sub(ALERTS);
    let protect = |it: &ProtectRef| ProtectRef {
        protect_id: short(&it.protect_id),
        finding: sentence(&it.finding),
        ..it.clone()
    };
    RollbackRecord {
        rollback_id: short(&record.rollback_id),
        reason: clean(&record.reason, REASON_BYTES, false),
        initiated_by: record.initiated_by.as_deref().map(short),
        phases: record.phases.iter().take(PHASES).map(phase).collect(),
        alerts_sent: record.alerts_sent.iter().take(ALERTS).map(alert).collect(),
        config_hash: short(&record.config_hash),
        protect: record.protect.as_ref().map(protect),
        notes: record.notes.iter().take(NOTES).map(|note| sentence(note)).collect(),
        ..record.clone()
    }
}

fn phase(phase: &PhaseRecord) -> PhaseRecord {
    PhaseRecord { detail: phase.detail.as_deref().map(sentence), ..phase.clone() }
}

fn alert(alert: &AlertSent) -> AlertSent {
    let recipients = alert.recipients.iter().take(RECIPIENTS);
    AlertSent {
        recipients: recipients.map(|one| short(one)).collect(),
        reference: alert.reference.as_deref().map(sentence),
        ..alert.clone()
    }
}

fn breach(breach: &Breach) -> Breach {
    Breach {
        rule: short(&breach.rule),
        test: short(&breach.test),
        finding: sentence(&breach.finding),
        ..breach.clone()
    }
}

fn moment(moment: &Moment) -> Moment {
    Moment {
        event: short(&moment.event),
        detail: clean(&moment.detail, MOMENT_BYTES, false),
        ..moment.clone()
    }
}

fn version(version: &Version) -> Version {
    let mut classes = version.classes.clone();
    classes.sort_by_key(|it| it.class.index());
    classes.dedup_by(|next, kept| {
        let same = next.class == kept.class;
        if same {
            kept.count = kept.count.saturating_add(next.count);
        }
        same
    });
    Version {
        role: short(&version.role),
        classes,
        latency: latency(&version.latency),
        first_token: latency(&version.first_token),
        each_token: latency(&version.each_token),
        slices: fewer(&version.slices, SLICES, join_slices),
        ..version.clone()
    }
}

fn latency(latency: &Latency) -> Latency {
    Latency { bars: fewer(&latency.bars, BARS, join_bars), ..latency.clone() }
}

/// At most so many, by joining as many neighbours as it takes.
fn fewer<T: Copy>(all: &[T], most: usize, join: impl Fn(T, T) -> T) -> Vec<T> {
    let groups = all.chunks(all.len().div_ceil(most).max(1));
    groups.filter_map(|group| group.iter().copied().reduce(&join)).collect()
}

fn join_bars(one: Bar, next: Bar) -> Bar {
    let count = one.count.saturating_add(next.count);
    Bar { from_us: one.from_us, to_us: next.to_us, count }
}

/// The percentile of both together is not known; it is not above the larger.
fn join_slices(one: Slice, next: Slice) -> Slice {
    Slice {
        at: one.at,
        requests: one.requests.saturating_add(next.requests),
        failures: one.failures.saturating_add(next.failures),
        p99_us: one.p99_us.max(next.p99_us),
    }
}

/// The first samples that have room together: what failed first is nearest to the cause.
fn samples(all: &[Sample], left_out: &mut LeftOut) -> Vec<Sample> {
    let mut room = SAMPLES_BYTES;
    let mut kept = Vec::new();
    for sample in all.iter().take(Sample::MOST).map(sample) {
        let headers = sample.headers.iter().map(|(name, value)| name.len() + value.len());
        let bodies = sample.request_body.iter().chain(&sample.response_body);
        let texts = [&sample.endpoint, &sample.method, &sample.path, &sample.request_id];
        let size = headers.sum::<usize>()
            + bodies.map(String::len).sum::<usize>()
            + texts.map(String::len).iter().sum::<usize>();
        let Some(rest) = room.checked_sub(size) else { break };
        room = rest;
        kept.push(sample);
    }
    left_out.samples = all.len() - kept.len();
    kept
}

fn sample(sample: &Sample) -> Sample {
    let line = |text: &str| clean(text, Sample::TEXT_MAX, false);
    let body = |text: &String| clean(text, Sample::SHOWN_MAX, true);
    let headers = sample.headers.iter().take(Sample::HEADERS_MAX);
    Sample {
        endpoint: line(&sample.endpoint),
        method: short(&sample.method),
        path: line(&sample.path),
        request_id: line(&sample.request_id),
        headers: headers.map(|(name, value)| (line(name), line(value))).collect(),
        request_body: sample.request_body.as_ref().map(body),
        response_body: sample.response_body.as_ref().map(body),
        ..sample.clone()
    }
}

/// A name or a word.
fn short(text: &str) -> String {
    clean(text, 80, false)
}

/// A sentence.
fn sentence(text: &str) -> String {
    clean(text, 512, false)
}

const BREACHES: usize = 12;
const MOMENTS: usize = 100;
const VERSIONS: usize = 2;
const PHASES: usize = 12;
const NOTES: usize = 16;
const ALERTS: usize = 24;
const RECIPIENTS: usize = 6;
const BARS: usize = 400;
const SLICES: usize = 240;
const MOMENT_BYTES: usize = 200;
/// As much as an operator may say.
const REASON_BYTES: usize = 2048;
/// Of all samples together, before escaping.
const SAMPLES_BYTES: usize = 40 * 1024;
const CONFIG_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::{bound, fewer, join_bars};
    use crate::incident::facts::{Bar, ClassCount, Facts, Moment};
    use crate::incident::tests::rich;
    use crate::vocab::outcome::Class;
    use crate::vocab::sample::Sample;
    use crate::vocab::time::Timestamp;

    #[test]
    fn what_has_room_is_not_touched() {
        let facts = rich();
        let (bounded, left_out) = bound(&facts);
        assert_eq!(bounded, facts);
        assert_eq!(left_out, super::LeftOut::default());
    }

    #[test]
    fn the_beginning_and_the_end_of_a_long_story_stay() {
        let moment = |at| Moment {
            at: Timestamp(at),
            event: "tick".to_owned(),
            detail: String::new(),
        };
        for (all, first_late, left_out) in [(100, 50, 0), (101, 51, 1), (1_000, 950, 900)]
        {
            let facts = Facts { timeline: (0..all).map(moment).collect(), ..rich() };
            let (bounded, left) = bound(&facts);
            assert_eq!(bounded.timeline.len(), 100);
            assert_eq!(bounded.timeline[49].at, Timestamp(49));
            assert_eq!(bounded.timeline[50].at, Timestamp(first_late));
            assert_eq!(left.moments, left_out);
        }
    }

    #[test]
    fn joining_keeps_the_sum() {
        let bar =
            |at: u64| Bar { from_us: at * 10 + 1, to_us: at * 10 + 10, count: at + 1 };
        let all: Vec<Bar> = (0..1_001).map(bar).collect();
        let few = fewer(&all, 400, join_bars);
        assert!(few.len() <= 400, "{}", few.len());
        assert_eq!((few[0].from_us, few[0].to_us), (1, 30));
        assert_eq!(few.last().unwrap().to_us, 10_010);
        let sum = |bars: &[Bar]| bars.iter().map(|bar| bar.count).sum::<u64>();
        assert_eq!(sum(&few), sum(&all));
        assert_eq!(fewer(&all[..400], 400, join_bars), all[..400]);
        assert!(fewer(&[], 400, join_bars).is_empty());
    }

    #[test]
    fn classes_are_in_order_and_once() {
        let mut facts = rich();
        let count = |class, count| ClassCount { class, count };
        facts.versions[0].classes = vec![
            count(Class::ServerError, 3),
            count(Class::Success, 1),
            count(Class::ServerError, 4),
        ];
        let (bounded, _) = bound(&facts);
        let want = [count(Class::Success, 1), count(Class::ServerError, 7)];
        assert_eq!(bounded.versions[0].classes, want);
    }

    #[test]
    fn samples_share_their_room_and_the_first_stay() {
        let mut sample = Sample::example("r-0");
        sample.response_body = Some("x".repeat(Sample::BODY_MAX));
        sample.request_body.clone_from(&sample.response_body);
        let mut samples = vec![sample; 20];
        samples[0].request_id = "first".to_owned();
        let (bounded, left_out) = bound(&Facts { samples, ..rich() });
        assert_eq!(bounded.samples[0].request_id, "first");
        assert_eq!((bounded.samples.len(), left_out.samples), (4, 16));
    }
}
