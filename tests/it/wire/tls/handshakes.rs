//! What a listener agrees to and what it refuses: protocols, names, versions, certificates
//! of callers; and that a session that is resumed has had all of that.

use std::fs;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use crate::support::client::Request;
use crate::support::config::Config;
use crate::support::h2::H2Client;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::street::Street;
use crate::support::tls::{Authority, Bridge, shake};
use crate::support::wait::{self, SOON};

fn street(authority: &Authority, further: &str, lines: &[&str]) -> (ModelServer, Street) {
    let server = ModelServer::good("v1");
    let tls = authority.listener("server", further);
    let mut config = Config::plain(&server).listener(&tls);
    for line in lines {
        config = config.listener(line);
    }
    let street = Street::open(&config);
    (server, street)
}

#[test]
fn the_protocol_is_what_both_agree_on() {
    let authority = Authority::serving();
    for (protocol, offered, agreed) in [
        ("auto", &["h2", "http/1.1"][..], Ok("h2")),
        ("auto", &["http/1.1", "h2"], Ok("h2")),
        ("auto", &["http/1.1"], Ok("http/1.1")),
        ("auto", &["spdy/3", "http/1.1"], Ok("http/1.1")),
        ("auto", &[], Ok("")),
        ("auto", &["h3", "acme-tls/1"], Err(())),
        ("http1", &["h2", "http/1.1"], Ok("http/1.1")),
        ("http1", &[], Ok("")),
        ("http1", &["h2"], Err(())),
        ("http2", &["h2", "http/1.1"], Ok("h2")),
        ("http2", &["http/1.1"], Err(())),
    ] {
        let line = format!("protocol: {protocol}");
        let (_server, street) = street(&authority, "", &[&line]);
        let seen = shake(street.http, &authority.client(offered), "localhost");
        match (seen, agreed) {
            (Ok(mut shaken), Ok(agreed)) => {
                assert_eq!(shaken.alpn(), agreed, "{protocol} {offered:?}");
                if agreed != "h2" {
                    assert_eq!(shaken.ask("").as_deref(), Ok("200"), "{protocol}");
                }
            }
            (Err(said), Err(())) => {
                assert!(said.contains("NoApplicationProtocol"), "{protocol}: {said}");
            }
            (seen, agreed) => {
                panic!("{protocol} {offered:?}: {:?}, not {agreed:?}", seen.err());
            }
        }
    }
}

#[test]
fn http_2_passes_by_agreement_and_by_prior_knowledge() {
    let authority = Authority::serving();
    for (protocol, offered) in
        [("auto", &["h2"][..]), ("auto", &[]), ("http2", &["h2"]), ("http2", &[])]
    {
        let line = format!("protocol: {protocol}");
        let (server, street) = street(&authority, "", &[&line]);
        let bridge = Bridge::on(street.http, authority.client(offered));
        let mut client = H2Client::new(bridge.address);
        let request = http::Request::get("https://models.test/x").body(()).unwrap();
        let answer = client.ask(request, b"", None).unwrap();
        assert_eq!(answer.status(), 200, "{protocol} {offered:?}");
        let forwarded = server.asked("/x").head.field("x-forwarded-proto");
        assert_eq!(forwarded.as_deref(), Some("https"), "{protocol} {offered:?}");
    }
}

#[test]
fn a_name_that_is_not_ours_is_told_so() {
    let authority = Authority::new();
    authority.issue("server", &["localhost", "*.models.test", "127.0.0.1"]);
    let (_server, street) = street(&authority, "", &[]);
    let client = authority.client(&[]);
    for (name, ours) in [
        ("localhost", true),
        ("LOCALHOST", true),
        ("a.models.test", true),
        // An address is not asked for by name.
        ("127.0.0.1", true),
        ("models.test", false),
        ("a.b.models.test", false),
        ("other.example", false),
    ] {
        match shake(street.http, &client, name) {
            Ok(mut shaken) if ours => {
                assert_eq!(shaken.ask("").as_deref(), Ok("200"), "{name}");
            }
            Err(said) if !ours => {
                assert!(said.contains("UnrecognisedName"), "{name}: {said}");
            }
            seen => panic!("{name}: {:?}", seen.err()),
        }
    }
}

