//! Markers in a directory: an OS lock for the time of one write, then an atomic create or rename under it.
//!
//! Reads and listings touch nothing, so that a directory that is refused stays as it was.

use super::{Etag, FOLDER, LIST_MAX, MarkerStore, Versioned, Written, only_probes, split_folder};
use crate::{Error, Result, checksum_of, durable};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_types::{Clock, ObjectKey};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Held for the time of one write; not the lock of a running process.
const LOCK: &str = "marker.lock";
const STAGED: &str = "staged";

/// A directory as the root path of a local store. It need not exist before the first write.
#[derive(Clone, Debug)]
pub struct LocalMarkers {
    root: PathBuf,
    clock: Arc<dyn Clock>,
}

/// A write that was not done, or could not be.
enum Stop {
    Exists,
    Conflict,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl LocalMarkers {
    /// `root` as an absolute path; `clock` is that of this machine, which is also the store's.
    #[must_use]
    pub fn new(root: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { root: root.to_path_buf(), clock }
    }

    /// Runs `write` on the object's path while no other process writes a marker of this directory.
    async fn locked<T: Send + 'static>(
        &self,
        verb: &str,
        key: &ObjectKey,
        write: impl FnOnce(&Path, &Path) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        let attempt = format!("{verb} {key}");
        let (root, path) = (self.root.clone(), self.root.join(key.as_str()));
        let done = tokio::task::spawn_blocking(move || {
            let folder = root.join(FOLDER);
            durable::create_dirs(&durable::nearest_existing(&root), &folder)?;
            let lock = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK))?;
            lock.lock()?;
            let parent = path.parent().unwrap_or(&root);
            durable::create_dirs(&folder, parent)?;
            let done = write(&path, &folder.join(STAGED))?;
            durable::sync(parent)?;
            Ok(done)
        })
        .await
        .map_err(|error| Error::transient(attempt.clone(), error))?;
        done.map_err(|stop| match stop {
            Stop::Exists => Error::Exists { key: key.clone() },
            Stop::Conflict => Error::Conflict { key: key.clone() },
            Stop::Io(source) => Error::from_chain(attempt, source.into()),
        })
    }

    fn written(&self, etag: Etag) -> Written {
        Written { etag, store_ms: self.clock.now_ms() }
    }
}

fn etag_of(bytes: &[u8]) -> Etag {
    Etag(format!("{}-{}", bytes.len(), checksum_of(bytes)))
}

fn current(path: &Path) -> io::Result<Option<Etag>> {
    absent_is_none(fs::read(path)).map(|found| found.map(|bytes| etag_of(&bytes)))
}

fn absent_is_none<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn stage(staged: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(staged)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = absent_is_none(fs::read_dir(dir))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries.take(LIST_MAX) {
        let entry = entry?;
        let slash = if entry.path().is_dir() { "/" } else { "" };
        names.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
    }
    names.sort();
    Ok(names)
}

#[async_trait]
impl MarkerStore for LocalMarkers {
    async fn read(&self, key: &ObjectKey) -> Result<Option<Versioned>> {
        let found = absent_is_none(tokio::fs::read(self.root.join(key.as_str())).await);
        let found = found.map_err(|source| Error::from_chain(format!("read {key}"), source.into()))?;
        let store_ms = self.clock.now_ms();
        Ok(found.map(|bytes| Versioned { etag: etag_of(&bytes), bytes: bytes.into(), store_ms }))
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Written> {
        let etag = etag_of(&bytes);
        self.locked("create", key, move |path, staged| {
            stage(staged, &bytes)?;
            let linked = fs::hard_link(staged, path);
            fs::remove_file(staged)?;
            match linked {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Stop::Exists),
                linked => Ok(linked?),
            }
        })
        .await?;
        Ok(self.written(etag))
    }

    async fn replace(&self, key: &ObjectKey, bytes: Bytes, expected: &Etag) -> Result<Written> {
        let (etag, expected) = (etag_of(&bytes), expected.clone());
        self.locked("replace", key, move |path, staged| {
            if current(path)? != Some(expected) {
                return Err(Stop::Conflict);
            }
            stage(staged, &bytes)?;
            Ok(fs::rename(staged, path)?)
        })
        .await?;
        Ok(self.written(etag))
    }

    async fn remove(&self, key: &ObjectKey, expected: &Etag) -> Result<()> {
        only_probes(key)?;
        let expected = expected.clone();
        self.locked("remove", key, move |path, _| match current(path)? {
            None => Ok(()),
            Some(found) if found == expected => Ok(fs::remove_file(path)?),
            Some(_) => Err(Stop::Conflict),
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let attempt = format!("list {folder:?}");
        let (above, rest) = split_folder(folder)?;
        let Some(top) = self.root.ancestors().nth(above) else { return Ok(Vec::new()) };
        let dir = top.join(rest);
        let listed = tokio::task::spawn_blocking(move || names(&dir)).await;
        let listed = listed.map_err(|error| Error::transient(attempt.clone(), error))?;
        listed.map_err(|source| Error::from_chain(attempt, source.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker_store::suite;
    use elanus_types::ManualClock;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_local_directory_keeps_every_promise() {
        for promise in suite::PROMISES {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("top/middle/root");
            fs::create_dir_all(dir.path().join("top/_elanus")).unwrap();
            fs::write(dir.path().join("top/_elanus/owner.json"), b"above").unwrap();
            promise.check(Arc::new(LocalMarkers::new(&root, Arc::new(ManualClock::at_ms(1_000))))).await;
        }
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FOLDER)).unwrap();
        fs::write(dir.path().join(FOLDER).join(STAGED), b"half a mar").unwrap();
        let store = LocalMarkers::new(dir.path(), Arc::new(ManualClock::at_ms(1)));
        let key = ObjectKey::parse("_elanus/owner.json").unwrap();
        let first = store.create(&key, Bytes::from_static(b"1")).await.unwrap();
        store.replace(&key, Bytes::from_static(b"2"), &first.etag).await.unwrap();
        assert_eq!(store.list(FOLDER).await.unwrap(), [LOCK, "owner.json"]);
    }
}
