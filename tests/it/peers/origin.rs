//! A server of many kinds of answers by `hypercorn`, and proxies before it.

use crate::support::config::{Config, NO_RULES, Route};
use crate::support::peers::{Peer, Python};
use crate::support::street::Street;
use crate::support::tls::Authority;

/// The server, and who vouches for it and for the proxy.
pub struct Origin {
    _process: Peer,
    clear: u16,
    secured: u16,
    authority: Authority,
}

impl Origin {
    /// Starts it.
    pub fn start(python: &Python) -> Self {
        let authority = Authority::serving();
        let files = ["server.pem", "server.key"].map(|file| authority.path(file));
        let mut process = python.start("origin.py", files);
        let (clear, secured) = (process.port(), process.port());
        Self { _process: process, clear, secured, authority }
    }

    /// Where it is.
    pub fn url(&self, secured: bool) -> String {
        match secured {
            true => format!("https://localhost:{}", self.secured),
            false => format!("http://127.0.0.1:{}", self.clear),
        }
    }

    /// The file of the authority.
    pub fn authority(&self) -> String {
        self.authority.path("ca.pem").display().to_string()
    }

    /// A proxy before it that speaks this protocol with it, over TLS on both sides or on
    /// none, and its address.
    pub fn street(&self, protocol: &str, secured: bool) -> (Street, String) {
        let mut members = format!("role: stable, protocol: {protocol}");
        if secured {
            members += &format!(", tls: {{ caFile: {:?} }}", self.authority());
        }
        let route = Route::new("all")
            .version("v1", &members, &[self.url(secured)])
            .with("repeatable: false")
            .with(NO_RULES);
        let mut config = Config::new([route]);
        if secured {
            let (cert, key) =
                (self.authority.path("server.pem"), self.authority.path("server.key"));
            config = config
                .listener(&format!("tls: {{ certFile: {cert:?}, keyFile: {key:?} }}"));
        }
        let street = Street::open(&config);
        let url = match secured {
            true => format!("https://localhost:{}", street.http.port()),
            false => format!("http://{}", street.http),
        };
        (street, url)
    }
}
