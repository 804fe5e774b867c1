//! Markers in a map, for tests and simulation. Outlives a simulated crash as long as somebody holds it.

use super::{Etag, LIST_MAX, MarkerStore, Versioned, Written, only_probes, split_folder};
use crate::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_types::{Clock, ObjectKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Full path to content and number of the write.
type Objects = BTreeMap<String, (Bytes, u64)>;

/// A root path in a map of its own or in one that other root paths share.
#[derive(Clone, Debug)]
pub struct MemoryMarkers {
    clock: Arc<dyn Clock>,
    objects: Arc<Mutex<Objects>>,
    root: String,
}

impl MemoryMarkers {
    /// An empty store whose root path is `root` (`""`, or `a/b`); `clock` is the store's.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, root: &str) -> Self {
        Self { clock, objects: Arc::default(), root: root.to_owned() }
    }

    /// Another root path of the same store.
    #[must_use]
    pub fn at(&self, root: &str) -> Self {
        Self { root: root.to_owned(), ..self.clone() }
    }

    /// Puts an object as a stranger would: without conditions.
    pub fn put_foreign(&self, path: &str, bytes: &'static [u8]) {
        self.write(&mut self.objects(), path.to_owned(), Bytes::from_static(bytes));
    }

    /// Takes an object away as a stranger would.
    pub fn remove_foreign(&self, path: &str) {
        self.objects().remove(path);
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &ObjectKey) -> String {
        join(&self.root, key.as_str())
    }

    fn write(&self, objects: &mut Objects, path: String, bytes: Bytes) -> Written {
        let number = objects.values().map(|(_, number)| *number).max().unwrap_or_default() + 1;
        objects.insert(path, (bytes, number));
        Written { etag: etag(number), store_ms: self.clock.now_ms() }
    }
}

fn is(objects: &Objects, path: &str, expected: &Etag) -> bool {
    objects.get(path).is_some_and(|(_, number)| etag(*number) == *expected)
}

fn etag(number: u64) -> Etag {
    Etag(number.to_string())
}

fn join(folder: &str, rest: &str) -> String {
    match (folder, rest) {
        ("", rest) => rest.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, rest) => format!("{folder}/{rest}"),
    }
}

#[async_trait]
impl MarkerStore for MemoryMarkers {
    async fn read(&self, key: &ObjectKey) -> Result<Option<Versioned>> {
        let found = self.objects().get(&self.path(key)).cloned();
        let store_ms = self.clock.now_ms();
        Ok(found.map(|(bytes, number)| Versioned { bytes, etag: etag(number), store_ms }))
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Written> {
        let mut objects = self.objects();
        if objects.contains_key(&self.path(key)) {
            return Err(Error::Exists { key: key.clone() });
        }
        Ok(self.write(&mut objects, self.path(key), bytes))
    }

    async fn replace(&self, key: &ObjectKey, bytes: Bytes, expected: &Etag) -> Result<Written> {
        let mut objects = self.objects();
        if is(&objects, &self.path(key), expected) {
            return Ok(self.write(&mut objects, self.path(key), bytes));
        }
        Err(Error::Conflict { key: key.clone() })
    }

    async fn remove(&self, key: &ObjectKey, expected: &Etag) -> Result<()> {
        only_probes(key)?;
        let (path, mut objects) = (self.path(key), self.objects());
        if objects.contains_key(&path) && !is(&objects, &path, expected) {
            return Err(Error::Conflict { key: key.clone() });
        }
        objects.remove(&path);
        Ok(())
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let (above, rest) = split_folder(folder)?;
        let levels: Vec<&str> = self.root.split('/').filter(|level| !level.is_empty()).collect();
        let Some(kept) = levels.len().checked_sub(above) else { return Ok(Vec::new()) };
        let start = join(&levels[..kept].join("/"), rest);
        let start = if start.is_empty() { start } else { start + "/" };
        let objects = self.objects();
        let below = objects.keys().filter_map(|path| path.strip_prefix(&start));
        let names: BTreeSet<String> = below
            .map(|path| path.split_once('/').map_or_else(|| path.to_owned(), |(name, _)| format!("{name}/")))
            .collect();
        Ok(names.into_iter().take(LIST_MAX).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker_store::suite;
    use elanus_types::ManualClock;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_map_keeps_every_promise() {
        for promise in suite::PROMISES {
            let store = MemoryMarkers::new(Arc::new(ManualClock::at_ms(1_000)), "top/middle/root");
            store.put_foreign("top/_elanus/owner.json", b"above");
            promise.check(Arc::new(store)).await;
        }
    }
}
