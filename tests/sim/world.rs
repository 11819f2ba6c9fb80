//! What a rollout acts on, and whoever acts on it: the table, the analysis, gates, operators,
//! crashes. It tells the truth, but not always, not at once, and sometimes twice.

use std::time::Duration;

use fastrand::Rng;
use switchback::rollout::{
    Answer, Finish, Gate, Headroom, Judged, NoTraffic, Phase, Plan, PlanStep, Retreat,
    Rollout, RolloutCommand, RolloutEvent, RolloutStep, Stop, Strategy, Subject, Verb,
    advance,
};
use switchback::vocab::amount::Percent;
use switchback::vocab::ids::{Digest, Name};
use switchback::vocab::time::Timestamp;

/// What happened to the machine, as it can be told again.
#[derive(Clone, Debug)]
pub enum Told {
    Event(RolloutEvent, Timestamp),
    Restart(Timestamp),
}

/// Whether the version may have users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Serving,
    Protected,
    RollingBack,
    Quarantined,
}

pub struct World {
    pub rng: Rng,
    pub it: Rollout,
    pub plan: Plan,
    pub now: Timestamp,
    pub standing: Standing,
    /// What the version really has.
    pub weight: Percent,
    pub told: Vec<Told>,
    /// All commands so far, for the comparison with a replay.
    pub commands: Vec<RolloutCommand>,
    /// Weights that were asked for on the way up since the last begin.
    pub raised: Vec<Percent>,
    /// Somebody skipped steps since then.
    pub skipped: bool,
    pub finished: Vec<bool>,
    pub begun: usize,
    /// Everything works and everybody says yes.
    pub kind: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = plan(&mut rng);
        let now = Timestamp(1_000_000);
        let frozen = (rng.u8(..) < 8).then(|| stop("bob"));
        let step = Rollout::begin(subject(), plan.clone(), frozen, now);
        let mut world = Self {
            rng,
            it: step.next.clone(),
            plan,
            now,
            standing: Standing::Serving,
            weight: Percent::ZERO,
            told: Vec::new(),
            commands: Vec::new(),
            raised: Vec::new(),
            skipped: false,
            finished: Vec::new(),
            begun: 1,
            kind: false,
        };
        world.take(step);
        world
    }

    pub fn tell(&mut self, event: RolloutEvent) {
        let step = advance(&self.it, &event, self.now);
        let again = advance(&self.it, &event, self.now);
        assert_eq!(step, again, "the same input gives the same output");
        self.told.push(Told::Event(event, self.now));
        self.take(step);
    }

    fn take(&mut self, step: RolloutStep) {
        self.it = step.next;
        self.check();
        for command in step.commands {
            self.obey(&command);
            self.commands.push(command);
        }
    }

    fn obey(&mut self, command: &RolloutCommand) {
        match *command {
            RolloutCommand::SetWeight { weight, .. } => {
                if weight > self.weight {
                    self.check_raise(weight);
                }
                if !matches!(self.it.phase(), Phase::Aborting | Phase::RollingBack) {
                    self.check_step(weight);
                }
                let odd = if self.kind { 255 } else { self.rng.u8(..) };
                if odd < 8 {
                    return self
                        .tell(RolloutEvent::NotShifted { why: "refused".to_owned() });
                }
                self.weight = weight;
                // Sometimes it is done and nobody says so.
                if odd >= 16 {
                    self.tell(RolloutEvent::Shifted { weight });
                }
            }
            RolloutCommand::AskGate { gate } if self.kind => {
                let answer = if gate == Gate::Rollback { halt() } else { Answer::Go };
                self.tell(RolloutEvent::Gate { gate, answer });
            }
            RolloutCommand::CheckHeadroom { .. } if self.kind || self.rng.bool() => {
                self.tell(RolloutEvent::Headroom(Headroom::Enough));
            }
            RolloutCommand::RollBack { .. } => {
                self.standing = Standing::RollingBack;
                self.tell(RolloutEvent::Judged(Judged::Breached));
            }
            RolloutCommand::Finish { succeeded } => self.finish(succeeded),
            RolloutCommand::AskGate { .. }
            | RolloutCommand::CheckHeadroom { .. }
            | RolloutCommand::Wake { .. }
            | RolloutCommand::Tell(_)
            | RolloutCommand::Refuse(_) => {}
        }
    }

    /// Something happens, whatever it is.
    pub fn happen(&mut self) {
        self.now = self.now.after(Duration::from_millis(self.rng.u64(0..8_000)));
        match self.rng.u8(0..100) {
            0..=29 => self.tell(RolloutEvent::Woken),
            30..=54 => {
                self.change_standing();
                self.judge();
            }
            55..=72 => self.order(),
            73..=82 => {
                let gate = GATES[self.rng.usize(..GATES.len())];
                let answer = if self.rng.bool() { Answer::Go } else { halt() };
                self.tell(RolloutEvent::Gate { gate, answer });
            }
            83..=87 => {
                let room = match self.rng.u8(0..3) {
                    0 => Headroom::Unknown,
                    1 => Headroom::Enough,
                    _ => Headroom::Short { needed: 9, have: 1, why: "limit".to_owned() },
                };
                self.tell(RolloutEvent::Headroom(room));
            }
            88..=90 => self.tell(RolloutEvent::Concern("a rule".to_owned())),
            91..=93 => {
                // Said twice, or late: it is still what the version has.
                let weight = self.weight;
                self.tell(RolloutEvent::Shifted { weight });
            }
            94..=95 => self.overrule(),
            96..=97 => self.restart(),
            _ => self.tell(RolloutEvent::NotShifted { why: "refused".to_owned() }),
        }
    }

    fn change_standing(&mut self) {
        self.standing = match (self.standing, self.rng.u8(0..16)) {
            (Standing::Serving, 0..=1) => Standing::Protected,
            (Standing::Serving | Standing::Protected, 2) => Standing::RollingBack,
            (Standing::Protected, 3..=9) => Standing::Serving,
            (Standing::RollingBack, 4..=15) => Standing::Quarantined,
            (Standing::Quarantined, 5..=9) => Standing::Serving,
            (standing, _) => standing,
        };
    }

    /// What the control loop says of what is.
    pub fn judge(&mut self) {
        let judged = match self.standing {
            Standing::Serving => match self.rng.u8(0..3) {
                _ if self.kind => Judged::Good,
                0 => Judged::Good,
                1 => Judged::Inconclusive,
                _ => Judged::NoTraffic,
            },
            Standing::Protected => Judged::Suspicious,
            Standing::RollingBack | Standing::Quarantined => Judged::Breached,
        };
        self.tell(RolloutEvent::Judged(judged));
        if self.it.is_rolling_back() && self.standing != Standing::RollingBack {
            self.tell(RolloutEvent::RolledBack { why: "errors".to_owned() });
        }
    }

    fn order(&mut self) {
        // The control loop says what is before it passes an order on.
        self.judge();
        let verb = match self.rng.u8(0..12) {
            0..=2 => Verb::Promote { full: false },
            3 => Verb::Promote { full: true },
            4 => Verb::Pause,
            5..=7 => Verb::Resume,
            8 => Verb::Abort,
            9..=10 => Verb::Retry,
            _ => Verb::Freeze,
        };
        self.command(verb);
    }

    pub fn command(&mut self, verb: Verb) {
        let (by, reason) = ("alice".to_owned(), "because".to_owned());
        let (was_over, was_back) = (self.it.is_over(), self.it.is_rolling_back());
        let before = self.commands.len();
        let event = RolloutEvent::Ordered { verb, by, reason };
        self.skipped |= matches!(verb, Verb::Promote { full: true });
        let step = advance(&self.it, &event, self.now);
        let refused =
            |command: &RolloutCommand| matches!(command, RolloutCommand::Refuse(_));
        let is_refused = step.commands.iter().any(refused);
        if verb == Verb::Retry && !is_refused {
            assert!(was_over, "only what is over is tried again");
            self.begun += 1;
            (self.raised, self.skipped) = (Vec::new(), false);
        }
        self.told.push(Told::Event(event, self.now));
        self.take(step);
        if was_back && matches!(verb, Verb::Promote { .. }) {
            assert!(is_refused, "a promotion during a rollback");
        }
        if is_refused {
            let said = &self.commands[before..];
            let changes = |command: &RolloutCommand| {
                matches!(command, RolloutCommand::SetWeight { .. })
            };
            assert!(!said.iter().any(changes) || !was_over, "refused and yet done");
        }
    }

    fn overrule(&mut self) {
        if self.standing == Standing::Serving {
            let weight = Percent::from_ppm(self.rng.u32(0..=1_000_000));
            self.weight = weight;
            self.skipped = true;
            let (by, reason) = ("carol".to_owned(), "a look".to_owned());
            self.tell(RolloutEvent::Overruled { weight, by, reason });
        }
    }

    /// The process dies and comes back: what was written down is all there is.
    fn restart(&mut self) {
        let text = serde_json::to_string(&self.it).unwrap();
        let kept: Rollout = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&kept).unwrap(), text);
        // The table of the new process has the weight that was written down.
        self.weight = self.it.weight();
        self.now = self.now.after(Duration::from_millis(self.rng.u64(0..60_000)));
        self.told.push(Told::Restart(self.now));
        self.take(kept.restored(self.now));
        self.judge();
    }
}

