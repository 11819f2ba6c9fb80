//! The Anthropic API: every event has a name, and the same name as `type` in its data. Wire
//! format: "Streaming Messages" of the API's reference.

use super::failing::error_member;
use super::json::{Fault, Json};
use super::openai::usage;
use super::sse::Event;
use super::state::{Finish, State, Usage};
use crate::vocab::outcome::Class;

/// What one event says.
#[derive(Default)]
struct Frame<'a> {
    kind: &'a [u8],
    error: Option<Class>,
    usage: Usage,
    reason: Option<&'a [u8]>,
    /// The `delta` says something.
    says: bool,
    /// The type of the block that begins.
    block: &'a [u8],
}

/// Takes one event.
pub(super) fn read(event: &Event<'_>, state: &mut State) {
    let data = event.data.trim_ascii();
    if data.is_empty() || data == b"[DONE]" {
        return;
    }
    let mut frame = Frame::default();
    match walk(data, &mut frame) {
        Ok(()) => {}
        Err(Fault::Short) if event.is_cut => frame.says = true,
        Err(Fault::Malformed | Fault::Short) if event.name != b"error" => {
            return state.fail(Class::ProtocolError);
        }
        Err(Fault::Malformed | Fault::Short) => return state.fail(Class::StreamError),
        Err(Fault::Deep) => return state.output(1),
    }
    state.usage.merge(frame.usage);
    if let Some(class) = frame.error {
        return state.fail(class);
    }
    let named = if frame.kind.is_empty() { event.name } else { frame.kind };
    match named {
        b"error" => state.fail(Class::StreamError),
        b"message_start" | b"ping" | b"content_block_stop" => {}
        // A block of another kind may come whole at its beginning.
        b"content_block_start" => {
            state.content |= !matches!(frame.block, b"text" | b"thinking" | b"");
        }
        b"content_block_delta" => {
            if frame.says {
                state.output(1);
            }
        }
        b"message_delta" => {
            if let Some(reason) = frame.reason {
                state.finished(Finish::of(reason));
                state.ended = true;
            }
        }
        b"message_stop" => state.ended = true,
        _ => state.content = true,
    }
}

fn walk<'a>(data: &'a [u8], frame: &mut Frame<'a>) -> Result<(), Fault> {
    let mut json = Json::new(data);
    if json.next()? != b'{' {
        json.filled()?;
        return json.end();
    }
    json.members(|name, json| {
        match name {
            b"type" => frame.kind = json.string()?.unwrap_or_default(),
            b"error" => frame.error = error_member(json)?,
            b"usage" => frame.usage.merge(usage(json)?),
            b"message" if json.next()? == b'{' => message(json, frame)?,
            b"delta" if json.next()? == b'{' => delta(json, frame)?,
            b"content_block" if json.next()? == b'{' => {
                json.members(|name, json| {
                    match name {
                        b"type" => frame.block = json.string()?.unwrap_or_default(),
                        _ => {
                            json.filled()?;
                        }
                    }
                    Ok(())
                })?;
            }
            _ => {
                json.filled()?;
            }
        }
        Ok(())
    })?;
    json.end()
}

fn message(json: &mut Json<'_>, frame: &mut Frame<'_>) -> Result<(), Fault> {
    json.members(|name, json| {
        match name {
            b"usage" => frame.usage.merge(usage(json)?),
            _ => {
                json.filled()?;
            }
        }
        Ok(())
    })
}

fn delta<'a>(json: &mut Json<'a>, frame: &mut Frame<'a>) -> Result<(), Fault> {
    json.members(|name, json| {
        match name {
            b"type" => {
                json.filled()?;
            }
            b"stop_reason" => frame.reason = json.string()?,
            _ => frame.says |= json.filled()?,
        }
        Ok(())
    })
}
