//! Threads and their runtimes: one for each worker, one for everything else.

use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;

use super::shutdown::{Stage, Watcher, reached};
use crate::clock;
use crate::measure::Till;
use crate::proxy::{Listener, Shared, Worker};
use crate::tasks;

/// A data-plane thread.
#[derive(Debug)]
pub(super) struct WorkerThread {
    thread: thread::JoinHandle<usize>,
}

/// What a worker begins with.
pub(super) struct WorkerParts {
    pub(super) number: usize,
    pub(super) shared: Shared,
    pub(super) till: Till,
    pub(super) listeners: Vec<Listener>,
    pub(super) drain: Duration,
}

impl WorkerThread {
    /// Starts a worker and waits until it takes connections.
    pub(super) fn start(parts: WorkerParts, stage: Watcher) -> anyhow::Result<Self> {
        let (up, waiting) = mpsc::sync_channel(1);
        let name = format!("worker-{}", parts.number);
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || serve(parts, stage, up))
            .context("cannot start a thread for a worker")?;
        waiting.recv().context("a worker ended before it began")??;
        Ok(Self { thread })
    }

    /// Waits for its end; how many connections were cut.
    pub(super) fn join(self) -> usize {
        self.thread.join().unwrap_or_else(|_| {
            tracing::error!("a worker's thread panicked: this is a defect of switchback");
            0
        })
    }
}

fn serve(
    parts: WorkerParts,
    stage: Watcher,
    up: mpsc::SyncSender<anyhow::Result<()>>,
) -> usize {
    let built =
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    match built {
        Ok(runtime) => runtime.block_on(work(parts, stage, up)),
        Err(error) => {
            let failed = Err(anyhow::Error::new(error).context("cannot make a runtime"));
            let _told = up.send(failed);
            0
        }
    }
}

async fn work(
    parts: WorkerParts,
    mut stage: Watcher,
    up: mpsc::SyncSender<anyhow::Result<()>>,
) -> usize {
    let WorkerParts { number, shared, till, listeners, drain } = parts;
    let worker = Worker::start(number, &shared, till);
    let (stop, stopped) = watch::channel(false);
    let mut running = Vec::new();
    for listener in listeners {
        let run = listener.run(Rc::clone(&worker), stopped.clone());
        running.push(tasks::local("listener", run));
    }
    let _told = up.send(Ok(()));
    reached(&mut stage, Stage::Leaving).await;
    worker.leave();
    reached(&mut stage, Stage::Draining).await;
    stop.send_replace(true);
    for listener in running {
        let _ended = listener.await;
    }
    worker.close();
    let until = clock::now() + drain;
    while worker.connections() > 0 && clock::now() < until {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = reached(&mut stage, Stage::Over) => break,
        }
    }
    let left = worker.connections();
    let until = clock::now() + LAST_WORDS;
    while worker.end_tunnels() && clock::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    // Only one whose time is over: the cut is for the requests of all workers.
    let until = clock::now() + LAST_WORDS;
    while left > 0 && worker.cut() && clock::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    let until = clock::now() + LAST_NOTES;
    while worker.has_notes() && clock::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    left
}

/// How long the end waits for what is said to those whose connections are cut.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long the end waits for control to collect what is to be recorded.
const LAST_NOTES: Duration = Duration::from_secs(1);
/// Between two looks for the end of a drain.
const LOOK: Duration = Duration::from_millis(5);
