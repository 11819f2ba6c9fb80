//! `Names`: follows names in a task of its own and says where they lead now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};

use super::known::{Known, Told};
use super::look_up::{Found, LookUpError, Through, look_up};
use super::settings::Settings;
use crate::clock;
use crate::tasks;
use crate::telemetry::emit_names;
use crate::vocab::time::Timestamp;

/// The names that are followed. Clones are the same.
#[derive(Clone, Debug)]
pub struct Names(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is to be looked up.
    work: Notify,
    /// A name leads elsewhere, or it became known that it leads nowhere.
    news: Notify,
    /// How many looks there were.
    looks: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    names: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    known: Arc<Known>,
    /// When it is looked up next.
    due: Timestamp,
    looking: bool,
    /// The configuration has it; what has only been asked for is kept for a while.
    wanted: bool,
    kept_until: Timestamp,
}

/// A look that is to be made.
struct Look {
    name: String,
    settings: Settings,
    before: Option<Through>,
}

impl Names {
    /// Follows no name yet. Needs a runtime, and follows for as long as that runs.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let names = Self::idle(settings);
        let _following = tasks::shared("names", follow(names.clone()));
        names
    }

    /// Never looks anything up: for those who have no names.
    #[must_use]
    pub fn idle(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State { settings, names: BTreeMap::new() }),
            work: Notify::new(),
            news: Notify::new(),
            looks: watch::Sender::new(0),
        }))
    }

    /// From now on names are looked up like this. What is known stays until the next look,
    /// which is now.
    pub fn configure(&self, settings: &Settings) {
        let mut state = self.state();
        if state.settings != *settings {
            state.settings = settings.clone();
            state.names.values_mut().for_each(|entry| entry.due = Timestamp::default());
            self.0.work.notify_one();
        }
    }

    /// Follows these names and no others from now on.
    pub fn follow(&self, names: &BTreeSet<&str>) {
        let mut state = self.state();
        for (name, entry) in &mut state.names {
            entry.wanted = names.contains(name.as_str());
        }
        for name in names {
            let entry = state.names.entry((*name).to_owned()).or_insert_with(Entry::new);
            entry.wanted = true;
        }
        let now = clock::wall();
        state.names.retain(|_, entry| entry.wanted || entry.kept_until > now);
        self.0.work.notify_one();
    }

    /// Looks those names up of which nothing is known, and waits for what comes of it, but
    /// not longer than that. They should be followed soon after.
    pub async fn prepare(&self, names: &BTreeSet<&str>, within: Duration) {
        if names.is_empty() {
            return;
        }
        let mut looks = self.0.looks.subscribe();
        {
            let mut state = self.state();
            let until = clock::wall().after(KEPT);
            for name in names {
                let entry =
                    state.names.entry((*name).to_owned()).or_insert_with(Entry::new);
                entry.kept_until = until;
            }
            self.0.work.notify_one();
        }
        let all_looked_up = async {
            while !names.iter().all(|name| self.known(name).is_some()) {
                if looks.changed().await.is_err() {
                    return;
                }
            }
        };
        let _late = tokio::time::timeout(within, all_looked_up).await;
    }

    /// What is known of a name; `None` before the first look has ended.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<Arc<Known>> {
        let state = self.state();
        let known = &state.names.get(name)?.known;
        (known.looks != (0, 0)).then(|| Arc::clone(known))
    }

    /// Every name that the configuration has, with what is known of it.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<Known>)> {
        let state = self.state();
        let wanted = state.names.iter().filter(|(_, entry)| entry.wanted);
        wanted.map(|(name, entry)| (name.clone(), Arc::clone(&entry.known))).collect()
    }

    /// Waits until some name leads elsewhere than when this was last waited for. For one who
    /// waits at a time.
    pub async fn changed(&self) {
        self.0.news.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks that are due, at most so many, and when the next one is.
    fn due(&self, room: usize) -> (Vec<Look>, Option<Duration>) {
        let now = clock::wall();
        let mut state = self.state();
        state.names.retain(|_, entry| entry.wanted || entry.kept_until > now);
        let State { settings, names } = &mut *state;
        let waiting = names.iter_mut().filter(|(_, entry)| !entry.looking);
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|(_, entry)| entry.due);
        let mut looks = Vec::new();
        let mut next = None;
        for (name, entry) in waiting {
            if entry.due > now || looks.len() == room {
                next = Some(entry.due.since(now));
                break;
            }
            entry.looking = true;
            let settings = settings.clone();
            let before = entry.known.through.clone();
            looks.push(Look { name: name.clone(), settings, before });
        }
        (looks, next)
    }

    /// A look has ended.
    fn learn(&self, look: &Look, seen: Result<Found, LookUpError>) {
        let told = {
            let mut state = self.state();
            let is_current = state.settings == look.settings;
            let Some(entry) = state.names.get_mut(&look.name) else { return };
            let (known, told) = entry.known.after(seen, &look.settings, clock::wall());
            entry.looking = false;
            entry.due = if is_current { known.next } else { Timestamp::default() };
            entry.known = Arc::new(known);
            told
        };
        for one in &told {
            tell(&look.name, one);
        }
        self.0.looks.send_modify(|looks| *looks = looks.wrapping_add(1));
        if !told.is_empty() {
            self.0.news.notify_one();
        }
    }
}

impl Entry {
    fn new() -> Self {
        Self {
            known: Arc::default(),
            due: Timestamp::default(),
            looking: false,
            wanted: false,
            kept_until: Timestamp::default(),
        }
    }
}

async fn follow(names: Names) {
    let mut running = FuturesUnordered::new();
    loop {
        let (looks, next) = names.due(AT_ONCE - running.len());
        running.extend(looks.into_iter().map(carry_out));
        let idle = running.is_empty();
        let next = if running.len() == AT_ONCE { None } else { next };
        tokio::select! {
            Some((look, seen)) = running.next(), if !idle => names.learn(&look, seen),
            () = names.0.work.notified() => {}
            () = tokio::time::sleep(next.unwrap_or_default()), if next.is_some() => {}
        }
    }
}

async fn carry_out(look: Look) -> (Look, Result<Found, LookUpError>) {
    let looked = look_up(&look.name, &look.settings, look.before.as_ref());
    let seen = match tokio::time::timeout(LONGEST, looked).await {
        Ok(seen) => seen,
        Err(_) => Err(LookUpError::Failed(format!("no answer within {LONGEST:?}"))),
    };
    (look, seen)
}

fn tell(name: &str, told: &Told) {
    match told {
        Told::Changed { come, gone } => emit_names::name_changed(name, come, gone),
        Told::Failing { why, kept } => emit_names::name_failing(name, why, *kept),
        Told::Well { after } => emit_names::name_well(name, *after),
        Told::LeftOut(count) => emit_names::name_left_out(name, *count),
    }
}

/// Looks under way at a time.
const AT_ONCE: usize = 16;
/// One look, over all search domains and servers.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a name is kept that is not followed.
const KEPT: Duration = Duration::from_secs(60);

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
