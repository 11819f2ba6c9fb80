//! `Certificate`: what a certificate in a file says of itself, for people. Apart from the
//! connections because nothing is decided by it.

use std::path::Path;
use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};

use super::error::TlsError;
use super::files::certificates;
use crate::vocab::time::Timestamp;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The names and addresses that it is for; none where it names nobody in a way that is
    /// looked at today.
    pub names: Vec<String>,
    /// From when on it is good, if that can be told.
    pub begins: Option<Timestamp>,
    /// Until when it is good, if that can be told.
    pub ends: Option<Timestamp>,
}

/// Whether a certificate is good by its dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is.
    Good,
    /// Its time has not come.
    Early(Timestamp),
    /// Its time is over.
    Over(Timestamp),
}

impl Certificate {
    /// The first certificate of a file, which is the one of its owner.
    ///
    /// # Errors
    /// [`TlsError`] when the file cannot be read or has no certificate in it.
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let chain = certificates(path)?;
        let first = chain.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
        let Some(leaf) = first else {
            return Err(TlsError::Empty { path: path.to_owned(), what: "certificate" });
        };
        Ok(Self {
            names: names(&leaf),
            begins: complaint(&leaf, 0),
            ends: complaint(&leaf, FAR),
        })
    }

    /// Whether it is good today.
    #[must_use]
    pub fn validity(&self) -> Validity {
        let now = Timestamp(UnixTime::now().as_secs().saturating_mul(1_000));
        match (self.begins, self.ends) {
            (_, Some(end)) if end < now => Validity::Over(end),
            (Some(begin), _) if begin > now => Validity::Early(begin),
            (_, _) => Validity::Good,
        }
    }
}

/// What it says it is for, when it is asked for what it cannot be for.
fn names(leaf: &ParsedCertificate<'_>) -> Vec<String> {
    let Ok(nobody) = ServerName::try_from("nobody.invalid") else { return Vec::new() };
    match verify_server_name(leaf, &nobody) {
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForNameContext { presented, .. },
        )) => presented.iter().map(|name| plain(name)).collect(),
        Ok(()) | Err(_) => Vec::new(),
    }
}

/// `DnsName("a.example")` and the like, without the wrapping.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

/// The date that a look at that time complains of: the dates are looked at before anything
/// else is.
fn complaint(leaf: &ParsedCertificate<'_>, at: u64) -> Option<Timestamp> {
    let provider = aws_lc_rs::default_provider();
    let seen = verify_server_cert_signed_by_trust_anchor(
        leaf,
        &RootCertStore::empty(),
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(at)),
        provider.signature_verification_algorithms.all,
    );
    let date = match seen {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after,
            ..
        })) => not_after,
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYetContext { not_before, .. },
        )) => not_before,
        Ok(()) | Err(_) => return None,
    };
    Some(Timestamp(date.as_secs().saturating_mul(1_000)))
}

/// The last second of the year 9999, the last that a certificate can name.
const FAR: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::{Certificate, Validity};
    use crate::tls::Authority;
    use crate::vocab::time::Timestamp;

    #[test]
    fn names_and_dates_are_those_of_the_certificate() {
        let authority = Authority::new();
        let (file, key) =
            authority.issue("a", &["a.example", "*.b.example", "127.0.0.1"]);
        let seen = Certificate::read(&file).unwrap();
        let mut names = seen.names.clone();
        names.sort_unstable();
        assert_eq!(names, ["*.b.example", "127.0.0.1", "a.example"]);
        // The dates of certificates that are made without any.
        assert_eq!(seen.begins.unwrap().to_string(), "1975-01-01T00:00:00.000Z");
        assert_eq!(seen.ends.unwrap().to_string(), "4096-01-01T00:00:00.000Z");
        assert_eq!(seen.validity(), Validity::Good);
        assert!(Certificate::read(&key).is_err());
    }

    #[test]
    fn a_certificate_out_of_its_time_is_told() {
        let authority = Authority::new();
        let (old, _) = authority.issue_for("old", &["a"], (2001, 2002));
        let over: Timestamp = "2002-01-01T00:00:00.000Z".parse().unwrap();
        assert_eq!(Certificate::read(&old).unwrap().validity(), Validity::Over(over));
        let (new, _) = authority.issue_for("new", &["a"], (3001, 3002));
        let early: Timestamp = "3001-01-01T00:00:00.000Z".parse().unwrap();
        assert_eq!(Certificate::read(&new).unwrap().validity(), Validity::Early(early));
    }
}
