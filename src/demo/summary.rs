//! What the demo claims, held against what was counted.
//!
//! It is apart because it must not be able to look away: it gets plain numbers, says for
//! each claim whether it held, and the exit code follows from that alone.

use std::time::Duration;

use super::clients::Books;
use super::model_server::Done;
use super::rollback::Rollback;
use super::view::{span, thousands};
use crate::control::RouteView;

/// Everything that was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// The callers' books when the canary began to go bad.
    pub(super) before_bad: Books,
    /// The callers' books when both servers were taken down.
    pub(super) before_dark: Books,
    /// The callers' books at the end, when every request had ended.
    pub(super) end: Books,
    /// From both servers' end to the first answer from the cache.
    pub(super) first_cached: Option<Duration>,
    /// The proxy's record.
    pub(super) rollback: Option<Rollback>,
    /// What the canary's server did until its drain was over.
    pub(super) canary_drained: Option<Done>,
    /// What the canary's server did until the end.
    pub(super) canary: Done,
    /// The answer to a question that no cache can know: status and `Proxy-Status`.
    pub(super) stranger: Option<(u16, Option<String>)>,
    /// The proxy's books at the end.
    pub(super) route: RouteView,
}

/// One thing the demo claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Whether it held.
    pub(super) held: bool,
    /// The claim with its numbers.
    pub(super) text: String,
}

