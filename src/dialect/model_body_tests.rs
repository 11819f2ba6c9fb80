//! The model of a body: spellings, places, traps, and every way of cutting it.

use proptest::prelude::*;

use super::{BODY_NAME_BYTES, BodyModel, MODEL_NAME_BYTES, ModelScan};

fn scan(body: &[u8]) -> BodyModel {
    scan_in(body, body.len().max(1))
}

fn scan_in(body: &[u8], size: usize) -> BodyModel {
    let mut scan = ModelScan::default();
    for piece in body.chunks(size) {
        if scan.feed(piece) {
            break;
        }
    }
    scan.finish()
}

fn named(name: &str) -> BodyModel {
    BodyModel::Named(name.to_owned())
}

#[test]
fn the_name_is_found_wherever_it_stands() {
    for (body, name) in [
        (r#"{"model":"a"}"#, "a"),
        (r#"{"model":"a"} trailing"#, "a"),
        (" \r\n\t{ \"model\" : \"a\" } ", "a"),
        ("\u{feff}{\"model\":\"a\"}", "a"),
        (r#"{"messages":[{"role":"user","content":"hi"}],"model":"a"}"#, "a"),
        (r#"{"messages":[{"content":"\"model\":\"b\""}],"model":"a"}"#, "a"),
        (r#"{"x":{"model":"b"},"model":"a"}"#, "a"),
        (r#"{"x":[{"model":"b"},["model","b"]],"model":"a","y":{"model":"c"}}"#, "a"),
        (r#"{"a":1,"b":-1.5e+3,"c":true,"d":null,"e":NaN,"model":"a"}"#, "a"),
        (r#"{"a":[],"b":{},"c":[[]],"model":"a"}"#, "a"),
        (r#"{"mod\u0065l":"a"}"#, "a"),
        (r#"{"\u006D\u006f\u0064\u0065\u006c":"\u0061"}"#, "a"),
        (r#"{"model":"meta-llama\/Llama"}"#, "meta-llama/Llama"),
        (r#"{"model":"ü😀"}"#, "ü😀"),
        (r#"{"model":"\u00fc\ud83d\ude00"}"#, "ü😀"),
        (r#"{"model":"a\n\"b"}"#, "a\n\"b"),
        (r#"{"model":""}"#, ""),
        (r#"{"model":"a","model":"a"}"#, "a"),
        (r#"{"Model":"a","model":"a"}"#, "a"),
        (r#"{"":"b","models":"c","model ":"d","xmodel":"e","model":"a"}"#, "a"),
    ] {
        for size in 1..=body.len() {
            assert_eq!(scan_in(body.as_bytes(), size), named(name), "{body} by {size}");
        }
    }
}

#[test]
fn what_names_no_model_at_the_top_names_none() {
    for body in [
        "",
        "null",
        "[]",
        r#""model""#,
        r#"["model","a"]"#,
        r#"[{"model":"a"}]"#,
        "model=a",
        "{}",
        r#"{"model":5}"#,
        r#"{"model":null}"#,
        r#"{"model":["a"]}"#,
        r#"{"model":{"model":"a"}}"#,
        r#"{"Model":"a"}"#,
        r#"{"x":{"model":"a"}}"#,
        r#"{"x":"model"}"#,
        r#"{"model":"a""#,
        r#"{"model":"a"#,
        r#"{"model":"a",}"#,
        r#"{"model":"a" "x":1}"#,
        r#"{"model" "a"}"#,
        r#"{model:"a"}"#,
        r#"{'model':'a'}"#,
        r#"{/* */"model":"a"}"#,
        r#"{"x":[},"model":"a"}"#,
        r#"{"x":{],"model":"a"}"#,
        r#"{"x":1]"#,
        r#"{"model":"\ud83d"}"#,
        r#"{"model":"\ud83dx"}"#,
        r#"{"model":"\ude00"}"#,
        r#"{"model":"\x61"}"#,
        r#"{"model":"\u00zz"}"#,
        r#"{"mod\ud83del":"a"}"#,
        "\u{feff}\u{feff}{\"model\":\"a\"}",
    ] {
        for size in 1..=body.len().max(1) {
            let got = scan_in(body.as_bytes(), size);
            assert_eq!(got, BodyModel::None, "{body} by {size}");
        }
    }
    assert_eq!(scan(b"{\"model\":\"\xff\xfe\"}"), BodyModel::None);
    let wide = "{\"model\":\"a\"}".encode_utf16().flat_map(u16::to_le_bytes);
    assert_eq!(scan(&wide.collect::<Vec<u8>>()), BodyModel::None);
    let deep =
        format!("{{\"x\":{}{},\"model\":\"a\"}}", "[".repeat(200), "]".repeat(200));
    assert_eq!(scan(deep.as_bytes()), BodyModel::None);
    let long = format!("{{\"model\":\"{}\"}}", "a".repeat(MODEL_NAME_BYTES + 1));
    assert_eq!(scan(long.as_bytes()), BodyModel::None);
}

#[test]
fn two_models_are_told_from_one() {
    for body in [
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","x":[1,2],"model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"model":"a","MODEL":"b"}"#,
        r#"{"Model":"b","model":"a"}"#,
        r#"{"model":"a","model":null}"#,
        r#"{"model":1,"model":"a"}"#,
        r#"{"model":{"x":1},"model":"a"}"#,
    ] {
        for size in 1..=body.len() {
            assert_eq!(scan_in(body.as_bytes(), size), BodyModel::Twice, "{body}");
        }
    }
}

#[test]
fn only_the_beginning_of_a_body_counts() {
    let padded = |before: usize, rest: &str| {
        let frame = r#"{"x":"","#.len();
        format!("{{\"x\":\"{}\",{rest}", "y".repeat(before - frame))
    };
    let name = r#""model":"a""#;
    let fits = padded(BODY_NAME_BYTES - name.len(), &format!("{name}, \"z\":1}}"));
    let late = padded(BODY_NAME_BYTES - name.len() + 1, &format!("{name}, \"z\":1}}"));
    for size in [1, 7, 4096, 65_535, 65_536, 65_537, 1 << 20] {
        assert_eq!(scan_in(fits.as_bytes(), size), named("a"), "by {size}");
        assert_eq!(scan_in(late.as_bytes(), size), BodyModel::None, "by {size}");
    }
    let mut scan = ModelScan::default();
    assert!(!scan.feed(br#"{"model":"a","#), "a second one may follow");
    assert!(scan.feed(&b" ".repeat(BODY_NAME_BYTES)), "but not for ever");
    assert_eq!(scan.finish(), named("a"));
}

proptest! {
    #[test]
    fn a_body_says_what_its_parser_says(
        name in any::<String>(),
        key in any::<String>(),
        filler in any::<String>(),
        numbers in prop::collection::vec(any::<f64>(), 0..4),
        size in 1usize..40,
    ) {
        let wrong = key.eq_ignore_ascii_case("model");
        let body = serde_json::json!({
            (if wrong { "x" } else { &key }): filler,
            "a": { "model": filler, "list": numbers },
            "model": name,
            "z": [[filler], { "model": name }],
        });
        for text in [body.to_string(), serde_json::to_string_pretty(&body).unwrap()] {
            prop_assert_eq!(scan_in(text.as_bytes(), size), named(&name));
        }
    }

    #[test]
    fn no_bytes_are_too_odd(body in prop::collection::vec(any::<u8>(), 0..400), size in 1usize..40) {
        prop_assert_eq!(scan_in(&body, size), scan(&body));
    }

    #[test]
    fn no_text_near_json_is_too_odd(
        body in "[{}\\[\\]\",:\\\\ua-e0-9 \\n.-]{0,120}",
        size in 1usize..20,
    ) {
        let body = format!("{{\"model\":\"m\",{body}");
        let got = scan_in(body.as_bytes(), size);
        prop_assert_eq!(&got, &scan(body.as_bytes()));
        // Whatever a strict parser understands is understood in the same way.
        if let Ok(serde_json::Value::Object(map)) = serde_json::from_str(&body) {
            prop_assert_eq!(got, named(map["model"].as_str().unwrap()));
        }
    }
}
