//! Who may do what: tokens, certificates, roles, and the checks that keep a browser from
//! being used as somebody's hands. Gives the operator's name that records bear.
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

use super::listen::is_loopback;
use super::pace::{Bucket, Rate};
use super::settings::{OperatorRole, Settings};
use crate::tls::{Fingerprint, TlsServer};
use crate::vocab::ids::{Credential, Operator};

/// What a path asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Open,
    /// A viewer's credential, but not where only this machine can ask.
    Scrape,
    /// A credential of at least this role.
    Role(OperatorRole),
}

/// Decides on every request of one listener.
#[derive(Debug)]
pub(super) struct Gate {
    known: Vec<Known>,
    loopback: bool,
    wrong: Mutex<Bucket>,
    nameless: Mutex<Bucket>,
}

#[derive(Debug)]
struct Known {
    name: String,
    role: OperatorRole,
    token: Option<Hash>,
    certificate: Option<Fingerprint>,
    pace: Mutex<Bucket>,
}

/// Why a caller is turned away.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Refusal {
    #[error(
        "the Host header must be one IP address, localhost, or a name of the certificate"
    )]
    Host,
    #[error("a request with an Origin header comes from a web page and may only read")]
    Origin,
    #[error("this needs the token of an operator: Authorization: Bearer TOKEN")]
    NoToken,
    #[error("no operator has this token")]
    WrongToken,
    #[error("too many wrong tokens: wait")]
    TooManyWrong,
    #[error("too many calls: wait")]
    TooFast(Duration),
    #[error("{name} has the role {has} and this needs {needs}")]
    Role { name: String, has: OperatorRole, needs: OperatorRole },
}

impl Gate {
    /// The gate of the API.
    pub(super) fn new(settings: &Settings, bound: SocketAddr) -> Self {
        let known = settings.operators.iter().map(|operator| Known {
            name: operator.name.clone(),
            role: operator.role,
            token: operator.token.as_ref().map(|token| blake3::hash(token.as_bytes())),
            certificate: operator.certificate,
            pace: Mutex::new(Bucket::new(CALLS)),
        });
        Self {
            known: known.collect(),
            loopback: is_loopback(bound),
            wrong: Mutex::new(Bucket::new(WRONG)),
            nameless: Mutex::new(Bucket::new(CALLS)),
        }
    }

    /// Whether the caller may do what asks for `access`. Who he is goes to `operator` as
    /// soon as a credential says so, whatever is decided then.
    ///
    /// A token goes before a certificate: who shows a wrong one is refused.
    pub(super) fn admit(
        &self,
        access: Access,
        headers: &HeaderMap,
        certificate: Option<Fingerprint>,
        operator: &mut Option<Operator>,
    ) -> Result<(), Refusal> {
        let needs = match access {
            Access::Open => return Ok(()),
            Access::Scrape if self.loopback => return take(&self.nameless),
            Access::Scrape => OperatorRole::Viewer,
            Access::Role(role) => role,
        };
        if self.known.is_empty() && self.loopback {
            // Whoever is on this machine and reaches it can stop the process as well, so
            // there is nothing to be won by holding him up.
            *operator =
                Some(Operator { id: LOCAL.to_owned(), method: Credential::Loopback });
            return Ok(());
        }
        let (known, method) = if headers.contains_key(AUTHORIZATION) {
            let token = bearer(headers).ok_or(Refusal::NoToken)?;
            let known = self.find(token).ok_or_else(|| self.one_more_wrong())?;
            (known, Credential::Token)
        } else {
            let shown = certificate.and_then(|certificate| {
                self.known.iter().find(|known| known.certificate == Some(certificate))
            });
            (shown.ok_or(Refusal::NoToken)?, Credential::Certificate)
        };
        *operator = Some(Operator { id: known.name.clone(), method });
        if known.role < needs {
            let (name, has) = (known.name.clone(), known.role);
            return Err(Refusal::Role { name, has, needs });
        }
        take(&known.pace)
    }

    fn find(&self, token: &[u8]) -> Option<&Known> {
        let token = blake3::hash(token);
        // Equality of blake3 hashes takes the same time whatever differs, and the search
        // does not end at the one it finds.
        self.known.iter().fold(None, |found, known| {
            if known.token.is_some_and(|own| own == token) { Some(known) } else { found }
        })
    }

