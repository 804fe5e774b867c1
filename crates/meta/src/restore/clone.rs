//! A restore that shares: the target gets memberships of the very file sets that the snapshot holds, and each of these
//! one reference more for every membership.
//!
//! Everything happens in one transaction of few statements, whose number does not depend on what the snapshot holds, and
//! which fetch no row of it. A clone that fails has written nothing; the object store is never asked.
//!
//! R-1  Every shared file set is locked and live in the transaction that makes the target visible.

use super::publish::{publish_ts, reveal};
use super::{JobRow, lock, move_job, of_members, require_homes, with_members};
use crate::db::{Tx, add, args};
use crate::error::{MetaError, Result};
use crate::machines::refused;
use crate::rows::{bigint, count};
use crate::{Coordinator, file_sets};
use elanus_lifecycle::restore_job::{Event, State};
use elanus_lifecycle::{Segment, Step};
use elanus_types::{Failure, JobId, RestoreMode, Timestamp};

/// What a clone will share.
struct Totals {
    members: u64,
    segments: u64,
    file_sets: u64,
    files: u64,
    bytes: u64,
}

impl Coordinator {
    /// Makes the target of a pending job that clones, and publishes it. A job that copies, or that is past this, is left
    /// alone.
    ///
    /// # Errors
    /// 2101 for an unknown job; 5 when a file that the snapshot needs is not live: nothing was written, and nothing will
    /// change that; when the store is away.
    pub async fn clone_job(&self, id: JobId) -> Result<()> {
        let mut tx = self.write().await?;
        let job = lock(&mut tx, id).await?;
        if *job.machine.state() != State::Pending || job.record.options.mode != RestoreMode::Clone {
            return Ok(());
        }
        let totals = totals(&mut tx, &job).await?;
        require_live(&mut tx, &job, totals.file_sets).await?;
        let ts = publish_ts(&mut tx, &job).await?;
        share(&mut tx, &job, &totals, ts).await?;
        tx.execute(
            "UPDATE restore_jobs SET files_total = $2, files_done = $2, bytes_total = $3, bytes_done = $3 \
             WHERE job_id = $1",
            args![id.0, bigint(totals.files), bigint(totals.bytes)],
        )
        .await?;
        if let Step::Refuse(refusal) = move_job(&mut tx, &job, &Event::Cloned).await? {
            return Err(refused(&refusal));
        }
        let job = lock(&mut tx, id).await?;
        reveal(&mut tx, &job, ts).await?;
        tx.commit().await
    }
}

async fn totals(tx: &mut Tx, job: &JobRow) -> Result<Totals> {
    require_homes(tx, job).await?;
    let row = tx
        .one(
            with_members!(
                "",
                "SELECT COUNT(*) AS members_num, COUNT(DISTINCT m.segment_id) AS segments_num, \
                 COUNT(DISTINCT m.file_set_id) AS sets_num, CAST(COALESCE(SUM(m.bytes), 0) AS BIGINT) AS bytes_num, \
                 CAST(COALESCE(SUM((SELECT COUNT(*) FROM objects o WHERE o.file_set_id = m.file_set_id)), 0) AS BIGINT) \
                 AS files_num FROM members m"
            ),
            of_members(job),
        )
        .await?;
    Ok(Totals {
        members: count(&row, "members_num")?,
        segments: count(&row, "segments_num")?,
        file_sets: count(&row, "sets_num")?,
        files: count(&row, "files_num")?,
        bytes: count(&row, "bytes_num")?,
    })
}

/// Locks the shared file sets, in an order that every clone keeps; all must be live.
async fn require_live(tx: &mut Tx, job: &JobRow, expected: u64) -> Result<()> {
    let row = tx
        .one(
            with_members!(
                "",
                "SELECT COUNT(*) AS live_num FROM (SELECT f.file_set_id FROM file_sets f WHERE f.state = 'live' \
                 AND f.file_set_id IN (SELECT m.file_set_id FROM members m) ORDER BY f.file_set_id /*FOR UPDATE*/) l"
            ),
            of_members(job),
        )
        .await?;
    let live = count(&row, "live_num")?;
    if live == expected {
        return Ok(());
    }
    Err(Failure::internal(format!("{live} of {expected} files that the snapshot needs are live")).into())
}

/// Segments, memberships, references. A segment of the target has the number of its source among the sources, counted
/// from the first of the new ids: both statements count the same, because what a snapshot holds does not change.
async fn share(tx: &mut Tx, job: &JobRow, totals: &Totals, ts: Timestamp) -> Result<()> {
    let ids = u32::try_from(totals.segments)
        .map_err(|_| Failure::internal(format!("{} segments are too many for one clone", totals.segments)))?;
    let first_segment = tx.allocate_ids(ids).await?;

    let mut arguments = of_members(job);
    add(&mut arguments, first_segment);
    add(&mut arguments, Segment::flushed().label().to_owned());
    add(&mut arguments, ts.0);
    let inserted = tx
        .execute(
            with_members!(
                "INSERT INTO segments (segment_id, collection_id, partition_id, shard, level, state, rows_num, bytes, \
                 created_ts) ",
                "SELECT CAST($6 AS BIGINT) + ROW_NUMBER() OVER (ORDER BY m.segment_id) - 1, CAST($2 AS BIGINT), \
                 m.target_id, m.shard, m.level, CAST($7 AS TEXT), \
                 CAST(SUM(CASE WHEN m.kind = 'index' THEN 0 ELSE m.rows_num END) AS BIGINT), \
                 CAST(SUM(m.bytes) AS BIGINT), CAST($8 AS BIGINT) \
                 FROM members m GROUP BY m.segment_id, m.target_id, m.shard, m.level"
            ),
            arguments,
        )
        .await?;
    require("segments", inserted, totals.segments)?;

    let mut arguments = of_members(job);
    add(&mut arguments, first_segment);
    add(&mut arguments, ts.0);
    add(&mut arguments, Timestamp::NEVER.0);
    let inserted = tx
        .execute(
            with_members!(
                "INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, \
                 rows_num, bytes, added_ts, removed_ts, deletes_before_ts) ",
                "SELECT CAST($6 AS BIGINT) + DENSE_RANK() OVER (ORDER BY m.segment_id) - 1, m.file_set_id, \
                 CAST($2 AS BIGINT), m.target_id, m.shard, m.kind, m.base_ts, m.rows_num, m.bytes, \
                 CAST($7 AS BIGINT), CAST($8 AS BIGINT), m.deletes_before_ts FROM members m"
            ),
            arguments,
        )
        .await?;
    require("memberships", inserted, totals.members)?;

    let referenced = file_sets::reference_members(tx, job.record.target).await?;
    require("shared file sets", referenced, totals.file_sets)
}

/// A difference is told as damage: the transaction saw one state of everything that it shares.
fn require(what: &str, found: u64, expected: u64) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(MetaError::Corrupt(format!("a clone wrote {found} {what} instead of {expected}")))
}
