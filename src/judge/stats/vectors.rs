//! Reads the reference numbers for the tests of the formulas. Apart because every formula's
//! test needs the same few lines.

use serde_json::Value;

/// The reference cases of one formula.
macro_rules! cases {
    ($name:literal) => {
        $crate::judge::stats::vectors::parse(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/vectors/",
            $name,
            ".json"
        )))
    };
}
pub(super) use cases;

pub(super) fn parse(text: &str) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(!cases.is_empty());
    cases
}

pub(super) fn real(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

pub(super) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is not a list"))
}

pub(super) fn reals(value: &Value) -> Vec<f64> {
    list(value).iter().map(real).collect()
}

pub(super) fn counts(value: &Value) -> Vec<u64> {
    list(value).iter().map(count).collect()
}

/// Equal to a part in 10^12, or to 10^-12 below one.
pub(super) fn assert_same(got: f64, expected: &Value, what: &Value) {
    assert_near(got, real(expected), 1e-12 * real(expected).abs().max(1.0), what);
}

pub(super) fn assert_near(got: f64, expected: f64, tolerance: f64, what: &Value) {
    assert!((got - expected).abs() <= tolerance, "{got} is not {expected}: {what}");
}
