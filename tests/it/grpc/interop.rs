//! The cases of gRPC's interop tests between the client and the server of the `grpcio`
//! package: what the client gets through the proxy is what it gets without.

use serde_json::{Value, json};

use crate::support::config::{Config, NO_RULES, Route};
use crate::support::peers::{Peer, Python};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

#[test]
fn the_interop_cases_come_out_as_without_the_proxy() {
    let python = Python::of("grpc");
    let (_server, port) = serve(&python);
    let street = street(port, "role: stable");
    let direct = interop(&python, &format!("127.0.0.1:{port}"));
    let through = interop(&python, &street.http.to_string());
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
    let python = Python::of("grpc");
    let (mut server, port) = serve(&python);
    let check = "healthCheck: { grpc: true, interval: 100ms, unhealthyAfter: 2, healthyAfter: 1 }";
    let street = street(port, &format!("role: stable, {check}"));
    let health = |want: bool| {
        wait::eventually(&format!("the server is healthy: {want}"), SOON, || {
            let healthy = &street.version("v1")["healthy_endpoints"];
            (*healthy == u8::from(want)).then_some(())
        });
    };
    health(true);
    server.hear("2");
    health(false);
    assert!(street.log().contains("NOT_SERVING"), "{}", street.log());
    server.hear("1");
    health(true);
}

fn street(port: u16, members: &str) -> Street {
    let route = Route::new("calls")
        .version("v1", members, &[format!("http://127.0.0.1:{port}")])
        .with("dialect: grpc")
        .with(NO_RULES);
    Street::open(&Config::new([route]))
}

fn interop(python: &Python, address: &str) -> Value {
    serde_json::from_str(&python.told("interop.py", [address])).unwrap()
}

/// The server and its port; a line of its input is what its health service then says.
fn serve(python: &Python) -> (Peer, u16) {
    let mut server = python.start("serve.py", [""; 0]);
    let port = server.port();
    (server, port)
}
