//! Listeners, admin and operators: what is fixed from start to end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::certificates::server_tls;
use super::insert::read_small;
use super::reader::{Item, View};
use super::units;
use crate::admin;
use crate::admin::{OperatorRole, OperatorSettings};
use crate::proxy::{Limits, ListenerProtocol, ListenerSettings};
use crate::tls::ServerSettings;
use crate::trace::RecordSettings;

/// The number of data-plane threads.
pub(super) fn workers(root: &View<'_>) -> usize {
    if root.text("workers") == "auto" {
        return std::thread::available_parallelism().map_or(1, NonZero::get);
    }
    root.count::<usize>("workers").max(1)
}

/// Where requests are recorded, if they are.
pub(super) fn record(root: &View<'_>) -> Option<RecordSettings> {
    let view = root.child("record");
    let path = PathBuf::from(view.maybe_text("path")?);
    Some(RecordSettings { path, max_size: view.size("maxSize") })
}

/// All listeners; no two have the same name or address.
pub(super) fn listeners(root: &View<'_>, dir: &Path) -> Vec<ListenerSettings> {
    let (mut names, mut addresses) = (HashMap::new(), HashMap::new());
    let views = root.children("listeners");
    let mut listeners = Vec::with_capacity(views.len());
    for (place, view) in views.iter().enumerate() {
        let name = match (view.maybe_text("name"), place) {
            (Some(name), _) => name.to_owned(),
            (None, 0) => "http".to_owned(),
            (None, _) => format!("http-{}", place + 1),
        };
        if let Some(first) = names.insert(name.clone(), place) {
            view.wrong(
                "name",
                format!("{} is also the name of listeners[{first}]", view.shown("name")),
            );
        }
        let Some(address) = address(view, "address") else { continue };
        if address.port() != 0
            && let Some(first) = addresses.insert(address, place)
        {
            let shown = view.shown("address");
            view.wrong("address", format!("{shown} is also taken by listeners[{first}]"));
        }
        listeners.push(ListenerSettings {
            name,
            address,
            protocol: protocol(view),
            tls: view.maybe_child("tls").and_then(|tls| server_tls(&tls, dir)),
            limits: limits(&view.child("limits")),
            trusted: trusted(view),
        });
    }
    listeners
}

fn protocol(view: &View<'_>) -> ListenerProtocol {
    match view.text("protocol") {
        "http1" => ListenerProtocol::Http1,
        "http2" => ListenerProtocol::Http2,
        _ => ListenerProtocol::Auto,
    }
}

fn limits(view: &View<'_>) -> Limits {
    Limits {
        max_connections: view.count("maxConnections"),
        max_connections_per_address: match view.text("maxConnectionsPerAddress") {
            "auto" => None,
            _ => Some(view.count("maxConnectionsPerAddress")),
        },
        min_rate: view.size("minRate"),
        header_timeout: view.span("headerTimeout"),
        header_size: view.size("headerSize"),
        header_count: view.count("headerCount"),
        body_size: view.size("bodySize"),
        body_idle_timeout: view.span("bodyIdleTimeout"),
        keep_alive_timeout: view.span("keepAliveTimeout"),
        requests_per_connection: view.count("requestsPerConnection"),
        concurrent_streams: view.count("concurrentStreams"),
    }
}

fn trusted(view: &View<'_>) -> Vec<crate::proxy::Network> {
    let items = view.items("trustForwardedFrom");
    if items.iter().any(|item| item.text.ends_with("/0")) {
        let why = "believes the forwarding headers of everybody who can connect";
        view.warn("trustForwardedFrom", why);
    }
    items.iter().filter_map(|item| units::network(item.text).ok()).collect()
}

