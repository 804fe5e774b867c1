//! The guard of a directory: one process at a time, and for metadata never a directory that somebody else filled. Whether
//! a directory may be the root path of objects is judged by [`crate::ownership`].
//!
//! LR-1  A directory that is refused is left as it was: nothing is created, changed or removed in it.
//! LR-2  The marker of a directory for metadata is created in an empty one, one that Elanus made, or one that holds nothing
//!       but Elanus' metadata; once, and never changed.
//! LR-3  While a process holds the guard, no other process gets it; or those that share it do, and no other. The end of the
//!       process ends it, also kill -9.
//! LR-4  Staging files (`name#N`) are removed while no other process can be writing: after the lock, before the answer;
//!       only regular files, only in the cluster's own namespace `DIR/{cluster_id}/`.

use crate::{
    durable,
    staging::{self, Go},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

const FOLDER: &str = "_elanus";
const LOCK: &str = "lock";
const MARKER: &str = "metadata.json";
const MARKER_STAGED: &str = "metadata.json.new";
/// The marker of a root path of objects: Elanus made this directory.
const OWNER: &str = "owner.json";
/// What a first start that was killed may have left.
const RESTS: [&str; 3] = [LOCK, MARKER_STAGED, "marker.lock"];
/// File systems put it into the top directory of an empty volume.
const LOST_AND_FOUND: &str = "lost+found";

/// What this build writes, and the newest that it reads.
const FORMAT_VERSION: u32 = 1;

/// A directory in which no other process works until the value is dropped, those aside that share it.
#[derive(Debug)]
pub struct LocalRoot {
    path: PathBuf,
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// Somebody else's files.
    #[error("{} is not empty and was not made by elanus; choose another directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Made by a later version.
    #[error(
        "{} was made by a newer elanus (format {found}, this build knows {FORMAT_VERSION}); use that version",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The format that was found.
        found: u32,
    },
    /// The marker cannot be understood.
    #[error("{} is damaged: restore it from a backup of this directory", path.display())]
    Damaged {
        /// The marker.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Another process works on it.
    #[error("{} is in use by another elanus process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// This user may not write there.
    #[error("no permission to write to {}", path.display())]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that the file system said.
    #[error("could not use {} as data directory", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format_version: u32,
    created_by: String,
}

/// Read first, because a newer format may have other fields.
#[derive(Deserialize)]
struct MarkerVersion {
    format_version: u32,
}

impl LocalRoot {
    /// Takes a directory for metadata whose objects are elsewhere; creates it when it is absent. `own`: names of files of
    /// these metadata, which may be the only thing there is: they were brought back from a backup, or rebuilt.
    ///
    /// # Errors
    /// When it belongs to somebody else, to a newer version or to a running process, or cannot be written.
    pub fn open(path: &Path, own: &[String]) -> Result<Self, RootError> {
        let failed = |source: io::Error| RootError::io(path, source);
        let path = std::path::absolute(path).map_err(failed)?;
        inspect(&path, own)?; // LR-1
        let root = Self::lock(&path)?;
        // Whoever held the lock until now may have created the marker since.
        if inspect(&path, own)?.is_none() {
            create_marker(&path).map_err(failed)?;
        }
        // The process that created the marker may have died before this.
        durable::sync(&path.join(FOLDER)).and_then(|()| durable::sync(&path)).map_err(failed)?;
        Ok(root)
    }

    /// Takes the root path of objects, which may be anybody's: creates the directory when it is absent, and nothing in it
    /// but the lock.
    ///
    /// # Errors
    /// When a running process has it, or it cannot be written.
    pub fn lock(path: &Path) -> Result<Self, RootError> {
        let failed = |source: io::Error| RootError::io(path, source);
        let path = std::path::absolute(path).map_err(failed)?;
        Self::make(&path)?;
        let lock = lock(&path, File::try_lock)?;
        Ok(Self { path, _lock: lock })
    }

    /// Takes the root path of objects together with other processes of the same cluster that share it.
    ///
    /// # Errors
    /// When a running process has it alone, or it cannot be written.
    pub fn share(path: &Path) -> Result<Self, RootError> {
        let failed = |source: io::Error| RootError::io(path, source);
        let path = std::path::absolute(path).map_err(failed)?;
        Self::make(&path)?;
        let lock = lock(&path, File::try_lock_shared)?;
        Ok(Self { path, _lock: lock })
    }

    /// Creates the directory of objects when it is absent, and takes nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(path: &Path) -> Result<(), RootError> {
        let made = durable::create_dirs(&durable::nearest_existing(path), &path.join(FOLDER));
        made.map_err(|source| RootError::io(path, source))
    }

    /// The directory, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the staging files of a process that was killed, in the folder of this cluster's objects (LR-4).
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn sweep_staging(&self, namespace: &str) -> Result<(), RootError> {
        let swept = sweep_staging(&self.path.join(namespace)).map_err(|source| RootError::io(&self.path, source))?;
        if swept > 0 {
            tracing::info!(files = swept, "removed unfinished files of a process that was killed");
        }
        Ok(())
    }
}

