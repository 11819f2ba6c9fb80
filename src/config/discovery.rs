//! How names are looked up, and what the endpoints of all versions must not be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::reader::View;
use super::units;
use crate::dns;
use crate::upstream::{Guard, Origin};

/// How names are looked up.
pub(super) fn dns(root: &View<'_>) -> dns::Settings {
    let view = root.child("dns");
    let servers = view.items("servers");
    let servers: Vec<SocketAddr> =
        servers.iter().filter_map(|item| units::name_server(item.text).ok()).collect();
    let (min_ttl, max_ttl) = (view.span("minTtl"), view.span("maxTtl"));
    if max_ttl < min_ttl && view.sound("minTtl") && view.sound("maxTtl") {
        view.wrong("maxTtl", format!("is below minTtl, {}", units::show_span(min_ttl)));
    }
    let search = view.items("search");
    let search = search.iter().map(|item| item.text.to_ascii_lowercase()).collect();
    dns::Settings {
        servers,
        search: view.given("search").then_some(search),
        ndots: view.given("ndots").then(|| view.count("ndots")),
        timeout: view.span("timeout"),
        min_ttl,
        max_ttl,
    }
}

/// Refuses endpoints at which this proxy listens itself, and warns of those at which no
/// model server can be meant.
pub(super) fn look_at_endpoints(root: &View<'_>) {
    let own = own(root);
    let guard = Guard::new(own.iter().map(|(at, _)| *at).collect());
    let versions = root.children("routes").into_iter().flat_map(|route| {
        route.children("versions").into_iter().collect::<Vec<View<'_>>>()
    });
    for version in versions {
        for item in version.items("endpoints") {
            let Ok(origin) = units::endpoint(item.text) else { continue };
            let sockets = sockets(&origin);
            if let Some(at) = sockets.iter().find(|at| guard.is_own(**at)) {
                let same =
                    |(own, _): &&(SocketAddr, String)| Guard::new(vec![*own]).is_own(*at);
                let who = own.iter().find(same).map_or("this proxy", |(_, who)| who);
                let shown = &item.shown;
                let why =
                    format!("{shown} is where {who} listens: requests would go round");
                version.wrong_item(&item, why);
            }
            if sockets.iter().any(|at| Guard::is_metadata(at.ip())) {
                let shown = &item.shown;
                let why =
                    format!("{shown} is link-local or where clouds keep credentials");
                version.warn_item(&item, why);
            }
        }
    }
}

/// Every address that this process is to listen on, and who listens there.
fn own(root: &View<'_>) -> Vec<(SocketAddr, String)> {
    let socket = |view: &View<'_>, key: &str| {
        let given = view.given(key) || key == "address";
        let parsed = given.then(|| units::socket(view.text(key)).ok()).flatten();
        parsed.filter(|at| at.port() != 0)
    };
    let listeners = root.children("listeners");
    let mut own: Vec<(SocketAddr, String)> = listeners
        .iter()
        .filter_map(|view| Some((socket(view, "address")?, view.path.clone())))
        .collect();
    let admin = root.child("admin");
    for key in ["address", "metricsAddress"] {
        own.extend(socket(&admin, key).map(|at| (at, format!("admin.{key}"))));
    }
    own
}

/// Where an entry leads without a look-up.
fn sockets(origin: &Origin) -> Vec<SocketAddr> {
    let address = origin.address();
    match (address.socket(), address.name(), address.port()) {
        (Some(at), _, _) => vec![at],
        (None, Some("localhost"), Some(port)) => {
            let itself: [IpAddr; 2] =
                [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            itself.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
        }
        (None, Some(_) | None, _) => Vec::new(),
    }
}
