//! `Arm`: what one version did in a trace, counted as a worker counts it.

use std::collections::HashMap;

use crate::judge::{Deadlines, Reading, Rules, Sums, Window};
use crate::measure::{Ending, Took, ended, is_urgent, spoke};
use crate::trace::Event;
use crate::vocab::ids::Name;
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;
use crate::vocab::times::Times;

/// One version.
#[derive(Debug)]
pub(super) struct Arm {
    pub(super) name: Name,
    /// What it did since the last beat.
    pub(super) sums: Sums,
    /// Requests whose outcome says something about it, and its failures among them.
    pub(super) known: u64,
    pub(super) failures: u64,
    /// When its last request was.
    pub(super) last: Option<Timestamp>,
    outcomes: [u64; Class::COUNT],
    times: Times,
    /// Of streams: times to the first token, and for each after it.
    stream_times: Option<Box<[Times; 2]>>,
    window: Window,
    endpoints: HashMap<String, usize>,
}

impl Arm {
    pub(super) fn new(name: Name, rules: &Rules) -> Self {
        Self {
            name,
            sums: Sums::default(),
            known: 0,
            failures: 0,
            last: None,
            outcomes: [0; Class::COUNT],
            times: Times::fine(),
            stream_times: None,
            window: Window::new(rules.window),
            endpoints: HashMap::new(),
        }
    }

    /// Counts a request. `is_user`: a user has seen its answer, so that it belongs into the
    /// window; `is_judged`: it may be compared.
    pub(super) fn count(
        &mut self,
        event: &Event<'_>,
        (is_user, is_judged): (bool, bool),
        limits: &Deadlines,
    ) {
        let class = event.class;
        self.known += u64::from(class.is_evidence());
        self.failures += u64::from(class.is_failure());
        if is_user {
            self.outcomes[class.index()] += 1;
            self.time(event);
        }
        if !is_judged {
            return;
        }
        self.sums.opened += 1;
        let limits = limits.of(event.streamed.is_some());
        let waited = event.streamed.map_or(event.latency_us, |it| it.first_us);
        let over = limits.map(|limit| limit.is_some_and(|limit| waited > limit));
        let deadlines =
            [Class::TimeoutFirstByte, Class::TimeoutIdle, Class::TimeoutTotal];
        let gave_up = deadlines.contains(&class);
        let late = (gave_up || limits[0].is_some()).then_some(over[0] || gave_up);
        let mut passed = over;
        passed[0] |= gave_up;
        let endpoint = self.place(event.endpoint.as_deref());
        // A worker counts the first token when it comes; a trace has one line a request.
        let took = match event.streamed {
            Some(streamed) => {
                spoke(&mut self.sums, endpoint, streamed.first_us, late == Some(true));
                Took::Streamed(streamed.each_us)
            }
            None => Took::Whole(event.latency_us),
        };
        let ending = Ending {
            class,
            endpoint,
            took,
            passed,
            late,
            silent: event.first_byte_us.is_none(),
        };
        ended(&mut self.sums, &ending);
    }

    /// Notes the times of an answer for the window.
    fn time(&mut self, event: &Event<'_>) {
        let good = event.class.is_evidence() && !event.class.is_failure();
        match event.streamed {
            Some(streamed) => {
                let fresh = || Box::new([Times::fine(), Times::fine()]);
                let [first, each] = &mut **self.stream_times.get_or_insert_with(fresh);
                first.record(streamed.first_us);
                if let Some(each_us) = streamed.each_us.filter(|_| good) {
                    each.record(each_us);
                }
            }
            None if good => self.times.record(event.latency_us),
            None => {}
        }
    }

    /// Whether what was counted since the last beat should not wait for the next look.
    pub(super) fn is_urgent(&self) -> bool {
        is_urgent(&self.sums)
    }

    /// Enters what users saw until `now` into the window, and says what it holds.
    pub(super) fn reading(&mut self, now: Timestamp) -> Reading {
        self.window.add(now, &self.outcomes, &self.times);
        self.outcomes = [0; Class::COUNT];
        self.times.clear();
        if let Some(both) = &mut self.stream_times {
            self.window.add_streams(now, &both[0], &both[1]);
            both.iter_mut().for_each(Times::clear);
        }
        self.window.reading(now)
    }

