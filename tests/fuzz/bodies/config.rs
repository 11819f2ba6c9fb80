//! Any text as a configuration: it is taken, and told in lines without anything that a
//! terminal would obey, or every problem is told, in bounded words.

use std::path::Path;

use switchback::config::{describe, parse, parse_span};

pub(super) fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(span) = parse_span(text) {
        assert!(span.as_nanos() > 0 || text.trim_start().starts_with('0'), "{text:?}");
    }
    // Files of this machine are not for a fuzzer to read.
    if ["file:", "/dev", "/proc", "/sys"].iter().any(|it| text.contains(it)) {
        return;
    }
    let read = || match parse(text, "fuzz.yaml", Path::new("/nonexistent")) {
        Ok(loaded) => {
            let told = describe(&loaded);
            assert!(!told.is_empty());
            assert_eq!(told, *loaded.settings.live.described);
            told
        }
        Err(errors) => {
            let told = errors.to_string();
            assert!(told.contains("fuzz.yaml"), "{told}");
            told
        }
    };
    let told = read();
    assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "{told:?}");
    // A problem repeats no more of the file than a little of it.
    assert!(told.len() < 64 * 1024 + 64 * text.len(), "{} bytes", told.len());
    assert_eq!(told, read());
}