impl RootError {
    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Unwritable { path, source },
            _ => Self::Io { path, source },
        }
    }
}

/// The marker, or `None` for a directory that is absent, empty but for `own`, or a root path of objects. Changes nothing.
fn inspect(path: &Path, own: &[String]) -> Result<Option<Marker>, RootError> {
    let failed = |source: io::Error| RootError::io(path, source);
    let marker = path.join(FOLDER).join(MARKER);
    match fs::read(&marker) {
        Ok(text) => return read_marker(path, &marker, &text).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let foreign = || RootError::Foreign { path: path.to_path_buf() };
    let mut names = names(path).map_err(failed)?;
    names.remove(LOST_AND_FOUND);
    names.retain(|name| !own.contains(name));
    if names.remove(FOLDER) {
        let own = names_in_folder(path).map_err(failed)?;
        if own.contains(OWNER) {
            return Ok(None);
        }
        if own.iter().any(|name| !RESTS.contains(&name.as_str())) {
            return Err(foreign());
        }
    }
    if names.is_empty() { Ok(None) } else { Err(foreign()) }
}

fn names_in_folder(path: &Path) -> io::Result<BTreeSet<String>> {
    names(&path.join(FOLDER))
}

fn names(dir: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn read_marker(path: &Path, marker: &Path, text: &[u8]) -> Result<Marker, RootError> {
    let damaged = |source| RootError::Damaged { path: marker.to_path_buf(), source };
    let found = serde_json::from_slice::<MarkerVersion>(text).map_err(damaged)?.format_version;
    if found > FORMAT_VERSION {
        let path = path.to_path_buf();
        return Err(RootError::Newer { path, found });
    }
    serde_json::from_slice(text).map_err(damaged)
}

fn lock(path: &Path, take: fn(&File) -> Result<(), TryLockError>) -> Result<File, RootError> {
    let failed = |source: io::Error| RootError::io(path, source);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path.join(FOLDER).join(LOCK)).map_err(failed)?;
    match take(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RootError::InUse { path: path.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Written beside its place, then linked into it: there is no moment with half a marker, and none is replaced (LR-2).
fn create_marker(path: &Path) -> io::Result<()> {
    let marker =
        Marker { format_version: FORMAT_VERSION, created_by: concat!("elanus ", env!("CARGO_PKG_VERSION")).to_owned() };
    let staged = path.join(FOLDER).join(MARKER_STAGED);
    let mut file = File::create(&staged)?;
    file.write_all(&serde_json::to_vec_pretty(&marker)?)?;
    file.sync_all()?;
    fs::hard_link(&staged, path.join(FOLDER).join(MARKER))?;
    fs::remove_file(&staged)
}

/// LR-4
fn sweep_staging(dir: &Path) -> io::Result<u64> {
    let mut swept = 0;
    staging::walk(dir, &mut |entry| {
        fs::remove_file(entry.path())?;
        swept += 1;
        Ok(Go::On)
    })?;
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    /// Everything below a directory: path, content, time of change.
    fn listing(dir: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
        let mut all = Vec::new();
        let mut dirs = vec![dir.to_path_buf()];
        while let Some(dir) = dirs.pop() {
            all.push((dir.clone(), Vec::new(), dir.metadata().unwrap().modified().unwrap()));
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let modified = path.metadata().unwrap().modified().unwrap();
                    all.push((path.clone(), fs::read(&path).unwrap(), modified));
                }
            }
        }
        all.sort();
        all
    }

    fn refused_untouched(dir: &Path) -> RootError {
        let before = listing(dir);
        let error = LocalRoot::open(dir, &[]).unwrap_err();
        assert_eq!(listing(dir), before, "{error}");
        error
    }

    fn write(path: PathBuf, text: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn an_absent_or_empty_directory_is_taken_and_known_again() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "not/yet/there"] {
            let path = dir.path().join("x").join(name);
            drop(LocalRoot::open(&path, &[]).unwrap());
            fs::write(path.join("data"), b"x").unwrap();
            assert_eq!(LocalRoot::open(&path, &[]).unwrap().path(), path);
            assert!(!path.join("_elanus/metadata.json.new").exists());
            fs::remove_dir_all(dir.path().join("x")).unwrap();
        }
    }

    #[test]
    fn a_directory_with_nothing_but_own_metadata_is_taken_and_with_anything_else_it_is_not() {
        let own = ["meta.db", "meta.db-wal"].map(str::to_owned);
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("meta.db"), b"x");
        refused_untouched(dir.path());
        drop(LocalRoot::open(dir.path(), &own).unwrap());
        assert!(dir.path().join("_elanus/metadata.json").exists());
        let other = tempfile::tempdir().unwrap();
        write(other.path().join("meta.db"), b"x");
        write(other.path().join("notes.txt"), b"x");
        assert!(matches!(LocalRoot::open(other.path(), &own), Err(RootError::Foreign { .. })));
        assert!(!other.path().join("_elanus").exists(), "LR-1");
    }

    #[test]
    fn an_empty_volume_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        LocalRoot::open(dir.path(), &[]).unwrap();
    }

    #[test]
    fn a_first_start_that_was_killed_is_finished() {
        for left in [&[][..], &["lock"], &["lock", "metadata.json.new"]] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("_elanus")).unwrap();
            for name in left {
                write(dir.path().join("_elanus").join(name), b"{\"form");
            }
            drop(LocalRoot::open(dir.path(), &[]).unwrap());
            assert!(dir.path().join("_elanus/metadata.json").exists());
        }
    }

    #[test]
    fn lr_1_a_foreign_directory_is_refused_and_untouched() {
        for foreign in ["notes.txt", "sub/x", ".hidden", "_elanus/other", "_elanus/lock/x"] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path().join(foreign), b"mine");
            let error = refused_untouched(dir.path());
            let expected = foreign != "_elanus/lock/x";
            assert_eq!(matches!(error, RootError::Foreign { .. }), expected, "{foreign}: {error}");
            if expected {
                assert!(error.to_string().ends_with("was not made by elanus; choose another directory"), "{error}");
            }
        }
    }

    #[test]
    fn lr_1_a_directory_whose_marker_was_removed_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        drop(LocalRoot::open(dir.path(), &[]).unwrap());
        write(dir.path().join("meta.db"), b"data");
        fs::remove_file(dir.path().join("_elanus/metadata.json")).unwrap();
        assert!(matches!(refused_untouched(dir.path()), RootError::Foreign { .. }));
    }

    #[test]
    fn a_directory_of_objects_may_hold_metadata_alone_later() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("_elanus/owner.json"), b"{}");
        write(dir.path().join("cluster/x"), b"data");
        LocalRoot::open(dir.path(), &[]).unwrap();
        assert!(dir.path().join("_elanus/metadata.json").exists());
    }

    #[test]
    fn lr_1_a_newer_format_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("_elanus/metadata.json"), br#"{"format_version": 2, "cluster": {"other": "fields"}}"#);
        assert!(matches!(refused_untouched(dir.path()), RootError::Newer { found: 2, .. }));
    }

    #[test]
    fn lr_1_a_damaged_marker_is_refused_and_untouched() {
        for text in ["", "{", r#"{"format_version": 1}"#, r#"{"created_by": ""}"#] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path().join("_elanus/metadata.json"), text.as_bytes());
            assert!(matches!(refused_untouched(dir.path()), RootError::Damaged { .. }), "{text}");
        }
    }

    #[test]
    fn lr_1_a_file_is_no_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("file"), b"mine");
        let before = listing(dir.path());
        for path in ["file", "file/below"] {
            let error = LocalRoot::open(&dir.path().join(path), &[]).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
        assert_eq!(listing(dir.path()), before);
    }

    #[cfg(unix)]
    #[test]
    fn lr_1_a_directory_without_write_permission_is_refused_and_untouched() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o555)).unwrap();
        if File::create(dir.path().join("data/probe")).is_ok() {
            return; // This user may write everywhere; the next test covers the answer.
        }
        assert!(matches!(refused_untouched(&path), RootError::Unwritable { .. }));
    }

    #[test]
    fn what_the_system_forbids_is_named_so() {
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
            let error = RootError::io(Path::new("/data"), kind.into());
            assert_eq!(error.to_string(), "no permission to write to /data");
        }
    }

    #[test]
    fn lr_3_those_that_share_it_keep_out_who_wants_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (LocalRoot::share(dir.path()).unwrap(), LocalRoot::share(dir.path()).unwrap());
        drop(one);
        assert!(matches!(LocalRoot::lock(dir.path()), Err(RootError::InUse { .. })));
        drop(other);
        let _alone = LocalRoot::lock(dir.path()).unwrap();
        assert!(matches!(LocalRoot::share(dir.path()), Err(RootError::InUse { .. })));
    }

    #[test]
    fn lr_3_a_second_holder_is_told_which_directory_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let first = LocalRoot::open(dir.path(), &[]).unwrap();
        let error = LocalRoot::open(dir.path(), &[]).unwrap_err();
        assert!(matches!(error, RootError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
        drop(first);
        LocalRoot::open(dir.path(), &[]).unwrap();
    }

    #[test]
    fn lr_4_only_staging_files_of_the_own_namespace_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let own = "0190-cluster";
        let keep = [
            "other/a#1".to_owned(),
            format!("{own}/a"),
            format!("{own}/a#"),
            format!("{own}/a#x"),
            format!("{own}/#1"),
        ];
        let sweep = [format!("{own}/a#1"), format!("{own}/d/e/b.parquet#27")];
        for name in keep.iter().chain(&sweep) {
            write(dir.path().join(name), b"x");
        }
        fs::create_dir(dir.path().join(own).join("dir#1")).unwrap();
        LocalRoot::lock(dir.path()).unwrap().sweep_staging(own).unwrap();
        assert!(keep.iter().all(|name| dir.path().join(name).exists()));
        assert!(sweep.iter().all(|name| !dir.path().join(name).exists()));
        assert!(dir.path().join(own).join("dir#1").exists());
    }
}
