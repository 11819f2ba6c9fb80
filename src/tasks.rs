//! Spawning in one place, so that no task is anonymous and a panic in one is said.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

/// Spawns a task of this thread's runtime; its name is in the log if it panics.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn local<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + 'static,
{
    tokio::task::spawn_local(Watched { name, future })
}

/// Spawns a task that may move between threads.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn shared<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(Watched { name, future })
}

pin_project! {
    /// A future by itself, and not an `async` function around it: that would hold it twice,
    /// where it was given and where it is waited for.
    struct Watched<F> {
        name: &'static str,
        #[pin]
        future: F,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let _said = Said(this.name);
        this.future.poll(cx)
    }
}

/// Says so when its task is unwound.
struct Said(&'static str);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "a task panicked");
        }
    }
}
