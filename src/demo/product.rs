//! The product in the demo: its configuration as a text, and the call that starts it.
//!
//! It is apart so that it can be seen that the demo goes in by the same door as a user: a
//! file's text, parsed and started, with nothing set behind its back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, anyhow};

use crate::app;
use crate::config;
use crate::control::{ControlHandle, RouteView};

/// The version that must hold.
pub(super) const STABLE: &str = "v2.4";

/// The version that goes bad.
pub(super) const CANARY: &str = "v2.5";

/// Where everything listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// The proxy, for callers.
    pub(super) proxy: SocketAddr,
    /// The proxy, for operators.
    pub(super) admin: SocketAddr,
    /// The stable version's server.
    pub(super) stable: SocketAddr,
    /// The canary's server.
    pub(super) canary: SocketAddr,
}

/// The running proxy.
#[derive(Debug)]
pub(super) struct Product {
    running: app::Running,
}

impl Product {
    /// Starts the proxy on this configuration.
    ///
    /// # Errors
    /// When the configuration is refused or a part of the proxy cannot be started.
    pub(super) fn start(yaml: &str, directory: &Path) -> anyhow::Result<Self> {
        let loaded = config::parse(yaml, "demo.yaml", directory)?;
        let running = app::start(loaded.settings).context("the proxy did not start")?;
        Ok(Self { running })
    }

    /// The order book of its control loop.
    pub(super) fn control(&self) -> &ControlHandle {
        self.running.control()
    }

    /// Ends it, waits for that and says how many connections had to be cut.
    pub(super) fn stop(self) -> usize {
        self.running.stop()
    }
}

/// The demo's one route, as the control loop sees it now.
///
/// # Errors
/// When the control loop does not answer.
pub(super) async fn route(control: &ControlHandle) -> anyhow::Result<RouteView> {
    let status = control.status().await.context("the proxy's status cannot be had")?;
    status.routes.into_iter().next().ok_or_else(|| anyhow!("the proxy shows no route"))
}

/// Two ports that are free now. Somebody else may take one before the proxy does; then the
/// proxy says so, and the demo is begun again.
///
/// # Errors
/// When there are none.
pub(super) fn free_ports() -> io::Result<[SocketAddr; 2]> {
    let held = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
    ];
    Ok([held[0].local_addr()?, held[1].local_addr()?])
}

/// The whole configuration.
pub(super) fn yaml(places: &Places, state_dir: &Path) -> String {
    let Places { proxy, admin, stable, canary } = places;
    // A JSON string is a YAML string, whatever is in the path; `$${` stands for `${`.
    let state_dir = state_dir.to_string_lossy().replace("${", "$${");
    let state_dir = serde_json::Value::from(state_dir);
    format!(
        r#"listeners: [{{ address: "{proxy}" }}]
admin: {{ address: "{admin}" }}
stateDir: {state_dir}
routes:
  - name: iris
    versions:
      - name: {STABLE}
        role: stable
        endpoints: ["http://{stable}"]
      - name: {CANARY}
        role: canary
        weight: 10%
        endpoints: ["http://{canary}"]
    analysis:
      window: 5s
      confirm: off
      metrics:
        - {{ name: errorRate, maxRatio: 2, minSamples: 50, test: window }}
        - {{ name: latencyP99, max: 800ms, minSamples: 200, test: window }}
    fallback: {{ cache: {{ enabled: true }} }}
"#
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Places, free_ports, yaml};
    use crate::config;

    #[test]
    fn the_configuration_is_one_that_a_user_could_have_written() {
        let [proxy, admin] = free_ports().unwrap();
        assert_ne!(proxy, admin);
        let server = "127.0.0.1:59999".parse().unwrap();
        let places = Places { proxy, admin, stable: server, canary: server };
        for state_dir in ["/tmp/x", "/tmp/a \"b\" ${C} \\ #d: ü"] {
            let text = yaml(&places, Path::new(state_dir));
            let loaded = config::parse(&text, "demo.yaml", Path::new("/")).unwrap();
            assert_eq!(loaded.warnings, Vec::<String>::new());
            assert_eq!(loaded.settings.state_dir, Path::new(state_dir));
            assert_eq!(loaded.settings.listeners[0].address, proxy);
            assert!(loaded.settings.live.routes[0].policy.cache.is_some());
            for line in text.lines().filter(|line| !line.starts_with("stateDir")) {
                assert!(line.len() <= 80, "{line}");
            }
        }
    }
}
