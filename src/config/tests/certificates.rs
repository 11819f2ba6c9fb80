//! TLS of listeners and towards servers: what is read, what is said of it, and what is wrong.

use std::path::Path;

use super::support::{environment, problems, with_canary};
use crate::config::load::{Loaded, parse_in};
use crate::config::{ConfigErrors, describe};
use crate::tls::{Authority, MinVersion};
use crate::upstream::Protocol;

fn dir(authority: &Authority) -> std::path::PathBuf {
    authority.file().parent().unwrap().to_owned()
}

fn read(text: &str, dir: &Path) -> Result<Loaded, ConfigErrors> {
    parse_in(text, "f", dir, &environment)
}

/// A file with a listener that has that certificate, and a version with those members.
fn file(tls: &str, members: &str) -> String {
    format!(
        "listeners: [{{ address: '127.0.0.1:8443', tls: {{ {tls} }} }}]\n\
         routes: [{{ name: r, versions: [{{ name: a, role: stable, {members} }}] }}]\n"
    )
}

const OWN: &str = "certFile: s.pem, keyFile: s.key";
const PLAIN: &str = "endpoints: ['http://h:1']";
const SECURED: &str = "endpoints: ['https://h.example', 'https://10.0.0.1:8443']";

#[test]
fn what_is_given_is_taken_and_said() {
    let authority = Authority::new();
    let dir = dir(&authority);
    authority.issue("s", &["a.example", "127.0.0.1"]);
    let all = format!("{OWN}, clientCaFile: ca.pem, minVersion: '1.3'");
    let theirs = format!(
        "{SECURED}, tls: {{ caFile: ca.pem, certFile: s.pem, keyFile: s.key, serverName: models.example }}"
    );
    let loaded = read(&file(&all, &theirs), &dir).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let tls = loaded.settings.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.cert_file, dir.join("s.pem"));
    assert_eq!(tls.client_ca_file, Some(dir.join("ca.pem")));
    assert_eq!(tls.min_version, MinVersion::Tls13);
    let upstream = &loaded.settings.live.routes[0].versions[0].upstream;
    let shown: Vec<String> = upstream.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["https://h.example:443", "https://10.0.0.1:8443"]);
    assert_eq!(upstream.protocol, Protocol::Auto);
    assert_eq!(upstream.tls.server_name.as_deref(), Some("models.example"));
    assert_eq!(upstream.tls.files.key_file, Some(dir.join("s.key")));
    let meaning = describe(&loaded);
    for line in [
        "TLS 1.3 with a certificate for a.example, 127.0.0.1, good until 4096-01-01T00:00:00.000Z; callers must show a certificate",
        "TLS: HTTP/2 or HTTP/1.1 as the server likes; believes the public roots and those in ",
        "for the name models.example; shows the certificate in ",
    ] {
        assert!(meaning.contains(line), "{line}\n{meaning}");
    }
    assert!(!meaning.contains("PRIVATE"), "{meaning}");

    let loaded = read(&file(OWN, SECURED), &dir).unwrap();
    let tls = loaded.settings.listeners[0].tls.as_ref().unwrap();
    assert_eq!((tls.min_version, &tls.client_ca_file), (MinVersion::Tls12, &None));
    let meaning = describe(&loaded);
    assert!(meaning.contains("TLS 1.2 or 1.3 with"), "{meaning}");
    assert!(meaning.contains("callers need no certificate"), "{meaning}");
}

