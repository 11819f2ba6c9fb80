//! `examine`: are the servers of a version alive, ready and the ones they should be, right
//! now? Asked by a rollback before it trusts a version, where the running checks may be an
//! interval old, and where a version without checks must be asked too.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::endpoint::Endpoint;
use super::probe;
use super::registry::Upstream;
use super::settings::{Origin, Settings};
use crate::clock;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// At least one server is well, so that requests can be answered.
    pub passed: bool,
    /// What was seen, in one sentence.
    pub detail: String,
}

impl Settings {
    /// How long [`examine`] may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.health.as_ref().map_or(CONNECT, |rule| rule.timeout)
    }
}

/// Asks every server what its health check asks, or whether it takes a connection where it
/// has none. One that does not pass is asked again as long as there is time: one lost packet
/// is no outage.
pub async fn examine(upstream: &Upstream) -> Examined {
    let until = clock::now() + upstream.settings.patience();
    let all = join_all(upstream.endpoints.iter().map(|one| ask(upstream, one, until)));
    let answers = all.await;
    let well = answers.iter().filter(|answer| answer.is_none()).count();
    let what = match upstream.settings.health {
        Some(_) => "pass the health check",
        None => "take connections (no health check is configured)",
    };
    if answers.is_empty() {
        let names: Vec<&str> =
            upstream.settings.endpoints.iter().filter_map(Origin::name).collect();
        let detail = format!("no address is known for {}", names.join(", "));
        return Examined { passed: false, detail };
    }
    let mut detail = format!("{well} of {} endpoints {what}", answers.len());
    let mut failed = upstream.endpoints.iter().zip(answers);
    if let Some((endpoint, Some(why))) = failed.find(|(_, answer)| answer.is_some()) {
        detail.push_str(&format!("; {}: {why}", endpoint.address));
    }
    Examined { passed: well > 0, detail }
}

/// Why a server is not well, if it is not.
async fn ask(
    upstream: &Upstream,
    endpoint: &Arc<Endpoint>,
    until: tokio::time::Instant,
) -> Option<String> {
    let protocol = upstream.settings.protocol;
    loop {
        let left = until.saturating_duration_since(clock::now());
        let why = match &upstream.settings.health {
            Some(rule) => probe::why_not(endpoint, protocol, rule, left).await,
            None => probe::unreachable(endpoint, left).await,
        }?;
        if clock::now() + PAUSE >= until {
            return Some(why);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Long enough for a connection across a region.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two questions to a server that did not pass.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::{Upstream, examine};
    use crate::upstream::{Address, HealthCheck, Settings};
    use crate::vocab::ids::Name;

    fn upstream(ports: &[u16], timeout: Option<u64>) -> Upstream {
        let address = |port: &u16| {
            let host = "127.0.0.1".into();
            Address::Tcp { host, port: *port, tls: false }.into()
        };
        let settings = Settings {
            endpoints: ports.iter().map(address).collect(),
            health: timeout.map(|ms| HealthCheck {
                liveness: None,
                readiness: Some("/ready".to_owned()),
                integrity: None,
                grpc: false,
                interval: Duration::from_secs(5),
                timeout: Duration::from_millis(ms),
                unhealthy_after: 3,
                healthy_after: 2,
            }),
            ..Settings::example()
        };
        let name = |text| Name::parse(text).unwrap();
        Upstream::new(name("iris"), name("v1"), settings, None)
    }

    /// A server that answers `count` connections with this.
    fn server(count: usize, status: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().take(count) {
                let mut stream = stream.unwrap();
                let mut head = [0; 1024];
                let _read = stream.read(&mut head).unwrap();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        port
    }

    /// A port at which nobody listens.
    fn nobody() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn one_server_that_is_well_is_enough() {
        let seen = examine(&upstream(&[nobody(), server(1, "200 OK")], Some(150))).await;
        assert!(seen.passed, "{seen:?}");
        assert!(seen.detail.starts_with("1 of 2 endpoints pass"), "{seen:?}");
        assert!(seen.detail.contains("no connection"), "{seen:?}");
    }

    #[tokio::test]
    async fn a_server_that_says_no_is_not_well_though_it_answers() {
        let port = server(50, "503 Service Unavailable");
        let seen = examine(&upstream(&[port], Some(150))).await;
        assert!(!seen.passed && seen.detail.contains("503"), "{seen:?}");
        // Without a check of its own it takes connections, and that is all that is asked.
        assert!(examine(&upstream(&[port], None)).await.passed);
        assert!(!examine(&upstream(&[nobody()], None)).await.passed);
    }
}
