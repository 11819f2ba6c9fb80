//! Buffers between two messages. A connection that waits holds none, and one that begins to
//! read or to write takes what another of its worker has just left: warm, and without the
//! allocator.

use std::cell::RefCell;

use bytes::BytesMut;

/// A worker keeps no more than this; of the usual kind they are 512 KiB together.
const MOST: usize = 64;

/// What has grown beyond this goes back to the allocator.
const LARGEST: usize = 16 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Gives a buffer an allocation if it has none. Room must be made in it all the same: a part
/// may still be somebody's.
pub(super) fn lend(buffer: &mut BytesMut) {
    if buffer.capacity() == 0
        && let Some(spare) = SPARE.with_borrow_mut(Vec::pop)
    {
        *buffer = spare;
    }
}

/// Takes the allocation of an empty buffer back.
pub(super) fn give_back(buffer: &mut BytesMut) {
    let spare = std::mem::take(buffer);
    if (1..=LARGEST).contains(&spare.capacity()) && spare.is_empty() {
        SPARE.with_borrow_mut(|all| {
            if all.len() < MOST {
                all.push(spare);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{MOST, SPARE, give_back, lend};

    #[test]
    fn an_allocation_goes_from_one_connection_to_the_next() {
        let mut first = BytesMut::with_capacity(8192);
        first.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        let head = first.split().freeze();
        let place = head.as_ptr();
        give_back(&mut first);
        assert_eq!(first.capacity(), 0);
        let mut second = BytesMut::new();
        lend(&mut second);
        // As long as the head is somebody's, what is read next goes elsewhere.
        second.reserve(8192);
        second.extend_from_slice(b"POST");
        assert_eq!(&head[..3], b"GET");
        assert_ne!(second.as_ptr(), place);
        second.clear();
        let place = second.as_ptr();
        drop(head);
        give_back(&mut second);
        let mut third = BytesMut::new();
        lend(&mut third);
        third.reserve(8192);
        assert_eq!(third.as_ptr(), place);
    }

    #[test]
    fn there_are_not_many_and_none_with_bytes_in_it() {
        let mut full = BytesMut::from(&b"rest"[..]);
        give_back(&mut full);
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
        for _ in 0..2 * MOST {
            give_back(&mut BytesMut::with_capacity(64));
        }
        assert_eq!(SPARE.with_borrow(Vec::len), MOST);
    }
}
