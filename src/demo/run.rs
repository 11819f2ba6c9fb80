//! `switchback demo`: puts everything together, plays the script and takes it all down.
//!
//! It is apart because the order matters here and only here: the servers before the proxy,
//! the proxy before the callers, and all of it gone again on every way out.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use super::clients::{Clients, Load};
use super::model_server::ModelServer;
use super::product::{CANARY, Places, Product, STABLE, free_ports, yaml};
use super::scratch::Scratch;
use super::screen::Screen;
use super::script::{Script, Servers};
use super::summary::Evidence;
use super::view::{Paint, Tone};
use crate::config;
use crate::control::ControlHandle;

/// How the demo is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DemoOptions {
    /// Plain lines even on a terminal. Without one, or when `TERM` says that it knows no
    /// more, they are plain anyway.
    pub plain: bool,
    /// Whether colour is welcome; it is used on a terminal only, and not with `NO_COLOR`.
    pub color: bool,
    /// How fast the script goes, 0.5 to 4; 1 takes about half a minute. What the script
    /// waits for takes its own time.
    pub speed: f64,
}

/// Plays the demo and says whether everything it claims held: exit code 0 if so, 1 if not,
/// 130 when it was interrupted.
///
/// # Errors
/// When the demo cannot be set up: no port on loopback, no directory for temporary files, a
/// proxy that does not start; or when nobody reads what it writes.
pub fn run(options: DemoOptions) -> anyhow::Result<ExitCode> {
    let terminal = config::terminal();
    let live = io::stdout().is_terminal() && terminal.moves && !options.plain;
    let paint = Paint(live && options.color && terminal.color);
    let mut screen = Screen::new(Box::new(io::stdout()), live, paint);
    screen.say(Tone::Strong, GREETING)?;
    let scratch = Scratch::new()?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the demo's own part")?;
    let local = LocalSet::new();
    let servers = local.block_on(&runtime, servers())?;
    let (product, places) = start(&servers, &scratch, &mut screen)?;
    let played = local.block_on(&runtime, async {
        tokio::select! {
            biased;
            stopped = interrupted() => stopped.map(|()| None),
            evidence = play(product.control(), &servers, (places, speed(options)), &mut screen) => {
                evidence.map(Some)
            }
        }
    });
    // The callers' and the servers' sockets go first, so that the proxy has nothing to wait
    // for.
    drop((servers, local, runtime));
    let cut = product.stop();
    tracing::debug!(cut, "the proxy has ended");
    drop(scratch);
    screen.settle()?;
    conclude(played?.as_ref(), &mut screen)
}

async fn servers() -> anyhow::Result<Servers> {
    let failed = "no port on loopback for a model server";
    Ok(Servers {
        stable: ModelServer::start(STABLE).await.context(failed)?,
        canary: ModelServer::start(CANARY).await.context(failed)?,
    })
}

/// Starts the proxy; on other ports when somebody was faster.
fn start(
    servers: &Servers,
    scratch: &Scratch,
    screen: &mut Screen,
) -> anyhow::Result<(Product, Places)> {
    let mut tries = 0;
    loop {
        let [proxy, admin] = free_ports().context("no port on loopback for the proxy")?;
        let places = Places {
            proxy,
            admin,
            stable: servers.stable.address(),
            canary: servers.canary.address(),
        };
        let text = yaml(&places, scratch.path());
        match Product::start(&text, scratch.path()) {
            Ok(product) => {
                screen.say(Tone::Plain, "\nThis is the whole configuration:\n\n")?;
                screen.say(Tone::Quiet, &text)?;
                let metrics =
                    format!("\nMetrics while it runs: http://{admin}/metrics\n\n");
                screen.say(Tone::Plain, &metrics)?;
                return Ok((product, places));
            }
            Err(_) if tries < PORT_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn play(
    control: &ControlHandle,
    servers: &Servers,
    (places, speed): (Places, f64),
    screen: &mut Screen,
) -> anyhow::Result<Evidence> {
    let clients = Clients::start(places.proxy, LOAD);
    Script::new(control, servers, clients, (places, speed), screen).play().await
}

/// Waits for whatever a terminal or a supervisor sends to end it.
async fn interrupted() -> anyhow::Result<()> {
    let (mut int, mut term, mut hup) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
    Ok(())
}

fn conclude(
    evidence: Option<&Evidence>,
    screen: &mut Screen,
) -> anyhow::Result<ExitCode> {
    let Some(evidence) = evidence else {
        screen.say(Tone::Warn, "interrupted; nothing is left behind")?;
        return Ok(ExitCode::from(INTERRUPTED));
    };
    screen.say(Tone::Strong, "\nWhat was counted, by the proxy and by the callers:\n")?;
    let claims = evidence.claims();
    for claim in &claims {
        let (tone, word) =
            if claim.held { (Tone::Good, "held  ") } else { (Tone::Bad, "BROKEN") };
        screen.say(tone, &format!("  {word}  {}", claim.text))?;
    }
    let broken = claims.iter().filter(|claim| !claim.held).count();
    if broken > 0 {
        screen
            .say(Tone::Bad, &format!("\n{broken} of {} claims broken", claims.len()))?;
        return Ok(ExitCode::FAILURE);
    }
    screen.say(Tone::Strong, &format!("\nall {} claims held", claims.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// The speed that can be kept.
fn speed(options: DemoOptions) -> f64 {
    if options.speed.is_finite() { options.speed.clamp(0.5, 4.0) } else { 1.0 }
}

const GREETING: &str = "\
Switchback: two model servers, the proxy in front of them and 64 callers, all in
this process, over real sockets. The canary will go bad, then both servers die.
Watch the callers.";

/// 640 requests a second in all: enough to judge a tenth of them within a second, and
/// little work for one core.
const LOAD: Load = Load { callers: 64, pace: Duration::from_millis(100) };

/// Other ports that are tried when somebody took one in between.
const PORT_TRIES: u32 = 3;

/// What a shell expects of a program that was interrupted: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
