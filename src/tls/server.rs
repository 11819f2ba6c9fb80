//! `TlsServer`: answers protected connections with a certificate from files, which may be
//! renewed while it runs.
//!
//! Apart from the other side because it has a certificate to show, names that it answers
//! for, and files that others replace under it.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{
    ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client::{certificates, private_key};
use super::error::TlsError;
use super::fingerprint::Fingerprint;

/// What a listener shows and asks for, as files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// The certificate, followed by those that vouch for it.
    pub cert_file: PathBuf,
    /// The key of that certificate.
    pub key_file: PathBuf,
    /// Who vouches for callers; where it is given, a caller without a certificate from
    /// there is refused.
    pub client_ca_file: Option<PathBuf>,
    /// The lowest version that is spoken.
    pub min_version: MinVersion,
}

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// 1.2 and 1.3.
    #[default]
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// A protected connection from a caller.
pub type ServerStream<S> = TlsStream<S>;

/// Answers protected connections. What the files hold is what the next connection gets;
/// those that stand go on.
pub struct TlsServer {
    settings: ServerSettings,
    protocols: Vec<Vec<u8>>,
    current: RwLock<Current>,
    /// The files as they were at the last look, whatever came of it.
    seen: Mutex<Stamps>,
}

#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
}

/// What tells one state of the files from another: device, inode, length and time of each.
type Stamps = Vec<Option<(u64, u64, u64, i64, i64)>>;

impl TlsServer {
    /// A server that speaks these protocols (ALPN), the best one first. Reads the files,
    /// which blocks.
    ///
    /// # Errors
    /// [`TlsError`] when a file cannot be read or has something of no use in it.
    pub fn new(settings: ServerSettings, protocols: &[&str]) -> Result<Self, TlsError> {
        let protocols: Vec<Vec<u8>> =
            protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // Before the files are read: what changes meanwhile is then seen as a change.
        let seen = Mutex::new(stamps(&settings));
        let current = RwLock::new(load(&settings, &protocols)?);
        Ok(Self { settings, protocols, current, seen })
    }

    /// Shakes hands over a connection that is open.
    ///
    /// # Errors
    /// The connection's own, or one that holds what rustls says.
    pub async fn accept<S>(&self, stream: S) -> io::Result<ServerStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.current().config).accept(stream).await
    }

    /// Whether the certificate of now is for that name or IP address.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        covers(&self.current().leaf, host)
    }

    /// Reads the files again if they have changed: whether what they hold is in force now.
    /// Blocks.
    ///
    /// # Errors
    /// [`TlsError`] when what they hold is of no use; what was in force stays, and the same
    /// state of the files is not tried again.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let now = stamps(&self.settings);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return Ok(false);
            }
            *seen = now;
        }
        let next = load(&self.settings, &self.protocols)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }

    /// Looks at the files every few seconds for as long as this is polled.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let server = Arc::clone(&self);
            let looked = spawn_blocking(move || server.refresh()).await;
            let cert = self.settings.cert_file.display();
            match looked {
                Ok(Ok(true)) => {
                    tracing::info!(%cert, "the renewed certificate is in use");
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(
                        %cert,
                        error,
                        "the certificate files changed and are of no use: those before stay"
                    );
                }
                Err(error) => tracing::error!(%error, "cannot look at certificates"),
            }
        }
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The certificate that the caller showed, if he showed one.
#[must_use]
pub fn caller<S>(stream: &ServerStream<S>) -> Option<Fingerprint> {
    let shown = stream.get_ref().1.peer_certificates()?;
    shown.first().map(|leaf| Fingerprint::of(leaf))
}

/// Shows one certificate, but not to who asks for another name.
#[derive(Debug)]
struct Named(Arc<CertifiedKey>);

impl ResolvesServerCert for Named {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let leaf = self.0.end_entity_cert().ok()?;
        let ours = hello.server_name().is_none_or(|name| covers(leaf, name));
        ours.then(|| Arc::clone(&self.0))
    }
}

fn load(settings: &ServerSettings, protocols: &[Vec<u8>]) -> Result<Current, TlsError> {
    let ServerSettings { cert_file, key_file, .. } = settings;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (chain, key) = (certificates(cert_file)?, private_key(key_file)?);
    let Some(leaf) = chain.first().cloned() else {
        return Err(TlsError::Empty { path: cert_file.clone(), what: "certificate" });
    };
    let own = CertifiedKey::from_der(chain, key, &provider).map_err(|source| {
        TlsError::Identity { cert: cert_file.clone(), key: key_file.clone(), source }
    })?;
    let unusable = |source| TlsError::Certificate { path: cert_file.clone(), source };
    let versions: &[_] = match settings.min_version {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(unusable)?;
    let builder = match &settings.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(callers(path, provider)?),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Named(Arc::new(own))));
    config.alpn_protocols = protocols.to_vec();
    Ok(Current { config: Arc::new(config), leaf })
}

/// Refuses every caller without a certificate that those in the file vouch for.
fn callers(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let unusable = |source| TlsError::Certificate { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for root in certificates(path)? {
        roots.add(root).map_err(unusable)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.build().map_err(|error| unusable(rustls::Error::General(error.to_string())))
}

/// Whether a certificate is for that name or IP address. One that names nobody is for all
/// who come, as people make such for tests.
fn covers(leaf: &CertificateDer<'_>, host: &str) -> bool {
    let (Ok(leaf), Ok(name)) =
        (ParsedCertificate::try_from(leaf), ServerName::try_from(host))
    else {
        return false;
    };
    match verify_server_name(&leaf, &name) {
        Ok(()) => true,
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForNameContext { presented, .. },
        )) => presented.is_empty(),
        Err(_) => false,
    }
}

fn stamps(settings: &ServerSettings) -> Stamps {
    let ServerSettings { cert_file, key_file, client_ca_file, .. } = settings;
    let files = [Some(cert_file), Some(key_file), client_ca_file.as_ref()];
    let stamp = |file: &PathBuf| {
        let meta = fs::metadata(file).ok()?;
        Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    };
    files.into_iter().flatten().map(stamp).collect()
}

/// Between two looks at the files: a renewed certificate has days to spare.
const LOOK: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
