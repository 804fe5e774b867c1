//! An object store that asks the owner of the root path before it writes or deletes: whatever a caller forgets, nothing is
//! deleted without a confirmed marker (OW-2) and nothing written by a process that lost the root path (OW-3, OW-4).

use super::{Frozen, Ownership};
use crate::{Error, Expected, ObjectInfo, ObjectStore, Result, StaleUpload};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_types::{Checksum, ObjectKey};
use futures::stream::BoxStream;
use std::{ops::Range, sync::Arc};

/// A store below an owned root path.
#[derive(Clone, Debug)]
pub struct OwnedStore {
    inner: Arc<dyn ObjectStore>,
    /// `None`: nobody here owns it, and it is only read.
    ownership: Option<Ownership>,
}

impl OwnedStore {
    /// `inner`, as long as `ownership` says so.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, ownership: Ownership) -> Self {
        Self { inner, ownership: Some(ownership) }
    }

    /// `inner`, to be read: every write and delete is refused.
    #[must_use]
    pub fn to_read(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, ownership: None }
    }

    fn owner(&self, attempt: impl FnOnce() -> String) -> Result<&Ownership> {
        self.ownership.as_ref().ok_or_else(|| Error::refused(attempt(), "this process only reads"))
    }

    fn may_write(&self, attempt: impl Fn() -> String) -> Result<()> {
        self.owner(&attempt)?.may_write().map_err(|frozen| not_now(attempt(), frozen))
    }

    async fn may_delete(&self, attempt: impl Fn() -> String) -> Result<()> {
        let confirmed = self.owner(&attempt)?.confirm_for_delete().await;
        confirmed.map_err(|frozen| not_now(attempt(), frozen))
    }
}

/// It may be allowed again later.
fn not_now(attempt: String, frozen: Frozen) -> Error {
    Error::transient(attempt, frozen)
}

#[async_trait]
impl ObjectStore for OwnedStore {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        self.may_write(|| format!("put {key}"))?;
        self.inner.put(key, bytes).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        self.inner.head(key).await
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        self.may_write(|| format!("copy {from} to {to}"))?;
        self.inner.copy(from, to, expected).await
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        self.inner.checksum(key).await
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        self.inner.list(folder)
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        self.inner.list_page(folder, after, limit).await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()> {
        let objects = permits.len();
        self.may_delete(|| format!("delete {objects} objects")).await?;
        self.inner.delete(permits).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        self.inner.stale_uploads(folder, before_ms).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        self.may_delete(|| format!("abort the upload of {}", upload.key)).await?;
        self.inner.abort_upload(upload).await
    }
}
