//! `CellCap`: how many failures of one endpoint in one second still count
//! (decision/SPEC.md 3.4). Apart from the dispersion because it clips bursts before they
//! are evidence, where the dispersion divides the evidence.

/// Counts above this are not told apart.
const HIGHEST: usize = 64;
/// Cells that must have been seen before there is a cap.
const LEAST_CELLS: u64 = 60;
/// No cap is lower.
const LEAST_CAP: u64 = 2;

/// What stable's cells look like: failures of one endpoint in one second.
#[derive(Clone, Debug, PartialEq)]
pub struct CellCap {
    cells: [f64; HIGHEST + 1],
    seen: u64,
}

impl Default for CellCap {
    fn default() -> Self {
        Self { cells: [0.0; HIGHEST + 1], seen: 0 }
    }
}

impl CellCap {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more cell of stable, with so many failures.
    pub fn add(&mut self, count: u64) {
        let place = usize::try_from(count).unwrap_or(HIGHEST).min(HIGHEST);
        self.cells[place] += 1.0;
        self.seen = self.seen.saturating_add(1);
    }

    /// Lets the past count for less: `factor`, 0 to 1, of what it did.
    pub fn decay(&mut self, factor: f64) {
        for cell in &mut self.cells {
            *cell *= factor;
        }
    }

    /// How many failures of a cell count: one more than 95 of 100 of stable's cells have,
    /// and at least 2. `None`, no cap, until 60 cells were seen.
    #[must_use]
    pub fn cap(&self) -> Option<u64> {
        if self.seen < LEAST_CELLS {
            return None;
        }
        let enough = 0.95 * self.cells.iter().sum::<f64>();
        let mut below = 0.0;
        let mut quantile = 0;
        for (count, cells) in (0..).zip(self.cells) {
            quantile = count;
            below += cells;
            if below >= enough {
                break;
            }
        }
        Some(LEAST_CAP.max(quantile + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::cases;
    use super::super::vectors::counts;
    use super::CellCap;

    #[test]
    fn caps_are_those_of_the_reference() {
        for case in cases!("kappa") {
            let mut cells = CellCap::new();
            for (count, times) in (0..).zip(counts(&case["cell_count_histogram"])) {
                (0..times).for_each(|_| cells.add(count));
            }
            assert_eq!(cells.cap(), case["kappa"].as_u64(), "{case}");
        }
    }

    #[test]
    fn the_past_fades_but_the_cells_stay_seen() {
        let mut cells = CellCap::new();
        (0..100).for_each(|_| cells.add(1_000));
        assert_eq!(cells.cap(), Some(65));
        cells.decay(0.001);
        (0..10).for_each(|_| cells.add(0));
        assert_eq!(cells.cap(), Some(2));
    }
}
