//! TLS in one place: what certificates are believed, shown and refused.
//!
//! [`TlsClient`] opens connections for everything that leaves the process. [`TlsServer`]
//! answers them, from files that may change while it runs, and [`Fingerprint`] tells the
//! callers' certificates apart. Nothing here goes below TLS 1.2, and rustls with its
//! provider is named in no other room, so that how a connection is protected is decided on
//! these pages alone.

mod about;
#[cfg(test)]
#[path = "tests/authority.rs"]
mod authority;
mod client;
mod dialer;
mod error;
mod files;
mod fingerprint;
mod server;
mod stream;
#[cfg(test)]
#[path = "tests/server.rs"]
pub(crate) mod testing;

pub use about::{Certificate, Validity};
#[cfg(test)]
pub(crate) use authority::Authority;
pub use client::{ClientSettings, ClientStream, TlsClient};
pub use dialer::{Dialer, Offer, Trust, is_alert};
pub use error::TlsError;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use server::{MinVersion, ServerSettings, ServerStream, TlsServer, caller};
pub use stream::{Alert, Stream};
