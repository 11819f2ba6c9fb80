//! Streams of events: what comes again after a cut, how many there may be, and what
//! becomes of who takes none.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::support::{Side, status};
use crate::admin::{AdminClient, Heard};
use crate::vocab::ids::Name;

fn client(side: &Side) -> AdminClient {
    AdminClient::new(&format!("http://{}", side.admin), None).unwrap()
}

fn tell(side: &Side, numbers: std::ops::Range<u64>) {
    let route = Name::parse("iris").unwrap();
    for number in numbers {
        side.feed.tell("weight.set", Some(&route), None, number.into());
    }
}

#[tokio::test]
async fn events_come_as_they_happen_and_again_after_a_cut() {
    let side = Side::begin(Vec::new());
    let client = client(&side);
    let mut stream = client.events(None).await.unwrap();
    tell(&side, 0..3);
    let mut ids = Vec::new();
    for number in 0..3_u64 {
        let Some(Heard::Event(event)) = stream.next().await.unwrap() else { panic!() };
        assert_eq!((&*event.kind, event.data.as_u64()), ("weight.set", Some(number)));
        ids.push(event.id);
    }
    drop(stream);
    tell(&side, 3..4);
    let mut again = client.events(Some(ids[1])).await.unwrap();
    for number in 2..4_u64 {
        let Some(Heard::Event(event)) = again.next().await.unwrap() else { panic!() };
        assert_eq!(event.data.as_u64(), Some(number));
    }
    let mut late = client.events(Some(7)).await.unwrap();
    assert_eq!(late.next().await.unwrap(), Some(Heard::Missed));
    let Some(Heard::Event(event)) = late.next().await.unwrap() else { panic!() };
    assert_eq!(event.data.as_u64(), Some(0));

    side.stop.send(()).unwrap();
    assert_eq!(again.next().await.unwrap(), None, "a shutdown ends the stream");
    timeout(Duration::from_secs(4), side.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn so_many_streams_and_no_more() {
    let side = Side::begin(Vec::new());
    let client = client(&side);
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(client.events(None).await.unwrap());
    }
    let refused = client.events(None).await.unwrap_err().to_string();
    assert_eq!(refused, "there are 16 event streams already: end one (HTTP 503)");
    assert_eq!(side.get("/api/v1/status", "").await.status, 200);
    streams.pop();
    let mut tries = 0;
    while client.events(None).await.is_err() {
        tries += 1;
        assert!(tries < 1_000, "a place is never free again");
        tokio::task::yield_now().await;
    }
    let odd = side.get("/api/v1/events", "last-event-id: seven\r\n").await;
    assert_eq!(odd.status, 400, "{}", odd.body);
}

#[tokio::test]
async fn who_falls_behind_is_told_and_dropped_and_holds_up_nobody() {
    let side = Side::begin(Vec::new());
    let mut slow = TcpStream::connect(side.admin).await.unwrap();
    slow.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 64];
    assert!(slow.read(&mut head).await.unwrap() > 0);
    let mut quick = client(&side).events(None).await.unwrap();
    // More than the sockets between hold, so that the rest is only in the ring.
    let large = "x".repeat(32 << 10);
    for number in 0..2_000_u64 {
        side.feed.tell("large", None, None, large.clone().into());
        let heard = quick.next().await.unwrap();
        assert!(matches!(heard, Some(Heard::Event(_))), "{number}");
    }
    let mut rest = Vec::new();
    timeout(Duration::from_secs(20), async {
        while !rest.windows(14).any(|it| it == b"event: missed\n") {
            let got = slow.read_buf(&mut rest).await.unwrap();
            assert!(got > 0, "cut before anything was said");
        }
    })
    .await
    .unwrap();
    // The end of a chunked body: the stream is over.
    timeout(Duration::from_secs(20), async {
        while !rest.ends_with(b"0\r\n\r\n") {
            assert!(slow.read_buf(&mut rest).await.unwrap() > 0);
        }
    })
    .await
    .unwrap();
    assert_eq!(status().routes.len(), 2);
}
