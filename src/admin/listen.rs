//! Taking the operators' addresses, before anything else of the process starts.
//!
//! Apart from the server so that a port in use is said while nothing runs yet, and names
//! the key of the configuration that asked for it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use thiserror::Error;

use super::settings::Settings;
use crate::tls::{TlsError, TlsServer};

/// The operators' listening sockets, not served yet.
#[derive(Debug)]
pub struct Bound {
    pub(super) admin: TcpListener,
    pub(super) metrics: Option<TcpListener>,
    pub(super) tls: Option<Arc<TlsServer>>,
}

/// Why the operators' side cannot begin.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("{key}: cannot listen on {address}")]
    Address {
        /// The key of the configuration.
        key: &'static str,
        /// The address it names.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Everybody who reaches the address could change traffic.
    #[error("admin.operators: {0} is not a loopback address, so there must be operators")]
    Open(SocketAddr),
    /// Its certificate cannot be used.
    #[error("admin.tls")]
    Tls(#[from] TlsError),
}

/// Takes the addresses of `settings`; callers are answered once [`super::serve`] runs.
///
/// # Errors
/// [`BindError`] when an address cannot be had, when it is not loopback and nobody is named
/// who may use it, or when its certificate cannot be used.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    let address = settings.address;
    if settings.operators.is_empty() && !is_loopback(address) {
        return Err(BindError::Open(address));
    }
    let admin = listen("admin.address", address)?;
    let metrics = settings.metrics_address.map(|at| listen("admin.metricsAddress", at));
    let tls = settings.tls.clone().map(|tls| TlsServer::new(tls, &["http/1.1"]));
    let tls = tls.transpose()?.map(Arc::new);
    Ok(Bound { admin, metrics: metrics.transpose()?, tls })
}

impl Bound {
    /// The address of the API, with the port that the system chose where 0 was asked for.
    ///
    /// # Errors
    /// What the system says when the socket has no address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// The open address for metrics and health, if there is one.
    ///
    /// # Errors
    /// What the system says when the socket has no address.
    pub fn metrics_address(&self) -> io::Result<Option<SocketAddr>> {
        self.metrics.as_ref().map(TcpListener::local_addr).transpose()
    }
}

/// Whether only this machine reaches the address, in either spelling of IPv4.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let failed = |source| BindError::Address { key, address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::net::SocketAddr;

    use super::{BindError, bind};
    use crate::admin::Settings;

    fn settings(address: SocketAddr) -> Settings {
        Settings::on(address)
    }

    #[test]
    fn a_port_in_use_is_said_with_its_key() {
        let first = bind(&settings(([127, 0, 0, 1], 0).into())).unwrap();
        let taken = first.address().unwrap();

        let refused = bind(&settings(taken)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("admin.address: cannot listen on {taken}")
        );
        assert!(refused.source().unwrap().to_string().contains("in use"));

        let mut second = settings(([127, 0, 0, 1], 0).into());
        second.metrics_address = Some(taken);
        assert!(
            bind(&second).unwrap_err().to_string().starts_with("admin.metricsAddress: ")
        );
    }

    #[test]
    fn an_open_address_needs_operators() {
        let refused = bind(&settings(([0, 0, 0, 0], 0).into())).unwrap_err();
        assert!(matches!(refused, BindError::Open(_)), "{refused}");
    }
}