    /// An endpoint's place, by its first appearance.
    fn place(&mut self, endpoint: Option<&str>) -> usize {
        let Some(endpoint) = endpoint else { return 0 };
        if let Some(place) = self.endpoints.get(endpoint) {
            return *place;
        }
        let place = self.endpoints.len();
        if place < MOST_ENDPOINTS {
            self.endpoints.insert(endpoint.to_owned(), place);
            return place;
        }
        // Beyond the bound they share the places, the same name always the same one.
        endpoint.bytes().fold(0, |sum: usize, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        }) % MOST_ENDPOINTS
    }
}

/// Endpoint names of a version that are remembered.
const MOST_ENDPOINTS: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::Duration;

    use super::Arm;
    use crate::judge::{Confirm, Deadlines, Rules};
    use crate::trace::Event;
    use crate::vocab::ids::Name;
    use crate::vocab::outcome::Class;
    use crate::vocab::time::Timestamp;

    fn arm() -> Arm {
        let rules = Rules {
            interval: Duration::from_millis(250),
            window: Duration::from_secs(300),
            false_alarm: 0.001,
            confirm: Confirm::Auto,
            metrics: Vec::new(),
        };
        Arm::new(Name::parse("v1").unwrap(), &rules)
    }

    fn event(class: Class, latency_us: u64) -> Event<'static> {
        Event {
            at: Timestamp(1),
            version: Cow::Borrowed("v1"),
            route: None,
            endpoint: None,
            class,
            latency_us,
            first_byte_us: None,
            streamed: None,
            shadow: false,
            judged: true,
        }
    }

    #[test]
    fn a_request_counts_as_a_worker_counts_it() {
        let limits =
            Deadlines { whole: Some(1_000), most: Some(5_000), ..Deadlines::default() };
        let mut arm = arm();
        arm.count(&event(Class::Success, 900), (true, true), &limits);
        arm.count(&event(Class::Success, 6_000), (true, true), &limits);
        arm.count(&event(Class::ServerError, 2_000), (true, true), &limits);
        arm.count(&event(Class::ClientCancelled, 10), (true, true), &limits);
        arm.count(&event(Class::ClientCancelled, 1_001), (true, true), &limits);
        let cell = &arm.sums.cells[0];
        assert_eq!((cell.known, cell.bad, cell.slow), (4, 2, [3, 1]));
        assert_eq!((arm.sums.opened, cell.good()), (5, 2));
        assert_eq!((arm.known, arm.failures), (3, 1));
        let reading = arm.reading(Timestamp(250));
        assert_eq!((reading.samples, reading.failures, reading.good), (3, 1, 2));
        assert_eq!(arm.reading(Timestamp(500)).samples, 3, "nothing is entered twice");
    }

    #[test]
    fn our_own_deadline_makes_a_request_late_whatever_its_time() {
        let mut arm = arm();
        for _ in 0..10 {
            arm.count(
                &event(Class::TimeoutFirstByte, 0),
                (true, true),
                &Deadlines::default(),
            );
        }
        assert_eq!((arm.sums.cells[0].bad, arm.sums.cells[0].slow), (10, [10, 0]));
        assert!(arm.is_urgent());
    }

    #[test]
    fn refused_connections_in_a_row_are_urgent() {
        let mut arm = arm();
        for _ in 0..2 {
            arm.count(
                &event(Class::ConnectError, 0),
                (true, true),
                &Deadlines::default(),
            );
        }
        assert!(!arm.is_urgent());
        arm.count(&event(Class::UpstreamReset, 0), (true, true), &Deadlines::default());
        assert!(arm.is_urgent());
    }

    #[test]
    fn copies_and_what_no_coin_placed_count_where_they_should() {
        let mut arm = arm();
        arm.count(&event(Class::Success, 10), (false, true), &Deadlines::default());
        assert_eq!((arm.sums.opened, arm.reading(Timestamp(1)).samples), (1, 0));
        arm.count(&event(Class::Success, 10), (true, false), &Deadlines::default());
        assert_eq!((arm.sums.opened, arm.reading(Timestamp(2)).samples), (1, 1));
    }

    #[test]
    fn endpoints_have_places_by_first_appearance_and_their_names_are_bounded() {
        let mut arm = arm();
        assert_eq!([arm.place(Some("b")), arm.place(Some("a"))], [0, 1]);
        assert_eq!([arm.place(Some("a")), arm.place(None)], [1, 0]);
        for number in 0..10_000 {
            assert!(arm.place(Some(&number.to_string())) < super::MOST_ENDPOINTS);
        }
        assert_eq!(arm.endpoints.len(), super::MOST_ENDPOINTS);
    }
}
