//! From the file to the settings of the whole process, or to everything that is wrong.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::describe::describe;
use super::error::{ConfigErrors, Report};
use super::file::FILE;
use super::insert::{Environment, Filler, plain, process_environment};
use super::reader::View;
use super::shape::{Shape, check};
use super::tree::{Kind, read};
use super::{discovery, notify, services, traffic};
use crate::app::Settings;
use crate::control;

/// Bytes of a configuration file.
pub(super) const FILE_BYTES: usize = 1 << 20;

/// A configuration that is right.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What is allowed in it but probably not meant, one line each.
    pub warnings: Vec<String>,
    /// The files whose content was inserted.
    pub(super) inserted_files: Vec<PathBuf>,
    /// The paths of values that came from outside the file and are never printed.
    pub(super) inserted: BTreeSet<String>,
}

/// Reads a configuration file of at most 1 MiB.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|why| ConfigErrors::whole(&name, why))?;
    let dir = path.parent().unwrap_or(Path::new(""));
    parse(&text, &name, dir)
}

/// Reads the text of a configuration. `name` is how messages call the file; paths in it are
/// relative to `dir`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, name: &str, dir: &Path) -> Result<Loaded, ConfigErrors> {
    parse_in(text, name, dir, &process_environment)
}

pub(super) fn parse_in(
    text: &str,
    name: &str,
    dir: &Path,
    environment: Environment<'_>,
) -> Result<Loaded, ConfigErrors> {
    if text.len() > FILE_BYTES {
        return Err(ConfigErrors::whole(name, too_large()));
    }
    let mut node =
        read(text).map_err(|problem| ConfigErrors::new(name, vec![problem], 0))?;
    if matches!(node.kind, Kind::Null) {
        let why = "is empty: it needs at least listeners and routes";
        return Err(ConfigErrors::whole(name, why.to_owned()));
    }
    let report = Report::default();
    let mut filler = Filler::new(&report, environment, dir);
    filler.fill(&mut node, "");
    let (values, inserted_files) = (filler.values, filler.files);
    check(&Shape::Map(FILE), &node, "", &report);
    let root = View::root(&report, FILE, &node);
    let settings = settings(&root, dir, hash(text, &values));
    let (warnings, inserted) = report.close(name)?;
    let mut loaded = Loaded { settings, warnings, inserted_files, inserted };
    loaded.settings.live.described = describe(&loaded).into();
    Ok(loaded)
}

fn settings(root: &View<'_>, dir: &Path, config_hash: String) -> Settings {
    let routes = traffic::routes(root, dir);
    discovery::look_at_endpoints(root);
    Settings {
        workers: services::workers(root),
        listeners: services::listeners(root, dir),
        admin: services::admin(root, dir),
        state_dir: PathBuf::from(root.text("stateDir")),
        shutdown_drain: root.child("shutdown").span("drainTimeout"),
        record: services::record(root),
        effects: notify::sinks(root, dir),
        live: control::Settings {
            routes,
            dns: discovery::dns(root),
            config_hash,
            described: "".into(),
        },
    }
}

/// The digest of the text and of what was inserted: equal exactly when both are. The lengths
/// keep two neighbouring insertions apart.
fn hash(text: &str, inserted: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(text.as_bytes());
    for value in inserted {
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn read_text(path: &Path) -> Result<String, String> {
    let cannot = |why: &str| format!("cannot be read: {why}");
    let file = std::fs::File::open(path).map_err(|error| cannot(&plain(&error)))?;
    let mut bytes = Vec::new();
    let limit = FILE_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| cannot(&plain(&error)))?;
    if bytes.len() > FILE_BYTES {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        cannot(&format!("it is not UTF-8 at byte {place}"))
    })
}

fn too_large() -> String {
    format!("is larger than {} MiB", FILE_BYTES >> 20)
}
