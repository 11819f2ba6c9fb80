//! The links of the chain: a record's hash, and where the chain ends.
//!
//! Apart because both are all that the outside needs to notice a log that was cut.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Serialize, Serializer};

/// The SHA-256 of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// The last record of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Its number; 0 before the first record.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Hash {
    /// What the first record is chained to.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of several pieces in a row.
    pub(super) fn of(pieces: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for piece in pieces {
            context.update(piece);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl Head {
    /// The end of a log without records.
    pub const NONE: Self = Self { seq: 0, hash: Hash::NONE };
}

/// As 64 lower-case hexadecimal digits.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .into_iter()
            .try_for_each(|digit| f.write_char(char::from(DIGITS[usize::from(digit)])))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// From 64 lower-case hexadecimal digits.
impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        let pairs = text.as_bytes().chunks(2);
        let mut sound = text.len() == 64;
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            match pair {
                [high, low] => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => *byte = high << 4 | low,
                    _ => sound = false,
                },
                _ => sound = false,
            }
        }
        let shown: String = text.chars().take(80).collect();
        sound.then_some(Self(bytes)).ok_or_else(|| {
            format!(
                "{shown:?} is not the hash of a record, which has 64 digits of 0-9 a-f"
            )
        })
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::Hash;

    #[test]
    fn a_hash_is_the_sha_256_of_all_pieces() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(&[b"a", b"", b"bc"]).to_string(), abc);
        assert_eq!(abc.parse(), Ok(Hash::of(&[b"abc"])));
        assert_eq!(Hash::NONE.to_string(), "0".repeat(64));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let hash = "0".repeat(64);
        for bad in ["", &hash[1..], &hash.replace('0', "A"), &"ü".repeat(32), "abc"] {
            assert!(bad.parse::<Hash>().unwrap_err().contains("64 digits"), "{bad}");
        }
    }
}
