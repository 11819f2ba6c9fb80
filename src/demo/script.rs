//! The acts: what is done to the servers and when. Everything that is seen or said comes
//! from the proxy's own books and from the callers'.
//!
//! It is apart because it is the only place that knows what comes next. An act ends when
//! what it waits for has been *seen*, and after a bounded time even if it has not; whether
//! that is well is for the summary to say.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::clients::{Clients, ask_once};
use super::meter::{Meter, Picture};
use super::model::{QUESTIONS, question};
use super::model_server::{Done, Mode, ModelServer};
use super::product::{self, Places};
use super::rollback::{News, Rollback};
use super::screen::Screen;
use super::summary::Evidence;
use super::view::{Tone, span, thousands};
use crate::clock;
use crate::control::ControlHandle;
use crate::vocab::time::Timestamp;

/// The two servers.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) stable: ModelServer,
    pub(super) canary: ModelServer,
}

/// Everything that plays.
#[derive(Debug)]
pub(super) struct Script<'a> {
    control: &'a ControlHandle,
    servers: &'a Servers,
    clients: Clients,
    places: Places,
    screen: &'a mut Screen,
    meter: Meter,
    began: Instant,
    speed: f64,
    rollback: Option<Rollback>,
    canary_drained: Option<Done>,
}

/// One act.
struct Act {
    title: &'static str,
    /// It lasts so long even if there is nothing to wait for.
    least: Duration,
    /// It waits so long at most.
    most: Duration,
}

impl<'a> Script<'a> {
    /// Sets the stage; the callers are at work already. `speed` divides the length of
    /// every act.
    pub(super) fn new(
        control: &'a ControlHandle,
        servers: &'a Servers,
        clients: Clients,
        (places, speed): (Places, f64),
        screen: &'a mut Screen,
    ) -> Self {
        Self {
            control,
            servers,
            clients,
            places,
            screen,
            meter: Meter::default(),
            began: clock::now(),
            speed,
            rollback: None,
            canary_drained: None,
        }
    }

    /// Plays all acts and gives what was counted.
    ///
    /// # Errors
    /// When the proxy's control loop does not answer, or nobody reads the screen any more.
    pub(super) async fn play(mut self) -> anyhow::Result<Evidence> {
        self.all_is_well().await?;
        let before_bad = self.clients.books();
        self.the_canary_goes_bad().await?;
        let before_dark = self.clients.books();
        let dark = clock::wall();
        let stranger = self.both_go_down(dark).await?;
        self.screen.settle()?;
        let end = self.clients.finish().await;
        Ok(Evidence {
            before_bad,
            before_dark,
            first_cached: end.first_cached.map(|first| first.since(dark)),
            end,
            rollback: self.rollback,
            canary_drained: self.canary_drained,
            canary: self.servers.canary.done(),
            stranger,
            route: product::route(self.control).await?,
        })
    }

    async fn all_is_well(&mut self) -> anyhow::Result<()> {
        self.tell(Tone::Strong, "the callers begin; the cache fills")?;
        self.act(&WARM_UP, |picture, _| picture.books.answered() >= WARM).await?;
        self.tell(
            Tone::Strong,
            "a canary at 10%: as good as stable, so nothing happens",
        )?;
        let known = |picture: &Picture, _: &Option<Rollback>| {
            picture.rows.iter().all(|row| row.view.samples >= 100)
        };
        self.act(&HEALTHY, known).await
    }

    async fn the_canary_goes_bad(&mut self) -> anyhow::Result<()> {
        self.servers.canary.switch(Mode::Degraded);
        self.tell(
            Tone::Warn,
            "CUE: of ten answers of the canary two are 500s now, one a reset, three take 1-2 s",
        )?;
        self.act(&BREACH, |_, rollback| {
            rollback.as_ref().is_some_and(|rollback| rollback.swap.is_some())
        })
        .await?;
        self.act(&DRAIN, |_, rollback| {
            rollback.as_ref().is_some_and(|rollback| rollback.drain.is_some())
        })
        .await?;
        self.tell(Tone::Strong, "the canary is as bad as before; nobody is sent there")?;
        self.act(&CALM, |_, _| true).await
    }

