//! Directory entries on stable storage. Blocking: call it from a blocking thread or at start.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Flushes a file's bytes, or a directory's entries.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Creates `dir` and what is missing above it, and flushes the entry of every directory below `top`, also of those that
/// existed: whoever created them may not have come to flush them.
pub(crate) fn create_dirs(top: &Path, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for made in dir.ancestors().take_while(|path| *path != top) {
        if let Some(parent) = made.parent() {
            sync(parent)?;
        }
    }
    Ok(())
}

/// The nearest directory at or above `path` that exists.
pub(crate) fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|above| above.exists()).unwrap_or(path).to_path_buf()
}
