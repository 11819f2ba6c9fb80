//! `Keep`: a body that leaves a bounded copy behind, for a second try and for the cache's
//! key.
//!
//! Large pieces are kept by reference; small ones are gathered, so that a body of single
//! bytes costs no more memory than it has bytes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use super::body::{Body, BodyLength, Frame};
use super::error::BodyError;

/// Pieces of a body in order.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

/// A body of which a bounded copy is kept while it is read.
#[derive(Debug)]
pub struct Keep {
    inner: Body,
    copy: Rc<RefCell<State>>,
    bound: usize,
}

/// The copy that a [`Keep`] leaves, for whoever has given the body itself away; none is
/// needed of a body of nothing.
#[derive(Clone, Debug)]
pub struct Copy(Option<Rc<RefCell<State>>>);

#[derive(Debug)]
struct State {
    /// `None` once something could not be kept.
    kept: Option<Kept>,
    over: bool,
    /// What is noted of the body whether or not it is kept, and how much of the body has
    /// passed here.
    start: Option<(Beginning, u64)>,
}

/// The beginning of a body as far as it has been read, which stays when the body and its
/// copy have gone.
#[derive(Clone, Debug)]
pub struct Beginning(Rc<RefCell<Start>>);

#[derive(Debug)]
struct Start {
    bytes: Vec<u8>,
    most: usize,
    seen: u64,
}

/// Pieces below this are gathered: one kept by reference holds its whole read buffer.
const GATHER: usize = 16 * 1024;

impl Kept {
    /// How many bytes are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, without taking them.
    #[must_use]
    pub fn pieces(&self) -> Vec<Bytes> {
        let tail = Bytes::copy_from_slice(&self.tail);
        self.pieces.iter().cloned().chain((!tail.is_empty()).then_some(tail)).collect()
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, bytes: &Bytes) {
        self.len += bytes.len();
        if bytes.len() < GATHER {
            self.tail.extend_from_slice(bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(bytes.clone());
    }

    /// Takes the first piece.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let first = match self.pieces.pop_front() {
            Some(bytes) => bytes,
            None if self.tail.is_empty() => return None,
            None => self.tail.split().freeze(),
        };
        self.len -= first.len();
        Some(first)
    }
}

impl Keep {
    /// Wraps a body; of one that is longer than `bound` bytes nothing is kept.
    #[must_use]
    pub fn wrap(inner: Body, bound: usize) -> Body {
        Self::with(inner, bound, None)
    }

    /// The same, with its first `most` bytes noted as well where it is kept at all; of 0
    /// bytes nothing is noted.
    #[must_use]
    pub fn noting(inner: Body, bound: usize, most: usize) -> Body {
        let start = (most > 0).then(|| Beginning::new(most));
        Self::with(inner, bound, start)
    }

    fn with(inner: Body, bound: usize, start: Option<Beginning>) -> Body {
        let fits = match inner.length() {
            BodyLength::None => return Body::Empty,
            BodyLength::Exact(length) => length <= bound as u64,
            BodyLength::Unknown => true,
        };
        if !fits {
            return inner;
        }
        let (kept, start) = (Some(Kept::default()), start.map(|start| (start, 0)));
        let copy = Rc::new(RefCell::new(State { kept, over: false, start }));
        Body::Keep(Box::new(Self { inner, copy, bound }))
    }

    /// The body from its beginning again, if all that was read of it has been kept.
    #[must_use]
    pub fn again(body: Body) -> Option<Body> {
        match body {
            Body::Empty => Some(Body::Empty),
            Body::Keep(keep) => {
                let Self { inner, copy, bound } = *keep;
                let kept = copy.borrow_mut().kept.take()?;
                let again = Body::Again(kept, Box::new(inner));
                Some(Self::with(again, bound, Copy(Some(copy)).beginning()))
            }
            Body::Full(_)
            | Body::Again(..)
            | Body::Read(..)
            | Body::Lent(_)
            | Body::Request(_)
            | Body::Answer(_)
            | Body::Stream(_)
            | Body::Trailers(_) => None,
        }
    }

