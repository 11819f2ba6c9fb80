//! `Pooled`: the buckets of a comparison of outputs. Apart because deciles and categories
//! share it: a bucket in which one version was silent waits for the next one, and the
//! process begins again beside itself every so many buckets.

use super::shell::Shell;
use super::shell::ShellPlan;

/// Counts of the open bucket around a [`Shell`] of equally likely alternatives
/// (decision/SPEC.md 4.4 and 3.2).
#[derive(Clone, Debug)]
pub(super) struct Pooled {
    shell: Shell,
    canary: Box<[u64]>,
    stable: Box<[u64]>,
    closed: u64,
}

impl Pooled {
    /// Nothing seen: so many alternatives on counts of so many kinds.
    pub(super) fn new(alternatives: usize, kinds: usize, plan: &ShellPlan) -> Self {
        let each = 1.0 / super::super::reading::float(alternatives as u64);
        Self {
            shell: Shell::new(&vec![each; alternatives], plan),
            canary: vec![0; kinds].into(),
            stable: vec![0; kinds].into(),
            closed: 0,
        }
    }

    /// Adds to the open bucket. `increments` is asked what the whole bucket says once both
    /// versions have spoken in it.
    pub(super) fn add(
        &mut self,
        canary: &[u64],
        stable: &[u64],
        increments: impl FnOnce(&[u64], &[u64]) -> Vec<f64>,
    ) {
        for (sums, more) in [(&mut self.canary, canary), (&mut self.stable, stable)] {
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum = sum.saturating_add(*more);
            }
        }
        if self.both_spoke() {
            self.shell.set_open(&increments(&self.canary, &self.stable));
        }
    }

    /// Closes the bucket, unless one version was silent: then its counts stay in the next.
    pub(super) fn close(&mut self) {
        if self.both_spoke() {
            self.canary.fill(0);
            self.stable.fill(0);
        }
        self.shell.close();
        self.closed += 1;
        if self.closed.is_multiple_of(RESTART_EVERY) {
            self.shell.restart();
        }
    }

    pub(super) fn shell(&self) -> &Shell {
        &self.shell
    }

    fn both_spoke(&self) -> bool {
        [&self.canary, &self.stable].iter().all(|sums| sums.iter().any(|sum| *sum > 0))
    }
}

/// Buckets between two restarts.
const RESTART_EVERY: u64 = 15;

#[cfg(test)]
mod tests {
    use super::{Pooled, ShellPlan};

    fn difference(canary: &[u64], stable: &[u64]) -> Vec<f64> {
        let sum =
            |counts: &[u64]| super::super::super::reading::float(counts.iter().sum());
        vec![(sum(canary) - sum(stable)) / 10.0]
    }

    #[test]
    fn a_silent_version_pools_buckets() {
        let plan = ShellPlan { initial: 1.0, ..ShellPlan::running(0.001) };
        let mut pooled = Pooled::new(1, 2, &plan);
        pooled.add(&[1, 2], &[0, 0], difference);
        pooled.close();
        assert!(pooled.shell().log_evidence().abs() < 1e-12);
        pooled.add(&[0, 0], &[0, 1], difference);
        assert!((pooled.shell().log_evidence() - 0.2).abs() < 1e-12);
        pooled.close();
        pooled.add(&[0, 0], &[5, 5], difference);
        pooled.close();
        assert!((pooled.shell().log_evidence() - 0.2).abs() < 1e-12);
    }

    #[test]
    fn what_begins_late_is_found_beside_what_came_before() {
        let mut pooled = Pooled::new(1, 1, &ShellPlan::running(0.001));
        for bucket in 0..35 {
            let (canary, stable) = if bucket < 30 { (1, 21) } else { (21, 1) };
            pooled.add(&[canary], &[stable], difference);
            pooled.close();
        }
        let level = pooled.shell().best_level();
        assert!(level < -45.0 && pooled.shell().log_evidence() > 1.0, "{pooled:?}");
    }
}
