//! HTTP/2 by the rules and against their spirit: sixteen kinds of abuse, each ended after
//! some hundred frames or some seconds, with memory bounded and honest callers served.
//! (rows 15 to 18, 20)

use std::time::{Duration, Instant};

use crate::support::config::Config;
use crate::support::h2::{
    ACK, CONTINUATION, DATA, Deed, END_HEADERS, END_STREAM, Frames, HEADERS, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::scripts;
use crate::support::street::Street;
use crate::support::wait::{self, SOON};

/// What is sent again and again, after what is sent once.
struct Flood {
    name: &'static str,
    first: fn() -> Vec<u8>,
    next: fn(u32) -> Vec<u8>,
    /// Frames or pairs of them that may pass before the end is noticed: the flood is sent in
    /// bursts, and what lies in buffers counts.
    most: u32,
}

fn open(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(path, &[])))
}

fn begin(stream: u32) -> Vec<u8> {
    let mut fields = get("/v2/models/iris/infer", &[]);
    fields[0] = (":method", "POST");
    frame(HEADERS, END_HEADERS, stream, &block(&fields))
}

fn number(turn: u32) -> u32 {
    turn * 2 + 1
}

const FLOODS: &[Flood] = &[
    Flood {
        name: "rapid reset",
        first: Vec::new,
        next: |turn| {
            let stream = number(turn);
            let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            [open(stream, "/rapid"), reset].concat()
        },
        most: 800,
    },
    Flood {
        name: "made you reset: no increment",
        first: Vec::new,
        next: |turn| {
            let nothing = frame(WINDOW_UPDATE, 0, number(turn), &0_u32.to_be_bytes());
            [begin(number(turn)), nothing].concat()
        },
        most: 800,
    },
    Flood {
        name: "made you reset: too large an increment",
        first: Vec::new,
        next: |turn| {
            let large = (u32::MAX >> 1).to_be_bytes();
            let much = frame(WINDOW_UPDATE, 0, number(turn), &large);
            [begin(number(turn)), much].concat()
        },
        most: 800,
    },
    Flood {
        name: "made you reset: data after the end",
        first: Vec::new,
        next: |turn| {
            let data = frame(DATA, END_STREAM, number(turn), b"x");
            [open(number(turn), "/made"), data].concat()
        },
        most: 800,
    },
    Flood {
        name: "made you reset: a length that lies",
        first: Vec::new,
        next: |turn| {
            let mut fields = get("/made", &[("content-length", "1")]);
            fields[0] = (":method", "POST");
            let head = frame(HEADERS, END_HEADERS, number(turn), &block(&fields));
            [head, frame(DATA, END_STREAM, number(turn), b"xyz")].concat()
        },
        most: 800,
    },
    Flood {
        name: "made you reset: a malformed head",
        first: Vec::new,
        next: |turn| {
            let fields = block(&get("/made", &[("connection", "close")]));
            frame(HEADERS, END_HEADERS | END_STREAM, number(turn), &fields)
        },
        most: 800,
    },
    Flood {
        name: "continuation",
        first: || frame(HEADERS, END_STREAM, 1, &block(&get("/long", &[]))),
        next: |_| frame(CONTINUATION, 0, 1, &block(&[("x-more", &"y".repeat(1_000))])),
        most: 800,
    },
    Flood {
        name: "empty continuation",
        first: || frame(HEADERS, END_STREAM, 1, &block(&get("/long", &[]))),
        next: |_| frame(CONTINUATION, 0, 1, &[]),
        most: 800,
    },
    Flood {
        name: "settings",
        first: Vec::new,
        next: |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0]),
        most: 800,
    },
    Flood {
        name: "settings acknowledged that nobody sent",
        first: Vec::new,
        next: |_| frame(SETTINGS, ACK, 0, &[]),
        most: 800,
    },
    Flood {
        name: "ping",
        first: Vec::new,
        next: |_| frame(PING, 0, 0, &[7; 8]),
        most: 1_500,
    },
    Flood {
        name: "pings answered that nobody sent",
        first: Vec::new,
        next: |_| frame(PING, ACK, 0, &[7; 8]),
        most: 1_500,
    },
    Flood {
        name: "empty data",
        first: || begin(1),
        next: |_| frame(DATA, 0, 1, &[]),
        most: 800,
    },
    Flood {
        name: "priority",
        first: Vec::new,
        next: |turn| frame(2, 0, number(turn % 50), &[0, 0, 0, 0, 1]),
        most: 1_500,
    },
    Flood {
        name: "window update of the connection",
        first: Vec::new,
        next: |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        most: 4_000,
    },
    Flood {
        name: "window update of a stream",
        first: || begin(1),
        next: |_| frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
        most: 4_000,
    },
    Flood {
        name: "unknown kinds",
        first: Vec::new,
        next: |_| frame(0xbe, 0, 0, &[0; 16]),
        most: 1_500,
    },
    Flood {
        name: "resets of one stream",
        first: || begin(1),
        next: |_| frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()),
        most: 800,
    },
];

