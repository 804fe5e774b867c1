//! Uploads in parts that nobody ended: they are no objects, no listing shows them, and they cost money.

use super::bucket::{Bucket, seconds};
use super::failure;
use crate::{Error, Result, StaleUpload, store::STALE_UPLOADS_MAX};
use elanus_types::ObjectKey;

pub(super) async fn stale(bucket: &Bucket, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
    let attempt =
        folder.map_or_else(|| "list all uploads".to_owned(), |folder| format!("list the uploads of {folder}"));
    let prefix = bucket.prefix_of(folder);
    let (mut found, mut after) = (Vec::new(), (None, None));
    loop {
        let _permit = bucket.permit().await;
        let request = bucket.client.list_multipart_uploads().bucket(&bucket.name).prefix(&prefix);
        let request = request.set_key_marker(after.0.clone()).set_upload_id_marker(after.1.clone());
        let sent = request.send().await;
        let answer = sent.map_err(|error| failure::error_of(attempt.clone(), &bucket.name, None, error))?;
        for upload in answer.uploads() {
            let (Some(name), Some(id), Some(begun)) = (upload.key(), upload.upload_id(), upload.initiated()) else {
                return Err(Error::transient(attempt, "the store did not say name, id and time of an upload"));
            };
            let begun_ms = seconds(begun);
            // Stores differ in what a prefix means here.
            let key = bucket.key_of(name).filter(|_| name.starts_with(&prefix));
            if let Some(key) = key.filter(|_| begun_ms < before_ms) {
                found.push(StaleUpload { key, begun_ms, id: id.to_owned() });
            }
        }
        if found.len() >= STALE_UPLOADS_MAX {
            found.truncate(STALE_UPLOADS_MAX);
            return Ok(found);
        }
        if !answer.is_truncated().unwrap_or_default() {
            return Ok(found);
        }
        let next = (answer.next_key_marker().map(str::to_owned), answer.next_upload_id_marker().map(str::to_owned));
        if next == after || next.0.is_none() {
            return Err(Error::transient(attempt, "the store does not say where the next page begins"));
        }
        after = next;
    }
}
