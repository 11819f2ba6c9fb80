//! The copy of kept answers on disk, for routes that ask for it: written by a thread of its
//! own, read back at the next start.
//!
//! Apart from the store, because a disk may be slow, full or gone, and none of that may
//! reach a request: a worker hands an answer over or, where the queue is full, drops the
//! copy and counts it. What holds of the cache holds of the files: a route's take at most
//! its `max_size`, rounded up to whole blocks; what is purged, forgotten or too old goes;
//! and what is read back is looked at as if it had just come. Files are told apart by route,
//! version, build and question. Each is checksummed, so that none needs a sync: a torn one
//! is thrown away.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel,
};
use std::time::Duration;

use super::drawers::{Drawers, Held};
use super::entry::{Entry, Source};
use super::files::Files;
use super::record::{decode, encode, file_id};
use super::shelf::Spot;
use super::store::Cache;
use crate::clock;
use crate::telemetry::KeptCounts;
use crate::telemetry::emit;
use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;

/// The thread's side of the copy on disk.
#[derive(Debug)]
pub struct Disk {
    cache: Arc<Cache>,
    files: Files,
    jobs: Receiver<Job>,
    counts: Arc<KeptCounts>,
    drawers: Drawers,
    seen: Seen,
    is_failing: bool,
}

/// How far the thread has followed the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) purges: u64,
    pub(super) fits: u64,
    pub(super) touches: u64,
}

/// The workers' side.
#[derive(Debug)]
pub(super) struct Post {
    jobs: SyncSender<Job>,
    /// Bytes of answers that wait.
    waiting: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    counts: Arc<KeptCounts>,
}

#[derive(Debug)]
enum Job {
    Keep(Box<Kept>),
    /// Something was purged, forgotten or configured.
    Look,
    Stop,
}

/// An answer that waits to be written.
#[derive(Debug)]
struct Kept {
    route: Name,
    spot: Spot,
    mark: u64,
    entry: Arc<Entry>,
    /// Gives its bytes back.
    _room: Room,
}

/// Bytes taken of what may wait.
#[derive(Debug)]
struct Room(Arc<AtomicUsize>, usize);

impl Disk {
    /// The copy of that cache in a directory, which is made when there is something to
    /// write. A cache has one copy at most.
    ///
    /// # Errors
    /// When the cache has one already.
    pub fn attach(
        cache: &Arc<Cache>,
        directory: &Path,
        counts: &Arc<KeptCounts>,
    ) -> io::Result<Self> {
        let (send, jobs) = sync_channel(MOST_JOBS);
        let post = Post {
            jobs: send,
            waiting: Arc::default(),
            stopping: Arc::default(),
            counts: Arc::clone(counts),
        };
        if !cache.attach(post) {
            return Err(io::Error::other("the cache has a copy on disk already"));
        }
        Ok(Self {
            cache: Arc::clone(cache),
            files: Files::new(directory),
            jobs,
            counts: Arc::clone(counts),
            drawers: Drawers::default(),
            seen: Seen::default(),
            is_failing: false,
        })
    }

    /// Puts answers of an earlier run back into the cache, those first that came last, and
    /// removes what is torn, too old, too much, or not by one of `sources`: those name every
    /// version of every route that was not rolled back. How many answers are back.
    pub fn restore(&mut self, sources: &[(Name, Source)]) -> usize {
        let mark = self.cache.seen().purges;
        let now = clock::wall();
        let mut back = 0;
        for (id, path) in self.files.newest_first() {
            let restored = Files::read(&path)
                .and_then(|file| Some((decode(&file)?, file.len())))
                .filter(|(record, _)| record.id() == id && record.stored() <= now)
                .and_then(|(record, len)| {
                    let mut known = sources.iter();
                    let (_, source) = known.find(|(route, source)| {
                        *route == record.route
                            && source.name == record.version
                            && source.digest == record.build
                    })?;
                    let (route, digest) = (record.route.clone(), record.digest);
                    let spot = Spot { digest, slot: source.slot };
                    let entry = record.entry(source.slot);
                    self.take_back(&route, spot, (mark, entry), len, now)
                });
            match restored {
                Some(held) => {
                    self.drawers.insert(id, held);
                    back += 1;
                }
                None => self.files.remove(&path),
            }
        }
        self.counts.holds(self.drawers.bytes());
        back
    }

    fn take_back(
        &self,
        route: &Name,
        spot: Spot,
        (mark, entry): (u64, Entry),
        len: usize,
        now: Timestamp,
    ) -> Option<Held> {
        let (size, ttl) = self.cache.persisted(route)?;
        if entry.is_over(now, ttl) {
            return None;
        }
        let held = Held::new(route, &entry, (mark, ttl), len);
        if self.drawers.bytes_of(route) + held.bytes > size.all as u64 {
            return None;
        }
        self.cache.restore(route, spot, mark, entry).ok()?;
        Some(held)
    }

