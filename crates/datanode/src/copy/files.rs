//! Copies the files of one claim, several at a time, each verified.

use super::report::{Progress, Verdict};
use super::{Claim, CopyWorker};
use elanus_meta::model::CopyFile;
use elanus_objects::{Error, Expected, Found, ObjectStore, Retry};
use elanus_types::Failure;
use futures::{StreamExt as _, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Tries of one file before the claim is given back.
const TRIES_MAX: u32 = 5;
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// Errors that a report names; the rest is counted.
const ERRORS_MAX: usize = 20;

/// Copies everything, or says why not. `None` when it was told to stop.
pub(super) async fn copy_all(
    worker: &CopyWorker,
    claim: &Claim,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Option<Verdict> {
    let mut copies = stream::iter(0..claim.files.len())
        .map(|n| async move { (n, copy_one(&*worker.objects, &claim.files[n], stop).await) })
        .buffer_unordered(worker.files_at_once);
    let (mut errors, mut permanent) = (Vec::new(), false);
    while let Some((n, result)) = copies.next().await {
        let file = &claim.files[n];
        match result {
            Some(Ok(())) => progress.add(file.source.size),
            Some(Err(error)) => {
                // One file that can never be copied fails the job, whatever happened to the others.
                permanent |= error.retry() == Retry::Never;
                errors.push((file.source.key.clone(), Failure::from(error).message));
            }
            None => return None,
        }
    }
    if errors.is_empty() {
        return Some(Verdict::Finished);
    }
    errors.sort();
    errors.truncate(ERRORS_MAX);
    Some(Verdict::Failed { permanent, errors })
}

/// One file: copy, then compare what arrived. `None` when it was told to stop.
async fn copy_one(objects: &dyn ObjectStore, file: &CopyFile, stop: &CancellationToken) -> Option<Result<(), Error>> {
    let mut wait = BACKOFF_FIRST;
    for attempt in 1.. {
        if stop.is_cancelled() {
            return None; // between two effects, never inside one: an abandoned call could still write (CW-3)
        }
        match copy_and_verify(objects, file).await {
            Err(error) if error.retry() == Retry::After && attempt < TRIES_MAX => {
                tracing::debug!(key = %file.source.key, attempt, %error, "a copy is tried again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait *= 2,
                    () = stop.cancelled() => return None,
                }
            }
            other => return Some(other),
        }
    }
    None
}

async fn copy_and_verify(objects: &dyn ObjectStore, file: &CopyFile) -> Result<(), Error> {
    let expected = Expected { size: file.source.size, checksum: file.source.checksum };
    let copied = objects.copy(&file.source.key, &file.target, expected).await?;
    let checksum = objects.checksum(&file.target).await?;
    if copied.size == expected.size && checksum == expected.checksum {
        return Ok(());
    }
    let found = Found { size: copied.size, checksum: Some(checksum) };
    Err(Error::Corrupt { key: file.source.key.clone(), expected, found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use elanus_meta::model::StoredObject;
    use elanus_objects::{Fault, FaultyStore, MemoryStore, Plan, checksum_of};
    use elanus_types::{Checksum, ManualClock, ObjectKey};

    fn key(text: &str) -> ObjectKey {
        ObjectKey::parse(text).unwrap()
    }

    async fn store(plan: Plan) -> FaultyStore {
        let inner = Arc::new(MemoryStore::new(Arc::new(ManualClock::at_ms(1))));
        inner.put(&key("c/a"), Bytes::from_static(b"rows")).await.unwrap();
        FaultyStore::new(inner, plan)
    }

    fn file(checksum: Checksum) -> CopyFile {
        CopyFile { source: StoredObject { key: key("c/a"), size: 4, checksum }, target: key("c/b") }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_error_is_tried_again_and_a_damaged_source_is_not() {
        let stop = CancellationToken::new();
        let flaky = store(Plan::none().at_effect(1, Fault::ErrorBefore).at_effect(2, Fault::ErrorAfter)).await;
        copy_one(&flaky, &file(checksum_of(b"rows")), &stop).await.unwrap().unwrap();
        assert_eq!(flaky.get(&key("c/b")).await.unwrap(), Bytes::from_static(b"rows"));

        let sound = store(Plan::none()).await;
        let damaged = copy_one(&sound, &file(Checksum(1)), &stop).await.unwrap().unwrap_err();
        assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged}");
        assert_eq!(sound.effects(), 1, "a damaged source is not tried again");
    }

    #[tokio::test]
    async fn cw_3_a_stopped_claim_writes_nothing() {
        let stop = CancellationToken::new();
        stop.cancel();
        let store = store(Plan::none()).await;
        assert!(copy_one(&store, &file(checksum_of(b"rows")), &stop).await.is_none());
        assert_eq!(store.effects(), 0);
    }
}
