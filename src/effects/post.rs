//! One HTTP request to a place outside, with a bound on everything. Apart from what is sent
//! because sinks, log shipping and webhook gates all leave by this door.
//!
//! Each request has a connection of its own over HTTP/1.1. The name is looked up, the
//! addresses are held against the rules of [`Target`], and the connection is opened to an
//! address that passed; nothing is looked up a second time. No redirect is followed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

pub use super::target::{Refusal, Target, TargetError};
use crate::tls::TlsClient;

/// Asks other servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Client {
    tls: TlsClient,
    limits: Limits,
}

/// How long each part of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Looking the name up, connecting and, where there is TLS, shaking hands.
    pub connect: Duration,
    /// From there to the end of the answer's head, the request's sending included.
    pub head: Duration,
    /// From there to the end of the answer's body.
    pub body: Duration,
}

/// What is asked.
#[derive(Clone)]
pub struct Call {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; a redirect is one like any other.
    pub status: StatusCode,
    /// The head's fields.
    pub headers: HeaderMap,
    /// The body, at most 64 KiB of it.
    pub body: Bytes,
    /// Whether there was more of it.
    pub is_cut: bool,
}

/// Why there is no answer. Nothing of the target's path, of a header or of a body is in it.
#[derive(Debug, Error)]
pub enum PostError {
    /// The name stands for nothing.
    #[error("cannot look {host} up")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// The name stands for addresses that may not be reached.
    #[error("{host} is {refusal}")]
    Refused {
        /// The name or address.
        host: String,
        /// Why the last of its addresses is refused.
        refusal: Refusal,
    },
    /// No address could be connected to.
    #[error("cannot connect to {to}")]
    Connect {
        /// The address that was tried last.
        to: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The server's certificate is not believed, or ours is not.
    #[error("no TLS with {host}")]
    Tls {
        /// Whom the certificate should be for.
        host: String,
        /// What rustls says.
        source: io::Error,
    },
    /// The exchange broke off or was no HTTP.
    #[error("the exchange with {host} failed")]
    Exchange {
        /// The other side.
        host: String,
        /// What hyper says.
        source: hyper::Error,
    },
    /// It took too long.
    #[error("{host} took longer than {limit:?} to {doing}")]
    Late {
        /// The other side.
        host: String,
        /// What was waited for.
        doing: &'static str,
        /// How long it might have taken.
        limit: Duration,
    },
    /// What is to be sent cannot be written as HTTP or JSON.
    #[error("the request cannot be written: {0}")]
    Request(&'static str),
}

impl Client {
    /// A client that believes what `tls` believes.
    #[must_use]
    pub fn new(tls: TlsClient) -> Self {
        Self { tls, limits: Limits::default() }
    }

    /// The same client with other limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Posts a value as JSON.
    ///
    /// # Errors
    /// [`PostError`] when there is no whole answer; any status is an answer.
    pub async fn post_json(
        &self,
        target: &Target,
        body: &impl Serialize,
    ) -> Result<Answer, PostError> {
        self.send(target, Call::json(Method::POST, body)?).await
    }

    /// Sends a call.
    ///
    /// # Errors
    /// [`PostError`] when there is no whole answer; any status is an answer.
    pub async fn send(&self, target: &Target, call: Call) -> Result<Answer, PostError> {
        let request = call.request(target)?;
        let late =
            |doing, limit| PostError::Late { host: target.host.clone(), doing, limit };
        let limit = self.limits.connect;
        let stream = timeout(limit, connect(target))
            .await
            .map_err(|_| late("be connected to", limit))??;
        if !target.is_tls {
            return self.exchange(target, stream, request).await;
        }
        let shaking = self.tls.connect(&target.host, stream);
        let stream = timeout(limit, shaking)
            .await
            .map_err(|_| late("shake hands", limit))?
            .map_err(|source| PostError::Tls { host: target.host.clone(), source })?;
        self.exchange(target, stream, request).await
    }

    async fn exchange<S>(
        &self,
        target: &Target,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, PostError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let host = || target.host.clone();
        let failed = |source| PostError::Exchange { host: host(), source };
        let late = |doing, limit| PostError::Late { host: host(), doing, limit };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD)
            .max_headers(HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let asking = async {
            let limit = self.limits.head;
            let answer = timeout(limit, sender.send_request(request))
                .await
                .map_err(|_| late("answer", limit))?
                .map_err(failed)?;
            let limit = self.limits.body;
            timeout(limit, read(answer))
                .await
                .map_err(|_| late("end its answer", limit))?
                .map_err(failed)
        };
        beside(connection, asking).await
    }
}

/// Opens a connection to an address that may be reached; no other address is tried.
async fn connect(target: &Target) -> Result<TcpStream, PostError> {
    let host = || target.host.clone();
    let found = lookup_host((target.host.as_str(), target.port)).await;
    let found = found.map_err(|source| PostError::Lookup { host: host(), source })?;
    let nothing = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    let mut said = PostError::Lookup { host: host(), source: nothing };
    for address in found.take(ADDRESSES) {
        if let Err(refusal) = target.admit(address.ip()) {
            said = PostError::Refused { host: host(), refusal };
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(source) => said = PostError::Connect { to: address, source },
        }
    }
    Err(said)
}

/// Reads an answer up to its bound.
async fn read(answer: Response<Incoming>) -> hyper::Result<Answer> {
    let (head, mut body) = answer.into_parts();
    let (mut bytes, mut is_cut) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = BODY - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            is_cut = true;
            break;
        }
    }
    let (status, headers) = (head.status, head.headers);
    Ok(Answer { status, headers, body: bytes.into(), is_cut })
}

