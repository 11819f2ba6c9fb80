//! `llmock`, a mock of LLM providers that breaks on demand, asked by the `openai` client: each
//! of its faults is counted in its class, a canary that has it is rolled back unseen where
//! that can be, a caller that leaves stops the model, and retries make no storm.

use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::config::{Config, NO_RULES, Route};
use crate::support::peers::{Peer, Python};
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/anthropic/v1/messages";
/// For a server that falls silent; any other may be slow on a full machine.
const QUICK: &str = "timeouts: { firstByte: 60s, idle: 700ms }";
const PATIENT: &str = "timeouts: { firstByte: 60s, idle: 60s }";

/// What it does to a stream, after so many events, and the class of a chat.
const FAULTS: &[(&str, u32, &str)] = &[
    ("disconnect", 0, "truncated"),
    ("disconnect", 1, "truncated"),
    ("disconnect", 3, "truncated"),
    ("truncate", 0, "empty_stream"),
    ("truncate", 1, "empty_stream"),
    ("truncate", 3, "truncated"),
    ("malformed", 0, "protocol_error"),
    ("malformed", 1, "protocol_error"),
    ("malformed", 3, "protocol_error"),
    ("stall", 0, "timeout_idle"),
    ("stall", 1, "timeout_idle"),
    ("stall", 3, "timeout_idle"),
];

/// What it answers at once, and the class.
const ANSWERS: &[(u32, &str)] = &[
    (400, "4xx"),
    (401, "4xx"),
    (403, "4xx"),
    (404, "4xx"),
    (408, "4xx"),
    (409, "4xx"),
    (422, "4xx"),
    (429, "429"),
    (500, "5xx"),
    (502, "5xx"),
    (503, "5xx"),
    (504, "5xx"),
    (529, "5xx"),
];

fn fault(kind: &str, after: u32) -> Value {
    json!({ "type": "stream_fault", "kind": kind, "after_chunks": after,
            "stall_seconds": 120, "times": null })
}

fn fail(status: u32) -> Value {
    json!({ "type": "fail", "status": status, "times": null })
}

fn question() -> Value {
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "The sea?" }] })
}

/// The mock's process.
struct Mock {
    _process: Peer,
    port: u16,
}

