//! Which kept answers are on disk: a list in memory, so that room and age are known without
//! looking at the disk. Apart, because here is the arithmetic of bytes and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::entry::Entry;
use super::record::FileId;
use crate::vocab::ids::{Name, Slot};
use crate::vocab::time::Timestamp;

/// The files of all routes.
#[derive(Debug, Default)]
pub(super) struct Drawers {
    routes: HashMap<Name, Drawer>,
}

#[derive(Debug, Default)]
struct Drawer {
    files: HashMap<FileId, Held>,
    /// The one first that came first.
    order: BTreeSet<(Timestamp, FileId)>,
    bytes: u64,
}

/// One file.
#[derive(Clone, Debug)]
pub(super) struct Held {
    route: Name,
    pub(super) slot: Slot,
    pub(super) mark: u64,
    pub(super) target: u64,
    pub(super) stored: Timestamp,
    /// From then on it is not served.
    pub(super) until: Timestamp,
    /// Whole blocks.
    pub(super) bytes: u64,
}

impl Held {
    /// A file of so many bytes for an answer to a request that began after that many
    /// purges.
    pub(super) fn new(
        route: &Name,
        entry: &Entry,
        (mark, ttl): (u64, Duration),
        len: usize,
    ) -> Self {
        Self {
            route: route.clone(),
            slot: entry.source.slot,
            mark,
            target: entry.target,
            stored: entry.stored,
            until: entry.stored.after(entry.limit.min(ttl)),
            bytes: (len as u64).next_multiple_of(BLOCK),
        }
    }
}

impl Drawers {
    pub(super) fn get(&self, route: &Name, id: &FileId) -> Option<&Held> {
        self.routes.get(route)?.files.get(id)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.routes.values().map(|drawer| drawer.bytes).sum()
    }

    pub(super) fn bytes_of(&self, route: &Name) -> u64 {
        self.routes.get(route).map_or(0, |drawer| drawer.bytes)
    }

    pub(super) fn routes(&self) -> Vec<Name> {
        self.routes.keys().cloned().collect()
    }

    /// Puts a file in the place of the one of that name.
    pub(super) fn insert(&mut self, id: FileId, held: Held) {
        let drawer = self.routes.entry(held.route.clone()).or_default();
        drawer.take(&id);
        drawer.order.insert((held.stored, id));
        drawer.bytes += held.bytes;
        drawer.files.insert(id, held);
    }

    /// Takes out the file of a route that came first.
    pub(super) fn take_oldest(&mut self, route: &Name) -> Option<FileId> {
        let drawer = self.routes.get_mut(route)?;
        let (_, id) = *drawer.order.first()?;
        drawer.take(&id);
        Some(id)
    }

    /// Takes out all that are gone.
    pub(super) fn take_where(
        &mut self,
        gone: impl Fn(&Name, &Held) -> bool,
    ) -> Vec<FileId> {
        let mut taken = Vec::new();
        for (route, drawer) in &mut self.routes {
            let files = drawer.files.iter();
            let out: Vec<FileId> =
                files.filter(|(_, held)| gone(route, held)).map(|(id, _)| *id).collect();
            for id in out {
                drawer.take(&id);
                taken.push(id);
            }
        }
        self.routes.retain(|_, drawer| !drawer.files.is_empty());
        taken
    }
}

impl Drawer {
    fn take(&mut self, id: &FileId) {
        if let Some(held) = self.files.remove(id) {
            self.order.remove(&(held.stored, *id));
            self.bytes -= held.bytes;
        }
    }
}

/// What a file takes on most file systems, whatever its length.
const BLOCK: u64 = 4_096;
