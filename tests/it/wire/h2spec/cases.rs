//! One case: what is sent, and what must come of it.

use std::net::SocketAddr;

use super::conn::Conn;

/// One case.
pub struct Case {
    /// Suite, section and what is done.
    pub name: &'static str,
    /// Whether the two sides greet each other first.
    pub greet: bool,
    /// What is done.
    pub act: fn(&mut Conn),
    /// What must come of it.
    pub then: Then,
}

/// What must come of a case.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// `GOAWAY` with one of these codes, or the end of the connection.
    Connection(&'static [u32]),
    /// `RST_STREAM` or `GOAWAY` with one of these codes, or the end of the connection.
    Stream(&'static [u32]),
    /// The end of the connection.
    Closes,
    /// `GOAWAY` with this code and nothing else.
    GoesAway(u32),
    /// `RST_STREAM` on the first stream with this code and nothing else.
    Resets(u32),
    /// An answer's head on the first stream.
    Answers,
    /// The first `DATA` has so many bytes; 0 means any number.
    Data(usize),
    /// A `PING` with these bytes comes back, and no other.
    Pong(&'static [u8; 8]),
    /// The same, or the connection ends.
    PongOrCloses(&'static [u8; 8]),
    /// The next `SETTINGS` acknowledges.
    Acknowledges,
    /// The next frame is a `SETTINGS` that does not acknowledge.
    Greets,
}

/// A case after the greeting.
pub const fn case(name: &'static str, act: fn(&mut Conn), then: Then) -> Case {
    Case { name, greet: true, act, then }
}

/// Runs one case, and then a plain request.
pub fn run(address: SocketAddr, case: &Case) -> Result<(), String> {
    let mut conn = Conn::new(address);
    if case.greet {
        conn.greet().map_err(|error| format!("{}: no greeting: {error}", case.name))?;
    }
    (case.act)(&mut conn);
    let seen = conn.verify(case.then);
    seen.map_err(|seen| format!("{}: wanted {:?}, saw {seen}", case.name, case.then))?;
    let mut after = Conn::new(address);
    after.greet().map_err(|error| format!("{}: then no greeting: {error}", case.name))?;
    after.get(1);
    let well = after.verify(Then::Answers);
    well.map_err(|seen| format!("{}: then a request gets {seen}", case.name))
}
