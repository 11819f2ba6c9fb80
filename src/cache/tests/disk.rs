//! The copy on disk: what is there after a restart, and what must not be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::Disk;
use crate::cache::Source;
use crate::cache::words::{Asked, World, headers, policy, source};
use crate::clock;
use crate::telemetry::KeptCounts;
use crate::vocab::ids::{Digest, Name};
use crate::vocab::policy::CachePolicy;
use crate::vocab::time::Timestamp;

fn persisted() -> CachePolicy {
    CachePolicy { persist: true, ..policy() }
}

/// A directory that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("switchback-kept-{:x}", fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// One run of the process: a cache with its copy in that directory.
struct Run {
    world: World,
    disk: Disk,
    counts: Arc<KeptCounts>,
    back: usize,
}

impl Run {
    fn begin(directory: &Path, policy: CachePolicy, sources: &[Source]) -> Self {
        let (world, counts) = (World::of(policy), Arc::<KeptCounts>::default());
        let mut disk = Disk::attach(&world.cache, directory, &counts).unwrap();
        let sources: Vec<(Name, Source)> =
            sources.iter().map(|it| (world.route.clone(), it.clone())).collect();
        let back = disk.restore(&sources);
        Self { world, disk, counts, back }
    }

    fn keep(&self, asked: &Asked, source: &Source, body: &str, at: Timestamp) {
        let json = headers(&[("content-type", "application/json")]);
        self.world.keep(asked, source, &json, body, at).unwrap();
    }

    /// Ends, once everything is written.
    fn end(self) -> Arc<KeptCounts> {
        self.world.cache.close();
        self.disk.run();
        self.counts
    }
}

fn ask(number: usize) -> Asked {
    Asked::post("").change(|asked| asked.body = Bytes::from(number.to_string()))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(directory) else { return Vec::new() };
    listed.map(|one| one.unwrap().path()).collect()
}

fn before(seconds: u64) -> Timestamp {
    Timestamp(clock::wall().0 - seconds * 1_000)
}

#[test]
fn answers_are_there_after_a_restart_for_those_who_may_have_them() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let (v1, v2) = (source("v1", 1), source("v2", 2));
    let owner = ask(1).with("authorization", "Bearer alice");
    let run = Run::begin(&kept, persisted(), &[]);
    run.keep(&owner, &v1, "alice's", before(9));
    run.keep(&ask(2), &v2, "two", before(9));
    run.end();
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
    for file in files(&kept) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Slots are given anew.
    let (v1, v2) = (source("v1", 5), source("v2", 6));
    let run = Run::begin(&kept, persisted(), &[v1.clone(), v2.clone()]);
    assert_eq!(run.back, 2);
    let find = |asked: &Asked, from: &Source| {
        run.world.find(asked, std::slice::from_ref(from), clock::wall())
    };
    assert_eq!(find(&owner, &v1).as_deref(), Some("alice's"));
    assert_eq!(find(&ask(2), &v2).as_deref(), Some("two"));
    assert_eq!(find(&ask(1).with("authorization", "Bearer bob"), &v1), None);
    assert_eq!(find(&ask(1), &v1), None);
    assert_eq!(find(&ask(2), &v1), None);
    run.end();
}

#[test]
fn of_a_version_that_was_rolled_back_nothing_comes_back() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let (v1, v2) = (source("v1", 1), source("v2", 2));
    let fill = || {
        let run = Run::begin(&kept, persisted(), &[]);
        run.keep(&ask(1), &v1, "good", before(9));
        run.keep(&ask(2), &v2, "bad", before(9));
        run
    };
    // Purged while it waits to be written, and after it was.
    let run = fill();
    run.world.cache.purge(v2.slot);
    run.end();
    assert_eq!(files(&kept).len(), 1);
    fill().end();
    assert_eq!(files(&kept).len(), 2);
    let run = Run::begin(&kept, persisted(), &[v1.clone(), v2.clone()]);
    assert_eq!(run.back, 2);
    run.world.cache.purge(v2.slot);
    run.end();
    assert_eq!(files(&kept).len(), 1);
    // Killed before the purge came to the disk: the quarantine is known by then.
    fill().end();
    let run = Run::begin(&kept, persisted(), std::slice::from_ref(&v1));
    assert_eq!((run.back, files(&kept).len()), (1, 1));
    let found = run.world.find(&ask(2), std::slice::from_ref(&v2), clock::wall());
    assert_eq!(found, None);
    // Another build of the name is another version.
    let rebuilt = Source { digest: Digest::new("sha256:2"), ..v1 };
    let run = Run::begin(&kept, persisted(), &[rebuilt]);
    assert_eq!((run.back, files(&kept).len()), (0, 0));
}

