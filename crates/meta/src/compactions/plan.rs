//! What a collection holds, for plans; and storing a plan.

use crate::clock::lock_if_live;
use crate::db::{Tx, add, args};
use crate::error::Result;
use crate::model::{CompactionView, LiveMember, NewCompaction};
use crate::partition_drops::left_behind;
use crate::reads::version_at;
use crate::rows::{bigint, collection_not_found, count, expired_before, from_json, kind, shard, ttl_s};
use crate::{Coordinator, Meta};
use elanus_lifecycle::Compaction;
use elanus_types::{CollectionId, FileSetId, JobId, PartitionId, SegmentId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

/// The property by which a collection turns the policy off, as in Milvus.
const AUTOMATIC: &str = "collection.autocompaction.enabled";
/// Files of a compaction that failed are let be by the policy for so long.
const FAILED_REST_MS: i64 = 3_600_000;

/// Members of `$1` that hold now, but indexes. Busy: inputs of what has not ended; failed: of what failed after `$2`.
const LIVE: &str = concat!(
    "
SELECT m.segment_id, m.file_set_id, m.partition_id, m.shard, m.kind, m.base_ts, m.deletes_before_ts, m.rows_num, m.bytes,
       m.added_ts,
       CASE WHEN EXISTS (SELECT 1 FROM compaction_inputs i JOIN compactions t ON t.task_id = i.task_id
                         WHERE i.file_set_id = m.file_set_id AND i.segment_id = m.segment_id AND t.ended_ms IS NULL)
            THEN 1 ELSE 0 END AS is_busy,
       CASE WHEN EXISTS (SELECT 1 FROM compaction_inputs i JOIN compactions t ON t.task_id = i.task_id
                         WHERE i.file_set_id = m.file_set_id AND i.segment_id = m.segment_id
                         AND t.state = 'failed' AND t.reason <> 'aborted' AND t.ended_ms > $2)
            THEN 1 ELSE 0 END AS is_failed
FROM memberships m
WHERE m.collection_id = $1 AND m.removed_ts = 9223372036854775807 AND m.kind <> 'index' AND m.partition_id NOT IN ",
    left_behind!("$1"),
    " ORDER BY m.base_ts, m.file_set_id"
);

/// The last snapshot that asks compaction to wait, and what else is in the way of a plan.
const IN_THE_WAY: &str = "
SELECT COALESCE((SELECT MAX(s.create_ts) FROM snapshots s WHERE s.collection_id = c.collection_id
                 AND s.state <> 'deleting' AND s.compaction_protected_until_ms > $2), -1) AS protected_ts,
       CASE WHEN c.held_until_ms > $2 THEN 1 ELSE 0 END AS is_held,
       CASE WHEN EXISTS (SELECT 1 FROM restore_jobs j WHERE j.target_collection_id = c.collection_id
                         AND j.kind = 'detach' AND j.ended_ms IS NULL) THEN 1 ELSE 0 END AS is_detached
FROM collections c WHERE c.collection_id = $1";

impl Meta {
    /// Live collections with their clocks, by id, those after `after`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn clocks(&self, after: CollectionId, limit: u32) -> Result<Vec<(CollectionId, Timestamp)>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT collection_id, last_ts FROM collections WHERE collection_id > $1 AND state = 'live' \
                 ORDER BY collection_id LIMIT $2",
                args![after.0, i64::from(limit)],
            )
            .await?;
        rows.iter()
            .map(|row| Ok((CollectionId(row.try_get("collection_id")?), Timestamp(row.try_get("last_ts")?))))
            .collect()
    }

    /// What a live collection holds, for plans.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn compaction_view(&self, collection: CollectionId) -> Result<CompactionView> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let version = version_at(&mut tx, collection, None).await?;
        let properties: BTreeMap<String, String> = from_json(&version.row, "properties_json")?;
        let way = tx.one(IN_THE_WAY, args![collection.0, now_ms]).await?;
        let protected_ts: i64 = way.try_get("protected_ts")?;
        let waits_for = match (way.try_get::<i64, _>("is_held")?, way.try_get::<i64, _>("is_detached")?) {
            (0, 0) => None,
            (0, _) => Some("a detach of the collection"),
            (_, _) => Some("a rollback of the collection"),
        };
        let rows = tx.all(LIVE, args![collection.0, now_ms - FAILED_REST_MS]).await?;
        drop(tx);
        Ok(CompactionView {
            ts: version.ts,
            expired_before: expired_before(&version.row, now_ms)?,
            expires: ttl_s(&version.row)?.is_some(),
            members: rows.iter().map(live_member).collect::<Result<_>>()?,
            protected_ts: (protected_ts >= 0).then_some(Timestamp(protected_ts)),
            automatic: properties.get(AUTOMATIC).is_none_or(|value| !value.eq_ignore_ascii_case("false")),
            waits_for,
        })
    }
}

