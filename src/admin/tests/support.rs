//! A served operators' side over real loopback sockets, and a caller that can say anything.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admin::health::Readiness;
use crate::admin::listen::bind;
use crate::admin::settings::{OperatorRole, OperatorSettings, Settings};
use crate::admin::wire::StatusView;
use crate::control::{Feed, Orders, RouteView, VersionView, fake};

/// A served operators' side.
pub(super) struct Side {
    pub(super) admin: SocketAddr,
    pub(super) metrics: SocketAddr,
    pub(super) readiness: Readiness,
    pub(super) orders: Orders,
    pub(super) feed: Feed,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) served: JoinHandle<()>,
}

/// An answer as it came.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Side {
    /// With alice, who may do everything, and bob, who may look.
    pub(super) fn with_operators() -> Self {
        let operator = |name: &str, role| OperatorSettings {
            name: name.to_owned(),
            token: Some(format!("{name}-token")),
            certificate: None,
            role,
        };
        let all = [("alice", OperatorRole::Operator), ("bob", OperatorRole::Viewer)];
        Self::begin(all.map(|(name, role)| operator(name, role)).to_vec())
    }

    pub(super) fn begin(operators: Vec<OperatorSettings>) -> Self {
        let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
        let metrics_address = Some(loopback);
        Self::serve(Settings { metrics_address, operators, ..Settings::on(loopback) })
    }

    pub(super) fn serve(settings: Settings) -> Self {
        let bound = bind(&settings).unwrap();
        let admin = bound.address().unwrap();
        let metrics = bound.metrics_address().unwrap().unwrap_or(admin);
        let (handle, orders) = fake(status());
        let feed = handle.feed().clone();
        let readiness = Readiness::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let says = readiness.clone();
        let served = crate::tasks::shared("test", async move {
            let until = async { stopped.await.unwrap() };
            crate::admin::serve(&settings, bound, handle, says, until).await.unwrap();
        });
        Self { admin, metrics, readiness, orders, feed, stop, served }
    }

    pub(super) async fn send(&self, request: &str) -> Answer {
        send(self.admin, request).await
    }

    pub(super) async fn get(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"))
            .await
    }

    pub(super) async fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}");
        self.send(&format!("{head}content-length: {length}\r\n\r\n{body}")).await
    }

    /// The orders that were carried out.
    pub(super) fn orders(&self) -> Vec<String> {
        let orders = self.orders.lock().unwrap();
        orders.iter().filter(|line| !line.starts_with("refused")).cloned().collect()
    }

    /// The calls that were refused on record.
    pub(super) fn refusals(&self) -> Vec<String> {
        let orders = self.orders.lock().unwrap();
        orders
            .iter()
            .filter_map(|line| line.strip_prefix("refused "))
            .map(Into::into)
            .collect()
    }
}

/// Sends a request and takes one answer with a declared length.
pub(super) async fn send(to: SocketAddr, request: &str) -> Answer {
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    receive(&mut socket).await
}

pub(super) async fn receive(socket: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let read = async {
        loop {
            if let Some(answer) = parse(&bytes) {
                return answer;
            }
            let got = socket.read_buf(&mut bytes).await.unwrap();
            assert!(got > 0, "cut after {:?}", String::from_utf8_lossy(&bytes));
        }
    };
    timeout(Duration::from_secs(15), read).await.unwrap()
}

pub(super) fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1)?.lines().next()?.parse().unwrap();
    let status = head.split(' ').nth(1)?.parse().unwrap();
    (body.len() >= length).then(|| Answer { status, body: body.to_owned(), head })
}

pub(super) fn status() -> StatusView {
    let version = |name: &str, role: &str, verdict: &str| VersionView {
        name: name.to_owned(),
        role: role.to_owned(),
        state: "serving".to_owned(),
        verdict: verdict.to_owned(),
        error_rate: Some(0.01),
        ..VersionView::default()
    };
    let mut held = version("v3", "candidate", "");
    held.state = "quarantined".to_owned();
    held.quarantine = Some("errorRate: too many".to_owned());
    let stubborn = version("stubborn", "candidate", "");
    let iris = RouteView {
        name: "iris".to_owned(),
        versions: vec![
            version("v2.4", "stable", ""),
            version("v2.5", "canary", "pass: within every limit"),
            held,
            stubborn,
        ],
        last_rollback: Some(serde_json::json!({"rollback_id": "rb-1", "timestamp": 1})),
        ..RouteView::default()
    };
    let later = serde_json::json!({"rollback_id": "rb-2", "timestamp": 2});
    let credit = RouteView {
        name: "credit".to_owned(),
        versions: vec![version("v1", "stable", "")],
        last_rollback: Some(later),
        ..RouteView::default()
    };
    StatusView { routes: vec![iris, credit], ..StatusView::default() }
}

pub(super) const ALICE: &str = "authorization: Bearer alice-token\r\n";
pub(super) const BOB: &str = "authorization: Bearer bob-token\r\n";
pub(super) const WEIGHT: &str =
    r#"{"version":"v2.5","weight":"10%","reason":"slow start"}"#;
