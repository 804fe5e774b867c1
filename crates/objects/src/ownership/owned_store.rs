//! An object store that asks whose the root path is before it writes or deletes: whatever a caller forgets, nothing is
//! deleted without a confirmed marker (OW-2) and nothing written by a process that lost the root path (OW-3, OW-4).

use super::{Freeze, Frozen, Ownership, Tenant};
use crate::{Error, Expected, ObjectInfo, ObjectStore, Result, StaleUpload};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_types::{Checksum, ObjectKey};
use futures::stream::BoxStream;
use std::{fmt, ops::Range, sync::Arc};

/// Who is asked: the owner of the root path, or another process of its cluster.
#[async_trait]
pub trait RootGuard: fmt::Debug + Send + Sync + 'static {
    /// May objects be written now?
    ///
    /// # Errors
    /// Why not.
    async fn confirm_for_write(&self) -> Result<(), Frozen>;

    /// May objects be deleted now?
    ///
    /// # Errors
    /// Why not.
    async fn confirm_for_delete(&self) -> Result<(), Frozen>;
}

#[async_trait]
impl RootGuard for Ownership {
    async fn confirm_for_write(&self) -> Result<(), Frozen> {
        self.may_write()
    }

    async fn confirm_for_delete(&self) -> Result<(), Frozen> {
        Self::confirm_for_delete(self).await
    }
}

#[async_trait]
impl RootGuard for Tenant {
    async fn confirm_for_write(&self) -> Result<(), Frozen> {
        // The first coordinator may have come since the last look.
        if !self.has_begun() {
            let _ = self.look().await; // what it says is in the state
        }
        self.may_write()
    }

    async fn confirm_for_delete(&self) -> Result<(), Frozen> {
        Err(Frozen { what: "deletes", why: Freeze::NotOwner })
    }
}

/// A store below a root path that has an owner.
#[derive(Clone, Debug)]
pub struct OwnedStore {
    inner: Arc<dyn ObjectStore>,
    /// `None`: nobody here may write, it is only read.
    guard: Option<Arc<dyn RootGuard>>,
}

impl OwnedStore {
    /// `inner`, as long as `guard` says so.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, guard: impl RootGuard) -> Self {
        Self { inner, guard: Some(Arc::new(guard)) }
    }

    /// `inner`, to be read: every write and delete is refused.
    #[must_use]
    pub fn to_read(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, guard: None }
    }

    fn guard(&self, attempt: impl FnOnce() -> String) -> Result<&dyn RootGuard> {
        self.guard.as_deref().ok_or_else(|| Error::refused(attempt(), "this process only reads"))
    }

    async fn may_write(&self, attempt: impl Fn() -> String) -> Result<()> {
        let confirmed = self.guard(&attempt)?.confirm_for_write().await;
        confirmed.map_err(|frozen| not_now(attempt(), frozen))
    }

    async fn may_delete(&self, attempt: impl Fn() -> String) -> Result<()> {
        let confirmed = self.guard(&attempt)?.confirm_for_delete().await;
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
        self.may_write(|| format!("put {key}")).await?;
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
        self.may_write(|| format!("copy {from} to {to}")).await?;
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
