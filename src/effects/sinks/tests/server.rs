//! A server that answers by a function and tells what it was asked, and a sink before it.
//! Apart because every test of a sink begins with one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::effects::post::Target;
use crate::effects::queue::Way;
use crate::effects::settings::{
    Auth, Filter, SecretFile, Settings, SinkKind, SinkSettings, Url,
};
use crate::effects::sink::{Earlier, Shipped, SinkError, Taken};
use crate::effects::sinks::outlets;
use crate::tasks;
use crate::tls::ClientSettings;
use crate::vocab::ids::Name;
use crate::vocab::notice::{Notice, Severity, State, Topic};
use crate::vocab::time::Timestamp;

/// A request as a server sees it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Method and path, such as `POST /v2/enqueue`.
    pub(super) line: String,
    /// The head in lower case.
    pub(super) head: String,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A server for one test.
pub(super) struct Server {
    pub(super) origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts one that answers with the bytes that `answer` has for a request.
    pub(super) async fn start(
        answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::begin(answer, false).await
    }

    /// One that says so much, or nothing, and keeps the connection open.
    pub(super) async fn hanging(said: &[u8]) -> Self {
        let said = said.to_vec();
        Self::begin(move |_| said.clone(), true).await
    }

    async fn begin(
        answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
        keeps: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let task = tasks::shared("test server", async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = read(&mut stream).await else { continue };
                let bytes = answer(&request);
                seen.lock().unwrap().push(request);
                // Who hangs up early has not heard it.
                let _sent = stream.write_all(&bytes).await;
                if keeps {
                    open.push(stream);
                }
            }
        });
        Self { origin, asked, task }
    }

    /// One that always answers so.
    pub(super) async fn always(status: u16, body: &str) -> Self {
        let bytes = answer(status, body);
        Self::start(move |_| bytes.clone()).await
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What it was asked last.
    pub(super) fn last(&self) -> Asked {
        self.asked().pop().unwrap()
    }

    pub(super) fn url(&self, path: &str) -> Url {
        let url = format!("{}{path}", self.origin);
        Url::Given(Target::parse(&url, true).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer as bytes.
pub(super) fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let cased = head.clone();
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    // Names in lower case, values as they are.
    let head = cased
        .lines()
        .skip(1)
        .map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
            None => String::new(),
        })
        .collect();
    Some(Asked { line, head, body: String::from_utf8(body).unwrap() })
}

/// A file with a secret that goes when the test ends.
pub(super) struct Secret(PathBuf);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        let name =
            format!("switchback-secret-{}-{}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(super) fn file(&self) -> SecretFile {
        SecretFile::new(self.0.clone())
    }

    /// Puts another secret there.
    pub(super) fn replace(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

pub(super) fn settings(url: Url, kind: SinkKind) -> SinkSettings {
    SinkSettings {
        name: Name::parse("ops").unwrap(),
        filter: Filter { topics: Vec::new(), least: Severity::Info },
        recipients: vec!["#ops".to_owned()],
        url,
        auth: Auth::None,
        tls: ClientSettings::default(),
        runbook_url: Some("https://runbooks.example.com/rollback".to_owned()),
        kind,
    }
}

/// Delivers a notice by the sink of those settings.
pub(super) async fn deliver(
    settings: &SinkSettings,
    notice: &Notice,
    earlier: Earlier<'_>,
) -> Result<Taken, SinkError> {
    let all = Settings { sinks: vec![settings.clone()] };
    match outlets(&all).unwrap().remove(0).way {
        Way::Notices(_, sink) => sink.deliver(notice, earlier).await,
        Way::Lines(_) => panic!("it takes lines"),
    }
}

/// Sends lines by the store of those settings.
pub(super) async fn ship(
    settings: &SinkSettings,
    lines: &[&str],
) -> Result<Shipped, SinkError> {
    let all = Settings { sinks: vec![settings.clone()] };
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    match outlets(&all).unwrap().remove(0).way {
        Way::Lines(shipper) => shipper.ship(&lines).await,
        Way::Notices(..) => panic!("it takes notices"),
    }
}

/// A rollback has begun, with all that could be misread in its texts.
pub(super) fn started() -> Notice {
    let name = |text: &str| Some(Name::parse(text).unwrap());
    Notice {
        key: "rb-01/started".to_owned(),
        incident: "rb-01".to_owned(),
        topic: Topic::RollbackStarted,
        severity: Severity::High,
        state: State::Firing,
        at: Timestamp(1_795_554_358_123),
        route: name("iris"),
        version: name("v2.5"),
        to_version: name("v2.4"),
        summary: "v2.5 on iris: errors 8% <!channel> & 2%".to_owned(),
        details: "first line\n\n@team ```{noformat} second".to_owned(),
        record: json!({ "rollback_id": "rb-01", "trigger": "error_rate" }),
        audit_head: "ab12".to_owned(),
    }
}

/// The same rollback is done.
pub(super) fn completed() -> Notice {
    Notice {
        key: "rb-01/completed".to_owned(),
        topic: Topic::RollbackCompleted,
        severity: Severity::Info,
        state: State::Resolved,
        at: Timestamp(1_795_554_368_000),
        summary: "v2.5 on iris was rolled back to v2.4".to_owned(),
        ..started()
    }
}
