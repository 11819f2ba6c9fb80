//! The same two servers for gRPC: they answer every call with one message.
//!
//! Apart because they speak HTTP/2 without TLS and nothing else, on a thread of their own.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

use crate::answers::{LETTERS, message};
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PREFACE, Upkeep, greet, known, named,
    write,
};

/// Serves on the two listeners for good.
pub(crate) fn serve(mut listeners: [TcpListener; 2]) -> Result<(), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    for (at, listener) in listeners.iter_mut().enumerate() {
        poll.registry().register(listener, Token(at), Interest::READABLE)?;
    }
    let mut head = vec![0x88];
    known(&mut head, 31, "application/grpc");
    let mut trailer = Vec::new();
    named(&mut trailer, "grpc-status", "0");
    let answers = LETTERS.map(|letter| Answer {
        head: head.clone(),
        body: message(letter),
        trailer: trailer.clone(),
    });
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut scratch = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(64);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if let Some(listener) = listeners.get(token) {
                accept(listener, token, poll.registry(), &mut peers)?;
                continue;
            }
            let place = token - LETTERS.len();
            let Some(peer) = peers[place].as_mut() else { continue };
            if peer.ready(&answers[peer.at], &mut scratch).is_none() {
                peers[place] = None;
            }
        }
    }
}

struct Answer {
    head: Vec<u8>,
    body: Vec<u8>,
    trailer: Vec<u8>,
}

fn accept(
    listener: &TcpListener,
    at: usize,
    registry: &Registry,
    peers: &mut Vec<Option<Peer>>,
) -> Result<(), Box<dyn Error>> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nodelay(true)?;
        let token = Token(peers.len() + LETTERS.len());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut out = Vec::new();
        greet(&mut out);
        let (input, ended) = (Vec::new(), Vec::new());
        let upkeep = Upkeep::new();
        peers.push(Some(Peer { stream, at, begun: false, input, out, ended, upkeep }));
    }
}

/// One connection from a proxy.
struct Peer {
    stream: TcpStream,
    /// Which of the two servers it came to.
    at: usize,
    /// Whether the preface has come.
    begun: bool,
    input: Vec<u8>,
    out: Vec<u8>,
    /// Calls that are whole and wait for the window.
    ended: Vec<u32>,
    upkeep: Upkeep,
}

impl Peer {
    /// Does what the socket is ready for; `None` when the connection is over.
    fn ready(&mut self, answer: &Answer, scratch: &mut [u8]) -> Option<()> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return None,
                Ok(got) => {
                    self.input.extend_from_slice(&scratch[..got]);
                    self.take()?;
                    self.answer(answer);
                    if got < scratch.len() {
                        return self.flush();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.flush();
                }
                Err(_) => return None,
            }
        }
    }

    fn take(&mut self) -> Option<()> {
        let mut at = 0;
        if !self.begun {
            if self.input.len() < PREFACE.len() {
                return Some(());
            }
            at = self.input.starts_with(PREFACE).then_some(PREFACE.len())?;
            self.begun = true;
        }
        while let Some((frame, size)) = Frame::read(&self.input[at..]) {
            at += size;
            self.upkeep.see(&frame, &mut self.out).ok()?;
            if frame.ends() {
                self.ended.push(frame.stream);
            }
        }
        self.input.drain(..at);
        Some(())
    }

    fn answer(&mut self, answer: &Answer) {
        while let Some(stream) = self.ended.last().copied()
            && self.upkeep.spend(answer.body.len())
        {
            self.ended.pop();
            write(&mut self.out, HEADERS, END_HEADERS, stream, &answer.head);
            write(&mut self.out, DATA, 0, stream, &answer.body);
            let last = END_HEADERS | END_STREAM;
            write(&mut self.out, HEADERS, last, stream, &answer.trailer);
        }
    }

    fn flush(&mut self) -> Option<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(_) => return None,
            }
        }
        Some(())
    }
}
