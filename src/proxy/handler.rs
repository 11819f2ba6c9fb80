//! `Handler`: the future in which a request is handled, kept with its memory and lent from one
//! request to the next.
//!
//! It is some kilobytes large, and to make one is to copy all of them: for a small request
//! that costs as much as a system call. So each is made once, waits for its next request
//! between two of them, and belongs to the worker while it waits. One that panicked, or whose
//! request was given up half-way, is thrown away.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::caller::Caller;
use super::error::ProxyError;
use super::hygiene::Head;
use super::outgoing::Reply;
use super::reply::Speech;
use super::worker::Worker;
use crate::wire::Body;

/// Futures that wait for a request.
#[derive(Default)]
pub(super) struct Handlers(RefCell<Vec<Future>>);

/// One request that is being handled.
pub(super) struct Handler {
    worker: Rc<Worker>,
    /// `None` once it has panicked.
    future: Option<Future>,
}

struct Future {
    desk: Rc<Desk>,
    work: Pin<Box<dyn std::future::Future<Output = Infallible>>>,
}

/// Where a request is laid down for a future, and its answer by it.
#[derive(Default)]
struct Desk {
    job: Cell<Option<Job>>,
    reply: Cell<Option<Reply>>,
}

struct Job {
    worker: Rc<Worker>,
    caller: Rc<Caller>,
    head: Head,
    body: Body,
}

/// A worker keeps no more than these: some 600 KB.
const MOST: usize = 128;

impl Handler {
    /// Begins to handle a request.
    pub(super) fn begin(
        worker: &Rc<Worker>,
        caller: &Rc<Caller>,
        head: Head,
        body: Body,
    ) -> Self {
        let waiting = worker.handlers.0.borrow_mut().pop();
        let future = waiting.unwrap_or_else(Future::new);
        let (worker, caller) = (Rc::clone(worker), Rc::clone(caller));
        let job = Job { worker: Rc::clone(&worker), caller, head, body };
        future.desk.job.set(Some(job));
        Self { worker, future: Some(future) }
    }

    /// Goes on with it; its answer, after which this is not to be polled again. A panic is
    /// said in the log, and answered.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reply> {
        let Some(mut future) = self.future.take() else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| future.work.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Ready(never)) => match never {},
            Ok(Poll::Pending) => {}
            Err(_) => {
                tracing::error!("a request panicked: this is a defect of switchback");
                let error = ProxyError::Internal;
                return Poll::Ready(self.worker.refuse(&error, None, Speech::PLAIN));
            }
        }
        match future.desk.reply.take() {
            Some(reply) => {
                self.worker.handlers.take_back(future);
                Poll::Ready(reply)
            }
            None => {
                self.future = Some(future);
                Poll::Pending
            }
        }
    }

    /// Waits for the answer.
    pub(super) async fn answer(mut self) -> Reply {
        poll_fn(|cx| self.poll(cx)).await
    }
}

impl Handlers {
    fn take_back(&self, future: Future) {
        let mut all = self.0.borrow_mut();
        if all.len() < MOST {
            all.push(future);
        }
    }
}

impl Future {
    fn new() -> Self {
        let desk = Rc::<Desk>::default();
        let work = Box::pin(work(Rc::clone(&desk)));
        Self { desk, work }
    }
}

async fn work(desk: Rc<Desk>) -> Infallible {
    loop {
        let Job { worker, caller, head, body } = poll_fn(|_| match desk.job.take() {
            Some(job) => Poll::Ready(job),
            None => Poll::Pending,
        })
        .await;
        let reply = worker.handle(&caller, head, body).await;
        desk.reply.set(Some(reply));
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handlers").field(&self.0.borrow().len()).finish()
    }
}