/// Sends until the connection is given up; how many were sent.
fn run(street: &Street, flood: &Flood) -> Result<u32, String> {
    let mut frames = Frames::new(street.http);
    frames.send_raw(&(flood.first)());
    for turn in 0..20_000 {
        if !frames.send_raw(&(flood.next)(turn)) {
            return Ok(turn);
        }
        if turn % 100 == 99 {
            match frames.deed(0, Duration::from_millis(3)) {
                Deed::Nothing => {}
                Deed::GoesAway(code) if ![1, 5, 11].contains(&code) => {
                    return Err(format!("{}: goes away with {code}", flood.name));
                }
                Deed::Answers(_) | Deed::Resets(_) | Deed::GoesAway(_) | Deed::Closes => {
                    return Ok(turn);
                }
            }
        }
    }
    Err(format!("{}: never ended", flood.name))
}

#[test]
fn floods_end_after_some_hundred_frames_and_cost_honest_callers_nothing() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    let load = Load::new(street.http).clients(2).start();
    load.reaches(200);
    let (before, mut wrong) = (street.rss(), Vec::new());
    for flood in FLOODS {
        match run(&street, flood) {
            Ok(taken) if taken <= flood.most => {}
            Ok(taken) => wrong.push(format!("{}: ended after {taken}", flood.name)),
            Err(why) => wrong.push(why),
        }
        // The other tests run beside this one: once of three times it has to be at once.
        let waits = (0..3).map(|_| {
            let begun = Instant::now();
            street.is_well();
            begun.elapsed()
        });
        let wait = waits.min().unwrap();
        if wait > Duration::from_secs(1) {
            wrong.push(format!("{}: then {wait:?} for a request", flood.name));
        }
    }
    let grown = street.rss().saturating_sub(before);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(grown < 16 << 20, "{} KiB", grown >> 10);
    load.stop().is_clean();
    let log = street.log();
    assert!(log.lines().count() < 200, "a flood of log lines:\n{log}");
}

#[test]
fn a_table_of_large_fields_named_again_and_again_is_refused() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    street.is_well();
    let before = street.rss();
    for _ in 0..20 {
        let mut frames = Frames::new(street.http);
        // One field of 3,900 bytes into the table, then its index three thousand times.
        let mut bomb = block(&get("/bomb", &[]));
        bomb.extend([0x40, 1, b'x', 0x7f, 0xbd, 0x1d]);
        bomb.extend([b'y'; 3_900]);
        bomb.extend([0xbe; 3_000]);
        frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
        let deed = frames.deed(1, SOON);
        assert!(!matches!(deed, Deed::Answers(200) | Deed::Nothing), "{deed:?}");
    }
    let grown = street.rss().saturating_sub(before);
    assert!(grown < 16 << 20, "{} KiB", grown >> 10);
    assert_eq!(server.requests(), 1);
    street.is_well();
}

#[test]
fn work_for_requests_that_are_reset_is_given_up() {
    let server = ModelServer::new(scripts::stalls());
    let street = Street::open(&Config::plain(&server));
    let mut frames = Frames::new(street.http);
    for turn in 0..60 {
        frames.send_raw(&open(number(turn), "/slow"));
    }
    wait::eventually("all are asked", SOON, || (server.requests() == 60).then_some(()));
    for turn in 0..60 {
        frames.send(RST_STREAM, 0, number(turn), &8_u32.to_be_bytes());
    }
    wait::eventually("the server's work is given up", SOON, || {
        (server.open_connections() == 0).then_some(())
    });
    assert_eq!(street.version("v1")["in_flight"], 0);
    server.now(scripts::good("v1"));
    street.is_well();
    let metrics = street.metrics();
    assert_eq!(metrics.requests("v1", "client_cancelled"), 60, "nobody's fault");
}

