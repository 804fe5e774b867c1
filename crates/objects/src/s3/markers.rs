//! The objects below `_elanus/`, with S3's conditions on writes.
//!
//! Writes are sent once: a repeat by the SDK after a lost answer would meet its own effect and call it somebody else's.

use super::bucket::{Bucket, ServerClock};
use super::failure;
use crate::marker_store::{Etag, LIST_MAX, MarkerStore, Versioned, Written, only_probes, split_folder};
use crate::{Error, Result};
use async_trait::async_trait;
use aws_sdk_s3::{
    config::{http::HttpResponse, retry::RetryConfig},
    error::SdkError,
    operation::put_object::{PutObjectError, PutObjectOutput},
};
use bytes::Bytes;
use elanus_types::ObjectKey;
use std::{collections::BTreeSet, sync::Arc};

/// A marker is a page of text; whatever is longer is none.
const BYTES_MAX: i64 = 1 << 20;

/// The markers of a root path in a bucket.
#[derive(Clone, Debug)]
pub struct S3Markers {
    bucket: Arc<Bucket>,
}

impl S3Markers {
    pub(super) fn new(bucket: Arc<Bucket>) -> Self {
        Self { bucket }
    }

    async fn write(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        expected: Option<&Etag>,
    ) -> (std::result::Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>>, ServerClock) {
        let (bucket, clock) = (&self.bucket, ServerClock::default());
        let _permit = bucket.permit().await;
        let request = bucket.client.put_object().bucket(&bucket.name).key(bucket.name_of(key)).body(bytes.into());
        let request = match expected {
            Some(etag) => request.if_match(&etag.0),
            None => request.if_none_match("*"),
        };
        let once = aws_sdk_s3::Config::builder().retry_config(RetryConfig::disabled());
        let sent = request.customize().config_override(once).interceptor(clock.clone()).send().await;
        (sent, clock)
    }
}

fn written(attempt: String, answer: &PutObjectOutput, clock: &ServerClock) -> Result<Written> {
    match (answer.e_tag(), clock.now_ms()) {
        (Some(etag), Some(store_ms)) => Ok(Written { etag: Etag(etag.to_owned()), store_ms }),
        _ => Err(Error::transient(attempt, "the store did not say etag and date")),
    }
}

#[async_trait]
impl MarkerStore for S3Markers {
    async fn read(&self, key: &ObjectKey) -> Result<Option<Versioned>> {
        let (bucket, clock, attempt) = (&self.bucket, ServerClock::default(), format!("get {key}"));
        let _permit = bucket.permit().await;
        let request = bucket.client.get_object().bucket(&bucket.name).key(bucket.name_of(key));
        let answer = match request.customize().interceptor(clock.clone()).send().await {
            Ok(answer) => answer,
            Err(error) => match bucket.failed(attempt, key, error) {
                Error::NotFound { .. } => return Ok(None),
                error => return Err(error),
            },
        };
        if answer.content_length().is_none_or(|length| length > BYTES_MAX) {
            return Err(Error::refused(attempt, format!("it is longer than {BYTES_MAX} bytes")));
        }
        let (Some(etag), Some(store_ms)) = (answer.e_tag().map(str::to_owned), clock.now_ms()) else {
            return Err(Error::transient(attempt, "the store did not say etag and date"));
        };
        let body = answer.body.collect().await.map_err(|error| Error::transient(attempt, error))?;
        Ok(Some(Versioned { bytes: body.into_bytes(), etag: Etag(etag), store_ms }))
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Written> {
        let attempt = format!("create {key}");
        match self.write(key, bytes, None).await {
            (Ok(answer), clock) => written(attempt, &answer, &clock),
            (Err(error), _) if failure::is_precondition(&error) => Err(Error::Exists { key: key.clone() }),
            (Err(error), _) => Err(self.bucket.failed(attempt, key, error)),
        }
    }

    async fn replace(&self, key: &ObjectKey, bytes: Bytes, expected: &Etag) -> Result<Written> {
        let attempt = format!("replace {key}");
        match self.write(key, bytes, Some(expected)).await {
            (Ok(answer), clock) => written(attempt, &answer, &clock),
            (Err(error), _) if failure::is_precondition(&error) => Err(Error::Conflict { key: key.clone() }),
            (Err(error), _) => match self.bucket.failed(attempt, key, error) {
                Error::NotFound { key } => Err(Error::Conflict { key }),
                error => Err(error),
            },
        }
    }

    async fn remove(&self, key: &ObjectKey, expected: &Etag) -> Result<()> {
        only_probes(key)?;
        let bucket = &self.bucket;
        let send = async |condition: Option<&str>| {
            let _permit = bucket.permit().await;
            let request = bucket.client.delete_object().bucket(&bucket.name).key(bucket.name_of(key));
            request.set_if_match(condition.map(str::to_owned)).send().await
        };
        let mut sent = send(Some(&expected.0)).await;
        let unheld = sent.as_ref().is_err_and(failure::is_precondition);
        let unknown = sent.as_ref().is_err_and(failure::is_not_implemented);
        if unheld || unknown {
            // Absent is success, and a look takes the place of a condition that the store does not know.
            match self.read(key).await? {
                None => return Ok(()),
                Some(found) if unheld || found.etag != *expected => return Err(Error::Conflict { key: key.clone() }),
                Some(_) => sent = send(None).await,
            }
        }
        match sent.map_err(|error| bucket.failed(format!("remove {key}"), key, error)) {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let (above, rest) = split_folder(folder)?;
        let bucket = &self.bucket;
        let levels: Vec<&str> = bucket.levels().collect();
        let Some(kept) = levels.len().checked_sub(above) else { return Ok(Vec::new()) };
        let below = levels[..kept].iter().copied().chain(rest.split('/').filter(|level| !level.is_empty()));
        let prefix: String = below.flat_map(|level| [level, "/"]).collect();

        let _permit = bucket.permit().await;
        let request = bucket.client.list_objects_v2().bucket(&bucket.name).prefix(&prefix).delimiter("/");
        let sent = request.max_keys(i32::try_from(LIST_MAX).unwrap_or(i32::MAX)).send().await;
        let answer = sent.map_err(|e| failure::error_of(format!("list {folder:?}"), &bucket.name, None, e))?;
        let objects = answer.contents().iter().filter_map(|object| object.key());
        let folders = answer.common_prefixes().iter().filter_map(|folder| folder.prefix());
        let names = objects.chain(folders).filter_map(|name| name.strip_prefix(&prefix));
        // An empty name is the folder itself, as some programs mark it.
        let names: BTreeSet<_> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(names.into_iter().take(LIST_MAX).collect())
    }
}
