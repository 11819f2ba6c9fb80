//! Given a WebSocket server and a client of an independent implementation (`websockets` for
//! Python), when they talk through the proxy, then each hears what it hears without it, to
//! the byte: frames, fragments, pings, closes, compression, and what breaks the rules.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::config::{Config, Route};
use crate::support::street::Street;

#[test]
fn a_websocket_through_the_proxy_is_the_websocket_without_it() {
    let place = set_up();
    let server = Server::start(&place);
    let route = Route::new("chat").version("v1", "role: stable", &[server.url()]);
    let street = Street::open(&Config::new([route]));
    let direct = told(&place, &format!("ws://127.0.0.1:{}", server.port));
    let through = told(&place, &format!("ws://{}", street.http));
    assert!(direct.len() > 100, "{}", direct.join("\n"));
    let differ: Vec<String> = direct
        .iter()
        .zip(&through)
        .filter(|(a, b)| a != b)
        .map(|(a, b)| format!("{a}\n  but {b}"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert_eq!(direct.len(), through.len());
    let metrics = street.metrics();
    assert!(metrics.requests("v1", "1xx") > 50, "{:?}", metrics.classes("v1"));
    assert_eq!(street.version("v1")["in_flight"], 0);
}

/// What the client says of the server at that address.
fn told(place: &Path, url: &str) -> Vec<String> {
    let script = source("client.py");
    let output = Command::new(place.join("bin/python")).arg(script).arg(url).output();
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{url}: {error}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The virtual environment, made if it is not there.
fn set_up() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("websockets-venv");
    let made = Command::new(source("setup")).arg(&place).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "the set-up of websockets failed: {said}");
    place
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/websockets").join(name)
}

/// The server's process.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(place: &Path) -> Self {
        let mut child = Command::new(place.join("bin/python"))
            .arg(source("server.py"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and is waited for all the same.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}
