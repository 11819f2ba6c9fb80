//! The data plane: the life of one request, step by step, with the file of each.
//!
//! 1. `accept`: a worker's listener takes a connection, if `permits` has room for it, and
//!    sees whether it begins with HTTP/2's preface. `serve_h1` and `serve_h2` read requests
//!    from it; a caller that hangs up is noticed while its answer is being made.
//! 2. `handle`, in a future that `handler` lends: the hot path begins. `hygiene` cleans the head or refuses it; `ids` sees to
//!    `x-request-id` and `traceparent`.
//! 3. `settle`: the worker's `view` of the current table, what the request names (`naming`,
//!    which reads the beginning of a body where a route wants a model), whose `session` it
//!    belongs to, `route::assign`, and a `measure::Flight` on the version. **Then the table's number is read once more**:
//!    if another was published meanwhile, the flight is cancelled unrecorded and the walk
//!    begins again. Control publishes and then counts; we count and then look. So either the
//!    request sees the new table, or the drain sees the flight.
//!    While the route copies, a second coin chooses here which of stable's requests are
//!    copied, and only those that could be are compared with the version under suspicion. A
//!    header that asks for such a version is answered by stable, and the answer says so:
//!    `x-switchback-reason: protect`.
//!    A route that is read-only goes to `read_only` instead: an answer that was kept, the
//!    emergency version, or a refusal.
//! 4. `forward` (and `ask_h2`): an endpoint, a connection, the request, the head of the answer. Tried again
//!    within the version only while that harms nobody; a used connection that dies without a
//!    byte of an answer is nobody's fault.
//!    A good answer that is a stream of events, or small JSON, gets a `scan` that sees what it
//!    comes to while it passes: a status of 200 says little there.
//!    Where connections to a server are scarce, `ahead` waits for the caller's body first.
//! 5. `hold`: a small answer of a canary is held until it is whole, and a stream of its until
//!    the first frame that says something, so that a failed start can still be rescued. A
//!    failed canary is answered by stable, where the request may be repeated (a second
//!    flight: the canary keeps its failure), and failed stable from the cache (`fallback`).
//! 6. `shadow`: once stable has given a head or failed and the whole request is here, the copy
//!    goes, marked `x-shadow: 1`, in a task that nobody waits for. `shadows` keeps it within
//!    bounds and ends it when the table no longer wants it. Its answer is measured and thrown
//!    away.
//!    Of a failure `about` takes a sample, bounded and without anything private.
//! 7. `reply` turns what is left into an answer of our own; `outgoing` is the body on its
//!    way out, which closes the flight at its last byte.
//!
//! The data plane obeys a table and does not know why it changed.
//!
//! `door` lets the fuzz targets (`tests/fuzz`) at the parsers in here.

mod about;
mod accept;
mod ahead;
mod ask_h2;
mod caller;
pub mod door;
mod error;
mod failure;
mod fallback;
mod forward;
mod greet;
mod grpc;
mod handle;
mod handler;
mod hold;
mod hygiene;
mod ids;
mod naming;
mod outgoing;
mod permits;
mod read_only;
mod repeat;
mod reply;
mod scan;
mod serve_h1;
mod serve_h2;
mod session;
mod settings;
mod settle;
mod shadow;
mod shadows;
mod streams;
mod target;
#[cfg(test)]
mod tests;
mod tunnel;
mod tunnel_h2;
mod view;
mod worker;

pub use accept::{BindError, Bound, Listener};
pub use session::{SessionError, Sessions};
pub use settings::{Limits, ListenerProtocol, ListenerSettings, Network};
pub use worker::{Shared, Worker};
