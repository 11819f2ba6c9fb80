//! The event parser against a plain reading of the standard that has the whole text at once,
//! for any text and any split.

use proptest::prelude::*;

use super::{EVENT_MAX, Event, Events, NAME_MAX};

/// Name and data of each event.
type Seen = Vec<(Vec<u8>, Vec<u8>)>;

/// The standard's section 9.2.6, step by step.
fn plainly(text: &[u8]) -> Seen {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let (mut lines, mut line, mut at) = (Vec::new(), Vec::new(), 0);
    while at < text.len() {
        match text[at] {
            b'\r' => {
                lines.push(std::mem::take(&mut line));
                at += usize::from(text.get(at + 1) == Some(&b'\n'));
            }
            b'\n' => lines.push(std::mem::take(&mut line)),
            byte => line.push(byte),
        }
        at += 1;
    }
    let (mut seen, mut name, mut data) = (Seen::new(), Vec::new(), None::<Vec<u8>>);
    for line in lines {
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            if let Some(data) = data.take() {
                seen.push((name, data));
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value.to_vec(),
            b"data" | b"error" => match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            },
            _ => {}
        }
    }
    seen
}

fn in_pieces(pieces: &[&[u8]]) -> (Seen, &'static [u8]) {
    let (mut events, mut seen) = (Events::default(), Seen::new());
    for piece in pieces {
        let mut each =
            |event: Event<'_>| seen.push((event.name.to_vec(), event.data.to_vec()));
        events.push(piece, &mut each);
    }
    (seen, events.boundary())
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "data",
        "event",
        "error",
        "id",
        "retry",
        ":",
        " ",
        ": ",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\r",
        "\r\n\r\n",
        "x",
        "data: {\"a\":1}\n\n",
        "\u{feff}",
        "é",
        "data:\n",
        "data",
    ];
    let word =
        prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_split_gives_what_the_standard_says(
        text in text(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let want = plainly(&text);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&text[from..cut]);
            from = cut;
        }
        pieces.push(&text[from..]);
        prop_assert_eq!(&in_pieces(&pieces).0, &want);
        prop_assert_eq!(&in_pieces(&[&text[..]]).0, &want);
        prop_assert_eq!(&in_pieces(&text.chunks(1).collect::<Vec<_>>()).0, &want);
    }

    #[test]
    fn a_new_event_can_begin_wherever_the_stream_was_cut(text in text()) {
        let (_, boundary) = in_pieces(&[&text[..]]);
        let whole = [&text[..], boundary, b"event: e\ndata: last\n\n"].concat();
        let seen = plainly(&whole);
        prop_assert_eq!(seen.last(), Some(&(b"e".to_vec(), b"last".to_vec())), "{:?}", whole);
    }

    #[test]
    fn any_bytes_pass_in_bounded_room(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (mut events, mut count) = (Events::default(), 0);
        for piece in bytes.chunks(7) {
            events.push(piece, &mut |_| count += 1);
        }
        prop_assert!(count <= bytes.len());
    }
}

#[test]
fn half_a_mark_is_the_beginning_of_a_line() {
    for cut in [&b"\xef"[..], b"\xef\xbb", b"\xef\xbb\xbf", b""] {
        let (_, boundary) = in_pieces(&[cut]);
        let (seen, _) = in_pieces(&[cut, boundary, b"data: last\n\n"]);
        assert_eq!(seen, [(Vec::new(), b"last".to_vec())], "{cut:?}");
    }
}

#[test]
fn what_is_too_long_is_an_event_all_the_same() {
    for split in [1, 1_000, 7_919, 10_000_000] {
        let (mut events, mut seen) = (Events::default(), Vec::new());
        let long =
            format!("event: big\ndata: {}\n\ndata: next\n\n", "x".repeat(5_000_000));
        let lines = format!("event: many\n{}\n", "data: 0123456789\n".repeat(300_000));
        for text in [long, lines] {
            for piece in text.as_bytes().chunks(split) {
                events.push(piece, &mut |event| {
                    let name = String::from_utf8(event.name.to_vec()).unwrap();
                    seen.push((name, event.data.len(), event.is_cut));
                });
                assert!(events.line.capacity() <= 2 * (EVENT_MAX + NAME_MAX));
                assert!(events.data.capacity() <= 2 * EVENT_MAX);
            }
        }
        let want = [("big", EVENT_MAX, true), ("", 4, false), ("many", EVENT_MAX, true)];
        let seen: Vec<_> = seen.iter().map(|(n, l, c)| (n.as_str(), *l, *c)).collect();
        assert_eq!(seen, want, "in pieces of {split}");
    }
}
