//! Small answers that are no streams, and whether one of status 200 is an error object.
//!
//! Only a body of at most [`WHOLE_MAX`] bytes is looked at, and gone through only when the
//! word that makes an error object is in it at all.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::failing::{class_of_code, error_member};
use super::json::{Fault, Json};
use crate::vocab::outcome::Class;
use crate::vocab::policy::Dialect;

/// Bytes of an answer that is looked at as a whole. Error objects are short.
pub const WHOLE_MAX: usize = 8 * 1024;

/// The words, ready to be looked for: that takes as long as looking through a short answer.
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));
static CODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"code\""));

/// The class of a whole answer of status 200, `None` where it is no error object.
#[must_use]
pub fn error_object(dialect: Dialect, body: &[u8]) -> Option<Class> {
    match dialect {
        Dialect::OpenAi | Dialect::Anthropic | Dialect::OpenInference => {
            ERROR.find(body)?;
            named_error(body).ok().flatten()
        }
        Dialect::TorchServe => {
            CODE.find(body)?;
            torchserve(body).ok().flatten()
        }
        Dialect::Plain | Dialect::Grpc => None,
    }
}

/// `{"error": …}`, or `{"object": "error", …}` as servers of the OpenAI API also write it.
fn named_error(body: &[u8]) -> Result<Option<Class>, Fault> {
    let (mut json, mut class, mut is_error, mut code) =
        (Json::new(body), None, false, None);
    if json.next()? != b'{' {
        return Ok(None);
    }
    json.members(|name, json| {
        match name {
            b"error" => class = error_member(json)?,
            b"object" => is_error = json.string()? == Some(b"error"),
            b"code" => code = json.count()?,
            _ => {
                json.filled()?;
            }
        }
        Ok(())
    })?;
    json.end()?;
    let by_code = code.and_then(class_of_code).unwrap_or(Class::StreamError);
    Ok(class.or(is_error.then_some(by_code)))
}

/// `{"code": 5xx, "type": "…Exception", "message": …}` and nothing else.
fn torchserve(body: &[u8]) -> Result<Option<Class>, Fault> {
    let (mut json, mut code, mut kinds, mut others) = (Json::new(body), None, 0, 0);
    if json.next()? != b'{' {
        return Ok(None);
    }
    json.members(|name, json| {
        match name {
            b"code" => code = json.count()?,
            b"type" => {
                let kind = json.string()?.unwrap_or_default();
                kinds += usize::from(kind.ends_with(b"Exception"));
            }
            b"message" => {
                json.filled()?;
            }
            _ => {
                others += 1;
                json.filled()?;
            }
        }
        Ok(())
    })?;
    json.end()?;
    Ok(code.and_then(class_of_code).filter(|_| kinds == 1 && others == 0))
}

#[cfg(test)]
mod tests {
    use super::error_object;
    use crate::vocab::outcome::Class;
    use crate::vocab::policy::Dialect::{
        Anthropic, OpenAi, OpenInference, Plain, TorchServe,
    };

    #[test]
    fn error_objects_are_told_from_answers() {
        let stream_error = Some(Class::StreamError);
        for (dialect, body, class) in [
            (OpenAi, r#"{"error":{"message":"no","type":"server_error"}}"#, stream_error),
            (OpenAi, r#"{"error":{"message":"no","code":500}}"#, stream_error),
            (
                OpenAi,
                r#"{"error":{"message":"no","code":400}}"#,
                Some(Class::ClientError),
            ),
            (OpenAi, r#"{"error":{"code":"429"}}"#, Some(Class::TooManyRequests)),
            (
                OpenAi,
                r#"{"object":"error","message":"\"error\"","code":500}"#,
                stream_error,
            ),
            (
                OpenAi,
                r#"{"error":{"type":"invalid_request_error"}}"#,
                Some(Class::ClientError),
            ),
            (OpenAi, r#"{"id":"resp_1","status":"completed","error":null}"#, None),
            (OpenAi, r#"{"choices":[{"text":"\"error\": {}","error":{"a":1}}]}"#, None),
            (OpenAi, r#"{"error":{}}"#, None),
            (OpenAi, r#"["error"]"#, None),
            (OpenAi, r#"{"error":"#, None),
            (
                Anthropic,
                r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
                stream_error,
            ),
            (OpenInference, r#"{"error":"failed to infer"}"#, stream_error),
            (OpenInference, r#"{"error":""}"#, None),
            (OpenInference, r#"{"model_name":"m","outputs":[{"name":"error"}]}"#, None),
            (
                TorchServe,
                r#"{"code":507,"type":"WorkerDiedException","message":"x"}"#,
                stream_error,
            ),
            (TorchServe, r#"{"code":503,"type":"cat","message":"x"}"#, None),
            (TorchServe, r#"{"code":503,"type":"AException","score":1}"#, None),
            (Plain, r#"{"error":{"message":"no"}}"#, None),
        ] {
            assert_eq!(error_object(dialect, body.as_bytes()), class, "{body}");
        }
    }
}
