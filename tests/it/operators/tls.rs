//! The admin API behind a certificate, with operators who are certificates, and a
//! certificate that is renewed while connections stand.

use std::fs;

use super::desk::{open, token_file, verb};
use crate::support::config::{Config, NO_RULES};
use crate::support::evidence::audited;
use crate::support::model_server::ModelServer;
use crate::support::street::{Dir, Street};
use crate::support::tls::Authority;
use crate::support::wait::{self, SOON};

fn served(authority: &Authority, config: &Config, further: &str) -> Street {
    open(config, Dir::new(), &format!(", {}", authority.listener("server", further)))
}

/// The words of a verb that believes that authority and shows that certificate.
fn words(street: &Street, authority: &Authority, identity: Option<&str>) -> Vec<String> {
    let admin = format!("https://localhost:{}", street.admin.port());
    let ca = authority.path("ca.pem").display().to_string();
    let mut words = vec!["--admin".to_owned(), admin, "--ca-file".to_owned(), ca];
    for (flag, end) in [("--cert-file", "pem"), ("--key-file", "key")] {
        if let Some(name) = identity {
            let file = authority.path(&format!("{name}.{end}")).display().to_string();
            words.extend([flag.to_owned(), file]);
        }
    }
    words
}

fn ask(order: &[&str], words: &[String]) -> (Option<i32>, String, String) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    verb(order, &words)
}

#[test]
fn an_operator_may_be_a_certificate() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "30%", &canary).route_with(NO_RULES);
    let (authority, other) = (Authority::new(), Authority::new());
    authority.issue("server", &["localhost"]);
    let carol = authority.issue("carol", &["carol"]);
    authority.issue("dave", &["dave"]);
    other.issue("carol", &["carol"]);
    let print = switchback::tls::Fingerprint::of(&carol);
    let ca = authority.path("ca.pem");
    // After the operators that have tokens: carol, who has none.
    let street = {
        let [cert, key] = ["server.pem", "server.key"].map(|name| authority.path(name));
        let tls = format!(
            ", tls: {{ certFile: {cert:?}, keyFile: {key:?}, clientCaFile: {ca:?} }}"
        );
        let dir = Dir::new();
        let text = config.yaml(dir.path());
        let open = "admin: { address: \"127.0.0.1:0\" }";
        let operators = format!(
            "operators: [{{ name: carol, role: operator, certificate: {{ sha256: \"{print}\" }} }}]"
        );
        let admin = format!("admin: {{ address: \"127.0.0.1:0\", {operators}{tls} }}");
        dir.write("switchback.yaml", &text.replace(open, &admin));
        Street::start(dir, "switchback.yaml")
    };
    let order = ["set-weight", "iris", "v2=20%", "--reason", "a test"];
    let (code, out, err) = ask(&order, &words(&street, &authority, Some("carol")));
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    assert!(out.contains("by carol: a test"), "{out}");
    let record = audited(&street, "order.set_weight");
    assert_eq!(record["operator"]["id"], "carol", "{record:#}");
    assert_eq!(record["operator"]["method"], "certificate", "{record:#}");

    let (code, _, err) = ask(&order, &words(&street, &authority, Some("dave")));
    assert_eq!(code, Some(1));
    assert!(err.contains("this needs the token of an operator"), "{err}");
    let mut foreign = words(&street, &authority, None);
    for (flag, end) in [("--cert-file", "pem"), ("--key-file", "key")] {
        let file = other.path(&format!("carol.{end}")).display().to_string();
        foreign.extend([flag.to_owned(), file]);
    }
    for words in [foreign, words(&street, &authority, None)] {
        let (code, out, err) = ask(&order, &words);
        assert_eq!((code, &*out), (Some(1), ""), "{err}");
        assert!(!err.contains("HTTP 4"), "refused before any request: {err}");
    }
}

#[test]
fn a_certificate_is_believed_by_name_and_renewed_without_a_restart() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "30%", &canary).route_with(NO_RULES);
    let (first, second) = (Authority::new(), Authority::new());
    first.issue("server", &["localhost"]);
    let street = served(&first, &config, ", minVersion: \"1.3\"");
    let token = ["--token-file".to_owned(), token_file(street.dir().path())];
    let status = |authority: &Authority| {
        let words = [words(&street, authority, None), token.to_vec()].concat();
        ask(&["status"], &words)
    };
    let (code, out, err) = status(&first);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("route iris"), "{out}");
    let (code, _, err) = status(&second);
    assert_eq!(code, Some(1));
    assert!(err.contains("invalid peer certificate"), "{err}");
    let plain = format!("http://{}", street.admin);
    let (code, _, err) = verb(&["status", "--admin", &plain], &[]);
    assert_eq!(code, Some(1), "plain HTTP to a certificate: {err}");

    second.issue("server", &["localhost"]);
    for end in ["key", "pem"] {
        let (from, to) = (format!("server.{end}"), first.path(&format!("server.{end}")));
        fs::copy(second.path(&from), to).unwrap();
    }
    wait::eventually("the renewed certificate is shown", SOON, || {
        (status(&second).0 == Some(0)).then_some(())
    });
    street.says("renewed certificates are in use");
}