#[test]
fn honest_clients_may_cancel_and_ping_and_read_slowly() {
    let server = ModelServer::new(scripts::echo());
    let street = Street::open(&Config::plain(&server));
    let mut frames = Frames::new(street.http);
    // Ten times what a flood would be allowed, each paid for by an answer.
    for turn in 0..2_000 {
        frames.send_raw(&open(number(turn), "/honest"));
        assert_eq!(frames.deed(number(turn), SOON), Deed::Answers(200), "{turn}");
        frames.send(RST_STREAM, 0, number(turn), &8_u32.to_be_bytes());
        frames.send(PING, 0, 0, &[1; 8]);
        frames.send(WINDOW_UPDATE, 0, 0, &16_u32.to_be_bytes());
    }
}

#[test]
fn who_closes_a_page_of_streams_may_do_so_again_and_again() {
    let server = ModelServer::new(scripts::stalls());
    let street = Street::open(&Config::plain(&server));
    let mut frames = Frames::new(street.http);
    let mut last = 0;
    for page in 0..4 {
        let streams = || (0..120).map(move |turn| number(page * 120 + turn));
        for stream in streams() {
            assert!(frames.send_raw(&open(stream, "/answer")));
        }
        wait::linger(Duration::from_millis(1_300));
        for stream in streams() {
            frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            last = stream;
        }
        wait::eventually("the server's work is given up", SOON, || {
            (server.open_connections() == 0).then_some(())
        });
    }
    server.now(scripts::good("v1"));
    frames.send_raw(&open(last + 2, "/well"));
    assert_eq!(frames.deed(last + 2, SOON), Deed::Answers(200), "it is still welcome");
}

#[test]
fn single_bytes_in_great_number_end_and_messages_do_not() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    let burst = |bytes: &[u8], frames: usize| frame(DATA, 0, 1, bytes).repeat(frames);
    let mut frames = Frames::new(street.http);
    frames.send_raw(&begin(1));
    // The least that a message of gRPC takes, within the window of a new stream.
    for _ in 0..10 {
        assert!(frames.send_raw(&burst(&[0; 10], 600)));
        street.is_well();
    }
    frames.send(DATA, END_STREAM, 1, b"end");
    assert_eq!(frames.deed(1, SOON), Deed::Answers(200));
    let mut frames = Frames::new(street.http);
    frames.send_raw(&begin(1));
    let ended = (0..60).any(|_| {
        !frames.send_raw(&burst(b"x", 1_000)) || frames.ends(Duration::from_millis(1))
    });
    assert!(ended || frames.ends(SOON), "sixty thousand frames of a byte");
    street.is_well();
}

#[test]
fn what_a_caller_does_wrong_now_and_then_is_forgiven_for_good() {
    let server = ModelServer::good("v1");
    let street = Street::open(&Config::plain(&server));
    let mut frames = Frames::new(street.http);
    // More in all than may be at once: two are forgiven each second.
    for turn in 0..210 {
        if turn == 190 {
            wait::linger(Duration::from_secs(12));
        }
        let stream = number(turn * 2);
        let fields = block(&get("/made", &[("connection", "close")]));
        frames.send_raw(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields));
        assert_eq!(frames.deed(stream, SOON), Deed::Resets(1), "{turn}");
        frames.send_raw(&open(stream + 2, "/well"));
        assert_eq!(frames.deed(stream + 2, SOON), Deed::Answers(200), "{turn}");
    }
}

/// One caller that holds a connection for nothing.
struct Slow {
    name: &'static str,
    begin: fn(&mut Frames),
    /// Sent every quarter of a second; nothing for those that are silent.
    drip: fn(u32) -> Vec<u8>,
}

const NONE: fn(u32) -> Vec<u8> = |_| Vec::new();

