//! The end of a restore job that went well: one transaction verifies the copy and makes all of it visible.

use super::{JobRow, counts, lock, move_job};
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::machines::refused;
use crate::model::{JobKind, TaskCounts};
use crate::rows::count;
use crate::{Coordinator, file_sets, pins};
use elanus_lifecycle::Step;
use elanus_lifecycle::restore_job::{Event, State};
use elanus_types::{JobId, Timestamp};
use sqlx::Row;

/// What the copy of a job is, compared with its plan.
enum Verdict {
    /// So many file sets, each complete.
    Complete(u64),
    /// What the user is told.
    Differs(String),
}

impl Coordinator {
    /// Publishes the target of a job whose tasks are all completed; a copy that is not what was planned makes the job
    /// fail. Before all tasks are completed, and when the job is over or failing, nothing happens.
    ///
    /// # Errors
    /// 2101 for an unknown job; when the store is away.
    pub async fn publish_job(&self, id: JobId) -> Result<()> {
        self.close_copying(id).await?;
        let mut tx = self.write().await?;
        let job = lock(&mut tx, id).await?;
        if *job.machine.state() != State::Publishing {
            return Ok(());
        }
        match verify(&mut tx, &job).await? {
            Verdict::Complete(sets) => match job.record.kind {
                JobKind::Restore => publish(&mut tx, &job, sets).await?,
                JobKind::Detach => {
                    let not_before_ms = self.not_before_ms(&tx);
                    super::detach::exchange(&mut tx, &job, not_before_ms).await?;
                }
            },
            Verdict::Differs(message) => {
                super::fail::fail(&mut tx, &job, &Event::VerifyFailed { message }).await?;
            }
        }
        tx.commit().await
    }

    /// Copying → Publishing, when nothing is left to copy.
    async fn close_copying(&self, id: JobId) -> Result<()> {
        let mut tx = self.write().await?;
        let job = lock(&mut tx, id).await?;
        if *job.machine.state() != State::Copying {
            return Ok(());
        }
        let TaskCounts { pending, in_progress, failed, .. } = counts(&mut tx, id).await?;
        if pending + in_progress + failed > 0 {
            return Ok(());
        }
        match move_job(&mut tx, &job, &Event::AllTasksCompleted).await? {
            Step::Move(..) => tx.commit().await,
            Step::Repeat | Step::Fenced => Ok(()),
            Step::Refuse(refusal) => Err(refused(&refusal)),
        }
    }
}

/// Every planned file set is an intent of its task's last claim, and each of its objects has what its source has.
async fn verify(tx: &mut Tx, job: &JobRow) -> Result<Verdict> {
    let id = job.record.id;
    let sets = tx
        .one(
            "SELECT COUNT(*) AS planned, COUNT(CASE WHEN f.state = 'intent' AND f.task_id = i.task_id THEN 1 END) AS good \
             FROM copy_items i LEFT JOIN file_sets f ON f.file_set_id = i.target_file_set_id WHERE i.job_id = $1",
            args![id.0],
        )
        .await?;
    let objects = tx
        .one(
            "SELECT COUNT(*) AS planned, COUNT(CASE WHEN t.size_bytes = s.size_bytes AND t.checksum = s.checksum THEN 1 END) \
             AS good FROM copy_items i JOIN objects s ON s.file_set_id = i.source_file_set_id \
             LEFT JOIN objects t ON t.file_set_id = i.target_file_set_id AND t.ordinal = s.ordinal \
             WHERE i.job_id = $1",
            args![id.0],
        )
        .await?;
    let planned = count(&sets, "planned")?;
    for (what, total, good) in [
        ("file sets", planned, count(&sets, "good")?),
        ("objects", count(&objects, "planned")?, count(&objects, "good")?),
        ("objects", job.record.files_total, count(&objects, "good")?),
    ] {
        if total != good {
            return Ok(Verdict::Differs(format!("{good} of {total} copied {what} are what the snapshot says")));
        }
    }
    let unfinished = counts(tx, id).await?;
    if unfinished.pending + unfinished.in_progress + unfinished.failed > 0 {
        return Err(MetaError::Corrupt(format!("restore job {id} is being published, its tasks are {unfinished:?}")));
    }
    Ok(Verdict::Complete(planned))
}

