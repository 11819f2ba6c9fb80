//! Directions of a tunnel over pipes in memory.

use std::future::poll_fn;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::Way;

async fn step(
    way: &mut Way,
    from: &mut tokio::io::DuplexStream,
    to: &mut tokio::io::DuplexStream,
) -> bool {
    poll_fn(|cx| {
        let polled = way.poll(cx, from, to);
        std::task::Poll::Ready(matches!(polled, std::task::Poll::Ready(Ok(()))))
    })
    .await
}

#[tokio::test]
async fn what_came_ahead_goes_first_and_the_end_is_passed_on() {
    let ((mut caller, mut near), (mut far, mut server)) = (duplex(64), duplex(64));
    let mut way = Way::new(BytesMut::from(&b"ahead "[..]));
    caller.write_all(b"then this").await.unwrap();
    assert!(!step(&mut way, &mut near, &mut far).await);
    drop(caller);
    assert!(step(&mut way, &mut near, &mut far).await, "over");
    let mut all = String::new();
    drop(far);
    server.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "ahead then this");
}

#[tokio::test]
async fn words_of_ours_come_only_between_frames() {
    let ((mut caller, mut near), (mut far, _server)) = (duplex(64), duplex(64));
    let mut way = Way::new(BytesMut::new());
    caller.write_all(&[0x81, 2, b'h']).await.unwrap();
    step(&mut way, &mut near, &mut far).await;
    assert!(way.close(1001, None).is_empty(), "within a frame");
    caller.write_all(b"i").await.unwrap();
    step(&mut way, &mut near, &mut far).await;
    assert_eq!(way.close(1001, None), [0x88, 2, 0x03, 0xe9]);
    caller.write_all(&[0x88, 0]).await.unwrap();
    step(&mut way, &mut near, &mut far).await;
    assert!(way.close(1001, None).is_empty(), "after a close");
}

#[tokio::test]
async fn a_side_that_does_not_read_holds_the_other_back() {
    let ((mut caller, mut near), (mut far, mut server)) = (duplex(64), duplex(4));
    let mut way = Way::new(BytesMut::new());
    caller.write_all(&[7; 32]).await.unwrap();
    step(&mut way, &mut near, &mut far).await;
    assert_eq!(way.rest.len(), 28, "no more was read than fits");
    assert!(way.moved() && !way.moved());
    let mut some = [0; 4];
    server.read_exact(&mut some).await.unwrap();
    step(&mut way, &mut near, &mut far).await;
    assert_eq!(way.rest.len(), 24);
}
