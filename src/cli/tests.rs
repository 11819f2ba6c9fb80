//! The remote verbs against a served admin API: what they print and their exit codes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::entry::dispatch;
use super::output::Output;
use crate::admin::{self, OperatorRole, OperatorSettings, Readiness};
use crate::control::{Orders, RouteView, StatusView, VersionView, fake};

/// An admin API on a thread of its own.
struct Served {
    at: SocketAddr,
    orders: Orders,
    end: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Served {
    fn new(status: StatusView, operators: Vec<OperatorSettings>) -> Self {
        let address = ([127, 0, 0, 1], 0).into();
        let settings = admin::Settings { address, metrics_address: None, operators };
        let bound = admin::bind(&settings).unwrap();
        let at = bound.address().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (say, hear) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (handle, orders) = fake(status);
                say.send(orders).unwrap();
                let until = async { stopped.await.unwrap() };
                let served =
                    admin::serve(&settings, bound, handle, Readiness::new(), until).await;
                served.unwrap();
            });
        });
        Self { at, orders: hear.recv().unwrap(), end: Some((stop, thread)) }
    }

    /// Exit code, standard output, standard error.
    fn run(&self, verb: &str) -> (ExitCode, String, String) {
        run(&format!("{verb} --admin http://{}", self.at))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.end.take() {
            stop.send(()).unwrap();
            thread.join().unwrap();
        }
    }
}

