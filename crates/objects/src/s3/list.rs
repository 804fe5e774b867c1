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

/// Objects of one answer at most; more are not given, whatever is asked.
const ANSWER_MAX: usize = 1_000;

/// Where the listing stands.
enum Page {
    /// Begins after this name.
    First(Option<String>),
    After(String),
    Last,
}

pub(super) fn list(bucket: Arc<Bucket>, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
    let attempt = folder.map_or_else(|| "list all objects".to_owned(), |folder| format!("list {folder}"));
    let prefix = bucket.prefix_of(folder);
    let pages = stream::try_unfold(Page::First(None), move |page| {
        let (bucket, attempt, prefix) = (Arc::clone(&bucket), attempt.clone(), prefix.clone());
        async move { next(&bucket, attempt, &prefix, page, ANSWER_MAX).await }
    });
    pages.map_ok(|infos| stream::iter(infos).map(Ok)).try_flatten().boxed()
}

/// As [`crate::ObjectStore::list_page`].
pub(super) async fn page(
    bucket: &Bucket,
    folder: &ObjectKey,
    after: Option<&ObjectKey>,
    limit: usize,
) -> Result<Vec<ObjectInfo>> {
    let (attempt, prefix) = (format!("list {folder}"), bucket.prefix_of(Some(folder)));
    let mut found: Vec<ObjectInfo> = Vec::new();
    let mut page = Page::First(after.map(|after| bucket.name_of(after)));
    while found.len() < limit {
        let wanted = limit - found.len();
        let Some((infos, next)) = next(bucket, attempt.clone(), &prefix, page, wanted).await? else { break };
        for info in infos {
            // Whoever goes on behind the last key would never see what comes too late.
            if found.last().map(|last| &last.key).or(after).is_some_and(|before| info.key <= *before) {
                return Err(Error::refused(attempt, "the store does not list in the order of keys"));
            }
            found.push(info);
        }
        page = next;
    }
    found.truncate(limit);
    Ok(found)
}

/// The next answer, with about as many objects as are wanted.
async fn next(
    bucket: &Bucket,
    attempt: String,
    prefix: &str,
    page: Page,
    wanted: usize,
) -> Result<Option<(Vec<ObjectInfo>, Page)>> {
    let (start, after) = match page {
        Page::First(start) => (start, None),
        Page::After(token) => (None, Some(token)),
        Page::Last => return Ok(None),
    };
    let _permit = bucket.permit().await;
    let request = bucket.client.list_objects_v2().bucket(&bucket.name).prefix(prefix).set_start_after(start);
    let request = request.max_keys(i32::try_from(wanted.min(ANSWER_MAX)).unwrap_or(i32::MAX));
    let sent = request.set_continuation_token(after.clone()).send().await;
    let answer = sent.map_err(|error| failure::error_of(attempt.clone(), &bucket.name, None, error))?;
    let next = match answer.next_continuation_token() {
        _ if !answer.is_truncated().unwrap_or_default() => Page::Last,
        Some(token) if after.as_deref() != Some(token) => Page::After(token.to_owned()),
        // To go on would be to list for ever; to stop would be to call what is not listed absent.
        _ => return Err(Error::transient(attempt, "the store does not say where the next page begins")),
    };
    // Stores differ in what a prefix means; a folder whose name only begins the same is another one.
    let below = answer.contents().iter().filter(|object| object.key().is_none_or(|name| name.starts_with(prefix)));
    let infos = below.filter_map(|object| info(bucket, &attempt, object).transpose());
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
