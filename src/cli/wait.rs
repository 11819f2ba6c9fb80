//! What `status --wait` waits for, as a function of what the admin API shows.
//!
//! Apart from the asking so that every way to end is a row of a table of tests.

use super::output::Exit;
use crate::admin::wire::{Finding, StatusView, VersionView, finding};

/// How the canaries of all routes stand together: the worst of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stand {
    /// None takes traffic.
    NoTrial,
    /// Every one passes.
    Passing,
    /// There were requests, and they do not say enough.
    Inconclusive,
    /// Nothing came of the tests of one without its users: somebody has to decide.
    Held,
    /// There is nothing to judge one by, it is tested without its users, or its rollback has
    /// not ended.
    Open,
    /// One was rolled back.
    RolledBack,
}

impl Stand {
    /// The stand of all canaries.
    pub(super) fn of(status: &StatusView) -> Self {
        let versions = status.routes.iter().flat_map(|route| &route.versions);
        versions.filter(|v| v.role == "canary").map(one).max().unwrap_or(Self::NoTrial)
    }

    /// How the waiting ends here, if it does.
    pub(super) fn end(self) -> Option<Exit> {
        match self {
            Self::RolledBack => Some(Exit::RolledBack),
            Self::NoTrial => Some(Exit::Good),
            Self::Held => Some(Exit::Inconclusive),
            Self::Passing | Self::Inconclusive | Self::Open => None,
        }
    }

    /// How the waiting ends when its time is over.
    pub(super) fn at_timeout(self) -> Exit {
        match self {
            Self::RolledBack => Exit::RolledBack,
            Self::NoTrial | Self::Passing => Exit::Good,
            Self::Inconclusive | Self::Held => Exit::Inconclusive,
            Self::Open => Exit::Timeout,
        }
    }
}

fn one(canary: &VersionView) -> Stand {
    match (&*canary.state, finding(canary)) {
        ("quarantined", _) => Stand::RolledBack,
        ("held", _) => Stand::Held,
        ("serving", _) if canary.weight <= 0.0 => Stand::NoTrial,
        ("serving", Finding::Successful) => Stand::Passing,
        ("serving", Finding::Inconclusive) if canary.samples > 0 => Stand::Inconclusive,
        _ => Stand::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::Stand;
    use crate::admin::wire::{RouteView, StatusView, VersionView};
    use crate::cli::output::Exit;

    fn canary(state: &str, verdict: &str, samples: u64) -> VersionView {
        VersionView {
            role: "canary".to_owned(),
            state: state.to_owned(),
            verdict: verdict.to_owned(),
            weight: 10.0,
            samples,
            ..VersionView::default()
        }
    }

    fn with(canaries: Vec<VersionView>) -> Stand {
        let routes = canaries.into_iter().map(|canary| {
            let stable = VersionView { role: "stable".to_owned(), ..canary.clone() };
            RouteView { versions: vec![stable, canary], ..RouteView::default() }
        });
        Stand::of(&StatusView { routes: routes.collect(), ..StatusView::default() })
    }

    #[test]
    fn one_canary_ends_or_does_not_end_the_waiting() {
        let (pass, unsure) = ("pass: within every limit", "inconclusive: few");
        let breach = "breach: errorRate";
        for (canary, end, at_timeout) in [
            (canary("serving", pass, 99), None, Exit::Good),
            (canary("serving", unsure, 9), None, Exit::Inconclusive),
            (canary("serving", unsure, 0), None, Exit::Timeout),
            (canary("serving", breach, 99), None, Exit::Timeout),
            (canary("draining", breach, 99), None, Exit::Timeout),
            (canary("protected", breach, 99), None, Exit::Timeout),
            (canary("trickle", breach, 99), None, Exit::Timeout),
            (canary("held", breach, 99), Some(Exit::Inconclusive), Exit::Inconclusive),
            (canary("quarantined", breach, 0), Some(Exit::RolledBack), Exit::RolledBack),
            (
                VersionView { weight: 0.0, ..canary("serving", unsure, 0) },
                Some(Exit::Good),
                Exit::Good,
            ),
        ] {
            let stand = with(vec![canary.clone()]);
            assert_eq!(
                (stand.end(), stand.at_timeout()),
                (end, at_timeout),
                "{canary:?}"
            );
        }
    }

    #[test]
    fn of_several_canaries_the_worst_counts() {
        let pass = canary("serving", "pass: within every limit", 99);
        let unsure = canary("serving", "inconclusive: few", 9);
        let gone = canary("quarantined", "", 0);
        assert_eq!(with(vec![pass.clone(), unsure.clone()]), Stand::Inconclusive);
        assert_eq!(with(vec![pass.clone(), gone, unsure]), Stand::RolledBack);
        assert_eq!(with(vec![pass.clone(), pass]), Stand::Passing);
        assert_eq!(with(vec![]), Stand::NoTrial);
    }
}
