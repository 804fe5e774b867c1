//! Copies the files of one claim, as many at a time as the node's gate lets pass, each verified.

use super::gate::Gate;
use super::limit::Outcome;
use super::report::{Lease, Progress, Verdict};
use super::{Claim, CopyWorker};
use elanus_meta::model::CopyFile;
use elanus_objects::{Error, Expected, Found, ObjectStore, Retry};
use elanus_types::Failure;
use futures::{StreamExt as _, stream};
use std::sync::Arc;
use std::time::Duration;

/// Tries of one file before the claim is given back.
const TRIES_MAX: u32 = 10;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Errors that a report names; the rest is counted.
const ERRORS_MAX: usize = 20;

/// Where copies go, and what may stop them.
pub(super) struct Way<'w> {
    pub(super) objects: &'w dyn ObjectStore,
    pub(super) gate: &'w Gate,
    pub(super) lease: &'w Lease,
}

/// Copies everything, or says why not. `None` when it was told to stop.
pub(super) async fn copy_all(
    worker: &CopyWorker,
    claim: &Claim,
    progress: &Arc<Progress>,
    lease: &Lease,
) -> Option<Verdict> {
    let way = &Way { objects: &*worker.objects, gate: &worker.gate, lease };
    let mut copies = stream::iter(0..claim.files.len())
        .map(|n| async move { (n, copy_one(way, &claim.files[n]).await) })
        .buffer_unordered(worker.files_at_once_max);
    let (mut errors, mut permanent, mut stopped) = (Vec::new(), false, false);
    while let Some((n, result)) = copies.next().await {
        let file = &claim.files[n];
        match result {
            Some(Ok(())) => progress.add(file.source.size),
            Some(Err(error)) => {
                // One file that can never be copied fails the job, whatever happened to the others.
                permanent |= error.retry() == Retry::Never;
                errors.push((file.source.key.clone(), Failure::from(error).message));
            }
            // The others are waited for, not dropped: a call that is dropped may still write (CW-4).
            None => stopped = true,
        }
    }
    if stopped {
        return None;
    }
    if errors.is_empty() {
        return Some(Verdict::Finished);
    }
    tracing::info!(task = %claim.task, failed = errors.len(), at_once = worker.gate.limit(), "files were not copied");
    errors.sort();
    errors.truncate(ERRORS_MAX);
    Some(Verdict::Failed { permanent, errors })
}

/// One file: copy, then compare what arrived. `None` when it was told to stop.
async fn copy_one(way: &Way<'_>, file: &CopyFile) -> Option<Result<(), Error>> {
    for attempt in 1.. {
        let pass = tokio::select! {
            pass = way.gate.enter() => pass?,
            () = way.lease.lost() => return None,
        };
        if !way.lease.holds() {
            return None; // between two effects, never inside one: an abandoned call could still write (CW-3)
        }
        let result = copy_and_verify(way.objects, file).await;
        pass.ended(match &result {
            Ok(()) => Outcome::Succeeded,
            Err(error) if error.retry() == Retry::After => Outcome::Overloaded,
            Err(_) => Outcome::Neither,
        });
        match result {
            Err(error) if error.retry() == Retry::After && attempt < TRIES_MAX => {
                tracing::debug!(key = %file.source.key, attempt, %error, "a copy is tried again");
                tokio::select! {
                    () = tokio::time::sleep(pause(attempt, rand::random())) => {}
                    () = way.lease.lost() => return None,
                }
            }
            other => return Some(other),
        }
    }
    None
}

/// How long to wait after the `attempt`-th attempt: any time up to a bound that doubles ("full jitter"), so that files
/// that were refused together do not come back together. `chance` is from 0 to 1.
fn pause(attempt: u32, chance: f64) -> Duration {
    let doubled = 2_u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| BACKOFF_FIRST.checked_mul(factor));
    doubled.unwrap_or(BACKOFF_MAX).min(BACKOFF_MAX).mul_f64(chance.clamp(0.0, 1.0))
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
mod tests;
