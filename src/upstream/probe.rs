//! Active health checks: each endpoint is asked on its own, every interval, on a connection
//! that is made for the question.
//!
//! A fresh connection, because a kept one proves that the server once accepted and not that
//! it does. `GET`, because several inference servers refuse `HEAD`. Redirects are not
//! followed: an answer from elsewhere says nothing about this server.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connect::{ConnectError, open};
use super::endpoint::{Endpoint, Health};
use super::probe_grpc;
use super::probe_grpc::GrpcError;
use super::registry::Upstream;
use super::settings::{HealthCheck, Protocol};
use crate::tasks;
use crate::telemetry::{emit, logs};
use crate::tls::Offer;
use crate::wire::Io;

/// The running checks of one version, and what looks after its certificates; they stop when
/// this is dropped.
#[derive(Debug)]
pub struct Probes {
    /// The version as it is now.
    upstream: watch::Sender<Arc<Upstream>>,
    /// By the endpoint's number.
    tasks: HashMap<u32, JoinHandle<()>>,
    /// What looks after certificates in files.
    renewing: Option<JoinHandle<()>>,
}

impl Probes {
    /// Starts a task for each endpoint, if the settings ask for checks, and one for
    /// certificates in files. Needs a runtime.
    #[must_use]
    pub fn start(upstream: &Arc<Upstream>) -> Self {
        let sender = watch::Sender::new(Arc::clone(upstream));
        let trust = upstream.security.as_ref().map(|security| &security.trust);
        let renewing = trust.filter(|trust| trust.has_files()).map(|trust| {
            tasks::shared("server certificates", Arc::clone(trust).keep_fresh())
        });
        let mut probes = Self { upstream: sender, tasks: HashMap::new(), renewing };
        probes.follow(upstream);
        probes
    }

