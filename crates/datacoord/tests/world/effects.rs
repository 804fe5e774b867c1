//! Every effect of a process, counted: commits in the metadata and writes in the object store. At effect *n* the process
//! fails once, or dies: from then on nothing that it tries has an effect.

use async_trait::async_trait;
use bytes::Bytes;
use elanus_meta::{CommitHook, MetaError, Result as MetaResult, Turn};
use elanus_objects::{Error, Expected, ObjectInfo, ObjectStore, Result, StaleUpload};
use elanus_types::{Checksum, ObjectKey};
use futures::{future::BoxFuture, stream::BoxStream};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What happens at effect *n*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// The effect does not happen, the caller gets an error.
    ErrorBefore,
    /// The effect happens, the caller gets an error.
    ErrorAfter,
    /// The effect does not happen, nor does any later one.
    DeathBefore,
    /// The effect happens, no later one does.
    DeathAfter,
}

pub(crate) const BLOWS: [Blow; 4] = [Blow::ErrorBefore, Blow::ErrorAfter, Blow::DeathBefore, Blow::DeathAfter];

impl Blow {
    pub(crate) fn is_death(self) -> bool {
        matches!(self, Self::DeathBefore | Self::DeathAfter)
    }
}

/// The effects of one process.
#[derive(Debug)]
pub(crate) struct Effects {
    seen: AtomicU64,
    at: u64,
    blow: Blow,
    /// Transactions that cannot begin after the blow.
    away_after: u64,
    away: AtomicU64,
    dead: AtomicBool,
}

impl Effects {
    pub(crate) fn blow_at(at: u64, blow: Blow) -> Arc<Self> {
        Self::blow_and_away(at, blow, 0)
    }

    /// After the blow the metadata store is away for so many transactions.
    pub(crate) fn blow_and_away(at: u64, blow: Blow, away_after: u64) -> Arc<Self> {
        let (seen, away, dead) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { seen, at, blow, away_after, away, dead })
    }

    pub(crate) fn none() -> Arc<Self> {
        Self::blow_at(u64::MAX, Blow::ErrorBefore)
    }

    /// How many effects there were.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// True when effect *n* was reached.
    pub(crate) fn struck(&self) -> bool {
        self.seen() >= self.at
    }

    /// Before an effect: `Err` when it must not happen, `Ok(true)` when it happens and then fails.
    fn before(&self) -> Result<bool, ()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(());
        }
        if self.seen.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return Ok(false);
        }
        self.dead.store(self.blow.is_death(), Ordering::SeqCst);
        self.away.store(self.away_after, Ordering::SeqCst);
        match self.blow {
            Blow::ErrorBefore | Blow::DeathBefore => Err(()),
            Blow::ErrorAfter | Blow::DeathAfter => Ok(true),
        }
    }
}

fn struck_meta() -> MetaError {
    MetaError::Unavailable(io::Error::other("struck").into())
}

fn struck_store() -> Error {
    Error::Transient { attempt: "write".to_owned(), source: "struck".into() }
}

/// Commits pass through here. Whether a commit fails after it happened is decided before it.
#[derive(Debug)]
pub(crate) struct Commits {
    pub(crate) effects: Arc<Effects>,
    pub(crate) fail_after: AtomicBool,
}

impl CommitHook for Commits {
    fn before(&self) -> MetaResult<()> {
        let fails = self.effects.before().map_err(|()| struck_meta())?;
        self.fail_after.fetch_or(fails, Ordering::SeqCst);
        Ok(())
    }

    fn turn(&self) -> BoxFuture<'_, MetaResult<Turn>> {
        let away = &self.effects.away;
        let left = away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        Box::pin(std::future::ready(left.map_or_else(|_| Ok(Turn::default()), |_| Err(struck_meta()))))
    }

    fn after(&self) -> MetaResult<()> {
        match self.fail_after.swap(false, Ordering::SeqCst) {
            true => Err(MetaError::CommitUnknown(io::Error::other("struck").into())),
            false => Ok(()),
        }
    }
}

/// Writes in the object store pass through here. Reads of a dead process do no harm.
#[derive(Debug)]
pub(crate) struct Writes {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) effects: Arc<Effects>,
}

impl Writes {
    async fn effect<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        let fails = self.effects.before().map_err(|()| struck_store())?;
        let done = run.await;
        if fails { Err(struck_store()) } else { done }
    }
}

#[async_trait]
impl ObjectStore for Writes {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        self.effect(self.inner.put(key, bytes)).await
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
        self.effect(self.inner.copy(from, to, expected)).await
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

    async fn delete(&self, permits: Vec<elanus_lifecycle::DeletePermit>) -> Result<()> {
        self.effect(self.inner.delete(permits)).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        self.inner.stale_uploads(folder, before_ms).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        self.effect(self.inner.abort_upload(upload)).await
    }
}
