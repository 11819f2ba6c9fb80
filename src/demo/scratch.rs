//! The demo's state directory: its own, fresh, and gone afterwards.
//!
//! It is apart because leaving nothing behind must hold on every way out, an interrupted
//! one and a panic included; dropping is the one thing that happens on all of them.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory that is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one that only this user may enter.
    ///
    /// # Errors
    /// When the system's directory for temporary files cannot be written.
    pub(super) fn new() -> io::Result<Self> {
        let name =
            format!("switchback-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot make {}: {error}", path.display()),
            )
        })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a temporary directory is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scratch;

    #[test]
    fn nothing_is_left_behind() {
        let (one, two) = (Scratch::new().unwrap(), Scratch::new().unwrap());
        assert_ne!(one.path(), two.path());
        let path = one.path().to_owned();
        std::fs::write(path.join("state"), "x").unwrap();
        drop(one);
        assert!(!path.exists());
        assert!(two.path().is_dir());
    }
}
