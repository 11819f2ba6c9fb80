//! TLS for the tests: an authority with its certificates, a client that shakes hands by
//! itself, and bridges that put TLS before or behind what speaks in the clear, so that every
//! client and server of these tests can be met over TLS too.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    IsCa, KeyPair,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, CommonState, HandshakeKind, RootCertStore,
    ServerConfig, StreamOwned, SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream as AsyncStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::client::PATIENCE;
use super::street::Dir;
use super::wait::{self, SOON};

/// Who vouches for certificates, in a directory of its own.
pub struct Authority {
    own: CertifiedIssuer<'static, KeyPair>,
    /// Where its certificates are.
    pub dir: Dir,
}

impl Authority {
    /// An authority that nobody has heard of.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than its certificates have, or they would pass for self-signed.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "an authority of these tests");
        let own =
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = Dir::new();
        dir.write("ca.pem", &own.pem());
        Self { own, dir }
    }

    /// One with a certificate for a server of this machine: `server.pem`, `server.key`.
    pub fn serving() -> Self {
        let authority = Self::new();
        authority.issue("server", &["localhost", "127.0.0.1"]);
        authority
    }

    /// The path of one of its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a certificate for these names and its key; returns its DER.
    pub fn issue(&self, file: &str, names: &[&str]) -> Vec<u8> {
        self.issue_for(file, names, 4096)
    }

    /// The same, good until that year begins.
    pub fn issue_for(&self, file: &str, names: &[&str], until: i32) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let cert = params.signed_by(&key, &self.own).unwrap();
        self.dir.write(&format!("{file}.key"), &key.serialize_pem());
        self.dir.write(&format!("{file}.pem"), &cert.pem());
        cert.der().to_vec()
    }

    /// The listener's line about a certificate of that name.
    pub fn listener(&self, name: &str, further: &str) -> String {
        let [cert, key] = ["pem", "key"].map(|end| self.path(&format!("{name}.{end}")));
        format!("tls: {{ certFile: {cert:?}, keyFile: {key:?}{further} }}")
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let own: &CertificateDer<'static> = self.own.der();
        roots.add(own.clone()).unwrap();
        roots
    }

    fn identity(
        &self,
        name: &str,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let cert = CertificateDer::from_pem_file(self.path(&format!("{name}.pem")));
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key")));
        (vec![cert.unwrap()], key.unwrap())
    }

    /// A client that believes this authority, offers that (ALPN), and remembers sessions.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.client_as(alpn, None, rustls::ALL_VERSIONS)
    }

    /// The same, with a certificate of this authority, and of those versions.
    pub fn client_as(
        &self,
        alpn: &[&str],
        identity: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity.map(|name| self.identity(name)) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = names(alpn);
        Arc::new(config)
    }

    /// A server with that certificate that agrees to speak that; it asks for certificates
    /// of `callers`, if there is one.
    pub fn server(
        &self,
        name: &str,
        alpn: &[&str],
        callers: Option<&Self>,
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap();
        let builder = match callers {
            Some(callers) => {
                let roots = Arc::new(callers.roots());
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = self.identity(name);
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = names(alpn);
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn names(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A connection of a client that has shaken hands.
pub struct Shaken {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// Shakes hands with whoever listens there; the words of rustls when that fails, also with
/// the first byte that is read.
pub fn shake(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<Shaken, String> {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(session, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
    }
    Ok(Shaken { stream })
}

impl Shaken {
    /// What was agreed to be spoken.
    pub fn alpn(&self) -> String {
        let name = self.stream.conn.alpn_protocol().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// Whether an earlier session was resumed.
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the server showed.
    pub fn certificate(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // What became of them shows in what is read.
        let _sent =
            self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush());
        self
    }

    /// From now on nothing is waited for.
    pub fn set_nonblocking(&mut self) {
        self.stream.sock.set_nonblocking(true).unwrap();
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        &self.stream.sock
    }

    /// Reads once; 0 is the end.
    pub fn read_once(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(room)
    }

    /// Reads until this has come.
    pub fn until(&mut self, sign: &str) -> Result<String, String> {
        let mut text = Vec::new();
        let mut piece = [0u8; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(format!("an end before {sign:?}")),
                Ok(len) => text.extend_from_slice(&piece[..len]),
                Err(error) => return Err(error.to_string()),
            }
            let seen = String::from_utf8_lossy(&text);
            if seen.contains(sign) {
                return Ok(seen.into_owned());
            }
        }
    }

    /// Reads to the end, which must be announced.
    pub fn rest(&mut self) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        match self.stream.read_to_end(&mut all) {
            Ok(_) => Ok(all),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err("cut".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// One plain request and the status of its answer.
    pub fn ask(&mut self, fields: &str) -> Result<String, String> {
        self.send(format!("GET /well HTTP/1.1\r\nhost: models.test\r\n{fields}\r\n"));
        self.until("}").map(|text| text.split(' ').nth(1).unwrap_or_default().to_owned())
    }
}

/// One handshake of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// Why there was none.
    pub failed: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// What was agreed to be spoken.
    pub alpn: String,
    /// Whether the other side showed a certificate.
    pub known: bool,
}

/// A port whose connections go to another with TLS put on or taken off. Goes away at once
/// when dropped.
pub struct Bridge {
    /// Where it listens.
    pub address: SocketAddr,
    facts: Arc<Mutex<Vec<Fact>>>,
    _life: oneshot::Sender<()>,
}

#[derive(Clone)]
enum Way {
    On(TlsConnector, ServerName<'static>),
    Off(TlsAcceptor),
}

impl Bridge {
    /// For clients that speak in the clear to a server that wants TLS.
    pub fn on(target: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self::new(target, Way::On(config.into(), name))
    }

    /// For clients that speak TLS to a server that does not.
    pub fn off(target: SocketAddr, config: Arc<ServerConfig>) -> Self {
        Self::new(target, Way::Off(config.into()))
    }

    /// The same, on a port that was another's.
    pub fn off_at(
        address: SocketAddr,
        target: SocketAddr,
        config: Arc<ServerConfig>,
    ) -> Self {
        let listener = wait::eventually("the port is free again", SOON, || {
            std::net::TcpListener::bind(address).ok()
        });
        Self::listening(listener, target, Way::Off(config.into()))
    }

    /// How `endpoints` write it, where TLS is taken off.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The handshakes so far.
    pub fn facts(&self) -> Vec<Fact> {
        self.facts.lock().unwrap().clone()
    }

    fn new(target: SocketAddr, way: Way) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self::listening(listener, target, way)
    }

    fn listening(listener: std::net::TcpListener, target: SocketAddr, way: Way) -> Self {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (life, end) = oneshot::channel::<()>();
        let facts = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&facts);
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let accepting = async {
                    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(pass(stream, target, way.clone(), told.clone()));
                    }
                };
                tokio::select! { () = accepting => {} _ = end => {} }
            });
        });
        Self { address, facts, _life: life }
    }
}

