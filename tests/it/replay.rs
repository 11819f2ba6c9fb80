//! `switchback replay` on traces from a seed: what is bad is found in time, what is equal is
//! left alone, and what is wrong with a trace is said.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use switchback::vocab::Timestamp;

use crate::support::config::Config;
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::street::{BINARY, Dir, Street, run};
use crate::support::traces::{Does, Traffic, WELL, policy, traffic};
use crate::support::wait;
use crate::support::wait::SOON;

/// What came of a trace: the exit code, the answer and what was said beside it.
struct Came {
    code: i32,
    answer: Value,
    said: String,
}

impl Came {
    fn of(output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{said}");
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Self { code: output.status.code().unwrap(), answer, said }
    }

    fn seconds(&self, member: &str, begin_ms: u64) -> Option<f64> {
        self.answer[member].as_u64().map(|at| (at - begin_ms) as f64 / 1_000.0)
    }

    fn is(&self, verdict: &str, code: i32) {
        let told = (self.answer["verdict"].as_str(), self.code);
        assert_eq!(told, (Some(verdict), code), "{} {}", self.answer, self.said);
    }
}

fn replay(config: &Path, trace: &Path) -> Came {
    let args =
        ["replay".as_ref(), "--config".as_ref(), config, "--trace".as_ref(), trace];
    Came::of(&run(args))
}

/// The default policy over a trace.
fn judged(dir: &Dir, text: &str) -> Came {
    let config = policy(dir, "policy.yaml", "{}");
    let trace = dir.write("trace.jsonl", text);
    replay(&config, &trace)
}

fn always(does: Does) -> impl Fn(f64) -> Does {
    move |_| does
}

/// Bad from so many seconds on.
fn from(onset: f64, bad: Does) -> impl Fn(f64) -> Does {
    move |at| if at < onset { WELL } else { bad }
}

const FAILS: Does = Does { fails: 0.05, ..WELL };
const SLOW: Does = Does { median_ms: 120.0, ..WELL };
const REFUSES: Does = Does { instead: Some(0), ..WELL };
const HANGS: Does = Does { instead: Some(598), ..WELL };

#[test]
fn equal_versions_are_not_rolled_back_and_are_promoted() {
    let dir = Dir::new();
    for seed in 1..=5 {
        let traffic = traffic(seed, 150.0);
        let came = judged(&dir, &traffic.text(&always(WELL), &always(WELL)));
        came.is("promote", 0);
        assert!(came.answer["rollback_ms"].is_null(), "{}", came.answer);
        assert_eq!(came.answer["problem_count"], 0);
        assert!(came.answer["events"].as_u64().unwrap() > 25_000);
    }
}

#[test]
fn five_times_the_failures_are_protected_from_and_rolled_back() {
    let dir = Dir::new();
    let mut waits = Vec::new();
    for seed in 1..=5 {
        let traffic = traffic(seed, 200.0);
        let came = judged(&dir, &traffic.text(&always(WELL), &always(FAILS)));
        came.is("rollback", 2);
        let protect = came.seconds("protect_ms", traffic.begin_ms).unwrap();
        let rollback = came.seconds("rollback_ms", traffic.begin_ms).unwrap();
        assert!(protect < rollback, "{}", came.answer);
        assert_eq!(came.answer["rule"], "errorRate");
        let steps = came.answer["transitions"].as_array().unwrap();
        assert_eq!(steps.last().unwrap()["to"], "rolled_back");
        waits.push(protect);
    }
    waits.sort_by(f64::total_cmp);
    assert!(waits[2] <= 13.0, "protected after {waits:?} s");
}

#[test]
fn three_times_the_latency_is_protected_from_within_seconds() {
    let dir = Dir::new();
    for seed in 1..=3 {
        let traffic = traffic(seed, 200.0);
        let came = judged(&dir, &traffic.text(&always(WELL), &from(40.0, SLOW)));
        came.is("rollback", 2);
        let protect = came.seconds("protect_ms", traffic.begin_ms).unwrap();
        assert!((40.0..45.0).contains(&protect), "seed {seed}: {}", came.answer);
        assert_eq!(came.answer["rule"], "latencyP99");
    }
}

