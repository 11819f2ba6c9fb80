//! What the documents in `deploy/` tell people to type is run here, and what they tell them
//! to write is checked: a command that no longer works fails this test before it fails
//! somebody at night.
//!
//! A block of commands says in the words after ```` ```sh ```` what has to be the case before
//! (`rolled-back`, `read-only`, …: [`Scene::set`]) and what has to come of it (`same`: all
//! lines that it prints are equal). Consecutive blocks in the same case share one proxy.
//! Addresses and directories are those of the example and are replaced by those of the test;
//! `systemctl` and `journalctl` are played by scripts that do what systemd would do.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::config::{Config, Route};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::{BINARY, Dir, Street, run};
use crate::support::tls::Authority;
use crate::support::wait::{self, SOON};

/// The documents, each a test below.
const DOCUMENTS: [&str; 13] = [
    "audit.md",
    "discovery.md",
    "edge.md",
    "emergency.md",
    "grpc.md",
    "health-checks.md",
    "notices.md",
    "rollback-policy.md",
    "runbook.md",
    "strategies.md",
    "stream-failures.md",
    "streams.md",
    "tls.md",
];

/// Those that have commands; each has a test below that runs them.
const WITH_COMMANDS: [&str; 7] = [
    "audit.md",
    "emergency.md",
    "health-checks.md",
    "notices.md",
    "rollback-policy.md",
    "runbook.md",
    "strategies.md",
];

#[test]
fn the_commands_about_the_audit_log_work() {
    commands_work("audit.md");
}

#[test]
fn the_commands_of_an_emergency_work() {
    commands_work("emergency.md");
}

#[test]
fn the_commands_about_health_checks_work() {
    commands_work("health-checks.md");
}

#[test]
fn the_commands_about_notices_work() {
    commands_work("notices.md");
}

#[test]
fn the_commands_of_the_policy_work() {
    commands_work("rollback-policy.md");
}

#[test]
fn the_commands_of_the_runbook_work() {
    commands_work("runbook.md");
}

#[test]
fn the_commands_about_strategies_work() {
    commands_work("strategies.md");
}

