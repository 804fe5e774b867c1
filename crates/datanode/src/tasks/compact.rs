//! Compacts the files of one claim: reads the delete logs and then file after file, writes what is left as one file.
//!
//! In memory are the keys of the deletes, one or two of the inputs as they lie in the store, and the new file so far.

use super::merge::{Merge, Newest};
use super::report::{Lease, Progress, Verdict};
use super::store::{Way, tried};
use super::{Claim, TaskWorker};
use bytes::Bytes;
use elanus_meta::model::{CompactedFile, CompactionWork, FileRecord};
use elanus_objects::{Error, Expected, Retry};
use elanus_segment::decode_deletes;
use elanus_types::Failure;
use futures::{StreamExt as _, stream};
use std::sync::Arc;

/// Delete logs that are fetched at a time.
const LOGS_AT_ONCE: usize = 8;
/// Inputs that are fetched at a time: one is compacted while the next one comes.
const INPUTS_AT_ONCE: usize = 2;

/// Why there is no new file.
enum Stop {
    /// The worker was told to stop, or lost the claim.
    Told,
    /// What is reported.
    Failed { permanent: bool, key: String, why: String },
}

/// Compacts, or says why not. `None` when it was told to stop.
pub(super) async fn compact(worker: &TaskWorker, claim: &Claim, progress: &Progress, lease: &Lease) -> Option<Verdict> {
    let way = Way { objects: &*worker.objects, gate: &worker.gate, lease };
    match rewrite(worker, claim, progress, &way).await {
        Ok(file) => Some(Verdict::Compacted(file)),
        Err(Stop::Told) => None,
        Err(Stop::Failed { permanent, key, why }) => {
            tracing::info!(task = %claim.task, key, why, permanent, "files were not compacted");
            Some(Verdict::Failed { permanent, errors: vec![(key, why)] })
        }
    }
}

async fn rewrite(
    worker: &TaskWorker,
    claim: &Claim,
    progress: &Progress,
    way: &Way<'_>,
) -> Result<Option<CompactedFile>, Stop> {
    let work = worker.meta.compaction_work(claim.task, claim.generation, &worker.node).await;
    let work = work.map_err(|error| transient("", Failure::from(error).message))?;
    // Another has it by now.
    let CompactionWork { schema, inputs, logs, expired_before, base_ts, target, .. } = work.ok_or(Stop::Told)?;
    let schema = Arc::new(schema);

    let mut deletes = Newest::default();
    let mut fetched = stream::iter(0..logs.len()).map(|n| fetch(way, &logs[n])).buffered(LOGS_AT_ONCE);
    let pk_type = schema.primary_key().data_type;
    while let Some(next) = fetched.next().await {
        let (log, bytes) = next?;
        let base_ts = log.base_ts;
        deletes = off_thread(log, move || {
            deletes.add(decode_deletes(pk_type, bytes)?, base_ts);
            Ok(deletes)
        })
        .await?;
    }
    drop(fetched);

    let mut merge = Merge::new(schema, base_ts, expired_before, deletes).map_err(|error| permanent("", error))?;
    let mut fetched = stream::iter(0..inputs.len()).map(|n| fetch(way, &inputs[n])).buffered(INPUTS_AT_ONCE);
    while let Some(next) = fetched.next().await {
        let (input, bytes) = next?;
        let (base_ts, rows_max) = (input.base_ts, input.rows);
        let rows;
        (merge, rows) = off_thread(input, move || {
            let rows = merge.add(bytes, base_ts)?;
            Ok((merge, rows))
        })
        .await?;
        if rows as u64 != rows_max {
            return Err(permanent(key_of(input), format!("it has {rows} rows where {rows_max} were written")));
        }
        progress.add(claim.work.label(), input.objects.iter().map(|object| object.size).sum());
    }
    drop(fetched);

    let encoded = blocking(move || merge.finish()).await.map_err(|error| permanent(target.as_str(), error))?;
    let Some(encoded) = encoded else { return Ok(None) };
    let file = CompactedFile { rows: encoded.rows, size: encoded.bytes.len() as u64, checksum: encoded.checksum };
    let written = tried(way, &target, || way.objects.put(&target, encoded.bytes.clone())).await.ok_or(Stop::Told)?;
    written.map_err(|error| of_store(target.as_str(), error))?;
    Ok(Some(file))
}

/// The bytes of a file, as the metadata say that they are.
async fn fetch<'f>(way: &Way<'_>, file: &'f FileRecord) -> Result<(&'f FileRecord, Bytes), Stop> {
    let [object] = file.objects.as_slice() else {
        let parts = file.objects.len();
        return Err(permanent("", format!("file set {} has {parts} objects instead of one", file.file_set)));
    };
    let expected = Expected { size: object.size, checksum: object.checksum };
    let read = || async {
        let bytes = way.objects.get(&object.key).await?;
        expected.verify(&object.key, &bytes)?;
        Ok(bytes)
    };
    let bytes = tried(way, &object.key, read).await.ok_or(Stop::Told)?;
    Ok((file, bytes.map_err(|error| of_store(object.key.as_str(), error))?))
}

/// Runs work that needs a core off the async threads; what goes wrong is the file's fault.
async fn off_thread<T: Send + 'static>(
    file: &FileRecord,
    work: impl FnOnce() -> Result<T, elanus_segment::Error> + Send + 'static,
) -> Result<T, Stop> {
    blocking(work).await.map_err(|error| permanent(key_of(file), error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, elanus_segment::Error> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(with_source(&error)),
        Err(error) => Err(format!("compacting stopped: {error}")),
    }
}

fn with_source(error: &elanus_segment::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn key_of(file: &FileRecord) -> &str {
    file.objects.first().map_or("", |object| object.key.as_str())
}

fn of_store(key: &str, error: Error) -> Stop {
    let permanent = error.retry() == Retry::Never;
    Stop::Failed { permanent, key: key.to_owned(), why: Failure::from(error).message }
}

fn permanent(key: &str, why: impl ToString) -> Stop {
    Stop::Failed { permanent: true, key: key.to_owned(), why: why.to_string() }
}

fn transient(key: &str, why: String) -> Stop {
    Stop::Failed { permanent: false, key: key.to_owned(), why }
}
