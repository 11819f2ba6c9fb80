//! The coin of a session: the same for the same route and key in every process, on every
//! machine and in every release, so that replicas agree where a session belongs. Apart from
//! the split, which does not ask where a coin comes from.

use crate::vocab::ids::Name;

/// The coin of the session of that key on that route: the first eight bytes (little endian)
/// of BLAKE3 over a mark, the length of the route's name (8 bytes, little endian), the name
/// and the key. Uniform over keys, and for different routes independent, so that it is not
/// the same callers who try every canary.
#[must_use]
pub fn session_coin(route: &Name, key: &[u8]) -> u64 {
    let name = route.as_str().as_bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(MARK);
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name);
    hasher.update(key);
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A change of how coins are made would move every session: it would need another mark.
const MARK: &[u8] = b"switchback session 1";

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