const SLOW: &[Slow] = &[
    Slow { name: "no request", begin: |_| {}, drip: NONE },
    Slow {
        name: "a ping now and then",
        begin: |_| {},
        drip: |_| frame(PING, 0, 0, &[0; 8]),
    },
    Slow {
        name: "a head without end",
        begin: |f| {
            f.send(HEADERS, END_STREAM, 1, &block(&get("/slow", &[])));
        },
        drip: |_| frame(CONTINUATION, 0, 1, &block(&[("x", "y")])),
    },
    Slow {
        name: "a second head without end",
        begin: |f| {
            f.send_raw(&open(1, "/well"));
            f.send(HEADERS, END_STREAM, 3, &block(&get("/slow", &[])));
        },
        drip: |_| frame(CONTINUATION, 0, 3, &block(&[("x", "y")])),
    },
    Slow {
        name: "a frame byte by byte",
        begin: |f| {
            f.send_raw(&open(1, "/well"));
            f.send_raw(&[0, 1, 0, HEADERS, 0, 0, 0, 0, 3]);
        },
        drip: |_| vec![0],
    },
    Slow {
        name: "an answer that is not taken",
        begin: |f| {
            f.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            f.send_raw(&open(1, "/large"));
        },
        drip: NONE,
    },
    Slow {
        name: "sixteen bytes of an answer at a time",
        begin: |f| {
            f.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 16]);
            f.send_raw(&open(1, "/large"));
        },
        drip: |_| frame(WINDOW_UPDATE, 0, 1, &16_u32.to_be_bytes()),
    },
    Slow {
        name: "a hundred answers that are not taken",
        begin: |f| {
            f.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
            for turn in 0..100 {
                f.send_raw(&open(number(turn), "/large"));
            }
        },
        drip: NONE,
    },
    Slow {
        name: "small answers that are not taken",
        begin: |f| {
            f.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
            for turn in 0..20 {
                f.send_raw(&open(number(turn), "/small"));
            }
        },
        drip: NONE,
    },
];

#[test]
fn who_holds_a_connection_for_nothing_loses_it_within_seconds() {
    let server = ModelServer::new(std::sync::Arc::new(|ask, line| {
        let large = ask.target() == "/large";
        line.reply(200, "", vec![b'x'; if large { 1 << 20 } else { 10_000 }])
    }));
    let street = Street::open(&Config::plain(&server));
    street.is_well();
    let before = street.rss();
    let held: Vec<_> = (0..3)
        .flat_map(|_| SLOW)
        .map(|slow| {
            let mut frames = Frames::new(street.http);
            let begun = Instant::now();
            (slow.begin)(&mut frames);
            std::thread::spawn(move || {
                for turn in 0..80 {
                    let drip = (slow.drip)(turn);
                    if !drip.is_empty() && !frames.send_raw(&drip)
                        || frames.ends(Duration::from_millis(250))
                    {
                        break;
                    }
                }
                (slow.name, begun.elapsed())
            })
        })
        .collect();
    wait::linger(Duration::from_secs(4));
    let grown = street.rss().saturating_sub(before);
    street.is_well();
    let left: Vec<(&str, Duration)> = held
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .filter(|(_, lasted)| *lasted > Duration::from_secs(16))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // Three of them keep a hundred streams each.
    assert!(grown < 24 << 20, "{} KiB for {} connections", grown >> 10, SLOW.len() * 3);
    street.is_well();
}

#[test]
fn a_stream_that_is_not_taken_ends_and_the_others_go_on() {
    let server = ModelServer::new(std::sync::Arc::new(|ask, line| match ask.target() {
        "/large" => line.reply(200, "", vec![b'x'; 8 << 20]),
        _ => {
            line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            for _ in 0..60 {
                wait::linger(Duration::from_millis(50));
                if !line.chunk("token ") {
                    break;
                }
            }
            line.send("0\r\n\r\n");
            crate::support::model_server::Then::Keep
        }
    }));
    let limits = "{ bodyIdleTimeout: 1s }";
    let street = Street::open(&Config::plain(&server).limits(limits));
    let mut frames = Frames::new(street.http);
    // The connection has room for both, and the first stream for its first part alone.
    frames.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes());
    frames.send_raw(&open(1, "/large"));
    frames.send_raw(&open(3, "/tokens"));
    assert_eq!(frames.deed(3, SOON), Deed::Answers(200));
    let text = frames.exactly(3, 60 * 6);
    assert_eq!(text.len(), 60 * 6, "the other answer is whole");
    wait::eventually("only the version's own requests are left", SOON, || {
        (street.version("v1")["in_flight"] == 0).then_some(())
    });
}
