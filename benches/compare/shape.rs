//! The kinds of request that are compared, with the answers that must come back.

use crate::answers::{LETTERS, kilobyte, size};

/// One request, ready to send, and its answer from each of the two versions.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) request: Vec<u8>,
    /// The body from stable, then from the canary.
    pub(crate) answers: [Vec<u8>; 2],
}

impl Shape {
    /// The shape of that name: `get` (1 KB back), `chat` (about 2 KB of JSON up, 1 KB back) or
    /// `post64k` (64 KiB up, a few bytes back).
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "get" => Some(Self {
                request: request("GET /v2/models/iris", "", b""),
                answers: LETTERS.map(kilobyte),
            }),
            "chat" => Some(Self {
                request: request(
                    "POST /v1/chat/completions",
                    "authorization: Bearer 0123456789abcdef0123456789abcdef\r\n",
                    &conversation(),
                ),
                answers: LETTERS.map(kilobyte),
            }),
            "post64k" => Some(Self {
                request: request("POST /v2/models/iris/infer", "", &tensor()),
                answers: LETTERS.map(|letter| size(letter, TENSOR)),
            }),
            _ => None,
        }
    }
}

const TENSOR: usize = 64 * 1024;

fn request(line: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "{line} HTTP/1.1\r\nhost: models.example\r\nuser-agent: load/1\r\naccept: */*\r\n{extra}"
    );
    if !body.is_empty() {
        head.push_str("content-type: application/json\r\n");
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// About 2 KB, as a short chat with a system prompt has.
fn conversation() -> Vec<u8> {
    let system = "You answer questions about the loan that is asked for. ".repeat(20);
    let user = "What does the rate depend on, and may it be paid back early? ".repeat(12);
    format!(
        r#"{{"model":"iris","temperature":0.2,"messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"{user}"}}]}}"#
    )
    .into_bytes()
}

/// Exactly [`TENSOR`] bytes of an Open Inference Protocol request.
fn tensor() -> Vec<u8> {
    let start = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,13000],"data":["#;
    let end = "0.0]}]}";
    let room = TENSOR - start.len() - end.len();
    let data = format!("{:room$}", "0.25,".repeat(room / 5));
    [start.as_bytes(), data.as_bytes(), end.as_bytes()].concat()
}
