//! Listing, page by page.

use super::bucket::{Bucket, seconds};
use super::failure;
use crate::{Error, ObjectInfo, Result};
use aws_sdk_s3::types::Object;
use elanus_types::ObjectKey;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use std::sync::Arc;

/// Where the listing stands.
enum Page {
    First,
    After(String),
    Last,
}

pub(super) fn list(bucket: Arc<Bucket>, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
    let attempt = folder.map_or_else(|| "list all objects".to_owned(), |folder| format!("list {folder}"));
    let prefix = bucket.prefix_of(folder);
    let pages = stream::try_unfold(Page::First, move |page| {
        let (bucket, attempt, prefix) = (Arc::clone(&bucket), attempt.clone(), prefix.clone());
        async move { next(&bucket, attempt, &prefix, page).await }
    });
    pages.map_ok(|infos| stream::iter(infos).map(Ok)).try_flatten().boxed()
}

async fn next(bucket: &Bucket, attempt: String, prefix: &str, page: Page) -> Result<Option<(Vec<ObjectInfo>, Page)>> {
    let after = match page {
        Page::First => None,
        Page::After(token) => Some(token),
        Page::Last => return Ok(None),
    };
    let _permit = bucket.permit().await;
    let request = bucket.client.list_objects_v2().bucket(&bucket.name).prefix(prefix);
    let sent = request.set_continuation_token(after.clone()).send().await;
    let answer = sent.map_err(|error| failure::error_of(attempt.clone(), &bucket.name, None, error))?;
    let next = match answer.next_continuation_token() {
        _ if !answer.is_truncated().unwrap_or_default() => Page::Last,
        Some(token) if after.as_deref() != Some(token) => Page::After(token.to_owned()),
        // To go on would be to list for ever; to stop would be to call what is not listed absent.
        _ => return Err(Error::transient(attempt, "the store does not say where the next page begins")),
    };
    let infos = answer.contents().iter().filter_map(|object| info(bucket, &attempt, object).transpose());
    Ok(Some((infos.collect::<Result<_>>()?, next)))
}

/// `None` for what is no object of ours.
fn info(bucket: &Bucket, attempt: &str, object: &Object) -> Result<Option<ObjectInfo>> {
    let incomplete = || Error::transient(attempt, "the store did not say name, size and time of an object");
    let Some(key) = bucket.key_of(object.key().ok_or_else(incomplete)?) else { return Ok(None) };
    let size = object.size().and_then(|size| u64::try_from(size).ok()).ok_or_else(incomplete)?;
    let modified_ms = object.last_modified().map(seconds).ok_or_else(incomplete)?;
    Ok(Some(ObjectInfo { key, size, modified_ms }))
}
