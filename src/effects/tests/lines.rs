//! Lines of the audit log: batches, order, and one that is refused among others.

use super::fake::{Fake, Scratch, begin, down, is_idle, until};
use crate::effects::sink::{Shipped, SinkError};

#[tokio::test(start_paused = true)]
async fn lines_go_in_batches_in_order_and_survive_a_restart() {
    let scratch = Scratch::new();
    let fake = Fake::failing(down());
    let (outbox, _told) = begin(&scratch, vec![fake.store("logs")]);
    let lines: Vec<String> =
        (0..700).map(|number| format!("{{\"seq\":{number}}}")).collect();
    for line in &lines {
        outbox.ship(line);
    }
    until(&outbox, 0, |view| view.waiting == 700 && view.failed > 0).await;
    outbox.close().await;
    fake.always(None);
    fake.script.lock().unwrap().lines.clear();
    let (outbox, _told) = begin(&scratch, vec![fake.store("logs")]);
    let view = until(&outbox, 0, is_idle).await;
    assert_eq!(view.delivered, 700);
    let shipped = fake.script.lock().unwrap().lines.clone();
    assert_eq!(shipped.iter().map(Vec::len).collect::<Vec<_>>(), [500, 200]);
    assert_eq!(shipped.concat(), lines);
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_refused_does_not_hold_up_the_others() {
    let scratch = Scratch::new();
    let fake = Fake::default();
    // The batch as a whole, and then the second of its lines alone.
    fake.says(SinkError::Never { why: "one of them is bad".to_owned() });
    let (outbox, _told) = begin(&scratch, vec![fake.store("logs")]);
    fake.script.lock().unwrap().shipped.extend([
        Shipped::default(),
        Shipped { refused: vec![(0, "bad".to_owned())], ..Shipped::default() },
        Shipped { again: vec![0], why: Some("busy".to_owned()), ..Shipped::default() },
    ]);
    for line in ["a", "b", "c", "d"] {
        outbox.ship(line);
    }
    let view = until(&outbox, 0, |view| view.delivered == 3).await;
    assert_eq!((view.dead, view.waiting), (1, 0));
    assert_eq!(view.dead_letters[0].why, "bad");
    let sizes: Vec<usize> =
        fake.script.lock().unwrap().lines.iter().map(Vec::len).collect();
    assert_eq!(&sizes[..3], [4, 1, 1], "{sizes:?}");
    outbox.close().await;
}
