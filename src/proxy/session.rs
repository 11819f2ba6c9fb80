//! Sessions by cookie: a random id that this proxy has signed, so that a caller can neither
//! choose a version nor make up an id; and which session's request is evidence.
//!
//! The cookie does not name a version. Where a session goes follows from its id and the
//! shares in force, so that a rollback moves it at once and no cookie outlives a verdict.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use http::header::{self, HeaderValue};
use rustix::rand::{GetRandomFlags, getrandom};
use thiserror::Error;

use crate::vocab::ids::Name;
use crate::vocab::time::Timestamp;
use crate::wire::Headers;

/// What all workers share about sessions.
#[derive(Debug)]
pub struct Sessions {
    key: Key,
    seen: Mutex<HashMap<Name, Weak<Seen>>>,
}

/// Signs and checks cookies.
struct Key(hmac::Key);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why there is no key for sessions.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The file cannot be read or made.
    #[error("{path}: the key of the sessions cannot be kept", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error(
        "{path}: the key of the sessions has {length} bytes instead of {KEY_BYTES}: remove it to get a new one, with which all sessions begin anew",
        path = path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
}

/// One session, as its cookie says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Its id.
    pub(super) id: [u8; ID_BYTES],
    /// It has no cookie yet.
    pub(super) fresh: bool,
}

impl Sessions {
    /// With the key that is kept in `dir`, which is made where there is none. Processes that
    /// are to agree on sessions share that file.
    ///
    /// # Errors
    /// [`SessionError`] when it can neither be read nor made, or is no key.
    pub fn open(dir: &Path) -> Result<Self, SessionError> {
        let path = dir.join(FILE);
        let failed = |source| SessionError::File { path: path.clone(), source };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(dir, &path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        if bytes.len() != KEY_BYTES {
            return Err(SessionError::Length { path, length: bytes.len() });
        }
        let mode = fs::metadata(&path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(
                path = %path.display(),
                "the key of the sessions can be read by others than its owner"
            );
        }
        Ok(Self::of(&bytes))
    }

    /// With that key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let key = Key(hmac::Key::new(hmac::HMAC_SHA256, key));
        Self { key, seen: Mutex::default() }
    }

    /// The session that the request's cookie of that name proves, or a new one of that id.
    pub(super) fn find(
        &self,
        headers: &Headers,
        (name, max_age): (&str, Duration),
        now: Timestamp,
        id: impl FnOnce() -> [u8; ID_BYTES],
    ) -> Session {
        let mut ours = pairs(headers).filter(|(named, _)| *named == name.as_bytes());
        let proven = match (ours.next(), ours.next()) {
            (Some((_, value)), None) => self.prove(name, value, max_age, now),
            _ => None,
        };
        match proven {
            Some(id) => Session { id, fresh: false },
            None => Session { id: id(), fresh: true },
        }
    }

    fn prove(
        &self,
        name: &str,
        value: &[u8],
        max_age: Duration,
        now: Timestamp,
    ) -> Option<[u8; ID_BYTES]> {
        let bytes: [u8; ALL_BYTES] = unhex(value.strip_prefix(FORMAT)?)?;
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (issued, mac) = rest.split_first_chunk::<8>()?;
        let own = self.mac(name, id, *issued);
        constant_time::verify_slices_are_equal(&own, mac).ok()?;
        let issued = Timestamp(u64::from_be_bytes(*issued));
        // Clocks of replicas differ a little.
        let ahead = issued.since(now) > SKEW;
        (!ahead && now.since(issued) < max_age).then_some(*id)
    }