/// Runs a connection for as long as the exchange over it takes.
async fn beside<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    exchange: impl Future<Output = T>,
) -> T {
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    tokio::select! {
        biased;
        done = &mut exchange => return done,
        // Its error, if any, reaches the exchange too.
        _ = &mut connection => {}
    }
    exchange.await
}

impl Call {
    /// A question without a body.
    #[must_use]
    pub fn get() -> Self {
        Self { method: Method::GET, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// [`PostError::Request`] when it cannot be written as JSON.
    pub fn json(method: Method, body: &impl Serialize) -> Result<Self, PostError> {
        let body = serde_json::to_vec(body)
            .map_err(|_| PostError::Request("it is no JSON value"))?;
        Ok(Self::new(method, "application/json", body.into()))
    }

    /// A body of that type.
    #[must_use]
    pub fn new(method: Method, content_type: &'static str, body: Bytes) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        let headers = [(header::CONTENT_TYPE, content_type)].into_iter().collect();
        Self { method, headers, body }
    }

    /// The same call with a header, which is not shown by `Debug`.
    ///
    /// # Errors
    /// [`PostError::Request`] when the value has a control character.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Self, PostError> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| PostError::Request("a header has a control character"))?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    fn request(self, target: &Target) -> Result<Request<Full<Bytes>>, PostError> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() =
            target.path.parse().map_err(|_| PostError::Request("its path is no path"))?;
        *request.headers_mut() = self.headers;
        let host = HeaderValue::from_str(&target.authority())
            .map_err(|_| PostError::Request("its host is no host"))?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, host);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        if !headers.contains_key(header::ACCEPT) {
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }
}

/// Only what is no secret and no payload.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
        }
    }
}

/// Bytes of an answer's body that are kept.
const BODY: usize = 64 * 1_024;
/// Bytes of an answer's head.
const HEAD: usize = 16 * 1_024;
/// Fields of an answer's head.
const HEADERS: usize = 100;
/// Addresses of a name that are tried.
const ADDRESSES: usize = 8;
const AGENT: &str = concat!("switchback/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
#[path = "post_tests.rs"]
mod tests;
