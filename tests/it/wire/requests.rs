//! Hostile HTTP/1.1 requests in their many spellings, for `hygiene.rs` to send: rows 1 to 14
//! of the list of threats.

/// One hostile request.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which class it belongs to.
    pub row: u8,
    /// All of it, up to and with what it smuggles.
    pub bytes: Vec<u8>,
    /// What has to follow.
    pub must: Must,
}

/// What has to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// A refusal, or the end of the connection, which in either case is used no more.
    End,
    /// A refusal; the connection may go on.
    Refuse,
    /// Whatever keeps the server from harm.
    BeSafe,
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: models.test\r\n\r\n";

/// All of them.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for rows in
        [framing, codings, lengths, old, chunks, upgrades, targets, hosts, options]
    {
        cases.extend(rows());
    }
    cases.extend(lines());
    cases.extend(fields());
    cases.extend(expectations());
    cases
}

fn case(row: u8, must: Must, text: impl AsRef<[u8]>) -> Case {
    Case { row, must, bytes: text.as_ref().to_vec() }
}

/// A `POST` with these fields and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST /t HTTP/1.1\r\nHost: models.test\r\n{fields}\r\n{body}")
}

/// Row 1: both ways to say a length.
fn framing() -> Vec<Case> {
    let inner = format!("0\r\n\r\n{SMUGGLED}");
    let (length, short) =
        (format!("Content-Length: {}\r\n", inner.len()), "Content-Length: 5\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    [
        post(&format!("{length}{chunked}"), &inner),
        post(&format!("{chunked}{length}"), &inner),
        post(&format!("{short}{chunked}"), &inner),
        post(&format!("{chunked}{short}"), &format!("5\r\nabcde\r\n{inner}")),
        post(&format!("Content-Length: 0\r\n{chunked}"), &inner),
        post(&format!("{chunked}Connection: Content-Length\r\n{length}"), &inner),
    ]
    .map(|text| case(1, Must::End, text))
    .into()
}

/// Row 2: anything but exactly one `chunked`.
fn codings() -> Vec<Case> {
    let values = [
        "identity",
        "identity, chunked",
        "chunked, identity",
        "chunked, chunked",
        ",chunked",
        "chunked,",
        "gzip",
        "gzip, chunked",
        "x",
        "",
        "\"chunked\"",
        "'chunked'",
        "chunked;q=1",
        "chunked; a",
        "chunke",
        "chunkedd",
        "xchunked",
        "chunked\u{b}",
        "\u{b}chunked",
        "chunked\u{c}",
        "chu\u{0}nked",
        "chunked\u{0}",
        "\r\n chunked",
        "\r\n\tchunked",
        "chunk\r\n ed",
        "cow",
        "chunked\u{a0}",
        "ch\u{fc}nked",
        "trailers, chunked",
        "deflate\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "chunked\rX: y",
    ];
    let inner = format!("0\r\n\r\n{SMUGGLED}");
    let mut cases: Vec<Case> = values
        .iter()
        .map(|value| post(&format!("Transfer-Encoding: {value}\r\n"), &inner))
        .map(|text| case(2, Must::End, latin(&text)))
        .collect();
    let names = [
        "Transfer-Encoding ",
        " Transfer-Encoding",
        "Transfer-Encoding\t",
        "Transfer\rEncoding",
    ];
    cases.extend(
        names.map(|name| {
            case(2, Must::End, post(&format!("{name}: chunked\r\n"), &inner))
        }),
    );
    // Another name, which must not become this one behind a server that folds underscores.
    for name in ["Transfer_Encoding", "transfer-encodin", "Content_Length"] {
        cases.push(case(2, Must::BeSafe, post(&format!("{name}: chunked\r\n"), &inner)));
    }
    cases
}

/// Row 3: lengths that are none.
fn lengths() -> Vec<Case> {
    let values = [
        "+3",
        "-1",
        "-0",
        "0x3",
        "1_0",
        "3, 30",
        "3,3",
        "3 3",
        "3;",
        "3.0",
        "3e1",
        "",
        " ",
        "three",
        "18446744073709551616",
        "99999999999999999999999",
        "\u{b2}",
        "3\u{0}",
        "\r\n 3",
        "3\r\n 0",
        "3\r\nContent-Length: 30",
        "3\r\nContent-Length: 3",
        "\"3\"",
        "0b11",
        "3\u{b}",
        "\u{a0}3",
    ];
    values
        .iter()
        .map(|value| {
            post(&format!("Content-Length: {value}\r\n"), &format!("abc{SMUGGLED}"))
        })
        .map(|text| case(3, Must::End, latin(&text)))
        .collect()
}

