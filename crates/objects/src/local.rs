//! Objects as files: `root/{key}`. Written beside their place, flushed, then linked into it.
//!
//! Files in staging are named `name#N` and are no objects: no key has a `#`. [`crate::LocalRoot`] sweeps what a killed
//! process left. Never sweep here: another store on the same directory may be writing.
//!
//! Directories are never removed, so a directory that was flushed once stays.

use crate::{
    Error, Expected, ObjectInfo, ObjectStore, OpenError, Result, StaleUpload, durable,
    error::io_kind,
    staging::{self, Go},
    store::STALE_UPLOADS_MAX,
};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_types::{Checksum, ObjectKey};
use futures::{StreamExt, future, stream::BoxStream};
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetRange, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutMode,
    local::LocalFileSystem, path::Path as StorePath,
};
use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::UNIX_EPOCH,
};

/// Forgotten all at once when there are more; a forgotten directory is flushed once more.
const FLUSHED_DIRS_MAX: usize = 100_000;

/// A directory as an object store.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    files: LocalFileSystem,
    flushed_dirs: Arc<Mutex<HashSet<PathBuf>>>,
}

impl LocalStore {
    /// Takes an existing directory. Creates and changes nothing.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Directory { path: root.to_path_buf(), source };
        let root = std::fs::canonicalize(root).map_err(unusable)?;
        if !root.is_dir() {
            return Err(unusable(io::ErrorKind::NotADirectory.into()));
        }
        let files = LocalFileSystem::new_with_prefix(&root).map_err(|source| unusable(io::Error::other(source)))?;
        Ok(Self { root, files: files.with_fsync(true), flushed_dirs: Arc::default() })
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Creates the folder of `key`. Two writers that need the same new folder must both be sure that its entry is
    /// flushed, and a folder that a killed process created may not be: so each is flushed once per process.
    async fn make_folder(&self, attempt: &str, key: &ObjectKey) -> Result<()> {
        let Some(folder) = self.path(key).parent().map(Path::to_path_buf) else {
            return Ok(());
        };
        if folder == self.root || self.flushed_dirs().contains(&folder) {
            return Ok(());
        }
        let (root, dir) = (self.root.clone(), folder.clone());
        blocking(attempt, move || durable::create_dirs(&root, &dir)).await?;
        let mut flushed = self.flushed_dirs();
        if flushed.len() >= FLUSHED_DIRS_MAX {
            flushed.clear();
        }
        flushed.insert(folder);
        Ok(())
    }

