//! What is wrong with a sample of real numbers. Apart because every test on outputs refuses
//! the same faults: a number that is none would otherwise take part in no comparison, and
//! the test would quietly say that nothing differs.

use thiserror::Error;

/// Why a sample cannot be tested. `sample` says which one, places count from 0.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SampleError {
    /// There is nothing in it.
    #[error("{sample} has no values")]
    Empty {
        /// Which sample.
        sample: &'static str,
    },
    /// A value is not a number.
    #[error("{sample}[{place}] is not a number")]
    NotANumber {
        /// Which sample.
        sample: &'static str,
        /// Where in it.
        place: usize,
    },
    /// A value is outside the range that the test is made for.
    #[error("{sample}[{place}] is {value}, not within {least} to {most}")]
    OutOfRange {
        /// Which sample.
        sample: &'static str,
        /// Where in it.
        place: usize,
        /// The value.
        value: f64,
        /// The lowest value that is allowed.
        least: f64,
        /// The highest value that is allowed.
        most: f64,
    },
    /// It is not in ascending order.
    #[error("{sample}[{place}] is {value}, below the value before it")]
    Unsorted {
        /// Which sample.
        sample: &'static str,
        /// Where in it.
        place: usize,
        /// The value.
        value: f64,
    },
    /// Two counts that belong together have different numbers of entries.
    #[error("{sample} has {entries} entries, not {expected}")]
    Entries {
        /// Which sample.
        sample: &'static str,
        /// How many it has.
        entries: usize,
        /// How many it should have.
        expected: usize,
    },
}

/// Refuses a sample that is empty, has a value that is no number, or is out of order.
/// Infinities are numbers.
pub(super) fn check_sorted(
    sample: &'static str,
    values: &[f64],
) -> Result<(), SampleError> {
    check(sample, values, f64::NEG_INFINITY, f64::INFINITY)?;
    match values.windows(2).position(|pair| pair[1] < pair[0]) {
        Some(at) => {
            let place = at + 1;
            Err(SampleError::Unsorted { sample, place, value: values[place] })
        }
        None => Ok(()),
    }
}

/// Refuses a sample that is empty or has a value that is no number, or not within bounds.
pub(super) fn check(
    sample: &'static str,
    values: &[f64],
    least: f64,
    most: f64,
) -> Result<(), SampleError> {
    if values.is_empty() {
        return Err(SampleError::Empty { sample });
    }
    for (place, value) in values.iter().copied().enumerate() {
        if value.is_nan() {
            return Err(SampleError::NotANumber { sample, place });
        }
        if value < least || value > most {
            return Err(SampleError::OutOfRange { sample, place, value, least, most });
        }
    }
    Ok(())
}

/// Refuses counts by category that are of another length, or all zero.
pub(super) fn check_counts(
    sample: &'static str,
    counts: &[u64],
    expected: usize,
) -> Result<(), SampleError> {
    let entries = counts.len();
    if entries != expected {
        return Err(SampleError::Entries { sample, entries, expected });
    }
    if counts.iter().all(|count| *count == 0) {
        return Err(SampleError::Empty { sample });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check, check_counts, check_sorted};

    #[test]
    fn every_fault_is_named_with_its_place() {
        let sorted = |values: &[f64]| check_sorted("window", values);
        for (fault, message) in [
            (sorted(&[]), "window has no values"),
            (sorted(&[0.0, f64::NAN]), "window[1] is not a number"),
            (sorted(&[1.0, 2.0, 1.5]), "window[2] is 1.5, below the value before it"),
            (
                check("scores", &[0.5, 1.25], 0.0, 1.0),
                "scores[1] is 1.25, not within 0 to 1",
            ),
            (check_counts("canary", &[1, 2], 3), "canary has 2 entries, not 3"),
            (check_counts("canary", &[0, 0], 2), "canary has no values"),
        ] {
            assert_eq!(fault.unwrap_err().to_string(), message);
        }
        assert_eq!(sorted(&[f64::NEG_INFINITY, 0.0, 0.0, f64::INFINITY]), Ok(()));
    }
}
