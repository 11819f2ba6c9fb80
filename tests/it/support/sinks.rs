//! `Office`: every product that takes notices or audit records, on one port, as each one's
//! documentation says it answers. It keeps what it was sent and what tickets it has. Apart
//! from the model servers, whose sockets it borrows, because it is nobody's upstream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::model_server::{Ask, Line, ModelServer, Script, Then};
use super::street::Dir;

/// All products.
#[derive(Debug)]
pub struct Office {
    server: ModelServer,
    desk: Arc<Mutex<Desk>>,
}

/// One request that was answered well.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Which product it was for.
    pub product: &'static str,
    /// The body, as it came.
    pub text: String,
}

impl Letter {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Desk {
    letters: Vec<Letter>,
    /// What everything is answered with instead.
    fails: Option<u16>,
    refused: u64,
    /// The label of each ticket, by product.
    tickets: BTreeMap<&'static str, Vec<String>>,
}

impl Office {
    /// One where every product works.
    pub fn open() -> Self {
        let desk = Arc::new(Mutex::new(Desk::default()));
        let server = ModelServer::new(script(&desk));
        Self { server, desk }
    }

    /// The lines of a configuration that names all of its products, with secrets in `dir`.
    pub fn notify(&self, dir: &Dir) -> String {
        let url = self.server.url();
        let secret = |name: &str, text: &str| dir.write(name, text).display().to_string();
        let hook = secret("hook", &format!("{url}/hook/{SECRET}\n"));
        let token = secret("token", &format!("{SECRET}\n"));
        let (on_call, commander) =
            (secret("on-call", "key-1\n"), secret("commander", "key-2"));
        let inner = "allowPrivate: true";
        [
            format!("{{ name: slack, type: slack, urlFile: {hook:?}, {inner} }}"),
            format!("{{ name: alerts, type: alertmanager, url: {url:?}, {inner} }}"),
            format!("{{ name: pager, type: pagerduty, url: {url:?}, routingKeyFile: {on_call:?}, commanderKeyFile: {commander:?}, {inner} }}"),
            format!("{{ name: events, type: webhook, url: \"{url}/events\", secretFile: {token:?}, {inner} }}"),
            format!("{{ name: jira, type: jira, url: {url:?}, project: OPS, user: bot@example.com, tokenFile: {token:?}, {inner} }}"),
            format!("{{ name: github, type: github, url: {url:?}, repo: acme/models, close: true, tokenFile: {token:?}, {inner} }}"),
            format!("{{ name: snow, type: servicenow, url: {url:?}, user: bot, tokenFile: {token:?}, {inner} }}"),
            format!("{{ name: loki, type: loki, url: {url:?}, tokenFile: {token:?}, {inner} }}"),
            format!("{{ name: search, type: elasticsearch, url: {url:?}, index: audit, tokenFile: {token:?}, {inner} }}"),
        ]
        .iter()
        .fold("notify:\n".to_owned(), |text, sink| text + "  - " + sink + "\n")
    }

    /// From now on everything is answered with that status, or well again.
    pub fn fails(&self, status: Option<u16>) {
        self.desk.lock().unwrap().fails = status;
    }

    /// How many requests were not answered well.
    pub fn refused(&self) -> u64 {
        self.desk.lock().unwrap().refused
    }

    /// What a product was sent.
    pub fn of(&self, product: &str) -> Vec<Letter> {
        let desk = self.desk.lock().unwrap();
        desk.letters.iter().filter(|it| it.product == product).cloned().collect()
    }

    /// Everything that was sent.
    pub fn letters(&self) -> Vec<Letter> {
        self.desk.lock().unwrap().letters.clone()
    }

