//! What streams come to, in each dialect, in every split and coding: the frames are those
//! that the servers write.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::{AnswerHead, StreamScan};
use crate::dialect::{Finish, OwnError, farewell};
use crate::vocab::outcome::Class;
use crate::vocab::policy::Dialect;

fn head<'a>(kind: &'a str, coding: Option<&'a str>) -> AnswerHead<'a> {
    AnswerHead {
        status: 200,
        content_type: Some(kind.as_bytes()),
        content_encoding: coding.map(str::as_bytes),
        length: None,
    }
}

fn scan(dialect: Dialect) -> StreamScan {
    StreamScan::new(dialect, &head("text/event-stream; charset=utf-8", None)).unwrap()
}

/// What a stream comes to, with what counts of it.
fn comes_to(dialect: Dialect, text: &str, piece: usize) -> (Class, bool, u64) {
    let mut scan = scan(dialect);
    let mut tokens = 0;
    for piece in text.as_bytes().chunks(piece) {
        tokens += scan.push(piece).tokens;
    }
    assert_eq!(tokens, scan.tokens(), "{text}");
    (scan.end(), scan.has_content(), scan.tokens())
}

const ROLE: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":null},\"logprobs\":null,\"finish_reason\":null}],\"prompt_token_ids\":null}\n\n";
const WORD: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" wörd\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
const STOP: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":12,\"total_tokens\":19,\"prompt_tokens_details\":null}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"EngineCore died\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}\n\n";

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_chat_comes_to_what_its_frames_say() {
    use Class::{
        ClientError, EmptyStream, ProtocolError, StreamError, Success, TooManyRequests,
        Truncated,
    };
    let w = WORD;
    for (frames, class, tokens) in [
        (vec![ROLE, w, w, STOP, DONE], Success, 2),
        (vec![ROLE, w, w, STOP], Success, 2),
        (vec![ROLE, w, DONE], Success, 1),
        (vec![": ping\n\n", ROLE, w, STOP, USAGE, DONE], Success, 1),
        (vec![ROLE, w, w], Truncated, 2),
        (vec![w, "data: {\"choices\":[{\"index\":0,\"del"], Truncated, 1),
        (vec![ROLE, STOP, DONE], EmptyStream, 0),
        (vec![ROLE, DONE], EmptyStream, 0),
        (vec![ROLE], EmptyStream, 0),
        (vec![DONE], EmptyStream, 0),
        (vec![], EmptyStream, 0),
        (vec![": nothing\n\n", "data:\n\n"], EmptyStream, 0),
        // The engine of vLLM is killed: an error, and then an end as if nothing were.
        (vec![ROLE, w, ERROR, DONE], StreamError, 1),
        (vec![ERROR, DONE], StreamError, 0),
        (vec![ROLE, w, ERROR], StreamError, 1),
        (vec!["data: {\"error\":\"boom\"}\n\n"], StreamError, 0),
        (vec![w, "event: error\ndata: {\"message\":\"boom\"}\n\n"], StreamError, 1),
        (vec![w, "event: error\ndata: boom\n\n"], StreamError, 1),
        (vec!["error: {\"code\":500,\"message\":\"boom\"}\n\n"], StreamError, 0),
        (
            vec!["data: {\"object\":\"error\",\"message\":\"x\",\"code\":500}\n\n"],
            StreamError,
            0,
        ),
        (
            vec![
                w,
                "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
                DONE,
            ],
            StreamError,
            1,
        ),
        // Null is no error.
        (
            vec![
                "data: {\"error\":null,\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"length\"}]}\n\n",
            ],
            Success,
            1,
        ),
        // The caller's own fault, late.
        (
            vec!["data: {\"error\":{\"message\":\"too long\",\"code\":400}}\n\n", DONE],
            ClientError,
            0,
        ),
        (
            vec!["data: {\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n"],
            TooManyRequests,
            0,
        ),
        (vec![w, "data: {\"choices\":[{\"ind\n\n", STOP, DONE], ProtocolError, 1),
        (vec![w, "data: <html>\n\n", STOP, DONE], ProtocolError, 1),
        // More than text is content too.
        (
            vec![
                "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
                STOP,
            ],
            Success,
            1,
        ),
        (
            vec![
                "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]},\"finish_reason\":null}]}\n\n",
                STOP,
            ],
            Success,
            1,
        ),
        (
            vec![
                "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n",
            ],
            Success,
            0,
        ),
        // Two choices, and one is not finished.
        (
            vec![
                w,
                "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n",
                STOP,
            ],
            Truncated,
            2,
        ),
        (vec!["data: {\"what\":\"is this\"}\n\n", DONE], Success, 0),
        (vec!["data: [1,2]\n\n", DONE], Success, 0),
        // A transcription has another end.
        (
            vec![
                "event: transcript.text.delta\ndata: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n",
                "event: transcript.text.done\ndata: {\"type\":\"transcript.text.done\",\"text\":\"a\"}\n\n",
            ],
            Success,
            0,
        ),
    ] {
        let text = frames.concat();
        for text in [text.clone(), text.replace('\n', "\r\n"), text.replace('\n', "\r")] {
            for piece in [1, 3, 64, 1_000_000] {
                let (came, _, count) = comes_to(Dialect::OpenAi, &text, piece);
                assert_eq!((came, count), (class, tokens), "in {piece}s: {text}");
            }
        }
    }
}

