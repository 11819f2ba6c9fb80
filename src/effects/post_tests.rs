//! The client against servers that answer well, badly, slowly and not at all.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName};
use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{BODY, Call, Client, Limits, PostError, Target};
use crate::tasks;
use crate::tls::testing::Server;
use crate::tls::{ClientSettings, TlsClient};

/// A server that answers each connection with those bytes and tells what it was asked.
async fn server(answer: Vec<u8>) -> (Target, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base?x=1", listener.local_addr().unwrap());
    let (asked, seen) = mpsc::unbounded_channel();
    let _task = tasks::shared("test server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            let _told = asked.send(request);
            let _sent = stream.write_all(&answer).await;
        }
    });
    (Target::parse(&url, true).unwrap(), seen)
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return text,
        }
    }
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn a_value_is_posted_and_the_answer_comes_back() {
    let (target, mut seen) = server(ok("{\"a\":1}")).await;
    let call = Call::json(Method::POST, &json!({ "summary": "x\r\nX-Evil: 1" })).unwrap();
    let call = call.header(AUTHORIZATION, "Bearer secret").unwrap();
    assert!(!format!("{call:?}").contains("secret"), "{call:?}");
    let answer = Client::default().send(&target, call).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"{\"a\":1}"[..]));
    let asked = seen.recv().await.unwrap();
    assert!(asked.starts_with("POST /base?x=1 HTTP/1.1\r\n"), "{asked}");
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("authorization: Bearer secret"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("x-evil"), "{head}");
    assert_eq!(body, "{\"summary\":\"x\\r\\nX-Evil: 1\"}");
}

#[test]
fn a_header_cannot_end_its_line() {
    for value in ["a\r\nb: c", "a\nb", "\0"] {
        let name = HeaderName::from_static("x-a");
        assert!(Call::get().header(name, value).is_err(), "{value:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (inner, mut asked) = server(ok("secret")).await;
    let moved = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n",
        inner.origin()
    );
    let (target, _seen) = server(moved.into_bytes()).await;
    let answer = Client::default().post_json(&target, &json!({})).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND);
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_bound() {
    let (target, _seen) = server(ok(&"x".repeat(BODY + 1))).await;
    let answer = Client::default().post_json(&target, &json!({})).await.unwrap();
    assert_eq!((answer.body.len(), answer.is_cut), (BODY, true));
    let (target, _seen) = server(ok(&"x".repeat(BODY))).await;
    let answer = Client::default().post_json(&target, &json!({})).await.unwrap();
    assert_eq!((answer.body.len(), answer.is_cut), (BODY, false));
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"a: b\r\n".repeat(50_000)].concat();
    for answer in [
        Vec::new(),
        b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf".to_vec(),
        endless,
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        let (target, _seen) = server(answer).await;
        let said = Client::default().post_json(&target, &json!({})).await;
        assert!(matches!(said, Err(PostError::Exchange { .. })), "{shown}: {said:?}");
    }
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target::parse(&format!("http://{free}/"), true).unwrap();
    let said = Client::default().post_json(&target, &json!({})).await;
    assert!(matches!(said, Err(PostError::Connect { .. })), "{said:?}");
}

#[tokio::test]
async fn each_part_has_its_limit() {
    let short = Duration::from_millis(40);
    let long = Duration::from_secs(60);
    let limits = Limits { connect: long, head: long, body: long };
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = format!("http://{}/", mute.local_addr().unwrap());
    let mute = Target::parse(&mute, true).unwrap();
    let head = Client::default().within(Limits { head: short, ..limits });
    let said = head.post_json(&mute, &json!({})).await.unwrap_err();
    assert!(matches!(said, PostError::Late { .. }), "{said:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let _task = tasks::shared("half", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
        stream.write_all(half).await.unwrap();
        std::future::pending::<()>().await;
    });
    let body = Client::default().within(Limits { body: short, ..limits });
    let half = Target::parse(&url, true).unwrap();
    let said = body.post_json(&half, &json!({})).await.unwrap_err();
    assert_eq!(said.to_string(), "127.0.0.1 took longer than 40ms to end its answer");

    let tls = Client::default().within(Limits { connect: short, ..limits });
    let url = format!("https://127.0.0.1:{}/", mute.port);
    let said = tls.post_json(&Target::parse(&url, true).unwrap(), &json!({})).await;
    assert!(matches!(said, Err(PostError::Late { .. })), "{said:?}");
}

#[tokio::test]
async fn a_name_that_stands_for_an_inner_address_leads_nowhere() {
    let (target, mut asked) = server(ok("secret")).await;
    let url = format!("https://localhost:{}/", target.port);
    let target = Target::parse(&url, false).unwrap();
    let said = Client::default().post_json(&target, &json!({})).await;
    assert!(matches!(said, Err(PostError::Refused { .. })), "{said:?}");
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn tls_is_spoken_to_those_that_are_vouched_for() {
    let server = Server::start().await;
    let url = format!("https://localhost:{}/", server.address().port());
    let target = Target::parse(&url, true).unwrap();
    let settings =
        ClientSettings { ca_file: Some(server.ca_file()), ..ClientSettings::default() };
    let client = Client::new(TlsClient::new(&settings).unwrap());
    let answer = client.post_json(&target, &json!({ "a": 1 })).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"ok"[..]));
    let said = Client::default().post_json(&target, &json!({})).await;
    assert!(matches!(said, Err(PostError::Tls { .. })), "{said:?}");
}
