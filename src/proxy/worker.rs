//! `Worker`: everything one data-plane thread owns.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::handler::Handlers;
use super::session::Sessions;
use super::shadows::Shadows;
use super::view::{View, Ways};
use crate::cache::Cache;
use crate::clock;
use crate::clock::Wheel;
use crate::measure::Books;
use crate::measure::Roster;
use crate::measure::Till;
use crate::route::Live;
use crate::tasks;
use crate::upstream::Registry;

/// What all workers share: the table, and what is reached through it.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The current table.
    pub live: Arc<Live>,
    /// The servers behind its slots.
    pub registry: Arc<Registry>,
    /// In-flight counts.
    pub roster: Arc<Roster>,
    /// Kept answers.
    pub cache: Arc<Cache>,
    /// What proves sessions.
    pub sessions: Arc<Sessions>,
    /// How many workers there are.
    pub workers: usize,
}

/// One data-plane thread.
pub struct Worker {
    pub(super) live: Arc<Live>,
    pub(super) books: Rc<Books>,
    pub(super) cache: Arc<Cache>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) wheel: Rc<Wheel>,
    /// Answers end their connections.
    pub(super) leaving: Cell<bool>,
    /// Connections without a request are closed.
    pub(super) closing: Rc<Cell<bool>>,
    /// Connections that this worker serves.
    pub(super) connections: Cell<usize>,
    /// Tunnels that are open.
    pub(super) tunnels: Cell<usize>,
    /// Tunnels are told that they end.
    pub(super) ending: Cell<bool>,
    /// Copies in flight.
    pub(super) shadows: Rc<Shadows>,
    /// What waits for a request to handle.
    pub(super) handlers: Handlers,
    ways: Ways,
    view: RefCell<Rc<View>>,
    draws: RefCell<fastrand::Rng>,
}

impl Worker {
    /// The worker of that number, on its own thread; its tasks run as long as the thread's
    /// runtime does.
    #[must_use]
    pub fn start(number: usize, shared: &Shared, till: Till) -> Rc<Self> {
        let books = Books::new(number, Arc::clone(&shared.roster));
        let wheel = Wheel::new();
        let ways = Ways::new(
            Arc::clone(&shared.registry),
            Rc::clone(&books),
            Rc::clone(&wheel),
            shared.workers,
        );
        let view = RefCell::new(Rc::new(ways.view(shared.live.load(), &shared.sessions)));
        let worker = Rc::new(Self {
            live: Arc::clone(&shared.live),
            books,
            cache: Arc::clone(&shared.cache),
            sessions: Arc::clone(&shared.sessions),
            wheel,
            leaving: Cell::new(false),
            closing: Rc::default(),
            connections: Cell::new(0),
            tunnels: Cell::new(0),
            ending: Cell::new(false),
            shadows: Rc::default(),
            handlers: Handlers::default(),
            ways,
            view,
            draws: RefCell::new(fastrand::Rng::new()),
        });
        let _serving = tasks::local("books", Rc::clone(&worker.books).serve(till));
        let ticking = Rc::clone(&worker);
        let wheel = Rc::clone(&worker.wheel);
        let seen = Cell::new((0u64, 0u32));
        let _sweeping = tasks::local("sweep", wheel.run(move || ticking.tick(&seen)));
        worker
    }

    /// From now on every answer ends its connection, so that callers go elsewhere by
    /// themselves. Copies end now: nobody waits for them.
    pub fn leave(&self) {
        self.leaving.set(true);
        self.shadows.end_all();
        self.wheel.wake_all();
    }

    /// From now on connections without a request are closed, too.
    pub fn close(&self) {
        self.leave();
        self.closing.set(true);
        self.wheel.wake_all();
    }

    /// Tells the two sides of every tunnel that it ends now; whether there are any.
    pub fn end_tunnels(&self) -> bool {
        self.ending.set(true);
        self.wheel.wake_all();
        self.tunnels.get() > 0
    }

    /// Ends what is still in flight, each request in its own protocol; whether anything is.
    pub fn cut(&self) -> bool {
        self.books.roster().cut_all();
        self.wheel.wake_all();
        self.connections.get() > 0
    }

    /// Whether there is something to be recorded that control has not collected.
    #[must_use]
    pub fn has_notes(&self) -> bool {
        self.books.has_notes()
    }

    /// Connections that this worker serves.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// The current view.
    pub(super) fn view(&self) -> Rc<View> {
        let view = Rc::clone(&self.view.borrow());
        // A table is in place a moment before its number is.
        if view.table.generation() >= self.live.generation()
            && self.ways.is_current(&view)
        {
            return view;
        }
        let next = Rc::new(self.ways.view(self.live.load(), &self.sessions));
        self.view.replace(Rc::clone(&next));
        self.shadows.fit(&next.table);
        next
    }

    /// A random number.
    pub(super) fn draw(&self) -> u64 {
        self.draws.borrow_mut().u64(..)
    }

    /// A random number below `bound`.
    pub(super) fn draw_below(&self, bound: usize) -> usize {
        self.draws.borrow_mut().usize(..bound.max(1))
    }

    fn tick(&self, seen: &Cell<(u64, u32)>) {
        let (cuts, ticks) = seen.get();
        let now = self.books.roster().cuts();
        if now != cuts {
            self.wheel.wake_all();
        }
        seen.set((now, (ticks + 1) % TIDY_EVERY));
        if ticks % SWEEP_EVERY == 0 {
            self.books.sweep(clock::now());
        }
        if ticks == 0 {
            self.ways.tidy();
        }
        // Copies end and ways of a table that is gone are closed even when no request comes.
        let _current = self.view();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("connections", &self.connections.get())
            .finish_non_exhaustive()
    }
}

/// Ticks of the wheel between two looks for idle connections.
const TIDY_EVERY: u32 = 20;

/// Ticks of the wheel between two looks for requests that have passed a deadline: with the
/// tick that a look may be late by, each is noticed within 100 ms.
const SWEEP_EVERY: u32 = 2;
