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
        let settings = admin::Settings { operators, ..admin::Settings::on(address) };
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

    /// The orders but those refused on record.
    fn carried_out(&self) -> Vec<String> {
        let orders = self.orders.lock().unwrap();
        orders.iter().filter(|line| !line.starts_with("refused")).cloned().collect()
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
        token: Some("a-token".to_owned()),
        certificate: None,
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
    let (code, out, _) = with("rollback iris --to v2.4 --no-wait --reason bad", &right);
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(out.starts_with("route iris: rb-1 at 2026-"), "{out}");
    assert!(
        out.ends_with("it goes on: switchback history --id rb-1 says how\n"),
        "{out}"
    );
    let (code, out, _) = with("freeze iris --reason audit", &right);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(out, "route iris: rollout of iris: progressing, 0%\n");
    let (code, out, _) = with("mode iris read-only --reason audit", &right);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(out, "route iris is read-only by alice: audit\n");
    let (code, _, err) = with("quarantine release iris v9 --reason fixed", &right);
    assert_eq!(
        (code, &*err),
        (ExitCode::from(1), "error: route iris has no version v9 (HTTP 404)\n")
    );
    assert_eq!(
        served.carried_out(),
        [
            "weight iris v2.5 2.5% alice: slow",
            "rollback iris v2.5 -> v2.4 alice: bad",
            "freeze iris alice: audit",
            "mode iris readOnly alice: audit",
        ]
    );
}

#[test]
fn a_rollback_is_followed_to_its_end() {
    let mut view = status(canary("serving", ""));
    let doomed = VersionView { name: "doomed".to_owned(), ..canary("serving", "") };
    view.routes[0].versions.push(doomed);
    let served = Served::new(view, Vec::new());
    let (code, out, err) = served.run("rollback iris --reason bad");
    assert_eq!((code, &*err), (ExitCode::SUCCESS, ""), "{out}");
    let golden = "\
route iris: rb-1 at 2026-11-24T21:05:58.123Z, v2.5 -> v2.4, manual, by local, in_progress
  pre_rollback_health_check: in_progress
  pre_rollback_health_check: completed, 0.250 s
  route_traffic: in_progress
  route_traffic: completed, 0.250 s
rb-1 completed in 0.500 s
";
    assert_eq!(out, golden);

    let (code, out, _) = served.run("rollback iris --version doomed --reason bad");
    assert_eq!(code, ExitCode::from(1));
    assert!(
        out.ends_with("  note: the target is dead\nrb-1 failed in 0.500 s\n"),
        "{out}"
    );

    let (code, out, _) = served.run("rollback iris --reason bad --output json");
    assert_eq!(code, ExitCode::SUCCESS);
    let record: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&record["status"], out.lines().count()), (&"completed".into(), 1));

    let (code, out, err) = served.run("rollback iris --reason bad --timeout 1ms");
    assert_eq!(code, ExitCode::from(4), "{out}");
    assert_eq!(err, "it goes on: switchback history --id rb-1 says how\n");

    let (code, out, _) = served.run("history --id rb-1");
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(out.contains("  reason: bad\n"), "{out}");
    for (id, says) in
        [("rb-7", "there is no rollback rb-7"), ("a/b", "is no id of a rollback")]
    {
        let (code, _, err) = served.run(&format!("history --id {id}"));
        assert_eq!(code, ExitCode::from(1));
        assert!(err.contains(says), "{err}");
    }
}

#[test]
fn without_the_admin_api_a_rollback_says_how_it_is_done_by_file() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let order = "rollback iris --version v2.5 --to v2.3 --reason bad";
    let (code, out, err) = run(&format!("{order} --admin http://{free}"));
    assert_eq!((code, &*out), (ExitCode::from(1), ""));
    let (error, hint) = err.split_once('\n').unwrap();
    assert!(error.starts_with("error: nothing answers at http://"), "{error}");
    let golden = "\
to roll back without it, edit the configuration that `switchback run --config FILE` reads, in route iris:
  on v2.5, write
      weight: 0%
  on v2.3, write
      role: stable
  on the version that is stable now, write
      role: candidate
the file is read again by itself when it changes; `kill -HUP PID` asks for it at once, and \
`switchback check FILE` says beforehand what it means
";
    assert_eq!(hint, golden);
}

#[test]
fn incidents_are_listed_and_an_id_is_checked_before_anything_is_asked() {
    let served = Served::new(status(canary("serving", "")), Vec::new());
    let (code, out, _) = served.run("incident list");
    assert_eq!((code, &*out), (ExitCode::SUCCESS, "no failure analysis is kept\n"));
    for (id, says) in [
        ("rb-1", "there is no failure analysis of rb-1 (HTTP 404)"),
        ("../../x", "is no id of a rollback"),
    ] {
        let (code, _, err) = served.run(&format!("incident show {id}"));
        assert_eq!(code, ExitCode::from(1));
        assert!(err.contains(says), "{err}");
    }
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
