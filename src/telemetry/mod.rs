//! How the process speaks: logs and metrics, nothing else.
//!
//! [`logs`] sets up `tracing`. [`emit`] has one function for each thing that happens, which
//! writes the log line and counts it. [`names`] has every metric once. The [`Exporter`]
//! makes the page that Prometheus reads.
//!
//! # Why a page is made anew each time
//! The data path counts into its own books, and control adds them up. A page is a function
//! of those sums at the moment of the scrape, so that counts on it are exactly the requests
//! that ended, and a version that a reload removed leaves nothing behind.
//! `metrics-exporter-prometheus` writes the counters and gauges; histograms are written
//! here, because its recorder takes samples only one by one and ours are already counted.

pub mod emit;
pub mod emit_names;
pub mod logs;
pub mod names;

mod buckets;
mod exporter;
mod kept;
mod page;

pub use buckets::Buckets;
pub use exporter::{Audited, Exporter, Recorded, SinkFacts};
pub use kept::KeptCounts;
pub use page::{
    NameFacts, Page, RouteFacts, RuleFacts, StreamTotals, Totals, VersionFacts,
};
