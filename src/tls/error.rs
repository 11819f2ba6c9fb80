//! What can be wrong with certificates and keys before there is a connection. Apart because
//! both sides of a connection read the same kinds of files.

use std::path::PathBuf;

use thiserror::Error;

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("{path} cannot be read as PEM: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong; nothing of the file's content.
        why: String,
    },
    /// A file has nothing of what it is for.
    #[error("{path} has no {what} in it")]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// A certificate is of no use.
    #[error("{path} has a certificate that cannot be used")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// Certificate and key do not belong together, or are of a kind that is not known.
    #[error("the certificate in {cert} and the key in {key} cannot be used together")]
    Identity {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// Only one half of an identity is given.
    #[error("a certificate and its key are needed together: only one of them is named")]
    Half,
}