    /// Returns the answer to a question that no cache can know.
    async fn both_go_down(
        &mut self,
        dark: Timestamp,
    ) -> anyhow::Result<Option<(u16, Option<String>)>> {
        self.servers.stable.switch(Mode::Down);
        self.servers.canary.switch(Mode::Down);
        self.tell(
            Tone::Warn,
            "CUE: both servers are gone: ports closed, connections cut",
        )?;
        self.act(&FALL, |picture, _| picture.books.cached > 0).await?;
        if let Some(first) = self.clients.books().first_cached {
            let after = span(first.since(dark));
            let text = format!(
                "FALLBACK: the cache answers, with a banner; first after {after}"
            );
            self.tell(Tone::Good, &text)?;
        }
        self.act(&DARK, |_, _| true).await?;
        let stranger = ask_once(self.places.proxy, &question(QUESTIONS)).await;
        let clear = stranger
            .ok()
            .map(|reply| (reply.status, reply.header("proxy-status").map(str::to_owned)));
        if let Some((status, why)) = &clear {
            let why = why.as_deref().unwrap_or("no proxy-status");
            let text =
                format!("a question never asked before gets an error: {status}, {why}");
            self.tell(Tone::Plain, &text)?;
        }
        self.act(&DARKER, |_, _| true).await?;
        Ok(clear)
    }

    /// Shows and waits until `enough` and the act's least time, or its most.
    async fn act(
        &mut self,
        act: &Act,
        enough: impl Fn(&Picture, &Option<Rollback>) -> bool,
    ) -> anyhow::Result<()> {
        let began = clock::now();
        let mut beat = tokio::time::interval(FRAME);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            beat.tick().await;
            let picture = self.look(act.title).await?;
            let (least, most) = (
                act.least.div_f64(self.speed),
                act.most.max(act.least.div_f64(self.speed)),
            );
            let passed = began.elapsed();
            if (passed >= least && enough(&picture, &self.rollback)) || passed >= most {
                return Ok(());
            }
        }
    }

    /// Reads the proxy's books, shows them and says what is new in them.
    async fn look(&mut self, title: &'static str) -> anyhow::Result<Picture> {
        let route = product::route(self.control).await?;
        let books = self.clients.books();
        let mut picture = self.meter.look(clock::now(), &route, books);
        (picture.at, picture.act) = (self.began.elapsed(), title);
        if let Some(rollback) = route.last_rollback.as_ref().and_then(Rollback::read) {
            for news in rollback.news_since(self.rollback.as_ref()) {
                if let News::Drained { .. } = news {
                    self.canary_drained = Some(self.servers.canary.done());
                }
                self.report(&news)?;
            }
            self.rollback = Some(rollback);
        }
        self.screen.show(&picture)?;
        Ok(picture)
    }

    fn report(&mut self, news: &News) -> anyhow::Result<()> {
        match news {
            News::Breach { from, reason } => {
                self.tell(Tone::Bad, &format!("BREACH: {from}: {reason}"))
            }
            News::Swapped { from, to, took } => {
                let took = span(*took);
                self.tell(
                    Tone::Good,
                    &format!("SWAP: all new requests go to {to}; {from} is quarantined (took {took})"),
                )
            }
            News::Drained { from, drain } => {
                let (took, drained) = (span(drain.took), thousands(drain.drained));
                self.tell(
                    Tone::Good,
                    &format!(
                        "DRAIN: the last {drained} requests at {from} ended in {took}"
                    ),
                )
            }
        }
    }

    fn tell(&mut self, tone: Tone, text: &str) -> anyhow::Result<()> {
        Ok(self.screen.tell(self.began.elapsed(), tone, text)?)
    }
}

const fn act(title: &'static str, least_ms: u64, most_s: u64) -> Act {
    Act {
        title,
        least: Duration::from_millis(least_ms),
        most: Duration::from_secs(most_s),
    }
}

const WARM_UP: Act = act("1/6 warm-up", 4_000, 10);
const HEALTHY: Act = act("2/6 a healthy canary at 10%", 7_000, 15);
const BREACH: Act = act("3/6 the canary goes bad", 0, 15);
const DRAIN: Act = act("4/6 the canary drains", 1_000, 10);
const CALM: Act = act("5/6 calm: stable takes it all", 6_000, 6);
const FALL: Act = act("6/6 both servers are down", 0, 5);
const DARK: Act = act("6/6 both servers are down", 3_000, 3);
const DARKER: Act = act("6/6 both servers are down", 4_000, 4);

/// Between two pictures.
const FRAME: Duration = Duration::from_millis(125);

/// Answers after which every question has been asked many times.
const WARM: u64 = 20 * 48;
