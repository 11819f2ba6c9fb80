//! `Fingerprint`: which certificate it is, without a doubt. Apart from the connections
//! because the configuration names operators by it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use thiserror::Error;

/// The SHA-256 of a certificate's DER encoding, as `openssl x509 -fingerprint -sha256`
/// prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// Why a text is not a [`Fingerprint`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not the SHA-256 of a certificate: write its 64 hexadecimal digits, with or without \
     colons, as `openssl x509 -noout -fingerprint -sha256 -in FILE` prints them"
)]
pub struct FingerprintError(String);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, der).as_ref());
        Self(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| FingerprintError(text.chars().take(100).collect()))
    }
}

/// Digits of both cases; colons between all bytes or none.
fn parse(text: &str) -> Option<Fingerprint> {
    let pairs: Vec<&[u8]> = match text.len() {
        64 => text.as_bytes().chunks(2).collect(),
        95 => text.split(':').map(str::as_bytes).collect(),
        _ => return None,
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = *pair else { return None };
        *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    }
    Some(Fingerprint(bytes))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn it_is_the_sha_256_in_either_spelling() {
        let of = Fingerprint::of(b"abc");
        // The example of FIPS 180-2, appendix B.1.
        let plain = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(plain.parse::<Fingerprint>().unwrap(), of);
        let colons = of.to_string();
        assert!(colons.starts_with("BA:78:16:BF:"), "{colons}");
        assert_eq!(colons.parse::<Fingerprint>().unwrap(), of);
        for bad in [
            "",
            &plain[1..],
            &format!("{plain}0"),
            &plain.replace('b', "g"),
            &colons.replace(':', "-"),
            &colons.replacen(":78", "7:8", 1),
            &format!("sha256:{plain}"),
            &"é".repeat(32),
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
