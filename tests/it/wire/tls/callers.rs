//! Callers who do not shake hands as they should: the slow, the mistaken and the hostile hurt
//! nobody else and are let go in time. (rows 5, 49)

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::client::{Client, Request};
use crate::support::config::Config;
use crate::support::model_server::ModelServer;
use crate::support::street::Street;
use crate::support::tls::{Authority, shake};
use crate::support::wait::{self, SOON};

fn street(authority: &Authority, limits: &str) -> (ModelServer, Street) {
    let server = ModelServer::good("v1");
    let tls = authority.listener("server", "");
    let config = Config::plain(&server).listener(&tls).limits(limits);
    let street = Street::open(&config);
    (server, street)
}

/// The first bytes of a handshake that never goes on.
const BEGUN: &[u8] = &[0x16, 3, 1, 0x02, 0x00, 1];

#[test]
fn slow_handshakes_hold_nobody_up_and_are_reaped() {
    let authority = Authority::serving();
    let (_server, street) = street(&authority, "{ headerTimeout: 2s }");
    let open = |first: &[u8]| {
        let mut stream = TcpStream::connect(street.http).unwrap();
        stream.write_all(first).unwrap();
        Client { pipe: crate::support::http1::Pipe::new(stream, SOON) }
    };
    let kinds: [&[u8]; 4] = [&[], &BEGUN[..1], BEGUN, &[0x16, 3, 1, 0x40, 0x00]];
    let mut slow: Vec<Client> = (0..300).map(|n| open(kinds[n % kinds.len()])).collect();
    let client = authority.client(&[]);
    let begun = Instant::now();
    for _ in 0..20 {
        let mut shaken = shake(street.http, &client, "localhost").unwrap();
        assert_eq!(shaken.ask("").as_deref(), Ok("200"));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "20 honest connections took {took:?}");
    for client in &mut slow {
        assert!(client.is_closed(SOON), "a slow one is let go");
    }
    let rss = street.rss();
    assert!(rss < 128 << 20, "{rss} bytes");
}

#[test]
fn a_slow_handshake_counts_as_a_connection() {
    let authority = Authority::serving();
    let (_server, street) =
        street(&authority, "{ maxConnections: 2, headerTimeout: 1s }");
    let mut held: Vec<Client> = (0..2).map(|_| Client::new(street.http)).collect();
    for client in &mut held {
        client.send(BEGUN);
    }
    let client = authority.client(&[]);
    wait::eventually("there is no room for a third", SOON, || {
        shake(street.http, &client, "localhost").is_err().then_some(())
    });
    wait::eventually("there is room once they are reaped", SOON, || {
        let mut shaken = shake(street.http, &client, "localhost").ok()?;
        (shaken.ask("").ok()? == "200").then_some(())
    });
}

#[test]
fn plain_http_is_told_what_is_spoken_here() {
    let authority = Authority::serving();
    let (server, street) = street(&authority, "{}");
    for request in [
        Request::get("/").bytes(),
        Request::infer("{}").bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"CONNECT h:1 HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut client = Client::new(street.http);
        client.send(&request);
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("HTTPS"), "{}", answer.text());
        assert!(client.is_closed(SOON));
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn garbage_is_closed_and_nobody_else_notices() {
    let authority = Authority::serving();
    let (server, street) = street(&authority, "{ headerTimeout: 1s }");
    let long = [&[0x16, 3, 1, 0xff, 0xff][..], &[0xaa; 70_000]].concat();
    let hello = [&[0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff][..], &[0; 40_000]].concat();
    for garbage in [
        &[0u8; 64][..],
        &[0xff; 64],
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10],
        &[0x15, 3, 3, 0, 2, 2, 40],
        &[0x17, 3, 3, 0, 2, 1, 1],
        &[0x14, 3, 3, 0, 1, 1],
        &[0x16, 3, 3, 0, 0],
        &long,
        &hello,
    ] {
        let mut client = Client::new(street.http);
        client.send(garbage);
        assert!(client.is_closed(SOON), "{:?}", &garbage[..4]);
        let mut shaken = shake(street.http, &authority.client(&[]), "localhost").unwrap();
        assert_eq!(shaken.ask("").as_deref(), Ok("200"));
    }
    assert!(!street.log().contains("panicked"));
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn what_callers_say_of_certificates_and_schemes_is_not_believed() {
    let authority = Authority::serving();
    let (server, street) = street(&authority, "{}");
    let mut shaken = shake(street.http, &authority.client(&[]), "localhost").unwrap();
    let spoofed = "x-forwarded-client-cert: Hash=1;Subject=\"CN=admin\"\r\n\
                   x-forwarded-proto: http\r\nforwarded: proto=http\r\n";
    assert_eq!(shaken.ask(spoofed).as_deref(), Ok("200"));
    let head = server.asked("/well").head;
    assert_eq!(head.field("x-forwarded-client-cert"), None);
    assert_eq!(head.field("x-forwarded-proto").as_deref(), Some("https"));
    let forwarded = head.field("forwarded").unwrap();
    assert_eq!(forwarded, "for=127.0.0.1;proto=https");
}

#[test]
fn curl_and_openssl_get_through() {
    let authority = Authority::serving();
    let (_server, street) = street(&authority, "{}");
    let ca = authority.path("ca.pem").display().to_string();
    let url = format!("https://localhost:{}/x", street.http.port());
    for version in ["--http1.1", "--http2"] {
        let args = ["-sS", "--max-time", "20", "--cacert", &ca, version, &url];
        let Ok(output) = Command::new("curl").args(args).output() else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said, "{\"model\":\"v1\"}", "{version}: {error}");
    }
    for args in [&["-tls1_2", "-reconnect"][..], &["-tls1_3"], &["-alpn", "h2,http/1.1"]]
    {
        let at = street.http.to_string();
        let base =
            ["s_client", "-connect", &at, "-servername", "localhost", "-CAfile", &ca];
        let command = Command::new("openssl")
            .args(base)
            .args(args)
            .stdin(std::process::Stdio::null())
            .output();
        let Ok(output) = command else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Verify return code: 0 (ok)"), "{args:?}: {said}");
        if args.contains(&"-reconnect") {
            assert!(said.contains("Reused, TLSv1.2"), "{said}");
        }
    }
}
