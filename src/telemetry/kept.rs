//! `KeptCounts`: how the copy of kept answers on disk stands. Apart from the page, because
//! whoever writes the copy is on a thread of its own and counts there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is counted of kept answers on their way to disk, since the start.
#[derive(Debug, Default)]
pub struct KeptCounts {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    is_failing: AtomicBool,
}

impl KeptCounts {
    /// One was written.
    pub fn written(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// For one there was no room in the queue.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// One could not be written.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes are on disk.
    pub fn holds(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether nothing can be written at the moment.
    pub fn failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::Relaxed);
    }

    /// How many there are, with what came of them.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, u64); 3] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("written", read(&self.written)),
            ("dropped", read(&self.dropped)),
            ("failed", read(&self.failed)),
        ]
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing can be written at the moment.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }
}