/// The same story again gives the same commands.
pub fn replayed(world: &World, seed: u64) -> Vec<RolloutCommand> {
    let mut rng = Rng::with_seed(seed);
    let plan = plan(&mut rng);
    let frozen = (rng.u8(..) < 8).then(|| stop("bob"));
    let begun = Rollout::begin(subject(), plan, frozen, Timestamp(1_000_000));
    let (mut it, mut commands) = (begun.next, begun.commands);
    for told in &world.told {
        let step = match told {
            Told::Event(event, now) => advance(&it, event, *now),
            Told::Restart(now) => {
                let text = serde_json::to_string(&it).unwrap();
                serde_json::from_str::<Rollout>(&text).unwrap().restored(*now)
            }
        };
        it = step.next;
        commands.extend(step.commands);
    }
    assert_eq!(it, world.it);
    commands
}

fn subject() -> Subject {
    Subject {
        id: "ro-1".to_owned(),
        route: Name::parse("iris").unwrap(),
        version: Name::parse("v2").unwrap(),
        digest: Digest::new("sha256:a"),
    }
}

fn stop(by: &str) -> Stop {
    Stop { by: by.to_owned(), reason: "holiday".to_owned(), since: Timestamp(0) }
}

fn halt() -> Answer {
    Answer::Halt { why: "503".to_owned() }
}

