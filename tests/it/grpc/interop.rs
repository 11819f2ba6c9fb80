//! The cases of gRPC's interop tests between the client and the server of the `grpcio`
//! package: what the client gets through the proxy is what it gets without.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::config::{Config, NO_RULES, Route};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

#[test]
fn the_interop_cases_come_out_as_without_the_proxy() {
    let place = set_up();
    let server = Server::start(&place);
    let street = street(&server, "role: stable");
    let direct = interop(&place, &format!("127.0.0.1:{}", server.port));
    let through = interop(&place, &street.http.to_string());
    assert_eq!(through, direct, "{through:#}\n{direct:#}");
    for (case, want) in [
        ("empty_unary", json!("")),
        ("large_unary", json!(314_159)),
        ("huge_unary", json!(12 << 20)),
        ("client_streaming", json!("74922")),
        ("server_streaming", json!([31_415, 9, 2_653, 58_979])),
        ("ping_pong", json!([31_415, 9, 2_653, 58_979])),
        ("empty_stream", json!([])),
        ("unimplemented_method", json!("UNIMPLEMENTED")),
        ("unimplemented_service", json!("UNIMPLEMENTED")),
        ("cancel_after_begin", json!("CANCELLED")),
        ("cancel_after_first_response", json!([31_415, "CANCELLED"])),
        ("timeout_on_sleeping_server", json!("DEADLINE_EXCEEDED")),
        ("many_at_once", json!(149 * 150 / 2)),
    ] {
        assert_eq!(through[case], want, "{case}");
    }
    assert_eq!(through["status_code_and_message"][1][1], "test status message");
    assert_eq!(
        through["custom_metadata"][0][1]["x-grpc-test-echo-trailing-bin"],
        "ababab00ff"
    );
}

#[test]
fn a_real_server_is_healthy_as_long_as_it_says_so() {
    let place = set_up();
    let mut server = Server::start(&place);
    let check = "healthCheck: { grpc: true, interval: 100ms, unhealthyAfter: 2, healthyAfter: 1 }";
    let street = street(&server, &format!("role: stable, {check}"));
    let health = |want: bool| {
        wait::eventually(&format!("the server is healthy: {want}"), SOON, || {
            let healthy = &street.version("v1")["healthy_endpoints"];
            (*healthy == u8::from(want)).then_some(())
        });
    };
    health(true);
    server.says("2");
    health(false);
    assert!(street.log().contains("NOT_SERVING"), "{}", street.log());
    server.says("1");
    health(true);
}

fn street(server: &Server, members: &str) -> Street {
    let url = format!("http://127.0.0.1:{}", server.port);
    let route = Route::new("calls")
        .version("v1", members, &[url])
        .with("dialect: grpc")
        .with(NO_RULES);
    Street::open(&Config::new([route]))
}

fn interop(place: &Path, address: &str) -> Value {
    let mut child = Command::new(place.join("bin/python"))
        .arg(source("interop.py"))
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = wait_for(&mut child);
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(ended && out.status.success(), "{address}: {said}");
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Whether the process ends by itself in time; its output is small.
fn wait_for(child: &mut Child) -> bool {
    let begun = std::time::Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        if begun.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap_or_default();
            return false;
        }
        wait::linger(Duration::from_millis(20));
    }
}

/// The virtual environment, made if it is not there.
fn set_up() -> PathBuf {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("grpc-venv");
    let script = source("setup");
    let made = Command::new(&script).arg(&place).output();
    let made = made.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "the set-up of gRPC failed: {said}");
    place
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc").join(name)
}

/// The server's process.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(place: &Path) -> Self {
        let mut child = Command::new(place.join("bin/python"))
            .arg(source("serve.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }

    /// Has its health service say that.
    fn says(&mut self, status: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{status}").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}
