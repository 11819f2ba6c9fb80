//! `tracing` set-up: one record a line on standard error, as text or as JSON.
//!
//! The formatter is our own because values come from outside: a path or a header value with
//! a line break or an escape sequence in it must not be able to forge a record or to drive
//! a terminal. Errors are written with their whole chain of causes.

use std::error::Error;
use std::fmt::{self, Write as _};

use thiserror::Error as ThisError;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// How the process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Text or JSON.
    pub format: Format,
    /// What is logged: a level such as `info`, or levels by module such as
    /// `info,switchback::proxy=debug`.
    pub filter: String,
}

/// The shape of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `TIME LEVEL module: message key=value`
    Text,
    /// One JSON object.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, ThisError)]
pub enum LogError {
    /// The filter is not one.
    #[error("{filter:?} is not a log filter")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Somebody set up logging before.
    #[error("logging is set up already")]
    Twice,
}

/// Sets up logging for the process, on standard error.
///
/// # Errors
/// [`LogError`] when the filter cannot be read or logging was set up before.
pub fn init(settings: &Settings) -> Result<(), LogError> {
    let subscriber = subscriber(settings, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}

fn subscriber<W>(
    settings: &Settings,
    writer: W,
) -> Result<impl Subscriber + use<W>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // What a peer can have them say as often as it likes is no news; a level for them in the
    // filter comes later and counts.
    let all = match settings.filter.as_str() {
        "" => QUIET.to_owned(),
        filter => format!("{QUIET},{filter}"),
    };
    let filter: Targets = all
        .parse()
        .map_err(|source| LogError::Filter { filter: settings.filter.clone(), source })?;
    let line = Line { format: settings.format };
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .event_format(line)
        .with_writer(writer)
        .finish();
    Ok(lines.with(filter))
}

const QUIET: &str = "h2=error,hyper=error";

/// Writes one event as one line.
struct Line {
    format: Format,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut seen = Seen::default();
        event.record(&mut seen);
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let (level, target) = (event.metadata().level(), event.metadata().target());
        match self.format {
            Format::Text => {
                write!(writer, "{time} {level:>5} {target}: {}", Plain(&seen.message))?;
                for (name, value) in &seen.fields {
                    write!(writer, " {name}={}", Plain(&value.text()))?;
                }
            }
            Format::Json => {
                let (message, level) = (json(&seen.message), level.as_str());
                write!(
                    writer,
                    r#"{{"time":"{time}","level":"{level}","target":"{target}","message":{message}"#
                )?;
                for (name, value) in &seen.fields {
                    write!(writer, ",{}:{}", json(name), value.json())?;
                }
                writer.write_char('}')?;
            }
        }
        writeln!(writer)
    }
}

/// The fields of one event.
#[derive(Default)]
struct Seen {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    /// Already as JSON writes it: a number or a truth value.
    Bare(String),
    Text(String),
}

impl Value {
    fn text(&self) -> String {
        let (Self::Bare(text) | Self::Text(text)) = self;
        let quoted = text.is_empty() || text.contains([' ', '"', '=']);
        if quoted { format!("\"{}\"", text.replace('"', "\\\"")) } else { text.clone() }
    }

    fn json(&self) -> String {
        match self {
            Self::Bare(text) => text.clone(),
            Self::Text(text) => json(text),
        }
    }
}

impl Seen {
    fn keep(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Bare(text) | Value::Text(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Seen {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let bare =
            if value.is_finite() { value.to_string() } else { json(&value.to_string()) };
        self.keep(field, Value::Bare(bare));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, Value::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, Value::Bare(value.to_string()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, Value::Text(short(value)));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.keep(field, Value::Text(short(&chain(value))));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, Value::Text(short(&format!("{value:?}"))));
    }
}

/// An error and everything that caused it, on one line. A cause that the error before it
/// has said already, as some libraries' do, is not said again.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| (**cause).source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Writes what could break a line or drive a terminal as an escape.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            _ if is_unsafe(c) => write!(f, "{}", c.escape_default()),
            _ => f.write_char(c),
        })
    }
}

/// As a JSON string, with the same characters escaped as in text: what reads JSON may print
/// the value.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing into a `String` does not fail.
                    let _done = write!(out, "\\u{unit:04x}");
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Control characters, line separators, and the marks that turn the direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value of a record is at most this long; more is cut, and said to be.
const LONGEST: usize = 4_096;

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… (cut)", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::{Format, LogError, Settings, subscriber};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, say: impl FnOnce()) -> String {
        let paper = Paper::default();
        let copy = paper.clone();
        let settings = Settings { format, filter: filter.into() };
        let subscriber = subscriber(&settings, move || copy.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, say);
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    const EVIL: &str = "a\nb\r\u{1b}[31mred\u{202e}\u{2028}\0\"end";

    #[test]
    fn a_value_cannot_forge_a_record_or_drive_a_terminal() {
        for format in [Format::Text, Format::Json] {
            let text = logged(format, "info", || {
                tracing::info!(path = EVIL, "asked for {EVIL}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n'));
            for forbidden in ['\r', '\u{1b}', '\u{202e}', '\u{2028}', '\0'] {
                assert!(!text.contains(forbidden), "{forbidden:?} in {text:?}");
            }
        }
    }

    #[test]
    fn json_is_json_and_gives_the_value_back() {
        let text = logged(Format::Json, "info", || {
            tracing::warn!(
                path = EVIL,
                count = 3_u64,
                ratio = 0.5,
                lost = f64::NAN,
                "hm"
            );
        });
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["path"], EVIL);
        assert_eq!(record["count"], 3);
        assert_eq!(record["ratio"], 0.5);
        assert_eq!(record["lost"], "NaN");
        assert_eq!(record["level"], "WARN");
        assert_eq!(record["message"], "hm");
    }

    #[test]
    fn errors_come_with_their_causes() {
        let bad = Settings { format: Format::Text, filter: "switchback=loud".into() };
        let error = subscriber(&bad, std::io::sink).map(drop).unwrap_err();
        assert!(matches!(error, LogError::Filter { .. }));
        let text = logged(Format::Text, "info", || {
            tracing::error!(
                error = &error as &(dyn std::error::Error + 'static),
                "refused"
            );
        });
        assert!(
            text.contains("is not a log filter: error parsing level filter"),
            "{text}"
        );
        assert_eq!(text.matches("error parsing").count(), 1, "{text}");
    }

    #[test]
    fn the_filter_is_kept_and_long_values_are_cut() {
        let text = logged(Format::Text, "warn", || {
            tracing::info!("not this");
            tracing::warn!(long = "x".repeat(10_000), "this");
        });
        assert!(!text.contains("not this"));
        assert!(text.contains("… (cut)") && text.len() < 5_000, "{}", text.len());
    }
}
