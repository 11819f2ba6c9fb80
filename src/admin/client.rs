//! The command line's way in: a small HTTP client of the operators' API.
//!
//! Apart from the server's files because it shares nothing with them but the bodies in
//! `wire`. One request a connection, everything bounded in time and size, and errors that
//! say where nothing answered.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::hear::EventStream;
use super::io::Io;
use super::wire::Problem;
use crate::tasks;
use crate::tls::{ClientSettings, TlsClient, TlsError};

/// Asks one Switchback's operators' side.
#[derive(Clone)]
pub struct AdminClient {
    pub(super) url: String,
    host: String,
    port: u16,
    token: Option<HeaderValue>,
    tls: Option<TlsClient>,
}

/// Why there is no answer to work with.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The URL is none that could be asked.
    #[error("--admin {url:?}: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The token cannot be sent.
    #[error("the token has characters that no header can hold, or is empty")]
    Token,
    /// Nobody listens there.
    #[error("nothing answers at {url}: is switchback running there? (--admin URL)")]
    Nobody {
        /// Where.
        url: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is nobody there whom we believe, or who believes us.
    #[error("no protected connection to {url}")]
    Unproven {
        /// Where.
        url: String,
        /// What the handshake says.
        #[source]
        source: io::Error,
    },
    /// What should prove who both are is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Somebody listens there and says nothing, or not to the end.
    #[error("{url} gave no answer within {span:?}")]
    Silent {
        /// Where.
        url: String,
        /// How long it was given.
        span: Duration,
    },
    /// Somebody answers there, but not in this language.
    #[error("what answers at {url} is not switchback's admin API: {why}")]
    Stranger {
        /// Where.
        url: String,
        /// How one knows.
        why: String,
    },
    /// The answer is no.
    #[error("{detail} (HTTP {status})")]
    Refused {
        /// The status.
        status: u16,
        /// The reason given.
        detail: String,
    },
}

impl AdminClient {
    /// A client of the API at `url`, such as `http://127.0.0.1:9901`. Connects to nothing
    /// yet.
    ///
    /// # Errors
    /// [`ClientError::Url`] or [`ClientError::Token`].
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let wrong = |why| ClientError::Url { url: url.chars().take(200).collect(), why };
        let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let (tls, usual) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(TlsClient::default()), 443),
            _ => return Err(wrong("begins with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "a name and a password have no use here, see --token-file",
            ));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("ends after the port"));
        }
        if authority.host().is_empty() {
            return Err(wrong("names no host"));
        }
        let token = token.map(bearer).transpose()?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(usual);
        Ok(Self { url: url.trim_end_matches('/').to_owned(), host, port, token, tls })
    }

    /// The same, which believes and shows these certificates. Reads the files, which blocks.
    ///
    /// # Errors
    /// [`ClientError::Tls`] when a file is of no use, [`ClientError::Url`] when the URL does
    /// not begin with `https`.
    pub fn with_certificates(
        self,
        certificates: &ClientSettings,
    ) -> Result<Self, ClientError> {
        if self.tls.is_none() {
            let why = "begins with https:// where certificates are given";
            return Err(ClientError::Url { url: self.url, why });
        }
        Ok(Self { tls: Some(TlsClient::new(certificates)?), ..self })
    }

    /// Reads.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer, or it is no.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Orders.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer, or it is no.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body =
            serde_json::to_vec(body).map_err(|err| self.stranger(err.to_string()))?;
        self.ask(Method::POST, path, body.into()).await
    }

    /// Reads what is no JSON.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer, or it is no.
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.whole(Method::GET, path, Bytes::new()).await?;
        String::from_utf8(body.into()).map_err(|err| self.stranger(err.to_string()))
    }

    /// Follows what changes, from now on or after the event of that number.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer, or it is no.
    pub async fn events(&self, after: Option<u64>) -> Result<EventStream, ClientError> {
        let mut request = Request::get("/api/v1/events");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let asked = timeout(ANSWER_TIME, self.send(request, Bytes::new())).await;
        let answer = asked.map_err(|_| self.silent(ANSWER_TIME))??;
        if answer.status() == StatusCode::OK {
            return Ok(EventStream::new(self.clone(), answer.into_body()));
        }
        let status = answer.status();
        let body = timeout(ANSWER_TIME, self.collect(answer)).await;
        Err(self.refused(status, &body.map_err(|_| self.silent(ANSWER_TIME))??))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let body = self.whole(method, path, body).await?;
        serde_json::from_slice(&body).map_err(|err| self.stranger(err.to_string()))
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let talk = async {
            let request = Request::builder().method(method).uri(path);
            let answer = self.send(request, body).await?;
            let status = answer.status();
            Ok::<_, ClientError>((status, self.collect(answer).await?))
        };
        let talked = timeout(ANSWER_TIME, talk).await;
        let (status, body) = talked.map_err(|_| self.silent(ANSWER_TIME))??;
        if status == StatusCode::OK { Ok(body) } else { Err(self.refused(status, &body)) }
    }

    async fn collect(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        Ok(body.map_err(|err| self.stranger(err.to_string()))?.to_bytes())
    }

    async fn connect(&self) -> Result<(TcpStream, SocketAddr), ClientError> {
        let nobody = |source| ClientError::Nobody { url: self.url.clone(), source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((&*self.host, self.port)).await.map_err(nobody)? {
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok((socket, address)),
                Err(err) => last = err,
            }
        }
        Err(nobody(last))
    }

    /// Sends a request over a connection of its own, as far as the head of the answer.
    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let connected = timeout(CONNECT_TIME, self.connect()).await;
        let (socket, peer) = connected.map_err(|_| self.silent(CONNECT_TIME))??;
        // The other side takes no names as Host, lest a web page reach it by one; with a
        // certificate it takes those it is for.
        let mut request = request.header(HOST, peer.to_string());
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|err| self.stranger(err.to_string()))?;
        let Some(tls) = &self.tls else { return self.talk(socket, request).await };
        let shaken = timeout(CONNECT_TIME, tls.connect(&self.host, socket)).await;
        let stream = shaken.map_err(|_| self.silent(CONNECT_TIME))?;
        let unproven = |source| ClientError::Unproven { url: self.url.clone(), source };
        self.talk(stream.map_err(unproven)?, request).await
    }

    async fn talk<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stranger = |err: hyper::Error| self.stranger(err.to_string());
        let (mut sender, connection) =
            http1::handshake(Io(stream)).await.map_err(stranger)?;
        tasks::shared("admin client", async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the admin API ended");
            }
        });
        sender.send_request(request).await.map_err(stranger)
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => {
                ClientError::Refused { status: status.as_u16(), detail: problem.detail }
            }
            Err(_) => self.stranger(format!("it says HTTP {}", status.as_u16())),
        }
    }

    pub(super) fn silent(&self, span: Duration) -> ClientError {
        ClientError::Silent { url: self.url.clone(), span }
    }

    pub(super) fn stranger(&self, why: String) -> ClientError {
        ClientError::Stranger { url: self.url.clone(), why }
    }
}

