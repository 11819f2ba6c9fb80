//! `Noise`: how much stable's own bad events cluster, from its endpoints among themselves.
//!
//! It is learned from stable alone, before and beside the canary, so that whatever the
//! canary does, the evidence against it is discounted by the same amount (SPEC 3.4, 3.5).

use crate::judge::reading::{float, whole};
use crate::judge::stats::dispersion::{Dispersion, phi_of};
use crate::judge::stats::winsor::CellCap;

/// One kind of event of stable, second by second.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    caps: Option<CellCap>,
    /// Cells and events seen, decayed; a cell's mean has no upper end, unlike its quantiles.
    cells: f64,
    events: f64,
    cap: Option<u64>,
    phi: f64,
    open: Block,
    scales: [Scale; SPANS.len()],
}

/// Events and requests by endpoint.
#[derive(Clone, Debug, Default)]
struct Block {
    events: Vec<u64>,
    requests: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Scale {
    seconds: u64,
    /// The number of the block that is open.
    number: u64,
    block: Block,
    /// The events of the block before, where one endpoint is all there is.
    before: Option<u64>,
    dispersion: Dispersion,
}

impl Noise {
    /// Of rare events, whose cells are capped.
    pub(super) fn rare() -> Self {
        Self::new(Some(CellCap::new()), false)
    }

    /// Of frequent events, as answers slower than the median.
    pub(super) fn frequent() -> Self {
        Self::new(None, true)
    }

    fn new(caps: Option<CellCap>, binomial: bool) -> Self {
        let scale = |seconds| Scale {
            seconds,
            number: 0,
            block: Block::default(),
            before: None,
            dispersion: Dispersion::new(binomial),
        };
        Self {
            caps,
            cells: 0.0,
            events: 0.0,
            cap: None,
            phi: 1.0,
            open: Block::default(),
            scales: SPANS.map(scale),
        }
    }

    /// What an endpoint did in the present second.
    pub(super) fn add(&mut self, endpoint: usize, events: u64, requests: u64) {
        self.open.add(endpoint, events, requests);
    }

    /// The end of second number `second`: what was learned holds from here on.
    pub(super) fn close(&mut self, second: u64) {
        if let Some(caps) = &mut self.caps {
            for (events, requests) in self.open.cells() {
                if requests > 0 {
                    caps.add(events);
                    self.cells += 1.0;
                    self.events += float(events);
                }
            }
            for events in &mut self.open.events {
                *events = (*events).min(self.cap.unwrap_or(u64::MAX));
            }
        }
        for scale in &mut self.scales {
            let number = second / scale.seconds;
            if number != scale.number {
                scale.close();
                scale.number = number;
            }
            scale.block.add_all(&self.open);
        }
        self.open.clear();
        if let Some(caps) = &self.caps {
            let usual = whole((self.events / self.cells.max(1.0) * MULTIPLE).ceil());
            self.cap = caps.cap().map(|cap| cap.max(usual));
        }
        self.phi = phi_of(self.scales.iter().map(|scale| &scale.dispersion));
    }

    /// What was learned loses weight, as after a minute.
    pub(super) fn fade(&mut self, minutes: f64) {
        if let Some(caps) = &mut self.caps {
            let factor = 0.5_f64.powf(minutes / CAP_HALF_LIFE_MINUTES);
            caps.decay(factor);
            self.cells *= factor;
            self.events *= factor;
        }
        let factor = 0.5_f64.powf(minutes / PHI_HALF_LIFE_MINUTES);
        for scale in &mut self.scales {
            scale.dispersion.decay(factor);
        }
    }

    /// At most so many events of one cell count; `None` until enough cells were seen.
    pub(super) fn cap(&self) -> Option<u64> {
        self.cap
    }

    /// By so much evidence is discounted; 1 when events do not cluster.
    pub(super) fn phi(&self) -> f64 {
        self.phi
    }
}

impl Block {
    fn add(&mut self, endpoint: usize, events: u64, requests: u64) {
        if self.events.len() <= endpoint {
            self.events.resize(endpoint + 1, 0);
            self.requests.resize(endpoint + 1, 0);
        }
        self.events[endpoint] += events;
        self.requests[endpoint] += requests;
    }

    fn add_all(&mut self, more: &Self) {
        for (endpoint, (events, requests)) in more.cells().enumerate() {
            self.add(endpoint, events, requests);
        }
    }

    fn cells(&self) -> impl Iterator<Item = (u64, u64)> {
        self.events.iter().copied().zip(self.requests.iter().copied())
    }

    fn clear(&mut self) {
        self.events.fill(0);
        self.requests.fill(0);
    }
}

impl Scale {
    fn close(&mut self) {
        let busy = self.block.requests.iter().filter(|requests| **requests > 0).count();
        if busy >= 2 {
            self.dispersion.block(&self.block.events, &self.block.requests);
            self.before = None;
        } else if busy == 1 {
            let now = self.block.events.iter().sum();
            if let Some(before) = self.before {
                self.dispersion.succession(before, now);
            }
            self.before = Some(now);
        } else {
            self.before = None;
        }
        self.block.clear();
    }
}

/// Seconds of the blocks that clustering is looked for in.
const SPANS: [u64; 3] = [1, 10, 60];
/// A cell may always hold so many times its mean: where cells are full of events, a cap just
/// above their 95th percentile would hide a version that fails ten times as often, while the
/// cap on a bucket's evidence bounds what a burst can do there.
const MULTIPLE: f64 = 10.0;
const CAP_HALF_LIFE_MINUTES: f64 = 30.0;
const PHI_HALF_LIFE_MINUTES: f64 = 60.0;
