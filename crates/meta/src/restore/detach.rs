//! A collection that shares files with others gets copies of its own: a detach. A job like a restore, whose target is its
//! source, and which copies only what is shared.
//!
//! DT-1  Readers see no change: a copy takes the place of its original in the same segment, with the same rows and the
//!       same timestamps, in one transaction under the collection's clock.
//! DT-2  Memberships are ended, not changed: a snapshot that was taken before holds the originals, one that is taken later
//!       the copies.
//! DT-3  What left the collection while its copy was made stays away: that copy is abandoned, never published.
//! DT-4  A detach that fails or is cancelled has changed nothing.
//!
//! Nothing pins the originals meanwhile. One that is deleted before it is copied left the collection before that; then
//! the copy fails, the job with it, and another detach finds less to do.

use super::plan::Member;
use super::{JobRow, MACHINE, job_not_found, locked};
use crate::clock::lock_if_live;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::file_sets::{self, Abandon};
use crate::history::{Told, tell};
use crate::memberships::{self, For};
use crate::model::{Created, JobKind, JobRecord};
use crate::partition_drops::left_behind;
use crate::rows::{collection_not_found, count};
use crate::{Coordinator, partition_drops};
use elanus_lifecycle::RestoreJob;
use elanus_lifecycle::restore_job::Event;
use elanus_types::{CollectionId, JobId, RestoreMode, Timestamp};
use sqlx::Row;

impl Coordinator {
    /// Submits a detach. The same request again, while the first is under way, joins it. A collection that shares nothing
    /// is detached at once.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn submit_detach(&self, collection: CollectionId, deadline_ms: i64) -> Result<Created<JobRecord>> {
        let mut tx = self.write().await?;
        let row = tx
            .optional(
                "SELECT c.name, d.name AS database_name FROM collections c \
                 JOIN databases d ON d.database_id = c.database_id \
                 WHERE c.collection_id = $1 AND c.state = 'live' /*FOR UPDATE OF c*/",
                args![collection.0],
            )
            .await?
            .ok_or_else(|| collection_not_found(collection))?;
        let (name, database): (String, String) = (row.try_get("name")?, row.try_get("database_name")?);
        if let Some(job) = under_way(&mut tx, collection).await? {
            return Ok(Created::Joined(job));
        }
        let id = JobId(tx.allocate_ids(1).await?);
        let machine = RestoreJob::submit(deadline_ms);
        let started_ms = tx.now_ms;
        tx.execute(
            "INSERT INTO restore_jobs (job_id, kind, snapshot_id, snapshot_name, source_collection_id, source_name, \
             source_database, target_collection_id, target_name, target_database, mode, partitions_json, \
             with_indexes, state, started_ms, deadline_ms, traceparent) \
             VALUES ($1, $2, 0, '', $3, $4, $5, $3, $4, $5, $6, '[]', 1, $7, $8, $9, $10)",
            args![
                id.0,
                JobKind::Detach.label().to_owned(),
                collection.0,
                name.clone(),
                database,
                RestoreMode::Copy.label().to_owned(),
                machine.label().to_owned(),
                started_ms,
                deadline_ms,
                elanus_trace::current().map(|step| step.to_string())
            ],
        )
        .await?;
        let detail = format!("detach of {collection} ({name})");
        let told = Told { machine: MACHINE, id: id.0, event: "submit", from: "", to: machine.label(), detail };
        tell(&mut tx, "restore", &told).await?;
        let job = locked(&mut tx, id).await?.ok_or_else(|| job_not_found(id))?;
        tx.commit().await?;
        Ok(Created::New(job.record))
    }
}

async fn under_way(tx: &mut Tx, collection: CollectionId) -> Result<Option<JobRecord>> {
    let row = tx
        .optional(
            "SELECT job_id FROM restore_jobs WHERE target_collection_id = $1 AND kind = 'detach' \
             AND state IN ('pending', 'copying', 'publishing') LIMIT 1",
            args![collection.0],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(locked(tx, JobId(row.try_get("job_id")?)).await?.map(|job| job.record))
}

/// What the collection holds now and another one has as well, also one that was dropped and still keeps it.
pub(super) async fn shared(tx: &mut Tx, job: &JobRow) -> Result<Vec<Member>> {
    let shared = tx.all_as(
            concat!(
                "SELECT m.segment_id, m.file_set_id, m.partition_id AS target_id, m.shard, m.kind, m.base_ts, m.rows_num, \
             m.bytes, m.deletes_before_ts, (SELECT s.level FROM segments s WHERE s.segment_id = m.segment_id) AS level, \
             (SELECT COUNT(*) FROM objects o WHERE o.file_set_id = m.file_set_id) AS objects_num \
             FROM memberships m \
             WHERE m.collection_id = $1 AND m.removed_ts = 9223372036854775807 AND m.partition_id NOT IN ",
                left_behind!("$1"),
                " AND EXISTS (SELECT 1 FROM memberships x WHERE x.file_set_id = m.file_set_id AND x.collection_id <> $1 \
             AND COALESCE(x.release_id, 0) = 0) \
             ORDER BY m.segment_id, m.file_set_id"
            ),
            args![job.record.target.0],
            Member::read,
        );
    shared.await
}

/// Puts the verified copies of a job that is being published in the places of their originals.
pub(super) async fn exchange(tx: &mut Tx, job: &JobRow, not_before_ms: i64) -> Result<()> {
    let (id, collection) = (job.record.id, job.record.target);
    let Some(mut clock) = lock_if_live(tx, collection).await? else {
        let message = "the collection was dropped meanwhile".to_owned();
        return super::fail::fail(tx, job, &Event::VerifyFailed { message }).await.map(drop);
    };
    // DT-3 goes by the rows.
    partition_drops::settle(tx, collection, not_before_ms).await?;
    tx.execute(
        "DELETE FROM copy_items WHERE job_id = $1 AND NOT EXISTS (SELECT 1 FROM memberships m \
         WHERE m.segment_id = copy_items.source_segment_id AND m.file_set_id = copy_items.source_file_set_id \
         AND m.removed_ts = 9223372036854775807)",
        args![id.0],
    )
    .await?;
    let row = tx.one("SELECT COUNT(*) AS items FROM copy_items WHERE job_id = $1", args![id.0]).await?;
    let items = count(&row, "items")?;
    if items > 0 {
        let ts = clock.tick(tx).await?;
        end_originals(tx, job, items, ts).await?;
        memberships::release_ended(tx, collection, ts, For::User, not_before_ms).await?;
        file_sets::commit_job(tx, id, items).await?;
        super::publish::add_copies(tx, job, items, ts).await?;
        clock.announce(tx).await?;
    }
    // What is an intent still is the copy of something that left.
    let now_ms = tx.now_ms;
    file_sets::abandon(tx, Abandon::Job(id), now_ms).await?;
    super::publish::complete(tx, job).await
}

/// DT-2
async fn end_originals(tx: &mut Tx, job: &JobRow, items: u64, ts: Timestamp) -> Result<()> {
    tx.execute_exactly(
        items,
        "an original of the detach",
        "UPDATE memberships SET removed_ts = $2 WHERE collection_id = $3 AND removed_ts = 9223372036854775807 \
         AND (segment_id, file_set_id) IN \
         (SELECT i.source_segment_id, i.source_file_set_id FROM copy_items i WHERE i.job_id = $1)",
        args![job.record.id.0, ts.0, job.record.target.0],
    )
    .await
}
