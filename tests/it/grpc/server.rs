//! A server that does with a call what the call's path says, by the `h2` crate, and writes
//! down what it saw; and the callers that ask it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::support::h2::{GOAWAY, H2Answer, H2Client, HEADERS, SETTINGS, frame};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// What a server does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Reads everything, and answers with all of it and that status in the trailers.
    Ends(u8),
    /// Answers with that status and nothing else.
    Only(u8),
    /// Answers with a message and no status.
    Forgets,
    /// Sends everything back as it comes, the head first.
    Echoes,
    /// Answers [`INFER`] as [`Deed::Ends`] does and sends everything else back as it comes.
    Serves,
    /// Resets the stream with that code, before anything or after a message.
    Resets(u32, bool),
    /// Closes the connection after a message.
    Cuts,
    /// Says nothing, or nothing after a message.
    Hangs(bool),
    /// Answers with that HTTP status in plain text.
    Http(u16),
    /// Sends many messages.
    Pours(usize),
    /// Refuses the first call and answers the others.
    RefusesOnce,
    /// Gives the connection up before the first call, and answers those on the next.
    LeavesOnce,
}

/// A running server. Goes away at once when dropped.
pub struct GrpcServer {
    /// Where it is.
    pub address: SocketAddr,
    /// Where it is, as `endpoints` writes it.
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
    _life: oneshot::Sender<()>,
}

impl GrpcServer {
    /// A server that does that with every call.
    pub fn new(deed: Deed) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), deed)
    }

    /// The same at that address; port 0 is any.
    pub fn at(address: SocketAddr, deed: Deed) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        listener.set_nonblocking(true).unwrap();
        let (life, end) = oneshot::channel::<()>();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { () = accept(listener, deed, book) => {} _ = end => {} }
            });
        });
        Self { address, url, seen, _life: life }
    }

    /// What it saw.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until it has seen that.
    pub fn saw(&self, what: &str) {
        wait::eventually(
            &format!("the server sees {what}: {:?}", self.seen()),
            SOON,
            || self.seen().iter().any(|it| it == what).then_some(()),
        );
    }
}

async fn accept(listener: std::net::TcpListener, deed: Deed, book: Book) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = 0;
    while let Ok((stream, _)) = listener.accept().await {
        connections += 1;
        tokio::spawn(serve(stream, deed, connections, Arc::clone(&book)));
    }
}

type Book = Arc<Mutex<Vec<String>>>;

/// Gives a connection up once there is a call on it that was not looked at: no server of a
/// library can be told to do that just then.
async fn leave(mut stream: TcpStream, book: &Book) -> std::io::Result<()> {
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        if head[3] == HEADERS {
            book.lock().unwrap().push("leaves".to_owned());
            // The last call that was looked at, and no error.
            stream.write_all(&frame(GOAWAY, 0, 0, &[0; 8])).await?;
        }
    }
}

async fn serve(stream: TcpStream, deed: Deed, number: u32, book: Book) {
    if deed == Deed::LeavesOnce && number == 1 {
        // It ends when the proxy closes the connection.
        leave(stream, &book).await.unwrap_or_default();
        return;
    }
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut calls = 0;
    let (cut, mut cuts) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let next = tokio::select! {
            next = connection.accept() => next,
            _ = cuts.recv() => return,
        };
        let Some(Ok((request, respond))) = next else { return };
        calls += 1;
        let first = calls == 1 && number == 1;
        let (book, cut) = (Arc::clone(&book), cut.clone());
        tokio::spawn(async move {
            let ended = act(request, respond, deed, (first, &book, &cut)).await;
            if let Err(error) = ended {
                let code = error.reason().map_or(u32::MAX, u32::from);
                book.lock().unwrap().push(format!("reset {code}"));
            }
        });
    }
}

/// Writes it down, up to a bound that no test of single calls reaches.
fn note(book: &Book, what: String) {
    let mut book = book.lock().unwrap();
    if book.len() < SEEN_MAX {
        book.push(what);
    }
}

const SEEN_MAX: usize = 4096;

type Around<'a> = (bool, &'a Book, &'a tokio::sync::mpsc::Sender<()>);

