//! HTTP/1.1 on both sides: heads, framing, the server's connection and the client's
//! exchange.

mod buffer;
mod client;
mod framing;
mod head;
mod server;

pub use buffer::WriteBuffer;
pub use client::{ClientConnection, Exchange, ExchangeError, Home, Spans};
pub use framing::{Decoder, FramingError, Piece};
pub use head::{
    AnswerHead, HeadError, HeadLimits, Reason, RequestHead, parse_answer, parse_request,
};
pub use server::{Outgoing, RequestBody, ServerConnection, ServerLimits, Turn};
