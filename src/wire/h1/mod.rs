//! HTTP/1.1 on both sides.
//!
//! `head` parses and writes heads and `framing` says where bodies end; `server` is a
//! caller's connection from request to request, and `client` one exchange with a server.
//! Both run in the task of the request: nothing is handed from one task to another.

mod buffer;
mod client;
mod connection;
mod error;
mod framing;
mod grammar;
mod head;
mod server;
mod shared;
mod spans;
mod spare;

pub use buffer::WriteBuffer;
pub use client::Exchange;
pub use connection::{ClientConnection, Home};
pub use error::ExchangeError;
pub use framing::{Decoder, FramingError, Piece};
pub use head::{
    AnswerHead, HeadError, HeadLimits, Reason, RequestHead, parse_answer, parse_request,
    write_answer, write_request,
};
pub use server::{Outgoing, Reply, RequestBody, ServerConnection, ServerLimits, Turn};
pub use spans::Spans;