#[test]
fn refused_connections_are_rolled_back_at_once() {
    let dir = Dir::new();
    let traffic = traffic(1, 60.0);
    let came = judged(&dir, &traffic.text(&always(WELL), &from(20.0, REFUSES)));
    came.is("rollback", 2);
    let third = {
        let text = traffic.text(&always(WELL), &from(20.0, REFUSES));
        let refused = text.lines().filter(|line| line.contains("\"status\":0,")).nth(2);
        serde_json::from_str::<Value>(refused.unwrap()).unwrap()["t_ms"].as_u64().unwrap()
    };
    let rollback = came.answer["rollback_ms"].as_u64().unwrap();
    assert!((third..=third + 300).contains(&rollback), "{third} {}", came.answer);
}

#[test]
fn a_hang_is_protected_from_within_two_seconds() {
    let dir = Dir::new();
    for seed in 1..=3 {
        let traffic = traffic(seed, 150.0);
        let came = judged(&dir, &traffic.text(&always(WELL), &from(30.0, HANGS)));
        came.is("rollback", 2);
        let protect = came.seconds("protect_ms", traffic.begin_ms).unwrap();
        assert!((30.0..32.0).contains(&protect), "seed {seed}: {}", came.answer);
    }
}

#[test]
fn a_regression_after_twenty_minutes_is_found_as_soon() {
    let dir = Dir::new();
    let mut waits = Vec::new();
    for seed in 1..=3 {
        let traffic = traffic(seed, 1_300.0);
        let came = judged(&dir, &traffic.text(&always(WELL), &from(1_200.0, FAILS)));
        let protect = came.seconds("protect_ms", traffic.begin_ms).unwrap();
        assert!(protect >= 1_200.0, "seed {seed}: {}", came.answer);
        waits.push(protect - 1_200.0);
    }
    waits.sort_by(f64::total_cmp);
    assert!(waits[1] <= 25.0, "protected {waits:?} s after its onset");
}

#[test]
fn an_outage_of_both_is_nobodys_fault() {
    let dir = Dir::new();
    let outage = |at: f64| {
        if (60.0..90.0).contains(&at) { Does { fails: 0.4, ..WELL } } else { WELL }
    };
    let refused = |at: f64| if (60.0..90.0).contains(&at) { REFUSES } else { WELL };
    for seed in 1..=3 {
        let traffic = traffic(seed, 200.0);
        for text in [traffic.text(&outage, &outage), traffic.text(&refused, &refused)] {
            let came = judged(&dir, &text);
            assert!(came.answer["rollback_ms"].is_null(), "seed {seed}: {}", came.answer);
            assert_ne!(came.code, 2);
        }
    }
}

