//! HTTP/1.1 read from a socket, strictly and by hand. Apart from the proxy's own parser on
//! purpose: the fake servers and clients judge what the proxy writes, so they must not
//! forgive what it forgives.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection and what was read from it ahead of need.
#[derive(Debug)]
pub struct Pipe {
    /// The socket, for options and raw reads.
    pub stream: TcpStream,
    held: Vec<u8>,
    at: usize,
}

/// Why nothing more can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The peer closed before the first byte of what was asked for.
    Closed,
    /// The peer closed or reset in the middle of it.
    Cut,
    /// The peer reset the connection before the first byte.
    Reset,
    /// Nothing came in time.
    Late,
    /// It was not HTTP/1.1 as it must be written.
    Garbage(String),
}

/// The first line and the fields of a message, or the fields of a trailer.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// All bytes, the empty line included.
    pub raw: Vec<u8>,
    /// The first line.
    pub first: String,
    /// Names in lower case, values trimmed, one character a byte.
    pub fields: Vec<(String, String)>,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Exactly so many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// To the end of the connection.
    UntilClose,
}

impl Pipe {
    /// Reads from that socket, with a bound on each wait.
    pub fn new(stream: TcpStream, patience: Duration) -> Self {
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.set_write_timeout(Some(patience)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, held: Vec::new(), at: 0 }
    }

    /// Sends everything; `false` when the peer is gone or does not read.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Some bytes that were not read yet, at least one.
    pub fn some(&mut self) -> Result<Vec<u8>, Broken> {
        if self.at == self.held.len() {
            self.fill()?;
        }
        let bytes = self.held.split_off(self.at);
        self.held.clear();
        self.at = 0;
        Ok(bytes)
    }

    /// The head of the next message.
    pub fn head(&mut self) -> Result<Head, Broken> {
        let mut looked = self.at;
        loop {
            let from = looked.saturating_sub(3).max(self.at);
            let end = find(&self.held[from..], b"\r\n\r\n");
            if let Some(end) = end {
                let raw = self.held[self.at..from + end + 4].to_vec();
                self.at = from + end + 4;
                return Head::parse(raw).map_err(Broken::Garbage);
            }
            if self.held.len() - self.at > HEAD_MAX {
                return Err(Broken::Garbage(format!("a head above {HEAD_MAX} bytes")));
            }
            self.tidy(&mut looked);
            let begun = self.at < self.held.len();
            looked = self.held.len();
            self.fill().map_err(|broken| if begun { cut(broken) } else { broken })?;
        }
    }

    /// The whole body, and the trailer when it is chunked. On failure what came before it.
    pub fn body(&mut self, framing: Framing) -> (Vec<u8>, Result<Head, Broken>) {
        let mut body = Vec::new();
        let end = self.each_piece(framing, |piece| body.extend_from_slice(piece));
        (body, end)
    }

