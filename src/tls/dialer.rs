//! `Dialer`: opens protected connections to one server, over and over. Apart from the plain
//! client because it remembers: sessions to be resumed, and files that are renewed.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{ClientSettings, config};
use super::error::TlsError;
use super::files::{OfFiles, Stamps, keep_fresh, stamps};
use super::stream::Stream;

/// Whom the servers of a version are believed to be, by files that may change. What they
/// hold is what the next connection gets.
pub struct Trust {
    settings: ClientSettings,
    current: RwLock<Known>,
    /// The files as they were at the last look, whatever came of it.
    seen: Mutex<Stamps>,
}

#[derive(Clone)]
struct Known {
    /// Which reading of the files this is.
    number: u64,
    /// Why there is nothing, as words.
    config: Result<Arc<ClientConfig>, String>,
}

impl Trust {
    /// Reads the files, which blocks. Where they are of no use every connection fails and
    /// says so, until they are better.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Arc<Self> {
        let seen = Mutex::new(stamps(&files(&settings)));
        let config = config(&settings).map(Arc::new).map_err(|error| {
            let said: &dyn std::error::Error = &error;
            tracing::error!(error = said, "TLS to servers cannot be set up");
            error.to_string()
        });
        let current = RwLock::new(Known { number: 0, config });
        Arc::new(Self { settings, current, seen })
    }

    /// Whether the files are of use.
    ///
    /// # Errors
    /// [`TlsError`] when a file cannot be read or has something of no use in it.
    pub fn check(settings: &ClientSettings) -> Result<(), TlsError> {
        config(settings).map(drop)
    }

    /// Whether there are files at all.
    #[must_use]
    pub fn has_files(&self) -> bool {
        files(&self.settings).iter().any(Option::is_some)
    }

    /// Looks at the files every few seconds for as long as this is polled.
    pub async fn keep_fresh(self: Arc<Self>) {
        keep_fresh(self).await;
    }

    /// Reads the files again if they have changed: whether what they hold is in force now.
    /// Blocks.
    ///
    /// # Errors
    /// [`TlsError`] when what they hold is of no use; what was in force stays.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let now = stamps(&files(&self.settings));
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return Ok(false);
            }
            *seen = now;
        }
        let next = Ok(Arc::new(config(&self.settings)?));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Known { number: current.number + 1, config: next };
        Ok(true)
    }

    fn current(&self) -> Known {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl OfFiles for Trust {
    fn called(&self) -> String {
        let names = files(&self.settings).into_iter().flatten();
        let names: Vec<_> = names.map(|file| file.display().to_string()).collect();
        names.join(", ")
    }

    fn refresh(&self) -> Result<bool, TlsError> {
        Self::refresh(self)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn files(settings: &ClientSettings) -> [Option<&PathBuf>; 3] {
    let ClientSettings { ca_file, cert_file, key_file } = settings;
    [ca_file.as_ref(), cert_file.as_ref(), key_file.as_ref()]
}

/// What is offered to a server to be spoken (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/1.1, which it may also speak without a word about it.
    Http1,
    /// HTTP/2, and nothing else will do.
    Http2,
    /// HTTP/2, or HTTP/1.1.
    Either,
}

/// Opens protected connections to one server.
pub struct Dialer {
    trust: Arc<Trust>,
    name: Result<ServerName<'static>, String>,
    /// The sessions to be resumed live in a configuration, and are of no use in the next.
    own: Mutex<Option<(u64, Arc<ClientConfig>)>>,
}

impl Dialer {
    /// Connections to a server whose certificate must be for `host`: a name, which is also
    /// asked for, or an IP address.
    #[must_use]
    pub fn new(trust: Arc<Trust>, host: &str) -> Self {
        let name = host.strip_suffix('.').unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{host} is no name that a certificate can be for"));
        Self { trust, name, own: Mutex::new(None) }
    }

    /// Whether a certificate can be for that host.
    #[must_use]
    pub fn is_name(host: &str) -> bool {
        ServerName::try_from(host.strip_suffix('.').unwrap_or(host)).is_ok()
    }

    /// Shakes hands over a connection that is open.
    ///
    /// # Errors
    /// The connection's own, or one that holds what rustls says; also when the server does
    /// not speak what it must.
    pub async fn connect(&self, stream: TcpStream, offer: Offer) -> io::Result<Stream> {
        let name = self.name.clone().map_err(invalid)?;
        let alpn: &[&[u8]] = match offer {
            Offer::Http1 => &[HTTP1],
            Offer::Http2 => &[HTTP2],
            Offer::Either => &[HTTP2, HTTP1],
        };
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        let connector = TlsConnector::from(self.config()?);
        let stream = connector.with_alpn(alpn).connect(name, stream).await?;
        let stream = Stream::new(stream.into());
        if offer == Offer::Http2 && !stream.is_http2() {
            return Err(invalid("the server does not agree to speak HTTP/2".to_owned()));
        }
        Ok(stream)
    }

    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let known = self.trust.current();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, config)) = &*own
            && *number == known.number
        {
            return Ok(Arc::clone(config));
        }
        let mut config = ClientConfig::clone(&*known.config.map_err(invalid)?);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        let config = Arc::new(config);
        *own = Some((known.number, Arc::clone(&config)));
        Ok(config)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("name", &self.name).finish_non_exhaustive()
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Whether the other side ended the connection with an alert, as it does when it does not
/// like a certificate: under TLS 1.3 that comes after the handshake.
#[must_use]
pub fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

pub(super) const HTTP1: &[u8] = b"http/1.1";
pub(super) const HTTP2: &[u8] = b"h2";

/// Tickets that are kept of one server.
const SESSIONS: usize = 8;