    fn flushed_dirs(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.flushed_dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes an object that somebody else created and may not have flushed yet.
    async fn flush(&self, attempt: &str, key: &ObjectKey) -> Result<()> {
        let path = self.path(key);
        blocking(attempt, move || {
            durable::sync(&path)?;
            path.parent().map_or(Ok(()), durable::sync)
        })
        .await
    }

    /// Success when the object under `key` has these bytes already.
    async fn accept_repeat(&self, attempt: &str, key: &ObjectKey, bytes: &[u8]) -> Result<ObjectInfo> {
        let info = self.head(key).await?;
        if info.size != bytes.len() as u64 || self.checksum(key).await? != crate::checksum_of(bytes) {
            return Err(Error::Exists { key: key.clone() });
        }
        self.flush(attempt, key).await?;
        Ok(info)
    }

    /// Success when the copy under `to` has this size already, `None` when there is nothing.
    async fn accept_copy(&self, attempt: &str, to: &ObjectKey, expected: Expected) -> Result<Option<ObjectInfo>> {
        let info = match self.head(to).await {
            Ok(info) => info,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if info.size != expected.size {
            return Err(Error::Exists { key: to.clone() });
        }
        self.flush(attempt, to).await?;
        Ok(Some(info))
    }

    /// Copies the bytes themselves, for a file that cannot have a further name.
    async fn copy_bytes(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        let bytes = self.get(from).await?;
        expected.verify(from, &bytes)?;
        self.put(to, bytes).await
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        let attempt = format!("put {key}");
        self.make_folder(&attempt, key).await?;
        match self.files.put_opts(&store_path(key), bytes.clone().into(), PutMode::Create.into()).await {
            Ok(_) => self.head(key).await,
            Err(object_store::Error::AlreadyExists { .. }) => self.accept_repeat(&attempt, key, &bytes).await,
            Err(source) => Err(Error::from_store(attempt, key, source)),
        }
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        let failed = |source| Error::from_store(format!("get {key}"), key, source);
        let answer = self.files.get(&store_path(key)).await.map_err(failed)?;
        answer.bytes().await.map_err(failed)
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let attempt = format!("get bytes {} to {} of {key}", range.start, range.end);
        let size = self.head(key).await?.size;
        if range.end > size {
            return Err(Error::refused(attempt, format!("it has {size} bytes")));
        }
        let failed = |source| Error::from_store(attempt.clone(), key, source);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let answer = self.files.get_opts(&store_path(key), options).await.map_err(failed)?;
        answer.bytes().await.map_err(failed)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        let meta = self.files.head(&store_path(key)).await;
        let meta = meta.map_err(|source| Error::from_store(format!("head {key}"), key, source))?;
        Ok(info(key.clone(), &meta))
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        let attempt = format!("copy {from} to {to}");
        if let Some(copied) = self.accept_copy(&attempt, to, expected).await? {
            return Ok(copied);
        }
        expected.verify_size(from, self.head(from).await?.size)?;
        self.make_folder(&attempt, to).await?;
        let options = CopyOptions::new().with_mode(CopyMode::Create);
        let source = match self.files.copy_opts(&store_path(from), &store_path(to), options).await {
            Ok(()) => return self.head(to).await,
            Err(source) => source,
        };
        if let object_store::Error::AlreadyExists { .. } = source {
            let copied = self.accept_copy(&attempt, to, expected).await?;
            return copied.ok_or_else(|| Error::transient(attempt, source));
        }
        if io_kind(&source) == Some(io::ErrorKind::TooManyLinks) {
            return self.copy_bytes(from, to, expected).await;
        }
        Err(Error::from_store(attempt, from, source))
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        let path = self.path(key);
        let attempt = format!("checksum {key}");
        let sum = blocking(&attempt, move || match checksum_of_file(&path) {
            Ok(sum) => Ok(Some(sum)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await?;
        sum.ok_or_else(|| Error::NotFound { key: key.clone() })
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        let attempt = folder.map_or_else(|| "list all objects".to_owned(), |folder| format!("list {folder}"));
        let listed = self.files.list(folder.map(store_path).as_ref());
        let infos = listed.filter_map(move |meta| {
            let info = match meta {
                Ok(meta) => own(&meta).map(Ok),
                Err(source) => Some(Err(Error::from_chain(attempt.clone(), source.into()))),
            };
            future::ready(info)
        });
        // A walk over a directory goes on after an error, a listing does not.
        let mut failed = false;
        let until_error = infos.take_while(move |info| {
            let go_on = !failed;
            failed |= info.is_err();
            future::ready(go_on)
        });
        until_error.boxed()
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        let walk = Walk { root: self.root.clone(), after: after.map(ToString::to_string), limit };
        let folder_text = format!("{folder}/");
        blocking(&format!("list {folder}"), move || {
            let mut found = Vec::new();
            walk.folder(&folder_text, &mut found)?;
            Ok(found)
        })
        .await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()> {
        let keys: Vec<_> = permits.iter().map(|permit| permit.key().clone()).collect();
        let paths: Vec<_> = keys.iter().map(|key| self.path(key)).collect();
        let failed = blocking(&format!("delete {} objects", paths.len()), move || delete_files(&paths)).await?;
        let of = |(at, source): (usize, io::Error)| {
            let key = &keys[at];
            (key.clone(), Error::from_chain(format!("delete {key}"), source.into()))
        };
        Error::undeleted(failed.into_iter().map(of))
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        let (root, attempt) = (self.root.clone(), "look for unfinished files");
        let dir = folder.map_or_else(|| root.clone(), |folder| self.path(folder));
        blocking(attempt, move || stale_files(&root, &dir, before_ms)).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        let (path, attempt) = (self.root.join(&upload.id), format!("remove the unfinished file {}", upload.id));
        if staging::object_of(&upload.id).is_none() {
            return Err(Error::refused(attempt, "it is not an unfinished file"));
        }
        let removed = move || match delete_files(&[path])?.pop() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        };
        blocking(&attempt, removed).await
    }
}

/// Staging files that nobody wrote to since.
fn stale_files(root: &Path, dir: &Path, before_ms: i64) -> io::Result<Vec<StaleUpload>> {
    let mut found = Vec::new();
    staging::walk(dir, &mut |entry| {
        let path = entry.path();
        let name = path.strip_prefix(root).ok().and_then(Path::to_str);
        let named = name.and_then(|name| staging::object_of(name).map(|key| (key, name.to_owned())));
        // Ended while the directory was read.
        let Ok(meta) = entry.metadata() else { return Ok(Go::On) };
        let begun_ms = meta.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let begun_ms = i64::try_from(begun_ms).unwrap_or(i64::MAX);
        if let Some((key, id)) = named.filter(|_| begun_ms < before_ms) {
            found.push(StaleUpload { key, begun_ms, id });
        }
        Ok(if found.len() < STALE_UPLOADS_MAX { Go::On } else { Go::Enough })
    })?;
    Ok(found)
}

/// A walk in the order of the keys, which holds the names of one folder at each depth.
struct Walk {
    root: PathBuf,
    after: Option<String>,
    limit: usize,
}

impl Walk {
    /// Finds what is below `folder`, which ends with a slash, until there are enough.
    fn folder(&self, folder: &str, found: &mut Vec<ObjectInfo>) -> io::Result<()> {
        let entries = match std::fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // What is no key was not made by Elanus, and is none of its business; staging files are among it.
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let kind = match entry.file_type()? {
                link if link.is_symlink() => match std::fs::metadata(entry.path()) {
                    Ok(target) => target.file_type(),
                    Err(_) => continue,
                },
                kind => kind,
            };
            // With its slash, so that names are in the order of the keys: `a-b` before `a/b`.
            names.push(format!("{folder}{name}{}", if kind.is_dir() { "/" } else { "" }));
        }
        names.sort_unstable();
        for name in names {
            if found.len() >= self.limit {
                return Ok(());
            }
            let is_later = self.after.as_ref().is_none_or(|after| name > *after);
            if name.ends_with('/') {
                if is_later || self.after.as_ref().is_some_and(|after| after.starts_with(&name)) {
                    self.folder(&name, found)?;
                }
            } else if is_later && let Ok(key) = ObjectKey::parse(&name) {
                match std::fs::metadata(self.root.join(&name)) {
                    Ok(meta) => found.push(of_file(key, &meta)?),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

fn of_file(key: ObjectKey, meta: &std::fs::Metadata) -> io::Result<ObjectInfo> {
    let since = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let modified_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Ok(ObjectInfo { key, size: meta.len(), modified_ms })
}

/// Runs file system calls where they may block.
async fn blocking<T: Send + 'static>(attempt: &str, run: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(run).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(Error::from_chain(attempt.to_owned(), source.into())),
        Err(source) => Err(Error::transient(attempt, source)),
    }
}

/// Those that are still there, by their place.
fn delete_files(paths: &[PathBuf]) -> io::Result<Vec<(usize, io::Error)>> {
    let mut failed = Vec::new();
    let mut folders = BTreeSet::new();
    for (at, path) in paths.iter().enumerate() {
        match std::fs::remove_file(path) {
            Ok(()) => {
                folders.extend(path.parent());
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => failed.push((at, error)),
        }
    }
    // What the caller notes as gone must not come back after a power failure.
    for folder in folders {
        durable::sync(folder)?;
    }
    Ok(failed)
}

fn checksum_of_file(path: &Path) -> io::Result<Checksum> {
    let mut file = File::open(path)?;
    let mut digest = crc64fast_nvme::Digest::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Checksum(digest.sum64())),
            Ok(read) => digest.write(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn store_path(key: &ObjectKey) -> StorePath {
    StorePath::from(key.as_str())
}

/// A file whose name is no key was not made by Elanus and is none of its business.
fn own(meta: &ObjectMeta) -> Option<ObjectInfo> {
    match ObjectKey::parse(meta.location.as_ref()) {
        Ok(key) => Some(info(key, meta)),
        Err(error) => {
            tracing::warn!(%error, "a file in the object store is not an object");
            None
        }
    }
}

fn info(key: ObjectKey, meta: &ObjectMeta) -> ObjectInfo {
    ObjectInfo { key, size: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::parse(text).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_local_directory_keeps_every_promise() {
        let dir = tempfile::tempdir().unwrap();
        for (n, promise) in suite::PROMISES.iter().enumerate() {
            let root = dir.path().join(n.to_string());
            std::fs::create_dir(&root).unwrap();
            promise.check(Arc::new(LocalStore::open(&root).unwrap())).await;
        }
    }

    #[tokio::test]
    async fn files_that_are_no_objects_are_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        store.put(&key("a/b"), Bytes::from_static(b"1")).await.unwrap();
        std::fs::write(dir.path().join("a/b#1"), b"staging").unwrap();
        std::fs::write(dir.path().join("a/with space"), b"foreign").unwrap();
        let listed: Vec<_> = store.list(None).map(|info| info.unwrap().key).collect().await;
        assert_eq!(listed, [key("a/b")]);
    }

    #[tokio::test]
    async fn unfinished_files_are_found_by_age_in_their_folder_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        store.put(&key("own/a/b"), Bytes::from_static(b"1")).await.unwrap();
        for name in ["own/a/b#1", "own/c#27", "own/d#x", "b#1"] {
            std::fs::write(dir.path().join(name), b"staging").unwrap();
        }
        let stale = async |before_ms| {
            let mut found = store.stale_uploads(Some(&key("own")), before_ms).await.unwrap();
            found.sort_by_key(|upload| upload.key.clone());
            found
        };
        let found = stale(i64::MAX).await;
        let keys: Vec<_> = found.iter().map(|upload| upload.key.as_str()).collect();
        assert_eq!(keys, ["own/a/b", "own/c"]);
        assert!(stale(found[0].begun_ms.min(found[1].begun_ms)).await.is_empty(), "not yet old enough");
        for _ in 0..2 {
            store.abort_upload(found[0].clone()).await.unwrap();
            assert_eq!(stale(i64::MAX).await, found[1..]);
        }
        assert_eq!(store.get(&key("own/a/b")).await.unwrap(), "1");
        let object = StaleUpload { id: "own/a/b".to_owned(), ..found[0].clone() };
        store.abort_upload(object).await.unwrap_err();
        assert_eq!(store.get(&key("own/a/b")).await.unwrap(), "1");
        assert!(store.stale_uploads(Some(&key("no/such/folder")), i64::MAX).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_put_leaves_no_staging_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        store.put(&key("a/b"), Bytes::from_static(b"1")).await.unwrap();
        store.put(&key("a/b"), Bytes::from_static(b"1")).await.unwrap();
        store.put(&key("a/b"), Bytes::from_static(b"2")).await.unwrap_err();
        let names: Vec<_> = std::fs::read_dir(dir.path().join("a")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["b"]);
    }

    #[tokio::test]
    async fn a_name_that_no_file_can_have_is_refused_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let error = store.put(&key(&"a".repeat(300)), Bytes::new()).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        store.put(&key("a"), Bytes::new()).await.unwrap();
        let error = store.put(&key("a/b"), Bytes::new()).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_copy_moves_no_bytes() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        store.put(&key("a"), Bytes::from_static(b"1")).await.unwrap();
        store.copy(&key("a"), &key("x/b"), Expected::of(b"1")).await.unwrap();
        let inode = |name: &str| dir.path().join(name).metadata().unwrap().ino();
        assert_eq!(inode("a"), inode("x/b"));
    }

    #[tokio::test]
    async fn a_file_that_cannot_have_a_further_name_is_copied_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        store.put(&key("a"), Bytes::from_static(b"1")).await.unwrap();
        // ext4 allows 65,000 names; on a file system without a limit this is one more link.
        for n in 0..66_000 {
            if std::fs::hard_link(dir.path().join("a"), dir.path().join(format!("l{n}"))).is_err() {
                break;
            }
        }
        store.copy(&key("a"), &key("b"), Expected::of(b"1")).await.unwrap();
        assert_eq!(store.get(&key("b")).await.unwrap(), "1");
        store.copy_bytes(&key("a"), &key("c"), Expected::of(b"1")).await.unwrap();
        let error = store.copy_bytes(&key("a"), &key("d"), Expected::of(b"2")).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thousand_small_puts_run_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let puts = (0..1_000).map(|n| {
            let (key, store) = (key(&format!("f{}/x/{n}", n % 7)), &store);
            async move { store.put(&key, Bytes::from(n.to_string())).await.map(drop) }
        });
        future::try_join_all(puts).await.unwrap();
        assert_eq!(store.list(None).count().await, 1_000);
    }
}