impl ClientError {
    /// Whether nobody could be asked at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Nobody { .. }
                | Self::Silent { .. }
                | Self::Stranger { .. }
                | Self::Unproven { .. }
        )
    }
}

impl fmt::Debug for AdminClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminClient").field("url", &self.url).finish_non_exhaustive()
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    if token.is_empty() {
        return Err(ClientError::Token);
    }
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// How long a connection may take to stand.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// How long an answer may take; the other side gives itself ten seconds.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// The largest answer: a status of a thousand versions is about half a MiB.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::{AdminClient, ClientError};

    #[test]
    fn a_url_that_cannot_be_asked_is_said() {
        for (url, why) in [
            ("", "is not a URL"),
            ("127.0.0.1:9901", "begins with http:// or https://"),
            ("/x", "begins with http:// or https://"),
            (
                "http://a:b@127.0.0.1",
                "a name and a password have no use here, see --token-file",
            ),
            ("http://127.0.0.1:9901/api", "ends after the port"),
            ("http://127.0.0.1:9901?x", "ends after the port"),
        ] {
            let said = AdminClient::new(url, None).unwrap_err().to_string();
            assert_eq!(said, format!("--admin {url:?}: {why}"));
        }
        for good in ["http://127.0.0.1:9901", "http://[::1]:9901/", "https://host"] {
            assert!(AdminClient::new(good, Some("t0ken")).is_ok(), "{good}");
        }
        assert!(AdminClient::new("http://host", Some("a\nb")).is_err());
        let shown =
            format!("{:?}", AdminClient::new("http://host", Some("t0ken")).unwrap());
        assert!(!shown.contains("t0ken"), "{shown}");
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_the_way_to_change_it() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let client = AdminClient::new(&format!("http://{free}"), None).unwrap();
        let said = client.get::<u8>("/api/v1/status").await.unwrap_err().to_string();
        let right = "is switchback running there? (--admin URL)";
        assert_eq!(said, format!("nothing answers at http://{free}: {right}"));
    }

    #[tokio::test]
    async fn somebody_else_there_is_told_from_switchback() {
        for (answer, says) in [
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno\n",
                "it says HTTP 404",
            ),
            ("SSH-2.0-OpenSSH\r\n\r\n", "invalid HTTP version parsed"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<ht>", "expected value"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let client = AdminClient::new(&url, None).unwrap();
            let (said, ()) = tokio::join!(client.get::<u8>("/"), async {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(socket.read(&mut request).await.unwrap() > 0);
                socket.write_all(answer.as_bytes()).await.unwrap();
            });
            let said = said.unwrap_err();
            assert!(matches!(said, ClientError::Stranger { .. }), "{said:?}");
            assert!(said.to_string().contains(says), "{said}");
        }
    }
}
