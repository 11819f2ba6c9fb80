//! The operators' side over real loopback sockets, with a control loop that only writes
//! down what it is told: the border, orders and what is looked at, events, and TLS. What a
//! running Switchback answers is tested with the real binary.

mod border;
mod events;
mod orders;
mod support;
mod tls;
