//! A name server that says what it is told to, over UDP and TCP, and counts who asks.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wait;

/// What is said of a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// These addresses, for so many seconds.
    At(Vec<IpAddr>, u32),
    /// It stands for that name, of which the answer says nothing.
    Alias(String),
    /// It stands for that name, which has these addresses.
    Through(String, Vec<IpAddr>),
    /// An RCODE, such as 2 (SERVFAIL) or 3 (there is no such name).
    Code(u8),
    /// Nothing at all.
    Silence,
    /// The name exists and has no address.
    Nothing,
    /// Bytes that are no answer.
    Garbage,
    /// A good answer to another question: one with another number.
    Forged(Vec<IpAddr>),
    /// The answer needs TCP, and there is none.
    Truncated,
    /// Addresses for IPv4, and silence for IPv6.
    OnlyV4(Vec<IpAddr>),
}

/// A name server on a port of its own.
#[derive(Debug)]
pub struct NameServer {
    at: SocketAddr,
    zone: Arc<Zone>,
}

#[derive(Debug, Default)]
struct Zone {
    names: Mutex<HashMap<String, Says>>,
    /// Questions for IPv4 addresses, by name.
    asked: Mutex<HashMap<String, u64>>,
    delay: Mutex<Duration>,
}

impl NameServer {
    /// A server for which no name exists.
    pub fn new() -> Self {
        let (udp, tcp) = both();
        let server = Self { at: udp.local_addr().unwrap(), zone: Arc::default() };
        let zone = Arc::clone(&server.zone);
        std::thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((length, from)) = udp.recv_from(&mut bytes) {
                let (zone, asked) = (Arc::clone(&zone), bytes[..length].to_vec());
                let udp = udp.try_clone().unwrap();
                std::thread::spawn(move || {
                    if let Some(answer) = zone.answer(&asked, 1232) {
                        // Who asked may have gone.
                        udp.send_to(&answer, from).unwrap_or_default();
                    }
                });
            }
        });
        let zone = Arc::clone(&server.zone);
        std::thread::spawn(move || {
            for stream in tcp.incoming().map_while(Result::ok) {
                let zone = Arc::clone(&zone);
                std::thread::spawn(move || over_tcp(stream, &zone));
            }
        });
        server
    }

    /// From now on it says that of a name.
    pub fn say(&self, name: &str, says: Says) -> &Self {
        self.zone.names.lock().unwrap().insert(name.to_owned(), says);
        self
    }

    /// From now on a name has these addresses, for no longer than the proxy holds an answer.
    pub fn at(&self, name: &str, addresses: &[&str]) -> &Self {
        self.say(name, Says::At(ips(addresses), 0))
    }

    /// From now on it thinks so long.
    pub fn slow(&self, delay: Duration) {
        *self.zone.delay.lock().unwrap() = delay;
    }

    /// How often the IPv4 addresses of a name were asked for.
    pub fn asked(&self, name: &str) -> u64 {
        self.zone.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// Waits until a name has been asked for so many times more.
    pub fn asked_again(&self, name: &str, times: u64) {
        let until = self.asked(name) + times;
        wait::eventually(&format!("{name} is looked up"), wait::SOON, || {
            (self.asked(name) >= until).then_some(())
        });
    }

    /// The line of the configuration that has it asked, and often.
    pub fn line(&self) -> String {
        format!("dns: {{ servers: [{:?}], minTtl: 50ms, timeout: 200ms }}", self.shown())
    }

    /// Its address as the configuration has it.
    pub fn shown(&self) -> String {
        self.at.to_string()
    }
}

/// Addresses from texts.
pub fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A port that is free for both.
fn both() -> (UdpSocket, TcpListener) {
    wait::eventually("a port for a name server", wait::SOON, || {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
        Some((udp, tcp))
    })
}

fn over_tcp(mut stream: TcpStream, zone: &Zone) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut asked).is_err() {
            return;
        }
        let Some(answer) = zone.answer(&asked, usize::from(u16::MAX)) else { return };
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        // Who asked may have gone.
        stream.write_all(&[&length[..], &answer].concat()).unwrap_or_default();
    }
}

impl Zone {
    /// The answer to a question, of which `most` bytes fit.
    fn answer(&self, asked: &[u8], most: usize) -> Option<Vec<u8>> {
        let (name, end) = name_of(asked);
        let is_v4 = asked[end + 1] == 1;
        if is_v4 {
            *self.asked.lock().unwrap().entry(name.clone()).or_default() += 1;
        }
        wait::linger(*self.delay.lock().unwrap());
        let says = self.names.lock().unwrap().get(&name).cloned();
        let mut answer = asked[..end + 4].to_vec();
        answer[6..12].fill(0);
        (answer[2], answer[3]) = (0x81, 0x80);
        let mut add = |owner: &[u8], all: &[IpAddr], ttl: u32| {
            let kind: u8 = if is_v4 { 1 } else { 28 };
            for ip in all.iter().filter(|ip| ip.is_ipv4() == is_v4) {
                let data = match ip {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                record(&mut answer, owner, kind, ttl, &data);
            }
        };
        match says.unwrap_or(Says::Code(3)) {
            Says::At(all, ttl) => add(ASKED, &all, ttl),
            Says::OnlyV4(_) if !is_v4 => return None,
            Says::OnlyV4(all) => add(ASKED, &all, 0),
            Says::Forged(all) => {
                add(ASKED, &all, 0);
                answer[0] ^= 0xff;
            }
            Says::Alias(to) => record(&mut answer, ASKED, 5, 0, &wire(&to)),
            Says::Through(to, all) => {
                // The addresses first: the order of an answer means nothing.
                add(&wire(&to), &all, 0);
                record(&mut answer, ASKED, 5, 0, &wire(&to));
            }
            Says::Code(code) => answer[3] |= code,
            Says::Silence => return None,
            Says::Nothing => {}
            Says::Garbage => {
                return Some(b"\xff\x00HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
            }
            Says::Truncated if most > 2_000 => return None,
            Says::Truncated => answer[2] |= 2,
        }
        if answer.len() > most {
            answer.truncate(end + 4);
            answer[2] |= 2;
            answer[6..8].fill(0);
        }
        Some(answer)
    }
}

/// The name that is asked for, and where the question's kind stands.
fn name_of(asked: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while asked[at] > 0 {
        let end = at + 1 + usize::from(asked[at]);
        labels.push(String::from_utf8_lossy(&asked[at + 1..end]).into_owned());
        at = end;
    }
    (labels.join("."), at + 1)
}

fn record(answer: &mut Vec<u8>, owner: &[u8], kind: u8, ttl: u32, data: &[u8]) {
    let count = u16::from_be_bytes([answer[6], answer[7]]) + 1;
    answer[6..8].copy_from_slice(&count.to_be_bytes());
    answer.extend(owner);
    answer.extend([0, kind, 0, 1]);
    answer.extend(ttl.to_be_bytes());
    answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    answer.extend(data);
}

fn wire(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

/// A pointer at the name of the question.
const ASKED: &[u8] = &[0xc0, 12];
