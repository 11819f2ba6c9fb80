//! `ClientConnection`: a connection to a server while no request is on it.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use super::buffer::WriteBuffer;
use crate::clock;
use crate::wire::io::Io;

/// Where a connection belongs while nobody uses it.
pub trait Home {
    /// Takes a clean connection back.
    fn give_back(&self, connection: ClientConnection);
    /// Hears that a connection is gone.
    fn closed(&self);
}

/// A connection to a server, ready for a request.
pub struct ClientConnection {
    pub(super) io: Option<Io>,
    pub(super) input: BytesMut,
    pub(super) output: WriteBuffer,
    pub(super) home: Rc<dyn Home>,
    pub(super) used: bool,
    pub(super) idle_since: Instant,
    peer: Option<SocketAddr>,
}

impl ClientConnection {
    /// A new connection; `peer` is where it leads, if its home wants to know.
    #[must_use]
    pub fn new(io: Io, peer: Option<SocketAddr>, home: Rc<dyn Home>) -> Self {
        Self {
            io: Some(io),
            input: BytesMut::new(),
            output: WriteBuffer::default(),
            home,
            used: false,
            idle_since: clock::now(),
            peer,
        }
    }

    /// Whether it has carried a request before.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// Where it leads, as it was told.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Since when it has been idle.
    #[must_use]
    pub fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// Whether the server has neither closed it nor sent what nobody asked for; `closely`
    /// asks the system for what came a moment ago.
    #[must_use]
    pub fn is_clean(&mut self, closely: bool) -> bool {
        self.input.is_empty() && self.io.as_mut().is_some_and(|io| io.is_quiet(closely))
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.home.closed();
    }
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection")
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}
