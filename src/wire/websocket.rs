//! What is to be known of a WebSocket (RFC 6455) to carry one: the handshake of section 4, and
//! where one frame ends and the next begins, so that a tunnel that is cut can say so.

use aws_lc_rs::digest;

/// A `Sec-WebSocket-Key` of sixteen random bytes.
#[must_use]
pub fn key(random: u128) -> String {
    base64(&random.to_be_bytes())
}

/// The `Sec-WebSocket-Accept` that answers a key (section 4.2.2).
#[must_use]
pub fn accept(key: &str) -> String {
    let both = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, both.as_bytes()).as_ref())
}

/// A close frame with that code (section 7.4); towards a server with its mask.
#[must_use]
pub fn close(code: u16, mask: Option<[u8; 4]>) -> Vec<u8> {
    let [high, low] = code.to_be_bytes();
    match mask {
        None => vec![CLOSE, 2, high, low],
        Some([a, b, c, d]) => {
            vec![CLOSE, 2 | MASKED, a, b, c, d, high ^ a, low ^ b]
        }
    }
}

/// Follows one direction of a WebSocket from frame to frame.
#[derive(Debug, Default)]
pub struct Boundary {
    seen: [u8; HEAD],
    have: usize,
    skip: u64,
    closed: bool,
}

impl Boundary {
    /// Looks at the bytes that come next.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let len = usize::try_from(self.skip)
                    .map_or(bytes.len(), |skip| skip.min(bytes.len()));
                self.skip -= len as u64;
                bytes = &bytes[len..];
                continue;
            }
            let len = bytes.len().min(self.need() - self.have);
            self.seen[self.have..self.have + len].copy_from_slice(&bytes[..len]);
            self.have += len;
            bytes = &bytes[len..];
            if self.have == self.need() {
                self.closed |= self.seen[0] & OPCODE == CLOSE & OPCODE;
                self.skip = self.length();
                self.have = 0;
            }
        }
    }

    /// Whether a close frame may be put here: between two frames, and none was sent.
    #[must_use]
    pub fn may_close(&self) -> bool {
        self.have == 0 && self.skip == 0 && !self.closed
    }

    /// Bytes of the head that is coming, as far as is known.
    fn need(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let extended = match self.seen[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.seen[1] & MASKED == 0 { 0 } else { 4 }
    }

    /// Bytes of the payload.
    fn length(&self) -> u64 {
        let [_, short, a, b, c, d, e, f, g, h, ..] = self.seen;
        match short & !MASKED {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |n: usize| three.get(n).map_or(0, |byte| u32::from(*byte));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4usize {
            let six = bits >> (18 - 6 * digit) & 0x3f;
            let known = digit <= three.len();
            let digit = usize::try_from(six).ok().and_then(|six| DIGITS.get(six));
            text.push(digit.filter(|_| known).map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

const CLOSE: u8 = 0x88;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
/// Bytes of the longest head.
const HEAD: usize = 14;

#[cfg(test)]
mod tests {
    use super::{Boundary, accept, close, key};

    #[test]
    fn the_handshake_is_that_of_the_standard() {
        assert_eq!(key(0), "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(
            key(u128::from_be_bytes(*b"the sample nonce")),
            "dGhlIHNhbXBsZSBub25jZQ=="
        );
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frames_of_every_length_are_followed_however_they_are_cut() {
        let mut bytes = vec![0x81, 0x82, 1, 2, 3, 4, b'h', b'i'];
        bytes.extend([0x01, 126, 1, 0]);
        bytes.extend([0; 256]);
        bytes.extend([0x80, 127 | 0x80, 0, 0, 0, 0, 0, 0, 0, 3, 9, 9, 9, 9, 1, 2, 3]);
        bytes.extend([0x89, 0]);
        let ends = [8, 8 + 260, 8 + 260 + 17, 8 + 260 + 19];
        let mut boundary = Boundary::default();
        for (at, byte) in bytes.iter().enumerate() {
            boundary.feed(&[*byte]);
            assert_eq!(boundary.may_close(), ends.contains(&(at + 1)), "after {at}");
        }
        for size in 1..bytes.len() {
            let mut boundary = Boundary::default();
            bytes.chunks(size).for_each(|piece| boundary.feed(piece));
            assert!(boundary.may_close(), "pieces of {size}");
        }
    }

    #[test]
    fn nothing_is_said_after_a_close() {
        for frame in [close(1001, None), close(1012, Some([1, 2, 3, 4]))] {
            let mut boundary = Boundary::default();
            assert!(boundary.may_close());
            boundary.feed(&frame);
            assert!(!boundary.may_close(), "{frame:?}");
        }
        assert_eq!(close(1001, None), [0x88, 2, 0x03, 0xe9]);
        assert_eq!(close(1001, Some([1, 2, 3, 4])), [0x88, 0x82, 1, 2, 3, 4, 2, 0xeb]);
    }
}
