//! Any bytes as server-sent events: the same events however they were split, those that a
//! plain reading of the standard finds, and a new event can begin anywhere.

use switchback::dialect::{EVENT_MAX, Events};

use super::{cuts, grown};

/// A name, data, whether it was cut, whether it stood in a field named `error`.
type Seen = (Vec<u8>, Vec<u8>, bool, bool);

fn seen(pieces: &[&[u8]]) -> (Vec<Seen>, &'static [u8]) {
    let (mut events, mut all) = (Events::default(), Vec::new());
    for piece in pieces {
        events.push(piece, &mut |event| {
            assert!(event.data.len() <= EVENT_MAX, "more than the bound");
            let (name, data) = (event.name.to_vec(), event.data.to_vec());
            all.push((name, data, event.is_cut, event.is_error_field));
        });
    }
    (all, events.boundary())
}

pub(super) fn body(data: &[u8]) {
    let data = grown(data);
    let (whole, boundary) = seen(&[&data]);
    for pieces in cuts(&data) {
        assert_eq!(seen(&pieces), (whole.clone(), boundary));
    }
    let (more, _) = seen(&[&data, boundary, b"data: Z\n\n"]);
    assert_eq!(more.last().map(|last| &last.1[..]), Some(&b"Z"[..]), "{boundary:?}");
    assert!(more.len() <= whole.len() + 2);
    // One at the very beginning is a mark, whoever writes it.
    let (name, error) =
        (more.last().map(|last| last.0.len()), more.last().map(|it| it.3));
    assert_eq!((name, error), (Some(0), Some(false)), "it took something over");

    let plain = plainly(&data);
    assert_eq!(whole.len(), plain.len());
    for ((name, data, is_cut, error), expected) in whole.iter().zip(&plain) {
        if *is_cut {
            assert!(expected.1.len() >= data.len());
        } else {
            assert_eq!(data, &expected.1);
        }
        assert!(expected.0.starts_with(name));
        assert_eq!(*error, expected.3);
    }
}

/// The WHATWG HTML standard, section 9.2.6, over bytes that are all here, with the field
/// `error` as one more name for data.
fn plainly(bytes: &[u8]) -> Vec<Seen> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\r' | b'\n' => {
                if *byte == b'\r' && bytes.get(at) == Some(&b'\n') {
                    at += 1;
                }
                lines.push(std::mem::take(&mut line));
            }
            other => line.push(*other),
        }
    }
    let mut all = Vec::new();
    let (mut name, mut data, mut error): (Vec<u8>, Option<Vec<u8>>, bool) =
        (Vec::new(), None, false);
    for line in lines {
        if line.is_empty() {
            if let Some(data) = data.take() {
                all.push((std::mem::take(&mut name), data, false, error));
            }
            name.clear();
            error = false;
            continue;
        }
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(at);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => name = value.to_vec(),
            b"data" | b"error" => {
                error |= field == b"error";
                match &mut data {
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                    None => data = Some(value.to_vec()),
                }
            }
            _ => {}
        }
    }
    all
}
