//! How long a rollback takes: from the standing verdict to the table that is in force, and
//! from an operator's order, its audit record synced, to the same.
//!
//! Apart from `hot_path` because it starts the whole proxy, with a disk under it. The swap is
//! the same deed whoever asks for it, so that orders measure both. `cargo bench --bench
//! rollback` prints medians and maxima; the state is kept where `TMPDIR` is.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

use switchback::control::{ControlHandle, Deed};
use switchback::vocab::Name;
use switchback::vocab::ids::{Credential, Operator};
use switchback::vocab::record::{Phase, RollbackRecord, Status};
use switchback::{app, config};

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let dir =
        std::env::temp_dir().join(format!("switchback-rollback-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let told = measure(&dir);
    std::fs::remove_dir_all(&dir)?;
    std::io::stdout().lock().write_all(told?.as_bytes())?;
    Ok(())
}

fn measure(dir: &Path) -> Result<String, Fault> {
    let (stable, canary) = (server()?, server()?);
    let running = app::start(settings(dir, stable, canary)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut orders, mut swaps) = (Vec::new(), Vec::new());
    for round in 0..WARM + ROUNDS {
        let (took_us, swap_us) = runtime.block_on(order(running.control()))?;
        if round >= WARM {
            orders.push(took_us);
            swaps.push(swap_us);
        }
    }
    let _cut = running.stop();
    Ok(format!(
        "{ROUNDS} rollbacks of {ROUTES} routes' table, state in {}\n{}{}",
        dir.parent().unwrap_or(dir).display(),
        line("verdict or order carried out to table in force", &mut swaps),
        line("order given to table in force, its record synced", &mut orders),
    ))
}

/// Rolls the canary back and lets it go again: microseconds from the order to its answer,
/// and of the swap in it.
async fn order(control: &ControlHandle) -> Result<(u64, u64), Fault> {
    let name = |text: &str| Name::parse(text);
    let (route, canary) = (name("r0")?, name("v2")?);
    let since = clock();
    let record = control.rollback(route.clone(), None, None, deed()).await?;
    let took = u64::try_from(since.elapsed().as_micros())?;
    let swap = swap_us(&record).ok_or("the record has no swap")?;
    loop {
        let now = control.record(record.rollback_id.clone()).await?;
        match now.status {
            Status::Completed => break,
            Status::Failed => return Err(format!("failed: {:?}", now.notes).into()),
            Status::Pending | Status::InProgress | Status::RolledBack => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
    control.release(route, canary, deed()).await?;
    Ok((took, swap))
}

fn swap_us(record: &RollbackRecord) -> Option<u64> {
    let phase = record.phases.iter().find(|it| it.phase == Phase::RouteTraffic)?;
    phase.detail.as_ref()?.strip_suffix(" us")?.rsplit(' ').next()?.parse().ok()
}

fn deed() -> Deed {
    let operator = Operator { id: "bench".to_owned(), method: Credential::Loopback };
    Deed { operator, reason: "a benchmark".to_owned() }
}

/// A table of some size, because it is copied for each change.
fn settings(
    dir: &Path,
    stable: SocketAddr,
    canary: SocketAddr,
) -> Result<app::Settings, Fault> {
    let mut text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         stateDir: {dir:?}\nroutes:\n"
    );
    for route in 0..ROUTES {
        text += &format!(
            "  - name: r{route}\n    match: {{ pathPrefix: /r{route} }}\n    versions:\n      \
             - {{ name: v1, role: stable, endpoints: [\"http://{stable}\"] }}\n      \
             - {{ name: v2, role: canary, weight: 10%, endpoints: [\"http://{canary}\"] }}\n    \
             rollback: {{ stabilization: 0s }}\n"
        );
    }
    Ok(config::parse(&text, "bench.yaml", dir)?.settings)
}

/// Takes connections and says nothing.
fn server() -> Result<SocketAddr, Fault> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || listener.incoming().for_each(drop));
    Ok(address)
}

fn line(what: &str, times: &mut [u64]) -> String {
    times.sort_unstable();
    let last = times.last().copied().unwrap_or_default();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    format!("{what}: median {median} us, longest {last} us\n")
}

#[expect(clippy::disallowed_types, reason = "measures from outside")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

const ROUTES: usize = 20;
const WARM: usize = 5;
const ROUNDS: usize = 100;
