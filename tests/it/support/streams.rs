//! Streams of events as model servers write them, well and badly, in any chunks: what a
//! [`ModelServer`](super::model_server::ModelServer) plays.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::model_server::{Line, Script, Then};

/// One thing that a server does within a stream.
#[derive(Clone, Debug)]
enum Step {
    /// It sends a chunk.
    Chunk(Vec<u8>),
    /// It goes on when it is told to.
    Cue(Arc<Mutex<Receiver<()>>>),
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The last chunk.
    Clean,
    /// The connection is closed without it.
    Closed,
    /// The connection is reset.
    Reset,
    /// Nothing more comes.
    Silence,
}

/// A stream as a server plays it.
#[derive(Clone, Debug)]
pub struct Tape {
    fields: String,
    steps: Vec<Step>,
    end: End,
}

impl Tape {
    /// These frames, a chunk each.
    pub fn of(frames: &[&str]) -> Self {
        let steps =
            frames.iter().map(|frame| Step::Chunk(frame.as_bytes().to_vec())).collect();
        Self { fields: EVENTS.to_owned(), steps, end: End::Clean }
    }

    /// With another head.
    pub fn fields(self, fields: &str) -> Self {
        Self { fields: fields.to_owned(), ..self }
    }

    /// It ends like that.
    pub fn ends(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// More frames, after the server is told to go on.
    pub fn then(mut self, frames: &[&str]) -> (Sender<()>, Self) {
        let (go, cue) = channel();
        self.steps.push(Step::Cue(Arc::new(Mutex::new(cue))));
        self.steps.extend(Self::of(frames).steps);
        (go, self)
    }

    /// The same bytes in chunks of that size, whatever the frames.
    pub fn chunks_of(mut self, size: usize) -> Self {
        let whole = self.bytes();
        self.steps = whole.chunks(size).map(|it| Step::Chunk(it.to_vec())).collect();
        self
    }

    /// Every chunk compressed and flushed.
    pub fn gzipped(mut self) -> Self {
        let mut gzip =
            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for step in &mut self.steps {
            if let Step::Chunk(bytes) = step {
                gzip.write_all(bytes).unwrap();
                gzip.flush().unwrap();
                *bytes = std::mem::take(gzip.get_mut());
            }
        }
        self.steps.push(Step::Chunk(gzip.finish().unwrap()));
        self.fields += "content-encoding: gzip\r\n";
        self
    }

    /// All that it sends.
    pub fn bytes(&self) -> Vec<u8> {
        let chunks = self.steps.iter().filter_map(|step| match step {
            Step::Chunk(bytes) => Some(bytes.as_slice()),
            Step::Cue(_) => None,
        });
        chunks.collect::<Vec<_>>().concat()
    }

    /// For a server to follow.
    pub fn script(&self) -> Script {
        let tape = self.clone();
        Arc::new(move |_, line| match line.body() {
            Ok(_) => tape.play(line),
            Err(_) => Then::Close,
        })
    }

    fn play(&self, line: &mut Line) -> Then {
        let fields = &self.fields;
        line.send(format!(
            "HTTP/1.1 200 OK\r\n{fields}transfer-encoding: chunked\r\n\r\n"
        ));
        for step in &self.steps {
            let well = match step {
                Step::Chunk(bytes) => line.chunk(bytes),
                Step::Cue(cue) => cue.lock().unwrap().recv_timeout(PATIENCE).is_ok(),
            };
            if !well {
                return Then::Close;
            }
        }
        match self.end {
            End::Clean if line.send("0\r\n\r\n") => Then::Keep,
            End::Clean | End::Closed => Then::Close,
            End::Reset => Then::Reset,
            End::Silence => {
                line.peer_leaves(PATIENCE);
                Then::Close
            }
        }
    }
}

/// A chat that goes well, as that model's.
pub fn chat(model: &str) -> Tape {
    let word = WORD.replace("word", model);
    Tape::of(&[ROLE, &word[..], WORD, STOP, USAGE, DONE])
}

/// The path of a chat.
pub const CHAT: &str = "/v1/chat/completions";
/// The field that streams bear.
pub const EVENTS: &str = "content-type: text/event-stream; charset=utf-8\r\n";
/// The frame that opens a chat.
pub const ROLE: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
/// A word of it.
pub const WORD: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},\"finish_reason\":null}]}\n\n";
/// Its end.
pub const STOP: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
/// What it took.
pub const USAGE: &str = "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}\n\n";
/// What most servers send last.
pub const DONE: &str = "data: [DONE]\n\n";
/// An error as vLLM writes it.
pub const ERROR: &str = "data: {\"error\":{\"message\":\"EngineCore encountered an issue\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}\n\n";
/// A comment that keeps a connection alive.
pub const COMMENT: &str = ": keep-alive\n\n";
const PATIENCE: Duration = Duration::from_secs(30);