/// Everything at once: file sets live, memberships, the definition, the collection itself, the pin.
async fn publish(tx: &mut Tx, job: &JobRow, sets: u64) -> Result<()> {
    let ts = publish_ts(tx, job).await?;
    file_sets::commit_job(tx, job.record.id, sets).await?;
    add_copies(tx, job, sets, ts).await?;
    reveal(tx, job, ts).await
}

/// The copies of a job become members at `ts`, exactly so many.
pub(super) async fn add_copies(tx: &mut Tx, job: &JobRow, copies: u64, ts: Timestamp) -> Result<()> {
    tx.execute_exactly(
        copies,
        "a file of the restore job",
        "INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, \
         rows_num, bytes, added_ts, removed_ts, deletes_before_ts) \
         SELECT i.target_segment_id, i.target_file_set_id, CAST($2 AS BIGINT), i.target_partition_id, i.shard, i.kind, \
         i.base_ts, i.rows_num, i.bytes, CAST($3 AS BIGINT), CAST($4 AS BIGINT), i.deletes_before_ts \
         FROM copy_items i WHERE i.job_id = $1",
        args![job.record.id.0, job.record.target.0, ts.0, Timestamp::NEVER.0],
    )
    .await
}

/// The job, whose work is in this transaction, is completed.
pub(super) async fn complete(tx: &mut Tx, job: &JobRow) -> Result<()> {
    match move_job(tx, job, &Event::Verified).await? {
        Step::Move(..) => Ok(()),
        other => Err(MetaError::Corrupt(format!("a job that is published answers {other:?}"))),
    }
}

/// When the hidden target, which is locked now, becomes visible.
pub(super) async fn publish_ts(tx: &mut Tx, job: &JobRow) -> Result<Timestamp> {
    let (id, target) = (job.record.id, job.record.target);
    let row = tx
        .optional(
            "SELECT last_ts FROM collections WHERE collection_id = $1 AND job_id = $2 AND state = 'restoring' \
             /*FOR UPDATE*/",
            args![target.0, id.0],
        )
        .await?
        .ok_or_else(|| MetaError::Corrupt(format!("the target {target} of restore job {id} is gone")))?;
    // Rows keep their timestamps, so the target's clock begins after the snapshot's.
    let after_rows = Timestamp(job.create_ts.0 + 1);
    Ok(Timestamp(row.try_get("last_ts")?).tick(tx.now_ms).max(after_rows))
}

/// The target with all its members becomes visible at `ts`; the job, which is being published, is completed.
pub(super) async fn reveal(tx: &mut Tx, job: &JobRow, ts: Timestamp) -> Result<()> {
    let (id, target) = (job.record.id, job.record.target);
    complete(tx, job).await?;
    for sql in [
        "UPDATE segments SET created_ts = $2 WHERE collection_id = $1",
        // What begins to age with the restore was given the time at which the hidden version began.
        "UPDATE collection_versions SET added_ts = $2, \
         ages_from_ts = CASE WHEN ages_from_ts = added_ts THEN $2 ELSE ages_from_ts END WHERE collection_id = $1",
        "UPDATE partitions SET added_ts = $2 WHERE collection_id = $1",
        "UPDATE indexes SET added_ts = $2 WHERE collection_id = $1",
    ] {
        tx.execute(sql, args![target.0, ts.0]).await?;
    }
    tx.execute_exactly(
        1,
        "the target of the restore job",
        "UPDATE collections SET state = 'live', job_id = NULL, created_ts = $3, updated_ts = $3, last_ts = $3 \
         WHERE collection_id = $1 AND job_id = $2 AND state = 'restoring'",
        args![target.0, id.0, ts.0],
    )
    .await?;
    pins::release_of_job(tx, id).await?;
    let subject = format!("collection.{target}");
    let dedup_key = format!("{subject}.{ts}");
    tx.announce(subject, dedup_key, "{}".to_owned()).await
}
