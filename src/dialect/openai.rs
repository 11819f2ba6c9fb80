//! The OpenAI API as servers speak it: `chat/completions`, `completions` and the Responses
//! API. Wire formats are those of the API's reference; what servers do differently (vLLM,
//! llama-server, `transformers serve`) is named where it is allowed for.

use super::failing::error_member;
use super::json::{Fault, Json};
use super::sse::Event;
use super::state::{Finish, State, Usage};
use crate::vocab::outcome::Class;

/// What one event says.
#[derive(Default)]
struct Frame<'a> {
    kind: &'a [u8],
    object: &'a [u8],
    error: Option<Class>,
    usage: Usage,
    /// It has `choices`, `usage` or another member of a known frame.
    known: bool,
    /// Its `delta` says something.
    delta: bool,
    /// The reason within `response` for which it is incomplete or failed.
    failed: Option<Class>,
}

/// Takes one event.
pub(super) fn read(event: &Event<'_>, state: &mut State) {
    let data = event.data.trim_ascii();
    if data == b"[DONE]" {
        state.ended = true;
        return;
    }
    if event.is_error_field {
        return state.fail(class_alone(data));
    }
    if data.is_empty() {
        return;
    }
    let mut frame = Frame::default();
    match walk(data, &mut frame, state) {
        Ok(()) => {}
        // What was read of a long event counts; an event without an end does not say more.
        Err(Fault::Short) if event.is_cut => {}
        Err(Fault::Malformed | Fault::Short) => {
            return match event.name {
                b"error" => state.fail(Class::StreamError),
                _ => state.fail(Class::ProtocolError),
            };
        }
        Err(Fault::Deep) => return state.output(1),
    }
    state.usage.merge(frame.usage);
    let named = if frame.kind.is_empty() { event.name } else { frame.kind };
    if let Some(class) = frame.error {
        return state.fail(class);
    }
    if named == b"error" || event.name == b"error" || frame.object == b"error" {
        return state.fail(class_alone(data));
    }
    if named.starts_with(b"response.") {
        return response(named, frame.delta || event.is_cut, &frame, state);
    }
    if !frame.known {
        // Whatever it is, it is more than a sign of life.
        state.content = true;
    } else if event.is_cut {
        state.output(1);
    }
}

/// The class of an object that is an error as a whole: `{"message": …, "code": …}`.
fn class_alone(data: &[u8]) -> Class {
    let class = error_member(&mut Json::new(data));
    class.ok().flatten().unwrap_or(Class::StreamError)
}

/// The Responses API names every event.
fn response(named: &[u8], says: bool, frame: &Frame<'_>, state: &mut State) {
    state.is_responses = true;
    match named {
        b"response.created"
        | b"response.queued"
        | b"response.in_progress"
        | b"response.output_item.added"
        | b"response.content_part.added"
        | b"response.reasoning_summary_part.added" => {}
        b"response.completed" => {
            state.ended = true;
            state.finish.get_or_insert(Finish::Stop);
        }
        b"response.incomplete" => {
            state.ended = true;
            state.finish = Some(Finish::Length);
        }
        b"response.failed" | b"response.error" => {
            state.fail(frame.failed.unwrap_or(Class::StreamError));
        }
        b"response.cancelled" => state.ended = true,
        _ if named.ends_with(b".delta") => {
            if says {
                state.output(1);
            }
        }
        _ => state.content = true,
    }
}

fn walk<'a>(
    data: &'a [u8],
    frame: &mut Frame<'a>,
    state: &mut State,
) -> Result<(), Fault> {
    let mut json = Json::new(data);
    if json.next()? != b'{' {
        json.filled()?;
        return json.end();
    }
    json.members(|name, json| {
        match name {
            b"type" => frame.kind = json.string()?.unwrap_or_default(),
            b"object" => frame.object = json.string()?.unwrap_or_default(),
            b"error" => frame.error = error_member(json)?,
            b"usage" => frame.usage = usage(json)?,
            b"delta" => frame.delta = json.filled()?,
            b"choices" if json.next()? == b'[' => {
                frame.known = true;
                json.elements(|json| choice(json, state))?;
            }
            b"response" if json.next()? == b'{' => inner(json, frame)?,
            _ => {
                json.filled()?;
            }
        }
        Ok(())
    })?;
    json.end()
}

/// The `response` object within an event of the Responses API.
fn inner(json: &mut Json<'_>, frame: &mut Frame<'_>) -> Result<(), Fault> {
    json.members(|name, json| {
        match name {
            b"usage" => frame.usage = usage(json)?,
            b"error" => frame.failed = error_member(json)?,
            _ => {
                json.filled()?;
            }
        }
        Ok(())
    })
}

/// One of the `choices`.
fn choice(json: &mut Json<'_>, state: &mut State) -> Result<(), Fault> {
    let (mut index, mut says, mut reason) = (0, false, None);
    if json.next()? != b'{' {
        return json.filled().map(drop);
    }
    json.members(|name, json| {
        match name {
            b"index" => index = json.count()?.unwrap_or_default(),
            b"delta" | b"message" if json.next()? == b'{' => says |= delta(json)?,
            b"text" => says |= json.filled()?,
            b"finish_reason" => reason = json.string()?,
            _ => {
                json.filled()?;
            }
        }
        Ok(())
    })?;
    let bit = 1u64.checked_shl(u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(1);
    state.begun |= bit;
    if says {
        state.output(1);
    }
    if let Some(reason) = reason {
        state.done |= bit;
        state.finished(Finish::of(reason));
    }
    Ok(())
}

/// Whether a delta says more than whose it is: content, reasoning, a call, a refusal, audio,
/// by whatever name.
fn delta(json: &mut Json<'_>) -> Result<bool, Fault> {
    let mut says = false;
    json.members(|name, json| {
        let filled = json.filled()?;
        says |= filled && name != b"role";
        Ok(())
    })?;
    Ok(says)
}

/// Takes a `usage` object, in the names of either API.
pub(super) fn usage(json: &mut Json<'_>) -> Result<Usage, Fault> {
    let mut usage = Usage::default();
    if json.next()? != b'{' {
        json.filled()?;
        return Ok(usage);
    }
    json.members(|name, json| {
        match name {
            b"prompt_tokens" | b"input_tokens" => usage.prompt = json.count()?,
            b"completion_tokens" | b"output_tokens" => usage.completion = json.count()?,
            _ => {
                json.filled()?;
            }
        }
        Ok(())
    })?;
    Ok(usage)
}