    /// The body piece by piece, without keeping it.
    pub fn each_piece(
        &mut self,
        framing: Framing,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Head, Broken> {
        match framing {
            Framing::Length(length) => {
                self.exactly(length, &mut take)?;
                Ok(Head::default())
            }
            Framing::UntilClose => loop {
                match self.some() {
                    Ok(piece) => take(&piece),
                    Err(Broken::Closed) => return Ok(Head::default()),
                    Err(broken) => return Err(cut(broken)),
                }
            },
            Framing::Chunked => loop {
                match self.chunk_size()? {
                    0 => return self.trailer(),
                    size => self.exactly(size, &mut take)?,
                }
                let end = self.line()?;
                if !end.is_empty() {
                    return Err(Broken::Garbage(format!("after a chunk: {end:?}")));
                }
            },
        }
    }

    /// One chunk of a chunked body; empty at the end, whose trailer is left unread.
    pub fn chunk(&mut self) -> Result<Vec<u8>, Broken> {
        let size = self.chunk_size()?;
        let mut chunk = Vec::new();
        if size > 0 {
            self.exactly(size, &mut |piece| chunk.extend_from_slice(piece))?;
            self.line()?;
        }
        Ok(chunk)
    }

    /// The fields after the last chunk.
    pub fn trailer(&mut self) -> Result<Head, Broken> {
        let mut lines = b"trailer\r\n".to_vec();
        loop {
            let line = self.line()?;
            lines.extend_from_slice(line.as_bytes());
            lines.extend_from_slice(b"\r\n");
            if line.is_empty() {
                return Head::parse(lines).map_err(Broken::Garbage);
            }
        }
    }

    fn chunk_size(&mut self) -> Result<u64, Broken> {
        let line = self.line()?;
        let digits = !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit());
        let size = u64::from_str_radix(&line, 16).ok().filter(|_| digits);
        size.ok_or_else(|| Broken::Garbage(format!("chunk size {line:?}")))
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            let rest = &self.held[self.at..];
            if let Some(end) = find(rest, b"\n") {
                let line = rest[..end].to_vec();
                self.at += end + 1;
                let Some(line) = line.strip_suffix(b"\r") else {
                    return Err(Broken::Garbage("a line that ends without CR".into()));
                };
                return Ok(line.iter().map(|b| char::from(*b)).collect());
            }
            self.tidy(&mut 0);
            self.fill().map_err(cut)?;
        }
    }

    fn exactly(&mut self, size: u64, take: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
        let mut left = size;
        while left > 0 {
            if self.at == self.held.len() {
                self.tidy(&mut 0);
                self.fill().map_err(cut)?;
            }
            let here = (self.held.len() - self.at).min(usize::try_from(left).unwrap());
            take(&self.held[self.at..self.at + here]);
            self.at += here;
            left -= here as u64;
        }
        Ok(())
    }

    /// Forgets what was read, so that a long connection does not grow.
    fn tidy(&mut self, looked: &mut usize) {
        self.held.drain(..self.at);
        *looked = looked.saturating_sub(self.at);
        self.at = 0;
    }

    fn fill(&mut self) -> Result<(), Broken> {
        let begin = self.held.len();
        self.held.resize(begin + READ, 0);
        let got = loop {
            match self.stream.read(&mut self.held[begin..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                got => break got,
            }
        };
        self.held.truncate(begin + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => Err(Broken::Closed),
            Ok(_) => Ok(()),
            Err(error) if is_late(error.kind()) => Err(Broken::Late),
            Err(_) => Err(Broken::Reset),
        }
    }
}

impl Head {
    /// Takes a head apart, refusing what RFC 9112 forbids to write.
    pub fn parse(raw: Vec<u8>) -> Result<Self, String> {
        let text: String = raw.iter().map(|b| char::from(*b)).collect();
        let lines: Vec<&str> =
            text.strip_suffix("\r\n\r\n").unwrap_or(&text).split("\r\n").collect();
        let control = |c: char| (c.is_ascii_control() && c != '\t') || c == '\u{7f}';
        if let Some(line) = lines.iter().find(|line| line.contains(control)) {
            return Err(format!("a control character in {line:?}"));
        }
        let mut fields = Vec::new();
        for line in lines[1..].iter().filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                return Err(format!("a field without a colon: {line:?}"));
            };
            if name.is_empty() || !name.chars().all(is_token) {
                return Err(format!("a field name {name:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { first: lines[0].to_owned(), raw, fields })
    }

    /// The value of a field that occurs once; several are joined by `, `.
    pub fn field(&self, name: &str) -> Option<String> {
        let values = self.all(name);
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(field, _)| field == name);
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// One of the words of the first line.
    pub fn word(&self, place: usize) -> &str {
        self.first.split(' ').nth(place).unwrap_or_default()
    }

    /// How long the body of this message is, or why that cannot be said.
    pub fn framing(&self, without: Framing) -> Result<Framing, String> {
        let (lengths, codings) =
            (self.all("content-length"), self.all("transfer-encoding"));
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(without),
            ([], ["chunked"]) => Ok(Framing::Chunked),
            ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => length
                .parse()
                .map(Framing::Length)
                .map_err(|_| format!("content-length {length:?}")),
            _ => {
                Err(format!("content-length {lengths:?}, transfer-encoding {codings:?}"))
            }
        }
    }
}

/// Where `needle` is in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

fn is_late(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn cut(broken: Broken) -> Broken {
    match broken {
        Broken::Closed | Broken::Reset => Broken::Cut,
        Broken::Cut | Broken::Late | Broken::Garbage(_) => broken,
    }
}

const READ: usize = 32 * 1024;
const HEAD_MAX: usize = 1024 * 1024;