    /// The version has these servers from now on. Those that it had before are asked on as
    /// they were.
    pub fn follow(&mut self, upstream: &Arc<Upstream>) {
        self.upstream.send_replace(Arc::clone(upstream));
        self.tasks.retain(|id, task| {
            let stays = upstream.endpoints.iter().any(|endpoint| endpoint.id == *id);
            if !stays {
                task.abort();
            }
            stays
        });
        let Some(rule) = &upstream.settings.health else { return };
        for endpoint in &upstream.endpoints {
            self.tasks.entry(endpoint.id).or_insert_with(|| {
                let (upstream, endpoint) =
                    (self.upstream.subscribe(), Arc::clone(endpoint));
                tasks::shared("health check", watch(upstream, endpoint, rule.clone()))
            });
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.tasks.values().chain(&self.renewing).for_each(JoinHandle::abort);
    }
}

async fn watch(
    current: watch::Receiver<Arc<Upstream>>,
    endpoint: Arc<Endpoint>,
    rule: HealthCheck,
) {
    // Spread out, so that a hundred endpoints are not asked in the same millisecond.
    tokio::time::sleep(rule.interval.mul_f64(fastrand::f64())).await;
    let mut ticks = tokio::time::interval(rule.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let protocol = current.borrow().settings.protocol;
        let seen = check(&endpoint, protocol, &rule).await;
        let upstream = Arc::clone(&current.borrow());
        let was_lost = upstream.health().all_unhealthy;
        let (route, version) = (&upstream.route, &upstream.version);
        match (endpoint.note_check(seen.is_ok(), &rule), seen) {
            (Some(Health::Unhealthy), Err(error)) => {
                let why = logs::chain(&error);
                emit::endpoint_unhealthy(route, version, &endpoint.address, &why);
            }
            (Some(_), _) => emit::endpoint_healthy(route, version, &endpoint.address),
            (None, _) => {}
        }
        let is_lost = upstream.health().all_unhealthy;
        if is_lost != was_lost {
            emit::version_usable(route, version, !is_lost);
        }
    }
}

/// Why a check failed.
#[derive(Debug, Error)]
enum CheckError {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("no connection")]
    Connect(#[source] ConnectError),
    #[error("{0} is no path to ask for")]
    Path(String, #[source] http::Error),
    #[error("asking for {0} failed")]
    Ask(String, #[source] hyper::Error),
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
    #[error(transparent)]
    Grpc(GrpcError),
    #[error("{path} has {header}: {seen:?} and not {expect:?}")]
    Integrity { path: String, header: String, seen: Option<String>, expect: String },
}

/// Asks everything that the rule names; the first that is not well decides.
async fn check(
    endpoint: &Endpoint,
    protocol: Protocol,
    rule: &HealthCheck,
) -> Result<(), CheckError> {
    let all = async {
        if rule.grpc {
            ask_grpc(endpoint).await?;
        }
        for path in rule.liveness.iter().chain(&rule.readiness) {
            ask(endpoint, protocol, path).await?;
        }
        let Some(want) = &rule.integrity else { return Ok(()) };
        let answer = ask(endpoint, protocol, &want.path).await?;
        let seen = answer.headers().get(&want.header);
        if seen.is_some_and(|value| value.as_bytes() == want.expect.as_bytes()) {
            return Ok(());
        }
        let text = |value: &http::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).chars().take(SHOWN).collect()
        };
        Err(CheckError::Integrity {
            path: want.path.clone(),
            header: want.header.clone(),
            seen: seen.map(text),
            expect: want.expect.clone(),
        })
    };
    match tokio::time::timeout(rule.timeout, all).await {
        Ok(seen) => seen,
        Err(_) => Err(CheckError::Late(rule.timeout)),
    }
}

/// Why a server does not pass this check within the time, if it does not.
pub(super) async fn why_not(
    endpoint: &Endpoint,
    protocol: Protocol,
    rule: &HealthCheck,
    within: Duration,
) -> Option<String> {
    let rule = HealthCheck { timeout: rule.timeout.min(within), ..rule.clone() };
    check(endpoint, protocol, &rule).await.err().map(|error| logs::chain(&error))
}

/// Why a server takes no connection within the time, if it does not.
pub(super) async fn unreachable(endpoint: &Endpoint, within: Duration) -> Option<String> {
    let error = match tokio::time::timeout(within, open(endpoint, Offer::Either)).await {
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => CheckError::Connect(error),
        Err(_) => CheckError::Late(within),
    };
    Some(logs::chain(&error))
}

/// One question for the health of a gRPC server.
async fn ask_grpc(endpoint: &Endpoint) -> Result<(), CheckError> {
    let (io, _) = open(endpoint, Offer::Http2).await.map_err(CheckError::Connect)?;
    let scheme = if endpoint.dialer().is_some() { "https" } else { "http" };
    let asked = probe_grpc::ask(io, scheme, &endpoint.authority()).await;
    asked.map_err(CheckError::Grpc)
}

/// One `GET`; good when the answer is 2xx and ends as it should, or goes on past what is
/// read of it.
async fn ask(
    endpoint: &Endpoint,
    protocol: Protocol,
    path: &str,
) -> Result<Response<()>, CheckError> {
    let offer = match protocol {
        Protocol::Auto => Offer::Either,
        Protocol::Http1 => Offer::Http1,
        Protocol::Http2 => Offer::Http2,
    };
    let (io, _) = open(endpoint, offer).await.map_err(CheckError::Connect)?;
    let agreed = matches!(&io, Io::Tls(stream) if stream.is_http2());
    let two = agreed || (protocol == Protocol::Http2 && endpoint.dialer().is_none());
    ask_over(io, endpoint, two, path).await
}

async fn ask_over(
    stream: Io,
    endpoint: &Endpoint,
    two: bool,
    path: &str,
) -> Result<Response<()>, CheckError> {
    let request = request(endpoint, two, path)
        .map_err(|error| CheckError::Path(path.to_owned(), error))?;
    let asking = |error| CheckError::Ask(path.to_owned(), error);
    let answer = match two {
        false => {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(asking)?;
            beside(connection, async { read(sender.send_request(request).await?).await })
                .await
        }
        true => {
            let (mut sender, connection) =
                http2::handshake(Spawner, TokioIo::new(stream)).await.map_err(asking)?;
            beside(connection, async { read(sender.send_request(request).await?).await })
                .await
        }
    };
    let answer = answer.map_err(asking)?;
    if answer.status().is_success() {
        Ok(answer)
    } else {
        Err(CheckError::Status(path.to_owned(), answer.status()))
    }
}

fn request(
    endpoint: &Endpoint,
    two: bool,
    path: &str,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let host = endpoint.authority();
    let scheme = if endpoint.dialer().is_some() { "https" } else { "http" };
    let request = if two {
        Request::get(format!("{scheme}://{host}{path}"))
    } else {
        Request::get(path).header(header::HOST, host).header(header::CONNECTION, "close")
    };
    request.header(header::USER_AGENT, AGENT).body(Empty::new())
}

/// Reads the body up to its bound: an answer that breaks off is not well.
async fn read(answer: Response<Incoming>) -> hyper::Result<Response<()>> {
    let (head, mut body) = answer.into_parts();
    let mut left = LARGEST;
    while let Some(frame) = body.frame().await {
        let bytes = frame?.into_data().map_or(0, |data| data.len());
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    Ok(Response::from_parts(head, ()))
}

/// Runs a connection for as long as the exchange over it takes.
pub(super) async fn beside<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    exchange: impl Future<Output = T>,
) -> T {
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    tokio::select! {
        biased;
        done = &mut exchange => return done,
        // Its error, if any, reaches the exchange too.
        _ = &mut connection => {}
    }
    exchange.await
}

/// Spawns what HTTP/2 runs beside a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spawner;

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        // It ends with its connection; nobody waits for it.
        drop(tasks::shared("probe http2", async {
            future.await;
        }));
    }
}

