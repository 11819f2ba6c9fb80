//! The questions and answers of DNS as bytes (RFC 1035 section 4, RFC 6891): the address of
//! a name is asked for, and what comes back is read without trusting any of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Which kind of address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `A`
    V4,
    /// `AAAA`
    V6,
}

/// A whole name in the form of the wire, lower case, without the zero at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fqdn(Vec<u8>);

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The name has these addresses for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// The name stands for another, of which nothing is said, for so many seconds.
    Alias(Fqdn, u32),
    /// There is no such name, or it has no address of that kind.
    Nothing,
    /// The whole answer needs TCP.
    Truncated,
    /// The server could not or would not answer: its RCODE.
    Refused(u8),
}

/// Why bytes are no answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Garbage {
    /// Its end.
    #[error("it is cut short")]
    Short,
    /// A name that is too long, or leads forwards.
    #[error("it has a name that is none")]
    Name,
    /// Another id, or another question.
    #[error("it answers another question")]
    Other,
    /// Aliases without an end.
    #[error("a name in it stands for itself")]
    Circle,
}

impl Fqdn {
    /// A name in the usual form; `None` when DNS cannot have it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 1);
        for label in text.split('.') {
            let length =
                u8::try_from(label.len()).ok().filter(|n| (1..=63).contains(n))?;
            wire.push(length);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        (wire.len() < NAME).then_some(Self(wire))
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.0[..];
        let mut dot = "";
        while let Some((length, after)) = rest.split_first() {
            let (label, next) = after.split_at(usize::from(*length).min(after.len()));
            // A server may put anything into a name.
            write!(f, "{dot}{}", label.escape_ascii())?;
            (rest, dot) = (next, ".");
        }
        Ok(())
    }
}

