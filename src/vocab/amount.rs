//! Numbers that carry their unit and cannot be out of range.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

/// A share between 0 % and 100 %, kept in parts per million (0.0001 % steps).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

/// Why a number is not a [`Percent`].
#[derive(Debug, Error, PartialEq)]
pub enum PercentError {
    /// Above 100 %.
    #[error("{0}% is above 100%")]
    Above(f64),
    /// Below 0 %.
    #[error("{0}% is below 0%")]
    Below(f64),
    /// Not a finite number.
    #[error("not a number of percent")]
    NotANumber,
}

impl Percent {
    /// 0 %.
    pub const ZERO: Self = Self(0);
    /// 100 %.
    pub const FULL: Self = Self(1_000_000);

    /// From a number of percent, such as `0.5` for half a percent.
    ///
    /// # Errors
    /// [`PercentError`] when the number is not between 0 and 100.
    pub fn of(percent: f64) -> Result<Self, PercentError> {
        if !percent.is_finite() {
            return Err(PercentError::NotANumber);
        }
        if percent > 100.0 {
            return Err(PercentError::Above(percent));
        }
        if percent < 0.0 {
            return Err(PercentError::Below(percent));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 1,000,000 after the checks above"
        )]
        Ok(Self((percent * 10_000.0).round() as u32))
    }

    /// From parts per million, capped at 100 %.
    #[must_use]
    pub const fn from_ppm(ppm: u32) -> Self {
        if ppm < Self::FULL.0 { Self(ppm) } else { Self::FULL }
    }

    /// Parts per million, 0 to 1,000,000.
    #[must_use]
    pub fn ppm(self) -> u32 {
        self.0
    }

    /// The number of percent, 0 to 100.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// The share as a fraction, 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1_000_000.0
    }

    /// What is missing to 100 %.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(Self::FULL.0 - self.0)
    }

    /// The sum, or `None` above 100 %.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        let sum = self.0 + other.0;
        (sum <= Self::FULL.0).then_some(Self(sum))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent())
    }
}

impl Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.percent())
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::of(f64::deserialize(from)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Percent, PercentError};

    #[test]
    fn what_was_written_reads_as_the_same() {
        for ppm in [0, 1, 29, 123_457, 999_999, 1_000_000] {
            let share = Percent::from_ppm(ppm);
            let text = serde_json::to_string(&share).unwrap();
            assert_eq!(serde_json::from_str::<Percent>(&text).unwrap(), share, "{text}");
        }
        assert!(serde_json::from_str::<Percent>("101").is_err());
    }

    #[test]
    fn decimals_survive() {
        assert_eq!(Percent::of(0.5).unwrap().ppm(), 5_000);
        assert_eq!(Percent::of(12.3456).unwrap().to_string(), "12.3456%");
        assert_eq!(Percent::of(100.0).unwrap(), Percent::FULL);
    }

    #[test]
    fn what_is_no_share_is_refused() {
        assert_eq!(Percent::of(130.0), Err(PercentError::Above(130.0)));
        assert_eq!(Percent::of(-1.0), Err(PercentError::Below(-1.0)));
        assert_eq!(Percent::of(f64::NAN), Err(PercentError::NotANumber));
    }

    #[test]
    fn shares_add_up_to_a_hundred_at_most() {
        let sixty = Percent::of(60.0).unwrap();
        assert_eq!(sixty.rest(), Percent::of(40.0).unwrap());
        assert_eq!(sixty.plus(sixty.rest()), Some(Percent::FULL));
        assert_eq!(sixty.plus(sixty), None);
    }
}
