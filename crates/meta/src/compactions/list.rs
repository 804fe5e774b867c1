//! What users and operators ask about compactions, and their end as rows.

use crate::db::{Tx, args};
use crate::error::Result;
use crate::model::{CompactionJobRecord, CompactionRecord};
use crate::rows::{count, shard};
use crate::tasks::TaskRow;
use crate::{Coordinator, Meta};
use elanus_lifecycle::task::{Compact, State};
use elanus_types::{CollectionId, JobId, PartitionId, SegmentId};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

/// Compactions with what [`CompactionRecord`] holds.
macro_rules! select_records {
    ($rest:literal) => {
        concat!(
            "SELECT CAST(NULL AS TEXT) AS traceparent, t.task_id, t.collection_id AS owner_id, t.state, t.attempt, t.generation, t.worker, \
             t.lease_until_ms, t.not_before_ms, t.reason, t.message, t.collection_id, t.partition_id, t.shard, t.job_id, \
             t.created_ms, t.ended_ms, t.files_num, t.rows_num, t.bytes, t.rows_left, t.bytes_left, \
             t.target_segment_id FROM compactions t WHERE ",
            $rest
        )
    };
}

impl Meta {
    /// The newest `limit` compactions, of one collection where one is given; oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn compactions(&self, collection: Option<CollectionId>, limit: u32) -> Result<Vec<CompactionRecord>> {
        let mut tx = self.db.read().await?;
        let limit = i64::from(limit);
        let mut rows = match collection {
            Some(id) => {
                tx.all(select_records!("t.collection_id = $1 ORDER BY t.task_id DESC LIMIT $2"), args![id.0, limit])
                    .await?
            }
            None => tx.all(select_records!("1 = 1 ORDER BY t.task_id DESC LIMIT $1"), args![limit]).await?,
        };
        rows.reverse();
        // Sources are for the state of a job.
        rows.iter().map(|row| read(row, &BTreeMap::new())).collect()
    }

    /// A compaction that a user asked for; `None` when it is unknown or forgotten.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn compaction_job(&self, id: JobId) -> Result<Option<CompactionJobRecord>> {
        let mut tx = self.db.read().await?;
        let row =
            tx.optional("SELECT collection_id, created_ms FROM compaction_jobs WHERE job_id = $1", args![id.0]).await?;
        let Some(row) = row else { return Ok(None) };
        let sources = sources(&mut tx, id).await?;
        let tasks = tx.all(select_records!("t.job_id = $1 ORDER BY t.task_id"), args![id.0]).await?;
        Ok(Some(CompactionJobRecord {
            id,
            collection: CollectionId(row.try_get("collection_id")?),
            created_ms: row.try_get("created_ms")?,
            tasks: tasks.iter().map(|row| read(row, &sources)).collect::<Result<_>>()?,
        }))
    }
}

/// Segments of the inputs of each task of a job.
async fn sources(tx: &mut Tx, job: JobId) -> Result<BTreeMap<i64, Vec<SegmentId>>> {
    let rows = tx
        .all(
            "SELECT DISTINCT i.task_id, i.segment_id FROM compactions t \
             JOIN compaction_inputs i ON i.task_id = t.task_id WHERE t.job_id = $1 ORDER BY i.task_id, i.segment_id",
            args![job.0],
        )
        .await?;
    let mut sources: BTreeMap<i64, Vec<SegmentId>> = BTreeMap::new();
    for row in &rows {
        sources.entry(row.try_get("task_id")?).or_default().push(SegmentId(row.try_get("segment_id")?));
    }
    Ok(sources)
}

fn read(row: &AnyRow, sources: &BTreeMap<i64, Vec<SegmentId>>) -> Result<CompactionRecord> {
    let task = TaskRow::<Compact>::read(row)?;
    let optional = |column: &str| -> Result<Option<u64>> {
        let number: Option<i64> = row.try_get(column)?;
        number.map(|_| count(row, column)).transpose()
    };
    let rows_left = optional("rows_left")?;
    let reason: Option<String> = row.try_get("reason")?;
    let message: Option<String> = row.try_get("message")?;
    let target: Option<i64> = row.try_get("target_segment_id")?;
    let worker = match task.machine.state() {
        State::InProgress { node, .. } => Some(node.clone()),
        State::Pending { .. } | State::Completed | State::Failed { .. } => None,
    };
    Ok(CompactionRecord {
        id: task.id,
        collection: CollectionId(row.try_get("collection_id")?),
        partition: PartitionId(row.try_get("partition_id")?),
        shard: shard(row)?,
        job: row.try_get::<Option<i64>, _>("job_id")?.map(JobId),
        state: task.machine.label(),
        attempt: task.machine.attempt(),
        worker,
        reason: message.or(reason),
        created_ms: row.try_get("created_ms")?,
        ended_ms: row.try_get("ended_ms")?,
        files: count(row, "files_num")?,
        rows: count(row, "rows_num")?,
        bytes: count(row, "bytes")?,
        rows_left,
        bytes_left: optional("bytes_left")?,
        sources: sources.get(&task.id.0).cloned().unwrap_or_default(),
        target: target.map(SegmentId).filter(|_| rows_left.is_some_and(|rows| rows > 0)),
    })
}

impl Coordinator {
    /// Forgets compactions that ended before `before_ms`, and what asked for them, at most `limit`; how many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn forget_compactions(&self, before_ms: i64, limit: u32) -> Result<u64> {
        macro_rules! over {
            () => {
                "(SELECT t.task_id FROM compactions t WHERE t.ended_ms < $1 ORDER BY t.ended_ms, t.task_id LIMIT $2)"
            };
        }
        let mut tx = self.write().await?;
        let limit = i64::from(limit);
        tx.execute(concat!("DELETE FROM compaction_inputs WHERE task_id IN ", over!()), args![before_ms, limit])
            .await?;
        let tasks =
            tx.execute(concat!("DELETE FROM compactions WHERE task_id IN ", over!()), args![before_ms, limit]).await?;
        let jobs = tx
            .execute(
                "DELETE FROM compaction_jobs WHERE created_ms < $1 AND NOT EXISTS \
                 (SELECT 1 FROM compactions t WHERE t.job_id = compaction_jobs.job_id)",
                args![before_ms],
            )
            .await?;
        if tasks + jobs > 0 {
            tx.commit().await?;
        }
        Ok(tasks)
    }
}
