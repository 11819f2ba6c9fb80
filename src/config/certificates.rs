//! Certificates and keys that the configuration names: read, held against each other, and
//! said in words. Apart from the services and the servers because both have the same kinds of
//! files.

use std::path::{Path, PathBuf};

use super::reader::{Item, View};
use super::services::is_open;
use crate::tls::{
    Certificate, ClientSettings, Dialer, MinVersion, ServerSettings, TlsError, TlsServer,
    Trust, Validity,
};
use crate::upstream;
use crate::upstream::{Address, Origin, Protocol};

/// The certificate of a listener, if all its files are of use.
pub(super) fn server_tls(view: &View<'_>, dir: &Path) -> Option<ServerSettings> {
    let file = |key| view.maybe_text(key).map(|name| dir.join(name));
    let settings = ServerSettings {
        cert_file: file("certFile")?,
        key_file: file("keyFile")?,
        client_ca_file: file("clientCaFile"),
        min_version: match view.text("minVersion") {
            "1.3" => MinVersion::Tls13,
            _ => MinVersion::Tls12,
        },
    };
    if let Err(error) = TlsServer::new(settings.clone(), &[]) {
        let ca = ("clientCaFile", settings.client_ca_file.as_deref());
        let cert = ("certFile", Some(&*settings.cert_file));
        wrong(view, &error, [ca, cert]);
        return None;
    }
    dates(view, "certFile", &settings.cert_file);
    secret(view, "keyFile", &settings.key_file);
    Some(settings)
}

/// How the servers of a version are believed, and what is shown to them.
pub(super) fn client_tls(
    version: &View<'_>,
    endpoints: &[Origin],
    dir: &Path,
) -> upstream::Tls {
    let Some(view) = version.maybe_child("tls") else { return upstream::Tls::default() };
    let file = |key| view.maybe_text(key).map(|name| dir.join(name));
    let files = ClientSettings {
        ca_file: file("caFile"),
        cert_file: file("certFile"),
        key_file: file("keyFile"),
    };
    let server_name = view.maybe_text("serverName").map(str::to_owned);
    let secured = |origin: &Origin| origin.address().is_tls();
    if version.sound("endpoints") && !endpoints.iter().any(secured) {
        let is_socket = |origin: &Origin| matches!(origin.address(), Address::Unix(_));
        let only_sockets = endpoints.iter().all(is_socket);
        let why = match only_sockets && !endpoints.is_empty() {
            true => "is not spoken over unix: sockets: leave it out",
            false => {
                "is of no use, as no endpoint has it: write https://HOST:PORT, or leave it out"
            }
        };
        version.wrong("tls", why);
    }
    match (&files.cert_file, &files.key_file) {
        (Some(_), None) => {
            view.wrong("keyFile", "is missing: name the key of certFile");
        }
        (None, Some(_)) => {
            view.wrong("certFile", "is missing: name the certificate of keyFile");
        }
        (Some(_), Some(_)) | (None, None) => {
            if let Err(error) = Trust::check(&files) {
                let ca = ("caFile", files.ca_file.as_deref());
                wrong(&view, &error, [ca, ("certFile", files.cert_file.as_deref())]);
            } else if let (Some(cert), Some(key)) = (&files.cert_file, &files.key_file) {
                dates(&view, "certFile", cert);
                secret(&view, "keyFile", key);
            }
        }
    }
    upstream::Tls { files, server_name }
}

/// Reports an endpoint with a host that no certificate can be for.
pub(super) fn has_name(version: &View<'_>, item: &Item<'_>, address: &Address) -> bool {
    let Address::Tcp { host, tls: true, .. } = address else { return true };
    let named = version.child("tls").maybe_text("serverName").is_some();
    let good = named || Dialer::is_name(host);
    if !good {
        let shown = &item.shown;
        let why = "has a host that no certificate can be for: set tls.serverName";
        version.wrong_item(item, format!("{shown} {why}"));
    }
    good
}

/// Reports what is wrong with the files, at the key of the one it is about. What is at none
/// of these is at the key's.
fn wrong(view: &View<'_>, error: &TlsError, files: [(&'static str, Option<&Path>); 2]) {
    let key = match error {
        TlsError::File { path, .. }
        | TlsError::Empty { path, .. }
        | TlsError::Certificate { path, .. } => {
            let of = files.into_iter().find(|(_, file)| *file == Some(path));
            of.map_or("keyFile", |(key, _)| key)
        }
        TlsError::Identity { .. } | TlsError::Half => "keyFile",
    };
    let why = match error {
        TlsError::File { why, .. } => format!("cannot be read as PEM: {why}"),
        TlsError::Empty { what, .. } => format!("has no {what} in it: use a PEM file"),
        TlsError::Certificate { source, .. } => {
            format!("has a certificate that cannot be used: {source}")
        }
        TlsError::Identity { .. } | TlsError::Half => {
            let cert = view.shown("certFile");
            format!(
                "is not the key of {cert}, or of a kind that is not known: make both anew"
            )
        }
    };
    view.wrong(key, format!("{} {why}", view.shown(key)));
}

/// Warns of a certificate that nobody believes today.
fn dates(view: &View<'_>, key: &str, file: &Path) {
    let Ok(certificate) = Certificate::read(file) else { return };
    let shown = view.shown(key);
    match certificate.validity() {
        Validity::Good => {}
        Validity::Over(end) => {
            view.warn(key, format!("{shown} has expired on {end}: renew it"));
        }
        Validity::Early(begin) => {
            view.warn(key, format!("{shown} is not good before {begin}"));
        }
    }
}

/// Warns of a key that others can change.
fn secret(view: &View<'_>, key: &str, file: &Path) {
    if is_open(file) {
        let shown = view.shown(key);
        view.warn(key, format!("{shown} can be changed by every user"));
    }
}

/// What the TLS of a listener means.
pub(super) fn of_listener(tls: &ServerSettings) -> String {
    let least = match tls.min_version {
        MinVersion::Tls12 => "TLS 1.2 or 1.3",
        MinVersion::Tls13 => "TLS 1.3",
    };
    let callers = match tls.client_ca_file {
        Some(_) => "callers must show a certificate",
        None => "callers need no certificate",
    };
    let (names, until) = match Certificate::read(&tls.cert_file) {
        Ok(Certificate { names, ends, .. }) => {
            let until = ends.map(|end| format!(", good until {end}"));
            (names, until.unwrap_or_default())
        }
        Err(_) => (Vec::new(), String::new()),
    };
    let names = match &names[..] {
        [] => "whatever name is asked for".to_owned(),
        names => names.join(", "),
    };
    format!("{least} with a certificate for {names}{until}; {callers}")
}

/// What the TLS towards a version means; `None` where there is none.
pub(super) fn of_version(settings: &upstream::Settings) -> Option<String> {
    if !settings.speaks_tls() {
        return None;
    }
    let named = |file: &Option<PathBuf>| file.as_ref().map(|it| it.display().to_string());
    let spoken = match settings.protocol {
        Protocol::Auto => "HTTP/2 or HTTP/1.1 as the server likes",
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    };
    let mut text = format!("TLS: {spoken}; believes the public roots");
    if let Some(file) = named(&settings.tls.files.ca_file) {
        text += &format!(" and those in {file}");
    }
    if let Some(name) = &settings.tls.server_name {
        text += &format!(", for the name {name}");
    }
    if let Some(file) = named(&settings.tls.files.cert_file) {
        text += &format!("; shows the certificate in {file}");
    }
    Some(text)
}