impl Evidence {
    /// Every claim, in the order in which things happened.
    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![
            self.rolled_back(),
            self.nobody_suffered(),
            self.drained(),
            self.cache_answered(),
            self.honest_without_answer(),
            self.never_failed(),
            self.books_agree(),
        ]
    }

    fn rolled_back(&self) -> Claim {
        let swapped = self.rollback.as_ref().and_then(Rollback::swapped);
        let (Some(swapped), Some(first)) = (swapped, self.canary.first_bad) else {
            return Claim {
                held: false,
                text: "the canary was not rolled back".to_owned(),
            };
        };
        let took = span(swapped.since(first));
        let text =
            format!("all new requests were on stable {took} after the first bad answer");
        Claim { held: true, text }
    }

    fn nobody_suffered(&self) -> Claim {
        let answered = self.before_dark.answered() - self.before_bad.answered();
        let failed = self.before_dark.failures() - self.before_bad.failures();
        let text = format!(
            "while the canary was bad, {} of {} client requests failed ({})",
            thousands(failed),
            thousands(answered + failed),
            self.what_became_of_bad_answers(),
        );
        Claim { held: failed == 0 && answered > 0 && self.canary.bad > 0, text }
    }

    /// An answer that was neither rescued nor late was asked for again, on a fresh connection.
    fn what_became_of_bad_answers(&self) -> String {
        let bad = self.canary.bad;
        let rescued = self.before_dark.rescued - self.before_bad.rescued;
        let late = self.before_dark.late - self.before_bad.late;
        let mut text = format!(
            "of {bad} bad answers stable rescued {rescued}, {late} came late but right"
        );
        let again = bad.saturating_sub(rescued + late);
        if again > 0 {
            text.push_str(&format!(", {again} were asked for again"));
        }
        text
    }

    fn drained(&self) -> Claim {
        let drain = self.rollback.as_ref().and_then(|rollback| rollback.drain);
        let (Some(drain), Some(then)) = (drain, self.canary_drained) else {
            return Claim { held: false, text: "the canary was not drained".to_owned() };
        };
        let since = self.canary.asked - then.asked;
        let text = format!(
            "{} requests in flight at the canary ended in {}, {} were cut, {} came after",
            drain.drained,
            span(drain.took),
            drain.left,
            since
        );
        Claim { held: drain.left == 0 && since == 0, text }
    }

    fn cache_answered(&self) -> Claim {
        let cached = self.end.cached - self.before_dark.cached;
        let failed = self.end.failures() - self.before_dark.failures();
        let after = self.first_cached.map_or_else(|| "-".to_owned(), span);
        let text = format!(
            "with both servers down, the cache answered {} with the banner, the first after {after}; {} failed",
            thousands(cached),
            thousands(failed),
        );
        let soon = self.first_cached.is_some_and(|after| after < Duration::from_secs(1));
        Claim { held: cached > 0 && failed == 0 && soon, text }
    }

    fn honest_without_answer(&self) -> Claim {
        match &self.stranger {
            Some((status @ 502..=504, Some(why))) => Claim {
                held: true,
                text: format!("a question it could not know got a clear {status}: {why}"),
            },
            other => Claim {
                held: false,
                text: format!(
                    "a question it could not know got no clear error: {other:?}"
                ),
            },
        }
    }

    fn never_failed(&self) -> Claim {
        let failed = self.end.failures();
        let mut text = format!(
            "of {} requests in all, {} failed or got a wrong answer",
            thousands(self.end.ended()),
            thousands(failed)
        );
        for (why, times) in &self.end.failed {
            text.push_str(&format!("; {times} x {why}"));
        }
        Claim { held: failed == 0 && self.end.ended() > 0, text }
    }

    fn books_agree(&self) -> Claim {
        let mut held = !self.route.versions.is_empty();
        let mut parts = Vec::new();
        for version in &self.route.versions {
            let ours = version.requests.saturating_sub(version.failures);
            let theirs = self.end.answered_by(&version.name);
            held &= ours == theirs;
            parts.push(if ours == theirs {
                format!("{} answers of {}", thousands(ours), version.name)
            } else {
                format!("{}: {ours} by the proxy, {theirs} by the callers", version.name)
            });
        }
        let word = if held { "agree" } else { "do not agree" };
        let text =
            format!("the proxy's books and the callers' {word}: {}", parts.join(", "));
        Claim { held, text }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::Evidence;
    use crate::control::{RouteView, VersionView};
    use crate::demo::clients::Books;
    use crate::demo::model_server::Done;
    use crate::demo::rollback::{Drain, Rollback};
    use crate::vocab::time::Timestamp;

    fn books(stable: u64, canary: u64, rescued: u64, cached: u64) -> Books {
        let fresh = [("v2.4".to_owned(), stable), ("v2.5".to_owned(), canary)].into();
        Books { fresh, rescued, cached, ..Books::default() }
    }

    fn good() -> Evidence {
        let version = |name: &str, requests, failures| VersionView {
            name: name.to_owned(),
            requests,
            failures,
            ..VersionView::default()
        };
        let canary = Done { asked: 150, bad: 20, first_bad: Some(Timestamp(10_000)) };
        Evidence {
            before_bad: books(900, 100, 0, 0),
            before_dark: Books { late: 1, ..books(1_800, 130, 18, 0) },
            end: Books { late: 1, ..books(1_800, 130, 18, 500) },
            first_cached: Some(Duration::from_millis(12)),
            rollback: Some(Rollback {
                id: "rb-1".to_owned(),
                reason: "seen 4%".to_owned(),
                from: "v2.5".to_owned(),
                to: "v2.4".to_owned(),
                began: Some(Timestamp(10_300)),
                swap: Some(Duration::from_millis(12)),
                drain: Some(Drain {
                    took: Duration::from_millis(1_800),
                    drained: 9,
                    left: 0,
                }),
            }),
            canary_drained: Some(canary),
            canary,
            stranger: Some((
                503,
                Some("switchback; error=connection_refused".to_owned()),
            )),
            route: RouteView {
                versions: vec![version("v2.4", 2_300, 500), version("v2.5", 150, 20)],
                ..RouteView::default()
            },
        }
    }

    fn held(evidence: &Evidence) -> Vec<bool> {
        evidence.claims().iter().map(|claim| claim.held).collect()
    }

    #[test]
    fn a_good_run_holds_every_claim() {
        let claims = good().claims();
        assert!(claims.iter().all(|claim| claim.held), "{claims:#?}");
        assert_eq!(
            claims[0].text,
            "all new requests were on stable 312 ms after the first bad answer"
        );
        assert_eq!(
            claims[1].text,
            "while the canary was bad, 0 of 930 client requests failed \
             (of 20 bad answers stable rescued 18, 1 came late but right, 1 were asked for again)"
        );
    }

    #[test]
    fn each_claim_breaks_by_its_own_evidence() {
        type Spoil = fn(&mut Evidence);
        let failed = || BTreeMap::from([("status 502".to_owned(), 1)]);
        let cases: [(usize, Spoil); 11] = [
            (0, |evidence| evidence.rollback = None),
            (0, |evidence| evidence.canary.first_bad = None),
            (1, |evidence| evidence.canary.bad = 0),
            (2, |evidence| evidence.canary.asked += 1),
            (2, |evidence| evidence.canary_drained = None),
            (3, |evidence| evidence.end.cached = 0),
            (3, |evidence| evidence.first_cached = Some(Duration::from_secs(2))),
            (4, |evidence| evidence.stranger = Some((200, None))),
            (4, |evidence| evidence.stranger = Some((503, None))),
            (6, |evidence| evidence.route.versions[1].failures = 19),
            (6, |evidence| evidence.route.versions.clear()),
        ];
        for (number, (claim, spoil)) in cases.into_iter().enumerate() {
            let mut evidence = good();
            spoil(&mut evidence);
            assert!(!held(&evidence)[claim], "case {number}");
        }
        let mut while_bad = good();
        while_bad.before_dark.failed = failed();
        while_bad.end.failed = failed();
        assert_eq!(held(&while_bad), [true, false, true, true, true, false, true]);
        let mut while_dark = good();
        while_dark.end.failed = failed();
        assert_eq!(held(&while_dark), [true, true, true, false, true, false, true]);
    }
}
