//! The streams of one HTTP/2 connection: how many there are, who keeps whom waiting, and the
//! end of one whose caller does not read. Apart from the serving because the body of an
//! answer and the task of a stream report here, too.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::settings::Limits;
use crate::clock;
use crate::clock::Wheel;
use crate::tasks;
use crate::upstream::Connections;
use crate::wire::Pace;
use crate::wire::Watch;

/// The streams of a connection.
#[derive(Debug)]
pub(super) struct Streams {
    watch: Watch,
    active: Cell<usize>,
    /// Those whose next piece is not here yet: it is not the caller who keeps them.
    waiting: Cell<usize>,
    opened: Cell<u64>,
    /// Bytes of answers that were given to be sent.
    handed: Cell<u64>,
    /// The same, while the socket took none.
    given: Cell<usize>,
    held: RefCell<Vec<Waker>>,
    /// The task of the connection, to be woken when all wait for the caller.
    owner: RefCell<Option<Waker>>,
    /// A caller was too slow for one of them: with the last one the connection ends.
    tardy: Rc<Cell<bool>>,
    /// A caller was too slow for one of them, and takes nothing at all.
    doomed: Cell<bool>,
    /// The stream whose task is spawned next.
    latest: RefCell<Option<Rc<Progress>>>,
}

/// How a stream's answer goes.
#[derive(Debug, Default)]
struct Progress {
    /// Its next piece is not here yet, or it has no answer yet.
    waiting: Cell<bool>,
    /// The caller has taken something since this was last looked at.
    moved: Cell<bool>,
    /// Whose connection its answer comes on.
    holds: RefCell<Option<Rc<Connections>>>,
}

impl Progress {
    /// Whether it holds a connection to a server that has few left.
    fn is_wanted_elsewhere(&self) -> bool {
        self.holds.borrow().as_ref().is_some_and(|pool| pool.is_pressed())
    }
}

/// One stream, from its request to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Stream {
    all: Rc<Streams>,
    pace: Rc<Progress>,
}

impl Streams {
    /// None yet.
    pub(super) fn new(watch: Watch) -> Rc<Self> {
        Rc::new(Self {
            watch,
            active: Cell::new(0),
            waiting: Cell::new(0),
            opened: Cell::new(0),
            handed: Cell::new(0),
            given: Cell::new(0),
            held: RefCell::default(),
            owner: RefCell::default(),
            tardy: Rc::default(),
            doomed: Cell::new(false),
            latest: RefCell::default(),
        })
    }

    /// Opens one.
    pub(super) fn open(self: &Rc<Self>) -> Stream {
        self.active.set(self.active.get() + 1);
        self.waiting.set(self.waiting.get() + 1);
        self.opened.set(self.opened.get() + 1);
        let pace = Rc::new(Progress { waiting: Cell::new(true), ..Progress::default() });
        self.latest.replace(Some(Rc::clone(&pace)));
        Stream { all: Rc::clone(self), pace }
    }

    /// How many there are.
    pub(super) fn active(&self) -> usize {
        self.active.get()
    }

    /// Where it is noted that a caller was too slow for one of them.
    pub(super) fn tardy(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.tardy)
    }

    /// Whether there is none left, and a caller was too slow for one.
    pub(super) fn is_spent(&self) -> bool {
        self.tardy.get() && self.active.get() == 0
    }

    /// Whether the connection is to be given up, with all of its streams.
    pub(super) fn is_doomed(&self) -> bool {
        self.doomed.get()
    }

    fn wake_owner(&self) {
        if let Some(owner) = &*self.owner.borrow() {
            owner.wake_by_ref();
        }
    }

    /// How many there were.
    pub(super) fn opened(&self) -> u64 {
        self.opened.get()
    }

    /// Whether there are streams and all of them wait for their caller.
    pub(super) fn is_stalled(&self) -> bool {
        self.active.get() > 0 && self.waiting.get() == 0
    }

    /// Whether something of the answers is still here. A stream that was reset may leave
    /// this so for good.
    pub(super) fn is_owing(&self) -> bool {
        self.handed.get() > self.watch.data_sent()
    }

    /// Lets go on those that were held while the socket took nothing. Called after each
    /// turn of the connection, by its task.
    pub(super) fn release(&self, cx: &Context<'_>) {
        let mut owner = self.owner.borrow_mut();
        if !owner.as_ref().is_some_and(|owner| owner.will_wake(cx.waker())) {
            *owner = Some(cx.waker().clone());
        }
        drop(owner);
        if !self.watch.is_blocked() {
            self.given.set(0);
            let held = self.held.take();
            held.into_iter().for_each(Waker::wake);
        }
    }
}

impl Stream {
    /// The head of its answer is here, the rest of which comes on a connection of that pool.
    pub(super) fn answered(&self, holds: Option<Rc<Connections>>) {
        self.pace.holds.replace(holds);
        self.set_waiting(false);
    }

    /// All of the answer has come.
    pub(super) fn let_go(&self) {
        self.pace.holds.take();
    }

    /// The answer was asked for its next piece, and it is here or not.
    pub(super) fn asked(&self, waiting: bool) {
        self.pace.moved.set(true);
        self.set_waiting(waiting);
    }

