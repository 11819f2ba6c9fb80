//! Configuration files for the tests, built from servers.

use std::fmt::Write;
use std::path::Path;

use super::model_server::ModelServer;

/// A configuration, as a test says it.
#[derive(Clone, Debug)]
pub struct Config {
    workers: u32,
    limits: String,
    listener: String,
    extra: String,
    routes: Vec<Route>,
}

/// One route of it.
#[derive(Clone, Debug)]
pub struct Route {
    name: String,
    versions: Vec<String>,
    extra: String,
}

impl Config {
    /// One worker, one listener, these routes.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self {
            workers: 1,
            limits: String::new(),
            listener: String::new(),
            extra: String::new(),
            routes: routes.into_iter().collect(),
        }
    }

    /// A route named `iris` with that stable version `v1`, and nothing else.
    pub fn plain(stable: &ModelServer) -> Self {
        Self::new([Route::new("iris").stable("v1", stable)])
    }

    /// A route named `iris` with a stable `v1` and a canary `v2` of that weight.
    pub fn pair(stable: &ModelServer, weight: &str, canary: &ModelServer) -> Self {
        Self::new([Route::new("iris").stable("v1", stable).canary("v2", weight, canary)])
    }

    /// So many workers.
    pub fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// The listener's limits, as a YAML flow mapping.
    pub fn limits(self, limits: &str) -> Self {
        Self { limits: format!("    limits: {limits}\n"), ..self }
    }

    /// One more line of the listener.
    pub fn listener(mut self, line: &str) -> Self {
        writeln!(self.listener, "    {line}").unwrap();
        self
    }

    /// One more line at the top.
    pub fn with(mut self, line: &str) -> Self {
        writeln!(self.extra, "{line}").unwrap();
        self
    }

    /// One more line of the first route.
    pub fn route_with(mut self, line: &str) -> Self {
        self.routes[0] = self.routes[0].clone().with(line);
        self
    }

    /// The file's text, with state kept in `dir`.
    pub fn yaml(&self, dir: &Path) -> String {
        let mut text = format!(
            "workers: {}\nstateDir: {:?}\nadmin: {{ address: \"127.0.0.1:0\" }}\n{}\
             listeners:\n  - name: http\n    address: \"127.0.0.1:0\"\n{}{}routes:\n",
            self.workers,
            dir.join("state"),
            self.extra,
            self.listener,
            self.limits
        );
        for route in &self.routes {
            writeln!(text, "  - name: {}\n    versions:", route.name).unwrap();
            for version in &route.versions {
                writeln!(text, "      - {version}").unwrap();
            }
            text += &route.extra;
            if !route.extra.contains("analysis:") {
                writeln!(text, "    {ONE_STAGE}").unwrap();
            }
            if !route.extra.contains("rollback:") {
                writeln!(text, "    {SETTLED}").unwrap();
            }
        }
        text
    }
}

impl Route {
    /// A route without versions yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), versions: Vec::new(), extra: String::new() }
    }

    /// With that stable version.
    pub fn stable(self, name: &str, server: &ModelServer) -> Self {
        self.version(name, "role: stable", &[server.url()])
    }

    /// With that canary.
    pub fn canary(self, name: &str, weight: &str, server: &ModelServer) -> Self {
        self.version(name, &format!("role: canary, weight: {weight}"), &[server.url()])
    }

    /// With a version of these members and endpoints.
    pub fn version(mut self, name: &str, members: &str, endpoints: &[String]) -> Self {
        self.versions
            .push(format!("{{ name: {name}, {members}, endpoints: {endpoints:?} }}"));
        self
    }

    /// One more line of it.
    pub fn with(mut self, line: &str) -> Self {
        writeln!(self.extra, "    {line}").unwrap();
        self
    }
}

/// An analysis that never acts, for tests of something else.
pub const NO_RULES: &str = "analysis: { metrics: [{ name: healthCheck, dryRun: true }] }";
/// The default: users are taken off first, and the verdict is confirmed without them.
pub const TWO_STAGES: &str = "analysis: { confirm: auto }";
/// The first verdict is the rollback: for tests of the rollback, not of the way to it.
const ONE_STAGE: &str = "analysis: { confirm: off }";
/// Stable is looked at soon after a rollback.
const SETTLED: &str = "rollback: { stabilization: 200ms }";
/// Nothing is tried again and nothing rescued, so that a failure can be seen.
pub const BARE: &str = "retry: { attempts: 0 }";
