//! How numbers and pictures look as text: the live block, the plain line, the paint.
//!
//! It is apart from the screen so that every line can be tested as a value.

use std::time::Duration;

use super::clients::LATE;
use super::meter::{Picture, Row, float};

/// What a piece of text means; colour only repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing in particular.
    Plain,
    /// A heading.
    Strong,
    /// Of less weight.
    Quiet,
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong.
    Bad,
}

/// Whether text is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    /// The text in the colour of its tone.
    pub(super) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Quiet => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
        };
        if self.0 && !code.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The lines of the live view, at most 78 columns wide.
pub(super) fn block(picture: &Picture, paint: Paint) -> Vec<String> {
    let title = format!("{:>6}  {}", clock(picture.at), picture.act);
    let mut lines = vec![
        String::new(),
        paint.tone(Tone::Strong, &title),
        paint.tone(Tone::Quiet, TABLE_HEAD),
    ];
    lines.extend(picture.rows.iter().map(|row| table_row(row, paint)));
    let books = &picture.books;
    lines.push(paint.tone(Tone::Quiet, CLIENTS_HEAD));
    let tone = |bad: u64| if bad > 0 { Tone::Bad } else { Tone::Good };
    lines.push(format!(
        " {:>7} {:>11} {:>20} {:>17} {}",
        format!("{:.0}/s", picture.ended_per_second),
        thousands(books.answered()),
        thousands(books.rescued),
        thousands(books.cached),
        paint
            .tone(tone(books.failures()), &format!("{:>9}", thousands(books.failures()))),
    ));
    lines
}

/// The same in one line, for a file or a pipe.
pub(super) fn line(picture: &Picture) -> String {
    let mut text = format!("{:>6}", clock(picture.at));
    for row in &picture.rows {
        let view = &row.view;
        text.push_str(&format!(
            "  {} {} {} err {} p99 {} |",
            view.name,
            view.state,
            percent(row.share),
            percent(view.error_rate),
            millis(view.p99_ms),
        ));
    }
    let books = &picture.books;
    text.push_str(&format!(
        " clients {:.0}/s: {} answered, {} rescued, {} cached, {} failed",
        picture.ended_per_second,
        books.answered(),
        books.rescued,
        books.cached,
        books.failures(),
    ));
    text
}

fn table_row(row: &Row, paint: Paint) -> String {
    let view = &row.view;
    let state = match view.state.as_str() {
        "serving" => Tone::Good,
        "draining" => Tone::Warn,
        _ => Tone::Bad,
    };
    let errors = match view.error_rate {
        Some(rate) if rate > 0.01 => Tone::Bad,
        Some(_) => Tone::Good,
        None => Tone::Quiet,
    };
    let p99 = match view.p99_ms {
        Some(ms) if ms > LATE.as_secs_f64() * 1e3 => Tone::Bad,
        Some(_) => Tone::Good,
        None => Tone::Quiet,
    };
    format!(
        " {:<5} {:<6} {} {} {:>6} {:>7.0} {} {} {:>9}",
        view.name,
        view.role,
        paint.tone(state, &format!("{:<11}", view.state)),
        bar(row.share.unwrap_or(0.0)),
        percent(row.share),
        row.per_second,
        paint.tone(errors, &format!("{:>6}", percent(view.error_rate))),
        paint.tone(p99, &format!("{:>7}", millis(view.p99_ms))),
        view.in_flight,
    )
}

/// A count with its thousands apart.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A fraction as percent, or a dash.
pub(super) fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".to_owned(), |part| format!("{:.1}%", part * 100.0))
}

/// Milliseconds with as many digits as one wants to read, or a dash.
pub(super) fn millis(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms >= 999.5 => format!("{:.2} s", ms / 1_000.0),
        Some(ms) if ms >= 10.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{ms:.1} ms"),
    }
}

/// A span with as many digits as one wants to read; the records know whole milliseconds.
pub(super) fn span(span: Duration) -> String {
    if span < Duration::from_millis(1) {
        "under 1 ms".to_owned()
    } else {
        millis(Some(span.as_secs_f64() * 1e3))
    }
}

fn clock(at: Duration) -> String {
    format!("{:.1} s", at.as_secs_f64())
}

