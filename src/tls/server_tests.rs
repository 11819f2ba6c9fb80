//! The server half over real loopback sockets, against the client half of the same room.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::{MinVersion, ServerSettings, TlsServer, caller};
use crate::tls::{Authority, ClientSettings, Fingerprint, TlsClient, TlsError};

fn settings(authority: &Authority, min_version: MinVersion) -> ServerSettings {
    let (cert_file, key_file) = authority.issue("server", &["localhost", "127.0.0.1"]);
    ServerSettings { cert_file, key_file, client_ca_file: None, min_version }
}

fn client(authority: &Authority, identity: Option<(PathBuf, PathBuf)>) -> TlsClient {
    let (cert_file, key_file) = identity.unzip();
    let ca_file = Some(authority.file());
    TlsClient::new(&ClientSettings { ca_file, cert_file, key_file }).unwrap()
}

/// One connection: what the server saw of the caller, or why there was none, and what the
/// caller read.
async fn meet(
    server: &TlsServer,
    client: &TlsClient,
    host: &str,
) -> (Result<Option<Fingerprint>, String>, Option<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream =
            server.accept(socket).await.map_err(|error| error.to_string())?;
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        Ok(caller(&stream))
    };
    let calling = async {
        let socket = TcpStream::connect(at).await.unwrap();
        let mut stream = client.connect(host, socket).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok().map(|_| text)
    };
    tokio::join!(serving, calling)
}

#[tokio::test]
async fn a_certificate_from_files_is_shown_to_who_asks_for_its_name() {
    let authority = Authority::new();
    let server =
        TlsServer::new(settings(&authority, MinVersion::Tls12), &["http/1.1"]).unwrap();
    let client = client(&authority, None);
    for host in ["localhost", "127.0.0.1"] {
        let (seen, read) = meet(&server, &client, host).await;
        assert_eq!((seen, read.as_deref()), (Ok(None), Some("hello")), "{host}");
    }
    let (seen, read) = meet(&server, &client, "other.example").await;
    assert!(seen.is_err() && read.is_none(), "{seen:?}");
    assert!(server.is_for("localhost") && server.is_for("127.0.0.1"));
    assert!(!server.is_for("evil.example") && !server.is_for("a b"));
}

#[tokio::test]
async fn the_lowest_version_is_kept_to() {
    let authority = Authority::new();
    let speak = |version: &'static SupportedProtocolVersion| {
        let mut roots = RootCertStore::empty();
        for root in super::certificates(&authority.file()).unwrap() {
            roots.add(root).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    };
    for (least, version, works) in [
        (MinVersion::Tls12, &TLS12, true),
        (MinVersion::Tls12, &TLS13, true),
        (MinVersion::Tls13, &TLS12, false),
        (MinVersion::Tls13, &TLS13, true),
    ] {
        let server = TlsServer::new(settings(&authority, least), &[]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (served, _called) = tokio::join!(
            async { server.accept(listener.accept().await.unwrap().0).await.is_ok() },
            async {
                let socket = TcpStream::connect(at).await.unwrap();
                let name = "localhost".try_into().unwrap();
                speak(version).connect(name, socket).await.is_ok()
            }
        );
        assert_eq!(served, works, "{least:?} {:?}", version.version);
    }
}

#[tokio::test]
async fn a_caller_is_known_by_his_certificate_and_refused_without() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut settings = settings(&authority, MinVersion::Tls12);
    settings.client_ca_file = Some(authority.file());
    let server = TlsServer::new(settings, &[]).unwrap();

    let alice = authority.issue("alice", &["alice"]);
    let der = super::certificates(&alice.0).unwrap();
    let (seen, read) = meet(&server, &client(&authority, Some(alice)), "localhost").await;
    assert_eq!(
        (seen, read.as_deref()),
        (Ok(Some(Fingerprint::of(&der[0]))), Some("hello"))
    );

    for identity in [None, Some(other.issue("mallory", &["alice"]))] {
        let (seen, read) =
            meet(&server, &client(&authority, identity), "localhost").await;
        assert!(seen.is_err() && read.is_none(), "{seen:?}");
    }
}

#[tokio::test]
async fn renewed_files_are_taken_and_broken_ones_are_not() {
    let (first, second) = (Authority::new(), Authority::new());
    let settings = settings(&first, MinVersion::Tls12);
    let server = TlsServer::new(settings.clone(), &[]).unwrap();
    assert!(!server.refresh().unwrap());

    std::fs::write(&settings.cert_file, "no certificate").unwrap();
    assert!(matches!(server.refresh().unwrap_err(), TlsError::Empty { .. }));
    // The same state of the files is said once.
    assert!(!server.refresh().unwrap());
    let (_, read) = meet(&server, &client(&first, None), "localhost").await;
    assert_eq!(read.as_deref(), Some("hello"));

    let (cert, key) = second.issue("renewed", &["localhost"]);
    std::fs::copy(cert, &settings.cert_file).unwrap();
    assert!(matches!(server.refresh().unwrap_err(), TlsError::Identity { .. }));
    std::fs::rename(key, &settings.key_file).unwrap();
    assert!(server.refresh().unwrap());
    let (_, read) = meet(&server, &client(&second, None), "localhost").await;
    assert_eq!(read.as_deref(), Some("hello"));
    let (_, read) = meet(&server, &client(&first, None), "localhost").await;
    assert_eq!(read, None);
}

#[test]
fn what_is_wrong_with_the_files_is_said_with_the_file() {
    let authority = Authority::new();
    let good = settings(&authority, MinVersion::Tls12);
    let nowhere = PathBuf::from("/nowhere/x.pem");
    let (cert, key) = (good.cert_file.clone(), good.key_file.clone());
    let (_, other) = authority.issue("other", &["x"]);
    for (settings, says) in [
        (ServerSettings { cert_file: nowhere.clone(), ..good.clone() }, "/nowhere/x.pem"),
        (ServerSettings { key_file: nowhere.clone(), ..good.clone() }, "/nowhere/x.pem"),
        (
            ServerSettings { client_ca_file: Some(nowhere), ..good.clone() },
            "/nowhere/x.pem",
        ),
        (
            ServerSettings { cert_file: key.clone(), ..good.clone() },
            "no certificate in it",
        ),
        (ServerSettings { key_file: cert, ..good.clone() }, "cannot be read as PEM"),
        (ServerSettings { key_file: other, ..good.clone() }, "cannot be used together"),
        (ServerSettings { client_ca_file: Some(key), ..good }, "no certificate in it"),
    ] {
        let said = TlsServer::new(settings, &[]).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}
