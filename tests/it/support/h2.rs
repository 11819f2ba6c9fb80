//! HTTP/2 both ways a test needs it: a well-behaved client and server (the `h2` crate), and
//! a client that writes frames by hand, for what no well-behaved one can say.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream as AsyncStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::client::PATIENCE;
use super::http1::{Broken, Pipe};

/// A well-behaved client on one connection.
pub struct H2Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub struct H2Answer {
    /// Status and fields.
    pub head: Response<()>,
    /// The body.
    pub body: Vec<u8>,
    /// The trailer, if there was one.
    pub trailer: Option<HeaderMap>,
}

impl H2Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    /// The value of a field, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.head.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl H2Client {
    /// A connection by prior knowledge.
    pub fn new(address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = AsyncStream::connect(address).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.ready().await.unwrap()
        });
        Self { runtime, sender }
    }

    /// Asks, with a body and a trailer if there are any.
    pub fn ask(
        &mut self,
        request: Request<()>,
        body: &[u8],
        trailer: Option<HeaderMap>,
    ) -> Result<H2Answer, h2::Error> {
        let mut all = self.ask_all(vec![(request, body.to_vec(), trailer)]);
        all.remove(0)
    }

    /// Asks all at once, each on a stream of its own.
    pub fn ask_all(
        &mut self,
        requests: Vec<(Request<()>, Vec<u8>, Option<HeaderMap>)>,
    ) -> Vec<Result<H2Answer, h2::Error>> {
        let sender = self.sender.clone();
        self.runtime.block_on(async {
            let begin = |(request, body, trailer)| {
                tokio::spawn(exchange(sender.clone(), request, body, trailer))
            };
            let streams: Vec<_> = requests.into_iter().map(begin).collect();
            let mut answers = Vec::new();
            for stream in streams {
                let bounded = tokio::time::timeout(PATIENCE, stream).await;
                answers.push(bounded.expect("an answer in time").unwrap());
            }
            answers
        })
    }
}

async fn exchange(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Vec<u8>,
    trailer: Option<HeaderMap>,
) -> Result<H2Answer, h2::Error> {
    let mut sender = sender.ready().await?;
    let bodiless = body.is_empty() && trailer.is_none();
    let (answer, mut stream) = sender.send_request(request, bodiless)?;
    if !bodiless {
        stream.send_data(body.into(), trailer.is_none())?;
    }
    if let Some(trailer) = trailer {
        stream.send_trailers(trailer)?;
    }
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let trailer = stream.trailers().await?;
    Ok(H2Answer { head: Response::from_parts(head, ()), body, trailer })
}

/// A server that speaks HTTP/2 alone and answers with the request's body, its fields
/// `x-seen-*` and the trailer `x-end: yes`. Goes away at once when dropped.
pub struct H2Server {
    /// Where it is, as `endpoints` writes it.
    pub url: String,
    _life: oneshot::Sender<()>,
}

impl H2Server {
    /// A server on a port of its own.
    pub fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let (life, end) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { () = accept(listener) => {} _ = end => {} }
            });
        });
        Self { url, _life: life }
    }
}

async fn accept(listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: AsyncStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(next) = connection.accept().await {
        let (request, respond) = next?;
        tokio::spawn(answer(request, respond));
    }
    Ok(())
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let cookies: Vec<&str> =
        head.headers.get_all("cookie").iter().map(|c| c.to_str().unwrap()).collect();
    let response = Response::builder()
        .header("x-seen-path", head.uri.path())
        .header("x-seen-cookies", cookies.join("|"))
        .body(())
        .unwrap();
    let mut send = respond.send_response(response, false)?;
    send.send_data(body.into(), false)?;
    let mut trailer = HeaderMap::new();
    trailer.insert("x-end", "yes".parse().unwrap());
    send.send_trailers(trailer)
}

/// A client that writes frames by hand.
#[derive(Debug)]
pub struct Frames {
    pipe: Pipe,
    held: Vec<u8>,
}

/// What the proxy does with a stream or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It answers with that status.
    Answers(u16),
    /// It resets the stream with that code.
    Resets(u32),
    /// It gives the connection up with that code.
    GoesAway(u32),
    /// It closes the connection.
    Closes,
    /// It does nothing for as long as was waited.
    Nothing,
}

