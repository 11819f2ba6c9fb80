//! What a request names, as far as routing asks: a model and a version of it, from its path,
//! or from the beginning of its body.
//!
//! A body is looked at only when a route that would take the request wants a model and the
//! path names none. What was read of it, a bounded part, goes on with the rest unchanged.

use std::borrow::Cow;
use std::future::poll_fn;

use bytes::Bytes;
use http::header;

use super::error::ProxyError;
use super::hygiene::Asked;
use crate::dialect::{
    BodyModel, GRPC_NAME_BYTES, GrpcModel, ModelScan, PathNames, grpc_model, is_grpc,
    path_names,
};
use crate::route::Model;
use crate::wire::Body;
use crate::wire::BodyLength;
use crate::wire::Headers;
use crate::wire::Kept;

/// What a request names.
#[derive(Debug)]
pub(super) struct Naming<'a> {
    model: Known<'a>,
    version: Option<Cow<'a, str>>,
}

#[derive(Debug)]
enum Known<'a> {
    Nothing,
    Unread,
    Named(Cow<'a, str>),
}

impl<'a> Naming<'a> {
    /// What the head says.
    pub(super) fn of_head(asked: &'a Asked, length: BodyLength) -> Self {
        let PathNames { model, version } = path_names(asked.target.path());
        let model = match model {
            Some(model) => Known::Named(model),
            None if length != BodyLength::None => Known::Unread,
            None => Known::Nothing,
        };
        Self { model, version }
    }

    /// The model.
    pub(super) fn model(&self) -> Model<'_> {
        match &self.model {
            Known::Nothing => Model::None,
            Known::Unread => Model::Unread,
            Known::Named(model) => Model::Named(model),
        }
    }

    /// The version.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Reads as much of the body as it takes to say what it names, if it may name a model at
    /// all; it is whole again after.
    ///
    /// # Errors
    /// [`ProxyError`] when the body fails, or names two models.
    pub(super) async fn read(
        &mut self,
        asked: &Asked,
        body: &mut Body,
    ) -> Result<(), ProxyError> {
        if !may_name(asked) {
            self.model = Known::Nothing;
            return Ok(());
        }
        let mut reader = match is_grpc_head(&asked.headers) {
            true => Reader::Message(Vec::new()),
            false => Reader::Json(ModelScan::default()),
        };
        let path = asked.target.path();
        let mut kept = Kept::default();
        while let Some(frame) = poll_fn(|cx| body.poll_next(cx)).await {
            // Trailers are the end. They say nothing to a server that reads a request whose
            // beginning it has got in one piece, and are not kept.
            let Ok(bytes) = frame.map_err(ProxyError::Body)?.into_data() else { break };
            kept.push(&bytes);
            if reader.is_settled(path, &bytes) {
                break;
            }
        }
        let rest = std::mem::replace(body, Body::Empty);
        *body = Body::Again(kept, Box::new(rest));
        self.model = Known::Nothing;
        match reader {
            Reader::Json(scan) => match scan.finish() {
                BodyModel::Named(model) => self.model = Known::Named(Cow::Owned(model)),
                BodyModel::None => {}
                BodyModel::Twice => {
                    return Err(ProxyError::BadRequest("the body names two models"));
                }
            },
            Reader::Message(first) => {
                if let GrpcModel::Named { model, version } = grpc_model(path, &first) {
                    self.model = Known::Named(Cow::Owned(model.to_owned()));
                    self.version = version.map(|version| Cow::Owned(version.to_owned()));
                }
            }
        }
        Ok(())
    }
}

/// What looks at a body.
enum Reader {
    Json(ModelScan),
    /// The first bytes of a gRPC request.
    Message(Vec<u8>),
}

impl Reader {
    fn is_settled(&mut self, path: &str, bytes: &Bytes) -> bool {
        match self {
            Self::Json(scan) => scan.feed(bytes),
            Self::Message(first) => {
                let room = GRPC_NAME_BYTES.saturating_sub(first.len()).min(bytes.len());
                first.extend_from_slice(&bytes[..room]);
                grpc_model(path, first) != GrpcModel::More
            }
        }
    }
}

/// Whether the body of such a request can name a model: JSON, whatever its content type, or
/// gRPC; not in parts and not compressed.
fn may_name(asked: &Asked) -> bool {
    let field = |name| asked.headers.get(name).map(http::HeaderValue::as_bytes);
    let starts = |value: &[u8], with: &[u8]| {
        value.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    let plain = field(header::CONTENT_ENCODING)
        .is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let in_parts =
        field(header::CONTENT_TYPE).is_some_and(|kind| starts(kind, b"multipart/"));
    plain && !in_parts && !asked.upgrade
}

fn is_grpc_head(headers: &Headers) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| is_grpc(kind.as_bytes()))
}
