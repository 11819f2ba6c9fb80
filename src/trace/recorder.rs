//! `Recorder`: what the workers noted, written as lines of a trace while the proxy runs.
//!
//! A task of its own behind a bounded queue: a disk may take as long as it likes, and
//! neither a request nor the control loop waits for it. What does not fit is counted.
//!
//! Lines are in order of time although several workers note them: what ended before the
//! books were asked for has been handed over when they are collected, so everything before
//! that moment is complete and the rest waits for the next batch.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::file::{RecordSettings, Rotating};
use super::line::{Streamed, meaning};
use crate::tasks;
use crate::telemetry::emit;
use crate::vocab::ids::{Name, Slot};
use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;

/// One request that ended, as a worker notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it ended.
    pub at: Timestamp,
    /// The version.
    pub slot: Slot,
    /// The place of the server among the version's, if one was chosen.
    pub endpoint: Option<u16>,
    /// How it ended.
    pub class: Class,
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// Time to its end in microseconds.
    pub latency_us: u64,
    /// Time to the first byte of the answer in microseconds, if there was one.
    pub first_byte_us: Option<u64>,
    /// What was timed of it, if it was a stream of tokens that came to its first.
    pub streamed: Option<Streamed>,
    /// Whether it was a copy, whose answer no user saw.
    pub shadow: bool,
    /// Whether the split's coin placed it.
    pub judged: bool,
}

/// What all workers noted since the last batch.
#[derive(Debug)]
pub struct Batch {
    /// The notes, in any order.
    pub entries: Vec<Entry>,
    /// Notes that the workers had no room for.
    pub lost: u64,
    /// Everything that ended before this moment is in this batch or an earlier one.
    pub until: Timestamp,
    /// What the slots are called.
    pub names: Arc<Names>,
}

/// What the slots are called in a trace.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<Slot, Tag>);

/// A version's part of a line.
#[derive(Clone, Debug)]
struct Tag {
    members: String,
    endpoints: Vec<String>,
}

/// The shares of every route from one moment on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    /// From when.
    pub at: Timestamp,
    /// Each route with its versions and their shares in percent.
    pub routes: BTreeMap<Name, Vec<(Name, f64)>>,
}

/// The way to the file.
#[derive(Debug)]
pub struct Recorder {
    messages: mpsc::Sender<Message>,
    state: Arc<Mutex<RecorderState>>,
    /// Requests in the batches that wait.
    waiting: Arc<AtomicU64>,
    writing: JoinHandle<()>,
}

/// How recording stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecorderState {
    /// Requests written since the start.
    pub written: u64,
    /// Requests that could not be written, or for which there was no room.
    pub lost: u64,
    /// Why nothing can be written at the moment.
    pub failing: Option<String>,
}

#[derive(Debug)]
enum Message {
    Batch(Batch),
    Shares(Shares),
}

impl Names {
    /// Names a slot; `endpoints` by place, empty where a place is nobody's.
    pub fn insert(
        &mut self,
        slot: Slot,
        (route, version): (&Name, &Name),
        endpoints: &[String],
    ) {
        let members = format!(",\"version\":\"{version}\",\"route\":\"{route}\"");
        let quoted = |text: &str| match text {
            "" => String::new(),
            text => serde_json::Value::from(text).to_string(),
        };
        self.0.insert(
            slot,
            Tag {
                members,
                endpoints: endpoints.iter().map(|text| quoted(text)).collect(),
            },
        );
    }
}

impl Recorder {
    /// Starts to record. Needs a runtime.
    #[must_use]
    pub fn start(settings: &RecordSettings) -> Self {
        let (messages, inbox) = mpsc::channel(QUEUE);
        let state = Arc::new(Mutex::new(RecorderState::default()));
        let writer = Writer::new(settings, Arc::clone(&state));
        let waiting = Arc::new(AtomicU64::new(0));
        let writing = write(writer, inbox, Arc::clone(&waiting));
        let writing = tasks::shared("recorder", writing);
        Self { messages, state, waiting, writing }
    }

