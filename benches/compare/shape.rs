//! The kinds of request that are compared, with the answers that must come back.

use crate::answers::{LETTERS, framed, kilobyte, message, size};
use crate::frames::{known, named};

/// One request, ready to send, and its answer from each of the two versions.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) request: Vec<u8>,
    /// The body from stable, then from the canary.
    pub(crate) answers: [Vec<u8>; 2],
}

impl Shape {
    /// The shape of that name: `get` (1 KB back), `chat` (about 2 KB of JSON up, 1 KB back),
    /// `post64k` (64 KiB up, a few bytes back), `sse` (a chat that is answered by events) or
    /// `once` (a GET on a connection that ends with it).
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
            "once" => Some(Self {
                request: request("GET /v2/models/iris", "connection: close\r\n", b""),
                answers: LETTERS.map(kilobyte),
            }),
            "sse" => Some(Self {
                request: request(
                    "POST /v1/chat/completions",
                    "accept: text/event-stream\r\n",
                    &conversation(),
                ),
                // Events are looked at one by one.
                answers: [Vec::new(), Vec::new()],
            }),
            "post64k" => Some(Self {
                request: request("POST /v2/models/iris/infer", "", &tensor()),
                answers: LETTERS.map(|letter| size(letter, TENSOR)),
            }),
            _ => None,
        }
    }
}

/// One call over HTTP/2: the block of its head, its body, and the bodies that answer it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) answers: [Vec<u8>; 2],
}

impl Call {
    /// The call of that name: `h2` (the `get` of [`Shape`]) or `grpc` (a unary call with some
    /// 300 bytes each way).
    pub(crate) fn named(name: &str) -> Option<Self> {
        // Places in the static table of RFC 7541, appendix A.
        const AUTHORITY: u8 = 1;
        const PATH: u8 = 4;
        const ACCEPT: u8 = 19;
        const CONTENT_TYPE: u8 = 31;
        const USER_AGENT: u8 = 58;
        let mut head = Vec::new();
        // Scheme http, then GET or POST.
        head.push(0x86);
        let answers = match name {
            "h2" => {
                head.push(0x82);
                known(&mut head, PATH, "/v2/models/iris");
                known(&mut head, AUTHORITY, "models.example");
                known(&mut head, ACCEPT, "*/*");
                LETTERS.map(kilobyte)
            }
            "grpc" => {
                head.push(0x83);
                known(&mut head, PATH, "/inference.GRPCInferenceService/ModelInfer");
                known(&mut head, AUTHORITY, "models.example");
                known(&mut head, CONTENT_TYPE, "application/grpc");
                LETTERS.map(message)
            }
            _ => return None,
        };
        known(&mut head, USER_AGENT, "load/1");
        let mut body = Vec::new();
        if name == "grpc" {
            named(&mut head, "te", "trailers");
            body = framed(&[&b"\x0a\x04iris\x3a\x80\x02"[..], &[0x5a; 256]].concat());
        }
        Some(Self { head, body, answers })
    }
}

const TENSOR: usize = 64 * 1024;

fn request(line: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "{line} HTTP/1.1\r\nhost: models.example\r\nuser-agent: load/1\r\n{extra}"
    );
    if !extra.contains("accept:") {
        head.push_str("accept: */*\r\n");
    }
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
