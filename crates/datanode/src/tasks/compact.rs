//! Compacts the files of one claim: reads the delete logs and then file after file, writes what is left as one file.
//!
//! In memory are the keys of the deletes, one or two of the inputs as they lie in the store, and the new file so far.

use super::files::{Stop, blocking, fetch, key_of, off_thread, permanent, store, transient};
use super::merge::{Merge, Newest};
use super::report::{Lease, Progress, Verdict};
use super::store::Way;
use super::{Claim, TaskWorker};
use elanus_meta::model::{CompactedFile, CompactionWork};
use elanus_segment::decode_deletes;
use elanus_types::Failure;
use futures::{StreamExt as _, stream};
use std::sync::Arc;

/// Delete logs that are fetched at a time.
const LOGS_AT_ONCE: usize = 8;
/// Inputs that are fetched at a time: one is compacted while the next one comes.
const INPUTS_AT_ONCE: usize = 2;

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
    store(way, &target, encoded.bytes).await?;
    Ok(Some(file))
}
