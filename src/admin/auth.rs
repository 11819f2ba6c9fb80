//! Who may do what: tokens, roles, and the checks that keep a browser from being used as
//! somebody's hands. Gives the operator's name that records bear.
//!
//! Apart because it is the whole border between a caller and the traffic. Tokens are kept
//! and compared as hashes, all of them every time, so that the time of an answer says
//! nothing about them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use blake3::Hash;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method};
use thiserror::Error;
use tokio::time::Instant;

use super::listen::is_loopback;
use super::settings::{OperatorRole, Settings};
use crate::clock;

/// What a path asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Open,
    /// A viewer's token, but not where only this machine can ask.
    Scrape,
    /// A token of at least this role.
    Role(OperatorRole),
}

/// Decides on every request of one listener.
#[derive(Debug)]
pub(super) struct Gate {
    known: Vec<Known>,
    loopback: bool,
    wrong: WrongTokens,
}

#[derive(Debug)]
struct Known {
    name: String,
    role: OperatorRole,
    token: Hash,
}

/// Why a caller is turned away.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Refusal {
    #[error("the Host header must be one IP address or localhost")]
    Host,
    #[error("a request with an Origin header comes from a web page and may only read")]
    Origin,
    #[error("this needs the token of an operator: Authorization: Bearer TOKEN")]
    NoToken,
    #[error("no operator has this token")]
    WrongToken,
    #[error("too many wrong tokens: wait")]
    TooManyWrong,
    #[error("{name} has the role {has:?} and this needs {needs:?}")]
    Role { name: String, has: OperatorRole, needs: OperatorRole },
}

impl Gate {
    /// The gate of the API.
    pub(super) fn new(settings: &Settings, bound: SocketAddr) -> Self {
        let known = settings.operators.iter().map(|operator| Known {
            name: operator.name.clone(),
            role: operator.role,
            token: blake3::hash(operator.token.as_bytes()),
        });
        Self {
            known: known.collect(),
            loopback: is_loopback(bound),
            wrong: WrongTokens::new(),
        }
    }

    /// The name of the caller, if he may do what asks for `access`.
    pub(super) fn caller(
        &self,
        access: Access,
        headers: &HeaderMap,
    ) -> Result<&str, Refusal> {
        let needs = match access {
            Access::Open => return Ok(NOBODY),
            Access::Scrape if self.loopback => return Ok(NOBODY),
            Access::Scrape => OperatorRole::Viewer,
            Access::Role(role) => role,
        };
        if self.known.is_empty() && self.loopback {
            return Ok(LOCAL);
        }
        let token = bearer(headers).ok_or(Refusal::NoToken)?;
        let Some(known) = self.find(token) else { return Err(self.wrong.one_more()) };
        if known.role < needs {
            let (name, has) = (known.name.clone(), known.role);
            return Err(Refusal::Role { name, has, needs });
        }
        Ok(&known.name)
    }

    fn find(&self, token: &[u8]) -> Option<&Known> {
        let token = blake3::hash(token);
        // Equality of blake3 hashes takes the same time whatever differs, and the search
        // does not end at the one it finds.
        self.known.iter().fold(None, |found, known| {
            if known.token == token { Some(known) } else { found }
        })
    }
}

/// Whether the request was meant for this listener, and by whoever sends it.
pub(super) fn honest(request: &Parts) -> Result<(), Refusal> {
    // A page of another site can make its own name resolve to this address and read
    // what it is given; what it cannot do is send another Host.
    if !is_ours(&request.headers) {
        return Err(Refusal::Host);
    }
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    if !reads && request.headers.contains_key(ORIGIN) {
        return Err(Refusal::Origin);
    }
    Ok(())
}

/// Counts wrong tokens, so that guessing fills neither the log nor anybody's time.
///
/// A right token is let in however many wrong ones came before: the people who must stop
/// a bad version may sit behind one address with whoever guesses, and a lock would hand
/// the guesser a way to keep them out. A token is to be long enough not to be guessed.
#[derive(Debug)]
struct WrongTokens(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    left: u32,
    filled: Instant,
    unsaid: u64,
}

impl WrongTokens {
    fn new() -> Self {
        Self(Mutex::new(Bucket { left: WRONG_AT_ONCE, filled: clock::now(), unsaid: 0 }))
    }

    fn one_more(&self) -> Refusal {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = clock::now().saturating_duration_since(bucket.filled);
        let drops =
            u32::try_from(since.as_secs() / WRONG_EVERY.as_secs()).unwrap_or(u32::MAX);
        if drops > 0 {
            bucket.left = bucket.left.saturating_add(drops).min(WRONG_AT_ONCE);
            bucket.filled = clock::now();
        }
        if bucket.left == 0 {
            bucket.unsaid += 1;
            return Refusal::TooManyWrong;
        }
        bucket.left -= 1;
        let unsaid = std::mem::take(&mut bucket.unsaid);
        tracing::warn!(more = unsaid, "a wrong token was sent to the admin API");
        Refusal::WrongToken
    }
}