impl Frames {
    /// A connection with the preface and empty settings sent.
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        let mut frames = Self { pipe: Pipe::new(stream, PATIENCE), held: Vec::new() };
        frames.pipe.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    /// Sends one frame; `false` when the proxy has closed.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.pipe.send(&frame(kind, flags, stream, payload))
    }

    /// Sends bytes that are frames already.
    pub fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.pipe.send(bytes)
    }

    /// The first deed that concerns the stream or the whole connection.
    pub fn deed(&mut self, stream: u32, within: Duration) -> Deed {
        self.pipe.stream.set_read_timeout(Some(within)).unwrap();
        loop {
            let frame = match self.read() {
                Ok(frame) => frame,
                Err(Broken::Late) => return Deed::Nothing,
                Err(_) => return Deed::Closes,
            };
            let code = |at: usize| {
                let bytes = frame.payload.get(at..at + 4).and_then(|b| b.try_into().ok());
                bytes.map_or(u32::MAX, u32::from_be_bytes)
            };
            match frame.kind {
                GOAWAY if code(4) != 0 => return Deed::GoesAway(code(4)),
                RST_STREAM if frame.stream == stream => return Deed::Resets(code(0)),
                HEADERS if frame.stream == stream => {
                    return Deed::Answers(status_of(&frame.payload));
                }
                SETTINGS if frame.flags & ACK == 0 => {
                    self.send(SETTINGS, ACK, 0, &[]);
                }
                _ => {}
            }
        }
    }

    /// The next `DATA` of that stream, and whether it is the last; `None` when the stream or
    /// the connection ends otherwise or nothing comes.
    pub fn data(&mut self, stream: u32, within: Duration) -> Option<(Vec<u8>, bool)> {
        self.pipe.stream.set_read_timeout(Some(within)).unwrap();
        loop {
            let frame = self.read().ok()?;
            match frame.kind {
                DATA if frame.stream == stream => {
                    return Some((frame.payload, frame.flags & END_STREAM != 0));
                }
                RST_STREAM if frame.stream == stream => return None,
                SETTINGS if frame.flags & ACK == 0 => {
                    self.send(SETTINGS, ACK, 0, &[]);
                }
                _ => {}
            }
        }
    }

    /// So many bytes of that stream's `DATA`, or as many as there are.
    pub fn exactly(&mut self, stream: u32, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < length {
            let Some((piece, last)) = self.data(stream, PATIENCE) else { break };
            all.extend(piece);
            if last {
                break;
            }
        }
        all
    }

    /// Whether the connection ends within that time, whatever else comes.
    pub fn ends(&mut self, within: Duration) -> bool {
        let until = std::time::Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            self.pipe.stream.set_read_timeout(Some(left)).unwrap();
            match self.read() {
                Ok(_) | Err(Broken::Late) => {}
                Err(_) => return true,
            }
        }
    }

    /// The proxy's first settings, as (identifier, value).
    pub fn settings(&mut self) -> Vec<(u16, u32)> {
        loop {
            let frame = self.read().unwrap();
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                let pair = |six: &[u8]| {
                    let id = u16::from_be_bytes([six[0], six[1]]);
                    (id, u32::from_be_bytes([six[2], six[3], six[4], six[5]]))
                };
                return frame.payload.chunks_exact(6).map(pair).collect();
            }
        }
    }

    fn read(&mut self) -> Result<Frame, Broken> {
        self.need(9)?;
        let head: Vec<u8> = self.held.drain(..9).collect();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        self.need(length)?;
        let payload = self.held.drain(..length).collect();
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn need(&mut self, bytes: usize) -> Result<(), Broken> {
        while self.held.len() < bytes {
            self.held.extend(self.pipe.some()?);
        }
        Ok(())
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// One frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literal fields, so that any byte can be in it.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The four pseudo-headers of a plain `GET` and more fields behind them.
pub fn get<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "models.test"),
        (":path", path),
    ];
    fields.extend_from_slice(more);
    fields
}

/// An integer with a prefix of seven bits.
fn integer(value: usize, block: &mut Vec<u8>) {
    if value < 127 {
        block.push(value as u8);
        return;
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// The status that a header block begins with; 0 when it is written in a way that only a
/// whole decoder reads.
fn status_of(block: &[u8]) -> u16 {
    // A change of the table's size may come first.
    let block = &block[block.iter().position(|b| b & 0xe0 != 0x20).unwrap_or(0)..];
    let known = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [index @ 0x88..=0x8e, ..] => known[usize::from(index - 0x88)],
        [_, 3, digits @ ..] if digits.len() >= 3 => {
            String::from_utf8_lossy(&digits[..3]).parse().unwrap_or(0)
        }
        [_, 0x82 | 0x83, a, b, c, ..] => huffman_status([*a, *b, *c]),
        _ => 0,
    }
}

/// Three digits in the Huffman code, of which each is five or six bits long.
fn huffman_status([a, b, c]: [u8; 3]) -> u16 {
    let bits = u32::from_be_bytes([0, a, b, c]);
    let (mut left, mut status) = (24, 0);
    for _ in 0..3 {
        let peek = |n: u32| u16::try_from((bits >> (left - n)) & ((1 << n) - 1)).unwrap();
        let (digit, length) = match (peek(5), peek(6)) {
            (short @ 0..=2, _) => (short, 5),
            (_, long @ 0x19..=0x1f) => (long - 0x19 + 3, 6),
            _ => return 0,
        };
        status = status * 10 + digit;
        left -= length;
    }
    status
}

/// Frame kinds and flags.
pub const DATA: u8 = 0;
/// Opens a stream.
pub const HEADERS: u8 = 1;
/// Ends a stream at once.
pub const RST_STREAM: u8 = 3;
/// Says what one can take.
pub const SETTINGS: u8 = 4;
/// Asks for a sign of life.
pub const PING: u8 = 6;
/// Gives a connection up.
pub const GOAWAY: u8 = 7;
/// Lets the peer send more.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a header block.
pub const CONTINUATION: u8 = 9;
/// The stream ends here.
pub const END_STREAM: u8 = 1;
/// The header block ends here.
pub const END_HEADERS: u8 = 4;
/// Settings are accepted.
pub const ACK: u8 = 1;
