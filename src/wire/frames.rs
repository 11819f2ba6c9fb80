//! The first nine bytes of HTTP/2 frames (RFC 9113 section 4.1), found in a stream of bytes
//! that comes in any pieces.

/// One frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of its payload.
    pub length: u32,
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// The error code of a `RST_STREAM`; 0 for all others.
    pub code: u32,
}

/// Finds the heads.
#[derive(Debug)]
pub struct Heads {
    seen: [u8; LONG],
    have: usize,
    skip: u32,
}

impl Head {
    /// Whether the flag is set.
    #[must_use]
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Heads {
    /// The first head comes after so many bytes.
    #[must_use]
    pub fn after(skip: u32) -> Self {
        Self { seen: [0; LONG], have: 0, skip }
    }

    /// Whether the last frame is whole and the next has not begun.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.have == 0 && self.skip == 0
    }

    /// The kind of a frame whose head has come in part, as far as it can be known.
    #[must_use]
    pub fn begun(&self) -> Option<u8> {
        (self.have > KIND).then(|| self.seen[KIND])
    }

    /// Looks at the bytes that come next.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Head)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let len =
                    bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= u32::try_from(len).unwrap_or(self.skip);
                bytes = &bytes[len..];
                continue;
            }
            let len = bytes.len().min(self.need() - self.have);
            self.seen[self.have..self.have + len].copy_from_slice(&bytes[..len]);
            self.have += len;
            bytes = &bytes[len..];
            if self.have == self.need() {
                let head = self.head();
                let counted = u32::try_from(self.have - SHORT).unwrap_or(0);
                self.skip = head.length.saturating_sub(counted);
                self.have = 0;
                each(head);
            }
        }
    }

    /// Nine bytes, or more when an error code follows.
    fn need(&self) -> usize {
        let reset = [0, 0, 4, kind::RST_STREAM];
        if self.have >= SHORT && self.seen.starts_with(&reset) { LONG } else { SHORT }
    }

    fn head(&self) -> Head {
        let [a, b, c, kind, flags, s0, s1, s2, s3, code @ ..] = self.seen;
        Head {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
            code: if self.have == LONG { u32::from_be_bytes(code) } else { 0 },
        }
    }
}

/// Kinds of frames.
pub(super) mod kind {
    pub(in crate::wire) const DATA: u8 = 0;
    pub(in crate::wire) const HEADERS: u8 = 1;
    pub(in crate::wire) const RST_STREAM: u8 = 3;
    pub(in crate::wire) const SETTINGS: u8 = 4;
    pub(in crate::wire) const GOAWAY: u8 = 7;
    pub(in crate::wire) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::wire) const CONTINUATION: u8 = 9;
}

const SHORT: usize = 9;
const LONG: usize = 13;
/// Where the kind stands.
const KIND: usize = 3;

#[cfg(test)]
mod tests {
    use super::{Head, Heads};

    fn heads(pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<Head>, bool) {
        let (mut heads, mut found) = (Heads::after(3), Vec::new());
        for piece in pieces {
            heads.feed(&piece, |head| found.push(head));
        }
        (found, heads.is_between())
    }

    #[test]
    fn heads_are_found_however_the_bytes_are_cut() {
        let mut bytes = b"PRI".to_vec();
        bytes.extend([0, 0, 2, 0, 1, 0, 0, 0, 3, b'x', b'y']);
        bytes.extend([0, 0, 4, 3, 0, 0x80, 0, 0, 5, 0, 0, 0, 8]);
        bytes.extend([0, 0, 0, 4, 1, 0, 0, 0, 0]);
        bytes.extend([0, 0, 3, 3, 0, 0, 0, 0, 7, 0, 0, 0]);
        let head = |length, kind, flags, stream, code| Head {
            length,
            kind,
            flags,
            stream,
            code,
        };
        let all = vec![
            head(2, 0, 1, 3, 0),
            head(4, 3, 0, 5, 8),
            head(0, 4, 1, 0, 0),
            head(3, 3, 0, 7, 0),
        ];
        for size in 1..=bytes.len() {
            let found = heads(bytes.chunks(size).map(<[u8]>::to_vec));
            assert_eq!(found, (all.clone(), true), "pieces of {size}");
        }
        let short = bytes.len() - 1;
        assert!(!heads(std::iter::once(bytes[..short].to_vec())).1);
    }
}