#[test]
fn the_lowest_version_is_kept_to() {
    let authority = Authority::serving();
    let speak = |version: &'static SupportedProtocolVersion| {
        authority.client_as(&[], None, &[version])
    };
    for (least, version, works) in [
        ("", &TLS12, true),
        ("", &TLS13, true),
        (", minVersion: \"1.3\"", &TLS12, false),
        (", minVersion: \"1.3\"", &TLS13, true),
    ] {
        let (_server, street) = street(&authority, least, &[]);
        let seen = shake(street.http, &speak(version), "localhost");
        let seen = seen.and_then(|mut shaken| shaken.ask(""));
        match works {
            true => assert_eq!(seen.as_deref(), Ok("200"), "{least} {version:?}"),
            false => {
                let said = seen.unwrap_err();
                assert!(said.contains("ProtocolVersion"), "{least} {version:?}: {said}");
            }
        }
    }
}

/// What becomes of a request of a client, and whether its session was resumed.
fn asked(street: &Street, client: &Arc<ClientConfig>) -> Result<bool, String> {
    let mut shaken = shake(street.http, client, "localhost")?;
    assert_eq!(shaken.ask("")?, "200");
    Ok(shaken.is_resumed())
}

#[test]
fn a_caller_without_a_good_certificate_is_refused_before_any_request() {
    let (authority, other) = (Authority::serving(), Authority::new());
    authority.issue("alice", &["alice"]);
    authority.issue_for("past", &["alice"], 2020);
    other.issue("alice", &["alice"]);
    let ca = authority.path("ca.pem");
    let (server, street) = street(&authority, &format!(", clientCaFile: {ca:?}"), &[]);
    for version in [&TLS12, &TLS13] {
        let client = |name| authority.client_as(&[], Some(name), &[version]);
        assert_eq!(asked(&street, &client("alice")), Ok(false));
        let before = server.requests();
        let nobody = authority.client_as(&[], None, &[version]);
        // Shows the certificate of another authority with the same name in it.
        for name in ["alice.pem", "alice.key"] {
            fs::copy(other.path(name), authority.path(&format!("foreign-{name}")))
                .unwrap();
        }
        for end in ["pem", "key"] {
            let from = authority.path(&format!("foreign-alice.{end}"));
            fs::rename(from, authority.path(&format!("foreign.{end}"))).unwrap();
        }
        for (who, client, why) in [
            ("nobody", nobody, "CertificateRequired HandshakeFailure"),
            ("foreign", client("foreign"), "UnknownCA DecryptError"),
            ("past", client("past"), "CertificateExpired"),
        ] {
            let said = asked(&street, &client).unwrap_err();
            let told = why.split(' ').any(|why| said.contains(why));
            assert!(told, "{who} {version:?}: {said}");
        }
        assert_eq!(server.requests(), before, "nothing was let through");
    }
    let alice = authority.client_as(&[], Some("alice"), rustls::ALL_VERSIONS);
    assert_eq!(asked(&street, &alice), Ok(false));
}

#[test]
fn a_session_is_resumed_whichever_worker_answers() {
    let authority = Authority::serving();
    authority.issue("alice", &["alice"]);
    let ca = authority.path("ca.pem");
    for further in [String::new(), format!(", clientCaFile: {ca:?}")] {
        let server = ModelServer::good("v1");
        let tls = authority.listener("server", &further);
        let street = Street::open(&Config::plain(&server).listener(&tls).workers(3));
        for version in [&TLS12, &TLS13] {
            let client = authority.client_as(&[], Some("alice"), &[version]);
            let resumed: Vec<bool> =
                (0..12).map(|_| asked(&street, &client).unwrap()).collect();
            let all = resumed[1..].iter().all(|resumed| *resumed);
            assert!(!resumed[0] && all, "{version:?} {further}: {resumed:?}");
        }
    }
}