    /// Guessing is to take nobody's time.
    ///
    /// A right token is let in however many wrong ones came before: the people who must
    /// stop a bad version may sit behind one address with whoever guesses, and a lock would
    /// hand the guesser a way to keep them out. A token is to be long enough not to be
    /// guessed.
    fn one_more_wrong(&self) -> Refusal {
        match take(&self.wrong) {
            Ok(()) => Refusal::WrongToken,
            Err(_) => Refusal::TooManyWrong,
        }
    }
}

/// Whether the request was meant for this listener, and by whoever sends it. With `tls`
/// also by a name that its certificate is for.
pub(super) fn honest(request: &Parts, tls: Option<&TlsServer>) -> Result<(), Refusal> {
    // A page of another site can make its own name resolve to this address and read
    // what it is given; what it cannot do is send another Host, nor be shown a certificate
    // for its own name.
    if !is_ours(&request.headers, tls) {
        return Err(Refusal::Host);
    }
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    if !reads && request.headers.contains_key(ORIGIN) {
        return Err(Refusal::Origin);
    }
    Ok(())
}

/// One more call of that kind, if it may come now.
pub(super) fn take(pace: &Mutex<Bucket>) -> Result<(), Refusal> {
    let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
    pace.take().map_err(Refusal::TooFast)
}