/// Row 4: HTTP/1.0 and chunks.
fn old() -> Vec<Case> {
    let inner = format!("0\r\n\r\n{SMUGGLED}");
    let fields = ["", "Connection: keep-alive\r\n", "Content-Length: 5\r\n"];
    let te = |fields: &&str| {
        let text = format!(
            "POST /t HTTP/1.0\r\nHost: models.test\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{inner}"
        );
        case(4, Must::End, text)
    };
    fields.iter().map(te).collect()
}

/// Row 5: chunks that are none.
fn chunks() -> Vec<Case> {
    let bodies = [
        "3;\nxx\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcXX0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3_\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "3\r\r\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "3;a\u{0}\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\n\r\n",
        "3\r\nabc\r\n0\r\n bad\r\n\r\n",
        "3\r\nabc\r\n0\r\nno colon\r\n\r\n",
        "2\r\nok\r\n3\r\nabcd\r\n0\r\n\r\n",
        "2\r\nok\r\nzz\r\n0\r\n\r\n",
        &format!("1;{}\r\na\r\n", "e".repeat(900)).repeat(30),
    ];
    let text = |body: &&str| {
        let text = post("Transfer-Encoding: chunked\r\n", &format!("{body}{SMUGGLED}"));
        case(5, Must::End, text)
    };
    bodies.iter().map(text).collect()
}