    /// Gives a batch to be written. Never waits: when too many wait, its requests are
    /// counted as lost.
    pub fn batch(&self, batch: Batch) {
        let (count, lost) = (batch.entries.len() as u64, batch.lost);
        let waiting = self.waiting.fetch_add(count, Ordering::Relaxed);
        let full = waiting > 0 && waiting + count > WAITING;
        if full || self.messages.try_send(Message::Batch(batch)).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            lock(&self.state).lost += count + lost;
        }
    }

    /// Says the shares that are in force from now on; those that are the same as before are
    /// not written again. Gives them back when too many batches wait, to be said again.
    ///
    /// # Errors
    /// The shares, when they were not taken.
    pub fn shares(&self, shares: Shares) -> Result<(), Shares> {
        self.messages.try_send(Message::Shares(shares)).map_err(|unsent| {
            match unsent.into_inner() {
                Message::Shares(shares) => shares,
                Message::Batch(_) => Shares::default(),
            }
        })
    }

    /// How recording stands.
    #[must_use]
    pub fn state(&self) -> RecorderState {
        lock(&self.state).clone()
    }

    /// Writes what is left, and ends.
    pub async fn close(self) {
        drop(self.messages);
        if let Err(error) = self.writing.await {
            tracing::debug!(%error, "the recorder ended early");
        }
    }
}

/// Writes until nobody gives batches any more.
async fn write(
    mut writer: Writer,
    mut inbox: mpsc::Receiver<Message>,
    waiting: Arc<AtomicU64>,
) {
    let mut flushes = tokio::time::interval(FLUSH);
    flushes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let deed = tokio::select! {
            message = inbox.recv() => message.map_or(Deed::Close, Deed::Take),
            _ = flushes.tick() => Deed::Flush,
        };
        if let Deed::Take(Message::Batch(batch)) = &deed {
            waiting.fetch_sub(batch.entries.len() as u64, Ordering::Relaxed);
        }
        let last = matches!(deed, Deed::Close);
        let done = tokio::task::spawn_blocking(move || {
            writer.act(deed);
            writer
        });
        match done.await {
            Ok(back) if !last => writer = back,
            Ok(_) => return,
            Err(error) => return tracing::error!(%error, "recording has ended"),
        }
    }
}

enum Deed {
    Take(Message),
    Flush,
    Close,
}

/// A line that waits.
struct Held {
    at: Timestamp,
    line: Vec<u8>,
    /// So many requests are in it: one, or none where it has shares.
    requests: u64,
}

/// The blocking side.
struct Writer {
    file: Rotating,
    state: Arc<Mutex<RecorderState>>,
    /// The shares in force, written at the head of every file.
    shares: Shares,
    /// Lines that wait for the rest of their time.
    held: Vec<Held>,
    /// Lines to be written, and how many of them are requests.
    text: Vec<u8>,
    events: u64,
    latest: Timestamp,
    failing: bool,
}

impl Writer {
    fn new(settings: &RecordSettings, state: Arc<Mutex<RecorderState>>) -> Self {
        Self {
            file: Rotating::new(settings),
            state,
            shares: Shares::default(),
            held: Vec::new(),
            text: Vec::new(),
            events: 0,
            latest: Timestamp::default(),
            failing: false,
        }
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Take(Message::Shares(shares)) => self.change(shares),
            Deed::Take(Message::Batch(batch)) => {
                lock(&self.state).lost += batch.lost;
                self.take(&batch);
                if self.text.len() > BUFFER {
                    self.flush();
                }
            }
            Deed::Flush => self.flush(),
            Deed::Close => {
                let mut held = mem::take(&mut self.held);
                held.sort_by_key(|held| held.at);
                for held in held {
                    self.put(held.at, &held.line, held.requests);
                }
                self.flush();
            }
        }
    }

    /// A line for every route whose shares are others than before.
    fn change(&mut self, shares: Shares) {
        for (route, versions) in &shares.routes {
            if self.shares.routes.get(route) != Some(versions) {
                let mut line = Vec::new();
                shares_line(&mut line, shares.at, (route, versions));
                self.held.push(Held { at: shares.at, line, requests: 0 });
            }
        }
        self.shares = shares;
    }

    /// Puts everything that is complete into the text, in order of time.
    fn take(&mut self, batch: &Batch) {
        let mut due = mem::take(&mut self.held);
        due.sort_by_key(|held| held.at);
        let mut due = due.into_iter().peekable();
        let mut entries: Vec<&Entry> = batch.entries.iter().collect();
        entries.sort_by_key(|entry| entry.at);
        let mut line = Vec::new();
        for entry in entries {
            let earlier = |held: &Held| held.at <= entry.at && held.at < batch.until;
            while let Some(held) = due.next_if(earlier) {
                self.put(held.at, &held.line, held.requests);
            }
            line.clear();
            if !entry_line(&mut line, entry, &batch.names) {
                lock(&self.state).lost += 1;
            } else if entry.at < batch.until {
                self.put(entry.at, &line, 1);
            } else {
                self.held.push(Held { at: entry.at, line: line.clone(), requests: 1 });
            }
        }
        for held in due {
            if held.at < batch.until {
                self.put(held.at, &held.line, held.requests);
            } else {
                self.held.push(held);
            }
        }
    }

    fn put(&mut self, at: Timestamp, line: &[u8], requests: u64) {
        self.text.extend_from_slice(line);
        self.events += requests;
        self.latest = self.latest.max(at);
    }

    fn flush(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let mut head = Vec::new();
        for route in &self.shares.routes {
            shares_line(&mut head, self.latest, route);
        }
        let mut text = mem::take(&mut self.text);
        if self.failing {
            // What was lost may have said the shares.
            text.splice(..0, head.iter().copied());
        }
        let done = self.file.append(&head, &text);
        let events = mem::take(&mut self.events);
        let mut state = lock(&self.state);
        match done {
            Ok(()) => {
                state.written += events;
                state.failing = None;
                if mem::take(&mut self.failing) {
                    emit::record_recovered(self.file.path(), state.lost);
                }
            }
            Err(error) => {
                state.lost += events;
                state.failing = Some(error.to_string());
                if !mem::replace(&mut self.failing, true) {
                    emit::record_failed(self.file.path(), &error);
                }
            }
        }
    }
}

