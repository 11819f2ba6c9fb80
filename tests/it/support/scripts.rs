//! What model servers do, well and badly: the cast of the scenarios. Apart from the server
//! so that a test reads `server.now(scripts::truncates())`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::model_server::{Script, Then};
use super::wait;

/// Answers every request with `{"model": …}`.
pub fn good(model: &str) -> Script {
    let body = format!("{{\"model\":\"{model}\"}}");
    Arc::new(move |_, line| match line.body() {
        Ok(_) => line.reply(200, JSON, &body),
        Err(_) => Then::Close,
    })
}

/// Answers with the bytes of the request's body.
pub fn echo() -> Script {
    Arc::new(|_, line| match line.body() {
        Ok(body) => line.reply(200, "content-type: application/octet-stream\r\n", body),
        Err(_) => Then::Close,
    })
}

/// Answers every request with that status.
pub fn status(status: u16) -> Script {
    Arc::new(move |_, line| match line.body() {
        Ok(_) => line.reply(status, JSON, "{\"error\":\"on cue\"}"),
        Err(_) => Then::Close,
    })
}

/// Fails that many requests of a thousand, evenly, and answers the rest well.
pub fn fails(per_mille: u64, model: &str) -> Script {
    let (well, badly) = (good(model), status(500));
    let count = AtomicU64::new(0);
    Arc::new(move |ask, line| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let fails = (n + 1) * per_mille / 1000 > n * per_mille / 1000;
        if fails { badly(ask, line) } else { well(ask, line) }
    })
}

/// Answers well after a while.
pub fn slow(model: &str, after: Duration) -> Script {
    let well = good(model);
    Arc::new(move |ask, line| {
        wait::linger(after);
        well(ask, line)
    })
}

/// Reads the request and resets the connection.
pub fn resets() -> Script {
    Arc::new(|_, line| {
        // What follows is the same whether the body came whole or not.
        line.body().map(drop).unwrap_or_default();
        Then::Reset
    })
}

/// Reads the request and closes without a byte.
pub fn hangs_up() -> Script {
    Arc::new(|_, line| {
        line.body().map(drop).unwrap_or_default();
        Then::Close
    })
}

/// Reads the request and never answers, until the peer leaves.
pub fn stalls() -> Script {
    Arc::new(|_, line| {
        line.body().map(drop).unwrap_or_default();
        line.peer_leaves(Duration::from_secs(30));
        Then::Close
    })
}

/// Sends these bytes for an answer.
pub fn says(answer: impl Into<Vec<u8>>, then: Then) -> Script {
    let answer = answer.into();
    Arc::new(move |_, line| match line.body() {
        Ok(_) if line.send(&answer) => then,
        _ => Then::Close,
    })
}

/// Promises more than it sends, then closes.
pub fn truncates() -> Script {
    says(&b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"[..], Then::Close)
}

/// The field that the servers' JSON answers bear.
pub const JSON: &str = "content-type: application/json\r\n";
