//! `Banks`: the latency banks of a stage, one for each kind of time, and how what there is to
//! bet on latencies is divided among them.
//!
//! A route without streams has one kind and one bank, which holds it all. A kind takes part
//! from the bucket on for which stable's times of it are known: whatever the others have made
//! of their parts until then is divided anew, equally. That is settled before the bucket
//! begins and by stable's past alone, so that the odds of all together stay honest
//! (decision/SPEC.md 3.3, 15).

use super::baseline::Baseline;
use super::gauges::Bank;
use crate::judge::stats::log::log_sum_exp;
use crate::judge::stats::shell::ShellPlan;
use crate::judge::sums::{StreamCell, Sums, Timing};

/// The latency banks of one stage.
#[derive(Clone, Debug)]
pub(super) struct Banks {
    banks: [Bank; KINDS],
    /// The logarithm of each one's part; minus infinity for one that takes no part.
    parts: [f64; KINDS],
    takes_part: [bool; KINDS],
}

const KINDS: usize = Timing::ALL.len();

impl Banks {
    pub(super) fn new(plan: &ShellPlan) -> Self {
        Self {
            banks: Timing::ALL.map(|_| Bank::new(plan)),
            parts: [0.0, f64::NEG_INFINITY, f64::NEG_INFINITY],
            takes_part: [false; KINDS],
        }
    }

    /// Adds what the canary or stable did.
    pub(super) fn add(&mut self, is_canary: bool, sums: &Sums, baseline: &Baseline) {
        for cell in &sums.cells {
            for (bin, count) in baseline.law(Timing::Whole).folded(&cell.bins) {
                self.banks[0].add(is_canary, bin, count);
            }
        }
        for StreamCell { first, each } in &sums.streams {
            for (bin, count) in baseline.law(Timing::FirstToken).folded(first) {
                self.banks[1].add(is_canary, bin, count);
            }
            for (bin, count) in baseline.law(Timing::EachToken).folded(each) {
                self.banks[2].add(is_canary, bin, count);
            }
        }
    }

    /// Looks at what the open bucket holds.
    pub(super) fn look(&mut self) {
        self.banks.iter_mut().for_each(Bank::look);
    }

    /// Closes the bucket, and lets those take part whose tables are there now.
    pub(super) fn close(&mut self, baseline: &Baseline) {
        for (bank, timing) in self.banks.iter_mut().zip(Timing::ALL) {
            let law = baseline.law(timing);
            bank.close(law.tables(), law.phi());
        }
        let comes = |at: usize| !self.takes_part[at] && self.banks[at].has_tables();
        let comes: [bool; KINDS] = std::array::from_fn(comes);
        if comes.contains(&true) {
            self.divide(comes);
        }
    }

    fn divide(&mut self, comes: [bool; KINDS]) {
        let held = |at: &usize| self.takes_part[*at];
        let old: Vec<f64> = (0..KINDS).filter(held).map(|at| self.weighted(at)).collect();
        let count = |which: [bool; KINDS]| {
            let count = which.into_iter().filter(|it| *it).count();
            f64::from(u32::try_from(count).unwrap_or(u32::MAX))
        };
        let (before, more) = (count(self.takes_part), count(comes));
        // Who has had no tables has bet nothing: it still holds what it was given.
        let all = if old.is_empty() { 0.0 } else { log_sum_exp(&old) };
        let both = self.parts.iter_mut().zip(&mut self.takes_part);
        for ((part, takes_part), comes) in both.zip(comes) {
            *part = match (*takes_part, comes) {
                (true, _) => *part + (before / (before + more)).ln(),
                (false, true) => all - (before + more).ln(),
                (false, false) => f64::NEG_INFINITY,
            };
            *takes_part |= comes;
        }
    }

    fn weighted(&self, at: usize) -> f64 {
        self.parts[at] + self.banks[at].shell.log_evidence()
    }

    /// A restart of all (SPEC 3.2).
    pub(super) fn restart(&mut self) {
        self.banks.iter_mut().for_each(|bank| bank.shell.restart());
    }

    /// Each bank that takes part, and the logarithm of its part; the one of whole answers
    /// while there is none.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Timing, &Bank, f64)> {
        let all = Timing::ALL.into_iter().zip(&self.banks).zip(self.parts);
        all.filter(|(_, part)| *part > f64::NEG_INFINITY)
            .map(|((timing, bank), part)| (timing, bank, part))
    }
}

#[cfg(test)]
mod tests {
    use super::{Banks, KINDS};
    use crate::judge::stats::shell::ShellPlan;

    /// What all of them hold together, when each shell stands where it does.
    fn held(banks: &Banks) -> f64 {
        (0..KINDS).map(|at| banks.weighted(at).exp()).sum()
    }

    #[test]
    fn whoever_comes_later_gets_an_equal_part_of_what_there_is_and_nothing_is_made() {
        let mut banks = Banks::new(&ShellPlan::running(0.001));
        assert_eq!(banks.parts().count(), 1);
        banks.divide([false, true, true]);
        let half = 0.5_f64.ln();
        assert_eq!((banks.parts[0], banks.parts[1]), (f64::NEG_INFINITY, half));
        assert_eq!(banks.parts().count(), 2);
        for _ in 0..5 {
            banks.banks[1].shell.set_open(&[1.0; 9]);
            banks.banks[1].shell.close();
        }
        let before = held(&banks);
        banks.divide([true, false, false]);
        // A shell begins at three quarters and keeps the rest for restarts.
        assert!(held(&banks) <= before, "{} {before}", held(&banks));
        assert!(held(&banks) > before * 0.9);
        assert!((banks.parts[0].exp() - before / 3.0).abs() < 1e-9);
        let mut alone = Banks::new(&ShellPlan::running(0.001));
        alone.divide([true, false, false]);
        assert_eq!(alone.parts[0].to_bits(), 0.0_f64.to_bits());
    }
}
