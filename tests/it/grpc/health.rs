//! `healthCheck: { grpc: true }`: a server that says by `grpc.health.v1` that it serves takes
//! requests; one that does not offer it is told apart in words that help.

use super::server::{Deed, GrpcServer};
use crate::support::config::{Config, Route};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

fn watched(server: &GrpcServer) -> Street {
    let check = "healthCheck: { grpc: true, interval: 100ms, unhealthyAfter: 2 }";
    let route = Route::new("calls")
        .version(
            "v1",
            &format!("role: stable, {check}"),
            std::slice::from_ref(&server.url),
        )
        .with("dialect: grpc");
    Street::open(&Config::new([route]))
}

#[test]
fn a_server_without_the_service_is_named_with_the_way_out() {
    let server = GrpcServer::new(Deed::Only(12));
    let street = watched(&server);
    wait::eventually("the log says why", SOON, || {
        let log = street.log();
        (log.contains("grpc.health.v1.Health/Check") && log.contains("UNIMPLEMENTED"))
            .then_some(())
    });
    server.saw("/grpc.health.v1.Health/Check te trailers");
}

#[test]
fn a_server_that_answers_something_else_is_not_healthy() {
    for deed in [Deed::Http(200), Deed::Only(14), Deed::Resets(2, false), Deed::Forgets] {
        let server = GrpcServer::new(deed);
        let street = watched(&server);
        wait::eventually(&format!("{deed:?} is unhealthy"), SOON, || {
            street.log().contains("unhealthy").then_some(())
        });
    }
}