/// Ten hours at 60 requests a second: 2.2 million. At 200 it is the same statistics in three
/// times the time of an unoptimised build.
#[test]
fn ten_hours_of_equal_versions_are_not_rolled_back() {
    let dir = Dir::new();
    let config = policy(&dir, "policy.yaml", "{}");
    let mut child = Command::new(BINARY)
        .args(["replay", "--trace", "-", "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = std::io::BufWriter::new(child.stdin.take().unwrap());
    let traffic = Traffic { rate: 60.0, ..traffic(11, 36_000.0) };
    traffic.write(&mut pipe, &always(WELL), &always(WELL));
    pipe.flush().unwrap();
    drop(pipe);
    let came = Came::of(&child.wait_with_output().unwrap());
    came.is("promote", 0);
    assert!(came.answer["rollback_ms"].is_null(), "{}", came.answer);
    assert!(came.answer["events"].as_u64().unwrap() > 2_100_000);
}

fn zipped(dir: &Dir, text: &str) -> (PathBuf, Vec<u8>) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    (dir.path().join("trace.gz"), encoder.finish().unwrap())
}

#[test]
fn a_compressed_trace_says_the_same_and_a_cut_one_what_it_can() {
    let dir = Dir::new();
    let config = policy(&dir, "policy.yaml", "{}");
    let text = traffic(1, 120.0).text(&always(WELL), &always(FAILS));
    let plain = judged(&dir, &text);
    let (path, bytes) = zipped(&dir, &text);
    std::fs::write(&path, &bytes).unwrap();
    let whole = replay(&config, &path);
    assert_eq!(whole.answer["rollback_ms"], plain.answer["rollback_ms"]);
    assert_eq!(whole.answer["problem_count"], 0);

    std::fs::write(&path, &bytes[..bytes.len() * 9 / 10]).unwrap();
    let cut = replay(&config, &path);
    cut.is("rollback", 2);
    assert_eq!(cut.answer["rollback_ms"], plain.answer["rollback_ms"]);
    assert_eq!(cut.answer["problems"][0]["fault"], "cut");
    assert!(cut.said.contains("cut at line"), "{}", cut.said);

    let short = dir.write("short.jsonl", &text[..text.len() - 20]);
    let cut = replay(&config, &short);
    assert_eq!(cut.answer["problems"][0]["fault"], "cut");
    assert!(cut.said.contains("cut at line"), "{}", cut.said);
}

#[test]
fn bad_lines_are_said_each_and_change_no_verdict() {
    let dir = Dir::new();
    let text = traffic(1, 150.0).text(&always(WELL), &always(WELL));
    let clean = judged(&dir, &text);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let bad = [
        "not json at all",
        "{\"t_ms\":1050000,\"version\":\"v2\",\"status\":500,\"latency_us\":-7}",
        "{\"t_ms\":1050000,\"version\":\"v2\",\"status\":500}",
        "{\"t_ms\":1050000,\"version\":\"v9\",\"status\":500,\"latency_us\":7}",
        "{\"t_ms\":1050000,\"weights\":{\"v1\":0,\"v2\":0}}",
        "{\"t_ms\":1050000,\"version\":\"v2\",\"status\":500,\"latency_us\":9e18}",
    ];
    for line in bad {
        lines.insert(10_000, line.to_owned());
    }
    let came = judged(&dir, &(lines.join("\n") + "\n"));
    assert_eq!(came.answer["verdict"], clean.answer["verdict"]);
    assert_eq!(came.answer["promote_ms"], clean.answer["promote_ms"]);
    assert_eq!(came.answer["problem_count"], bad.len());
    let said =
        came.said.lines().filter(|line| line.contains("trace.jsonl: line ")).count();
    assert_eq!(said, bad.len(), "{}", came.said);
    for what in
        ["-7", "latency_us is missing", "\"v9\"", "weights gives no version", "column"]
    {
        assert!(came.said.contains(what), "no {what:?} in {}", came.said);
    }
}

#[test]
fn what_cannot_be_replayed_is_an_error() {
    let dir = Dir::new();
    let config = policy(&dir, "policy.yaml", "{}");
    let empty = dir.write("empty.jsonl", "");
    let nonsense = dir.write("nonsense.jsonl", "nonsense\n");
    for (trace, says) in [
        (empty.as_path(), "no request of route iris"),
        (nonsense.as_path(), "no request of route iris"),
        (Path::new("/no/such/trace"), "/no/such/trace"),
        (dir.path(), "directory"),
    ] {
        let came = replay(&config, trace);
        assert_eq!(came.code, 1, "{} {}", came.answer, came.said);
        assert!(came.said.contains(says), "{}", came.said);
    }
    let trace = dir.write("t.jsonl", &traffic(1, 1.0).text(&always(WELL), &always(WELL)));
    let plain = "listeners: [{ address: \"127.0.0.1:0\" }]\nroutes: [{ name: iris, versions: \
                 [{ name: v1, role: stable, endpoints: [\"http://127.0.0.1:1\"] }] }]\n";
    let no_canary = dir.write("plain.yaml", plain);
    let came = replay(&no_canary, &trace);
    assert_eq!(came.code, 1);
    assert!(came.said.contains("no route has a canary"), "{}", came.said);
    let output = run([
        "replay".as_ref(),
        "--config".as_ref(),
        config.as_path(),
        "--trace".as_ref(),
        trace.as_path(),
        "--route".as_ref(),
        "rose".as_ref(),
    ]);
    let came = Came::of(&output);
    assert_eq!(came.code, 1);
    assert!(came.said.contains("no route \"rose\", only iris"), "{}", came.said);
}

#[test]
fn policies_are_compared_side_by_side() {
    let dir = Dir::new();
    let fast = policy(&dir, "fast.yaml", "{}");
    let alert = "{ metrics: [{ name: errorRate, maxRatio: 2, onBreach: alert }] }";
    let calm = policy(&dir, "calm.yaml", alert);
    let trace =
        dir.write("t.jsonl", &traffic(1, 120.0).text(&always(WELL), &always(FAILS)));
    let ask = |output: &str| {
        let mut args =
            vec!["replay".to_owned(), "--output".to_owned(), output.to_owned()];
        for file in [&fast, &calm] {
            args.extend(["--config".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        args.extend(["--trace".to_owned(), trace.to_str().unwrap().to_owned()]);
        run(args)
    };
    let came = Came::of(&ask("json"));
    assert_eq!(came.code, 2, "the worst of both");
    let verdicts: Vec<_> =
        came.answer.as_array().unwrap().iter().map(|one| &one["verdict"]).collect();
    assert_eq!(verdicts, ["rollback", "hold"]);
    assert!(came.answer[1]["config"].as_str().unwrap().ends_with("calm.yaml"));
    let table = ask("table");
    let text = String::from_utf8(table.stdout).unwrap();
    let verdict = text.lines().find(|line| line.starts_with("verdict")).unwrap();
    assert!(verdict.contains("rollback") && verdict.contains("hold"), "{text}");
    assert!(text.lines().next().unwrap().contains("fast.yaml"), "{text}");
}

/// A canary whose server dies under load, while the proxy records; then the trace.
#[test]
fn what_the_proxy_records_replays_to_what_it_did() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let place = Dir::new();
    let trace = place.path().join("trace.jsonl");
    let config = Config::pair(&stable, "20%", &canary)
        .workers(2)
        .with(&format!("record: {{ path: {trace:?} }}"));
    let mut street = Street::open(&config);
    let load = Load::new(street.http).requests(20_000).start();
    load.reaches(5_000);
    canary.kill();
    street.rolled_back("v2");
    let count = load.finish();
    count.is_clean();
    let classes = (street.metrics().classes("v1"), street.metrics().classes("v2"));
    let began = street.status()["routes"][0]["last_rollback"]["timestamp"].clone();
    let began: Timestamp = began.as_str().unwrap().parse().unwrap();
    let began = began.0;
    street.signal("TERM");
    assert!(street.ends(SOON).success(), "{}", street.log());

    let recorded = std::fs::read_to_string(&trace).unwrap();
    let lines: Vec<Value> =
        recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_user = |line: &&Value| line["shadow"].is_null();
    for (version, classes) in [("v1", &classes.0), ("v2", &classes.1)] {
        let of = |line: &&Value| line["version"] == version;
        let requests = lines.iter().filter(of).filter(is_user).count() as u64;
        assert_eq!(requests, classes.values().sum::<u64>(), "{version} {classes:?}");
    }
    let first = lines.iter().find(|line| line["weights"].is_object()).unwrap();
    let weight = |line: &Value, version: &str| line["weights"][version].as_f64();
    assert_eq!((weight(first, "v1"), weight(first, "v2")), (Some(80.0), Some(20.0)));
    assert!(
        lines.iter().any(|line| weight(line, "v2") == Some(0.0)),
        "no weight of zero"
    );
    let server = stable.url();
    let one = lines.iter().find(|line| line["version"] == "v1").unwrap();
    assert_eq!((&one["status"], one["endpoint"].as_str()), (&200.into(), Some(&*server)));
    assert!(one["latency_us"].as_u64() >= one["ttfb_us"].as_u64(), "{one}");

    let came = replay(&street.dir().path().join("switchback.yaml"), &trace);
    came.is("rollback", 2);
    assert_eq!(came.answer["problem_count"], 0, "{}", came.said);
    let at = came.answer["rollback_ms"].as_u64().unwrap();
    assert!(at.abs_diff(began) < 1_000, "rolled back at {began}, in the replay at {at}");
    assert_eq!(came.answer["rule"], "errorRate");
}

#[test]
fn a_trace_that_cannot_be_written_stops_nobody_and_is_said() {
    let server = ModelServer::good("v1");
    let place = Dir::new();
    let config =
        Config::plain(&server).with(&format!("record: {{ path: {:?} }}", place.path()));
    let street = Street::open(&config);
    let count = Load::new(street.http).requests(500).run();
    count.is_clean();
    street.says("the trace cannot be written");
    wait::eventually("the metrics say so", SOON, || {
        let metrics = street.metrics();
        let lost =
            metrics.count("switchback_recorded_requests_total", &[("outcome", "lost")]);
        (lost >= 500 && metrics.count("switchback_record_failing", &[]) == 1)
            .then_some(())
    });
    assert_eq!(street.log().matches("the trace cannot be written").count(), 1);
}