#[test]
fn the_responses_api_names_its_events() {
    use Class::{EmptyStream, StreamError, Success, Truncated};
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"error\":null,\"usage\":null}}\n\n";
    let item = "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"message\",\"content\":[]}}\n\n";
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
    let completed = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"error\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}}\n\n";
    for (frames, class) in [
        (vec![created, item, delta, delta, completed], Success),
        (vec![created, item, delta], Truncated),
        (vec![created, item, completed], EmptyStream),
        (vec![created], EmptyStream),
        (
            vec![
                created,
                "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\",\"param\":null}\n\n",
            ],
            StreamError,
        ),
        (
            vec![
                created,
                delta,
                "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"x\"}}}\n\n",
            ],
            StreamError,
        ),
        (
            vec![
                created,
                delta,
                "data: {\"type\":\"response.incomplete\",\"response\":{}}\n\n",
            ],
            Success,
        ),
    ] {
        for piece in [1, 50, 100_000] {
            assert_eq!(
                comes_to(Dialect::OpenAi, &frames.concat(), piece).0,
                class,
                "{frames:?}"
            );
        }
    }
    let mut scan = scan(Dialect::OpenAi);
    // The last event holds the whole answer and may be longer than what is read of it.
    scan.push(delta.as_bytes());
    let long = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"output\":\"{}\"}}}}\n\n",
        "x".repeat(100_000),
    );
    scan.push(long.as_bytes());
    assert_eq!(scan.end(), Success);
}

#[test]
fn anthropics_events_come_to_what_they_say() {
    use Class::{
        ClientError, EmptyStream, ProtocolError, StreamError, Success, Truncated,
    };
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n";
    let block = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
    let end = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
    let reason = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    for (frames, class) in [
        (vec![start, block, ping, delta, delta, end, reason, stop], Success),
        (vec![start, block, delta, end, reason], Success),
        (vec![start, block, delta, end, stop], Success),
        (vec![start, block, delta, end], Truncated),
        (vec![start, block, delta], Truncated),
        (vec![start, ping, block, end, reason, stop], EmptyStream),
        (vec![start, ping], EmptyStream),
        (vec![], EmptyStream),
        (vec![error], StreamError),
        (vec![start, ping, error], StreamError),
        (vec![start, block, delta, error], StreamError),
        (
            vec![
                start,
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"}}\n\n",
            ],
            ClientError,
        ),
        (
            vec![start, delta, "event: content_block_delta\ndata: {\"type\"\n\n", stop],
            ProtocolError,
        ),
    ] {
        for piece in [1, 50, 100_000] {
            assert_eq!(
                comes_to(Dialect::Anthropic, &frames.concat(), piece).0,
                class,
                "{frames:?}"
            );
        }
    }
    let mut scan = scan(Dialect::Anthropic);
    for frame in [start, ping, block] {
        scan.push(frame.as_bytes());
        assert!(!scan.has_content(), "{frame}");
    }
    assert!(scan.push(delta.as_bytes()).first);
    scan.push(reason.as_bytes());
    assert_eq!((scan.usage().prompt, scan.usage().completion), (Some(9), Some(4)));
    assert_eq!(scan.finish(), Some(Finish::Stop));
}