#[test]
fn time_goes_on_while_nobody_runs() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let v1 = source("v1", 1);
    let run = Run::begin(&kept, persisted(), &[]);
    run.keep(&ask(1), &v1, "young", before(100));
    run.keep(&ask(2), &v1, "old", before(3_601));
    let short = headers(&[("cache-control", "max-age=60, must-revalidate")]);
    run.world.keep(&ask(3), &v1, &short, "strict", before(61)).unwrap();
    // The clock was set back since.
    run.keep(&ask(4), &v1, "from the future", Timestamp(clock::wall().0 + 60_000));
    run.end();
    let run = Run::begin(&kept, persisted(), std::slice::from_ref(&v1));
    assert_eq!((run.back, files(&kept).len()), (1, 1));
    let versions = std::slice::from_ref(&v1);
    let now = clock::wall();
    assert_eq!(run.world.find(&ask(1), versions, now).as_deref(), Some("young"));
    let later = now.after(Duration::from_secs(3_500));
    assert_eq!(run.world.find(&ask(1), versions, later), None, "its hour is over");
    run.end();
    // A shorter time counts for what is on disk already.
    let hurried = CachePolicy { ttl: Duration::from_secs(50), ..persisted() };
    assert_eq!(Run::begin(&kept, hurried, versions).back, 0);
    assert!(files(&kept).is_empty());
}

#[test]
fn torn_and_foreign_files_are_not_read_and_only_ours_are_removed() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let v1 = source("v1", 1);
    let run = Run::begin(&kept, persisted(), &[]);
    (0..4).for_each(|number| run.keep(&ask(number), &v1, "x", before(9)));
    run.end();
    let all = files(&kept);
    let whole = fs::read(&all[0]).unwrap();
    fs::write(&all[0], &whole[..whole.len() / 2]).unwrap();
    fs::write(&all[1], b"").unwrap();
    // An answer in the place of another.
    fs::write(&all[2], fs::read(&all[3]).unwrap()).unwrap();
    fs::write(all[3].with_extension("kept.new"), &whole).unwrap();
    let foreign = kept.join("notes.txt");
    fs::write(&foreign, b"mine").unwrap();
    let run = Run::begin(&kept, persisted(), std::slice::from_ref(&v1));
    assert_eq!((run.back, run.world.cache.len()), (1, 1));
    let mut left = files(&kept);
    left.sort();
    let mut want = vec![all[3].clone(), foreign];
    want.sort();
    assert_eq!(left, want);
}

#[test]
fn the_files_of_a_route_take_no_more_than_its_room() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let v1 = source("v1", 1);
    let small = CachePolicy { max_size: 10 * 4_096, max_entry: 8_192, ..persisted() };
    let run = Run::begin(&kept, small.clone(), &[]);
    (0..40)
        .for_each(|number| run.keep(&ask(number), &v1, "x", before(100 - number as u64)));
    let counts = run.end();
    assert_eq!(files(&kept).len(), 10, "a block each");
    assert_eq!(counts.bytes(), 10 * 4_096);
    assert_eq!(counts.outcomes(), [("written", 40), ("dropped", 0), ("failed", 0)]);
    let smaller = CachePolicy { max_size: 4 * 4_096, max_entry: 4_096, ..persisted() };
    let run = Run::begin(&kept, smaller, std::slice::from_ref(&v1));
    assert_eq!((run.back, files(&kept).len()), (4, 4));
    let versions = std::slice::from_ref(&v1);
    assert!(run.world.find(&ask(39), versions, clock::wall()).is_some(), "the newest");
    // A reload that ends the copy ends it at once.
    let none = CachePolicy { persist: false, ..small };
    run.world.cache.fit([(&run.world.route, &none)]);
    run.end();
    assert!(files(&kept).is_empty());
}

