//! Objects in a bucket of S3, or of a store that speaks like it.
//!
//! S3-1  Nothing is written over: every create has `If-None-Match: *`.
//! S3-2  Every create carries the CRC-64/NVME of its bytes, so the store refuses what arrives damaged.
//! S3-3  What is deleted is named, key by key, from permits. There is no delete by prefix here.
//! S3-4  A failed upload in parts is aborted; one of a process that died, or whose begin was not heard of, is found by
//!       age.
//! S3-5  Nothing that is secret is in a text: not in an error, not in `Debug`, not in the log.
//! S3-6  A delete counts for the keys that the store says it deleted, or that are not there when they are looked for.
//!
//! A request that failed with 500, 503, 429, 409 or ran out of time is sent again by the SDK, with growing and random
//! pauses, and fewer requests are sent while the store says that it has too many. What comes out as
//! [`Error::Transient`](crate::Error::Transient) was tried [`S3Limits::attempts_max`] times.

mod bucket;
mod config;
mod copy;
mod delete;
mod failure;
mod get;
mod list;
mod markers;
mod parts;
mod put;
mod uploads;

pub use aws_sdk_s3::config::{SharedCredentialsProvider, SharedHttpClient};
pub use bucket::http_client;
pub use config::{AddressStyle, S3Config, S3Limits, S3Location};
pub use markers::S3Markers;

use crate::{Expected, ObjectInfo, ObjectStore, OpenError, Result, StaleUpload};
use async_trait::async_trait;
use bucket::Bucket;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_types::{Checksum, ObjectKey};
use futures::stream::BoxStream;
use std::{ops::Range, sync::Arc};

/// A root path in a bucket as an object store.
#[derive(Clone, Debug)]
pub struct S3Store {
    bucket: Arc<Bucket>,
}

/// How a create ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Created {
    /// By this call, with what the store said about it.
    Now { checksum: Option<Checksum>, modified_ms: Option<i64> },
    /// Something is there: an earlier attempt, or somebody else.
    Before,
}

impl S3Store {
    /// Takes a bucket that exists. Sends nothing yet.
    ///
    /// # Errors
    /// When the CA certificates cannot be read.
    pub fn new(config: S3Config) -> Result<Self, OpenError> {
        Ok(Self { bucket: Arc::new(Bucket::new(config)?) })
    }

    /// The objects below `_elanus/` of the same root path, over the same connections.
    #[must_use]
    pub fn markers(&self) -> S3Markers {
        S3Markers::new(Arc::clone(&self.bucket))
    }

    /// Begins an upload in parts and sends nothing more, as a process that dies does. For tests.
    ///
    /// # Errors
    /// When the store does not take it.
    #[doc(hidden)]
    pub async fn leave_upload(&self, key: &ObjectKey) -> Result<()> {
        parts::begin(&self.bucket, key, &format!("begin {key}")).await.map(drop)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        put::put(&self.bucket, key, bytes).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        get::get(&self.bucket, key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        get::get_range(&self.bucket, key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        Ok(get::head(&self.bucket, key).await?.info)
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        copy::copy(&self.bucket, from, to, expected).await
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        match get::head(&self.bucket, key).await?.checksum {
            Some(checksum) => Ok(checksum),
            None => get::checksum_by_reading(&self.bucket, key).await,
        }
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        list::list(Arc::clone(&self.bucket), folder)
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        list::page(&self.bucket, folder, after, limit).await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()> {
        delete::delete(&self.bucket, &permits).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        uploads::stale(&self.bucket, folder, before_ms).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        parts::abort(&self.bucket, &upload.key, &upload.id).await
    }
}
