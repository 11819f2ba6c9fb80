//! The terminal: what happened scrolls up and stays, the numbers of this moment are redrawn
//! below it; without a terminal, one plain line a second instead.
//!
//! It is apart because it is the only place of the demo that writes, and the only one that
//! moves a cursor. Whatever ends the demo, the cursor comes back.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use super::meter::Picture;
use super::view::{self, Paint, Tone};

/// Where the demo is shown.
pub(super) struct Screen {
    out: Box<dyn Write>,
    live: bool,
    paint: Paint,
    /// The lines of the live view that stand there now.
    drawn: Vec<String>,
    /// The second that the last plain line was of.
    second: Option<u64>,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("live", &self.live).finish_non_exhaustive()
    }
}

impl Screen {
    /// Shows the demo there. `live` needs a terminal that understands ANSI sequences.
    pub(super) fn new(out: Box<dyn Write>, live: bool, paint: Paint) -> Self {
        Self { out, live, paint, drawn: Vec::new(), second: None }
    }

    /// Writes text that stays, below everything that stays already.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(super) fn say(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        let mut frame = self.above();
        for line in text.lines() {
            frame.push_str(&self.paint.tone(tone, line));
            frame.push('\n');
        }
        self.below(&mut frame);
        self.write(&frame)
    }

    /// Writes what happened at a moment of the demo.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(super) fn tell(
        &mut self,
        at: Duration,
        tone: Tone,
        text: &str,
    ) -> io::Result<()> {
        let moment = format!("{:.1} s", at.as_secs_f64());
        self.say(tone, &format!("{moment:>6}  {text}"))
    }

    /// Shows the numbers of this moment.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(super) fn show(&mut self, picture: &Picture) -> io::Result<()> {
        if self.live {
            let mut frame = self.above();
            self.drawn = view::block(picture, self.paint);
            self.below(&mut frame);
            return self.write(&frame);
        }
        let second = picture.at.as_secs();
        if self.second.replace(second) == Some(second) {
            return Ok(());
        }
        self.write(&format!("{}\n", view::line(picture)))
    }

    /// Leaves the last picture where it is; what follows is written below it.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.drawn).is_empty() {
            return Ok(());
        }
        self.write(CURSOR_BACK)
    }

    /// To the place of the live view's first line, with all below it gone.
    fn above(&self) -> String {
        if self.drawn.is_empty() {
            String::new()
        } else {
            format!("\r\x1b[{}A\x1b[J", self.drawn.len())
        }
    }

    /// The live view again. Lines longer than the terminal is wide are cut by it, not
    /// wrapped, so that the count of lines to go up stays right.
    fn below(&self, frame: &mut String) {
        if self.drawn.is_empty() {
            return;
        }
        frame.push_str("\x1b[?25l\x1b[?7l");
        for line in &self.drawn {
            frame.push_str(line);
            frame.push('\n');
        }
        frame.push_str("\x1b[?7h");
    }

    /// One write for a whole frame, so that no half of one is seen.
    fn write(&mut self, frame: &str) -> io::Result<()> {
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // When nobody reads any more there is no cursor to bring back either.
        drop(self.settle());
    }
}

const CURSOR_BACK: &str = "\x1b[?7h\x1b[?25h";

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::{self, Write};
    use std::rc::Rc;
    use std::time::Duration;

    use super::Screen;
    use crate::demo::meter::Picture;
    use crate::demo::view::{Paint, Tone, block};

    #[derive(Clone, Default)]
    struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn picture(ms: u64) -> Picture {
        Picture { at: Duration::from_millis(ms), ..Picture::default() }
    }

    #[test]
    fn without_a_terminal_there_is_one_line_a_second_and_no_escape() {
        let paper = Paper::default();
        let mut screen = Screen::new(Box::new(paper.clone()), false, Paint(false));
        for ms in [0, 100, 900, 1_000, 1_900] {
            screen.show(&picture(ms)).unwrap();
        }
        screen.tell(Duration::from_millis(1_950), Tone::Bad, "it broke").unwrap();
        screen.settle().unwrap();
        drop(screen);
        let text = paper.text();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(text.lines().last(), Some(" 1.9 s  it broke"), "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn the_live_view_goes_up_exactly_over_what_it_drew() {
        let paper = Paper::default();
        let mut screen = Screen::new(Box::new(paper.clone()), true, Paint(false));
        screen.show(&picture(0)).unwrap();
        let first = paper.text();
        assert!(!first.contains("\x1b[J"), "nothing is there to be redrawn: {first:?}");
        let height = block(&picture(0), Paint(false)).len();
        assert_eq!(first.lines().count(), height + 1, "{first:?}");
        screen.tell(Duration::ZERO, Tone::Plain, "event").unwrap();
        let second = paper.text().split_off(first.len());
        assert!(second.starts_with(&format!("\r\x1b[{height}A\x1b[J")), "{second:?}");
        assert!(second.contains(" 0.0 s  event\n"), "{second:?}");
        drop(screen);
        assert!(paper.text().ends_with("\x1b[?25h"), "the cursor is not back");
    }
}
