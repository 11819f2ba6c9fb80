//! A server with a certificate from its own authority, for the tests of every room that
//! opens protected connections. Apart because rustls may be named in this room alone.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tasks;
use crate::tls::client::TlsClient;

/// A server for `localhost` and 127.0.0.1 that answers every request with 200 and `ok`.
pub(crate) struct Server {
    address: SocketAddr,
    dir: PathBuf,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts one that asks nobody for a certificate.
    pub(crate) async fn start() -> Self {
        Self::new(false).await
    }

    /// Starts one that wants to see a certificate from its own authority.
    pub(crate) async fn asking() -> Self {
        Self::new(true).await
    }

    async fn new(asks: bool) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca =
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let leaf = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let key = KeyPair::generate().unwrap();
            let cert =
                CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
            (cert, key)
        };
        let dir = std::env::temp_dir().join(format!(
            "switchback-tls-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        ));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
        let (cert, key) = leaf(&["client"]);
        fs::write(dir.join("client.pem"), cert.pem()).unwrap();
        fs::write(dir.join("client.key"), key.serialize_pem()).unwrap();

        let (cert, key) = leaf(&["localhost", "127.0.0.1"]);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            let root: &CertificateDer<'static> = ca.der();
            roots.add(root.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tasks::shared("test tls server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _one = tasks::shared("test tls", answer(acceptor.clone(), stream));
            }
        });
        Self { address, dir, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A certificate that the server believes, and its key.
    pub(crate) fn client_files(&self) -> (PathBuf, PathBuf) {
        (self.dir.join("client.pem"), self.dir.join("client.key"))
    }

    /// Whether the server answers that client.
    pub(crate) async fn answers(&self, client: &TlsClient) -> bool {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let Ok(mut stream) = client.connect("localhost", stream).await else {
            return false;
        };
        // A server that refuses a certificate says so only afterwards.
        let _sent = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let mut answer = Vec::new();
        let _read = stream.read_to_end(&mut answer).await;
        answer.starts_with(b"HTTP/1.1 200")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        drop(fs::remove_dir_all(&self.dir));
    }
}

async fn answer(acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    // Who hangs up early has not heard it.
    let _sent = stream
        .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        .await;
    let _closed = stream.shutdown().await;
}
