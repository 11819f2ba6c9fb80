//! Clients and servers that others wrote, and suites of others, through the proxy: what each
//! gets is what it gets without. How they are installed and run is in `support/peers.rs`.

mod autobahn;
mod cache_tests;
mod curl;
mod digits;
mod httpx;
mod llmock;
mod mlserver;
mod origin;
mod triton;
mod websockets;
