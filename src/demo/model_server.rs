//! A model server on a loopback port: hyper's HTTP/1.1 server, one model, and a switch that
//! makes it ill.
//!
//! It is apart because it stands for a foreign process: it knows nothing of the proxy, and
//! the proxy reaches it over a socket only. When it is down, its port is closed and its
//! connections are cut, as if it had been killed.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::model;
use super::socket::Socket;
use crate::clock;
use crate::tasks;
use crate::vocab::time::Timestamp;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Right answers in about ten milliseconds.
    Good,
    /// Right answers after one to two seconds.
    Slow,
    /// Every inference ends with a 500.
    Failing,
    /// Every inference ends with a reset connection.
    Resetting,
    /// Of ten inferences three are slow, two fail and one ends with a reset.
    Degraded,
    /// The port is closed, all connections are cut.
    Down,
}

/// What a server did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Inference requests that arrived.
    pub(super) asked: u64,
    /// Those that it failed or answered slowly because its mode says so.
    pub(super) bad: u64,
    /// When the first of these left.
    pub(super) first_bad: Option<Timestamp>,
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct ModelServer {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    shop: Rc<Shop>,
}

impl ModelServer {
    /// Opens a free loopback port and serves there. Must be called within a `LocalSet`.
    ///
    /// # Errors
    /// When no port can be had.
    pub(super) async fn start(version: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Good);
        let shop = Rc::new(Shop {
            version,
            modes: modes.clone(),
            done: Cell::default(),
            open: Cell::default(),
            dice: RefCell::new(fastrand::Rng::new()),
        });
        tasks::local("model server", serve(listener, address, modes, Rc::clone(&shop)));
        Ok(Self { address, mode, shop })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes it behave so from now on.
    pub(super) fn switch(&self, to: Mode) {
        self.mode.send_replace(to);
    }

    /// What it did so far.
    pub(super) fn done(&self) -> Done {
        self.shop.done.get()
    }
}

/// What all connections of a server share.
#[derive(Debug)]
struct Shop {
    version: &'static str,
    modes: watch::Receiver<Mode>,
    done: Cell<Done>,
    open: Cell<usize>,
    dice: RefCell<fastrand::Rng>,
}

/// The service gives up this connection without an answer.
#[derive(Debug, Error)]
#[error("the connection is to be reset")]
struct Reset;

type Answer = Result<Response<Full<Bytes>>, Reset>;

async fn serve(
    first: TcpListener,
    address: SocketAddr,
    mut modes: watch::Receiver<Mode>,
    shop: Rc<Shop>,
) {
    let mut listener = first;
    while let Next::Down = accept(&listener, &mut modes, &shop).await {
        drop(listener);
        match reopen(address, &mut modes).await {
            Some(open) => listener = open,
            None => return,
        }
    }
}

/// Why a listener takes no more connections.
enum Next {
    Down,
    Gone,
}

async fn accept(
    listener: &TcpListener,
    modes: &mut watch::Receiver<Mode>,
    shop: &Rc<Shop>,
) -> Next {
    loop {
        tokio::select! {
            biased;
            turned = modes.wait_for(|mode| *mode == Mode::Down) => {
                return if turned.is_ok() { Next::Down } else { Next::Gone };
            }
            taken = listener.accept() => match taken {
                Ok((stream, _)) if shop.open.get() < MOST_CONNECTIONS => {
                    tasks::local("model connection", converse(stream, Rc::clone(shop)));
                }
                // Too many: the connection is closed at once, as a full server does.
                Ok(_) => {}
                // Out of descriptors or the like: others may be closed meanwhile.
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}

/// Waits until the server is to be up again, and takes its port back.
async fn reopen(
    address: SocketAddr,
    modes: &mut watch::Receiver<Mode>,
) -> Option<TcpListener> {
    loop {
        modes.wait_for(|mode| *mode != Mode::Down).await.ok()?;
        if let Ok(listener) = TcpListener::bind(address).await {
            return Some(listener);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn converse(stream: TcpStream, shop: Rc<Shop>) {
    let Ok(socket) = Socket::new(stream) else { return };
    shop.open.set(shop.open.get() + 1);
    let mut modes = shop.modes.clone();
    let service = service_fn(|request| {
        let shop = Rc::clone(&shop);
        let answer: Pin<Box<dyn Future<Output = Answer>>> =
            Box::pin(async move { shop.answer(request).await });
        answer
    });
    let mut connection = http1::Builder::new().serve_connection(socket, service);
    let ended = tokio::select! {
        biased;
        _ = modes.wait_for(|mode| *mode == Mode::Down) => None,
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
    };
    if !matches!(ended, Some(Ok(()))) {
        // A socket that cannot be told to reset is closed all the same.
        drop(connection.into_parts().io.reset());
    }
    shop.open.set(shop.open.get() - 1);
}

impl Shop {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::POST, model::INFER_PATH) => self.infer(request).await,
            // Health says "ready" however bad the answers are: real servers do the same.
            (
                &Method::GET,
                "/v2/health/live" | "/v2/health/ready" | "/v2/models/iris/ready",
            ) => Ok(reply(StatusCode::OK, Bytes::new())),
            (_, model::INFER_PATH) => {
                Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, "an inference is a POST"))
            }
            _ => Ok(refuse(StatusCode::NOT_FOUND, &format!("nothing is at {path:?}"))),
        }
    }

    async fn infer(&self, request: Request<Incoming>) -> Answer {
        let mut done = self.done.get();
        done.asked += 1;
        self.done.set(done);
        let (fate, pause) = self.fate();
        let body =
            match Limited::new(request.into_body(), LARGEST_QUESTION).collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => {
                    return Ok(refuse(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "the body is too large",
                    ));
                }
            };
        tokio::time::sleep(pause).await;
        if fate != Mode::Good {
            self.note_bad();
        }
        match fate {
            Mode::Resetting => Err(Reset),
            Mode::Failing => {
                Ok(refuse(StatusCode::INTERNAL_SERVER_ERROR, "CUDA error: out of memory"))
            }
            Mode::Good | Mode::Slow | Mode::Degraded | Mode::Down => {
                Ok(match model::answer(&body, self.version) {
                    Ok(said) => reply(StatusCode::OK, said),
                    Err(why) => refuse(StatusCode::BAD_REQUEST, &why.to_string()),
                })
            }
        }
    }

    /// How this very request is treated, and how long the answer takes.
    fn fate(&self) -> (Mode, Duration) {
        let mode = *self.modes.borrow();
        let mut dice = self.dice.borrow_mut();
        let fate = match mode {
            Mode::Degraded => MIX[dice.usize(..MIX.len())],
            Mode::Good | Mode::Slow | Mode::Failing | Mode::Resetting | Mode::Down => {
                mode
            }
        };
        let ms =
            if fate == Mode::Slow { dice.u64(1_000..2_000) } else { dice.u64(5..12) };
        (fate, Duration::from_millis(ms))
    }

    fn note_bad(&self) {
        let mut done = self.done.get();
        done.bad += 1;
        done.first_bad = done.first_bad.or_else(|| Some(clock::wall()));
        self.done.set(done);
    }
}

fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    reply(status, Bytes::from(serde_json::json!({ "error": why }).to_string()))
}

fn reply(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

/// What befalls ten inferences of a degraded server.
const MIX: [Mode; 10] = [
    Mode::Good,
    Mode::Good,
    Mode::Good,
    Mode::Good,
    Mode::Slow,
    Mode::Slow,
    Mode::Slow,
    Mode::Failing,
    Mode::Failing,
    Mode::Resetting,
];

/// Connections at a time; the proxy opens as many as it has requests in flight.
const MOST_CONNECTIONS: usize = 512;

/// Bytes of a question's body.
const LARGEST_QUESTION: usize = 64 * 1024;

/// Before a port or a descriptor that cannot be had is tried again.
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Mode, ModelServer};
    use crate::demo::clients::{Reply, ask_once};
    use crate::demo::model::{question, species_of};
    use crate::demo::testing::on_local_runtime;

    async fn ask(server: &ModelServer) -> Result<Reply, String> {
        ask_once(server.address(), &question(1)).await
    }

    #[test]
    fn a_good_server_answers_in_the_open_inference_protocol() {
        on_local_runtime(async {
            let server = ModelServer::start("v1").await.unwrap();
            let reply = ask(&server).await.unwrap();
            assert_eq!(reply.status, 200);
            assert_eq!(species_of(&reply.body).as_deref(), Some("versicolor"));
            let text = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(text.contains(r#""model_version":"v1""#), "{text}");
            assert_eq!((server.done().asked, server.done().bad), (1, 0));
        });
    }

    #[test]
    fn every_mode_is_what_it_says() {
        on_local_runtime(async {
            let server = ModelServer::start("v1").await.unwrap();
            server.switch(Mode::Failing);
            assert_eq!(ask(&server).await.unwrap().status, 500);
            assert!(server.done().first_bad.is_some());
            server.switch(Mode::Resetting);
            assert!(ask(&server).await.is_err());
            server.switch(Mode::Slow);
            let before = crate::clock::now();
            assert_eq!(ask(&server).await.unwrap().status, 200);
            assert!(before.elapsed() >= Duration::from_secs(1));
            assert_eq!(server.done().bad, 3);
        });
    }

    #[test]
    fn a_server_that_is_down_cuts_its_connections_and_comes_back_on_the_same_port() {
        on_local_runtime(async {
            let server = ModelServer::start("v1").await.unwrap();
            server.switch(Mode::Slow);
            let cut = async {
                let reply = ask(&server).await;
                assert!(reply.is_err(), "an answer from a dead server: {reply:?}");
            };
            let kill = async {
                while server.done().asked == 0 {
                    tokio::task::yield_now().await;
                }
                server.switch(Mode::Down);
            };
            tokio::join!(cut, kill);
            let refused = ask(&server).await.unwrap_err();
            assert!(refused.starts_with("no connection"), "{refused}");
            server.switch(Mode::Good);
            while ask(&server).await.is_err() {
                tokio::task::yield_now().await;
            }
            assert_eq!(ask(&server).await.unwrap().status, 200);
        });
    }
}