    /// What gives a session its cookie.
    pub(super) fn cookie(
        &self,
        session: &Session,
        (name, max_age): (&str, Duration),
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let issued = now.0.to_be_bytes();
        let mac = self.mac(name, &session.id, issued);
        let mut text = format!("{name}={}", String::from_utf8_lossy(FORMAT));
        for byte in session.id.iter().chain(&issued).chain(&mac) {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        let seconds = max_age.as_secs();
        text.push_str(&format!(
            "; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"
        ));
        HeaderValue::try_from(text).ok()
    }

    /// The name is signed, too, so that no cookie passes for one of another purpose.
    fn mac(&self, name: &str, id: &[u8; ID_BYTES], issued: [u8; 8]) -> [u8; MAC_BYTES] {
        let mut signer = hmac::Context::with_key(&self.key.0);
        signer.update(MARK);
        signer.update(&(name.len() as u64).to_be_bytes());
        signer.update(name.as_bytes());
        signer.update(id);
        signer.update(&issued);
        let tag = signer.sign();
        let mut mac = [0; MAC_BYTES];
        for (to, from) in mac.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        mac
    }

    /// What the workers have seen of that route's sessions.
    pub(super) fn seen(&self, route: &Name) -> Arc<Seen> {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = all.get(route).and_then(Weak::upgrade) {
            return seen;
        }
        all.retain(|_, seen| seen.strong_count() > 0);
        let seen = Arc::new(Seen::default());
        all.insert(route.clone(), Arc::downgrade(&seen));
        seen
    }
}

/// Takes this cookie out of the request; every other byte of the others stays.
pub(super) fn strip_cookie(headers: &mut Headers, name: &str) {
    let ours = |pair: &[u8]| named(pair) == name.as_bytes();
    if !pairs(headers).any(|(named, _)| named == name.as_bytes()) {
        return;
    }
    let left: Vec<HeaderValue> = headers
        .values(header::COOKIE)
        .filter_map(|line| {
            let all = line.as_bytes().split(|byte| *byte == b';');
            let kept: Vec<&[u8]> = all.filter(|pair| !ours(pair)).collect();
            if kept.len() == line.as_bytes().split(|byte| *byte == b';').count() {
                return Some(line.clone());
            }
            let joined = kept.join(&b";"[..]);
            let text = joined.trim_ascii_start();
            let is_empty = text.iter().all(|byte| b"; \t".contains(byte));
            if is_empty { None } else { HeaderValue::from_bytes(text).ok() }
        })
        .collect();
    headers.remove(header::COOKIE);
    for line in left {
        headers.append(header::COOKIE, line);
    }
}

/// Names and values of a request's cookies (RFC 6265 section 5.4), as they are written.
fn pairs(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.values(header::COOKIE);
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=');
        let value = at.and_then(|at| pair.get(at + 1..)).unwrap_or_default();
        (named(pair), value.trim_ascii())
    })
}

fn named(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

/// Which sessions have given evidence in this minute. The coin decides for all requests of
/// a session, so that they are no independent witnesses: a caller that always fails would
/// otherwise speak against whichever version its session fell to, as often as it likes
/// (decision/SPEC.md section 1). So one request of a session counts in a minute, the first,
/// chosen before it is known how it ends.
///
/// A table of bits and no list: two sessions that share a bit are one, which costs evidence
/// of both versions alike.
#[derive(Debug)]
pub(super) struct Seen {
    minute: AtomicU64,
    bits: Box<[AtomicU64]>,
}

impl Default for Seen {
    fn default() -> Self {
        let bits = (0..SEEN_BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Self { minute: AtomicU64::new(0), bits }
    }
}

impl Seen {
    /// Whether this is the first request of the session in its minute.
    pub(super) fn is_first(&self, coin: u64, now: Timestamp) -> bool {
        let minute = now.0 / 60_000;
        if self.minute.swap(minute, Ordering::Relaxed) != minute {
            for word in &self.bits {
                word.store(0, Ordering::Relaxed);
            }
        }
        // The split looks at the upper bits of the coin, so that the lower say nothing
        // about the version.
        let bit = coin % SEEN_BITS;
        let Some(word) = self.bits.get(usize::try_from(bit / 64).unwrap_or(0)) else {
            return false;
        };
        let mark = 1 << (bit % 64);
        word.fetch_or(mark, Ordering::Relaxed) & mark == 0
    }
}

/// Makes the key and puts it on the disk, whole or not at all.
fn make(dir: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let mut key = vec![0; KEY_BYTES];
    // From the system: the library's own source takes 30 ms to gather its seed, which a start
    // without TLS need not wait for.
    if getrandom(&mut key, GetRandomFlags::empty())? != key.len() {
        return Err(io::Error::other("no randomness"));
    }
    let draft = dir.join(format!("{FILE}.new"));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(dir)?.sync_all()?;
    Ok(key)
}

fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: &u8| HEX.iter().position(|hex| hex == byte);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    }
    Some(bytes)
}

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Begins every value, for the day that it has to look differently.
const FORMAT: &[u8] = b"1-";
const MARK: &[u8] = b"switchback session cookie 1";
/// In the state directory.
const FILE: &str = "session.key";
const KEY_BYTES: usize = 32;
pub(super) const ID_BYTES: usize = 16;
const MAC_BYTES: usize = 16;
const ALL_BYTES: usize = ID_BYTES + 8 + MAC_BYTES;
/// By which the clocks of two replicas may differ.
const SKEW: Duration = Duration::from_secs(300);
/// 128 KiB a route.
const SEEN_BITS: u64 = 1 << 20;

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
