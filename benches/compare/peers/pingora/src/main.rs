//! The smallest splitting proxy that Pingora makes: `pingora-peer PORT STABLE CANARY`, one
//! thread, every tenth request to the canary, its own pool and nothing else.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use pingora_core::server::Server;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Split {
    servers: [String; 2],
    turn: AtomicU64,
}

#[async_trait]
impl ProxyHttp for Split {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(
        &self,
        _: &mut Session,
        (): &mut Self::CTX,
    ) -> pingora_core::Result<Box<HttpPeer>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let server = &self.servers[usize::from(turn % 10 == 9)];
        Ok(Box::new(HttpPeer::new(server, false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, stable, canary] = &args[..] else {
        return Err("pingora-peer PORT STABLE CANARY".into());
    };
    let mut server = Server::new(None)?;
    server.bootstrap();
    let servers = [stable.clone(), canary.clone()];
    let split = Split { servers, turn: AtomicU64::new(0) };
    let mut proxy = http_proxy_service(&server.configuration, split);
    proxy.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(proxy);
    server.run_forever();
}
