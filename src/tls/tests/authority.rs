//! An authority that vouches for certificates in files, for tests. Apart from the test
//! server because those who serve need certificates and no server.

use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority with a directory, which is gone when this is dropped.
pub(crate) struct Authority {
    own: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let own =
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let name = format!("switchback-ca-{}-{}", std::process::id(), fastrand::u64(..));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ca.pem"), own.pem()).unwrap();
        Self { own, dir }
    }

    /// Its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A certificate for these names, and its key.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        self.issue_for(file, names, (1975, 4096))
    }

    /// The same, good from the first to the second of these years.
    pub(crate) fn issue_for(
        &self,
        file: &str,
        names: &[&str],
        (from, to): (i32, i32),
    ) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let cert = params.signed_by(&key, &self.own).unwrap();
        let at = |end: &str| self.dir.join(format!("{file}.{end}"));
        fs::write(at("pem"), cert.pem()).unwrap();
        fs::write(at("key"), key.serialize_pem()).unwrap();
        (at("pem"), at("key"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}
