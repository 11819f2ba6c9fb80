//! Given a WebSocket server and a client of an independent implementation (`websockets` for
//! Python), when they talk through the proxy, then each hears what it hears without it, to
//! the byte: frames, fragments, pings, closes, compression, and what breaks the rules.

use crate::support::config::{Config, Route};
use crate::support::peers::Python;
use crate::support::street::Street;

#[test]
fn a_websocket_through_the_proxy_is_the_websocket_without_it() {
    let python = Python::of("websockets");
    let mut server = python.start("server.py", [""; 0]);
    let port = server.port();
    let url = format!("http://127.0.0.1:{port}");
    let route = Route::new("chat").version("v1", "role: stable", &[url]);
    let street = Street::open(&Config::new([route]));
    let told = |url: String| -> Vec<String> {
        python.told("client.py", [url]).lines().map(str::to_owned).collect()
    };
    let direct = told(format!("ws://127.0.0.1:{port}"));
    let through = told(format!("ws://{}", street.http));
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