/// Bytes of an answer that are read.
const LARGEST: usize = 64 * 1_024;

/// Characters of a wrong header value that are shown.
const SHOWN: usize = 120;

pub(super) const AGENT: &str = concat!("switchback-health/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{TcpListener, UnixListener};

    use super::{CheckError, Probes, Spawner, check};
    use crate::tasks;
    use crate::upstream::endpoint::{Endpoint, Health};
    use crate::upstream::registry::Upstream;
    use crate::upstream::registry::tests::settings;
    use crate::upstream::settings::{
        Address, HealthCheck, Integrity, Protocol, Settings,
    };
    use crate::vocab::ids::Name;

    fn rule() -> HealthCheck {
        HealthCheck {
            liveness: Some("/live".into()),
            readiness: Some("/ready".into()),
            integrity: None,
            grpc: false,
            interval: Duration::from_millis(20),
            timeout: Duration::from_millis(500),
            unhealthy_after: 2,
            healthy_after: 2,
        }
    }

    /// A server that answers each connection with the bytes that `answer` has for its path.
    async fn server(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(answer);
        let _task = tasks::shared("test server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                let _task = tasks::shared("test connection", serve(stream, answer));
            }
        });
        Address::Tcp { host: "127.0.0.1".into(), port, tls: false }
    }

    async fn serve(
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        answer: Arc<impl Fn(&str) -> Vec<u8>>,
    ) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        assert!(head.to_lowercase().contains("\r\nhost: "), "{head}");
        // A probe may hang up before the end of a long answer.
        let _sent = stream.write_all(&answer(&path)).await;
    }

    fn ok(body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-digest: abc\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    async fn only_live(
        request: Request<hyper::body::Incoming>,
    ) -> http::Result<Response<Full<Bytes>>> {
        let status = if request.uri().path() == "/live" { 200 } else { 500 };
        Response::builder().status(status).body(Full::new(Bytes::from_static(b"x")))
    }

    #[tokio::test]
    async fn what_is_well_and_what_is_not() {
        let moved =
            b"HTTP/1.1 302 Found\r\nlocation: /ok\r\ncontent-length: 0\r\n\r\n".to_vec();
        let down = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_vec();
        let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf".to_vec();
        let long = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_vec(),
            vec![b'x'; 200_000],
        ]
        .concat();
        for (live, ready, well) in [
            (ok("fine"), ok(""), true),
            (ok("fine"), down.clone(), false),
            (down, ok(""), false),
            (moved, ok(""), false),
            (cut, ok(""), false),
            (long, ok(""), true),
            (b"SSH-2.0-OpenSSH\r\n".to_vec(), ok(""), false),
            (Vec::new(), ok(""), false),
        ] {
            let shown = String::from_utf8_lossy(&live[..live.len().min(40)]).into_owned();
            let says = [live, ready];
            let address =
                server(move |path| says[usize::from(path != "/live")].clone()).await;
            let seen = check(&Endpoint::new(address), Protocol::Http1, &rule()).await;
            assert_eq!(seen.is_ok(), well, "{shown}: {seen:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_or_says_nothing_is_not_well() {
        let free =
            TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let gone = Address::Tcp { host: "127.0.0.1".into(), port: free, tls: false };
        let seen = check(&Endpoint::new(gone), Protocol::Http1, &rule()).await;
        assert!(matches!(seen, Err(CheckError::Connect(_))), "{seen:?}");

        // Accepts in the kernel and never reads.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let mute = Address::Tcp { host: "127.0.0.1".into(), port, tls: false };
        let hurried = HealthCheck { timeout: Duration::from_millis(50), ..rule() };
        let seen = check(&Endpoint::new(mute), Protocol::Http1, &hurried).await;
        assert!(matches!(seen, Err(CheckError::Late(_))), "{seen:?}");
    }

    #[tokio::test]
    async fn integrity_needs_the_very_value() {
        let asked = Endpoint::new(server(|_| ok("")).await);
        for (expect, well) in [("abc", true), ("abd", false)] {
            let integrity = Integrity {
                path: "/v2".into(),
                header: "x-digest".into(),
                expect: expect.into(),
            };
            let rule = HealthCheck { integrity: Some(integrity), ..rule() };
            let seen = check(&asked, Protocol::Http1, &rule).await;
            assert_eq!(seen.is_ok(), well, "{seen:?}");
        }
    }

    #[tokio::test]
    async fn unix_sockets_and_http2_are_asked_too() {
        let path: PathBuf = std::env::temp_dir().join(format!(
            "switchback-probe-{}-{}.sock",
            std::process::id(),
            fastrand::u64(..)
        ));
        let listener = UnixListener::bind(&path).unwrap();
        let _unix = tasks::shared("test unix", async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, Arc::new(|_: &str| ok(""))).await;
            }
        });
        assert!(
            check(&Endpoint::new(Address::Unix(path.clone())), Protocol::Http1, &rule())
                .await
                .is_ok()
        );
        std::fs::remove_file(path).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let _h2 = tasks::shared("test http2", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ended = hyper::server::conn::http2::Builder::new(Spawner)
                    .serve_connection(TokioIo::new(stream), service_fn(only_live))
                    .await;
            }
        });
        let address = Address::Tcp { host: "127.0.0.1".into(), port, tls: false };
        let asked = Endpoint::new(address);
        let live = HealthCheck { readiness: None, ..rule() };
        assert!(check(&asked, Protocol::Http2, &live).await.is_ok());
        let seen = check(&asked, Protocol::Http2, &rule()).await;
        assert!(matches!(seen, Err(CheckError::Status(_, _))), "{seen:?}");
    }

    async fn turns(upstream: &Upstream, health: Health) {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        while upstream.endpoints[0].health() != health {
            looks.tick().await;
        }
    }

    #[tokio::test]
    async fn probes_notice_a_server_that_goes_and_comes_back_and_stop_when_dropped() {
        let well = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let says = Arc::clone(&well);
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        let address =
            server(move |_| if says.load(relaxed) { ok("") } else { Vec::new() }).await;
        let settings = Settings {
            endpoints: vec![address.into()],
            health: Some(rule()),
            ..settings(&[])
        };
        let (route, version) = (Name::parse("iris").unwrap(), Name::parse("v2").unwrap());
        let upstream = Arc::new(Upstream::new(route, version, settings, None));
        let probes = Probes::start(&upstream);
        for (is_well, health) in
            [(true, Health::Healthy), (false, Health::Unhealthy), (true, Health::Healthy)]
        {
            well.store(is_well, relaxed);
            let reached = turns(&upstream, health);
            assert!(tokio::time::timeout(Duration::from_secs(10), reached).await.is_ok());
        }
        drop(probes);
        // A task that is gone has given its share of the upstream back.
        let gone = async {
            while Arc::strong_count(&upstream) > 1 {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), gone).await.is_ok());
    }
}
