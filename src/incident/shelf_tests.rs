//! The shelf on a real disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{File, IncidentError, KEPT, MOST, YOUNG, make_room, read, write};
use crate::incident::facts::Facts;
use crate::incident::render::render;
use crate::incident::tests::rich;
use crate::vocab::record::Status;
use crate::vocab::time::Timestamp;

/// A directory that is gone with its owner.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("switchback-incident-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(below)).unwrap();
        let name =
            |it: std::io::Result<fs::DirEntry>| it.unwrap().file_name().into_string();
        let mut names: Vec<String> = entries.map(|it| name(it).unwrap()).collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn named(id: &str) -> Facts {
    let mut facts = rich();
    id.clone_into(&mut facts.record.rollback_id);
    facts
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_written_is_read_back_and_belongs_to_its_owner() {
    let dir = Dir::new("round");
    let facts = rich();
    let path = write(&dir.0, &facts).unwrap();
    assert_eq!(path, dir.0.join("incidents/rb-01a2108ed530-29b6704b"));
    let rendered = render(&facts);
    for (file, text) in [
        (File::Json, &rendered.json),
        (File::Markdown, &rendered.markdown),
        (File::Svg, &rendered.svg),
    ] {
        let bytes = read(&dir.0, &facts.record.rollback_id, file).unwrap();
        assert_eq!(&bytes, text.as_bytes(), "{file:?}");
        assert_eq!(mode(&path.join(file.name())), 0o600, "{file:?}");
        assert_eq!(File::of(file.name()), Some(file));
    }
    assert_eq!((mode(&path), mode(&dir.0.join("incidents"))), (0o700, 0o700));
    assert_eq!(
        dir.names("incidents/rb-01a2108ed530-29b6704b"),
        ["latency.svg", "report.json", "report.md"]
    );
}

#[test]
fn the_end_replaces_the_beginning() {
    let dir = Dir::new("end");
    let mut facts = rich();
    facts.record.status = Status::InProgress;
    let path = write(&dir.0, &facts).unwrap();
    // What a crash may leave behind.
    fs::write(path.join(".report.md.next"), "half of").unwrap();
    facts.record.status = Status::Failed;
    write(&dir.0, &facts).unwrap();
    let bytes = read(&dir.0, &facts.record.rollback_id, File::Json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["rollback"]["status"], "failed");
    assert_eq!(dir.names("incidents/rb-01a2108ed530-29b6704b").len(), 3);
}

#[test]
fn the_beginning_does_not_replace_the_end_whoever_is_first() {
    let dir = Dir::new("order");
    let mut end = rich();
    end.record.status = Status::Completed;
    let mut begin = end.clone();
    begin.record.status = Status::InProgress;
    begin.at = Timestamp(end.at.0 - 1);
    let both = [&end, &begin];
    std::thread::scope(|scope| {
        for facts in both.iter().cycle().take(16) {
            scope.spawn(|| write(&dir.0, facts).unwrap());
        }
    });
    let bytes = read(&dir.0, &end.record.rollback_id, File::Json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["rollback"]["status"], "completed");
}

#[test]
fn an_id_is_no_path() {
    let dir = Dir::new("paths");
    let long = format!("rb-{}", "a".repeat(61));
    for id in [
        "",
        ".",
        "..",
        "rb-",
        "rb-../x",
        "rb-a/b",
        "/etc/rb-1",
        "rb-a\0b",
        "rb-a.b",
        "rb-ü",
        "pr-1",
        "../rb-1",
        "rb-a b",
        &long,
    ] {
        let written = write(&dir.0, &named(id));
        assert!(matches!(written, Err(IncidentError::Id(_))), "{id:?} {written:?}");
        let found = read(&dir.0, id, File::Json);
        assert!(matches!(found, Err(IncidentError::Id(_))), "{id:?} {found:?}");
    }
    assert!(dir.names("").is_empty(), "{:?}", dir.names(""));
    let unknown = read(&dir.0, "rb-1", File::Json).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no failure analysis of rb-1");
}

#[test]
fn nothing_is_written_through_a_link() {
    let dir = Dir::new("links");
    fs::create_dir(dir.0.join("incidents")).unwrap();
    fs::create_dir(dir.0.join("elsewhere")).unwrap();
    symlink(dir.0.join("elsewhere"), dir.0.join("incidents/rb-1")).unwrap();
    let refused = write(&dir.0, &named("rb-1")).unwrap_err();
    assert!(refused.to_string().starts_with("cannot write below "), "{refused}");
    fs::create_dir(dir.0.join("incidents/rb-2")).unwrap();
    let victim = dir.0.join("victim");
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, dir.0.join("incidents/rb-2/.report.md.next")).unwrap();
    symlink(&victim, dir.0.join("incidents/rb-2/report.md")).unwrap();
    write(&dir.0, &named("rb-2")).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert!(dir.names("elsewhere").is_empty());
}

