//! The end of a compaction that went well: one transaction under the collection's clock ends the inputs and adds the file
//! that takes their place (CP-1, CP-2), or finds that it is void (CP-3).
//!
//! The file was made of the inputs and of the deletes as of the claim's time. It is void when
//! * an input is no member any more, or is protected by now;
//! * the definition is another one since: the file has the columns of the old one;
//! * a log that was applied left the collection: a rollback took its deletes back;
//! * a log from before the claim's time came since: a rollback brought deletes back that were not applied, while the new
//!   file would say that all until that time are.

use super::{ClaimOf, Work, abort, inputs_hold, locked, move_task, work};
use crate::Coordinator;
use crate::clock::lock_if_live;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::events::{self, SegmentMove};
use crate::file_sets::{self, Abandon};
use crate::machines::refused;
use crate::memberships::{self, Ending, For};
use crate::model::{Answer, CompactedFile, StoredObject};
use crate::rows::{bigint, object_key};
use elanus_lifecycle::deletes::GROUP_TIMESTAMPS_MAX;
use elanus_lifecycle::task::Event;
use elanus_lifecycle::{Segment, Step};
use elanus_types::{Generation, NodeId, SegmentId, TaskId, Timestamp};
use sqlx::Row;

/// A row when what the file was made of is not what the collection has now; see the head of this file.
const CHANGED_SINCE: &str = "
SELECT 1 AS changed WHERE
     EXISTS (SELECT 1 FROM collection_versions v
             WHERE v.collection_id = $1 AND v.removed_ts = 9223372036854775807 AND v.added_ts > $2)
  OR EXISTS (SELECT 1 FROM memberships l
             WHERE l.collection_id = $1 AND l.removed_ts > $2 AND l.removed_ts < 9223372036854775807
             AND l.added_ts <= $2 AND l.kind = 'delete' AND l.shard = $3 AND l.partition_id IN ($4, -1)
             -- Others hide no row of the inputs, and end when a compaction finds that out.
             AND COALESCE(l.deletes_before_ts, l.base_ts + $6) > (SELECT MIN(COALESCE(m.deletes_before_ts, m.base_ts)) FROM compaction_inputs i
                                   JOIN memberships m ON m.segment_id = i.segment_id AND m.file_set_id = i.file_set_id
                                   WHERE i.task_id = $5))
  OR EXISTS (SELECT 1 FROM memberships l
             WHERE l.collection_id = $1 AND l.added_ts > $2 AND l.base_ts <= $2
             AND l.kind = 'delete' AND l.shard = $3 AND l.partition_id IN ($4, -1))";

impl Coordinator {
    /// Publishes what is left of the inputs of a claimed compaction; `None` when nothing is. A void one ends, which its
    /// worker need not know.
    ///
    /// # Errors
    /// 8 while a rollback holds the collection: the worker says it again.
    pub(super) async fn finish_compaction(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        file: Option<&CompactedFile>,
    ) -> Result<Answer> {
        let mut tx = self.write().await?;
        let Some(Work { collection, .. }) = work(&mut tx, id).await? else { return Ok(Answer::Fenced) };
        let clock = lock_if_live(&mut tx, collection).await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(Answer::Fenced) };
        if !row.may_be_held_by(node) {
            return Ok(Answer::Fenced);
        }
        match row.machine.step(generation, &Event::Finish) {
            Step::Move(..) => {}
            Step::Repeat => return Ok(Answer::Accepted),
            Step::Fenced => return Ok(Answer::Fenced),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        let Some(mut clock) = clock else {
            abort(&mut tx, &row).await?;
            return tx.commit().await.map(|()| Answer::Accepted);
        };
        clock.require_not_held(tx.now_ms)?;
        // Of the claim that is this worker's: the row is locked now.
        let work = work(&mut tx, id).await?;
        let Some((work, claim)) = work.as_ref().and_then(|work| Some((work, work.claim.as_ref()?))) else {
            return Err(MetaError::Corrupt(format!("compaction {id} is with a worker and has no claim")));
        };
        if !inputs_hold(&mut tx, id, work).await? || changed_since(&mut tx, id, work, claim.view_ts).await? {
            abort(&mut tx, &row).await?; // CP-3
            return tx.commit().await.map(|()| Answer::Accepted);
        }
        if let Step::Refuse(refusal) = move_task(&mut tx, &row, generation, &Event::Finish).await? {
            return Err(refused(&refusal));
        }
        let ts = clock.tick(&mut tx).await?;
        let not_before_ms = self.not_before_ms(&tx);
        exchange(&mut tx, id, work, claim, node, file, ts, not_before_ms).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        Ok(Answer::Accepted)
    }
}