/// The default of a key, wherever it stands in the schema below that path.
fn default_of(schema: &Value, path: &[&str]) -> Option<String> {
    let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let (first, rest) = path.split_first()?;
    match schema {
        Value::Object(members) => {
            let here = members.get("properties").and_then(|all| all.get(first));
            let found = here.and_then(|here| match rest {
                [] => here.get("default").map(text),
                _ => default_of(here, rest),
            });
            found.or_else(|| members.values().find_map(|it| default_of(it, path)))
        }
        Value::Array(items) => items.iter().find_map(|it| default_of(it, path)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[test]
fn the_defaults_that_the_edge_relies_on_are_the_defaults() {
    let schema = run(["schema"]).stdout;
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let text = read("edge.md");
    let quoted = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').collect();
        let [_, _, key, default, _, _] = cells[..] else { continue };
        if !key.trim().starts_with('`') {
            continue;
        }
        let key = quoted(key);
        let path: Vec<&str> = key.split('.').collect();
        assert_eq!(default_of(&schema, &path), Some(quoted(default)), "{key}");
        seen += 1;
    }
    assert!(seen >= 18, "{seen} rows");
}

#[test]
fn no_document_is_forgotten() {
    let entries = fs::read_dir(deploy()).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    found.sort_unstable();
    assert_eq!(found, DOCUMENTS);
    let has_commands =
        |document: &&str| blocks(document).iter().any(|block| block.kind == "sh");
    let commanded: Vec<&str> = DOCUMENTS.into_iter().filter(has_commands).collect();
    assert_eq!(commanded, WITH_COMMANDS, "whose commands nobody runs");
    for document in DOCUMENTS {
        for link in links(&read(document)) {
            assert!(deploy().join(&link).exists(), "{document} names {link}");
        }
    }
}

#[test]
fn what_the_documents_configure_is_taken() {
    let dir = Dir::new();
    let mut faults = String::new();
    for document in DOCUMENTS {
        for block in blocks(document).iter().filter(|block| block.kind == "yaml") {
            let text = secrets_made(&dir, &whole(&block.text));
            let file = dir.write("block.yaml", &text);
            let output = run(["check".as_ref(), file.as_os_str()]);
            if !output.status.success() {
                writeln!(faults, "{}\n{}\n{text}", block.place, shown(&output)).unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn what_kubernetes_is_given_is_taken_and_leaves_time_to_drain() {
    for file in ["kubernetes/gateway.yaml", "kubernetes/sidecar.yaml"] {
        let parts: Vec<Value> = read(file).split("\n---\n").map(parsed).collect();
        let config = &parts.iter().find(|it| it["kind"] == "ConfigMap").unwrap()["data"];
        let dir = Dir::new();
        let text = config["switchback.yaml"].as_str().unwrap();
        let written = dir.write("switchback.yaml", text);
        let output = run(["check".as_ref(), written.as_os_str()]);
        assert!(output.status.success(), "{file}: {}", shown(&output));
        let is_work = |it: &&Value| it["spec"].get("template").is_some();
        let pod = &parts.iter().find(is_work).unwrap()["spec"]["template"]["spec"];
        let patience = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(patience > 30, "{file}: a drain takes up to 30 s, not {patience}");
        let ours = &pod["containers"][0];
        for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
        {
            assert_eq!(ours[probe]["httpGet"]["path"], path, "{file}");
            assert_eq!(ours[probe]["httpGet"]["port"], "metrics", "{file}");
        }
        assert_eq!(ours["securityContext"]["readOnlyRootFilesystem"], true, "{file}");
        let kept = ours["volumeMounts"].as_array().unwrap();
        assert!(kept.iter().any(|it| it["mountPath"] == "/var/lib/switchback"), "{file}");
    }
}

#[test]
fn a_headless_service_is_one_and_its_pods_answer_until_everybody_knows() {
    let text = read("kubernetes/headless.yaml");
    let parts: Vec<Value> = text.split("\n---\n").map(parsed).collect();
    let [config, service, pods] = &parts[..] else { panic!("{} parts", parts.len()) };
    let dir = Dir::new();
    let written =
        dir.write("f.yaml", config["data"]["switchback.yaml"].as_str().unwrap());
    let output = run(["check".as_ref(), written.as_os_str()]);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(service["spec"]["clusterIP"], "None");
    let name = service["metadata"]["name"].as_str().unwrap();
    let space = service["metadata"]["namespace"].as_str().unwrap();
    let port = &service["spec"]["ports"][0]["port"];
    let entry = format!("dns+http://{name}.{space}.svc.cluster.local.:{port}");
    assert!(config.to_string().contains(&entry), "{entry}");
    let pod = &pods["spec"]["template"]["spec"];
    assert_eq!(
        pods["spec"]["template"]["metadata"]["labels"],
        service["spec"]["selector"]
    );
    let pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        .as_u64()
        .unwrap();
    let patience = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(pause > 30 && patience > pause);
}

#[test]
fn alerts_are_on_metrics_that_exist() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    // Series of sinks are there when there is a sink.
    let sink = "notify: [{ name: hook, type: webhook, url: \"https://h.example/\" }]";
    let street = Street::open(&Config::pair(&stable, "10%", &canary).with(sink));
    let page = street.admin(Request::get("/metrics")).text();
    let rules = parsed(&read("prometheus/rules.yaml"));
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 5, "{rules:?}");
    for rule in rules {
        let (alert, expression) = (&rule["alert"], rule["expr"].as_str().unwrap());
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = |word: &&str| {
            word.starts_with("switchback_") || word.starts_with("rollback_")
        };
        let metrics: Vec<&str> = words.filter(ours).collect();
        assert!(!metrics.is_empty(), "{alert}: {expression}");
        for metric in metrics {
            let declared = format!("# TYPE {metric} ");
            assert!(page.contains(&declared), "{alert}: no metric {metric}");
        }
        let runbook = rule["annotations"]["runbook"].as_str().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(runbook);
        assert!(path.exists(), "{alert}: no {runbook}");
    }
}

/// A block of a document.
#[derive(Debug)]
struct Block {
    /// Where it is, for people.
    place: String,
    /// `sh` or `yaml`.
    kind: String,
    /// What has to be the case.
    scene: String,
    /// Whether all lines that it prints have to be equal.
    same: bool,
    text: String,
}

/// Runs every command of a document, and says all that do not work.
fn commands_work(document: &str) {
    let blocks = blocks(document);
    assert!(WITH_COMMANDS.contains(&document), "{document} is not in the list");
    let commands: Vec<&Block> =
        blocks.iter().filter(|block| block.kind == "sh").collect();
    assert!(!commands.is_empty(), "{document} has no commands");
    let mut faults = String::new();
    for group in commands.chunk_by(|one, next| one.scene == next.scene) {
        match Scene::set(&group[0].scene) {
            Ok(mut scene) => {
                for block in group {
                    if let Err(fault) = scene.play(block) {
                        writeln!(faults, "{}: {fault}\n{}", block.place, block.text)
                            .unwrap();
                    }
                }
            }
            Err(why) => writeln!(faults, "{}: {why}", group[0].place).unwrap(),
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// A proxy in the case that some blocks are about.
struct Scene {
    /// `None` only while it is started again.
    street: Option<Street>,
    /// v2.4, v2.5 and v2.3.
    servers: [ModelServer; 3],
}

impl Scene {
    /// Brings the case about.
    fn set(case: &str) -> Result<Self, String> {
        let servers = ["v2.4", "v2.5", "v2.3"].map(ModelServer::good);
        let rollout = match case {
            "rollout" => ROLLOUT,
            "blue-green" => "rollout: { strategy: blueGreen, bake: 1h }",
            _ => "",
        };
        let dir = Dir::new();
        let text = config(&servers, rollout).yaml(dir.path());
        let file = dir.write("switchback.yaml", &text);
        let checked = run(["check".as_ref(), file.as_os_str()]);
        if !checked.status.success() {
            return Err(shown(&checked));
        }
        let street = Street::start(dir, "switchback.yaml");
        let scene = Self { street: Some(street), servers };
        scene.write_tools();
        match case {
            // What these change is for nobody else to find.
            "" | "rollout" | "blue-green" | "by-file" | "restart" => {}
            "rolled-back" => scene.roll_back(),
            "read-only" => scene.order_read_only()?,
            other => return Err(format!("no such case: {other:?}")),
        }
        Ok(scene)
    }

    fn street(&self) -> &Street {
        self.street.as_ref().unwrap()
    }

    /// The canary fails until it is rolled back.
    fn roll_back(&self) {
        self.servers[1].now(scripts::status(500));
        let load = Load::new(self.street().http).start();
        self.street().rolled_back("v2.5");
        load.stop();
    }

    fn order_read_only(&self) -> Result<(), String> {
        let order = json!({ "mode": "readOnly", "reason": "a test" }).to_string();
        let asked = Request::post("/api/v1/routes/iris/mode", order);
        let answer = self.street().admin(asked.field("content-type", "application/json"));
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    }

    /// The commands that are not the machine's own.
    fn write_tools(&self) {
        let street = self.street();
        let (dir, admin) = (street.dir().path().display(), street.admin);
        let verbs = "status|history|explain|set-weight|rollback|quarantine|promote|pause|\
                     resume|abort|retry|freeze|mode|incident|notices";
        let switchback = format!(
            "case \"$1\" in\n{verbs}) exec {BINARY} \"$@\" --admin http://{admin};;\n\
             *) exec {BINARY} \"$@\";;\nesac\n"
        );
        let systemctl = format!(
            "[ \"$2\" = switchback ] || exit 1\ncase \"$1\" in\nreload) kill -HUP {};;\n\
             restart) touch {dir}/restart; while [ -e {dir}/restart ]; do sleep 0.02; done;;\n\
             *) exit 1;;\nesac\n",
            street.pid()
        );
        let journalctl = format!("[ \"$2\" = switchback ] || exit 1\ncat {dir}/log\n");
        let bin = street.dir().path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        for (name, script) in [
            ("switchback", switchback),
            ("systemctl", systemctl),
            ("journalctl", journalctl),
        ] {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Runs a block as a person would paste it.
    fn play(&mut self, block: &Block) -> Result<(), String> {
        let street = self.street();
        let dir = street.dir().path().to_owned();
        street.dir().write("log", &street.log());
        let [http, admin] = [street.http, street.admin].map(|it| it.to_string());
        let stable = self.servers[0].url().replace("http://", "");
        let at = |path: &str| dir.join(path).display().to_string();
        let mut text = block.text.clone();
        for (example, real) in [
            ("127.0.0.1:8080", http),
            ("127.0.0.1:9901", admin),
            ("127.0.0.1:9001", stable),
            ("/var/lib/switchback", at("state")),
            ("/etc/switchback", dir.display().to_string()),
        ] {
            text = text.replace(example, &real);
        }
        let path = format!("{}:{}", at("bin"), std::env::var("PATH").unwrap());
        let mut shell = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &text])
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let what = format!("{} ends", block.place);
        wait::eventually(&what, 3 * SOON, || {
            if dir.join("restart").exists() {
                self.restart();
                fs::remove_file(dir.join("restart")).unwrap();
            }
            shell.try_wait().unwrap()
        });
        let output = shell.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = printed.lines().collect();
        let is_same = lines.len() > 1 && lines.iter().all(|line| *line == lines[0]);
        if output.status.success() && (is_same || !block.same) {
            Ok(())
        } else {
            Err(shown(&output))
        }
    }

    /// What `systemctl restart` does.
    fn restart(&mut self) {
        let mut street = self.street.take().unwrap();
        street.signal("TERM");
        street.ends(SOON);
        self.street = Some(street.again());
        self.write_tools();
    }
}

/// The example of the documents.
fn config(servers: &[ModelServer; 3], rollout: &str) -> Config {
    let [stable, canary, old] = servers;
    // Where there is a rollout, the weight is what it gives.
    let weight = if rollout.is_empty() { ", weight: 10%" } else { "" };
    let checked = |members: &str| {
        format!(
            "{members}, healthCheck: {{ readiness: /v2/health/ready, interval: 500ms }}"
        )
    };
    let route = Route::new("iris")
        .version("v2.4", &checked("role: stable"), &[stable.url()])
        .version("v2.5", &checked(&format!("role: canary{weight}")), &[canary.url()])
        .version("v2.3", &checked("role: candidate"), &[old.url()])
        .with("overrides: [{ header: canary, value: \"true\", to: v2.5 }]")
        .with("rollback: { stabilization: 500ms }")
        .with("fallback: { cache: { enabled: true } }");
    Config::new([if rollout.is_empty() { route } else { route.with(rollout) }])
}

/// What a block of configuration stands for, as a whole file: where it has no listeners or
/// routes, or is a part of a route or of its versions, the rest is that of the example.
fn whole(part: &str) -> String {
    const TOP: [&str; 10] = [
        "workers:",
        "listeners:",
        "admin:",
        "stateDir:",
        "shutdown:",
        "dns:",
        "routes:",
        "record:",
        "notify:",
        "tls:",
    ];
    let has = |key: &str| part.lines().any(|line| line.starts_with(key));
    let is_top = TOP.iter().any(|key| has(key));
    let mut file = if is_top { part.to_owned() } else { String::new() };
    if !has("listeners:") {
        file += "\nlisteners: [{ address: \"127.0.0.1:0\" }]\n";
    }
    if !has("routes:") {
        file += "\nroutes:\n  - name: iris\n";
        if is_top || !has("versions:") {
            // Where there is a rollout, the weight is what it gives.
            let weight = if has("rollout:") { "" } else { "weight: 10%, " };
            file += &VERSIONS.replace("WEIGHT", weight);
        }
        if !is_top {
            part.lines().for_each(|line| writeln!(file, "    {line}").unwrap());
        }
    }
    file
}

/// The text with the files of secrets that it names in a directory of the test's own.
fn secrets_made(dir: &Dir, text: &str) -> String {
    let file = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let authority = Authority::serving();
    for (at, _) in text.match_indices("/etc/switchback/") {
        let path: String = text[at..].chars().take_while(|c| file(*c)).collect();
        let name = path.trim_start_matches("/etc/switchback/");
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        let is_url = text[..at].trim_end().ends_with("urlFile:");
        let secret = match name.rsplit('.').next() {
            Some("crt") => fs::read_to_string(authority.path("server.pem")).unwrap(),
            Some("key") => fs::read_to_string(authority.path("server.key")).unwrap(),
            _ if is_url => "https://hooks.example.com/T0/B0/x".to_owned(),
            _ => "0123456789abcdef".to_owned(),
        };
        dir.write(name, &secret);
    }
    let dir = dir.path().display().to_string();
    text.replace("/etc/switchback", &dir).replace("/var/lib/switchback", &dir)
}

/// All blocks of a document that are commands or configuration.
fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (number, line) in read(document).lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                let mut words = info.split_whitespace();
                let kind = words.next().unwrap_or_default().to_owned();
                let words: Vec<&str> = words.collect();
                let scene = words.iter().find(|word| **word != "same");
                let block = Block {
                    place: format!("{document}:{}", number + 1),
                    kind,
                    scene: scene.map_or_else(String::new, |word| (*word).to_owned()),
                    same: words.contains(&"same"),
                    text: String::new(),
                };
                open = Some((block, indent));
            }
            (Some(_), Some("")) => blocks.extend(open.take().map(|(block, _)| block)),
            (Some((block, indent)), _) => {
                block.text += line.get(*indent..).unwrap_or_default();
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document}: a block that does not end");
    for block in &blocks {
        let known = ["sh", "yaml", "text"].contains(&&*block.kind);
        assert!(known, "{}: a block of {:?} that nobody checks", block.place, block.kind);
    }
    blocks
}

/// The files that a document links to.
fn links(text: &str) -> Vec<String> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|link| !link.contains("://")).map(str::to_owned).collect()
}

fn parsed(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

fn shown(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{out}{err}", output.status)
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy().join(file)).unwrap()
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

const ROLLOUT: &str = "rollout: { strategy: canary, steps: [{ setWeight: 20% }, \
                       { pause: 1h }, { setWeight: 50% }, { pause: 1h }], bake: 1h }";
const VERSIONS: &str = "    versions:
      - { name: v2.4, role: stable, endpoints: [\"http://127.0.0.1:9001\"] }
      - { name: v2.5, role: canary, WEIGHTendpoints: [\"http://127.0.0.1:9002\"] }
      - { name: v2.3, role: candidate, endpoints: [\"http://127.0.0.1:9003\"] }
";