#[test]
fn streams_without_an_end_of_their_own_end_when_they_end() {
    use Class::{EmptyStream, ProtocolError, StreamError, Success};
    let v2 = Dialect::OpenInference;
    let text =
        "data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"Hi\"}\n\n";
    let last =
        "data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"\"}\n\n";
    for (dialect, text, class) in [
        (v2, format!("{text}{text}{last}"), Success),
        (v2, text.to_owned(), Success),
        (v2, format!("{text}data: {{\"error\":\"failed to infer\"}}\n\n"), StreamError),
        (v2, "data: {\"error\":\"failed to infer\"}\n\n".to_owned(), StreamError),
        (v2, String::new(), EmptyStream),
        (v2, last.to_owned(), EmptyStream),
        (v2, "data: {\"outputs\":\n\n".to_owned(), ProtocolError),
        (v2, "data: one\n\ndata: [DONE]\n\n".to_owned(), Success),
        // Of an unknown stream nothing is demanded.
        (Dialect::Plain, String::new(), Success),
        (Dialect::Plain, "just text, as BentoML labels it".to_owned(), Success),
        (Dialect::Plain, "data: {\"choices\":\n\n".to_owned(), Success),
        (
            Dialect::Plain,
            "data: {\"error\":\"one of many\"}\n\ndata: 2\n\n".to_owned(),
            Success,
        ),
        (
            Dialect::Plain,
            "data: 1\n\ndata: {\"error\":\"the last\"}\n\n".to_owned(),
            StreamError,
        ),
        (
            Dialect::Plain,
            "data: 1\n\nevent: error\ndata: x\n\ndata: [DONE]\n\n".to_owned(),
            StreamError,
        ),
        (Dialect::Plain, "data: 1\n\ndata: {\"error\":null}\n\n".to_owned(), Success),
        (Dialect::Plain, "error: no field of the standard\n\n".to_owned(), Success),
    ] {
        for piece in [1, 40, 100_000] {
            assert_eq!(comes_to(dialect, &text, piece).0, class, "{text}");
        }
    }
}

#[test]
fn only_the_first_frame_that_says_something_ends_the_opening() {
    let mut scan = scan(Dialect::OpenAi);
    for frame in
        [": ping\n\n", ROLE, "data: {\"choices\":[]}\n\n", "data: {\"choices\":[{\"delta"]
    {
        assert_eq!(scan.push(frame.as_bytes()), Default::default(), "{frame}");
        assert!(!scan.has_content(), "{frame}");
    }
    let progress = scan.push(b"\":{\"content\":\"a\"}}]}\n\n");
    assert!(progress.first && progress.tokens == 1 && scan.has_content());
    assert!(!scan.push(WORD.as_bytes()).first);
    scan.push(USAGE.as_bytes());
    assert_eq!((scan.usage().prompt, scan.usage().completion), (Some(7), Some(12)));
    assert_eq!((scan.left(), scan.failed()), (None, None), "nobody's fault so far");
    scan.push(STOP.as_bytes());
    assert_eq!(scan.left(), Some(Class::Success));
    scan.push(ERROR.as_bytes());
    assert_eq!(scan.left(), Some(Class::StreamError));
}

fn coded(coding: &str, text: &[u8]) -> Vec<u8> {
    // Flushed after every frame, as servers do.
    fn run<W: Write>(mut writer: W, text: &[u8]) -> W {
        for frame in text.split_inclusive(|byte| *byte == b'\n') {
            writer.write_all(frame).unwrap();
            writer.flush().unwrap();
        }
        writer
    }
    let level = Compression::fast();
    match coding {
        "deflate" => run(ZlibEncoder::new(Vec::new(), level), text).finish().unwrap(),
        "raw" => run(DeflateEncoder::new(Vec::new(), level), text).finish().unwrap(),
        _ => run(GzEncoder::new(Vec::new(), level), text).finish().unwrap(),
    }
}

