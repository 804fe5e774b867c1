//! Copies the files of one claim, as many at a time as the node's gate lets pass, each verified.

use super::report::{Lease, Progress, Verdict};
use super::store::{Way, tried};
use super::{Claim, TaskWorker};
use elanus_meta::model::CopyFile;
use elanus_objects::{Error, Expected, Found, ObjectStore, Retry};
use elanus_trace::Instrument as _;
use elanus_types::Failure;
use futures::{StreamExt as _, stream};
use std::sync::Arc;

/// Errors that a report names; the rest is counted.
const ERRORS_MAX: usize = 20;

/// Copies everything, or says why not. `None` when it was told to stop.
pub(super) async fn copy_all(
    worker: &TaskWorker,
    claim: &Claim,
    files: &[CopyFile],
    progress: &Arc<Progress>,
    lease: &Lease,
) -> Option<Verdict> {
    let way = &Way { objects: &*worker.objects, gate: &worker.gate, lease };
    let mut copies = stream::iter(0..files.len())
        .map(|n| async move { (n, copy_one(way, &files[n]).await) })
        .buffer_unordered(worker.files_at_once_max);
    let (mut errors, mut permanent, mut stopped) = (Vec::new(), false, false);
    while let Some((n, result)) = copies.next().await {
        let file = &files[n];
        match result {
            Some(Ok(())) => progress.add(claim.work.label(), file.source.size),
            Some(Err(error)) => {
                // One file that can never be copied fails the job, whatever happened to the others.
                permanent |= error.retry() == Retry::Never;
                errors.push((file.source.key.to_string(), Failure::from(error).message));
            }
            // The others are waited for, not dropped: a call that is dropped may still write (CW-4).
            None => stopped = true,
        }
    }
    if stopped {
        return None;
    }
    if errors.is_empty() {
        return Some(Verdict::Copied);
    }
    tracing::info!(task = %claim.task, failed = errors.len(), at_once = worker.gate.limit(), "files were not copied");
    errors.sort();
    errors.truncate(ERRORS_MAX);
    Some(Verdict::Failed { permanent, errors })
}

/// One file: copy, then compare what arrived. `None` when it was told to stop.
async fn copy_one(way: &Way<'_>, file: &CopyFile) -> Option<Result<(), Error>> {
    let step = elanus_trace::many!(
        "datanode.file.copy",
        elanus.object = file.target.as_str(),
        elanus.bytes = file.source.size
    );
    let copied = tried(way, &file.target, || copy_and_verify(way.objects, file)).instrument(step.clone()).await;
    if let Some(Err(error)) = &copied {
        elanus_trace::span_failed(&step, &error.to_string());
        elanus_trace::event!(key = file.source.key.as_str(), error = error.label(), "a file was not copied");
    }
    copied
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