/// Whether there is one Host, and one that no name server of others can point here.
fn is_ours(headers: &HeaderMap, tls: Option<&TlsServer>) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Some(host) = host.to_str().ok().and_then(host_of) else { return false };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || tls.is_some_and(|tls| tls.is_for(name))
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
/// The calls of one credential, and those that need none: a person or a tool that asks all
/// the time is far below, and the control loop takes more.
pub(super) const CALLS: Rate = Rate { at_once: 5_000, a_second: 1_000 };
/// Wrong tokens that are told so; who sends more is told to wait.
const WRONG: Rate = Rate { at_once: 20, a_second: 1 };

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, Request};

    use super::{Access, Gate, Refusal, honest};
    use crate::admin::{OperatorRole, OperatorSettings, Settings};
    use crate::tls::Fingerprint;
    use crate::vocab::ids::{Credential, Operator};

    fn gate(address: &str, operators: &[(&str, &str, OperatorRole)]) -> Gate {
        let operators = operators.iter().map(|&(name, token, role)| OperatorSettings {
            name: name.into(),
            token: Some(token.into()),
            certificate: None,
            role,
        });
        let address = address.parse().unwrap();
        let operators = operators.collect();
        Gate::new(&Settings { operators, ..Settings::on(address) }, address)
    }

    fn with(token: &str) -> HeaderMap {
        let value = HeaderValue::from_str(token).unwrap();
        HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
    }

    fn id(gate: &Gate, access: Access, headers: &HeaderMap) -> Result<String, Refusal> {
        let mut operator = None;
        gate.admit(access, headers, None, &mut operator)?;
        Ok(operator.map_or_else(|| "anybody".to_owned(), |operator| operator.id))
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
        assert_eq!(id(&gate, CHANGE, &with("Bearer a-token")), Ok("alice".to_owned()));
        assert_eq!(id(&gate, LOOK, &with("bearer b")), Ok("bob".to_owned()));
        let refused = id(&gate, CHANGE, &with("Bearer b")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "bob has the role viewer and this needs operator"
        );
        for wrong in
            ["Bearer a-toke", "Bearer a-tokens", "Bearer a-token ", "Bearer A-TOKEN"]
        {
            assert_eq!(
                id(&gate, LOOK, &with(wrong)),
                Err(Refusal::WrongToken),
                "{wrong}"
            );
        }
        for none in ["", "Bearer ", "Bearer", "Basic a-token", "a-token"] {
            assert_eq!(id(&gate, LOOK, &with(none)), Err(Refusal::NoToken), "{none}");
        }
        let mut twice = with("Bearer a-token");
        twice.append(
            http::header::AUTHORIZATION,
            HeaderValue::from_static("Bearer a-token"),
        );
        assert_eq!(id(&gate, LOOK, &twice), Err(Refusal::NoToken));
    }

    #[test]
    fn who_needs_no_token_depends_on_who_can_reach_the_address() {
        let none = HeaderMap::new();
        let alone = gate("127.0.0.1:9901", &[]);
        assert_eq!(id(&alone, CHANGE, &none), Ok("local".to_owned()));

        let one = [("alice", "a", OperatorRole::Operator)];
        let loopback = gate("[::ffff:127.0.0.1]:9901", &one);
        assert_eq!(id(&loopback, CHANGE, &none), Err(Refusal::NoToken));
        assert!(id(&loopback, Access::Scrape, &none).is_ok());

        let open = gate("0.0.0.0:9901", &one);
        assert_eq!(id(&open, Access::Scrape, &none), Err(Refusal::NoToken));
        assert!(id(&open, Access::Scrape, &with("Bearer a")).is_ok());
        assert!(id(&open, Access::Open, &none).is_ok());
    }

    #[test]
    fn a_certificate_names_its_operator_and_a_token_goes_first() {
        let address = "127.0.0.1:9901".parse().unwrap();
        let (hers, other) = (Fingerprint::of(b"alice"), Fingerprint::of(b"mallory"));
        let operator = |name: &str, token: Option<&str>, certificate, role| {
            let (name, token) = (name.to_owned(), token.map(str::to_owned));
            OperatorSettings { name, token, certificate, role }
        };
        let operators = vec![
            operator("alice", None, Some(hers), OperatorRole::Operator),
            operator("bob", Some("b-token"), None, OperatorRole::Viewer),
        ];
        let gate = Gate::new(&Settings { operators, ..Settings::on(address) }, address);
        let (none, wrong) = (HeaderMap::new(), with("Bearer alice"));
        let bob = with("Bearer b-token");
        for (headers, certificate, admitted, named) in [
            (&none, Some(hers), Ok(()), Some(("alice", Credential::Certificate))),
            (&none, Some(other), Err(Refusal::NoToken), None),
            (&none, None, Err(Refusal::NoToken), None),
            (&wrong, Some(hers), Err(Refusal::WrongToken), None),
            (
                &bob,
                Some(hers),
                Err(Refusal::Role {
                    name: "bob".to_owned(),
                    has: OperatorRole::Viewer,
                    needs: OperatorRole::Operator,
                }),
                Some(("bob", Credential::Token)),
            ),
        ] {
            let mut operator = None;
            let said = gate.admit(CHANGE, headers, certificate, &mut operator);
            assert_eq!(said, admitted);
            let named = named.map(|(id, method)| Operator { id: id.to_owned(), method });
            assert_eq!(operator, named);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_that_never_rests_is_slowed_down_alone() {
        let operators = [
            ("alice", "a", OperatorRole::Operator),
            ("bob", "b", OperatorRole::Operator),
        ];
        let gate = gate("127.0.0.1:9901", &operators);
        let asked = |token: &str| id(&gate, CHANGE, &with(token));
        let most = (0..20_000).find(|_| asked("Bearer a").is_err());
        assert_eq!(most, Some(5_000));
        let Err(Refusal::TooFast(wait)) = asked("Bearer a") else { panic!("not slowed") };
        assert!(wait <= Duration::from_millis(1), "{wait:?}");
        assert_eq!(asked("Bearer b"), Ok("bob".to_owned()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!((0..1_000).all(|_| asked("Bearer a").is_ok()));
        assert!(asked("Bearer a").is_err());
    }

    #[test]
    fn wrong_tokens_are_bounded_and_lock_nobody_out() {
        let gate = gate("127.0.0.1:9901", &[("alice", "right", OperatorRole::Operator)]);
        let answers: Vec<Refusal> = (0..1000)
            .map(|n| id(&gate, LOOK, &with(&format!("Bearer {n}"))).unwrap_err())
            .collect();
        assert!(answers[..20].iter().all(|answer| *answer == Refusal::WrongToken));
        let most =
            answers.iter().filter(|answer| **answer == Refusal::TooManyWrong).count();
        assert!(most > 900, "{most}");
        assert_eq!(id(&gate, LOOK, &with("Bearer right")), Ok("alice".to_owned()));
    }

    #[test]
    fn only_hosts_that_no_other_site_can_bear_are_ours() {
        let asked = |hosts: &[&str]| {
            let request =
                hosts.iter().fold(Request::get("/"), |r, host| r.header("host", *host));
            honest(&request.body(()).unwrap().into_parts().0, None)
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
            assert_eq!(honest(&request.into_parts().0, None), answer, "{method}");
        }
    }
}
