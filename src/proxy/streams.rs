//! The streams of one HTTP/2 connection: how many there are, who keeps whom waiting, and the
//! end of one whose caller does not read. Apart from the serving because the body of an
//! answer and the task of a stream report here, too.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::Wheel;
use crate::tasks;
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
    /// The stream whose task is spawned next.
    latest: RefCell<Option<Rc<Pace>>>,
}

/// How a stream's answer goes.
#[derive(Debug, Default)]
struct Pace {
    /// Its next piece is not here yet, or it has no answer yet.
    waiting: Cell<bool>,
    /// The caller has taken something since this was last looked at.
    moved: Cell<bool>,
}

/// One stream, from its request to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Stream {
    all: Rc<Streams>,
    pace: Rc<Pace>,
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
            latest: RefCell::default(),
        })
    }

    /// Opens one.
    pub(super) fn open(self: &Rc<Self>) -> Stream {
        self.active.set(self.active.get() + 1);
        self.waiting.set(self.waiting.get() + 1);
        self.opened.set(self.opened.get() + 1);
        let pace = Rc::new(Pace { waiting: Cell::new(true), moved: Cell::new(false) });
        self.latest.replace(Some(Rc::clone(&pace)));
        Stream { all: Rc::clone(self), pace }
    }

    /// How many there are.
    pub(super) fn active(&self) -> usize {
        self.active.get()
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
    /// turn of the connection.
    pub(super) fn release(&self) {
        if !self.watch.is_blocked() {
            self.given.set(0);
            let held = self.held.take();
            held.into_iter().for_each(Waker::wake);
        }
    }
}

impl Stream {
    /// The head of its answer is here.
    pub(super) fn answered(&self) {
        self.set_waiting(false);
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
/// nothing of what is ready: the stream is reset, and the others go on.
#[derive(Clone, Debug)]
pub(super) struct StreamTasks {
    streams: Rc<Streams>,
    wheel: Rc<Wheel>,
    idle: Duration,
}

impl StreamTasks {
    /// For the streams of a connection; `idle` is how long one may stand still (zero: as
    /// long as it likes).
    pub(super) fn new(streams: Rc<Streams>, wheel: Rc<Wheel>, idle: Duration) -> Self {
        Self { streams, wheel, idle }
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
        let (limit, idle) = (self.wheel.limit(), self.idle);
        let _running = tasks::local("http2 stream", async move {
            let mut future = pin!(future);
            poll_fn(|cx| {
                if future.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                if pace.waiting.get() {
                    limit.clear();
                } else if pace.moved.take() || !limit.is_set() {
                    limit.set(idle);
                }
                limit.poll(cx)
            })
            .await;
        });
    }
}

/// Bytes that are made ready for a socket that takes none.
const READY: usize = 128 * 1024;
/// The largest piece of an answer that one stream gives at a time: a frame.
const LARGE: usize = 16 * 1024;
/// The same where there are many streams.
const SMALL: usize = 2 * 1024;