/// Whether there is one Host, and one that no name server can point here.
fn is_ours(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Some(host) = host.to_str().ok().and_then(host_of) else { return false };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

/// The host of a Host header, if that is all there is beside a port.
fn host_of(text: &str) -> Option<&str> {
    let authority = text.parse::<Authority>().ok()?;
    let host = authority.host().len();
    let plain =
        !text.contains('@') && (host == text.len() || authority.port_u16().is_some());
    plain.then(|| &text[..host])
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(one), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = one.as_bytes().split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

/// The operator's name where nobody else can reach the address and nobody is named.
const LOCAL: &str = "local";
/// The caller's name where nobody asks for it.
const NOBODY: &str = "anybody";
/// So many wrong tokens are answered and logged one by one.
const WRONG_AT_ONCE: u32 = 20;
/// One more after each of these spans.
pub(super) const WRONG_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Request};

    use super::{Access, Gate, Refusal, honest};
    use crate::admin::{OperatorRole, OperatorSettings, Settings};

    fn gate(address: &str, operators: &[(&str, &str, OperatorRole)]) -> Gate {
        let operators = operators.iter().map(|&(name, token, role)| OperatorSettings {
            name: name.into(),
            token: token.into(),
            role,
        });
        let address = address.parse().unwrap();
        let operators = operators.collect();
        Gate::new(&Settings { address, metrics_address: None, operators }, address)
    }

    fn with(token: &str) -> HeaderMap {
        let value = HeaderValue::from_str(token).unwrap();
        HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
    }

    const CHANGE: Access = Access::Role(OperatorRole::Operator);
    const LOOK: Access = Access::Role(OperatorRole::Viewer);

    #[test]
    fn a_token_gives_a_name_and_what_its_role_may() {
        let gate = gate(
            "127.0.0.1:9901",
            &[
                ("alice", "a-token", OperatorRole::Operator),
                ("bob", "b", OperatorRole::Viewer),
            ],
        );
        assert_eq!(gate.caller(CHANGE, &with("Bearer a-token")), Ok("alice"));
        assert_eq!(gate.caller(LOOK, &with("bearer b")), Ok("bob"));
        let refused = gate.caller(CHANGE, &with("Bearer b")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "bob has the role Viewer and this needs Operator"
        );
        for wrong in
            ["Bearer a-toke", "Bearer a-tokens", "Bearer a-token ", "Bearer A-TOKEN"]
        {
            assert_eq!(
                gate.caller(LOOK, &with(wrong)),
                Err(Refusal::WrongToken),
                "{wrong}"
            );
        }
        for none in ["", "Bearer ", "Bearer", "Basic a-token", "a-token"] {
            assert_eq!(gate.caller(LOOK, &with(none)), Err(Refusal::NoToken), "{none}");
        }
        let mut twice = with("Bearer a-token");
        twice.append(
            http::header::AUTHORIZATION,
            HeaderValue::from_static("Bearer a-token"),
        );
        assert_eq!(gate.caller(LOOK, &twice), Err(Refusal::NoToken));
    }

    #[test]
    fn who_needs_no_token_depends_on_who_can_reach_the_address() {
        let none = HeaderMap::new();
        let alone = gate("127.0.0.1:9901", &[]);
        assert_eq!(alone.caller(CHANGE, &none), Ok("local"));

        let one = [("alice", "a", OperatorRole::Operator)];
        let loopback = gate("[::ffff:127.0.0.1]:9901", &one);
        assert_eq!(loopback.caller(CHANGE, &none), Err(Refusal::NoToken));
        assert!(loopback.caller(Access::Scrape, &none).is_ok());

        let open = gate("0.0.0.0:9901", &one);
        assert_eq!(open.caller(Access::Scrape, &none), Err(Refusal::NoToken));
        assert!(open.caller(Access::Scrape, &with("Bearer a")).is_ok());
        assert!(open.caller(Access::Open, &none).is_ok());
    }

    #[test]
    fn wrong_tokens_are_bounded_and_lock_nobody_out() {
        let gate = gate("127.0.0.1:9901", &[("alice", "right", OperatorRole::Operator)]);
        let answers: Vec<Refusal> = (0..1000)
            .map(|n| gate.caller(LOOK, &with(&format!("Bearer {n}"))).unwrap_err())
            .collect();
        assert!(answers[..20].iter().all(|answer| *answer == Refusal::WrongToken));
        let most =
            answers.iter().filter(|answer| **answer == Refusal::TooManyWrong).count();
        assert!(most > 900, "{most}");
        assert_eq!(gate.caller(LOOK, &with("Bearer right")), Ok("alice"));
    }

    #[test]
    fn only_hosts_that_no_other_site_can_bear_are_ours() {
        let asked = |hosts: &[&str]| {
            let request =
                hosts.iter().fold(Request::get("/"), |r, host| r.header("host", *host));
            honest(&request.body(()).unwrap().into_parts().0)
        };
        for good in
            ["127.0.0.1:9901", "localhost", "LocalHost:80", "[::1]:9901", "10.0.0.7"]
        {
            assert_eq!(asked(&[good]), Ok(()), "{good}");
        }
        for bad in [
            "evil",
            "evil:9901",
            "localhost.evil",
            "127.0.0.1.evil",
            "a@127.0.0.1",
            "@127.0.0.1",
            "127.0.0.1/x",
            "",
            " ",
            "[::1",
            "::1]",
            "127.0.0.1:99999",
            "127.0.0.1,evil",
            "127.0.0.1:",
        ] {
            assert_eq!(asked(&[bad]), Err(Refusal::Host), "{bad:?}");
        }
        assert_eq!(asked(&[]), Err(Refusal::Host));
        assert_eq!(asked(&["127.0.0.1", "127.0.0.1"]), Err(Refusal::Host));
    }

    #[test]
    fn a_web_page_may_only_read() {
        for (method, answer) in [
            ("GET", Ok(())),
            ("HEAD", Ok(())),
            ("POST", Err(Refusal::Origin)),
            ("PUT", Err(Refusal::Origin)),
        ] {
            let request = Request::builder().method(method).header("host", "localhost");
            let request =
                request.header("origin", "http://127.0.0.1:9901").body(()).unwrap();
            assert_eq!(honest(&request.into_parts().0), answer, "{method}");
        }
    }
}
