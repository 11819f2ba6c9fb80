//! What each step of a request costs by itself, in nanoseconds.
//!
//! Apart from the comparison because a step of some nanoseconds cannot be seen in a
//! request of some microseconds. Each step runs in batches of about a millisecond; the
//! median batch is the figure, the fastest shows how far the machine disturbs it.
//! `cargo bench --bench hot_path [-- WORD]` runs the steps whose name holds the word; with
//! `--times=N` each so many times and once, for `benches/counts`, which counts the
//! instructions below `harness::counted`.

#![expect(
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "measures from outside; a step that cannot be set up has no figure"
)]

mod harness;

use std::hint::black_box;
use std::io::Write;
use std::time::Duration;
use std::{rc::Rc, sync::Arc};

use bytes::BytesMut;
use http::Method;
use switchback::dialect::{AnswerHead, StreamScan};
use switchback::judge::trial::{Baseline, Beat, Share, Trial};
use switchback::judge::{
    Confirm, Deadlines, Health, Metric, Observation, OnBreach, Rule, Rules, Sums, Test,
    Window, bin_of, judge,
};
use switchback::measure::{Books, Flight, Ledger, Roster, Stamp, Tally};
use switchback::route::{
    HeaderLookup, Live, Override, Role, Route, RouteMatch, RouteTable, Signature,
    Standing, Version, assign,
};
use switchback::telemetry::Totals;
use switchback::vocab::ids::{Digest, Generation, Name, Slot};
use switchback::vocab::policy::{
    Banner, Dialect, FailureSet, Repeatable, Rescue, Retry, RoutePolicy, Timeouts,
};
use switchback::vocab::{amount::Percent, outcome::Class, time::Timestamp};
use switchback::wire::Headers;
use switchback::wire::h1::{HeadLimits, parse_answer, parse_request};
use switchback::{clock, tasks};

use harness::{Bench, batch};

fn main() -> std::io::Result<()> {
    let word = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let times =
        std::env::args().find_map(|arg| arg.strip_prefix("--times=")?.parse().ok());
    let mut bench = Bench::new(word.unwrap_or_default(), times);
    routing(&mut bench);
    measuring(&mut bench);
    ticking(&mut bench);
    heads(&mut bench);
    deciding(&mut bench);
    scanning(&mut bench);
    let mut out = std::io::stdout().lock();
    write!(out, "| step | ns, median | ns, fastest |\n|---|---|---|\n{}", bench.table())
}

/// Headers as the routes see them.
struct Fields(Headers);

impl HeaderLookup for Fields {
    fn only(&self, name: &str) -> Option<&str> {
        self.0.only(name)?.to_str().ok()
    }
}

fn routing(bench: &mut Bench) {
    let mut buffer = BytesMut::from(REQUEST);
    let head = parse_request(&mut buffer, LIMITS, &mut 0).expect("valid").expect("whole");
    let headers = Fields(head.headers);
    let mut coin = 0u64;
    let mut signature = || {
        coin = coin.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let path = "/v2/models/m0/infer";
        Signature::new("models.example", path, &headers, coin)
    };
    for count in [1, 100] {
        let live = Live::new(table(count));
        bench.step(&format!("find the route among {count} and assign a version"), || {
            let sig = signature();
            let table = live.load();
            let at = table.find(&sig).place()?;
            assign(&table.routes()[at], &sig).ok().map(|given| given.version)
        });
    }
    let live = Live::new(table(1));
    bench.step("load the table", || live.load().generation());
    bench.step("look at the generation again", || live.generation());
}

/// What it costs to see through an answer.
fn scanning(bench: &mut Bench) {
    let head = |kind: &'static str, length| {
        let (content_type, content_encoding) = (Some(kind.as_bytes()), None);
        AnswerHead { status: 200, content_type, content_encoding, length }
    };
    let scan = StreamScan::new(Dialect::OpenAi, &head("text/event-stream", None));
    let mut scan = scan.expect("a stream of events");
    bench.step("scan an event of a chat", || scan.push(black_box(CHAT_EVENT)).tokens);
    let head = head("application/json", Some(CHAT_EVENT.len() as u64));
    bench.step("scan a small answer", || {
        let mut scan = StreamScan::new(Dialect::OpenAi, &head)?;
        scan.push(black_box(CHAT_EVENT));
        Some(scan.end())
    });
}

const CHAT_EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-0f3a9c\",\"object\":\"chat.completion.chunk\",\
    \"created\":1764500000,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\
    \"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}]}\n\n";