#[test]
fn a_session_is_not_resumed_under_another_authority_for_callers() {
    let (authority, next) = (Authority::serving(), Authority::new());
    authority.issue("alice", &["alice"]);
    let ca = authority.path("callers.pem");
    fs::copy(authority.path("ca.pem"), &ca).unwrap();
    let (server, street) = street(&authority, &format!(", clientCaFile: {ca:?}"), &[]);
    let clients = [&TLS12, &TLS13].map(|v| authority.client_as(&[], Some("alice"), &[v]));
    for client in &clients {
        assert_eq!(asked(&street, client), Ok(false));
        assert_eq!(asked(&street, client), Ok(true), "a session that can be resumed");
    }
    fs::copy(next.path("ca.pem"), &ca).unwrap();
    street.says("renewed certificates are in use");
    let before = server.requests();
    for client in &clients {
        let said = asked(&street, client).unwrap_err();
        assert!(said.contains("UnknownCA") || said.contains("DecryptError"), "{said}");
    }
    assert_eq!(server.requests(), before);
}

#[test]
fn a_certificate_is_renewed_under_load_and_no_connection_is_lost() {
    let (first, second) = (Authority::serving(), Authority::serving());
    let (_server, street) = street(&first, "", &[]);
    let before = shake(street.http, &first.client(&[]), "localhost").unwrap();
    let mut standing = before;
    assert_eq!(standing.ask("").as_deref(), Ok("200"));
    let bridge = Bridge::on(street.http, first.client(&[]));
    let load = Load::new(bridge.address).clients(4).start();
    load.reaches(200);
    for end in ["pem", "key"] {
        let name = format!("server.{end}");
        fs::copy(second.path(&name), first.path(&name)).unwrap();
    }
    street.says("renewed certificates are in use");
    load.reaches(load.sent() + 200);
    load.stop().is_clean();
    assert_eq!(standing.ask("").as_deref(), Ok("200"), "an old connection lives on");
    let shown = shake(street.http, &second.client(&[]), "localhost").unwrap();
    assert_ne!(shown.certificate(), standing.certificate());
    let said = shake(street.http, &first.client(&[]), "localhost").err().unwrap();
    assert!(said.contains("certificate"), "the old authority is not enough: {said}");
}

#[test]
fn a_link_that_leads_elsewhere_renews_it_as_kubernetes_does() {
    use std::os::unix::fs::symlink;
    let authority = Authority::new();
    let dir = authority.dir.path();
    for (name, target) in [("one", "..one"), ("two", "..two")] {
        authority.issue(name, &["localhost"]);
        fs::create_dir(dir.join(target)).unwrap();
        for end in ["pem", "key"] {
            let from = dir.join(format!("{name}.{end}"));
            fs::rename(from, dir.join(target).join(format!("tls.{end}"))).unwrap();
        }
    }
    symlink("..one", dir.join("..data")).unwrap();
    for end in ["pem", "key"] {
        let (to, link) = (format!("..data/tls.{end}"), format!("server.{end}"));
        symlink(to, dir.join(link)).unwrap();
    }
    let (_server, street) = street(&authority, "", &[]);
    let client = authority.client(&[]);
    let shown = || shake(street.http, &client, "localhost").unwrap().certificate();
    let first = shown();
    symlink("..two", dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    wait::eventually("the other certificate is shown", SOON, || {
        (shown() != first).then_some(())
    });
    // Files that are of no use change nothing, and that is said.
    authority.dir.write("..two/tls.pem", "nothing");
    street.says("of no use: what was in force stays");
    assert_ne!(shown(), first);
}

#[test]
fn no_key_and_no_certificate_is_ever_in_the_log_or_on_the_admin_side() {
    let authority = Authority::serving();
    let (_server, street) = street(&authority, "", &[]);
    let mut shaken = shake(street.http, &authority.client(&[]), "localhost").unwrap();
    assert_eq!(shaken.ask("").as_deref(), Ok("200"));
    let key = fs::read_to_string(authority.path("server.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let shown = [
        street.log(),
        street.admin(Request::get("/api/v1/status")).text(),
        street.admin(Request::get("/metrics")).text(),
    ]
    .concat();
    for never in [secret, "BEGIN PRIVATE", "BEGIN CERTIFICATE", "CLIENT_RANDOM"] {
        assert!(!shown.contains(never), "{never}");
    }
}
