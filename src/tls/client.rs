//! `TlsClient`: connections to servers that must show a certificate we believe. Apart from
//! the other side because it trusts by default what the public roots vouch for.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::TlsError;
use super::files::{certificates, private_key};

/// What a client believes and shows, as files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// Further roots, beside those of the public web.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown when a server asks, with its chain.
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate.
    pub key_file: Option<PathBuf>,
}

/// A protected connection to a server.
pub type ClientStream = TlsStream<TcpStream>;

/// Opens protected connections. Cheap to clone.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// A client for TLS 1.2 and 1.3. Reads the files, which blocks.
    ///
    /// # Errors
    /// [`TlsError`] when a file cannot be read or has something of no use in it.
    pub fn new(settings: &ClientSettings) -> Result<Self, TlsError> {
        config(settings).map(|config| Self { config: Arc::new(config) })
    }

    /// Shakes hands over a connection that is open. `host` is the name or the IP address
    /// that the server's certificate must be for.
    ///
    /// # Errors
    /// The connection's own, or one that holds what rustls says.
    pub async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<ClientStream> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }
}

impl Default for TlsClient {
    fn default() -> Self {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let config = builder().with_root_certificates(roots).with_no_client_auth();
        Self { config: Arc::new(config) }
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

/// What these settings come to. Reads the files, which blocks.
pub(super) fn config(settings: &ClientSettings) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = &settings.ca_file {
        for cert in certificates(path)? {
            roots
                .add(cert)
                .map_err(|source| TlsError::Certificate { path: path.clone(), source })?;
        }
    }
    let builder = builder().with_root_certificates(roots);
    Ok(match (&settings.cert_file, &settings.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|source| TlsError::Identity {
                cert: cert.clone(),
                key: key.clone(),
                source,
            })?,
        (Some(_), None) | (None, Some(_)) => return Err(TlsError::Half),
    })
}

#[expect(clippy::expect_used, reason = "aws-lc-rs has suites for both versions")]
fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider knows both versions")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::{ClientSettings, TlsClient, TlsError};
    use crate::tls::testing::Server;

    async fn shake(client: &TlsClient, server: &Server) -> std::io::Result<()> {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        client.connect("localhost", stream).await.map(drop)
    }

    #[tokio::test]
    async fn only_a_server_that_is_vouched_for_is_believed() {
        let server = Server::start().await;
        let settings = ClientSettings {
            ca_file: Some(server.ca_file()),
            ..ClientSettings::default()
        };
        let believing = TlsClient::new(&settings).unwrap();
        shake(&believing, &server).await.unwrap();
        let said = shake(&TlsClient::default(), &server).await.unwrap_err();
        assert!(said.to_string().contains("UnknownIssuer"), "{said}");
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let said = believing.connect("example.com", stream).await.unwrap_err();
        assert!(said.to_string().contains("not valid for name"), "{said}");
    }

    #[tokio::test]
    async fn a_client_shows_its_certificate_when_asked() {
        let server = Server::asking().await;
        let (cert, key) = server.client_files();
        let settings = ClientSettings {
            ca_file: Some(server.ca_file()),
            cert_file: Some(cert),
            key_file: Some(key),
        };
        assert!(server.answers(&TlsClient::new(&settings).unwrap()).await);
        let mute = ClientSettings { cert_file: None, key_file: None, ..settings };
        assert!(!server.answers(&TlsClient::new(&mute).unwrap()).await);
    }

    #[tokio::test]
    async fn files_that_are_of_no_use_are_named() {
        let server = Server::start().await;
        let (cert, _) = server.client_files();
        let of = |ca: Option<&str>, cert: Option<&str>, key: Option<&str>| {
            let settings = ClientSettings {
                ca_file: ca.map(Into::into),
                cert_file: cert.map(Into::into),
                key_file: key.map(Into::into),
            };
            TlsClient::new(&settings).unwrap_err()
        };
        let said = of(Some("no/such.pem"), None, None);
        assert!(matches!(said, TlsError::File { .. }), "{said:?}");
        let said = of(Some("Cargo.toml"), None, None);
        assert!(matches!(said, TlsError::Empty { .. }), "{said:?}");
        let said = of(None, Some("Cargo.toml"), None);
        assert!(matches!(said, TlsError::Half), "{said:?}");
        let said = of(None, cert.to_str(), Some("Cargo.toml"));
        assert!(matches!(said, TlsError::File { .. }), "{said:?}");
    }
}