fn measuring(bench: &mut Bench) {
    let roster = Roster::new(1);
    let slot = roster.claim().expect("the roster is empty");
    let books = Books::new(0, Arc::clone(&roster));
    books.prepare(slot);
    bench.step("read the clock", clock::now);
    let now = clock::now();
    let plain = Stamp::plain(slot);
    let judged = Stamp { judged: true, ..plain };
    let fly = |stamp| {
        let mut flight = Flight::open(&books, stamp, black_box(now));
        flight.at(black_box(0));
        flight.answered(black_box(now));
        flight.close(Class::Success);
    };
    bench.step("open a flight and close it, good answer", || fly(plain));
    bench.step("open a flight and close it, good answer, judged", || fly(judged));
    let most = Some(2_000_000);
    let deadlines = Deadlines { whole: Some(75_000), first_token: None, most };
    roster.set_deadlines(slot, deadlines);
    bench.step(
        "open a flight and close it, good answer, judged, with a deadline",
        || {
            fly(judged);
        },
    );
    let mut stream = Flight::open(&books, plain, now);
    stream.answered(now);
    stream.streams();
    bench.step("a token of a stream", || stream.tokens(black_box(1)));
    drop(stream);
    let open: Vec<Flight> =
        (0..1_000).map(|_| Flight::open(&books, judged, now)).collect();
    bench.step("look for late ones among 1,000 requests in flight", || books.sweep(now));
    drop(open);
    let mut sum = Tally::default();
    let mut used = Tally::default();
    for micros in 1..=1_000u64 {
        used.total.record(micros * 17);
        used.first_byte.record(micros * 13);
    }
    bench.step("add a tally of 1,000 answers to another", || sum.add(&used));
}

/// What one tick costs the control thread: the books of all workers added up, entered into
/// windows and sums as control does it, and given back.
fn ticking(bench: &mut Bench) {
    const WORKERS: usize = 2;
    const VERSIONS: usize = 20;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let roster = Roster::new(WORKERS);
    let (mut ledger, tills) = Ledger::new(WORKERS);
    let slots: Vec<Slot> =
        (0..VERSIONS).map(|_| roster.claim().expect("slots are left")).collect();
    let workers: Vec<Rc<Books>> = local.block_on(&runtime, async {
        let all = tills.into_iter().enumerate().map(|(number, till)| {
            let books = Books::new(number, Arc::clone(&roster));
            let _serving = tasks::local("books", Rc::clone(&books).serve(till));
            books
        });
        all.collect()
    });
    let mut seats: Vec<(Window, Totals)> = (0..VERSIONS)
        .map(|_| (Window::new(Duration::from_secs(300)), Totals::default()))
        .collect();
    let (mut now, mut seed) = (Timestamp(1_000_000_000), 1);
    let mut write = || {
        for books in &workers {
            for slot in &slots {
                books.write(*slot, |tally| answers(tally, 500, &mut seed));
            }
        }
    };
    let mut tick = |now| {
        let mut collect = || {
            local.block_on(&runtime, async {
                let all = ledger.collect().await;
                assert_eq!(all.len(), VERSIONS);
                for ((_, tally), (window, totals)) in all.into_iter().zip(&mut seats) {
                    window.add(now, &tally.outcomes, &tally.total);
                    totals.durations.fill(&tally.total);
                    totals.durations.fill(&tally.rest);
                    totals.first_bytes.fill(&tally.first_byte);
                    totals.overheads.fill(&tally.overhead);
                    ledger.give_back(tally);
                }
            });
        };
        batch(&mut collect, 1)
    };
    bench.timed(
        "collect and enter a tick of 20 versions with 1,000 answers each",
        || {
            write();
            now = now.after(INTERVAL);
            tick(now)
        },
    );
}

/// So many answers between 20 and 80 ms.
fn answers(tally: &mut Tally, count: u64, seed: &mut u64) {
    for _ in 0..count {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let micros = 20_000 + (*seed >> 33) % 60_000;
        tally.outcomes[Class::Success.index()] += 1;
        tally.total.record(micros);
        tally.first_byte.record(micros - 3_000);
        tally.overhead.record(20 + micros % 60);
    }
}

fn heads(bench: &mut Bench) {
    bench.step("copy the bytes of a request head", || BytesMut::from(REQUEST));
    bench.step("copy and parse a request head of 7 fields", || {
        let mut buffer = BytesMut::from(REQUEST);
        parse_request(&mut buffer, LIMITS, &mut 0)
    });
    bench.step("copy and parse an answer's head of 4 fields", || {
        let mut buffer = BytesMut::from(ANSWER);
        parse_answer(&mut buffer, &Method::POST, LIMITS)
    });
}

/// What control does four times a second for each version, under 1,000 answers a second.
fn deciding(bench: &mut Bench) {
    let span = Duration::from_secs(300);
    let tick = tick_of_answers();
    let (mut canary, mut stable) = (Window::new(span), Window::new(span));
    let mut now = Timestamp(1_000_000_000);
    for _ in 0..1_200 {
        now = now.after(INTERVAL);
        canary.add(now, &tick.outcomes, &tick.total);
        stable.add(now, &tick.outcomes, &tick.total);
    }
    bench.step("add a tick of 250 answers to a full window of 5 minutes", || {
        now = now.after(INTERVAL);
        canary.add(now, &tick.outcomes, &tick.total);
    });
    bench.step("read a full window of 5 minutes", || canary.reading(now));
    let (ours, theirs) = (canary.reading(now), stable.reading(now));
    let seen = Observation {
        canary: &ours,
        stable: &theirs,
        canary_health: Health::Unchecked,
        stable_health: Health::Unchecked,
    };
    let rules = default_rules(span);
    bench.step("judge two readings by the default rules", || judge(&rules, &seen));
    trying(bench, &seen, &rules);
}