/// Writes a request's line; `false` when nobody knows its slot.
fn entry_line(line: &mut Vec<u8>, entry: &Entry, names: &Names) -> bool {
    let Some(tag) = names.0.get(&entry.slot) else { return false };
    let mut text = String::with_capacity(200);
    let Entry { at, class, status, latency_us, first_byte_us, .. } = *entry;
    // Writing into a `String` does not fail.
    let _done = write!(text, "{{\"t_ms\":{}{}", at.0, tag.members);
    let timeouts = [Class::TimeoutFirstByte, Class::TimeoutTotal];
    let stands_for = if timeouts.contains(&class) { Some(598) } else { None };
    let refused = (class == Class::ConnectError).then_some(0);
    let status = status.or(stands_for).or(refused);
    if let Some(status) = status {
        let _done = write!(text, ",\"status\":{status}");
    }
    let _done = write!(text, ",\"latency_us\":{latency_us}");
    if let Some(first) = first_byte_us {
        let _done = write!(text, ",\"ttfb_us\":{first}");
    }
    if let Some(Streamed { first_us, tokens, each_us }) = entry.streamed {
        let _done = write!(text, ",\"ttft_us\":{first_us},\"tokens\":{tokens}");
        if let Some(each) = each_us {
            let _done = write!(text, ",\"tpot_us\":{each}");
        }
    }
    let server = entry.endpoint.and_then(|at| tag.endpoints.get(usize::from(at)));
    if let Some(server) = server.filter(|server| !server.is_empty()) {
        let _done = write!(text, ",\"endpoint\":{server}");
    }
    if status.is_none_or(|status| meaning(status) != class) {
        let _done = write!(text, ",\"class\":\"{class}\"");
    }
    if entry.shadow {
        text.push_str(",\"shadow\":true");
    }
    if !entry.judged {
        text.push_str(",\"judged\":false");
    }
    text.push_str("}\n");
    line.extend_from_slice(text.as_bytes());
    true
}

fn shares_line(
    line: &mut Vec<u8>,
    at: Timestamp,
    (route, versions): (&Name, &Vec<(Name, f64)>),
) {
    let mut text = format!("{{\"t_ms\":{},\"route\":\"{route}\",\"weights\":{{", at.0);
    for (place, (version, share)) in versions.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let _done = write!(text, "{comma}\"{version}\":{share}");
    }
    text.push_str("}}\n");
    line.extend_from_slice(text.as_bytes());
}

fn lock(state: &Mutex<RecorderState>) -> std::sync::MutexGuard<'_, RecorderState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Between two looks whether something is to be written.
const FLUSH: Duration = Duration::from_secs(1);
/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 << 10;
/// Batches that wait for the disk: some ten seconds of ticks, unless they hold too much.
const QUEUE: usize = 64;
/// Requests that wait for the disk, in all batches; some 30 MB.
const WAITING: u64 = 400_000;

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