async fn changed_since(tx: &mut Tx, id: TaskId, work: &Work, view_ts: Timestamp) -> Result<bool> {
    let arguments = args![work.collection.0, view_ts.0, work.shard, work.partition.0, id.0, GROUP_TIMESTAMPS_MAX];
    Ok(tx.optional(CHANGED_SINCE, arguments).await?.is_some())
}

/// Ends the inputs at `ts` and adds what takes their place.
#[expect(clippy::too_many_arguments, reason = "all of it is read once, in the transaction that this belongs to")]
async fn exchange(
    tx: &mut Tx,
    id: TaskId,
    work: &Work,
    claim: &ClaimOf,
    node: &NodeId,
    file: Option<&CompactedFile>,
    ts: Timestamp,
    not_before_ms: i64,
) -> Result<()> {
    let (rows_left, bytes_left) = file.map_or((0, 0), |file| (file.rows, file.size));
    if rows_left > work.rows || file.is_some_and(|file| file.rows == 0) {
        return Err(MetaError::Corrupt(format!("compaction {id} left {rows_left} of {} rows in a file", work.rows)));
    }
    let row = tx
        .one(
            "SELECT MIN(m.base_ts) AS base_ts FROM compaction_inputs i JOIN memberships m \
             ON m.segment_id = i.segment_id AND m.file_set_id = i.file_set_id WHERE i.task_id = $1",
            args![id.0],
        )
        .await?;
    let base_ts = Timestamp(row.try_get("base_ts")?).max(claim.expired_before);
    let ended =
        memberships::end(tx, work.collection, Ending::Compaction(id), ts, For::Successor, not_before_ms).await?;
    if ended != work.files {
        return Err(MetaError::Corrupt(format!("compaction {id} ended {ended} of {} inputs", work.files)));
    }
    match file {
        Some(file) => add(tx, work, claim, node, file, ts, base_ts).await?,
        None => {
            let now_ms = tx.now_ms;
            file_sets::abandon(tx, Abandon::Compaction(id), now_ms).await?;
        }
    }
    let dropped = tx
        .all(
            "UPDATE segments SET state = 'dropped', writer = NULL WHERE collection_id = $2 AND state <> 'dropped' \
             AND segment_id IN (SELECT i.segment_id FROM compaction_inputs i WHERE i.task_id = $1) \
             AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.segment_id = segments.segment_id \
                             AND m.removed_ts = 9223372036854775807) RETURNING segment_id",
            args![id.0, work.collection.0],
        )
        .await?;
    let dropped: Vec<SegmentId> =
        dropped.iter().map(|row| Ok(SegmentId(row.try_get("segment_id")?))).collect::<Result<_>>()?;
    events::segments(tx, work.collection, dropped, SegmentMove::Dropped).await?;
    tx.execute_exactly(
        1,
        "the compaction",
        "UPDATE compactions SET rows_left = $2, bytes_left = $3 WHERE task_id = $1",
        args![id.0, bigint(rows_left), bigint(bytes_left)],
    )
    .await
}

/// The new file in a segment of its own.
async fn add(
    tx: &mut Tx,
    work: &Work,
    claim: &ClaimOf,
    node: &NodeId,
    file: &CompactedFile,
    ts: Timestamp,
    base_ts: Timestamp,
) -> Result<()> {
    let row = tx.one("SELECT object_key FROM objects WHERE file_set_id = $1", args![claim.file_set.0]).await?;
    let key = object_key(row.try_get("object_key")?)?;
    let object = StoredObject { key, size: file.size, checksum: file.checksum };
    if !file_sets::commit_file_set(tx, claim.file_set, node, &[object]).await? {
        return Err(MetaError::Corrupt(format!("file set {} of a compaction is live already", claim.file_set)));
    }
    let (rows, bytes) = (bigint(file.rows), bigint(file.size));
    tx.execute(
        "INSERT INTO segments (segment_id, collection_id, partition_id, shard, level, state, rows_num, bytes, \
         created_ts) VALUES ($1, $2, $3, $4, 'l1', $5, $6, $7, $8)",
        args![
            claim.segment.0,
            work.collection.0,
            work.partition.0,
            work.shard,
            Segment::flushed().label().to_owned(),
            rows,
            bytes,
            ts.0
        ],
    )
    .await?;
    // What was deleted until the claim's time is not in the file.
    let deletes_before_ts = claim.view_ts.0 + 1;
    tx.execute(
        "INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, rows_num, \
         bytes, added_ts, removed_ts, deletes_before_ts) \
         VALUES ($1, $2, $3, $4, $5, 'insert', $6, $7, $8, $9, 9223372036854775807, $10)",
        args![
            claim.segment.0,
            claim.file_set.0,
            work.collection.0,
            work.partition.0,
            work.shard,
            base_ts.0,
            rows,
            bytes,
            ts.0,
            deletes_before_ts
        ],
    )
    .await?;
    events::segments(tx, work.collection, [claim.segment], SegmentMove::Made).await
}