#[test]
fn compressed_streams_are_seen_through() {
    for coding in ["gzip", "x-gzip", "deflate", "raw"] {
        for (frames, class) in [
            ([ROLE, WORD, STOP, DONE], Class::Success),
            ([ROLE, WORD, ERROR, DONE], Class::StreamError),
            ([ROLE, WORD, WORD, WORD], Class::Truncated),
        ] {
            let body = coded(coding, frames.concat().as_bytes());
            for piece in [1, 10, 100_000] {
                let name = if coding == "raw" { "deflate" } else { coding };
                let head = head("text/event-stream", Some(name));
                let mut scan = StreamScan::new(Dialect::OpenAi, &head).unwrap();
                body.chunks(piece).for_each(|piece| {
                    scan.push(piece);
                });
                assert_eq!(scan.end(), class, "{coding} in {piece}s");
                assert!(
                    farewell(&scan, &ours()).is_none(),
                    "an event in the middle of {coding}"
                );
            }
        }
    }
}

#[test]
fn a_frame_is_seen_as_soon_as_its_bytes_are_here() {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    let head = head("text/event-stream", Some("gzip"));
    let mut scan = StreamScan::new(Dialect::OpenAi, &head).unwrap();
    for count in 1..=5 {
        writer.write_all(WORD.as_bytes()).unwrap();
        writer.flush().unwrap();
        scan.push(&std::mem::take(writer.get_mut()));
        assert_eq!(scan.tokens(), count);
    }
}

#[test]
fn what_unfolds_without_end_is_not_looked_at() {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..64).for_each(|_| writer.write_all(&zeros).unwrap());
    let bomb = writer.finish().unwrap();
    for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::OpenInference] {
        let head = head("text/event-stream", Some("gzip"));
        let mut scan = StreamScan::new(dialect, &head).unwrap();
        bomb.chunks(1_000).for_each(|piece| {
            scan.push(piece);
        });
        assert!(scan.is_unseen());
        assert_eq!(scan.end(), Class::Success, "what was not seen is no failure");
    }
}

#[test]
fn what_is_not_what_its_coding_says_is_malformed() {
    let head = head("text/event-stream", Some("gzip"));
    let mut scan = StreamScan::new(Dialect::OpenAi, &head).unwrap();
    scan.push(WORD.as_bytes());
    assert_eq!(scan.end(), Class::ProtocolError);
    // After the end of the coded body anything may follow.
    let mut scan = StreamScan::new(Dialect::OpenAi, &head).unwrap();
    scan.push(&coded("gzip", [WORD, STOP].concat().as_bytes()));
    scan.push(b"and more");
    assert_eq!(scan.end(), Class::Success);
}

#[test]
fn a_coding_that_cannot_be_seen_through_blames_nobody() {
    for coding in ["br", "zstd", "gzip, br", "aes128gcm"] {
        let head = head("text/event-stream", Some(coding));
        let mut scan = StreamScan::new(Dialect::OpenAi, &head).unwrap();
        assert!(scan.push(b"\x1b\x03\x00").first, "pieces are all that can be counted");
        assert!(!scan.push(b"\x1b\x03\x00").first);
        assert_eq!((scan.end(), scan.tokens()), (Class::Success, 2));
        assert!(scan.is_unseen() && scan.has_content());
    }
}

#[test]
fn only_where_there_is_something_to_see_is_there_a_scan() {
    let is = |dialect, status, kind, coding, length| {
        let head = AnswerHead { status, length, ..head(kind, coding) };
        StreamScan::new(dialect, &head).is_some()
    };
    let (openai, plain) = (Dialect::OpenAi, Dialect::Plain);
    assert!(is(openai, 200, "text/event-stream", None, None));
    assert!(is(plain, 200, "Text/Event-Stream;charset=utf-8", None, None));
    assert!(is(openai, 200, "application/json", None, Some(100)));
    for (dialect, status, kind, coding, length) in [
        (openai, 500, "text/event-stream", None, None),
        (openai, 400, "application/json", None, None),
        (openai, 200, "application/json", None, Some(1 << 20)),
        (openai, 200, "application/json", Some("gzip"), None),
        (openai, 200, "application/jsonl", None, None),
        (openai, 200, "text/event-streams", None, None),
        (plain, 200, "application/json", None, None),
        (Dialect::Grpc, 200, "text/event-stream", None, None),
    ] {
        assert!(!is(dialect, status, kind, coding, length), "{status} {kind}");
    }
}

