//! `ask`: one question to the name servers, over UDP and where need be over TCP.
//!
//! A datagram that does not answer the question is treated as if it had not come, so that
//! nobody beside the servers can answer by guessing; the port is the kernel's choice and the
//! number of the question cannot be foretold either.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::message::{Fqdn, Kind, Reply, question, read};

/// What the servers know of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has these addresses for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// It has none of that kind.
    Nothing,
}

/// Why nothing is known of a name.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// Nobody answered in time.
    #[error("name server {0} does not answer")]
    Silent(SocketAddr),
    /// The network said no.
    #[error("cannot ask name server {0}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// The server could not or would not.
    #[error("name server {server} answers {}", rcode(*.code))]
    Refused { server: SocketAddr, code: u8 },
    /// It stands for another name, which stands for another, and so on.
    #[error("the name stands for others without end")]
    Endless,
}

/// Asks the servers one after the other until one knows, all of them twice. Each has
/// `patience` to answer.
///
/// # Errors
/// [`AskError`] of the last server that was asked.
pub(super) async fn ask(
    servers: &[SocketAddr],
    name: &Fqdn,
    kind: Kind,
    patience: Duration,
) -> Result<Answer, AskError> {
    let (mut name, mut ttl) = (name.clone(), u32::MAX);
    for _ in 0..ALIASES {
        match ask_all(servers, &name, kind, patience).await? {
            Reply::Addresses(all, least) => {
                return Ok(Answer::Addresses(all, least.min(ttl)));
            }
            Reply::Alias(next, least) => (name, ttl) = (next, least.min(ttl)),
            Reply::Nothing | Reply::Truncated | Reply::Refused(_) => {
                return Ok(Answer::Nothing);
            }
        }
    }
    Err(AskError::Endless)
}

async fn ask_all(
    servers: &[SocketAddr],
    name: &Fqdn,
    kind: Kind,
    patience: Duration,
) -> Result<Reply, AskError> {
    let mut last = AskError::Endless;
    for _ in 0..ROUNDS {
        let mut was_silent = false;
        for server in servers {
            match ask_one(*server, name, kind, patience).await {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    was_silent |= !matches!(error, AskError::Refused { .. });
                    last = error;
                }
            }
        }
        // Who has answered that it cannot will say so again.
        if !was_silent {
            break;
        }
    }
    Err(last)
}

/// Asks one server; without EDNS if it does not know that.
async fn ask_one(
    server: SocketAddr,
    name: &Fqdn,
    kind: Kind,
    patience: Duration,
) -> Result<Reply, AskError> {
    for edns in [true, false] {
        let asked = exchange(server, name, kind, edns);
        let answered = tokio::time::timeout(patience, asked).await;
        match answered.map_err(|_| AskError::Silent(server))? {
            Ok(Reply::Refused(FORMAT_ERROR | NOT_IMPLEMENTED)) if edns => {}
            Ok(Reply::Refused(code)) => return Err(AskError::Refused { server, code }),
            Ok(reply) => return Ok(reply),
            Err(error) => return Err(AskError::Unreachable(server, error)),
        }
    }
    Err(AskError::Refused { server, code: FORMAT_ERROR })
}

async fn exchange(
    server: SocketAddr,
    name: &Fqdn,
    kind: Kind,
    edns: bool,
) -> io::Result<Reply> {
    let any: IpAddr = if server.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From here on the kernel drops what comes from elsewhere.
    socket.connect(server).await?;
    let id = number();
    socket.send(&question(id, name, kind, edns)).await?;
    let mut bytes = [0; DATAGRAM];
    loop {
        let length = socket.recv(&mut bytes).await?;
        match read(&bytes[..length], id, name, kind) {
            Ok(Reply::Truncated) => return over_tcp(server, name, kind, edns).await,
            Ok(reply) => return Ok(reply),
            Err(garbage) => tracing::debug!(%server, %garbage, "not an answer"),
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    name: &Fqdn,
    kind: Kind,
    edns: bool,
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let id = number();
    let asked = question(id, name, kind, edns);
    let length = u16::try_from(asked.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&length[..], &asked].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    match read(&bytes, id, name, kind) {
        Ok(Reply::Truncated) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "cut short over TCP"))
        }
        Ok(reply) => Ok(reply),
        Err(garbage) => Err(io::Error::new(io::ErrorKind::InvalidData, garbage)),
    }
}

/// A number that nobody can foretell: each hasher of this kind has keys that come from the
/// operating system's random numbers.
fn number() -> u16 {
    let [a, b, ..] = RandomState::new().hash_one(fastrand::u64(..)).to_be_bytes();
    u16::from_be_bytes([a, b])
}

/// An RCODE as people know it.
fn rcode(code: u8) -> String {
    match code {
        FORMAT_ERROR => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        NOT_IMPLEMENTED => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        code => format!("RCODE {code}"),
    }
}

const FORMAT_ERROR: u8 = 1;
const NOT_IMPLEMENTED: u8 = 4;
/// A lost datagram is no outage.
const ROUNDS: usize = 2;
/// Names that stand for another, one after the other, over several answers.
const ALIASES: usize = 8;
/// Some servers send more than they were told to.
const DATAGRAM: usize = 4096;