fn plan(rng: &mut Rng) -> Plan {
    let pause = |rng: &mut Rng| {
        if rng.u8(0..8) == 0 {
            PlanStep::UntilPromoted
        } else {
            PlanStep::Pause(Duration::from_secs(rng.u64(0..20)))
        }
    };
    let by = Percent::from_ppm(rng.u32(200_000..500_000));
    let every = Duration::from_secs(rng.u64(1..20));
    let (strategy, steps, finish, retreat) = match rng.u8(0..3) {
        0 => {
            let mut weights: Vec<u32> =
                (0..rng.usize(1..4)).map(|_| rng.u32(1..1_000_000)).collect();
            weights.sort_unstable();
            weights.dedup();
            let mut steps = Vec::new();
            for weight in weights {
                steps.push(PlanStep::SetWeight(Percent::from_ppm(weight)));
                steps.push(pause(rng));
            }
            (Strategy::Canary, steps, Finish::WhenGood, Retreat::AtOnce)
        }
        1 if rng.bool() => {
            (Strategy::BlueGreen, vec![pause(rng)], Finish::AtOnce, Retreat::AtOnce)
        }
        1 => (Strategy::BlueGreen, Vec::new(), Finish::ByOrder, Retreat::AtOnce),
        _ => {
            let retreat = Retreat::InSteps { by, every };
            (Strategy::Rolling, Plan::even(by, every), Finish::WhenGood, retreat)
        }
    };
    let no_traffic =
        [NoTraffic::Hold, NoTraffic::Extend, NoTraffic::Revert][rng.usize(..3)];
    let mut gates = Vec::new();
    for gate in GATES {
        if rng.u8(0..6) == 0 {
            gates.push((gate, Duration::from_secs(rng.u64(1..10))));
        }
    }
    let bake = Duration::from_secs(rng.u64(0..20));
    Plan { strategy, steps, finish, bake, no_traffic, retreat, gates }
}

const GATES: [Gate; 7] = [
    Gate::ConfirmRollout,
    Gate::PreRollout,
    Gate::Rollout,
    Gate::ConfirmTrafficIncrease,
    Gate::ConfirmPromotion,
    Gate::PostRollout,
    Gate::Rollback,
];
