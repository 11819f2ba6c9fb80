//! An error of this proxy's own, worded so that the caller's client understands it: the
//! object that its protocol puts into the body of a failed answer, and the status line and
//! fields where those differ. Apart from who fails and why, which `proxy` knows.
//!
//! Sources: RFC 9457 (problem details), the error objects of the OpenAI and Anthropic APIs,
//! of the Open Inference Protocol v2 and of TorchServe, and gRPC over HTTP/2
//! (`PROTOCOL-HTTP2.md`, "Responses").

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::vocab::policy::Dialect;

/// What went wrong, in no dialect yet.
#[derive(Clone, Copy, Debug)]
pub struct OwnError<'a> {
    /// The HTTP status that says it.
    pub status: StatusCode,
    /// The gRPC status that says it, 1 to 16.
    pub grpc: u8,
    /// A word for programs, in snake case.
    pub code: &'a str,
    /// A sentence for people.
    pub message: &'a str,
    /// The request's id, where it has one.
    pub request_id: Option<&'a str>,
}

/// An error as a whole answer.
#[derive(Clone, Debug)]
pub struct Worded {
    /// The status line's.
    pub status: StatusCode,
    /// `content-type`, and what else the dialect has in the head.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The whole answer that says it. `kind` is the content type of the request: whoever sent a
/// gRPC request is answered in gRPC and with the same type, and nobody else is, whatever the
/// dialect.
#[must_use]
pub fn word(
    dialect: Dialect,
    error: &OwnError<'_>,
    kind: Option<&HeaderValue>,
) -> Worded {
    let mut headers = HeaderMap::new();
    let kind = kind.filter(|kind| super::grpc::is_grpc(kind.as_bytes()));
    if let Some(kind) = kind {
        headers.insert(http::header::CONTENT_TYPE, kind.clone());
        grpc_status(&mut headers, error.grpc, error.message);
        return Worded { status: StatusCode::OK, headers, body: Bytes::new() };
    }
    let kind = match dialect {
        Dialect::Plain | Dialect::Grpc => "application/problem+json",
        Dialect::OpenInference
        | Dialect::OpenAi
        | Dialect::Anthropic
        | Dialect::TorchServe => "application/json",
    };
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let body = Bytes::from(object(dialect, error).to_string());
    Worded { status: error.status, headers, body }
}

/// The object of the dialect that says it; a gRPC caller never sees one.
#[must_use]
pub fn object(dialect: Dialect, error: &OwnError<'_>) -> Value {
    let OwnError { status, code, message, request_id, .. } = *error;
    match dialect {
        Dialect::Plain | Dialect::Grpc => json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": message,
            "requestId": request_id,
        }),
        Dialect::OpenInference => json!({ "error": message }),
        Dialect::OpenAi => json!({
            "error": {
                "message": message,
                "type": openai_type(status),
                "param": null,
                "code": code,
            },
        }),
        Dialect::Anthropic => json!({
            "type": "error",
            "error": { "type": anthropic_type(status), "message": message },
            "request_id": request_id,
        }),
        Dialect::TorchServe => json!({
            "code": status.as_u16(),
            "type": torchserve_type(status),
            "message": message,
        }),
    }
}

/// Sets the two fields that end a gRPC call, in trailers or in a head without a body.
pub fn grpc_status(fields: &mut HeaderMap, code: u8, message: &str) {
    fields.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(message)) {
        fields.insert(GRPC_MESSAGE, message);
    }
}

/// `grpc-message`: every byte of the UTF-8 text that is not printable ASCII, and the percent
/// sign, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

fn torchserve_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 => "ResourceNotFoundException",
        405 => "MethodNotAllowedException",
        413 => "RequestEntityTooLargeException",
        400..=499 => "BadRequestException",
        503 => "ServiceUnavailableException",
        504 => "GatewayTimeoutException",
        _ => "InternalServerException",
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http::header::HeaderValue;
    use serde_json::Value;

    use super::{OwnError, percent_encoded, word};
    use crate::vocab::policy::Dialect;

    fn error(status: u16) -> OwnError<'static> {
        OwnError {
            status: StatusCode::from_u16(status).unwrap(),
            grpc: 14,
            code: "connection_refused",
            message: "the server says \"no\", 100%",
            request_id: Some("id-1"),
        }
    }

    fn said(dialect: Dialect, status: u16) -> (String, Value) {
        let worded = word(dialect, &error(status), None);
        assert_eq!(worded.status, status);
        let kind = worded.headers["content-type"].to_str().unwrap().to_owned();
        (kind, serde_json::from_slice(&worded.body).unwrap())
    }

    #[test]
    fn each_dialect_has_its_own_object() {
        let message = "the server says \"no\", 100%";
        let (kind, body) = said(Dialect::Plain, 503);
        assert_eq!(kind, "application/problem+json");
        assert_eq!((&body["status"], &body["detail"]), (&503.into(), &message.into()));
        assert_eq!(body["requestId"], "id-1");

        let (kind, body) = said(Dialect::OpenAi, 503);
        assert_eq!(kind, "application/json");
        assert_eq!(body["error"]["message"], message);
        assert_eq!(body["error"]["type"], "server_error");
        assert_eq!(body["error"]["code"], "connection_refused");

        let (_, body) = said(Dialect::Anthropic, 503);
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["type"], "overloaded_error");
        assert_eq!(body["error"]["message"], message);
        assert_eq!(said(Dialect::Anthropic, 404).1["error"]["type"], "not_found_error");

        let (_, body) = said(Dialect::OpenInference, 400);
        assert_eq!(body, serde_json::json!({ "error": message }));

        let (_, body) = said(Dialect::TorchServe, 404);
        assert_eq!(body["code"], 404);
        assert_eq!(body["type"], "ResourceNotFoundException");
        assert_eq!(body["message"], message);
    }

    #[test]
    fn a_grpc_caller_gets_a_head_that_is_the_end() {
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;a=b"]
        {
            let kind = HeaderValue::from_static(kind);
            let worded = word(Dialect::Grpc, &error(503), Some(&kind));
            assert_eq!(worded.status, 200);
            assert!(worded.body.is_empty());
            assert_eq!(worded.headers["content-type"], kind);
            assert_eq!(worded.headers["grpc-status"], "14");
            assert_eq!(worded.headers["grpc-message"], "the server says \"no\", 100%25");
        }
        // Whoever speaks no gRPC to such a route would take a 200 for success.
        let json = HeaderValue::from_static("application/json");
        let worded = word(Dialect::Grpc, &error(503), Some(&json));
        assert_eq!(worded.status, 503);
        assert!(!worded.headers.contains_key("grpc-status"));
    }

    #[test]
    fn a_message_is_always_a_field_value() {
        assert_eq!(percent_encoded("plain, ~!"), "plain, ~!");
        assert_eq!(percent_encoded("a\r\nb\t%"), "a%0D%0Ab%09%25");
        assert_eq!(percent_encoded("zu groß 😈"), "zu gro%C3%9F %F0%9F%98%88");
    }
}
