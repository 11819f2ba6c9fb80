//! Just enough of HTTP/2 (RFC 9113) to call and to answer.
//!
//! Apart because the load and the fake model servers share it and must be cheaper than the
//! proxies between them. No header table (both sides say so), no Huffman, no head over one
//! frame; the window of a stream is taken to be as large as what goes over it, and only that
//! of the connection is kept.

/// What a connection begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;
const HEAD: usize = 9;
/// Bytes after which the window is given back.
const GIVE_BACK: usize = 1 << 24;

/// One frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes` and its whole length, once it is here.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let head = bytes.get(..HEAD)?;
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let end = HEAD + usize::try_from(size).ok()?;
        let payload = bytes.get(HEAD..end)?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some((Self { kind: head[3], flags: head[4], stream, payload }, end))
    }

    /// Whether the stream ends with it.
    pub(crate) fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Whether it is a head that begins with a status of 200.
    pub(crate) fn is_good(&self) -> bool {
        let padded = usize::from(self.flags & PADDED != 0);
        let ranked = 5 * usize::from(self.flags & PRIORITY != 0);
        let block = self.payload.get(padded + ranked..).unwrap_or_default();
        // A new size of the table may stand before it.
        block.iter().find(|byte| **byte >> 5 != 1) == Some(&0x88)
    }
}

/// Appends a frame.
pub(crate) fn write(
    into: &mut Vec<u8>,
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &[u8],
) {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&size.to_be_bytes()[1..]);
    into.extend_from_slice(&[kind, flags]);
    into.extend_from_slice(&stream.to_be_bytes());
    into.extend_from_slice(payload);
}

/// Appends our settings: no header table, streams of 1 MiB, a connection of 1 GiB.
pub(crate) fn greet(into: &mut Vec<u8>) {
    let settings = [0, 1, 0, 0, 0, 0, 0, 4, 0, 16, 0, 0];
    write(into, SETTINGS, 0, 0, &settings);
    write(into, WINDOW, 0, 0, &(1u32 << 30).to_be_bytes());
}

/// Appends a header field that no table remembers: `name` is a place in the static table.
pub(crate) fn known(into: &mut Vec<u8>, name: u8, value: &str) {
    match name.checked_sub(15) {
        None => into.push(name),
        Some(rest) => into.extend_from_slice(&[15, rest]),
    }
    string(into, value);
}

/// The same with a name of its own.
pub(crate) fn named(into: &mut Vec<u8>, name: &str, value: &str) {
    into.push(0);
    string(into, name);
    string(into, value);
}

/// Up to 126 bytes.
fn string(into: &mut Vec<u8>, text: &str) {
    into.push(u8::try_from(text.len()).unwrap_or(126));
    into.extend_from_slice(text.as_bytes());
}

/// What concerns the connection and no stream.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Bytes of data that the other side takes.
    pub(crate) window: i64,
    taken: usize,
}

impl Upkeep {
    pub(crate) fn new() -> Self {
        Self { window: 65_535, taken: 0 }
    }

    /// Sees every frame; what it asks for is appended to `out`.
    ///
    /// # Errors
    /// When the other side ends the connection.
    pub(crate) fn see(
        &mut self,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => write(out, SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => write(out, PING, ACK, 0, frame.payload),
            WINDOW if frame.stream == 0 => {
                let more = frame.payload.first_chunk().copied().unwrap_or_default();
                self.window += i64::from(u32::from_be_bytes(more));
            }
            DATA => {
                self.taken += frame.payload.len();
                if self.taken >= GIVE_BACK {
                    let more = u32::try_from(self.taken).unwrap_or(u32::MAX >> 1);
                    write(out, WINDOW, 0, 0, &more.to_be_bytes());
                    self.taken = 0;
                }
            }
            GOAWAY => return Err("the connection was ended (GOAWAY)".into()),
            _ => {}
        }
        Ok(())
    }

    /// Takes so much of the window, if it is there.
    pub(crate) fn spend(&mut self, size: usize) -> bool {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let enough = self.window >= size;
        if enough {
            self.window -= size;
        }
        enough
    }
}
