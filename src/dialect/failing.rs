//! Error objects inside an answer whose status is good, and whose doing they are.
//!
//! An error that says of itself that the caller is to blame (a 4xx `code`, or a type of that
//! meaning) counts as a 4xx answer would; every other one is the version's.

use super::json::{Fault, Json};
use crate::vocab::outcome::Class;

/// Takes the value of an `error` member: its class, `None` where it reports no error.
pub(super) fn error_member(json: &mut Json<'_>) -> Result<Option<Class>, Fault> {
    if json.next()? != b'{' {
        return Ok(json.filled()?.then_some(Class::StreamError));
    }
    let (mut any, mut code, mut kind) = (false, None, None);
    json.members(|name, json| {
        any = true;
        match name {
            b"code" | b"status_code" => {
                let mut copy = *json;
                code = copy.count()?.or(code);
                if let Some(word) = json.string()? {
                    kind = kind.or_else(|| class_of_word(word));
                }
                Ok(())
            }
            b"type" => {
                if let Some(word) = json.string()? {
                    kind = class_of_word(word).or(kind);
                }
                Ok(())
            }
            _ => json.filled().map(drop),
        }
    })?;
    let by_code = code.and_then(class_of_code);
    Ok(any.then(|| by_code.or(kind).unwrap_or(Class::StreamError)))
}

/// The class of an HTTP status within an error object; `None` where it is none.
pub(super) fn class_of_code(code: u64) -> Option<Class> {
    match code {
        429 => Some(Class::TooManyRequests),
        400..=499 => Some(Class::ClientError),
        500..=599 => Some(Class::StreamError),
        _ => None,
    }
}

/// The class of an error's type, as the OpenAI and Anthropic APIs and vLLM name them.
fn class_of_word(word: &[u8]) -> Option<Class> {
    match word {
        b"invalid_request_error"
        | b"authentication_error"
        | b"permission_error"
        | b"permission_denied_error"
        | b"not_found_error"
        | b"request_too_large"
        | b"context_length_exceeded"
        | b"invalid_prompt"
        | b"BadRequestError"
        | b"NotFoundError" => Some(Class::ClientError),
        b"rate_limit_error" | b"rate_limit_exceeded" | b"insufficient_quota" => {
            Some(Class::TooManyRequests)
        }
        _ => None,
    }
}
