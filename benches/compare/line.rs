//! One HTTP/1.1 connection to the proxy, plain or over TLS.
//!
//! Apart from the loop that keeps many of them busy.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Poll, Token};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::framing;
use crate::tally::text;

/// The longest answer with its head, in bytes.
const LONGEST: usize = 16 * 1024;

/// One connection.
pub(crate) struct Line {
    stream: Stream,
    /// When the request that is under way was due.
    pub(crate) due: Instant,
    sent: usize,
    buffer: Vec<u8>,
    filled: usize,
    /// Length of the whole answer once its head has come.
    needed: Option<framing::Head>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection that is registered for both directions.
pub(crate) fn connect(
    to: SocketAddr,
    poll: &Poll,
    place: usize,
) -> Result<TcpStream, String> {
    let stream = std::net::TcpStream::connect(to).map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    stream.set_nonblocking(true).map_err(text)?;
    let mut stream = TcpStream::from_std(stream);
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut stream, Token(place), interest).map_err(text)?;
    Ok(stream)
}

impl Line {
    pub(crate) fn open(
        to: SocketAddr,
        poll: &Poll,
        place: usize,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, String> {
        let tcp = connect(to, poll, place)?;
        let stream = match tls {
            None => Stream::Plain(tcp),
            Some(config) => {
                let name = "localhost".try_into().map_err(text)?;
                let tls =
                    ClientConnection::new(Arc::clone(config), name).map_err(text)?;
                Stream::Tls(Box::new(StreamOwned::new(tls, tcp)))
            }
        };
        Ok(Self {
            stream,
            due: Instant::now(),
            // Nothing to send until there is a request.
            sent: usize::MAX,
            buffer: vec![0; LONGEST],
            filled: 0,
            needed: None,
        })
    }

    /// Begins a request; [`Self::push`] sends it.
    pub(crate) fn begin(&mut self, due: Instant) {
        self.due = due;
        self.sent = 0;
        self.filled = 0;
        self.needed = None;
    }

    /// Sends what the socket takes of the request.
    pub(crate) fn push(&mut self, request: &[u8]) -> Result<(), String> {
        while let Some(rest) = request.get(self.sent..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        match self.stream.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Reads what has come; `true` when the answer is whole.
    pub(crate) fn pull(&mut self) -> Result<bool, String> {
        loop {
            let space = self.buffer.len() - self.filled;
            let got = match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err("the connection was closed".into()),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.to_string()),
            };
            self.filled += got;
            if self.needed.is_none() {
                self.needed = framing::head(&self.buffer[..self.filled]);
            }
            if let Some(head) = self.needed {
                match self.filled.cmp(&head.len.saturating_add(head.body)) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => return Ok(true),
                    std::cmp::Ordering::Greater => {
                        return Err("more came than the answer".into());
                    }
                }
            }
            // A short read has emptied the socket; what comes later is a new event. A TLS
            // record ends where it likes.
            if got < space && matches!(self.stream, Stream::Plain(_)) {
                return Ok(false);
            }
        }
    }

    /// Which of the two is the body of the whole answer that came.
    ///
    /// # Errors
    /// What came, when it is neither.
    pub(crate) fn judge(&mut self, answers: &[Vec<u8>; 2]) -> Result<usize, String> {
        let answer = &self.buffer[..self.filled];
        let body = self.needed.take().map_or(&[][..], |head| &answer[head.len..]);
        let from = answers.iter().position(|expected| expected == body);
        self.sent = usize::MAX;
        from.filter(|_| answer.get(8..12) == Some(b" 200")).ok_or_else(|| {
            let seen = String::from_utf8_lossy(&answer[..answer.len().min(120)]);
            format!("not the answer that the server gave: {seen:?}")
        })
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