#[test]
fn a_change_of_the_target_and_a_version_that_is_gone_reach_the_disk() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let (v1, v2) = (source("v1", 1), source("v2", 2));
    let run = Run::begin(&kept, persisted(), &[]);
    let get = |path: &str| {
        Asked::post("").change(|asked| {
            asked.method = Method::GET;
            path.clone_into(&mut asked.path);
        })
    };
    run.keep(&get("/a"), &v1, "a", before(9));
    run.keep(&get("/b"), &v1, "b", before(9));
    run.keep(&get("/b"), &v2, "b", before(9));
    run.end();
    assert_eq!(files(&kept).len(), 3);
    let run = Run::begin(&kept, persisted(), &[v1.clone(), v2.clone()]);
    run.world.cache.touch(run.world.scope(), &get("/a").facts(), clock::wall());
    run.world.cache.know([v1.slot]);
    run.world.cache.fit([(&run.world.route, &run.world.policy)]);
    run.end();
    let run = Run::begin(&kept, persisted(), &[v1.clone(), v2]);
    assert_eq!(run.back, 1);
    let versions = std::slice::from_ref(&v1);
    assert_eq!(run.world.find(&get("/b"), versions, clock::wall()).as_deref(), Some("b"));
}

#[test]
fn the_same_answer_is_not_written_again_and_again() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let v1 = source("v1", 1);
    let run = Run::begin(&kept, persisted(), &[]);
    (0..100).for_each(|turn| run.keep(&ask(1), &v1, "x", before(200 - turn)));
    let [(_, written), ..] = run.end().outcomes();
    assert_eq!(written, 2, "at the first and a minute later");
}

#[test]
fn without_room_in_the_queue_the_copy_is_dropped_and_counted() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let v1 = source("v1", 1);
    let run = Run::begin(&kept, persisted(), &[]);
    // Nobody takes them out yet.
    (0..5_000).for_each(|number| run.keep(&ask(number), &v1, "x", before(9)));
    let [(_, written), (_, dropped), _] = run.end().outcomes();
    assert_eq!((written, dropped), (4_096, 904));
    let large = "y".repeat(60_000);
    let run = Run::begin(&kept, persisted(), &[]);
    (0..400).for_each(|number| run.keep(&ask(number), &v1, &large, before(9)));
    let counts = run.end();
    let [_, (_, dropped), _] = counts.outcomes();
    assert!((100..200).contains(&dropped), "by bytes: {dropped}");
    assert!(counts.bytes() <= 4 << 20);
}

#[test]
fn a_disk_that_fails_is_said_and_harms_no_answer() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    fs::write(&kept, b"a file in the way").unwrap();
    let v1 = source("v1", 1);
    let run = Run::begin(&kept, persisted(), std::slice::from_ref(&v1));
    run.keep(&ask(1), &v1, "x", before(9));
    let found = run.world.find(&ask(1), std::slice::from_ref(&v1), clock::wall());
    assert_eq!(found.as_deref(), Some("x"));
    let counts = run.end();
    assert!(counts.is_failing());
    assert_eq!(counts.outcomes(), [("written", 0), ("dropped", 0), ("failed", 1)]);
    assert_eq!(fs::read(&kept).unwrap(), b"a file in the way");
}

#[test]
fn a_directory_that_others_may_read_is_closed_to_them() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    fs::create_dir(&kept).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o755)).unwrap();
    let v1 = source("v1", 1);
    let run = Run::begin(&kept, persisted(), &[]);
    run.keep(&ask(1), &v1, "x", before(9));
    run.end();
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn nothing_is_on_disk_for_a_route_that_did_not_ask_for_it() {
    let directory = Scratch::new();
    let kept = directory.0.join("cache");
    let v1 = source("v1", 1);
    let run = Run::begin(&kept, policy(), &[]);
    run.keep(&ask(1), &v1, "x", before(9));
    run.end();
    assert!(!kept.exists());
}
