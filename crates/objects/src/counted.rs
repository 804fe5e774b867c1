//! An object store that counts its requests, by what they cost.

use crate::{Expected, ObjectInfo, ObjectStore, Result, StaleUpload};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_types::{Checksum, ObjectKey};
use futures::stream::BoxStream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests that an object store got.
#[derive(Debug, Default)]
pub struct Requests {
    puts: AtomicU64,
    /// Everything but puts.
    others: AtomicU64,
}

impl Requests {
    /// Puts and others since the last call.
    pub fn take(&self) -> (u64, u64) {
        (self.puts.swap(0, Ordering::SeqCst), self.others.swap(0, Ordering::SeqCst))
    }

    /// All since the last call of [`Requests::take`].
    #[must_use]
    pub fn total(&self) -> u64 {
        self.puts.load(Ordering::SeqCst) + self.others.load(Ordering::SeqCst)
    }

    fn other(&self) {
        self.others.fetch_add(1, Ordering::SeqCst);
    }
}

/// A store whose requests are counted, whether they succeed or not.
#[derive(Clone, Debug)]
pub struct CountedStore {
    inner: Arc<dyn ObjectStore>,
    requests: Arc<Requests>,
}

impl CountedStore {
    /// Counts what `inner` is asked, in `requests`.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, requests: Arc<Requests>) -> Self {
        Self { inner, requests }
    }
}

#[async_trait]
impl ObjectStore for CountedStore {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        self.requests.puts.fetch_add(1, Ordering::SeqCst);
        self.inner.put(key, bytes).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        self.requests.other();
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        self.requests.other();
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        self.requests.other();
        self.inner.head(key).await
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        self.requests.other();
        self.inner.copy(from, to, expected).await
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        self.requests.other();
        self.inner.checksum(key).await
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        self.requests.other();
        self.inner.list(folder)
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        self.requests.other();
        self.inner.list_page(folder, after, limit).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        self.requests.other();
        self.inner.stale_uploads(folder, before_ms).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        self.requests.other();
        self.inner.abort_upload(upload).await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()> {
        self.requests.other();
        self.inner.delete(permits).await
    }
}
