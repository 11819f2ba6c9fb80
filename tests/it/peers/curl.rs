//! `curl` with everything that its command line offers for a request: what it gets is what it
//! gets from the server itself, headers of the way apart.

use std::fs;
use std::process::{Command, Output, Stdio};

use super::origin::Origin;
use crate::support::peers::Python;
use crate::support::street::Dir;

/// `{}` is the server's address, `<` a file of 1.5 MB.
const CASES: &[&[&str]] = &[
    &["{}/echo?a=1&b=%20"],
    &["--path-as-is", "{}/a/./b/%2e%2e/c%2Fd"],
    &["{}/echo", "-H", "accept: a/b", "-H", "x-twice: 1", "-H", "x-twice: 2"],
    &["{}/echo", "-A", "", "-e", "https://a.test/", "-b", "a=1; b=2", "-u", "me:secret"],
    &["-I", "-o", "/dev/null", "{}/echo"],
    &["-I", "-o", "/dev/null", "{}/large"],
    &["-X", "DELETE", "{}/echo"],
    &["-X", "OPTIONS", "{}/echo"],
    &["-X", "PATCH", "-d", "a=1", "{}/echo"],
    &["-d", "a=1&b=2", "{}/echo"],
    &["-d", "", "{}/echo"],
    &["--json", "{\"a\":[1,2.5]}", "{}/echo"],
    &["--data-binary", "@<", "{}/echo"],
    &["--data-binary", "@<", "-H", "expect:", "{}/echo"],
    &["--data-binary", "@<", "-H", "expect: 100-continue", "{}/echo"],
    &["-d", "short", "-H", "expect: 100-continue", "{}/echo"],
    &["--data-binary", "@<", "-H", "transfer-encoding: chunked", "{}/echo"],
    &["-T", "<", "{}/echo"],
    &["-T", "<", "-H", "transfer-encoding: chunked", "{}/echo"],
    &["-F", "f=@<;filename=n.bin", "-F", "n=1", "-o", "/dev/null", "{}/echo"],
    &["-r", "100-4099", "{}/range"],
    &["-r", "299990-299999", "{}/range"],
    &["-C", "299000", "{}/range"],
    &["--compressed", "{}/gzip"],
    &["-H", "accept-encoding: gzip", "{}/gzip"],
    &["{}/gzip"],
    &["-H", "if-none-match: \"e1\"", "{}/etag"],
    &["-H", "if-none-match: \"e0\"", "{}/etag"],
    &["{}/empty"],
    &["-L", "-d", "again", "{}/moved"],
    &["{}/moved"],
    &["-N", "{}/pieces"],
    &["{}/large"],
    &["{}/cookies"],
    &["-f", "{}/status/404"],
    &["{}/status/400", "{}/status/503", "{}/status/500", "{}/status/201"],
    &["--fail-early", "{}/echo?1", "{}/echo?2", "{}/large", "{}/echo?3"],
    &["-Z", "{}/large", "{}/pieces", "{}/large"],
    &["-d", "x", "{}/echo?[1-20]"],
];

/// How it speaks, and whether over TLS.
const WAYS: &[(&str, bool)] = &[
    ("--http1.1", false),
    ("--http1.0", false),
    ("--http2-prior-knowledge", false),
    ("--http1.1", true),
    ("--http2", true),
];

#[test]
fn curl_gets_what_it_gets_without_the_proxy() {
    let python = Python::of("clients");
    let origin = Origin::start(&python);
    let dir = Dir::new();
    let data: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(dir.path().join("data"), data).unwrap();
    for secured in [false, true] {
        let streets = ["http1", "http2"].map(|upstream| origin.street(upstream, secured));
        for (way, _) in WAYS.iter().filter(|(_, tls)| *tls == secured) {
            // It cannot send a body of unknown length over HTTP/1.0.
            let chunked = |case: &&&[&str]| case.iter().any(|it| it.ends_with("chunked"));
            let old = *way == "--http1.0";
            // Its second request on such a connection is not HTTP/2, whoever answers.
            let wrong = |case: &&&[&str]| {
                *way == "--http2-prior-knowledge" && case.contains(&"-L")
            };
            let cases =
                CASES.iter().filter(|case| !(old && chunked(case) || wrong(case)));
            for case in cases {
                let run = |url: &str| Told::of(&run(&origin, &dir, way, case, url));
                let direct = run(&origin.url(secured));
                for (street, url) in &streets {
                    let through = run(url);
                    let what =
                        format!("{way} {case:?}, tls: {secured}, {:?}", street.http);
                    assert_eq!(through.status, direct.status, "{what}: {through:?}");
                    assert_eq!(through.heads, direct.heads, "{what}");
                    assert!(through.body == direct.body, "{what}: the body differs");
                }
            }
        }
        for (street, _) in &streets {
            assert_eq!(street.version("v1")["in_flight"], 0);
        }
    }
}

fn run(origin: &Origin, dir: &Dir, way: &str, case: &[&str], url: &str) -> Output {
    let data = dir.path().join("data");
    let parallel = case.contains(&"-Z");
    let mut command = Command::new("curl");
    command.args([
        "-q",
        "-sS",
        "--max-time",
        "120",
        way,
        "--cacert",
        &origin.authority(),
    ]);
    if parallel {
        command.arg("--no-progress-meter");
    } else {
        command.args(["-D", "/dev/stderr"]);
    }
    for arg in case {
        let arg = arg.replace("{}", url);
        // A body that begins with a brace is no address.
        let arg = if arg.starts_with("http") {
            arg
        } else {
            arg.replace('<', data.to_str().unwrap())
        };
        command.arg(arg);
    }
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("curl is needed: {error}"))
}

/// What came of it.
#[derive(Debug)]
struct Told {
    status: Option<i32>,
    heads: Vec<String>,
    body: Vec<u8>,
}

impl Told {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stderr);
        // Nobody reads a reason phrase, and HTTP/2 has none.
        let lines = text.lines().map(|line| match line.split_once(' ') {
            Some((version, rest)) if version.starts_with("HTTP/") => {
                format!("{version} {}", &rest[..3.min(rest.len())])
            }
            _ => line.trim_end().to_owned(),
        });
        // The order of fields is the way's, and so is what is said of the way.
        let mut heads: Vec<String> = lines
            .filter(|line| {
                !WAYS_OWN.iter().any(|own| line.to_ascii_lowercase().starts_with(own))
            })
            .collect();
        heads.sort();
        let mut body = output.stdout.clone();
        if heads.is_empty() {
            // Several at once, in any order.
            body.sort_unstable();
        }
        Self { status: output.status.code(), heads, body }
    }
}

/// Fields of the way, and lines that differ with the connection.
const WAYS_OWN: &[&str] = &[
    "http/1.1 100",
    "http/2 100",
    "date:",
    "server:",
    "hypercorn",
    "connection:",
    "keep-alive:",
    "transfer-encoding:",
    "x-model-version:",
    "x-request-id:",
    "x-switchback-reason:",
    "server-timing:",
    "alt-svc:",
];