/// The operators' side.
pub(super) fn admin(root: &View<'_>, dir: &Path) -> admin::Settings {
    let view = root.child("admin");
    let fallback = SocketAddr::from(([127, 0, 0, 1], 0));
    let own = address(&view, "address").unwrap_or(fallback);
    let metrics = view.given("metricsAddress").then(|| address(&view, "metricsAddress"));
    let metrics = metrics.flatten();
    let listeners = root.children("listeners");
    let mut taken: Vec<(SocketAddr, String)> = listeners
        .iter()
        .filter_map(|listener| {
            Some((address(listener, "address")?, listener.path.clone()))
        })
        .collect();
    for (key, wanted) in [("address", Some(own)), ("metricsAddress", metrics)] {
        let Some(wanted) = wanted.filter(|wanted| wanted.port() != 0) else { continue };
        if let Some((_, by)) = taken.iter().find(|(other, _)| *other == wanted) {
            view.wrong(key, format!("{} is also taken by {by}", view.shown(key)));
        }
        taken.push((wanted, format!("admin.{key}")));
    }
    let tls = view.maybe_child("tls").and_then(|tls| server_tls(&tls, dir));
    let operators = operators(&view, dir, tls.as_ref());
    if operators.is_empty() && view.sound("operators") && !own.ip().is_loopback() {
        let shown = view.shown("address");
        view.wrong(
            "operators",
            format!("is missing: {shown} is not loopback, so somebody must be named"),
        );
    }
    if !own.ip().is_loopback() && !view.given("tls") && view.given("operators") {
        let shown = view.shown("address");
        let why = "is not loopback and has no admin.tls: tokens go there in the clear";
        view.warn("address", format!("{shown} {why}"));
    }
    admin::Settings {
        address: own,
        metrics_address: metrics,
        tls,
        operators,
        state_dir: PathBuf::from(root.text("stateDir")),
    }
}

fn operators(
    view: &View<'_>,
    dir: &Path,
    tls: Option<&ServerSettings>,
) -> Vec<OperatorSettings> {
    let (mut names, mut tokens) = (HashMap::new(), HashMap::new());
    let mut certificates = HashMap::new();
    let is_asked = tls.is_some_and(|tls| tls.client_ca_file.is_some());
    let views = view.children("operators");
    let mut operators = Vec::with_capacity(views.len());
    for (place, view) in views.iter().enumerate() {
        let name = view.text("name").to_owned();
        if view.given("name")
            && let Some(first) = names.insert(name.clone(), place)
        {
            let shown = view.shown("name");
            view.wrong("name", format!("{shown} is also the name of operators[{first}]"));
        }
        let file = view.item("tokenFile");
        let token = file.as_ref().and_then(|file| token(view, file, dir));
        if let (Some(file), Some(token)) = (&file, &token)
            && let Some(first) = tokens.insert(token.clone(), place)
        {
            view.wrong_item(file, format!("has the same token as operators[{first}]"));
        }
        let certificate = view.maybe_child("certificate").and_then(|view| {
            let certificate = units::fingerprint(view.maybe_text("sha256")?).ok()?;
            if let Some(first) = certificates.insert(certificate, place) {
                view.wrong("sha256", format!("is also that of operators[{first}]"));
            }
            Some(certificate)
        });
        if !view.given("tokenFile") && !view.given("certificate") {
            let why = "is missing: name a tokenFile, a certificate, or both";
            view.wrong("tokenFile", why);
        }
        if certificate.is_some() && !is_asked {
            let why = "is never asked for: set admin.tls with clientCaFile";
            view.wrong("certificate", why);
        }
        let role = match view.text("role") {
            "operator" => OperatorRole::Operator,
            "signal" => OperatorRole::Signal,
            _ => OperatorRole::Viewer,
        };
        operators.push(OperatorSettings { name, token, certificate, role });
    }
    operators
}

/// The token in that file, or a report of what is wrong with it that does not show it.
fn token(view: &View<'_>, file: &Item<'_>, dir: &Path) -> Option<String> {
    let shown = &file.shown;
    let path = dir.join(file.text);
    let text = match read_small(&path) {
        Ok(text) => text,
        Err(why) => {
            view.wrong_item(file, format!("{shown} cannot be read: {why}"));
            return None;
        }
    };
    let token = text.trim();
    let length = token.chars().count();
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        view.wrong_item(
            file,
            format!("{shown} has a token with spaces or other than visible ASCII"),
        );
    } else if !(16..=4_096).contains(&length) {
        let why = format!("{shown} has a token of {length} characters: use 16 to 4096");
        view.wrong_item(file, why);
    } else {
        if is_open(&path) {
            view.warn("tokenFile", format!("{shown} can be changed by every user"));
        }
        return Some(token.to_owned());
    }
    None
}

/// Whether everybody on the machine may write to that file. That all may read it is how
/// Kubernetes mounts secrets.
pub(super) fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o002 != 0)
}

fn address(view: &View<'_>, key: &str) -> Option<SocketAddr> {
    units::socket(view.text(key)).ok()
}