    /// Ready with how much may be given to be sent. Not while the socket takes nothing and
    /// enough is ready for it: what is not read must not pile up.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<usize> {
        if self.all.watch.is_blocked() && self.all.given.get() >= READY {
            self.set_waiting(false);
            let mut held = self.all.held.borrow_mut();
            if !held.iter().any(|waker| waker.will_wake(cx.waker())) {
                held.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready((READY / self.all.active.get().max(1)).clamp(SMALL, LARGE))
    }

    /// So much was given to be sent.
    pub(super) fn gave(&self, bytes: usize) {
        self.all.given.set(self.all.given.get() + bytes);
        self.all.handed.set(self.all.handed.get() + bytes as u64);
    }

    fn set_waiting(&self, waiting: bool) {
        if self.pace.waiting.replace(waiting) != waiting {
            let others = self.all.waiting.get();
            self.all.waiting.set(if waiting {
                others + 1
            } else {
                others.saturating_sub(1)
            });
            // It does not learn of this by what it sends or gets.
            if self.all.is_stalled() {
                self.all.wake_owner();
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.set_waiting(false);
        self.pace.waiting.set(true);
        self.all.active.set(self.all.active.get().saturating_sub(1));
    }
}

/// Runs the streams' tasks on the worker's own thread, and ends one whose caller takes
/// nothing of what is ready, or too little: the stream is reset, and the others go on.
#[derive(Clone, Debug)]
pub(super) struct StreamTasks {
    streams: Rc<Streams>,
    wheel: Rc<Wheel>,
    /// How long one may stand still; zero: as long as it likes.
    patience: Duration,
    /// Bytes a second that a caller takes at least.
    rate: u64,
}

/// A stream whose caller is waited for.
struct Stuck {
    since: Instant,
    /// How long it may last.
    patience: Duration,
    /// What the connection had taken then, and what it had been given.
    sent: u64,
    handed: u64,
}

impl StreamTasks {
    /// For the streams of a connection.
    pub(super) fn new(streams: Rc<Streams>, wheel: Rc<Wheel>, limits: &Limits) -> Self {
        let idle = limits.body_idle_timeout;
        let patience = match limits.min_rate {
            0 => idle,
            _ if idle.is_zero() => STILL,
            _ => idle.min(STILL),
        };
        Self { streams, wheel, patience, rate: limits.min_rate }
    }

    fn stuck(&self, patience: Duration) -> Stuck {
        Stuck {
            since: clock::now(),
            patience,
            sent: self.streams.watch.data_sent(),
            handed: self.streams.handed.get(),
        }
    }

    /// Whether the caller has been waited for too long. HTTP/2 holds a piece of each stream's
    /// answer; who takes pieces is seen, and who takes a piece bit by bit shows in what the
    /// connection has taken more than the other streams have given.
    fn is_over(&self, stuck: &mut Stuck) -> bool {
        let waited = clock::now().saturating_duration_since(stuck.since);
        if stuck.patience.is_zero() || waited < stuck.patience {
            return false;
        }
        let others = self.streams.handed.get() - stuck.handed;
        let taken = (self.streams.watch.data_sent() - stuck.sent).saturating_sub(others);
        let still = self.streams.active.get().saturating_sub(self.streams.waiting.get());
        let share = self.rate.saturating_mul(stuck.patience.as_secs()).max(1);
        if taken < share.saturating_mul(still.max(1) as u64) {
            return true;
        }
        *stuck = self.stuck(self.patience.min(Pace::LITTLE_PATIENCE));
        false
    }

    /// Whether the stream alone is given up. On a connection that takes nothing the reset
    /// would not get through, nor would anything else: that one ends as a whole.
    fn gives_up(&self) -> bool {
        let alone = !self.streams.watch.is_blocked();
        if alone {
            self.streams.tardy.set(true);
        } else {
            self.streams.doomed.set(true);
            self.streams.wake_owner();
        }
        alone
    }
}

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        let Some(pace) = self.streams.latest.take() else {
            let _running = tasks::local("http2 tunnel", async move {
                let _output = future.await;
            });
            return;
        };
        let (limit, this) = (self.wheel.limit(), self.clone());
        let _running = tasks::local("http2 stream", async move {
            let mut future = pin!(future);
            let mut stuck = None;
            poll_fn(|cx| {
                if future.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                if pace.waiting.get() {
                    stuck = None;
                    limit.clear();
                } else if pace.moved.take() || stuck.is_none() {
                    stuck = Some(this.stuck(this.patience));
                    limit.set(LOOK);
                }
                ready!(limit.poll(cx));
                let over = stuck.as_mut().is_some_and(|stuck| this.is_over(stuck));
                if (over || pace.is_wanted_elsewhere()) && this.gives_up() {
                    return Poll::Ready(());
                }
                limit.set(LOOK);
                limit.poll(cx)
            })
            .await;
        });
    }
}

/// How long a stream may stand still: longer than a connection on which nothing else goes
/// on, which ends as a whole.
const STILL: Duration = Pace::PATIENCE.saturating_add(Duration::from_secs(2));
/// Between two looks at one.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes that are made ready for a socket that takes none.
const READY: usize = 128 * 1024;
/// The largest piece of an answer that one stream gives at a time: a frame.
const LARGE: usize = 16 * 1024;
/// The same where there are many streams.
const SMALL: usize = 2 * 1024;
