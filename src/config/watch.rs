//! Reload: parse, check, then hand over; a bad file changes nothing and is loud.
//!
//! Apart from loading because it remembers: what the process was started with, which parts
//! of it only a restart can change, and what was said last, so that nothing is said twice.
//! It looks at the file once a second and does not ask the kernel to be told, because a
//! mounted `ConfigMap` changes by a swapped link far above the file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::error::ConfigErrors;
use super::load::{Loaded, load};
use crate::admin::OperatorSettings;
use crate::app::Settings;
use crate::control;

/// Between two looks at the file.
const EVERY: Duration = Duration::from_secs(1);
/// So many looks after a change read the file again even if it looks the same: a file that
/// is written twice within one tick of the file system's clock keeps its time and length.
const SETTLE: u8 = 2;

/// What became of the file.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is right, and says something else than before or was asked for again.
    Live {
        /// What takes effect at once.
        settings: Box<control::Settings>,
        /// What is allowed in it but probably not meant.
        warnings: Vec<String>,
        /// The keys whose new values only a restart brings into effect.
        needs_restart: Vec<&'static str>,
    },
    /// It is wrong: what runs goes on as it is.
    Refused(ConfigErrors),
}

/// One configuration file under observation.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    started: Settings,
    inserted_files: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
    settle: u8,
    accepted: String,
    refused: Option<ConfigErrors>,
}

/// What tells that a file is another one or was written to.
type Stamp = [i128; 5];

/// Watches for ever. `again` asks for a reload whether or not the file changed, as SIGHUP
/// does. The next look waits until `on_change` is done.
pub async fn watch<F, D>(mut watch: Watch, again: Arc<Notify>, mut on_change: F)
where
    F: FnMut(Change) -> D,
    D: Future<Output = ()>,
{
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let change = tokio::select! {
            _ = ticks.tick() => watch.look(),
            () = again.notified() => Some(watch.reload()),
        };
        if let Some(change) = change {
            on_change(change).await;
        }
    }
}

impl Watch {
    /// Watches the file that the process was started with.
    #[must_use]
    pub fn new(path: &Path, loaded: &Loaded) -> Self {
        let mut watch = Self {
            path: path.to_owned(),
            started: loaded.settings.clone(),
            inserted_files: loaded.inserted_files.clone(),
            stamps: Vec::new(),
            settle: SETTLE,
            accepted: loaded.settings.live.config_hash.clone(),
            refused: None,
        };
        watch.stamps = watch.stamp();
        watch
    }

    /// Looks whether the file changed, and reads it if it may have. The answer is `None`
    /// when it says the same as before, right or wrong.
    pub fn look(&mut self) -> Option<Change> {
        let stamps = self.stamp();
        if stamps != self.stamps {
            self.settle = SETTLE;
        } else if self.refused.is_none() {
            self.settle = self.settle.checked_sub(1)?;
        }
        self.stamps = stamps;
        match load(&self.path) {
            Ok(loaded) => {
                let same = loaded.settings.live.config_hash == self.accepted;
                (!same || self.refused.is_some()).then(|| self.accept(loaded))
            }
            Err(errors) => {
                (self.refused.as_ref() != Some(&errors)).then(|| self.refuse(errors))
            }
        }
    }

    /// Reads the file whether or not it changed.
    pub fn reload(&mut self) -> Change {
        self.stamps = self.stamp();
        match load(&self.path) {
            Ok(loaded) => self.accept(loaded),
            Err(errors) => self.refuse(errors),
        }
    }

    fn accept(&mut self, loaded: Loaded) -> Change {
        let Loaded { settings, warnings, inserted_files, .. } = loaded;
        self.refused = None;
        self.accepted.clone_from(&settings.live.config_hash);
        self.inserted_files = inserted_files;
        self.stamps = self.stamp();
        self.settle = SETTLE;
        let needs_restart = fixed_parts(&self.started, &settings);
        Change::Live { settings: Box::new(settings.live), warnings, needs_restart }
    }

    fn refuse(&mut self, errors: ConfigErrors) -> Change {
        self.refused = Some(errors.clone());
        Change::Refused(errors)
    }

    fn stamp(&self) -> Vec<Option<Stamp>> {
        let files = std::iter::once(&self.path).chain(&self.inserted_files);
        files.map(|path| stamp(path)).collect()
    }
}

/// The stamp of what the path leads to, links followed.
fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some([
        meta.mtime().into(),
        meta.mtime_nsec().into(),
        meta.len().into(),
        meta.ino().into(),
        meta.dev().into(),
    ])
}

