//! Streams without an end of their own: Triton's `generate_stream` and its like, whose events
//! are answers of the Open Inference Protocol, and events of nobody knows whom. A clean end
//! is an end.

use super::failing::error_member;
use super::json::{Fault, Json};
use super::sse::Event;
use super::state::State;
use crate::vocab::outcome::Class;

/// Takes one event of a stream of the Open Inference Protocol (Triton, "Generate
/// Extension": `{"model_name": …, "text_output": …}` or `{"error": …}`).
pub(super) fn read(event: &Event<'_>, state: &mut State) {
    let data = event.data.trim_ascii();
    if data.is_empty() || data == b"[DONE]" {
        return;
    }
    match walk(data) {
        Ok(Found { error: Some(class), .. }) => state.fail(class),
        Ok(_) if event.name == b"error" => state.fail(Class::StreamError),
        // Triton may end with an answer that is marked as the last one and is empty.
        Ok(Found { text: Some(false), .. }) => {}
        Ok(_) => state.output(1),
        Err(Fault::Deep) => state.output(1),
        Err(Fault::Short) if event.is_cut => state.output(1),
        Err(Fault::Malformed | Fault::Short) if event.name == b"error" => {
            state.fail(Class::StreamError);
        }
        // Servers put other things than answers on these paths, too.
        Err(Fault::Malformed | Fault::Short) if !data.starts_with(b"{") => {
            state.output(1);
        }
        Err(Fault::Malformed | Fault::Short) => state.fail(Class::ProtocolError),
    }
}

/// Takes one event of a stream whose dialect is not known. Its data may be anything, so
/// nothing is demanded of it; only an error that ends the stream is believed.
pub(super) fn read_any(event: &Event<'_>, state: &mut State) {
    let data = event.data.trim_ascii();
    if event.is_error_field || data.is_empty() || data == b"[DONE]" {
        return;
    }
    state.error_last = event.name == b"error" || is_error_object(data);
    if !state.error_last {
        state.output(1);
    }
}

/// `{"error": …}`, whatever else it holds.
fn is_error_object(data: &[u8]) -> bool {
    data.starts_with(b"{")
        && matches!(walk(data), Ok(Found { error: Some(class), .. }) if class.is_failure())
}

#[derive(Default)]
struct Found {
    error: Option<Class>,
    /// Whether the `text_output` says something, where there is one.
    text: Option<bool>,
}

fn walk(data: &[u8]) -> Result<Found, Fault> {
    let (mut json, mut found) = (Json::new(data), Found::default());
    if json.next()? != b'{' {
        json.filled()?;
        return json.end().map(|()| found);
    }
    json.members(|name, json| {
        match name {
            b"error" => found.error = error_member(json)?,
            b"text_output" => found.text = Some(json.filled()?),
            _ => {
                json.filled()?;
            }
        }
        Ok(())
    })?;
    json.end().map(|()| found)
}