#[test]
fn a_small_answer_may_be_an_error() {
    let object = "{\"error\": {\"message\": \"CUDA out of memory\"}}";
    for piece in [1, 7, 1_000] {
        let head = head("application/json", None);
        let mut scan = StreamScan::new(Dialect::OpenAi, &head).unwrap();
        object.as_bytes().chunks(piece).for_each(|piece| {
            scan.push(piece);
        });
        assert_eq!(scan.end(), Class::StreamError);
        assert!(farewell(&scan, &ours()).is_none());
        assert_eq!(scan.left(), None);
        scan.push(&[b' '; 10_000]);
        assert_eq!(scan.end(), Class::Success, "too long to be looked at");
    }
}

fn ours() -> OwnError<'static> {
    OwnError {
        status: http::StatusCode::BAD_GATEWAY,
        grpc: 14,
        code: "http_response_incomplete",
        message: "the server broke off",
        request_id: None,
    }
}

#[test]
fn a_stream_is_ended_as_its_dialect_words_an_error() {
    for (dialect, before, want) in [
        (Dialect::OpenAi, WORD, "data: {\"error\":{"),
        (Dialect::OpenAi, "data: {\"choices\":[{\"del", "\n\ndata: {\"error\":{"),
        (Dialect::OpenAi, "data: {\"choices\":[]}\n", "\ndata: {\"error\":{"),
        (Dialect::OpenAi, "data: {\"choices\":[]}\r", "\n\ndata: {\"error\":{"),
        (Dialect::OpenAi, "data: {\"choices\":[]}\r\n", "\ndata: {\"error\":{"),
        (Dialect::OpenAi, "data: {\"choices\":[]}\r\n\r", "data: {\"error\":{"),
        (Dialect::OpenAi, "", "data: {\"error\":{"),
        (
            Dialect::OpenAi,
            "event: response.created\ndata: {\"type\":\"response.created\"}\n\n",
            "event: error\ndata: {",
        ),
        (Dialect::Anthropic, "", "event: error\ndata: {"),
        (Dialect::OpenInference, "", "data: {\"error\":\"the server broke off\"}\n\n"),
        (Dialect::Plain, "data: 1\n\n", "event: error\ndata: {"),
    ] {
        let mut scan = scan(dialect);
        scan.push(before.as_bytes());
        let last = farewell(&scan, &ours()).unwrap();
        let last = String::from_utf8(last).unwrap();
        assert!(last.starts_with(want) && last.ends_with("}\n\n"), "{before}: {last}");
        assert!(
            last.contains("the server broke off") && !last.contains("[DONE]"),
            "{last}"
        );
        // Read by ourselves it is what it is to be.
        let whole =
            if before.ends_with("del") { last } else { format!("{before}{last}") };
        assert_eq!(comes_to(dialect, &whole, 1_000).0, Class::StreamError, "{whole}");
    }
    for over in [STOP, DONE, ERROR] {
        let mut scan = scan(Dialect::OpenAi);
        scan.push([WORD, over].concat().as_bytes());
        assert!(farewell(&scan, &ours()).is_none(), "after {over}");
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_come_to_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        frames in prop::collection::vec(0_usize..8, 0..6),
        piece in 1_usize..50,
        number in 0_usize..4,
    ) {
        let known = [ROLE, WORD, STOP, DONE, ERROR, USAGE, "data: {\"a\"", "\r\n\r\n"];
        let mut text: Vec<u8> = frames.iter().flat_map(|at| known[*at].bytes()).collect();
        text.extend_from_slice(&bytes);
        let dialect =
            [Dialect::OpenAi, Dialect::Anthropic, Dialect::OpenInference, Dialect::Plain][number];
        let run = |piece: usize| {
            let mut scan = scan(dialect);
            text.chunks(piece).for_each(|piece| { scan.push(piece); });
            (scan.end(), scan.tokens(), scan.usage(), scan.failed(), scan.is_complete())
        };
        prop_assert_eq!(run(piece), run(1_000_000));
    }
}
