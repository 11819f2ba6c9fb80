//! The whole product in one process: two model servers, the proxy, clients, and a screen.
