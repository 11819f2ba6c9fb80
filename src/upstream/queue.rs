//! `Queue`: those who wait for a connection, first come, first served. Apart from the pool
//! because it knows nothing of connections.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

/// Those who wait; at most [`MOST`].
#[derive(Default)]
pub(super) struct Queue(RefCell<VecDeque<Rc<Ticket>>>);

/// A place among those who wait, which may be taken up.
pub(super) struct Place<'a> {
    queue: &'a Queue,
    ticket: Rc<Ticket>,
}

/// What is known of one who waits.
#[derive(Default)]
struct Ticket {
    waker: Cell<Option<Waker>>,
    queued: Cell<bool>,
    /// It was woken and has not taken anything yet.
    called: Cell<bool>,
}

/// Requests that may wait for a connection.
const MOST: usize = 1024;

impl Queue {
    /// A place that is not taken up yet.
    pub(super) fn place(&self) -> Place<'_> {
        Place { queue: self, ticket: Rc::default() }
    }

    /// Calls the first who still waits.
    pub(super) fn call(&self) {
        while let Some(ticket) = self.0.borrow_mut().pop_front() {
            ticket.queued.set(false);
            if let Some(waker) = ticket.waker.take() {
                ticket.called.set(true);
                waker.wake();
                return;
            }
        }
    }
}

impl Place<'_> {
    /// Queues up, if that is not done; `false` when too many wait.
    pub(super) fn take_up(&self, cx: &Context<'_>) -> bool {
        self.ticket.called.set(false);
        self.ticket.waker.set(Some(cx.waker().clone()));
        if !self.ticket.queued.get() {
            let mut waiting = self.queue.0.borrow_mut();
            if waiting.len() >= MOST {
                return false;
            }
            self.ticket.queued.set(true);
            waiting.push_back(Rc::clone(&self.ticket));
        }
        true
    }

    /// Who was called has taken what it was called for.
    pub(super) fn is_served(&self) {
        self.ticket.called.set(false);
    }
}

/// Who goes without having taken anything leaves it to the next.
impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.ticket.waker.set(None);
        self.queue.0.borrow_mut().retain(|ticket| !Rc::ptr_eq(ticket, &self.ticket));
        if self.ticket.called.get() {
            self.queue.call();
        }
    }
}