/// Row 7: upgrades that must not become tunnels.
fn upgrades() -> Vec<Case> {
    let values = ["h2c", "h2c, websocket", "websocket, h2c", "TLS/1.0", "foo", "h2"];
    let with_body = "GET /t HTTP/1.1\r\nHost: models.test\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nContent-Length: 3\r\n\r\nabc";
    let old = "GET /t HTTP/1.0\r\nHost: models.test\r\nConnection: Upgrade\r\n\
               Upgrade: websocket\r\n\r\n";
    let more = [case(7, Must::End, with_body), case(7, Must::BeSafe, old)];
    let ask = |value: &&str| {
        let text = format!(
            "GET /t HTTP/1.1\r\nHost: models.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {value}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        );
        case(7, Must::BeSafe, text)
    };
    values.iter().map(ask).chain(more).collect()
}

/// Row 8: targets that are not the route table's.
fn targets() -> Vec<Case> {
    let refused = [
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "CONNECT models.test:443 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "GET models.test:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\u{1}a HTTP/1.1",
        "GET \\evil HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "G@T / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET / HTTP/2.0",
        "GET / HTTP/3",
        "GET / HTTP/1.15",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / FTP/1.1",
        "GET /",
        "GET / HTTP/ 1.1",
        "(GET) / HTTP/1.1",
    ];
    let safe = [
        "GET http://evil.test/t HTTP/1.1",
        "GET http://evil.test:99/t HTTP/1.1",
        "GET https://user:pass@models.test/t HTTP/1.1",
        "GET ftp://evil.test/t HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET http:///t HTTP/1.1",
        "GET //evil.test/t HTTP/1.1",
        "GET /t#fragment HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET /../../t HTTP/1.1",
        "GET /%0d%0aX:%20y HTTP/1.1",
        "GET /%00 HTTP/1.1",
        "TRACE /t HTTP/1.1",
        "PRI * HTTP/1.1",
    ];
    let ask =
        |line: &str, must| case(8, must, format!("{line}\r\nHost: models.test\r\n\r\n"));
    let refused = refused.iter().map(|line| ask(line, Must::Refuse));
    refused.chain(safe.iter().map(|line| ask(line, Must::BeSafe))).collect()
}

/// Row 11: hosts that are none.
fn hosts() -> Vec<Case> {
    let values = [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a, b\r\n",
        "Host: a@b\r\n",
        "Host: localhost/evil\r\n",
        "Host: a b\r\n",
        "Host: a\u{0}b\r\n",
        "Host: a\tb\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a:b\r\n",
        "Host: a:80:80\r\n",
        "Host: [::1\r\n",
        "Host: \"a\"\r\n",
        "Host: <a>\r\n",
        "Host: a\\b\r\n",
        "Host : a\r\n",
        " Host: a\r\n",
        "Host: a\r\n b\r\n",
        "Host: \u{fc}\r\n",
        "Host: http://a\r\n",
    ];
    let ask = |fields: &&str| format!("GET /t HTTP/1.1\r\n{fields}\r\n");
    values.iter().map(ask).map(|text| case(11, Must::Refuse, latin(&text))).collect()
}

/// Row 12: fields that a connection option may not take away.
fn options() -> Vec<Case> {
    let names = [
        "Host",
        "Authorization",
        "Content-Length",
        "Transfer-Encoding",
        "Cookie",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Content-Type",
    ];
    let named = |name: &&str| {
        let lists =
            [format!("close, {name}"), name.to_ascii_lowercase(), format!("x,{name} ,y")];
        lists.map(|list| {
            let must = if *name == "Content-Type" { Must::BeSafe } else { Must::Refuse };
            let fields = format!(
                "Connection: {list}\r\nAuthorization: secret\r\nContent-Length: 0\r\n"
            );
            case(12, must, post(&fields, ""))
        })
    };
    names.iter().flat_map(named).collect()
}

/// Lines that end or begin as they must not.
fn lines() -> Vec<Case> {
    let texts = [
        "GET /t HTTP/1.1\nHost: models.test\n\n",
        "GET /t HTTP/1.1\r\nHost: models.test\n\r\n",
        "GET /t HTTP/1.1\rHost: models.test\r\r",
        "GET /t HTTP/1.1\r\n Host: models.test\r\n\r\n",
        "GET /t HTTP/1.1\r\n\tX: y\r\nHost: models.test\r\n\r\n",
        "GET /t HTTP/1.1\r\r\nHost: models.test\r\n\r\n",
        "\u{0}GET /t HTTP/1.1\r\nHost: m\r\n\r\n",
    ];
    let refused = [
        "\nGET /t HTTP/1.1\r\nHost: m\r\n\r\n",
        "\r\n\nGET /t HTTP/1.1\r\nHost: m\r\n\r\n",
        "\n\nGET /t HTTP/1.1\r\nHost: m\r\n\r\n",
        "GET /t\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
        "GET /t  HTTP/1.1\r\nHost: m\r\n\r\n",
        "GET /t HTTP/1.1\r\nHost: m\r\nConnection: \u{e9}, x\r\n\r\n",
    ];
    let refused = refused.iter().map(|text| case(5, Must::End, latin(text)));
    texts.iter().map(|text| case(5, Must::BeSafe, text)).chain(refused).collect()
}

/// Fields that are none.
fn fields() -> Vec<Case> {
    let values = [
        "no colon",
        ": empty",
        "X Y: z",
        "X\t: z",
        "X : z",
        "X\u{0}: z",
        "X: a\u{0}b",
        "X: a\rb",
        "X: a\u{7}b",
        "X\u{e9}: z",
        "X: a\r\n folded",
        "X(y): z",
        "X: a\u{7f}",
        "\u{b}X: y",
        "X: y\r\n\r",
        "@: z",
        "X=Y: z",
    ];
    let ask =
        |line: &&str| format!("GET /t HTTP/1.1\r\nHost: models.test\r\n{line}\r\n\r\n");
    values.iter().map(ask).map(|text| case(5, Must::End, latin(&text))).collect()
}

/// Row 14: expectations that nobody has.
fn expectations() -> Vec<Case> {
    let values =
        ["y 100-continue", "100-continue, x", "x", "200-ok", "100-continue;q=1", ""];
    let ask = |value: &&str| {
        let fields = format!("Expect: {value}\r\nContent-Length: {}\r\n", SMUGGLED.len());
        case(14, Must::BeSafe, post(&fields, SMUGGLED))
    };
    values.iter().map(ask).collect()
}

/// One byte a character, so that bytes above 127 can be written as characters.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}