fn bar(share: f64) -> String {
    let full = (0..BAR).filter(|cell| (float(*cell) + 0.5) / float(BAR) <= share).count();
    // A version that takes anything at all is seen to.
    let full = if full == 0 && share > 0.0 { 1 } else { full };
    let rest = usize::try_from(BAR).unwrap_or(full).saturating_sub(full);
    format!("{}{}", "█".repeat(full), "░".repeat(rest))
}

const TABLE_HEAD: &str =
    " model role   state       share of traffic  asked/s errors     p99 in flight";
const CLIENTS_HEAD: &str =
    " clients    answered    rescued by stable    from the cache    failed";
const BAR: u64 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Paint, Tone, bar, block, line, millis, percent, span, thousands};
    use crate::control::VersionView;
    use crate::demo::clients::Books;
    use crate::demo::meter::{Picture, Row};

    fn row(name: &str, role: &str, state: &str, share: f64) -> Row {
        let view = VersionView {
            name: name.to_owned(),
            role: role.to_owned(),
            state: state.to_owned(),
            error_rate: Some(1.0),
            p99_ms: Some(1_870.0),
            in_flight: 12_345,
            ..VersionView::default()
        };
        Row { view, share: Some(share), per_second: 99_999.0 }
    }

    fn picture() -> Picture {
        Picture {
            at: Duration::from_millis(12_340),
            act: "the canary goes bad",
            health: "Healthy".to_owned(),
            rows: vec![
                row("v2.4", "stable", "serving", 0.912),
                row("v2.5", "canary", "quarantined", 0.088),
            ],
            books: Books { cached: 3, rescued: 4, ..Books::default() },
            ended_per_second: 640.2,
        }
    }

    #[test]
    fn numbers_read_well() {
        for (count, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (7_204_318, "7,204,318")]
        {
            assert_eq!(thousands(count), text);
        }
        for (ms, text) in [
            (None, "-"),
            (Some(1.24), "1.2 ms"),
            (Some(14.4), "14 ms"),
            (Some(999.6), "1.00 s"),
            (Some(1_874.0), "1.87 s"),
        ] {
            assert_eq!(millis(ms), text);
        }
        assert_eq!(
            (percent(None), percent(Some(0.0991))),
            ("-".into(), "9.9%".to_owned())
        );
        assert_eq!(span(Duration::from_micros(38)), "under 1 ms");
        assert_eq!(span(Duration::from_micros(312_400)), "312 ms");
    }

    #[test]
    fn the_bar_shows_the_share() {
        for (share, cells) in
            [(0.0, 0), (0.01, 1), (0.1, 1), (0.5, 5), (0.9, 9), (1.0, 10)]
        {
            let text = bar(share);
            assert_eq!(text.matches('█').count(), cells, "{share}");
            assert_eq!(text.chars().count(), 10, "{share}");
        }
    }

    #[test]
    fn the_block_is_narrow_and_paint_changes_nothing_but_colour() {
        let (plain, painted) =
            (block(&picture(), Paint(false)), block(&picture(), Paint(true)));
        for text in &plain {
            assert!(text.chars().count() <= 78, "{}: {text}", text.chars().count());
            assert!(!text.contains('\x1b'), "{text:?}");
        }
        for (text, colour) in plain.iter().zip(&painted) {
            let mut bare = String::new();
            for (at, piece) in colour.split('\x1b').enumerate() {
                let visible =
                    if at == 0 { piece } else { piece.split_once('m').unwrap().1 };
                bare.push_str(visible);
            }
            assert_eq!(*text, bare);
        }
        assert!(painted[1].contains("\x1b[1m"), "{:?}", painted[1]);
        assert_eq!(Paint(true).tone(Tone::Plain, "x"), "x");
    }

    #[test]
    fn the_plain_line_says_the_same() {
        assert_eq!(
            line(&picture()),
            "12.3 s  v2.4 serving 91.2% err 100.0% p99 1.87 s |  \
             v2.5 quarantined 8.8% err 100.0% p99 1.87 s | \
             clients 640/s: 0 answered, 4 rescued, 3 cached, 0 failed"
        );
    }
}
