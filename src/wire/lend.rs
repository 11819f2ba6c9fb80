//! `Lender`: a body given to somebody who would keep it for good, with a way to get it back
//! and to learn how its reading went.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::body::{Body, BodyLength, Frame};
use super::error::BodyError;
use crate::clock;

/// The lender's end.
#[derive(Clone, Debug)]
pub struct Lender(Rc<RefCell<State>>);

/// The borrower's end: a body until it is taken back.
#[derive(Debug)]
pub struct Loan(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    body: Option<Body>,
    failed: Option<BodyError>,
    waited: bool,
    over: Option<Instant>,
    owner: Option<Waker>,
    /// Who waits for the next piece.
    borrower: Option<Waker>,
    /// Pieces that have been read, the end included.
    moves: u64,
}

impl Lender {
    /// Lends a body.
    #[must_use]
    pub fn lend(body: Body) -> (Self, Body) {
        let over = body.is_over().then(clock::now);
        let state = State {
            body: Some(body),
            failed: None,
            waited: false,
            over,
            owner: None,
            borrower: None,
            moves: 0,
        };
        let state = Rc::new(RefCell::new(state));
        (Self(Rc::clone(&state)), Body::Lent(Loan(state)))
    }

    /// Takes back what has not been read; for the borrower the body then fails.
    #[must_use]
    pub fn take_back(&self) -> Option<Body> {
        let mut state = self.0.borrow_mut();
        let (body, borrower) = (state.body.take(), state.borrower.take());
        drop(state);
        if let Some(borrower) = borrower {
            borrower.wake();
        }
        body
    }

    /// How many pieces have been read, the end included.
    #[must_use]
    pub fn moves(&self) -> u64 {
        self.0.borrow().moves
    }

    /// Whether the body has been read to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.borrow().over.is_some()
    }

    /// The body may take its time from now on: somebody else sees to it that the exchange
    /// does not stand still.
    pub fn unhurried(&self) {
        if let Some(body) = &mut self.0.borrow_mut().body {
            body.unhurried();
        }
    }

    /// Why the body failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<BodyError> {
        self.0.borrow().failed.clone()
    }

    /// Whether the body has had to be waited for and is not over.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        let state = self.0.borrow();
        state.waited && state.over.is_none()
    }

    /// Ready when the body has been read to its end: when that was, if it had to be waited
    /// for. The task is also woken when it has to be waited for the first time.
    pub fn poll_over(&self, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        let mut state = self.0.borrow_mut();
        match state.over {
            Some(at) => Poll::Ready(state.waited.then_some(at)),
            None => {
                state.owner = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Loan {
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut state = self.0.borrow_mut();
        let State { body: Some(body), .. } = &mut *state else {
            return Poll::Ready(Some(Err(BodyError::cancel())));
        };
        let polled = body.poll_next(cx);
        let over = body.is_over();
        state.moves += u64::from(polled.is_ready());
        match &polled {
            Poll::Pending => {
                state.borrower = Some(cx.waker().clone());
                if !std::mem::replace(&mut state.waited, true)
                    && let Some(owner) = state.owner.take()
                {
                    owner.wake();
                }
            }
            Poll::Ready(Some(Err(error))) => state.failed = Some(error.clone()),
            Poll::Ready(Some(Ok(_))) if !over => {}
            Poll::Ready(Some(Ok(_)) | None) => {
                state.over.get_or_insert_with(clock::now);
            }
        }
        if state.over.is_some()
            && let Some(owner) = state.owner.take()
        {
            owner.wake();
        }
        // Why it failed is the owner's to know: the other side is told that it is over.
        polled.map(|next| next.map(|piece| piece.map_err(|_| BodyError::cancel())))
    }

    pub(super) fn length(&self) -> BodyLength {
        self.0.borrow().body.as_ref().map_or(BodyLength::None, Body::length)
    }

    pub(super) fn left(&self) -> BodyLength {
        self.0.borrow().body.as_ref().map_or(BodyLength::None, Body::left)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().body.as_ref().is_some_and(Body::is_over)
    }
}
