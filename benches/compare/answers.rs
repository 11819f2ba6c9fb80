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
