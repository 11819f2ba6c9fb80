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
    /// The longest beginning of a body, in bytes.
    pub const BODY_MAX: usize = 2048;

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
        bodies.for_each(|body| cut(body, Self::BODY_MAX));
        self
    }
}

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
    use super::Sample;

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
        assert_eq!(sample.response_body.unwrap().len(), Sample::BODY_MAX);
    }

    #[test]
    fn a_sample_is_written_in_the_words_of_the_metrics() {
        let json = serde_json::to_value(Sample::example("r-1")).unwrap();
        assert_eq!(json["class"], "5xx");
        assert_eq!(json["at"], "2026-11-24T21:05:58.123Z");
        assert!(json.get("request_body").is_none());
    }
}
