//! What survives: restarts, crashes, a damaged store, a disk that fails. Apart because here
//! the file matters and not the sinks.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::fake::{Fake, Scratch, begin, down, event, until};
use crate::clock;
use crate::effects::disk::DiskError;
use crate::effects::outbox::{Outbox, OutboxError};

#[tokio::test(start_paused = true)]
async fn what_was_not_delivered_is_after_a_restart_and_what_was_is_not_again() {
    let scratch = Scratch::new();
    let fake = Fake::default();
    let (outbox, mut told) = begin(&scratch, vec![fake.outlet("a")]);
    outbox.offered_durably(event("one")).await.unwrap();
    assert_eq!(told.recv().await.unwrap().key, "one");
    fake.always(Some(down()));
    outbox.offered_durably(event("two")).await.unwrap();
    until(&outbox, 0, |view| view.failed > 0).await;
    outbox.close().await;
    assert!(outbox.offered_durably(event("late")).await.is_err());

    fake.always(None);
    let (outbox, mut told) = begin(&scratch, vec![fake.outlet("a")]);
    for key in ["one", "two", "three"] {
        outbox.offered_durably(event(key)).await.unwrap();
    }
    assert_eq!(told.recv().await.unwrap().key, "two");
    assert_eq!(told.recv().await.unwrap().key, "three");
    outbox.close().await;
    assert_eq!(fake.given(), ["one", "two", "three"]);

    // Nothing of a sink that is gone is kept for ever.
    fake.always(Some(down()));
    let (outbox, _told) = begin(&scratch, vec![fake.outlet("a")]);
    outbox.offered_durably(event("four")).await.unwrap();
    outbox.close().await;
    let (outbox, _told) = begin(&scratch, vec![fake.outlet("b")]);
    outbox.close().await;
    let (outbox, _told) = begin(&scratch, vec![fake.outlet("a")]);
    assert_eq!(outbox.view().sinks[0].waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    let scratch = Scratch::new();
    let copy = Scratch::new();
    let fake = Fake::failing(down());
    let (outbox, _told) = begin(&scratch, vec![fake.outlet("a")]);
    for round in 0..20 {
        let key = format!("k{round}");
        outbox.offered_durably(event(&key)).await.unwrap();
        // What a crash at this moment would leave.
        fs::copy(scratch.0.join("outbox.redb"), copy.0.join("outbox.redb")).unwrap();
        let later = Fake::default();
        let (restarted, mut told) = begin(&copy, vec![later.outlet("a")]);
        for expected in 0..=round {
            assert_eq!(told.recv().await.unwrap().key, format!("k{expected}"));
        }
        restarted.close().await;
    }
    outbox.close().await;
}

fn damage(path: &Path, spoil: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    spoil(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_damaged_store_is_moved_aside_and_never_in_the_way() {
    let scratch = Scratch::new();
    let file = scratch.0.join("outbox.redb");
    let fake = Fake::failing(down());
    let (outbox, _told) = begin(&scratch, vec![fake.outlet("a")]);
    for number in 0..40 {
        outbox.offered_durably(event(&number.to_string())).await.unwrap();
    }
    outbox.close().await;
    let good = fs::read(&file).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..60 {
        fs::write(&file, &good).unwrap();
        damage(&file, |bytes| match round % 3 {
            0 => bytes.truncate(random.usize(1..bytes.len())),
            1 => {
                let at = random.usize(..bytes.len());
                bytes[at..].iter_mut().take(600).for_each(|byte| *byte ^= 0x5a);
            }
            _ => {
                let at = random.usize(..bytes.len());
                bytes[at..].iter_mut().take(4_096).for_each(|byte| *byte = 0);
            }
        });
        let working = Fake::default();
        let (outbox, mut told) = begin(&scratch, vec![working.outlet("a")]);
        let fresh = format!("fresh{round}");
        outbox.offered_durably(event(&fresh)).await.unwrap();
        while told.recv().await.unwrap().key != fresh {}
        outbox.close().await;
    }
    fs::write(&file, "no store at all").unwrap();
    let (outbox, _told) = begin(&scratch, vec![fake.outlet("a")]);
    assert_eq!(
        fs::read(scratch.0.join("outbox.redb.damaged")).unwrap(),
        b"no store at all"
    );
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn two_processes_do_not_share_a_store() {
    let scratch = Scratch::new();
    let (outbox, _told) = begin(&scratch, Vec::new());
    let second = Outbox::begin(Vec::new(), &scratch.0).unwrap_err();
    assert!(matches!(second, OutboxError::Disk(DiskError::Locked { .. })), "{second:?}");
    outbox.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_does_not_hold_notices_up() {
    let scratch = Scratch::new();
    let fake = Fake::default();
    let (outbox, mut told) = begin(&scratch, vec![fake.outlet("a")]);
    outbox.offered_durably(event("before")).await.unwrap();
    assert_eq!(told.recv().await.unwrap().key, "before");
    let failing = scratch.0.join("the-disk-fails");
    fs::write(&failing, "").unwrap();
    let said = outbox.offered_durably(event("during")).await.unwrap_err();
    assert!(said.to_string().contains("in memory and not on disk"), "{said}");
    assert_eq!(told.recv().await.unwrap().key, "during");
    assert!(outbox.view().not_on_disk.is_some());
    fake.always(Some(down()));
    outbox.offer(event("kept"));
    fs::remove_file(&failing).unwrap();
    let begun = clock::now();
    until(&outbox, 0, |_| clock::now() - begun > Duration::from_secs(20)).await;
    assert!(outbox.view().not_on_disk.is_none());
    outbox.close().await;
    fake.always(None);
    let (outbox, mut told) = begin(&scratch, vec![fake.outlet("a")]);
    for key in ["before", "during", "kept"] {
        outbox.offered_durably(event(key)).await.unwrap();
    }
    assert_eq!(told.recv().await.unwrap().key, "kept");
    outbox.close().await;
    assert!(told.recv().await.is_none());
}
