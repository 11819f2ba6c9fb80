//! What the tests of the demo's sockets share: a runtime with local tasks and a time limit.
//!
//! It is apart so that no test hangs: a condition that never comes true ends it.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// Runs a test with real sockets and the real clock, for half a minute at most.
pub(super) fn on_local_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(30), test).await };
    LocalSet::new().block_on(&runtime, bounded).expect("the test came to no end")
}
