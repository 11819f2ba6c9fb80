//! What the fake model servers answer, byte by byte.
//!
//! Apart because the servers send it and the load compares every answer with it: a proxy
//! that loses, cuts or mixes up answers must not come out as a fast one.

/// The two versions behind every proxy: the stable one and its canary.
pub(crate) const LETTERS: [char; 2] = ['a', 'b'];

/// An answer of exactly 1,024 bytes, shaped like a chat completion.
pub(crate) fn kilobyte(letter: char) -> Vec<u8> {
    let start = format!(
        r#"{{"id":"{letter}","object":"chat.completion","choices":[{{"index":0,"finish_reason":"stop","message":{{"role":"assistant","content":""#
    );
    let end = r#""}}],"usage":{"prompt_tokens":400,"completion_tokens":200}}"#;
    let words = "word ".repeat(1024);
    let body = &words[..1024 - start.len() - end.len()];
    [start.as_bytes(), body.as_bytes(), end.as_bytes()].concat()
}

/// A small answer that says how many bytes of body the server got.
pub(crate) fn size(letter: char, got: usize) -> Vec<u8> {
    format!(r#"{{"id":"{letter}","size":{got}}}"#).into_bytes()
}

/// An event of a stream, as one of a chat is; at [`DIGITS`] stands when it was due.
pub(crate) fn event(letter: char) -> Vec<u8> {
    format!(
        r#"data: {{"id":"{letter}","due":"00000000000000000000","object":"chat.completion.chunk","created":1764500000,"model":"iris","choices":[{{"index":0,"delta":{{"content":" word"}},"finish_reason":null}}]}}"#
    )
    .into_bytes()
    .into_iter()
    .chain(*b"\n\n")
    .collect()
}

/// Where in an event the nanoseconds of [`monotonic`] stand.
pub(crate) const DIGITS: std::ops::Range<usize> = 23..43;

/// Nanoseconds of the clock that all processes share.
pub(crate) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

/// A unary answer of gRPC: the length and a `ModelInferResponse` with 256 bytes.
pub(crate) fn message(letter: char) -> Vec<u8> {
    let mut message = b"\x0a\x04iris\x1a\x01".to_vec();
    message.extend_from_slice(letter.to_string().as_bytes());
    message.extend_from_slice(b"\x32\x80\x02");
    message.extend_from_slice(&[0x5a; 256]);
    framed(&message)
}

/// A message behind its length, uncompressed.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let size = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &size.to_be_bytes(), message].concat()
}