    /// Whether [`Keep::again`] would give the body back.
    #[must_use]
    pub fn is_again(body: &Body) -> bool {
        match body {
            Body::Empty => true,
            Body::Keep(keep) => keep.copy.borrow().kept.is_some(),
            Body::Full(_)
            | Body::Again(..)
            | Body::Read(..)
            | Body::Lent(_)
            | Body::Request(_)
            | Body::Answer(_)
            | Body::Stream(_)
            | Body::Trailers(_) => false,
        }
    }

    /// The copy that this body leaves, if it leaves one.
    #[must_use]
    pub fn copy(body: &Body) -> Option<Copy> {
        match body {
            Body::Keep(keep) => Some(Copy(Some(Rc::clone(&keep.copy)))),
            Body::Empty => Some(Copy(None)),
            Body::Full(_)
            | Body::Again(..)
            | Body::Read(..)
            | Body::Lent(_)
            | Body::Request(_)
            | Body::Answer(_)
            | Body::Stream(_)
            | Body::Trailers(_) => None,
        }
    }

    pub(super) fn inner(&self) -> &Body {
        &self.inner
    }

    pub(super) fn inner_mut(&mut self) -> &mut Body {
        &mut self.inner
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = ready!(self.inner.poll_next(cx));
        let mut state = self.copy.borrow_mut();
        if let (Some((start, passed)), Some(Ok(frame))) = (&mut state.start, &frame)
            && let Some(bytes) = frame.data_ref()
        {
            start.see(*passed, bytes);
            *passed += bytes.len() as u64;
        }
        match &frame {
            Some(Ok(frame)) => match (frame.data_ref(), &mut state.kept) {
                (Some(bytes), Some(kept)) if kept.len() + bytes.len() <= self.bound => {
                    kept.push(bytes);
                }
                // Trailers are not kept: such a request is asked once.
                (_, kept) => *kept = None,
            },
            Some(Err(_)) => state.kept = None,
            None => {}
        }
        state.over |= frame.is_none() || self.inner.is_over();
        drop(state);
        Poll::Ready(frame)
    }
}

impl Copy {
    /// What is noted of the beginning of the body, if anything is.
    #[must_use]
    pub fn beginning(&self) -> Option<Beginning> {
        let state = self.0.as_ref()?.borrow();
        state.start.as_ref().map(|(start, _)| start.clone())
    }

    /// The whole body, if it was read to its end and kept.
    #[must_use]
    pub fn whole(&self) -> Option<Kept> {
        let Some(state) = &self.0 else { return Some(Kept::default()) };
        let state = state.borrow();
        if state.over { state.kept.clone() } else { None }
    }

    /// The whole body to be read again, if it was read to its end and kept.
    #[must_use]
    pub fn again(&self, bound: usize) -> Option<Body> {
        let again = Body::Again(self.whole()?, Box::new(Body::Empty));
        Some(Keep::with(again, bound, self.beginning()))
    }
}

