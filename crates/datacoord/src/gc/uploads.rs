//! Aborts unfinished writes that nobody goes on with: uploads in parts, staging files. No listing shows them, and they take
//! space.
//!
//! One bounded round of each scan, behind the same gate and brakes as every deletion. A failure aborts no more and is told;
//! the scan itself counts all the same.

use super::first::dry;
use super::gate::{brake, gate};
use crate::Parts;
use elanus_objects::{STALE_UPLOADS_MAX, StaleUpload};
use elanus_types::{Failure, ObjectKey};
use futures::{StreamExt as _, stream};

const ABORTS_AT_ONCE: usize = 16;
/// Keys that are named in the log.
const NAMED_MAX: usize = 10;

/// What became of unfinished writes, in words, and whether somebody must look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) text: String,
    pub(super) failed: bool,
}

/// Aborts what was begun in the own namespace longer ago than an orphan must be old.
pub(super) async fn abort_stale(parts: &Parts) -> Told {
    match round(parts).await {
        Ok(text) => Told { text, failed: false },
        Err(failure) => {
            tracing::error!(error = %failure.message, "unfinished writes are not all aborted");
            Told { text: failure.message, failed: true }
        }
    }
}

async fn round(parts: &Parts) -> Result<String, Failure> {
    // Held to the end: a pause waits for it.
    let _running = parts.gc.running.read().await;
    let namespace = ObjectKey::parse(parts.meta().keys().namespace()).map_err(|e| Failure::internal(e.to_string()))?;
    let before_ms = parts.now_ms().saturating_sub(parts.config.orphan_age_ms);
    let stale = parts.objects.stale_uploads(Some(&namespace), before_ms).await?;
    if let Some(foreign) = stale.iter().find(|upload| !is_stale(upload, &namespace, before_ms)) {
        return Err(Failure::internal(format!(
            "the object store calls the write of {} an old one of this cluster, which it is not: no unfinished write is aborted",
            foreign.key
        )));
    }
    if stale.is_empty() {
        return Ok(String::new());
    }
    if let Some(brake) = brake(parts).await? {
        return Ok(format!("{} unfinished writes stay: {brake}", counted(stale.len())));
    }
    gate(parts).await?;
    if let Some(why) = dry(parts).await? {
        return Ok(format!("{} unfinished writes stay: {why}", counted(stale.len())));
    }
    // First, so that a coordinator that was replaced stops here.
    parts.coordinator.audit_uploads(stale.len(), before_ms).await?;
    let named: Vec<&str> = stale.iter().take(NAMED_MAX).map(|upload| upload.key.as_str()).collect();
    tracing::warn!(uploads = stale.len(), before_ms, keys = ?named, "aborting unfinished writes");
    let found = stale.len();
    let mut aborts =
        stream::iter(stale).map(|upload| parts.objects.abort_upload(upload)).buffer_unordered(ABORTS_AT_ONCE);
    let mut aborted = 0usize;
    while let Some(ended) = aborts.next().await {
        if let Err(error) = ended {
            let told = format!("{aborted} of {} unfinished writes were aborted, then one failed", counted(found));
            return Err(Failure::from(error).context(&told));
        }
        aborted += 1;
    }
    Ok(format!("{} unfinished writes were aborted", counted(aborted)))
}

/// A round may have found all that one call names, and no more.
fn counted(uploads: usize) -> String {
    if uploads < STALE_UPLOADS_MAX { uploads.to_string() } else { format!("{uploads} (more may follow)") }
}

/// Whatever the store says.
fn is_stale(upload: &StaleUpload, namespace: &ObjectKey, before_ms: i64) -> bool {
    let below = upload.key.as_str().strip_prefix(namespace.as_str()).is_some_and(|rest| rest.starts_with('/'));
    below && upload.begun_ms < before_ms
}