    /// Writes what it is handed until [`Cache::close`], and then what still waits.
    pub fn run(mut self) {
        let stopping = self.cache.post().map(|post| Arc::clone(&post.stopping));
        let mut tidied = clock::wall();
        loop {
            let is_stopping =
                stopping.as_ref().is_none_or(|flag| flag.load(Ordering::Acquire));
            let job = if is_stopping {
                self.jobs.try_recv().map_err(|error| match error {
                    TryRecvError::Empty | TryRecvError::Disconnected => {
                        RecvTimeoutError::Disconnected
                    }
                })
            } else {
                self.jobs.recv_timeout(BETWEEN_LOOKS)
            };
            match job {
                Ok(Job::Keep(kept)) => self.write(&kept),
                Ok(Job::Look | Job::Stop) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.follow();
            let now = clock::wall();
            if now.since(tidied) >= BETWEEN_LOOKS {
                tidied = now;
                self.drop_where(|_, held| held.until <= now);
            }
        }
    }

    fn write(&mut self, kept: &Kept) {
        let Kept { route, spot, mark, entry, .. } = kept;
        let Some((size, ttl)) = self.cache.persisted(route) else { return };
        if !self.cache.is_valid(spot.slot, *mark) {
            return;
        }
        let id = file_id(route, &entry.source, &spot.digest);
        let fresh = |held: &Held| entry.stored.since(held.stored) < refresh(ttl);
        if self.drawers.get(route, &id).is_some_and(fresh) {
            return;
        }
        let file = encode(route, &spot.digest, entry);
        let held = Held::new(route, entry, (*mark, ttl), file.len());
        if held.bytes > size.all as u64 {
            return;
        }
        // The old file goes only when the new one is there, so that both need room.
        self.make_room(route, (size.all as u64).saturating_sub(held.bytes));
        match self.files.write(&id, &file, entry.stored) {
            Ok(()) => {
                self.drawers.insert(id, held);
                self.counts.written();
                if std::mem::take(&mut self.is_failing) {
                    self.counts.failing(false);
                    emit::kept_recovered(self.files.directory());
                }
            }
            Err(error) => {
                self.counts.failed();
                if !std::mem::replace(&mut self.is_failing, true) {
                    self.counts.failing(true);
                    emit::kept_failed(self.files.directory(), &error);
                }
            }
        }
        self.counts.holds(self.drawers.bytes());
    }

    /// Does to the files what was done to the cache since the last time.
    fn follow(&mut self) {
        let now = self.cache.seen();
        if now == self.seen {
            return;
        }
        let cache = Arc::clone(&self.cache);
        self.drop_where(|route, held| {
            cache.persisted(route).is_none()
                || !cache.is_valid(held.slot, held.mark)
                || !cache.is_known(held.slot)
                || cache.is_touched(route, held.target, held.stored)
        });
        for route in self.drawers.routes() {
            let room = self.cache.persisted(&route).map_or(0, |(size, _)| size.all);
            self.make_room(&route, room as u64);
        }
        self.seen = now;
    }

    fn make_room(&mut self, route: &Name, most: u64) {
        while self.drawers.bytes_of(route) > most {
            let Some(id) = self.drawers.take_oldest(route) else { return };
            self.files.remove_id(&id);
        }
    }

    fn drop_where(&mut self, gone: impl Fn(&Name, &Held) -> bool) {
        for id in self.drawers.take_where(gone) {
            self.files.remove_id(&id);
        }
        self.counts.holds(self.drawers.bytes());
    }
}

impl Post {
    /// Hands an answer over, or counts that there was no room for it.
    pub(super) fn keep(&self, route: &Name, spot: Spot, mark: u64, entry: Arc<Entry>) {
        let bytes = entry.weight();
        let room = Room(Arc::clone(&self.waiting), bytes);
        // The room counts first: that it is given back is its drop's business.
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // One alone may be larger than all may be together.
        if waiting > MOST_WAITING.max(bytes) {
            return self.counts.dropped();
        }
        let kept = Kept { route: route.clone(), spot, mark, entry, _room: room };
        if self.jobs.try_send(Job::Keep(Box::new(kept))).is_err() {
            self.counts.dropped();
        }
    }

    /// Has the thread look at what has changed. Where the queue is full it will anyway.
    pub(super) fn look(&self) {
        let _full = self.jobs.try_send(Job::Look);
    }

    /// Has the thread end once nothing waits.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let _full = self.jobs.try_send(Job::Stop);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// The same answer is not written again before so long: what is read back after a restart
/// is stale in any case, and a question that is asked often would wear the disk.
fn refresh(ttl: Duration) -> Duration {
    (ttl / 16).min(Duration::from_secs(60))
}

/// Answers that wait for the disk.
const MOST_JOBS: usize = 4_096;
/// What they may hold together that the cache may have let go of.
const MOST_WAITING: usize = 16 * 1024 * 1024;
/// Between two looks for what is too old.
const BETWEEN_LOOKS: Duration = Duration::from_secs(30);

#[cfg(test)]
#[path = "tests/disk.rs"]
mod tests;