async fn act(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    deed: Deed,
    (first, book, cut): Around<'_>,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let timeout =
        head.headers.get("grpc-timeout").map_or("none", |it| it.to_str().unwrap());
    let te = head.headers.get("te").map_or("none", |it| it.to_str().unwrap());
    note(book, format!("timeout {timeout}"));
    note(book, format!("{} te {te}", head.uri.path()));
    let deed = match (deed, head.uri.path()) {
        (Deed::Serves, INFER) => Deed::Ends(0),
        (Deed::Serves, _) => Deed::Echoes,
        (deed, _) => deed,
    };
    let answer = || Response::builder().header("content-type", "application/grpc");
    let message = Bytes::from_static(ONE);
    if let Deed::Resets(..) | Deed::Cuts | Deed::Hangs(_) = deed {
        return fail(body, respond, deed, (first, book, cut)).await;
    }
    match deed {
        Deed::Ends(_) | Deed::RefusesOnce | Deed::LeavesOnce => {
            if deed == Deed::RefusesOnce && first {
                respond.send_reset(Reason::REFUSED_STREAM);
                return Ok(());
            }
            let status = if let Deed::Ends(status) = deed { status } else { 0 };
            let all = read(&mut body).await?;
            let mut send = respond.send_response(good(), false)?;
            send.send_data(all.into(), false)?;
            send.send_trailers(trailers(status))
        }
        Deed::Only(status) => {
            let only = answer().header("grpc-status", status.to_string());
            let only = only.header("grpc-message", "no%21").body(()).unwrap();
            respond.send_response(only, true).map(drop)
        }
        Deed::Forgets => {
            read(&mut body).await?;
            let mut send = respond.send_response(good(), false)?;
            send.send_data(message, true)
        }
        Deed::Echoes => {
            let mut send = respond.send_response(good(), false)?;
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                send.send_data(piece, false)?;
            }
            let sent = body.trailers().await?;
            assert!(sent.is_none(), "a caller of gRPC sends no trailers");
            note(book, "half-closed".to_owned());
            send.send_trailers(trailers(0))
        }
        Deed::Http(status) => {
            let kind =
                Response::builder().status(status).header("content-type", "text/html");
            let mut send = respond.send_response(kind.body(()).unwrap(), false)?;
            send.send_data(Bytes::from_static(b"<h1>no</h1>"), true)
        }
        Deed::Pours(count) => {
            let mut send = respond.send_response(good(), false)?;
            let one = Bytes::from(self::message(&[7; 300]));
            for _ in 0..count {
                send.send_data(one.clone(), false)?;
            }
            send.send_trailers(trailers(0))
        }
        Deed::Resets(..) | Deed::Cuts | Deed::Hangs(_) | Deed::Serves => Ok(()),
    }
}

/// Begins well, or not at all, and fails.
async fn fail(
    mut body: h2::RecvStream,
    mut respond: SendResponse<Bytes>,
    deed: Deed,
    (_, book, cut): Around<'_>,
) -> Result<(), h2::Error> {
    let message = Bytes::from_static(ONE);
    match deed {
        Deed::Resets(code, late) => {
            if late {
                let mut send = respond.send_response(good(), false)?;
                send.send_data(message, false)?;
                wait::nap(FLUSHED).await;
                send.send_reset(code.into());
            } else {
                read(&mut body).await?;
                respond.send_reset(code.into());
            }
            Ok(())
        }
        Deed::Cuts => {
            let mut send = respond.send_response(good(), false)?;
            send.send_data(message, false)?;
            wait::nap(FLUSHED).await;
            cut.send(()).await.unwrap();
            // A stream that is let go of would be reset first.
            std::future::pending().await
        }
        Deed::Hangs(late) => {
            let mut send = None;
            if late {
                let mut stream = respond.send_response(good(), false)?;
                stream.send_data(message, false)?;
                send = Some(stream);
            }
            let reason = std::future::poll_fn(|cx| match &mut send {
                Some(send) => send.poll_reset(cx),
                None => respond.poll_reset(cx),
            });
            let code = u32::from(reason.await?);
            book.lock().unwrap().push(format!("reset {code}"));
            Ok(())
        }
        Deed::Ends(_)
        | Deed::Only(_)
        | Deed::Forgets
        | Deed::Echoes
        | Deed::Serves
        | Deed::Http(_)
        | Deed::Pours(_)
        | Deed::RefusesOnce
        | Deed::LeavesOnce => Ok(()),
    }
}

/// The head of a good answer.
fn good() -> Response<()> {
    let answer = Response::builder().header("content-type", "application/grpc");
    answer.header("x-bin", "AAEC").body(()).unwrap()
}

/// A whole message.
const ONE: &[u8] = b"\0\0\0\0\x03one";

/// Long enough for what was sent to be on the wire: the server's own time, nobody waits.
const FLUSHED: Duration = Duration::from_millis(50);

fn trailers(status: u8) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", u16::from(status).into());
    trailers.insert("x-end-bin", "/////w".parse().unwrap());
    trailers
}

async fn read(body: &mut h2::RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// The head of a call.
pub fn call(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://models.test{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// One message with that in it.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0][..], &length, bytes].concat()
}

/// One question, one answer, on a connection of its own.
pub fn ask(street: &Street, path: &str, fields: &[(&str, &str)]) -> H2Answer {
    H2Client::new(street.http).ask(call(path, fields), &message(b"one"), None).unwrap()
}

/// The status of an answer, wherever it is; `None` where there is none.
pub fn status(answer: &H2Answer) -> Option<u8> {
    let trailer = answer.trailer.as_ref().and_then(|trailer| trailer.get("grpc-status"));
    let status = trailer.or_else(|| answer.head.headers().get("grpc-status"))?;
    Some(status.to_str().unwrap().parse().unwrap())
}

/// What a method of the inference protocol is called that asks and changes nothing.
pub const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// Any other.
pub const OTHER: &str = "/test.Service/Method";
