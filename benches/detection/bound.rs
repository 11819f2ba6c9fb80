//! Wald's bound on the delay: what no test with the same false-alarm rate can beat
//! (decision/SPEC.md 2).

use switchback::judge::stats::bounds::{two_sample, two_sample_of};

use crate::law::Law;
use crate::scenario::{Fault, Scenario};

/// Mean seconds until a decision at 1 in 1,000, for the best test of two samples that knows
/// both versions; `None` where the versions do not differ in what the bound is about.
pub(crate) fn seconds(
    scenario: &Scenario,
    (stable, faulty): (&Law, &Law),
) -> Option<f64> {
    let w = scenario.share;
    let information = match scenario.fault {
        Fault::Errors(ratio) => {
            let (c, s) = ((scenario.errors * ratio).min(1.0), scenario.errors);
            two_sample(c, s, w)
        }
        Fault::Scale(_) | Fault::Tail(_) | Fault::Middle(_) => {
            two_sample_of(faulty.bins(), stable.bins(), w)
        }
        Fault::None | Fault::Cold(_) | Fault::Hang | Fault::Refuse => 0.0,
    };
    let requests = -ALPHA.ln() / information;
    (information > 1e-12).then(|| requests / scenario.rate)
}

/// The false-alarm rate of the default rules.
const ALPHA: f64 = 1e-3;