#[test]
fn a_certificate_out_of_its_time_is_a_warning() {
    let authority = Authority::new();
    let dir = dir(&authority);
    authority.issue_for("s", &["a"], (2001, 2002));
    authority.issue_for("c", &["a"], (3001, 3002));
    let shown = "tls: { certFile: c.pem, keyFile: c.key }";
    let loaded = read(&file(OWN, &format!("{SECURED}, {shown}")), &dir).unwrap();
    let warnings = loaded.warnings;
    assert!(
        warnings[0].contains(
            "tls.certFile: s.pem has expired on 2002-01-01T00:00:00.000Z: renew it"
        ),
        "{warnings:?}"
    );
    assert!(
        warnings[1]
            .contains("tls.certFile: c.pem is not good before 3001-01-01T00:00:00.000Z"),
        "{warnings:?}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_is_wrong_is_said_with_the_fix() {
    let authority = Authority::new();
    let dir = dir(&authority);
    authority.issue("s", &["a"]);
    authority.issue("o", &["a"]);
    for (tls, message) in [
        ("certFile: s.pem", "listeners[0].tls.keyFile: is missing: its key in PEM"),
        ("keyFile: s.key", "listeners[0].tls.certFile: is missing: "),
        (
            "certFile: none.pem, keyFile: s.key",
            "listeners[0].tls.certFile: none.pem cannot be read as PEM: ",
        ),
        (
            "certFile: s.pem, keyFile: none.key",
            "listeners[0].tls.keyFile: none.key cannot be read as PEM: ",
        ),
        (
            "certFile: s.pem, keyFile: o.key",
            "listeners[0].tls.keyFile: o.key is not the key of s.pem",
        ),
        (
            "certFile: s.key, keyFile: s.key",
            "listeners[0].tls.certFile: s.key has no certificate in it",
        ),
        (
            "certFile: s.pem, keyFile: s.key, clientCaFile: s.key",
            "listeners[0].tls.clientCaFile: s.key has no certificate in it",
        ),
        (
            "certFile: s.pem, keyFile: s.key, minVersion: '1.1'",
            "listeners[0].tls.minVersion: \"1.1\" is not one of 1.2, 1.3",
        ),
        (
            "certFile: s.pem, keyFile: s.key, ciphers: x",
            "listeners[0].tls.ciphers: there is no such key",
        ),
    ] {
        let said = read(&file(tls, PLAIN), &dir).unwrap_err().to_string();
        assert!(said.contains(message) && said.lines().count() == 1, "{tls}: {said}");
    }
    let at = "routes[0].versions[0]";
    for (members, message) in [
        (
            format!("{PLAIN}, tls: {{ caFile: ca.pem }}"),
            "tls: is of no use, as no endpoint has it: write https://HOST:PORT, or leave it out",
        ),
        (
            "endpoints: ['unix:/run/m.sock'], tls: { caFile: ca.pem }".to_owned(),
            "tls: is not spoken over unix: sockets: leave it out",
        ),
        (
            format!("{SECURED}, tls: {{ certFile: s.pem }}"),
            "tls.keyFile: is missing: name the key of certFile",
        ),
        (
            format!("{SECURED}, tls: {{ keyFile: s.key }}"),
            "tls.certFile: is missing: name the certificate of keyFile",
        ),
        (
            format!("{SECURED}, tls: {{ certFile: s.pem, keyFile: o.key }}"),
            "tls.keyFile: o.key is not the key of s.pem",
        ),
        (
            format!("{SECURED}, tls: {{ caFile: none.pem }}"),
            "tls.caFile: none.pem cannot be read as PEM: ",
        ),
        (
            format!("{SECURED}, tls: {{ caFile: s.key }}"),
            "tls.caFile: s.key has no certificate in it",
        ),
        (
            format!("{SECURED}, tls: {{ serverName: 'a b' }}"),
            "tls.serverName: \"a b\" is no name that a certificate can be for",
        ),
        (
            format!("{SECURED}, tls: {{ insecureSkipVerify: true }}"),
            "tls.insecureSkipVerify: there is no such key",
        ),
    ] {
        let text = file(OWN, &members);
        let said = read(&text, &dir).unwrap_err().to_string();
        let message = format!("{at}.{message}");
        assert!(said.contains(&message) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn endpoints_are_spelled_in_one_way() {
    for (endpoint, why) in [
        ("https://", "has no valid host name or IP address"),
        ("https://h:0", "has no port between 1 and 65535"),
        ("https://h/x", "has a path or query, which an endpoint may not have"),
        ("https://u@h", "has a user name, which an endpoint may not have"),
        (
            "https:h",
            "is not an endpoint: write http://HOST:PORT, https://HOST:PORT, dns+http://NAME:PORT or unix:/PATH",
        ),
    ] {
        let keys = "maxInFlight: 0";
        let text = with_canary(keys).replace("http://h:2", endpoint);
        let seen = problems(&text);
        assert!(seen.len() == 1 && seen[0].ends_with(why), "{endpoint}: {seen:#?}");
    }
}
