//! Deleting, many exact keys a request. The store names each key that it deleted: one that it is silent about is looked for.

use super::bucket::Bucket;
use super::{failure, get};
use crate::{Error, Result};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use elanus_lifecycle::DeletePermit;
use elanus_types::ObjectKey;
use futures::{StreamExt, stream};
use std::collections::HashSet;

/// S3 takes no more keys in one request.
const KEYS_MAX: usize = 1_000;
const REQUESTS_AT_ONCE: usize = 4;
const HEADS_AT_ONCE: usize = 16;

/// All are attempted.
pub(super) async fn delete(bucket: &Bucket, permits: &[DeletePermit]) -> Result<()> {
    let batches: Vec<_> = permits.chunks(KEYS_MAX).map(|batch| delete_batch(bucket, batch)).collect();
    let answers: Vec<_> = stream::iter(batches).buffered(REQUESTS_AT_ONCE).collect().await;
    let failed: Vec<_> = answers.into_iter().collect::<Result<_>>()?;
    Error::undeleted(failed.into_iter().flatten())
}

/// What the store did not delete.
async fn delete_batch(bucket: &Bucket, permits: &[DeletePermit]) -> Result<Vec<(ObjectKey, Error)>> {
    let attempt = format!("delete {} objects", permits.len());
    let name = |permit: &DeletePermit| ObjectIdentifier::builder().key(bucket.name_of(permit.key())).build();
    let names = permits.iter().map(name).collect::<std::result::Result<Vec<_>, _>>();
    let doomed = names.and_then(|names| Delete::builder().set_objects(Some(names)).quiet(false).build());
    let doomed = doomed.map_err(|error| Error::refused(&attempt, error))?;
    let request = bucket.client.delete_objects().bucket(&bucket.name).delete(doomed);
    let permit = bucket.permit().await;
    let sent = request.customize().config_override(bucket.patient()).send().await;
    drop(permit);
    let answer = sent.map_err(|error| failure::error_of(attempt, &bucket.name, None, error))?;
    let mut answered: HashSet<ObjectKey> =
        answer.deleted().iter().filter_map(|deleted| bucket.key_of(deleted.key()?)).collect();
    let mut failed = Vec::new();
    for kept in answer.errors() {
        let (code, message) = (kept.code().unwrap_or_default(), kept.message().unwrap_or_default());
        let name = kept.key().unwrap_or_default();
        let key = bucket.key_of(name);
        answered.extend(key.clone());
        // What is absent is deleted, also where the store says so.
        if matches!(code, "NoSuchKey" | "NoSuchVersion") {
            continue;
        }
        tracing::debug!(key = name, code, message, "an object was not deleted");
        let error = failure::of_batch(format!("delete {name}"), &bucket.name, key.as_ref(), code, message);
        match key.filter(|key| permits.iter().any(|permit| permit.key() == key)) {
            Some(key) => failed.push((key, error)),
            // It may be any of them.
            None => return Err(error),
        }
    }
    let silent: Vec<_> =
        permits.iter().filter(|one| !answered.contains(one.key())).map(|one| still_there(bucket, one.key())).collect();
    let there: Vec<_> = stream::iter(silent).buffered(HEADS_AT_ONCE).collect().await;
    failed.extend(there.into_iter().flatten());
    Ok(failed)
}

/// Why a key that the store was silent about is not deleted; `None` when it is.
async fn still_there(bucket: &Bucket, key: &ObjectKey) -> Option<(ObjectKey, Error)> {
    match get::head(bucket, key).await {
        Err(Error::NotFound { .. }) => None,
        Err(error) => Some((key.clone(), error)),
        Ok(_) => {
            let says = "the store did not say what became of it, and it is there";
            Some((key.clone(), Error::transient(format!("delete {key}"), says)))
        }
    }
}