/// One tick of the sequential tests, with every bucket and table that falls due in it.
fn trying(bench: &mut Bench, seen: &Observation<'_>, rules: &Rules) {
    let mut rules = rules.clone();
    rules.metrics.iter_mut().for_each(|metric| metric.test = Test::Sequential);
    let sums = |answers: u64| {
        let mut sums = Sums { opened: answers, ..Sums::default() };
        for number in 0..answers {
            let endpoint = usize::from(number % 2 == 0);
            let cell = sums.cell(endpoint);
            cell.known += 1;
            let fails = number % 100 == 50;
            cell.bad += u64::from(fails);
            cell.bins[bin_of(20_000 + number * number % 60_000)] += u32::from(!fails);
        }
        sums
    };
    let (canary, stable) = (sums(25), sums(225));
    let mut now = Timestamp(1_000_000_000);
    let mut baseline = Baseline::new(&rules);
    let mut trial = Trial::new(Arc::new(rules), now);
    let share = Share::Nominal(0.1);
    bench.step("observe and decide a trial, 250 answers a tick", || {
        now = now.after(INTERVAL);
        baseline.observe(now, &stable);
        let beat = Beat { canary: &canary, stable: &stable, share };
        trial.observe(now, &beat, &baseline);
        trial.decide(now, seen, &baseline)
    });
}

const INTERVAL: Duration = Duration::from_millis(250);

/// 250 answers between 20 and 80 ms, one of a hundred a failure.
fn tick_of_answers() -> Tally {
    let mut tick = Tally::default();
    for number in 0..250u64 {
        if number % 100 == 99 {
            tick.outcomes[Class::UpstreamReset.index()] += 1;
        } else {
            tick.outcomes[Class::Success.index()] += 1;
            tick.total.record(20_000 + number * number % 60_000);
        }
    }
    tick
}

fn default_rules(window: Duration) -> Rules {
    let share = |percent| Percent::of(percent).expect("a share");
    let metric = |rule| Metric {
        rule,
        on_breach: OnBreach::Rollback,
        dry_run: false,
        test: Test::Window,
    };
    let errors = Rule::ErrorRate {
        max_ratio: Some(2.0),
        floor: share(1.0),
        max: Some(share(5.0)),
        min_samples: 50,
    };
    let times = Rule::LatencyP99 {
        max_ratio: Some(1.5),
        floor: Duration::ZERO,
        max: None,
        min_samples: 200,
    };
    let metrics = vec![metric(errors), metric(times), metric(Rule::HealthCheck)];
    Rules {
        interval: INTERVAL,
        window,
        false_alarm: 0.001,
        confirm: Confirm::Off,
        metrics,
    }
}

const LIMITS: HeadLimits = HeadLimits { size: 64 * 1024, count: 100 };

const REQUEST: &[u8] = b"POST /v2/models/m0/infer HTTP/1.1\r\n\
    host: models.example\r\nuser-agent: tritonclient/2.50\r\n\
    accept: */*\r\naccept-encoding: gzip, deflate\r\n\
    authorization: Bearer 0123456789abcdef0123456789abcdef\r\n\
    content-type: application/json\r\n\
    content-length: 2048\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: uvicorn\r\n\
    content-type: application/json\r\ncontent-length: 1024\r\n\r\n";

/// A table of so many routes, the one that is asked for the last to be looked at.
fn table(count: usize) -> RouteTable {
    let routes = (0..count).rev().map(|number| Arc::new(route(number))).collect();
    RouteTable::new(Generation(1), routes)
}

fn route(number: usize) -> Route {
    let version = |name: &str, role, weight, slot: usize| Version {
        name: Name::parse(name).expect("a plain name"),
        slot: Slot::new(slot).expect("below the limit"),
        digest: Digest::new(name),
        role,
        weight,
        standing: Standing::Serving,
    };
    Route::new(
        Name::parse(&format!("r{number}")).expect("a plain name"),
        RouteMatch { path_prefix: format!("/v2/models/m{number}"), ..Default::default() },
        vec![
            version("v1", Role::Stable, Percent::ZERO, 2 * number),
            version("v2", Role::Canary, Percent::from_ppm(100_000), 2 * number + 1),
        ],
        vec![Override { header: "canary".into(), value: "true".into(), to: 1 }],
        Arc::new(policy()),
    )
    .expect("one stable version and a tenth")
}

fn policy() -> RoutePolicy {
    let none = Duration::ZERO;
    RoutePolicy {
        timeouts: Timeouts { connect: none, first_byte: none, idle: none, total: none },
        retry: Retry { attempts: 0, budget: Percent::ZERO, on: FailureSet::default() },
        rescue: Rescue { on: FailureSet::default(), max_body: 0 },
        repeatable: Repeatable::Auto,
        dialect: None,
        affinity: None,
        pin: None,
        cache: None,
        banner: Banner { header: "x".into(), json_field: None, message: String::new() },
        emergency: None,
        sample_bodies: 0,
    }
}