/// The question, with EDNS for long answers or without it for servers that know none.
#[must_use]
pub fn question(id: u16, name: &Fqdn, kind: Kind, edns: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(id.to_be_bytes());
    bytes.extend([RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
    bytes.extend(&name.0);
    bytes.push(0);
    bytes.extend([0, kind.code(), 0, INTERNET]);
    if edns {
        let [high, low] = LONGEST.to_be_bytes();
        bytes.extend([0, 0, OPT, high, low, 0, 0, 0, 0, 0, 0]);
    }
    bytes
}

/// Reads what came back for that question.
///
/// # Errors
/// [`Garbage`]: it should be treated as if it had not come.
pub fn read(bytes: &[u8], id: u16, name: &Fqdn, kind: Kind) -> Result<Reply, Garbage> {
    let mut at = Cursor { bytes, at: 0 };
    let (seen, flags) = (at.u16()?, at.u16()?);
    let [questions, answers, _, _] = [at.u16()?, at.u16()?, at.u16()?, at.u16()?];
    let is_answer = flags & 0x8000 != 0 && flags & 0x7800 == 0;
    let rcode = u8::try_from(flags & 0xf).unwrap_or(u8::MAX);
    if seen != id || !is_answer || questions > 1 {
        return Err(Garbage::Other);
    }
    if questions == 0 && rcode != 0 {
        // Who does not understand a question need not repeat it.
        return Ok(Reply::Refused(rcode));
    }
    let asked = (at.name()?, at.u16()?, at.u16()?);
    if asked != (name.clone(), u16::from(kind.code()), u16::from(INTERNET)) {
        return Err(Garbage::Other);
    }
    match rcode {
        NO_SUCH_NAME => return Ok(Reply::Nothing),
        0 if flags & TRUNCATED != 0 => return Ok(Reply::Truncated),
        0 => {}
        _ => return Ok(Reply::Refused(rcode)),
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        records.extend(at.record(kind)?);
    }
    follow(&records, name)
}

/// From the name over those that it stands for to addresses.
fn follow(records: &[Record], name: &Fqdn) -> Result<Reply, Garbage> {
    let (mut name, mut ttl) = (name, u32::MAX);
    for hop in 0..=records.len() {
        let ours = || records.iter().filter(|record| record.name == *name);
        let addresses: Vec<IpAddr> = ours().filter_map(Record::address).collect();
        if !addresses.is_empty() {
            let least = ours().map(|record| record.ttl).min().unwrap_or(0);
            return Ok(Reply::Addresses(addresses, ttl.min(least)));
        }
        let alias = ours().find_map(|record| Some((record.alias()?, record.ttl)));
        match alias {
            Some((next, least)) => (name, ttl) = (next, ttl.min(least)),
            None if hop == 0 => return Ok(Reply::Nothing),
            None => return Ok(Reply::Alias(name.clone(), ttl)),
        }
    }
    Err(Garbage::Circle)
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// A record that matters.
struct Record {
    name: Fqdn,
    ttl: u32,
    what: What,
}

enum What {
    Address(IpAddr),
    Alias(Fqdn),
}

impl Record {
    fn address(&self) -> Option<IpAddr> {
        match self.what {
            What::Address(ip) => Some(ip),
            What::Alias(_) => None,
        }
    }

    fn alias(&self) -> Option<&Fqdn> {
        match &self.what {
            What::Alias(name) => Some(name),
            What::Address(_) => None,
        }
    }
}

/// A place in a message.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Garbage> {
        let end = self.at.checked_add(count).ok_or(Garbage::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(Garbage::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbage> {
        self.take(N)?.try_into().map_err(|_| Garbage::Short)
    }

    fn u16(&mut self) -> Result<u16, Garbage> {
        self.array().map(u16::from_be_bytes)
    }

    /// A name, with what it borrows from before. A pointer leads to before all that was read
    /// of the name, so that reading it ends.
    fn name(&mut self) -> Result<Fqdn, Garbage> {
        let mut wire = Vec::new();
        let mut after = None;
        let mut lowest = self.at;
        loop {
            let [length] = self.array()?;
            match length >> 6 {
                0 if length == 0 => break,
                0 => {
                    let label = self.take(usize::from(length))?;
                    wire.push(length);
                    wire.extend(label.iter().map(u8::to_ascii_lowercase));
                    if wire.len() >= NAME {
                        return Err(Garbage::Name);
                    }
                }
                3 => {
                    let [low] = self.array()?;
                    after.get_or_insert(self.at);
                    let to = (usize::from(length & 0x3f) << 8) | usize::from(low);
                    if to >= lowest {
                        return Err(Garbage::Name);
                    }
                    (self.at, lowest) = (to, to);
                }
                _ => return Err(Garbage::Name),
            }
        }
        self.at = after.unwrap_or(self.at);
        Ok(Fqdn(wire))
    }

    /// A record, if it is one that matters.
    fn record(&mut self, kind: Kind) -> Result<Option<Record>, Garbage> {
        let name = self.name()?;
        let (code, class) = (self.u16()?, self.u16()?);
        let ttl = self.array().map(u32::from_be_bytes)?;
        // A negative number of seconds is none (RFC 2181 section 8).
        let ttl = if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl };
        let length = usize::from(self.u16()?);
        let begin = self.at;
        let data = self.take(length)?;
        if class != u16::from(INTERNET) {
            return Ok(None);
        }
        let what = if code == CNAME {
            let mut inside = Cursor { bytes: self.bytes, at: begin };
            let alias = inside.name()?;
            if inside.at != self.at {
                return Err(Garbage::Name);
            }
            What::Alias(alias)
        } else if code == u16::from(kind.code()) {
            let ip = match kind {
                Kind::V4 => <[u8; 4]>::try_from(data).map(|b| Ipv4Addr::from(b).into()),
                Kind::V6 => <[u8; 16]>::try_from(data).map(|b| Ipv6Addr::from(b).into()),
            };
            What::Address(ip.map_err(|_| Garbage::Short)?)
        } else {
            return Ok(None);
        };
        Ok(Some(Record { name, ttl, what }))
    }
}

const INTERNET: u8 = 1;
const CNAME: u16 = 5;
const OPT: u8 = 41;
const NO_SUCH_NAME: u8 = 3;
const RECURSION_DESIRED: u8 = 1;
const TRUNCATED: u16 = 0x0200;

/// Bytes of a name on the wire, the zero at its end counted in.
const NAME: usize = 255;

/// Bytes of an answer over UDP that reach everybody unfragmented (the value of the DNS flag
/// day 2020).
pub(super) const LONGEST: u16 = 1232;

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