fn run(line: &str) -> (ExitCode, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = format!("switchback {line}");
    let words = words.split(' ').map(Into::into);
    let code = dispatch(words, &mut Output::new(&mut out, &mut err, false));
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn status(canary: VersionView) -> StatusView {
    let version = |name: &str, role: &str, from: VersionView| VersionView {
        name: name.to_owned(),
        role: role.to_owned(),
        ..from
    };
    let versions = vec![
        version("v2.4", "stable", VersionView::default()),
        version("v2.5", "canary", canary),
    ];
    let iris = RouteView { name: "iris".to_owned(), versions, ..RouteView::default() };
    StatusView { routes: vec![iris], ..StatusView::default() }
}

fn canary(state: &str, verdict: &str) -> VersionView {
    VersionView {
        state: state.to_owned(),
        verdict: verdict.to_owned(),
        weight: 10.0,
        samples: 7,
        ..VersionView::default()
    }
}

/// A token in a file that is gone when this is dropped.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(token: &str) -> Self {
        let name = format!("switchback-token-{}-{token}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, format!("{token}\n")).unwrap();
        Self(file)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn waiting_ends_with_the_code_of_what_became_of_the_canary() {
    let mut held = canary("quarantined", "");
    held.quarantine = Some("errorRate".to_owned());
    for (canary, options, code) in [
        (held, "", 2),
        (canary("serving", "pass: within every limit"), " --timeout 50ms", 0),
        (canary("serving", "inconclusive: few"), " --timeout 50ms", 3),
        (canary("draining", "breach: errorRate"), " --timeout 50ms", 4),
        (VersionView { weight: 0.0, ..canary("serving", "") }, "", 0),
    ] {
        let served = Served::new(status(canary), Vec::new());
        let (got, out, err) = served.run(&format!("status --wait{options}"));
        assert_eq!((got, &*err), (ExitCode::from(code), ""), "{out}");
        assert!(out.starts_with("route iris: \nVERSION  ROLE"), "{out}");
    }
}

#[test]
fn orders_are_carried_out_in_the_name_behind_the_token() {
    let alice = OperatorSettings {
        name: "alice".to_owned(),
        token: "a-token".to_owned(),
        role: OperatorRole::Operator,
    };
    let served = Served::new(status(canary("serving", "")), vec![alice]);
    let (right, wrong) = (TokenFile::new("a-token"), TokenFile::new("b-token"));
    let with = |verb: &str, file: &TokenFile| {
        served.run(&format!("{verb} --token-file {}", file.0.display()))
    };
    let order = "set-weight iris v2.5=2.5% --reason slow";
    let (code, _, err) = served.run(order);
    assert_eq!(code, ExitCode::from(1));
    assert!(err.starts_with("error: this needs the token of an operator"), "{err}");
    let (code, _, err) = with(order, &wrong);
    assert_eq!(
        (code, &*err),
        (ExitCode::from(1), "error: no operator has this token (HTTP 401)\n")
    );
    let (code, out, _) = with(order, &right);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(out, "route iris: v2.5 has the weight 2.5% (by alice: slow)\n");
    let (code, out, _) = with("rollback iris --to v2.4 --reason bad", &right);
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(out.starts_with("route iris: rb-1 at 2026-"), "{out}");
    let (code, _, err) = with("rollback iris --to v2.5 --reason bad", &right);
    assert_eq!(code, ExitCode::from(1));
    assert!(err.contains("another version than stable is not built yet"), "{err}");
    let (code, _, err) = with("quarantine release iris v9 --reason fixed", &right);
    assert_eq!(
        (code, &*err),
        (ExitCode::from(1), "error: route iris has no version v9 (HTTP 404)\n")
    );
    assert_eq!(
        *served.orders.lock().unwrap(),
        ["weight iris v2.5 2.5% alice: slow", "rollback iris v2.5 alice: bad"]
    );
}

#[test]
fn what_is_shown_is_a_table_or_the_view_itself() {
    let served = Served::new(status(canary("serving", "pass: ok")), Vec::new());
    let (code, out, err) = served.run("status --output json");
    assert_eq!((code, &*err), (ExitCode::SUCCESS, ""));
    let view: StatusView = serde_json::from_str(&out).unwrap();
    assert_eq!(view, status(canary("serving", "pass: ok")));
    for (verb, says) in [
        ("status", "v2.5: pass: ok"),
        ("history", "no rollbacks since the start"),
        ("quarantine list", "no version is in quarantine"),
        ("history --output json", "{\"rollbacks\":[],\"protects\":[]}"),
        ("explain iris", "v2.5: serving, trial running, 0% of requests"),
        ("explain iris/v2.5", "needs about 40 more canary requests at this rate"),
        ("explain iris --output json", "\"odds\":4.5"),
        ("quarantine list --output json", "{\"quarantine\":[]}"),
    ] {
        let (code, out, _) = served.run(verb);
        assert_eq!(code, ExitCode::SUCCESS, "{verb}");
        assert!(out.contains(says), "{verb} {out}");
    }
}

#[test]
fn what_cannot_be_explained_is_an_error() {
    let served = Served::new(status(canary("serving", "pass: ok")), Vec::new());
    for (id, says) in [
        ("rose", "there is nothing called rose (HTTP 404)"),
        ("iris/v2/x", "there is nothing at this path (HTTP 404)"),
        ("a%20b", "\"a%20b\" is no id: write a route"),
    ] {
        let (code, out, err) = served.run(&format!("explain {id}"));
        assert_eq!((code, &*out), (ExitCode::from(1), ""), "{id}");
        assert!(err.contains(says), "{id}: {err}");
    }
}

#[test]
fn nothing_there_is_an_error_with_a_hint() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for verb in
        ["status", "status --wait --timeout 1s", "history", "rollback iris --reason x"]
    {
        let (code, out, err) = run(&format!("{verb} --admin http://{free}"));
        assert_eq!((code, &*out), (ExitCode::from(1), ""), "{verb}");
        assert!(
            err.starts_with(&format!("error: nothing answers at http://{free}: ")),
            "{err}"
        );
    }
}

#[test]
fn a_configuration_is_explained_or_refused_line_by_line() {
    let (code, out, err) = run("check config/minimal.yaml");
    assert_eq!((code, &*err), (ExitCode::SUCCESS, ""));
    assert!(out.contains("route iris\n"), "{out}");
    for verb in ["check", "run --config"] {
        let (code, out, err) = run(&format!("{verb} Cargo.toml"));
        assert_eq!((code, &*out), (ExitCode::from(1), ""), "{verb}");
        assert!(err.lines().all(|line| line.starts_with("Cargo.toml")), "{err}");
    }
    let (code, out, _) = run("schema");
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap().is_object());
}
