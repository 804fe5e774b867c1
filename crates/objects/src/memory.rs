//! Objects in a map, for tests and simulation. Outlives a simulated crash as long as somebody holds it.

use crate::{Error, Expected, ObjectInfo, ObjectStore, Result, StaleUpload, checksum_of};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_types::{Checksum, Clock, ObjectKey};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::{Bound, Range},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A map as an object store.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    objects: Mutex<BTreeMap<ObjectKey, Object>>,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    modified_ms: i64,
}

impl MemoryStore {
    /// An empty store; `clock` gives the time of its objects.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, objects: Mutex::default() }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &ObjectKey) -> Result<Object> {
        let found = self.objects().get(key).cloned();
        found.ok_or_else(|| Error::NotFound { key: key.clone() })
    }
}

impl Object {
    fn info(&self, key: &ObjectKey) -> ObjectInfo {
        ObjectInfo { key: key.clone(), size: self.bytes.len() as u64, modified_ms: self.modified_ms }
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        let modified_ms = self.clock.now_ms();
        match self.objects().entry(key.clone()) {
            Entry::Vacant(place) => Ok(place.insert(Object { bytes, modified_ms }).info(key)),
            Entry::Occupied(there) if there.get().bytes == bytes => Ok(there.get().info(key)),
            Entry::Occupied(_) => Err(Error::Exists { key: key.clone() }),
        }
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        Ok(self.find(key)?.bytes)
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes = self.find(key)?.bytes;
        let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        match bounds.filter(|(_, end)| *end <= bytes.len()) {
            Some((start, end)) => Ok(bytes.slice(start..end)),
            None => Err(Error::refused(
                format!("get bytes {} to {} of {key}", range.start, range.end),
                format!("it has {} bytes", bytes.len()),
            )),
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        Ok(self.find(key)?.info(key))
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        let mut objects = self.objects();
        if let Some(there) = objects.get(to) {
            let info = there.info(to);
            return if info.size == expected.size { Ok(info) } else { Err(Error::Exists { key: to.clone() }) };
        }
        let source = objects.get(from).ok_or_else(|| Error::NotFound { key: from.clone() })?;
        expected.verify_size(from, source.bytes.len() as u64)?;
        let copy = Object { bytes: source.bytes.clone(), modified_ms: self.clock.now_ms() };
        let info = copy.info(to);
        objects.insert(to.clone(), copy);
        Ok(info)
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        Ok(checksum_of(&self.find(key)?.bytes))
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        let start = folder.map_or_else(String::new, |folder| format!("{folder}/"));
        let objects = self.objects();
        let below = objects.iter().filter(|(key, _)| key.as_str().starts_with(&start));
        let infos: Vec<_> = below.map(|(key, object)| Ok(object.info(key))).collect();
        stream::iter(infos).boxed()
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        let start = format!("{folder}/");
        let objects = self.objects();
        let later = objects.range::<ObjectKey, _>((Bound::Excluded(after.unwrap_or(folder)), Bound::Unbounded));
        // Before the folder's own keys come those of folders whose names only begin the same, as `a-b/c` before `a/b`.
        let below = later.skip_while(|(key, _)| key.as_str() < start.as_str());
        let below = below.take_while(|(key, _)| key.as_str().starts_with(&start));
        Ok(below.take(limit).map(|(key, object)| object.info(key)).collect())
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()> {
        let mut objects = self.objects();
        for permit in &permits {
            objects.remove(permit.key());
        }
        Ok(())
    }

    async fn stale_uploads(&self, _folder: Option<&ObjectKey>, _before_ms: i64) -> Result<Vec<StaleUpload>> {
        Ok(Vec::new())
    }

    async fn abort_upload(&self, _upload: StaleUpload) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;
    use elanus_types::ManualClock;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_map_keeps_every_promise() {
        for promise in suite::PROMISES {
            promise.check(Arc::new(MemoryStore::new(Arc::new(ManualClock::at_ms(1_000))))).await;
        }
    }
}