/// The keys that differ and that a reload does not change.
fn fixed_parts(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let operators = |settings: &Settings| -> Vec<_> {
        let key = |one: &OperatorSettings| {
            (one.name.clone(), one.token.clone(), one.certificate, one.role)
        };
        settings.admin.operators.iter().map(key).collect()
    };
    let admin = old.admin.address != new.admin.address
        || old.admin.metrics_address != new.admin.metrics_address
        || old.admin.tls != new.admin.tls
        || operators(old) != operators(new);
    [
        ("workers", old.workers != new.workers),
        ("listeners", old.listeners != new.listeners),
        ("admin", admin),
        ("stateDir", old.state_dir != new.state_dir),
        ("shutdown", old.shutdown_drain != new.shutdown_drain),
        ("record", old.record != new.record),
        ("notify", old.effects != new.effects),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::{Notify, mpsc};

    use super::{Change, Watch, watch};
    use crate::config::load;

    /// A folder of its own that goes away with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("switchback-watch-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    fn text(port: u16, weight: &str) -> String {
        format!(
            "listeners: [{{ address: '127.0.0.1:{port}' }}]\nroutes:\n  - name: iris\n    versions:\n      - {{ name: a, role: stable, endpoints: ['http://h:1'] }}\n      - {{ name: b, role: canary, weight: {weight}, endpoints: ['http://h:2'] }}\n"
        )
    }

    fn said(change: Option<Change>) -> String {
        match change {
            None => "nothing".to_owned(),
            Some(Change::Refused(errors)) => format!("refused {errors}"),
            Some(Change::Live { settings, needs_restart, .. }) => {
                let weight = settings.routes[0].versions[1].weight;
                format!("live {weight} {needs_restart:?}")
            }
        }
    }

    #[test]
    fn what_changes_is_said_once() {
        let folder = Folder::new();
        let path = folder.write("s.yaml", &text(80, "10%"));
        let mut watch = Watch::new(&path, &load(&path).unwrap());
        for _ in 0..5 {
            assert_eq!(said(watch.look()), "nothing");
        }
        // Same content, another time and another inode.
        std::fs::remove_file(&path).unwrap();
        folder.write("s.yaml", &text(80, "10%"));
        assert_eq!(said(watch.look()), "nothing");
        folder.write("s.yaml", &text(80, "20%"));
        assert_eq!(said(watch.look()), "live 20% []");
        assert_eq!(said(watch.look()), "nothing");
        // As long as before, perhaps within the same tick of the file system's clock.
        folder.write("s.yaml", &text(80, "30%"));
        assert_eq!(said(watch.look()), "live 30% []");
        folder.write("s.yaml", &text(81, "30%"));
        assert_eq!(said(watch.look()), "live 30% [\"listeners\"]");
        folder.write("s.yaml", &text(80, "30%"));
        assert_eq!(said(watch.look()), "live 30% []");
        assert_eq!(said(Some(watch.reload())), "live 30% []");
    }

    #[test]
    fn a_bad_file_is_loud_once_and_its_repair_is_seen() {
        let folder = Folder::new();
        let path = folder.write("s.yaml", &text(80, "10%"));
        let mut watch = Watch::new(&path, &load(&path).unwrap());
        let half = text(80, "10%");
        folder.write("s.yaml", &half[..half.len() / 2]);
        assert!(said(watch.look()).starts_with("refused "));
        assert_eq!(said(watch.look()), "nothing");
        folder.write("s.yaml", &text(80, "130%"));
        assert!(said(watch.look()).ends_with("130% is above 100%"));
        assert!(said(Some(watch.reload())).ends_with("130% is above 100%"));
        std::fs::remove_file(&path).unwrap();
        assert!(said(watch.look()).ends_with("cannot be read: there is no such file"));
        folder.write("s.yaml", &text(80, "10%"));
        assert_eq!(said(watch.look()), "live 10% []");
        assert_eq!(said(watch.look()), "nothing");
    }

    #[test]
    fn a_swapped_link_of_a_config_map_is_a_change() {
        let folder = Folder::new();
        folder.write("..1/s.yaml", &text(80, "10%"));
        folder.write("..2/s.yaml", &text(80, "20%"));
        let data = folder.0.join("..data");
        std::os::unix::fs::symlink("..1", &data).unwrap();
        let path = folder.0.join("s.yaml");
        std::os::unix::fs::symlink("..data/s.yaml", &path).unwrap();
        let mut watch = Watch::new(&path, &load(&path).unwrap());
        assert_eq!(said(watch.look()), "nothing");
        let next = folder.0.join("..data_tmp");
        std::os::unix::fs::symlink("..2", &next).unwrap();
        std::fs::rename(&next, &data).unwrap();
        assert_eq!(said(watch.look()), "live 20% []");
    }

    #[test]
    fn an_inserted_file_is_watched_too() {
        let folder = Folder::new();
        folder.write("weight", "10%\n");
        let path = folder.write("s.yaml", &text(80, "'${file:weight}'"));
        let mut watch = Watch::new(&path, &load(&path).unwrap());
        for _ in 0..5 {
            assert_eq!(said(watch.look()), "nothing");
        }
        folder.write("weight", "25%\n");
        assert_eq!(said(watch.look()), "live 25% []");
        std::fs::remove_file(folder.0.join("weight")).unwrap();
        assert!(said(watch.look()).contains("weight cannot be inserted"));
        folder.write("weight", "5%");
        assert_eq!(said(watch.look()), "live 5% []");
    }

    #[tokio::test]
    async fn a_signal_reloads_at_once() {
        let folder = Folder::new();
        let path = folder.write("s.yaml", &text(80, "10%"));
        let seen = Watch::new(&path, &load(&path).unwrap());
        let again = Arc::new(Notify::new());
        let (to, mut changes) = mpsc::unbounded_channel();
        let watching = watch(seen, Arc::clone(&again), |change| {
            let to = to.clone();
            async move { to.send(said(Some(change))).unwrap() }
        });
        again.notify_one();
        let first = tokio::select! {
            () = watching => None,
            change = changes.recv() => change,
        };
        assert_eq!(first.as_deref(), Some("live 10% []"));
    }
}
