//! TLS, before the proxy and behind it: who is believed, what is agreed, what is resumed,
//! and that nothing of what passes is changed, held back or lost by it.

mod callers;
mod handshakes;
mod passing;
mod servers;
