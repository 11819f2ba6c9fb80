//! The real binary over real sockets: every acceptance scenario, the wire, and what goes
//! wrong. One test binary, so that there is one link step.
//!
//! Each test starts its own proxy on ports that the kernel chooses, so all run side by side.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::excessive_nesting,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a test reports by panicking, waits in real time and has no users"
)]

mod support;

mod acceptance;
mod attempts;
mod audit;
mod bad_input;
mod crash;
mod demo;
mod discovery;
mod documents;
mod exposition;
mod full_disk;
mod grpc;
mod notices;
mod operators;
mod peers;
mod ramps;
mod readonly;
mod rehearsal;
mod reload;
mod replay;
mod rollouts;
mod routing;
mod streams;
mod wire;
