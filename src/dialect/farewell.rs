//! The last event of a stream that this proxy has to end before its time, as each dialect
//! words an error. No `[DONE]` or the like follows: the stream did not end well.

use serde_json::json;

use super::error::{OwnError, object};
use super::scan::StreamScan;
use crate::vocab::policy::Dialect;

/// The bytes that end a stream: what closes the event that was cut, where one was, and an
/// event that says the error. `None` where none can be added: the answer is no stream of
/// events, or it is compressed; or where none is due, as the dialect's own end or an error
/// of the server's has passed already.
#[must_use]
pub fn farewell(scan: &StreamScan, error: &OwnError<'_>) -> Option<Vec<u8>> {
    let (dialect, responses, boundary) = scan.standing()?;
    if scan.is_complete() || scan.failed().is_some() {
        return None;
    }
    let data = if responses {
        json!({
            "type": "error",
            "code": error.code,
            "message": error.message,
            "param": null,
        })
    } else {
        object(dialect, error)
    };
    let name = match dialect {
        Dialect::OpenAi if !responses => "",
        Dialect::OpenInference => "",
        Dialect::OpenAi
        | Dialect::Anthropic
        | Dialect::Plain
        | Dialect::TorchServe
        | Dialect::Grpc => "event: error\n",
    };
    let data = data.to_string();
    Some([boundary, name.as_bytes(), b"data: ", data.as_bytes(), b"\n\n"].concat())
}
