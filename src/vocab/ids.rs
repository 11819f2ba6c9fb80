//! Names and numbers that tell things apart, each a parsed newtype.
//!
//! A [`Name`] is safe to print as a metric label, a header value and a file name, because
//! its alphabet is small; everything else about a version hangs on it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

/// The name of a route or of a version: 1 to 63 characters of `A-Z a-z 0-9 . _ -`,
/// beginning with a letter or a digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a name: use 1 to 63 of the characters A-Z a-z 0-9 . _ -, the first a letter or digit"
)]
pub struct NameError(String);

impl Name {
    /// Parses a name.
    ///
    /// # Errors
    /// [`NameError`] when the text is empty, too long or has another character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fits = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NameError(text.chars().take(80).collect()))
        }
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a quarantine remembers of a version: its declared digest, else its name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(Arc<str>);

impl Digest {
    /// Wraps a digest as the configuration gives it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text of the digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who ordered something, as the credential says; never what a request says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operator {
    /// The name.
    pub id: String,
    /// How it was shown.
    pub method: Credential,
}

/// How an operator's name was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A bearer token.
    Token,
    /// A client's certificate.
    Certificate,
    /// Whoever reaches a loopback address where nobody is named.
    Loopback,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// The place of one version's books in every worker: a small number, unique in the process
/// while any table mentions it. The request's path indexes by it and hashes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// How many versions one process can hold at a time.
    pub const LIMIT: usize = 1024;

    /// The slot of that number, if it is below [`Slot::LIMIT`].
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        if number < Self::LIMIT { u16::try_from(number).ok().map(Self) } else { None }
    }

    /// The number, below [`Slot::LIMIT`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The number of a published table; each publication has a larger one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a route's constant shares: it grows whenever a version's share changes, so
/// that each request is counted under the shares it was routed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u32);

#[cfg(test)]
mod tests {
    use super::{Name, Slot};

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["v2.4", "iris", "a", "2024-11_x", &"x".repeat(63)] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-v", ".x", "a b", "a/b", "ü", "a\n", &"x".repeat(64)] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn slots_are_bounded() {
        assert_eq!(Slot::new(1023).unwrap().index(), 1023);
        assert!(Slot::new(1024).is_none());
    }
}
