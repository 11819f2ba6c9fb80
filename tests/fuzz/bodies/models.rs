//! Any bytes as a path or a JSON body that may name a model: the same name however the body
//! was split, and the one that a whole JSON parser finds.

use serde_json::{Map, Value};
use switchback::dialect::{
    BODY_NAME_BYTES, BodyModel, MODEL_NAME_BYTES, ModelScan, path_names,
};

use super::{choice, cuts, grown};

pub(super) fn body(data: &[u8]) {
    match choice(data, 2) {
        (0, rest) => in_body(&grown(rest)),
        (_, rest) => in_path(rest),
    }
}

fn found(pieces: &[&[u8]]) -> BodyModel {
    let mut scan = ModelScan::default();
    for piece in pieces {
        if scan.feed(piece) {
            break;
        }
    }
    scan.finish()
}

fn in_body(bytes: &[u8]) {
    let once = found(&[bytes]);
    for pieces in cuts(bytes) {
        assert_eq!(found(&pieces), once);
    }
    if let BodyModel::Named(name) = &once {
        assert!(name.len() <= MODEL_NAME_BYTES);
    }
    if bytes.len() > BODY_NAME_BYTES {
        return;
    }
    let Ok(whole) = serde_json::from_slice::<Map<String, Value>>(bytes) else { return };
    let model = whole.get("model").and_then(Value::as_str);
    match once {
        BodyModel::Named(name) => assert_eq!(model, Some(name.as_str())),
        BodyModel::None => {
            assert!(model.is_none_or(|name| name.len() > MODEL_NAME_BYTES), "{model:?}");
        }
        BodyModel::Twice => {}
    }
}

fn in_path(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    let names = path_names(path);
    for name in [&names.model, &names.version].into_iter().flatten() {
        assert!(!name.is_empty() && name.len() <= path.len());
    }
    assert!(names.model.is_some() || names.version.is_none(), "a version of nothing");
    if names.model.is_some() {
        assert!(!path.split('/').any(|part| part == "." || part == ".."));
    }
    // A query is not part of a path, and a path that goes on names the same.
    assert_eq!(path_names(path), names);
}