    /// How many tickets a product has.
    pub fn tickets(&self, product: &str) -> usize {
        self.desk.lock().unwrap().tickets.get(product).map_or(0, Vec::len)
    }
}

/// In every secret file: what must be nowhere but where it belongs.
pub const SECRET: &str = "t0p-s3cret-t0ken";

fn script(desk: &Arc<Mutex<Desk>>) -> Script {
    let desk = Arc::clone(desk);
    Arc::new(move |ask: &Ask, line: &mut Line| {
        let Ok(body) = line.body() else { return Then::Close };
        let text = String::from_utf8_lossy(&body).into_owned();
        let mut desk = desk.lock().unwrap();
        if let Some(status) = desk.fails {
            desk.refused += 1;
            drop(desk);
            return line.reply(status, "", "out of order");
        }
        let told = format!("{} {}", ask.method(), ask.target());
        let (product, status, answer) = desk.answer(&told, &text);
        desk.letters.push(Letter { product, text });
        drop(desk);
        line.reply(status, "content-type: application/json\r\n", answer)
    })
}

impl Desk {
    fn answer(&mut self, told: &str, text: &str) -> (&'static str, u16, String) {
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        let (method, target) = told.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path.starts_with("/hook/") {
            return ("slack", 200, "ok".into());
        }
        if let Some(rest) = path.strip_prefix("/rest/api/3") {
            return self.jira(rest, &body);
        }
        if let Some(rest) = path.strip_prefix("/repos/acme/models/issues") {
            return self.github(method, rest, query, &body);
        }
        if let Some(rest) = path.strip_prefix("/api/now/table/incident") {
            return self.servicenow(method, rest, query, &body);
        }
        match path {
            "/api/v2/alerts" => ("alertmanager", 200, String::new()),
            "/v2/enqueue" => {
                let key = &body["dedup_key"];
                let said = json!({ "status": "success", "message": "Event processed", "dedup_key": key });
                ("pagerduty", 202, said.to_string())
            }
            "/events" => ("webhook", 204, String::new()),
            "/loki/api/v1/push" => ("loki", 204, String::new()),
            "/audit/_bulk" => {
                ("elasticsearch", 200, r#"{"errors":false,"items":[]}"#.into())
            }
            _ => ("nobody", 404, r#"{"message":"Not Found"}"#.into()),
        }
    }

    fn jira(&mut self, rest: &str, body: &Value) -> (&'static str, u16, String) {
        const JIRA: &str = "jira";
        let tickets = self.tickets.entry(JIRA).or_default();
        let issue = |number: usize| json!({ "id": "1", "key": format!("OPS-{number}") });
        match rest {
            "/search/jql" => {
                let jql = body["jql"].as_str().unwrap();
                let asked =
                    |label: &String| jql.ends_with(&format!("labels = \"{label}\""));
                let found: Vec<Value> = tickets
                    .iter()
                    .position(asked)
                    .map(|at| issue(at + 1))
                    .into_iter()
                    .collect();
                (JIRA, 200, json!({ "issues": found }).to_string())
            }
            "/issue" => {
                let label = body["fields"]["labels"][0].as_str().unwrap();
                tickets.push(label.to_owned());
                (JIRA, 201, issue(tickets.len()).to_string())
            }
            _ if rest.ends_with("/comment") => (JIRA, 201, r#"{"id":"2"}"#.into()),
            _ => (JIRA, 404, "{}".into()),
        }
    }

    fn github(
        &mut self,
        method: &str,
        rest: &str,
        query: &str,
        body: &Value,
    ) -> (&'static str, u16, String) {
        const GITHUB: &str = "github";
        let tickets = self.tickets.entry(GITHUB).or_default();
        let issue = |number: usize| {
            let url = format!("https://github.example/acme/models/issues/{number}");
            json!({ "number": number, "html_url": url, "state": "open" })
        };
        match (method, rest) {
            ("GET", "") => {
                let asked = |label: &String| query.contains(&format!("labels={label}&"));
                let found: Vec<Value> = tickets
                    .iter()
                    .position(asked)
                    .map(|at| issue(at + 1))
                    .into_iter()
                    .collect();
                (GITHUB, 200, json!(found).to_string())
            }
            ("POST", "") => {
                tickets.push(body["labels"][0].as_str().unwrap().to_owned());
                (GITHUB, 201, issue(tickets.len()).to_string())
            }
            ("POST", _) => (GITHUB, 201, r#"{"id":1}"#.into()),
            ("PATCH", _) => (GITHUB, 200, "{}".into()),
            _ => (GITHUB, 405, "{}".into()),
        }
    }

    fn servicenow(
        &mut self,
        method: &str,
        rest: &str,
        query: &str,
        body: &Value,
    ) -> (&'static str, u16, String) {
        const SNOW: &str = "servicenow";
        let tickets = self.tickets.entry(SNOW).or_default();
        let record = |number: usize| json!({ "sys_id": format!("{number:032x}") });
        match (method, rest) {
            ("GET", "") => {
                let asked = |label: &String| query.contains(&format!("%3D{label}&"));
                let found: Vec<Value> = tickets
                    .iter()
                    .position(asked)
                    .map(|at| record(at + 1))
                    .into_iter()
                    .collect();
                (SNOW, 200, json!({ "result": found }).to_string())
            }
            ("POST", "") => {
                tickets.push(body["correlation_id"].as_str().unwrap().to_owned());
                (SNOW, 201, json!({ "result": record(tickets.len()) }).to_string())
            }
            ("PATCH", _) => (SNOW, 200, json!({ "result": record(1) }).to_string()),
            _ => (SNOW, 405, "{}".into()),
        }
    }
}