#[test]
fn a_disk_that_refuses_is_named_and_the_old_report_stays() {
    let dir = Dir::new("refuses");
    let path = write(&dir.0, &named("rb-1")).unwrap();
    // A directory cannot be replaced by a file, whoever asks.
    fs::remove_file(path.join("report.md")).unwrap();
    fs::create_dir(path.join("report.md")).unwrap();
    let refused = write(&dir.0, &named("rb-1")).unwrap_err();
    let says = format!("cannot write {}", path.join("report.md").display());
    assert_eq!(refused.to_string(), says);
    assert!(read(&dir.0, "rb-1", File::Json).is_ok());
    assert!(!path.join(".report.md.next").exists());
    let gone = write(&dir.0.join("nowhere"), &named("rb-1")).unwrap_err();
    assert!(gone.to_string().starts_with("cannot make "), "{gone}");
}

#[test]
fn the_oldest_make_room_but_not_the_young_nor_what_is_not_ours() {
    let day = u64::try_from(YOUNG.as_millis()).unwrap();
    let now = Timestamp(10 * day);
    let id = |at: u64, n: usize| format!("rb-{at:012x}-{n:08x}");
    let old = |n: usize| id(n as u64, n);
    let young = |n: usize| id(now.0 - 1 - n as u64, n);
    // How many old and young ones there are, and how many of each stay.
    for (case, (olds, youngs, stay)) in [
        (KEPT, 0, (KEPT, 0)),
        (KEPT + 3, 0, (KEPT, 0)),
        (50, KEPT - 10, (10, KEPT - 10)),
        (50, KEPT + 50, (0, KEPT + 50)),
        (0, MOST + 2, (0, MOST)),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = Dir::new(&format!("room-{case}"));
        let make = |name: String| fs::create_dir(dir.0.join(name)).unwrap();
        (0..olds).map(old).for_each(make);
        (0..youngs).map(young).for_each(make);
        make("rb-1".to_owned());
        make("notes".to_owned());
        make_room(&dir.0, "rb-1", now).unwrap();
        let names = dir.names("");
        let left = |of: &dyn Fn(usize) -> String, many: usize| {
            (0..many).filter(|n| names.contains(&of(*n))).count()
        };
        assert_eq!((left(&old, olds), left(&young, youngs)), stay, "case {case}");
        assert!(
            names.contains(&"notes".to_owned()) && names.contains(&"rb-1".to_owned())
        );
        if olds > KEPT {
            assert!(!names.contains(&old(0)) && names.contains(&old(olds - 1)));
        }
    }
}

#[test]
fn the_incident_just_written_stays_whatever_its_age() {
    let day = u64::try_from(YOUNG.as_millis()).unwrap();
    let dir = Dir::new("own");
    let id = |n: usize| format!("rb-{n:012x}-{n:08x}");
    (0..=KEPT).for_each(|n| fs::create_dir(dir.0.join(id(n))).unwrap());
    make_room(&dir.0, &id(0), Timestamp(10 * day)).unwrap();
    let names = dir.names("");
    assert_eq!(names.len(), KEPT);
    assert!(names.contains(&id(0)) && !names.contains(&id(1)));
}
