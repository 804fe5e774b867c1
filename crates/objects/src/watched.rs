//! An object store whose calls are counted and timed, and told where a request is traced.

use crate::{Expected, ObjectInfo, ObjectStore, Result, StaleUpload};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_trace::{Instrument as _, Span};
use elanus_types::{Checksum, ObjectKey};
use futures::stream::BoxStream;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// A store whose calls are watched, whether they succeed or not. Listings as streams are not.
#[derive(Clone, Debug)]
pub struct WatchedStore(Arc<dyn ObjectStore>);

impl WatchedStore {
    /// Watches what this store is asked.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self(inner)
    }
}

/// A span of one call. Names and labels are of these calls, never keys.
fn span(call: &'static str, key: Option<&ObjectKey>) -> Span {
    let span = elanus_trace::many!(
        "objects",
        otel.name = call,
        otel.kind = "client",
        elanus.object = tracing::field::Empty,
        elanus.bytes = tracing::field::Empty,
    );
    if let Some(key) = key
        && !span.is_disabled()
    {
        span.record("elanus.object", key.as_str());
    }
    span
}

/// Does a call of `bytes`, which the answer may tell.
async fn watched<T>(
    call: &'static str,
    key: Option<&ObjectKey>,
    bytes: impl FnOnce(&T) -> u64,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (span, started) = (span(call, key), Instant::now());
    let result = work.instrument(span.clone()).await;
    let outcome = match &result {
        Ok(_) => "ok",
        Err(error) => {
            elanus_trace::span_failed(&span, &error.to_string());
            error.label()
        }
    };
    metrics::counter!("elanus_objects_calls_total", "call" => call, "outcome" => outcome).increment(1);
    let took = started.elapsed().as_secs_f64();
    metrics::histogram!("elanus_objects_call_duration_seconds", "call" => call).record(took);
    let moved = result.as_ref().map_or(0, bytes);
    if moved > 0 {
        metrics::counter!("elanus_objects_bytes_total", "call" => call).increment(moved);
        span.record("elanus.bytes", moved);
    }
    result
}

fn none<T>(_: &T) -> u64 {
    0
}

fn length(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}

#[async_trait]
impl ObjectStore for WatchedStore {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        watched("objects.put", Some(key), |put: &ObjectInfo| put.size, self.0.put(key, bytes)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        watched("objects.get", Some(key), length, self.0.get(key)).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        watched("objects.get_range", Some(key), length, self.0.get_range(key, range)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        watched("objects.head", Some(key), none, self.0.head(key)).await
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        watched("objects.copy", Some(to), |copy: &ObjectInfo| copy.size, self.0.copy(from, to, expected)).await
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        watched("objects.checksum", Some(key), none, self.0.checksum(key)).await
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        self.0.list(folder)
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        watched("objects.list_page", Some(folder), none, self.0.list_page(folder, after, limit)).await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()> {
        watched("objects.delete", None, none, self.0.delete(permits)).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        watched("objects.stale_uploads", folder, none, self.0.stale_uploads(folder, before_ms)).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        watched("objects.abort_upload", None, none, self.0.abort_upload(upload)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, suite};
    use elanus_types::ManualClock;

    #[tokio::test]
    async fn a_store_that_is_watched_keeps_all_promises() {
        for promise in suite::PROMISES {
            promise
                .check(Arc::new(WatchedStore::new(Arc::new(MemoryStore::new(Arc::new(ManualClock::at_ms(1_000)))))))
                .await;
        }
    }
}