impl Beginning {
    /// One of at most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Rc::new(RefCell::new(Start { bytes: Vec::new(), most, seen: 0 })))
    }

    /// Takes note of bytes that stand so far behind the body's first; what was seen before,
    /// as in a body that is read again, is not noted twice.
    pub fn see(&self, at: u64, bytes: &[u8]) {
        let mut start = self.0.borrow_mut();
        let known = usize::try_from(start.seen.saturating_sub(at)).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..) else { return };
        start.seen += new.len() as u64;
        let room = start.most - start.bytes.len();
        start.bytes.extend_from_slice(&new[..new.len().min(room)]);
    }

    /// Takes note of the next bytes.
    pub fn push(&self, bytes: &[u8]) {
        let seen = self.0.borrow().seen;
        self.see(seen, bytes);
    }

    /// Forgets all of it: another body begins.
    pub fn clear(&self) {
        let mut start = self.0.borrow_mut();
        start.bytes.clear();
        start.seen = 0;
    }

    /// Whether nothing more will be noted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let start = self.0.borrow();
        start.seen > start.most as u64
    }

    /// Calls with the bytes and with how many were seen.
    pub fn read<T>(&self, with: impl FnOnce(&[u8], u64) -> T) -> T {
        let start = self.0.borrow();
        with(&start.bytes, start.seen)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Keep, Kept};
    use crate::wire::body::{Body, BodyLength};

    fn source(sizes: &[usize]) -> (Body, Vec<u8>) {
        let (mut kept, mut all) = (Kept::default(), Vec::new());
        for (number, size) in sizes.iter().enumerate() {
            let piece = vec![u8::try_from(number).unwrap(); *size];
            all.extend_from_slice(&piece);
            kept.push(&Bytes::from(piece));
        }
        (Body::Again(kept, Box::new(Body::Empty)), all)
    }

    fn read(body: &mut Body, pieces: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..pieces {
                match poll_fn(|cx| body.poll_next(cx)).await {
                    Some(frame) => {
                        let bytes = frame.unwrap().into_data().unwrap();
                        all.extend_from_slice(&bytes);
                    }
                    None => break,
                }
            }
        });
        all
    }

    proptest! {
        #[test]
        fn a_body_can_be_read_again_from_wherever_it_was_left(
            sizes in prop::collection::vec(0usize..3_000, 0..8),
            first in 0usize..10,
            second in 0usize..10,
        ) {
            let (body, all) = source(&sizes);
            let mut body = Keep::wrap(body, 1 << 20);
            let part = read(&mut body, first);
            prop_assert!(all.starts_with(&part));
            let mut body = Keep::again(body).unwrap();
            let total = if all.is_empty() { BodyLength::None } else { BodyLength::Exact(all.len() as u64) };
            prop_assert_eq!(body.length(), total);
            read(&mut body, second);
            let mut body = Keep::again(body).unwrap();
            prop_assert_eq!(&read(&mut body, 1_000), &all);
            let whole: Vec<u8> = Keep::copy(&body).unwrap().whole().unwrap().pieces().concat();
            prop_assert_eq!(whole, all);
        }
    }

    #[test]
    fn a_beginning_is_noted_once_however_often_a_body_is_read() {
        for most in [1, 20_001, 100_000] {
            // Large enough to stay two pieces.
            let (body, all) = source(&[20_000, 20_000]);
            let mut body = Keep::noting(body, 1 << 20, most);
            let start = Keep::copy(&body).unwrap().beginning().unwrap();
            let noted =
                |start: &super::Beginning| start.read(|bytes, n| (bytes.to_vec(), n));
            assert_eq!(noted(&start), (Vec::new(), 0));
            read(&mut body, 1);
            assert_eq!(noted(&start), (all[..most.min(20_000)].to_vec(), 20_000));
            // Sent again, from a copy of the body and from a copy of the copy.
            let mut body = Keep::again(body).unwrap();
            read(&mut body, 100);
            let copy = Keep::copy(&body).unwrap();
            read(&mut copy.again(1 << 20).unwrap(), 100);
            assert_eq!(noted(&start), (all[..most.min(40_000)].to_vec(), 40_000));
        }
        let (body, _) = source(&[5_000, 5_000]);
        assert!(Keep::copy(&Keep::noting(body, 9_999, 100)).is_none());
        let (body, _) = source(&[5]);
        let plain = Keep::copy(&Keep::noting(body, 100, 0)).unwrap();
        assert!(plain.beginning().is_none());
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let (body, _) = source(&[5_000, 5_000]);
        assert!(matches!(Keep::wrap(body, 9_999), Body::Again(..)));
        let (body, _) = source(&[5_000, 5_000]);
        let mut body = Keep::wrap(body, 10_000);
        read(&mut body, 100);
        assert_eq!(Keep::copy(&body).unwrap().whole().unwrap().len(), 10_000);
    }
}