async fn pass(
    near: AsyncStream,
    target: SocketAddr,
    way: Way,
    facts: Arc<Mutex<Vec<Fact>>>,
) {
    let tell = |fact| facts.lock().unwrap().push(fact);
    let failed = |error: std::io::Error| {
        tell(Fact { failed: Some(error.to_string()), ..Fact::default() });
    };
    near.set_nodelay(true).unwrap();
    match way {
        Way::On(connector, name) => {
            let Ok(far) = AsyncStream::connect(target).await else { return };
            far.set_nodelay(true).unwrap();
            match connector.connect(name, far).await {
                Ok(far) => {
                    tell(fact(far.get_ref().1));
                    join(near, far).await;
                }
                Err(error) => failed(error),
            }
        }
        Way::Off(acceptor) => match acceptor.accept(near).await {
            Ok(near) => {
                tell(fact(near.get_ref().1));
                let Ok(far) = AsyncStream::connect(target).await else { return };
                far.set_nodelay(true).unwrap();
                join(far, near).await;
            }
            Err(error) => failed(error),
        },
    }
}

fn fact(state: &CommonState) -> Fact {
    let alpn = state.alpn_protocol().unwrap_or_default();
    Fact {
        failed: None,
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        alpn: String::from_utf8_lossy(alpn).into_owned(),
        known: state.peer_certificates().is_some(),
    }
}

/// Bytes both ways; what breaks off on one side is reset on the other.
async fn join(mut clear: AsyncStream, mut secured: impl AsyncRead + AsyncWrite + Unpin) {
    if copy_bidirectional(&mut clear, &mut secured).await.is_err() {
        socket2::SockRef::from(&clear).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
