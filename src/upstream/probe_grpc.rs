//! `grpc.health.v1.Health/Check`, asked over HTTP/2: whether a gRPC server says that it
//! serves. Apart from the other checks because its answer is a message and a status in the
//! trailers; both are read by hand, as there is one field in the one and none in the question.
//!
//! Source: gRPC's `doc/health-checking.md` and `grpc/health/v1/health.proto`.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use super::probe::{AGENT, Spawner, beside};

/// Why a server does not say that it serves.
#[derive(Debug, Error)]
pub(super) enum GrpcError {
    #[error("the question is no request")]
    Question(#[source] http::Error),
    #[error("asking {PATH} over HTTP/2 failed: does the server speak gRPC here?")]
    Ask(#[source] hyper::Error),
    #[error("{PATH} answered {0} and no gRPC")]
    Http(StatusCode),
    #[error(
        "the server does not offer {PATH} (UNIMPLEMENTED): leave healthCheck.grpc out, or use \
         readiness where the server answers HTTP at the same port"
    )]
    Unimplemented,
    #[error("{PATH} ended with status {0}")]
    Status(u32),
    #[error("{PATH} ended without a status")]
    Cut,
    #[error("{PATH} says {0}")]
    NotServing(&'static str),
    #[error("the answer of {PATH} is no message")]
    Malformed,
}

/// Asks a server on a connection of its own, for the server as a whole (the service name is
/// empty).
pub(super) async fn ask<S>(
    stream: S,
    scheme: &str,
    authority: &str,
) -> Result<(), GrpcError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = Request::post(format!("{scheme}://{authority}{PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, AGENT)
        // No compression, and a message without a field.
        .body(Full::new(Bytes::from_static(&[0; PREFIX])))
        .map_err(GrpcError::Question)?;
    let (mut sender, connection) =
        http2::handshake(Spawner, TokioIo::new(stream)).await.map_err(GrpcError::Ask)?;
    let exchange = async { read(sender.send_request(request).await?).await };
    let answer = beside(connection, exchange).await.map_err(GrpcError::Ask)?;
    judge(&answer)
}

/// An answer as far as it is read.
struct Answer {
    status: StatusCode,
    head: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

async fn read(answer: Response<Incoming>) -> hyper::Result<Answer> {
    let (head, mut incoming) = answer.into_parts();
    let (mut body, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = incoming.frame().await {
        match frame?.into_data() {
            Ok(bytes) if body.len() + bytes.len() <= LARGEST => {
                body.extend_from_slice(&bytes);
            }
            Ok(_) => break,
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    let (status, head) = (head.status, head.headers);
    Ok(Answer { status, head, body: body.freeze(), trailers })
}

fn judge(answer: &Answer) -> Result<(), GrpcError> {
    let status =
        answer.trailers.get(GRPC_STATUS).or_else(|| answer.head.get(GRPC_STATUS));
    let Some(status) = status else {
        let is_grpc = answer.head.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().to_ascii_lowercase().starts_with(b"application/grpc")
        });
        return Err(match is_grpc && answer.status == StatusCode::OK {
            true => GrpcError::Cut,
            false => GrpcError::Http(answer.status),
        });
    };
    match status.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(0) => serving(&answer.body),
        Some(UNIMPLEMENTED) => Err(GrpcError::Unimplemented),
        other => Err(GrpcError::Status(other.unwrap_or(UNKNOWN))),
    }
}

/// Reads a `HealthCheckResponse`, whose one field is an enumeration.
fn serving(body: &[u8]) -> Result<(), GrpcError> {
    let (prefix, message) =
        body.split_first_chunk::<PREFIX>().ok_or(GrpcError::Malformed)?;
    let [flag, length @ ..] = *prefix;
    let whole = usize::try_from(u32::from_be_bytes(length)) == Ok(message.len());
    if flag != 0 || !whole {
        return Err(GrpcError::Malformed);
    }
    match message {
        [STATUS_FIELD, 1] => Ok(()),
        // What has its default is not written.
        [] | [STATUS_FIELD, 0] => Err(GrpcError::NotServing("UNKNOWN")),
        [STATUS_FIELD, 2] => Err(GrpcError::NotServing("NOT_SERVING")),
        [STATUS_FIELD, 3] => Err(GrpcError::NotServing("SERVICE_UNKNOWN")),
        _ => Err(GrpcError::Malformed),
    }
}

const PATH: &str = "/grpc.health.v1.Health/Check";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// A flag and a length.
const PREFIX: usize = 5;
/// Field 1, a number.
const STATUS_FIELD: u8 = 1 << 3;
const UNKNOWN: u32 = 2;
const UNIMPLEMENTED: u32 = 12;
/// Bytes of an answer that are read.
const LARGEST: usize = 4 * 1_024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::{Frame, Incoming};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::{Answer, GrpcError, ask, judge};
    use crate::tasks;
    use crate::upstream::probe::Spawner;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let value = |text| HeaderValue::from_static(text);
        pairs.iter().map(|(name, text)| (name.parse().unwrap(), value(text))).collect()
    }

    fn said(status: u16, head: &[(&'static str, &'static str)], body: &[u8]) -> String {
        let mut trailers = HeaderMap::new();
        if !body.is_empty() {
            trailers = fields(&[("grpc-status", "0")]);
        }
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            head: fields(head),
            body: Bytes::copy_from_slice(body),
            trailers,
        };
        judge(&answer).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_a_server_that_says_that_it_serves_is_well() {
        let kind = ("content-type", "application/grpc");
        for (body, says) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], ""),
            (&[0, 0, 0, 0, 0], "says UNKNOWN"),
            (&[0, 0, 0, 0, 2, 8, 2], "says NOT_SERVING"),
            (&[0, 0, 0, 0, 2, 8, 3], "says SERVICE_UNKNOWN"),
            (&[0, 0, 0, 0, 3, 8, 1], "no message"),
            (&[1, 0, 0, 0, 2, 8, 1], "no message"),
            (&[0, 0], "no message"),
        ] {
            let seen = said(200, &[kind], body);
            assert!(seen.contains(says) && seen.is_empty() == says.is_empty(), "{seen}");
        }
        let seen = said(200, &[kind, ("grpc-status", "12")], b"");
        assert!(seen.contains("UNIMPLEMENTED") && seen.contains("readiness"), "{seen}");
        let seen = said(200, &[kind, ("grpc-status", "14")], b"");
        assert!(seen.contains("status 14"), "{seen}");
        assert!(said(200, &[kind], b"").contains("without a status"));
        assert!(said(404, &[("content-type", "text/html")], b"").contains("404"));
        assert!(said(200, &[("content-type", "text/html")], b"").contains("no gRPC"));
    }

    async fn healthy(
        request: Request<Incoming>,
    ) -> http::Result<
        Response<impl hyper::body::Body<Data = Bytes, Error = std::io::Error>>,
    > {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["te"], "trailers");
        let question = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(question, [0; 5][..]);
        let message = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
        let frames = [
            Ok(Frame::data(message)),
            Ok(Frame::trailers(fields(&[("grpc-status", "0")]))),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Response::builder().header("content-type", "application/grpc").body(body)
    }

    #[tokio::test]
    async fn a_server_is_asked_over_http2_by_prior_knowledge() {
        let (near, far) = duplex(4_096);
        let _server = tasks::shared("test server", async move {
            let server = hyper::server::conn::http2::Builder::new(Spawner);
            server
                .serve_connection(TokioIo::new(far), service_fn(healthy))
                .await
                .unwrap();
        });
        ask(near, "http", "h:1").await.unwrap();

        let (near, mut far) = duplex(4_096);
        let _server = tasks::shared("test server", async move {
            let _sent = far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        });
        let seen = ask(near, "http", "h:1").await;
        assert!(matches!(seen, Err(GrpcError::Ask(_))), "{seen:?}");
    }
}
