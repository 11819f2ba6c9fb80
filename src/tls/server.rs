//! `TlsServer`: answers protected connections with a certificate from files, which may be
//! renewed while it runs.
//!
//! Apart from the other side because it has a certificate to show, names that it answers
//! for, and files that others replace under it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    Acceptor, ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, CommonState, HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::error::TlsError;
use super::files::{OfFiles, Stamps, certificates, keep_fresh, private_key, stamps};
use super::fingerprint::Fingerprint;
use super::stream::Stream;

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
    /// Who says whether a caller's certificate is good, where callers need one.
    callers: Option<Arc<dyn ClientCertVerifier>>,
}

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
        let seen = Mutex::new(stamps_of(&settings));
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
        let current = self.current();
        let stream =
            TlsAcceptor::from(Arc::clone(&current.config)).accept(stream).await?;
        current.check_again(stream.get_ref().1)?;
        Ok(stream)
    }

    /// Shakes hands over a TCP connection. Who asks for a name that is not ours is told so.
    ///
    /// # Errors
    /// The connection's own, or one that holds what rustls says.
    pub async fn open(&self, stream: TcpStream) -> io::Result<Stream> {
        let current = self.current();
        let asked = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = asked.client_hello().server_name().map(str::to_owned);
        if name.is_some_and(|name| !covers(&current.leaf, &name)) {
            let mut stream = asked.io;
            stream.write_all(&UNRECOGNIZED_NAME).await?;
            return Err(refused("the name that was asked for is not ours"));
        }
        let stream = asked.into_stream(Arc::clone(&current.config)).await?;
        let stream = Stream::new(stream.into());
        current.check_again(stream.state())?;
        Ok(stream)
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
        let now = stamps_of(&self.settings);
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
        keep_fresh(self).await;
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl OfFiles for TlsServer {
    fn called(&self) -> String {
        self.settings.cert_file.display().to_string()
    }

    fn refresh(&self) -> Result<bool, TlsError> {
        Self::refresh(self)
    }
}

impl Current {
    /// A resumed session shows the certificate of its first handshake, which may have come
    /// to its end since.
    fn check_again(&self, session: &CommonState) -> io::Result<()> {
        let Some(callers) = &self.callers else { return Ok(()) };
        if session.handshake_kind() != Some(HandshakeKind::Resumed) {
            return Ok(());
        }
        let Some([leaf, between @ ..]) = session.peer_certificates() else {
            return Err(refused("a resumed session without a certificate"));
        };
        let good = callers.verify_client_cert(leaf, between, UnixTime::now());
        good.map(drop).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
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
    let by = settings.client_ca_file.as_ref();
    let callers = by.map(|path| callers(path, provider)).transpose()?;
    let builder = match &callers {
        None => builder.with_no_client_auth(),
        Some(callers) => builder.with_client_cert_verifier(Arc::clone(callers)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Named(Arc::new(own))));
    config.alpn_protocols = protocols.to_vec();
    // Sessions are resumed by tickets whose keys change every six hours and live in this
    // configuration alone: what was agreed under other certificates is agreed anew.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    Ok(Current { config: Arc::new(config), leaf, callers })
}

/// Refuses every caller without a certificate that those in the file vouch for.
fn callers(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
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

fn stamps_of(settings: &ServerSettings) -> Stamps {
    let ServerSettings { cert_file, key_file, client_ca_file, .. } = settings;
    stamps(&[Some(cert_file), Some(key_file), client_ca_file.as_ref()])
}

/// A fatal alert that says that the name is not known here (RFC 6066 section 3), as it is
/// sent before anything is agreed.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 112];

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
