//! Webhooks of rollouts, in the shapes that Flagger gave them: gates are asked, events are
//! told.
//!
//! Apart from the rollouts, because other people's servers answer when they like: every
//! question runs in a task of its own, with a bound, and comes back as an event.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::execute::Happened;
use super::running::Watch;
use super::settings::Hook;
use crate::effects::post::{Client, Limits};
use crate::rollout::{Answer, Change, Gate, Phase, Rollout};
use crate::tasks;
use crate::telemetry::emit;
use crate::telemetry::logs;
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// Sends one webhook; gives the status of the answer, or why there is none.
pub(super) type Knock =
    Arc<dyn Fn(Hook, Value) -> BoxFuture<'static, Result<u16, String>> + Send + Sync>;

/// Over the network.
pub(super) fn over_http() -> Knock {
    let client = Client::default();
    Arc::new(move |hook: Hook, body: Value| {
        let limit = hook.timeout;
        let limits = Limits { connect: limit, head: limit, body: limit };
        let client = client.clone().within(limits);
        Box::pin(async move {
            // Each part may take that long, all of them together too.
            let asked = client.post_json(&hook.target, &body);
            match tokio::time::timeout(limit, asked).await {
                Ok(Ok(answer)) => Ok(answer.status.as_u16()),
                Ok(Err(error)) => Err(logs::chain(&error)),
                Err(_) => Err(format!("no answer within {limit:?}")),
            }
        })
    })
}

/// The webhooks of all routes.
pub(super) struct Webhooks {
    pub(super) knock: Knock,
    /// The question to each gate that has no answer yet.
    asking: BTreeMap<(Name, Gate), Question>,
    /// Numbers questions, so that an answer to an earlier one is known.
    last: u64,
    telling: Option<mpsc::Sender<(Hook, Value)>>,
}

struct Question {
    number: u64,
    /// Attempt and step that it was asked for.
    place: (u32, usize),
    task: Watch,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { knock: over_http(), asking: BTreeMap::new(), last: 0, telling: None }
    }
}

impl Webhooks {
    /// Asks all gates of this type; each must let pass. A question that is under way for
    /// the same step is not asked twice.
    pub(super) fn ask(
        &mut self,
        gate: Gate,
        (rollout, hooks): (&Rollout, &[Hook]),
        events: &mpsc::Sender<Happened>,
    ) {
        let route = rollout.subject().route.clone();
        let place = (rollout.attempt(), rollout.steps().0);
        let key = (route.clone(), gate);
        if let Some(question) = self.asking.get(&key)
            && question.place == place
            && !question.task.0.is_finished()
        {
            return;
        }
        self.last += 1;
        let number = self.last;
        let mine = hooks.iter().filter(|hook| hook.gate == Some(gate));
        let knocks: Vec<_> = mine
            .map(|hook| {
                let asked = (self.knock)(hook.clone(), body(rollout, hook));
                let name = hook.name.clone();
                async move { (name, asked.await) }
            })
            .collect();
        let events = events.clone();
        let task = async move {
            let answer = together(join_all(knocks).await);
            // When nobody takes it, the control loop has ended, and with it this.
            let _told = events.send(Happened::Gate { route, gate, number, answer }).await;
        };
        let task = Watch(tasks::shared("rollout gate", task));
        self.asking.insert(key, Question { number, place, task });
    }

    /// Whether an answer is to the question that was asked last.
    pub(super) fn is_awaited(&mut self, route: &Name, gate: Gate, number: u64) -> bool {
        let key = (route.clone(), gate);
        let fits = self.asking.get(&key).is_some_and(|asked| asked.number == number);
        if fits {
            self.asking.remove(&key);
        }
        fits
    }

    /// Nobody waits for answers to the questions of this route any more.
    pub(super) fn forget(&mut self, route: &Name) {
        self.asking.retain(|(of, _), _| of != route);
    }

