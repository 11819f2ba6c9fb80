//! `Sample`: one failed exchange as it may be shown to people. Apart from the records,
//! because whoever takes samples makes them and only a failure analysis shows them.

use serde::Serialize;

use crate::vocab::outcome::Class;
use crate::vocab::time::Timestamp;

/// One exchange with a version that failed. Whoever takes it leaves out what may not be
/// kept: of the headers only those on a list of harmless ones are in it, and bodies only
/// where the configuration asks for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When it ended.
    pub at: Timestamp,
    /// How it ended.
    pub class: Class,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// The server that was asked, as the configuration names it.
    pub endpoint: String,
    /// From the request to the failure, in microseconds.
    pub latency_us: u64,
    /// The request's method.
    pub method: String,
    /// The request's path without its query, which may hold secrets.
    pub path: String,
    /// The request's id, under which the caller may ask about it.
    pub request_id: String,
    /// Harmless headers of request and answer, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The beginning of the request's body as text, if the configuration asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_body: Option<String>,
    /// The beginning of the answer's body as text, if the configuration asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body: Option<String>,
}

impl Sample {
    /// The most samples that are kept of one version.
    pub const MOST: usize = 20;
    /// The longest text of a sample but a body, in bytes.
    pub const TEXT_MAX: usize = 256;
    /// The most headers of a sample.
    pub const HEADERS_MAX: usize = 16;
    /// The longest beginning of a body that may be asked for, in bytes.
    pub const BODY_MAX: usize = 4096;
    /// The same as it is shown, with the mark that there was more.
    pub const SHOWN_MAX: usize = Self::BODY_MAX + MORE.len();

    /// The same with every text and the number of headers cut to their bounds.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for text in
            [&mut self.endpoint, &mut self.method, &mut self.path, &mut self.request_id]
        {
            cut(text, Self::TEXT_MAX);
        }
        self.headers.truncate(Self::HEADERS_MAX);
        for (name, value) in &mut self.headers {
            cut(name, Self::TEXT_MAX);
            cut(value, Self::TEXT_MAX);
        }
        let bodies = self.request_body.iter_mut().chain(&mut self.response_body);
        bodies.for_each(|body| cut(body, Self::SHOWN_MAX));
        self
    }
}

/// What is shown of a body whose first bytes these are, of `seen` bytes that came: text as it
/// is, with a mark if there was more, and of what is no text only how much it was. `None`
/// where nothing came.
#[must_use]
pub fn excerpt(bytes: &[u8], seen: u64) -> Option<String> {
    if seen == 0 {
        return None;
    }
    let more = seen > bytes.len() as u64;
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        // Cut within a character.
        Err(error) if more && error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).and_then(|it| std::str::from_utf8(it).ok())
        }
        Err(_) => None,
    };
    let odd = |c: char| c.is_ascii_control() && !matches!(c, '\n' | '\r' | '\t');
    Some(match text.filter(|text| !text.contains(odd)) {
        Some(text) if more => format!("{text}{MORE}"),
        Some(text) => text.to_owned(),
        None => format!("({seen} bytes, not text)"),
    })
}

/// Stands where a text was cut.
const MORE: &str = "…";

/// Cuts a text to so many bytes, between two characters.
fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

#[cfg(test)]
impl Sample {
    /// A request that was answered with 500, to be varied by tests.
    pub(crate) fn example(request_id: &str) -> Self {
        Self {
            at: Timestamp(1_795_554_358_123),
            class: Class::ServerError,
            status: Some(500),
            endpoint: "http://10.0.0.3:9001".to_owned(),
            latency_us: 18_234,
            method: "POST".to_owned(),
            path: "/v2/models/iris/infer".to_owned(),
            request_id: request_id.to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            request_body: None,
            response_body: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, excerpt};

    #[test]
    fn of_a_body_only_text_is_shown() {
        for (bytes, seen, shown) in [
            (&b""[..], 0, None),
            (b"{\"a\":\t1}\r\n", 10, Some("{\"a\":\t1}\r\n")),
            (b"abc", 4, Some("abc\u{2026}")),
            ("\u{fc}\u{fc}".as_bytes(), 4, Some("\u{fc}\u{fc}")),
            // Within a character, because it was cut there, and because it ends there.
            (b"a\xc3", 9, Some("a\u{2026}")),
            (b"a\xc3", 2, Some("(2 bytes, not text)")),
            (b"a\xffb", 9, Some("(9 bytes, not text)")),
            (b"\0\0\0\x05hello", 9, Some("(9 bytes, not text)")),
            (b"\x1b[31m", 5, Some("(5 bytes, not text)")),
            (b"\x1f\x8b\x08\0\0", 70_000, Some("(70000 bytes, not text)")),
        ] {
            assert_eq!(excerpt(bytes, seen).as_deref(), shown, "{bytes:?} of {seen}");
        }
        let most = vec![b'a'; Sample::BODY_MAX];
        let shown = excerpt(&most, 1 << 20).unwrap();
        let sample = Sample { response_body: Some(shown), ..Sample::example("r-1") };
        let kept = sample.bounded().response_body.unwrap();
        assert!(kept.len() == Sample::SHOWN_MAX && kept.ends_with('\u{2026}'));
    }

    #[test]
    fn a_sample_has_bounds_and_stays_text() {
        let long = "ü".repeat(5_000);
        let sample = Sample {
            path: long.clone(),
            headers: vec![(long.clone(), long.clone()); 100],
            response_body: Some(long),
            ..Sample::example("r-1")
        }
        .bounded();
        assert_eq!(sample.path.len(), Sample::TEXT_MAX);
        assert_eq!(sample.headers.len(), Sample::HEADERS_MAX);
        assert_eq!(sample.headers[0].1.len(), Sample::TEXT_MAX);
        let body = sample.response_body.unwrap().len();
        assert!((Sample::BODY_MAX..=Sample::SHOWN_MAX).contains(&body), "{body}");
    }

    #[test]
    fn a_sample_is_written_in_the_words_of_the_metrics() {
        let json = serde_json::to_value(Sample::example("r-1")).unwrap();
        assert_eq!(json["class"], "5xx");
        assert_eq!(json["at"], "2026-11-24T21:05:58.123Z");
        assert!(json.get("request_body").is_none());
    }
}
