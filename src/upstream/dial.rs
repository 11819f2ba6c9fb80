//! `dial`: a TCP connection to whichever address of a server takes it first.
//!
//! The next address is tried as soon as one refuses, and beside one that is silent for a
//! moment (RFC 8305 section 5), so that one dead address of several costs nobody a request.
//! Nothing is looked up here: addresses are what the resolver has put into the endpoint.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use thiserror::Error;
use tokio::net::TcpStream;

use super::endpoint::Endpoint;
use super::spots::Spot;
use crate::clock;

/// Why a name leads nowhere.
#[derive(Debug, Error)]
#[error("no address is known for {name}: {why}")]
struct Unresolved {
    name: String,
    why: String,
}

/// Connects to one of the endpoint's addresses, which is given beside the connection. Who
/// calls bounds the time.
///
/// # Errors
/// What the last address said, or that no address is known.
pub(super) async fn dial(endpoint: &Endpoint) -> io::Result<(TcpStream, SocketAddr)> {
    let spots = endpoint.spots();
    let order = spots.order(clock::wall());
    if let [only] = &order[..] {
        return Ok((TcpStream::connect(only.at).await?, only.at));
    }
    let mut last = unresolved(endpoint, spots.why.as_deref());
    let mut left = order.into_iter().peekable();
    let mut under_way = FuturesUnordered::new();
    let mut begun: Vec<Arc<Spot>> = Vec::new();
    loop {
        if let Some(next) = left.next() {
            begun.push(Arc::clone(&next));
            under_way.push(attempt(next));
        }
        let ended = if left.peek().is_some() {
            tokio::time::timeout(STAGGER, under_way.next()).await
        } else {
            Ok(under_way.next().await)
        };
        match ended {
            Ok(Some((spot, Ok(stream)))) => {
                // Those that were asked before it and have not answered are slow.
                let until = clock::wall().after(AVOIDED);
                let before = begun.iter().take_while(|one| !Arc::ptr_eq(one, &spot));
                before.for_each(|slow| slow.avoid(until));
                return Ok((stream, spot.at));
            }
            Ok(Some((spot, Err(error)))) => {
                spot.avoid(clock::wall().after(AVOIDED));
                last = error;
                if left.peek().is_none() && under_way.is_empty() {
                    return Err(last);
                }
            }
            Ok(None) => return Err(last),
            Err(_) => {}
        }
    }
}

async fn attempt(spot: Arc<Spot>) -> (Arc<Spot>, io::Result<TcpStream>) {
    let connected = TcpStream::connect(spot.at).await;
    (spot, connected)
}

fn unresolved(endpoint: &Endpoint, why: Option<&str>) -> io::Error {
    let (name, why) = (endpoint.host().to_owned(), why.unwrap_or("not looked up yet"));
    let error = Unresolved { name, why: why.to_owned() };
    io::Error::new(io::ErrorKind::NotFound, error)
}

/// How long an address may be silent before the next is tried beside it: the connection
/// attempt delay that RFC 8305 recommends.
const STAGGER: Duration = Duration::from_millis(250);

/// How long an address that refused is tried after the others.
const AVOIDED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::TcpListener;

    use super::dial;
    use crate::upstream::{Address, Endpoint};

    fn named() -> Endpoint {
        Endpoint::new(Address::Tcp { host: "models".into(), port: 1, tls: false })
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let endpoint = named();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // The same port of another loopback address: nobody listens there.
        let bad = SocketAddr::new([127, 0, 0, 9].into(), good.port());
        endpoint.move_to(&[bad, good]);
        for _ in 0..4 {
            assert_eq!(dial(&endpoint).await.unwrap().1, good);
        }
        endpoint.move_to(&[bad]);
        let error = dial(&endpoint).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_silent_address_holds_nobody_up() {
        let endpoint = named();
        // A listener whose queue is full takes no more connections and refuses none.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        let mut held = Vec::new();
        for _ in 0..8 {
            let connect = tokio::net::TcpStream::connect(silent);
            held.extend(tokio::time::timeout(super::STAGGER / 5, connect).await);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        endpoint.move_to(&[silent, good]);
        for _ in 0..3 {
            assert_eq!(dial(&endpoint).await.unwrap().1, good);
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_says_so() {
        let error = dial(&named()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no address is known for models: not looked up yet"
        );
        let endpoint = named();
        endpoint.is_nowhere("there is no such name");
        let error = dial(&endpoint).await.unwrap_err().to_string();
        assert!(error.ends_with("there is no such name"), "{error}");
    }
}