    /// Tells those who want to hear of changes; never waits.
    pub(super) fn tell(
        &mut self,
        change: &Change,
        (rollout, hooks): (&Rollout, &[Hook]),
        now: Timestamp,
    ) {
        for hook in hooks.iter().filter(|hook| hook.gate.is_none()) {
            let mut body = body(rollout, hook);
            body["metadata"]["eventMessage"] = change.text.clone().into();
            body["metadata"]["eventType"] = kind(change).into();
            body["metadata"]["timestamp"] = now.0.to_string().into();
            let knock = &self.knock;
            let telling = self.telling.get_or_insert_with(|| tell_all(Arc::clone(knock)));
            if telling.try_send((hook.clone(), body)).is_err() {
                emit::webhook_failed(&hook.name, "event", "too many wait to be told");
            }
        }
    }
}

/// Tells one after the other, in order.
fn tell_all(knock: Knock) -> mpsc::Sender<(Hook, Value)> {
    let (telling, mut inbox) = mpsc::channel::<(Hook, Value)>(EVENTS);
    tasks::shared("rollout events", async move {
        while let Some((hook, body)) = inbox.recv().await {
            let name = hook.name.clone();
            match knock(hook, body).await {
                Ok(200..=299) => {}
                Ok(status) => {
                    emit::webhook_failed(&name, "event", &format!("status {status}"));
                }
                Err(why) => emit::webhook_failed(&name, "event", &why),
            }
        }
    });
    telling
}

/// All must let pass; the first that does not says why.
fn together(answers: Vec<(String, Result<u16, String>)>) -> Answer {
    for (name, answer) in answers {
        let why = match answer {
            Ok(200..=299) => continue,
            Ok(status) => format!("{name} answers {status}"),
            Err(why) => format!("{name}: {why}"),
        };
        return Answer::Halt { why };
    }
    Answer::Go
}

/// What every webhook is sent.
fn body(rollout: &Rollout, hook: &Hook) -> Value {
    let subject = rollout.subject();
    let (step, steps) = rollout.steps();
    let mut metadata: BTreeMap<&str, String> = BTreeMap::new();
    metadata.insert("version", subject.version.to_string());
    metadata.insert("weight", rollout.weight().percent().to_string());
    metadata.insert("step", format!("{step}/{steps}"));
    metadata.insert("rollout", subject.id.clone());
    for (name, value) in &hook.metadata {
        metadata.insert(name, value.clone());
    }
    json!({
        "name": subject.route,
        "namespace": NAMESPACE,
        "phase": phase(rollout.phase()),
        "checksum": subject.digest,
        "metadata": metadata,
    })
}

/// The phase by the name that Flagger has for it, or for what is nearest to it.
fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Initialized => "Initialized",
        Phase::Waiting => "Waiting",
        Phase::Progressing | Phase::Paused => "Progressing",
        Phase::WaitingPromotion => "WaitingPromotion",
        Phase::Promoting => "Promoting",
        Phase::Finalising => "Finalising",
        Phase::Succeeded => "Succeeded",
        Phase::Failed | Phase::RollingBack | Phase::Aborting => "Failed",
    }
}

fn kind(change: &Change) -> &'static str {
    if change.kind.is_bad() { "Warning" } else { "Normal" }
}

/// What stands where Flagger has the namespace of the canary.
const NAMESPACE: &str = "switchback";
/// Events that wait to be told, over all routes.
const EVENTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::together;
    use crate::rollout::Answer;

    #[test]
    fn all_gates_of_a_type_must_let_pass() {
        let all = |answers: &[Result<u16, &str>]| {
            let answers = answers.iter().enumerate().map(|(at, answer)| {
                let name = format!("hook{at}");
                (name, answer.map_err(str::to_owned))
            });
            together(answers.collect())
        };
        let halt = |why: &str| Answer::Halt { why: why.to_owned() };
        assert_eq!(all(&[]), Answer::Go);
        assert_eq!(all(&[Ok(200), Ok(204)]), Answer::Go);
        assert_eq!(all(&[Ok(200), Ok(302)]), halt("hook1 answers 302"));
        assert_eq!(all(&[Err("gone"), Ok(500)]), halt("hook0: gone"));
    }
}