impl Mock {
    fn start(python: &Python, pace: u32) -> Self {
        let mut command = python.script("mock.py");
        let pace = pace.to_string();
        let mut process = Peer::start(command.env("LLMOCK_STREAM_CHUNK_DELAY_MS", pace));
        let port = process.port();
        Self { _process: process, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Forgets what was, and does this from now on.
    fn now(&self, behaviours: &[Value]) {
        self.order("/_llmock/reset", &json!({}));
        if !behaviours.is_empty() {
            self.order("/_llmock/scenario", &json!({ "behaviors": behaviours }));
        }
    }

    fn order(&self, path: &str, order: &Value) {
        let answer = Request::post(path, order.to_string())
            .field("content-type", "application/json")
            .ask(([127, 0, 0, 1], self.port).into());
        assert!(answer.status < 300, "{}", answer.text());
    }

    /// What it says of the requests it got.
    fn told(&self, path: &str) -> Value {
        let answer = Request::get(path).ask(([127, 0, 0, 1], self.port).into());
        serde_json::from_slice(&answer.body).unwrap()
    }
}

/// The process with the clients.
struct Asker(Peer);

impl Asker {
    fn start(python: &Python) -> Self {
        Self(python.start("openai_asks.py", [""; 0]))
    }

    fn ask(&mut self, base: &str, ask: &Value) -> Value {
        let mut ask = ask.clone();
        ask["base"] = json!(base);
        self.0.hear(&ask.to_string());
        serde_json::from_str(&self.0.line()).unwrap()
    }

    /// The bytes of a stream, and whether it came to its end.
    fn bytes(&mut self, base: &str, path: &str) -> (String, bool) {
        let mut body = question();
        body["stream"] = json!(true);
        body["input"] = json!("The sea?");
        body["max_tokens"] = json!(40);
        let got = self.ask(base, &json!({ "api": "raw", "path": path, "body": body }));
        (got["data"].as_str().unwrap().to_owned(), got["error"].is_null())
    }
}

fn chat() -> Value {
    json!({ "api": "chat", "stream": true, "body": question() })
}

fn street_of(stable: &Mock, timeouts: &str) -> (Street, String) {
    let route = Route::new("llm")
        .version("v1", "role: stable", &[stable.url()])
        .with(NO_RULES)
        .with(timeouts);
    let street = Street::open(&Config::new([route]));
    let url = format!("http://{}", street.http);
    (street, url)
}

/// Waits until there is one more of a class, and of no other.
fn one_more(street: &Street, before: &mut u64, class: &str, what: &str) {
    let of = |class: Option<&str>| {
        let classes = street.metrics().classes("v1");
        let kept = classes.iter().filter(|(name, _)| class.is_none_or(|it| it == *name));
        kept.map(|(_, n)| *n).sum::<u64>()
    };
    *before += 1;
    wait::eventually(&format!("{what} is counted"), SOON, || {
        (of(None) >= *before).then_some(())
    });
    assert_eq!(of(None), *before, "{what}: more than once");
    // Every case looks at a proxy of its own class count.
    let classes = street.metrics().classes("v1");
    assert!(classes.get(class).is_some_and(|n| *n > 0), "{what}: {classes:?}");
}

#[test]
fn each_fault_of_a_stream_is_counted_in_its_class_and_passes_to_the_byte() {
    let python = Python::of("clients");
    let (mock, mut asker) = (Mock::start(&python, 0), Asker::start(&python));
    for path in [CHAT, RESPONSES, MESSAGES] {
        mock.now(&[]);
        let (street, url) = street_of(&mock, PATIENT);
        let whole = asker.bytes(&mock.url(), path);
        assert!(whole.1 && whole.0.len() > 500, "{path}: {whole:?}");
        assert_eq!(asker.bytes(&url, path), whole, "{path}");
        assert_eq!(street.metrics().requests("v1", "2xx"), 1, "{path}");
        for (kind, after, class) in FAULTS {
            // Its own proxy, so that a class is only ever that of this case.
            let quick = *kind == "stall";
            let (street, url) = street_of(&mock, if quick { QUICK } else { PATIENT });
            let what = format!("{kind} after {after} of {path}");
            mock.now(&[fault(kind, *after)]);
            let (through, ended) = asker.bytes(&url, path);
            let direct = if *kind == "stall" {
                let events = whole.0.split_inclusive("\n\n").take(*after as usize);
                (events.collect::<String>(), false)
            } else {
                asker.bytes(&mock.url(), path)
            };
            // All that the server said comes first; what it left open ends with an error.
            let rest = through.strip_prefix(&direct.0);
            let rest = rest.unwrap_or_else(|| panic!("{what}: {through}\n{}", direct.0));
            if direct.1 {
                assert_eq!(rest, "", "{what}");
            } else {
                assert!(rest.contains("\"error\""), "{what}: {rest:?}");
            }
            assert!(ended, "{what}");
            // The first events of the other two say nothing yet.
            let class = match *class {
                "truncated" if *kind == "truncate" && path != CHAT => "empty_stream",
                class => class,
            };
            one_more(&street, &mut 0, class, &what);
        }
    }
}

#[test]
fn the_client_is_told_what_it_is_told_without_the_proxy() {
    let python = Python::of("clients");
    let (mock, mut asker) = (Mock::start(&python, 0), Asker::start(&python));
    let (street, url) = street_of(&mock, PATIENT);
    let tools = json!([{ "type": "function", "function": {
        "name": "weather", "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } }]);
    let mut with_tools = chat();
    with_tools["body"]["tools"] = tools;
    let responses = json!({ "api": "responses", "stream": true,
                            "body": { "model": "gpt-4o", "input": "The sea?" } });
    let whole = json!({ "api": "chat", "body": question() });
    let mut cases = vec![
        (vec![], "2xx"),
        (vec![json!({ "type": "delay", "seconds": 0.2 })], "2xx"),
        (vec![json!({ "type": "slow_first_token", "seconds": 0.2 })], "2xx"),
        (vec![json!({ "type": "tool_fault", "kind": "unknown_tool" })], "2xx"),
        (vec![json!({ "type": "tool_fault", "kind": "malformed_arguments" })], "2xx"),
    ];
    cases.extend(ANSWERS.iter().map(|(status, class)| (vec![fail(*status)], *class)));
    let mut count = 0;
    for (behaviours, class) in &cases {
        for ask in [&chat(), &with_tools, &responses, &whole] {
            mock.now(behaviours);
            let direct = asker.ask(&mock.url(), ask);
            mock.now(behaviours);
            let what = format!("{behaviours:?} {ask}");
            let through = asker.ask(&url, ask);
            assert_eq!(through, direct, "{what}");
            let refused = behaviours.first().is_some_and(|it| it["type"] == "fail");
            assert_eq!(direct["error"].is_null(), !refused, "{what}: {direct}");
            one_more(&street, &mut count, class, &what);
        }
    }
    // A stream that breaks off is an error of the client's own kind, after all that came.
    mock.now(&[fault("disconnect", 3)]);
    let got = asker.ask(&url, &chat());
    assert_eq!(got["error"], "APIError", "{got}");
    assert_eq!(got["body"]["code"], "http_response_incomplete", "{got}");
    assert_eq!(got["events"], 3, "{got}");
}

#[test]
fn a_canary_with_any_fault_that_can_be_spared_is_rolled_back_unseen() {
    let python = Python::of("clients");
    let (stable, canary) = (Mock::start(&python, 0), Mock::start(&python, 0));
    let mut asker = Asker::start(&python);
    let good = asker.ask(&stable.url(), &chat());
    assert!(good["error"].is_null() && good["finish"] == "stop", "{good}");
    let faults = FAULTS.iter().filter(|(_, after, _)| *after < 2);
    let faults = faults.map(|(kind, after, class)| (fault(kind, *after), *class));
    let answers = ANSWERS.iter().filter(|(_, class)| *class == "5xx");
    let answers = answers.map(|(status, class)| (fail(*status), *class));
    for (behaviour, class) in faults.chain(answers) {
        canary.now(std::slice::from_ref(&behaviour));
        let (street, url) = pair(&stable, &canary, behaviour["kind"] == "stall");
        let rolled_back = || street.metrics().count("rollback_completed_total", &[]) == 1;
        wait::eventually(&format!("{behaviour} is rolled back"), MINUTES, || {
            for _ in 0..5 {
                assert_eq!(asker.ask(&url, &chat()), good, "{behaviour}");
            }
            rolled_back().then_some(())
        });
        let metrics = street.metrics();
        let classes = metrics.classes("v2");
        assert!(classes.get(class).is_some_and(|n| *n >= 5), "{behaviour}: {classes:?}");
        assert_eq!(metrics.classes("v1").keys().collect::<Vec<_>>(), ["2xx"]);
    }
}

#[test]
fn a_canary_whose_streams_break_after_a_word_is_rolled_back() {
    let python = Python::of("clients");
    let (stable, canary) = (Mock::start(&python, 0), Mock::start(&python, 0));
    let mut asker = Asker::start(&python);
    let good = asker.ask(&stable.url(), &chat());
    for (kind, after, class) in FAULTS.iter().filter(|(_, after, _)| *after > 2) {
        canary.now(&[fault(kind, *after)]);
        let (street, url) = pair(&stable, &canary, *kind == "stall");
        let mut seen = 0;
        wait::eventually(&format!("{kind} is rolled back"), MINUTES, || {
            seen += u64::from(asker.ask(&url, &chat()) != good);
            (street.metrics().count("rollback_completed_total", &[]) == 1).then_some(())
        });
        for _ in 0..20 {
            assert_eq!(asker.ask(&url, &chat()), good, "{kind}: after the rollback");
        }
        let metrics = street.metrics();
        assert_eq!(metrics.requests("v2", class), seen, "{:?}", metrics.classes("v2"));
        assert_eq!(metrics.classes("v1").keys().collect::<Vec<_>>(), ["2xx"]);
    }
}

fn pair(stable: &Mock, canary: &Mock, silent: bool) -> (Street, String) {
    // An opening is held for 3 s at most: silence that lasts longer cannot be spared.
    let idle = if silent { "2s" } else { "60s" };
    let rules = "analysis: { confirm: off, metrics: [{ name: errorRate, maxRatio: 2, minSamples: 5, test: window }] }";
    let route = Route::new("llm")
        .version("v1", "role: stable", &[stable.url()])
        .version("v2", "role: canary, weight: 50%", &[canary.url()])
        .with(rules)
        .with(&format!("timeouts: {{ firstByte: 60s, idle: {idle} }}"));
    let street = Street::open(&Config::new([route]));
    let url = format!("http://{}", street.http);
    (street, url)
}

#[test]
fn a_caller_that_leaves_half_way_stops_the_model_and_blames_nobody() {
    let python = Python::of("clients");
    let (mock, mut asker) = (Mock::start(&python, 100), Asker::start(&python));
    let (street, url) = street_of(&mock, PATIENT);
    let text = "word ".repeat(600);
    for (times, api) in (1..).zip(["chat", "responses"]) {
        mock.now(&[json!({ "type": "reply", "text": text })]);
        let mut ask = chat();
        ask["leave"] = json!(8);
        ask["api"] = json!(api);
        if api == "responses" {
            ask["body"] = json!({ "model": "gpt-4o", "input": "The sea?" });
        }
        let got = asker.ask(&url, &ask);
        assert!(got["left"] == true && got["events"] == 8, "{got}");
        wait::eventually("it is counted as the caller's", SOON, || {
            (street.metrics().requests("v1", "client_cancelled") == times).then_some(())
        });
        // It would go on for a minute.
        let record = wait::eventually("the model stops", SOON, || {
            let told = mock.told("/_llmock/requests");
            told["requests"].as_array()?.first().cloned()
        });
        assert!(record["chunks_sent"].as_u64().unwrap() < 400, "{record}");
        assert_eq!(record["completed"], false, "{record}");
    }
    assert_eq!(street.metrics().classes("v1").len(), 1);
    assert_eq!(street.version("v1")["in_flight"], 0);
}

#[test]
fn retries_of_the_client_make_no_storm() {
    let python = Python::of("clients");
    let (mock, mut asker) = (Mock::start(&python, 0), Asker::start(&python));
    let (street, url) = street_of(&mock, PATIENT);
    let mut ask = chat();
    ask["retries"] = json!(2);
    // The client asks again after what the answer says, twice.
    let outage =
        json!({ "type": "fail", "status": 503, "retry_after": 0.05, "times": null });
    mock.now(&[outage]);
    let calls = 40;
    for _ in 0..calls {
        let got = asker.ask(&url, &ask);
        assert_eq!(got["status"], 503, "{got}");
    }
    let told = mock.told("/_llmock/requests");
    let served = told["count"].as_u64().unwrap();
    assert!(served >= 3 * calls, "it came to no more than {served}");
    assert!(served <= 3 * calls * 12 / 10 + 10, "{served} requests of {calls} calls");
    let stubborn = |it: &&Value| it["sdk_retry_count"] == 2;
    let last = told["requests"].as_array().unwrap().iter().filter(stubborn).count();
    assert!(last as u64 >= calls, "the client's own count did not come through: {last}");
    // One that fails twice is a success in the end, as without the proxy.
    mock.now(&[
        json!({ "type": "fail", "status": 503, "retry_after": 0.05, "times": 2 }),
    ]);
    let got = asker.ask(&url, &ask);
    assert!(got["error"].is_null(), "{got}");
    assert!(street.metrics().requests("v1", "2xx") >= 1);
}

const MINUTES: std::time::Duration = std::time::Duration::from_secs(300);