fn live_member(row: &AnyRow) -> Result<LiveMember> {
    let deletes_before_ts: Option<i64> = row.try_get("deletes_before_ts")?;
    Ok(LiveMember {
        segment: SegmentId(row.try_get("segment_id")?),
        file_set: FileSetId(row.try_get("file_set_id")?),
        partition: PartitionId(row.try_get("partition_id")?),
        shard: shard(row)?,
        kind: kind(row.try_get("kind")?)?,
        base_ts: Timestamp(row.try_get("base_ts")?),
        deletes_before_ts: deletes_before_ts.map(Timestamp),
        rows: count(row, "rows_num")?,
        bytes: count(row, "bytes")?,
        added_ts: Timestamp(row.try_get("added_ts")?),
        busy: row.try_get::<i64, _>("is_busy")? != 0,
        failed: row.try_get::<i64, _>("is_failed")? != 0,
    })
}

impl Coordinator {
    /// Stores a plan of the policy; how many compactions it has. Nothing when one of its inputs was taken by another plan
    /// meanwhile, or the collection is gone.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn plan_compactions(&self, collection: CollectionId, tasks: &[NewCompaction]) -> Result<u64> {
        if tasks.is_empty() {
            return Ok(0);
        }
        let mut tx = self.write().await?;
        if lock_if_live(&mut tx, collection).await?.is_none() || !store(&mut tx, collection, None, tasks).await? {
            return Ok(0);
        }
        tx.commit().await?;
        Ok(tasks.len() as u64)
    }

    /// Stores a plan that a user asked for, also one that has nothing to do; the id by which its state is asked for. What the
    /// policy has under way belongs to it. `None` when one of its inputs was taken by another plan meanwhile: it is to be
    /// made again.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn submit_compaction(&self, collection: CollectionId, tasks: &[NewCompaction]) -> Result<Option<JobId>> {
        let mut tx = self.write().await?;
        if lock_if_live(&mut tx, collection).await?.is_none() {
            return Err(collection_not_found(collection));
        }
        let id = JobId(tx.allocate_ids(1).await?);
        let now_ms = tx.now_ms;
        tx.execute(
            "INSERT INTO compaction_jobs (job_id, collection_id, created_ms) VALUES ($1, $2, $3)",
            args![id.0, collection.0, now_ms],
        )
        .await?;
        tx.execute(
            "UPDATE compactions SET job_id = $2 WHERE collection_id = $1 AND ended_ms IS NULL AND job_id IS NULL",
            args![collection.0, id.0],
        )
        .await?;
        if !store(&mut tx, collection, Some(id), tasks).await? {
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(id))
    }
}

/// Inserts tasks and inputs; false when an input is another open task's.
async fn store(tx: &mut Tx, collection: CollectionId, job: Option<JobId>, tasks: &[NewCompaction]) -> Result<bool> {
    let machine = Compaction::new();
    let now_ms = tx.now_ms;
    let first = tx.allocate_ids(u32::try_from(tasks.len()).unwrap_or(u32::MAX)).await?;
    tx.insert_many(
        "INSERT INTO compactions (task_id, collection_id, partition_id, shard, job_id, state, attempt, generation, \
         not_before_ms, created_ms, files_num, rows_num, bytes)",
        13,
        (first..).zip(tasks),
        |arguments, (id, task)| {
            let columns = machine.columns();
            add(arguments, id);
            add(arguments, collection.0);
            add(arguments, task.partition.0);
            add(arguments, i64::from(task.shard.0));
            add(arguments, job.map(|job| job.0));
            add(arguments, columns.state);
            add(arguments, columns.attempt);
            add(arguments, columns.generation);
            add(arguments, columns.not_before_ms);
            add(arguments, now_ms);
            add(arguments, bigint(task.inputs.len() as u64));
            add(arguments, bigint(task.rows));
            add(arguments, bigint(task.bytes));
        },
    )
    .await?;
    let inputs = (first..).zip(tasks).flat_map(|(id, task)| task.inputs.iter().map(move |input| (id, *input)));
    tx.insert_many(
        "INSERT INTO compaction_inputs (task_id, segment_id, file_set_id)",
        3,
        inputs,
        |arguments, (id, (segment, file_set))| {
            add(arguments, id);
            add(arguments, segment.0);
            add(arguments, file_set.0);
        },
    )
    .await?;
    let last = first + i64::try_from(tasks.len()).unwrap_or(0) - 1;
    let row = tx
        .one(
            "SELECT COUNT(*) AS taken_num FROM compaction_inputs n JOIN compaction_inputs o \
             ON o.file_set_id = n.file_set_id AND o.segment_id = n.segment_id AND o.task_id <> n.task_id \
             JOIN compactions t ON t.task_id = o.task_id AND t.ended_ms IS NULL \
             WHERE n.task_id >= $1 AND n.task_id <= $2",
            args![first, last],
        )
        .await?;
    Ok(count(&row, "taken_num")? == 0)
}
