//! Spawning in one place, so that no task is anonymous and a panic in one is said.

use tokio::task::JoinHandle;

/// Spawns a task of this thread's runtime; its name is in the log if it panics.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn local<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + 'static,
{
    tokio::task::spawn_local(watched(name, future))
}

/// Spawns a task that may move between threads.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn shared<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(watched(name, future))
}

async fn watched<F: Future<Output = ()>>(name: &'static str, future: F) {
    /// Says so when the task is unwound.
    struct Said(&'static str);
    impl Drop for Said {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!(task = self.0, "a task panicked");
            }
        }
    }
    let _said = Said(name);
    future.await;
}
