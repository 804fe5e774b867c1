//! Compactions: files of one (collection, partition, shard) become one file, without the rows that are deleted. Every
//! change of a row's state is a step of `elanus_lifecycle::task`.
//!
//! CP-1  Readers see no change: the new file holds exactly the rows of the inputs that no delete until the claim's time
//!       hides and that had not expired at it, each with its own timestamp, and takes the place of the inputs in one transaction under the collection's
//!       clock. Later deletes hide rows of the new file as they would have hidden them in the old ones.
//! CP-2  Memberships are ended, not changed: a snapshot that was taken before holds the inputs, one that is taken later the
//!       new file.
//! CP-3  A compaction whose inputs, deletes or schema changed since its claim is void: its file is abandoned, never
//!       published. See [`publish`].
//! CP-4  What a snapshot holds that asked compaction to wait is no input, from the snapshot's commit until its time is over.
//! CP-5  A delete log ends only when no file of rows that holds now can have a row that it hides. See [`logs`].
//!
//! Each claim gets a file set and a key of its own, as with copies. Where several are locked, the collection's row comes
//! before the task's, and that before those of file sets.

mod claim;
mod list;
mod logs;
mod plan;
mod publish;

use crate::Coordinator;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::file_sets::{self, Abandon};
use crate::machines::refused;
use crate::model::{Answer, Revoked, TaskMessage, TaskOwner, TaskRecord};
use crate::partition_drops::left_behind;
use crate::rows::count;
use crate::tasks::{TaskRow, Tasks, select_tasks, until_stopped, write_move};
use elanus_lifecycle::file_set;
use elanus_lifecycle::task::{Compact, Effect, Event, State};
use elanus_lifecycle::{Compaction, Step};
use elanus_types::{CollectionId, Failure, FileSetId, Generation, NodeId, PartitionId, SegmentId, TaskId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

type CompactionRow = TaskRow<Compact>;

/// What [`TaskRow::read`] needs of a compaction.
macro_rules! select_compactions {
    ($rest:literal) => {
        select_tasks!("CAST(NULL AS TEXT) AS traceparent, t.collection_id", $rest)
    };
}

/// Pending compactions that may be tried now; collections take turns (O-1).
pub(crate) const PENDING: &str = select_compactions!(
    "(SELECT p.*, ROW_NUMBER() OVER (PARTITION BY p.collection_id ORDER BY p.task_id) AS turn \
     FROM compactions p WHERE p.state = 'pending' AND p.not_before_ms <= $1) t \
     ORDER BY t.turn, t.collection_id LIMIT $2"
);

/// Compactions that are with a worker.
pub(crate) const IN_PROGRESS: &str =
    select_compactions!("compactions t WHERE t.state = 'in_progress' ORDER BY t.task_id");

impl Tasks for Compact {
    const UPDATE: &'static str = "UPDATE compactions SET state = $1, attempt = $2, generation = $3, worker = $4, \
         lease_until_ms = $5, not_before_ms = $6, reason = $7, message = $8 \
         WHERE task_id = $9 AND state = $10 AND generation = $11";

    fn owner(id: i64) -> TaskOwner {
        TaskOwner::Collection(CollectionId(id))
    }
}

/// What a compaction is made of, and what its last claim may write.
struct Work {
    collection: CollectionId,
    partition: PartitionId,
    shard: i64,
    files: u64,
    rows: u64,
    claim: Option<ClaimOf>,
}

/// What is fixed when a claim is given.
struct ClaimOf {
    view_ts: Timestamp,
    /// Rows that were written before have expired.
    expired_before: Timestamp,
    segment: SegmentId,
    file_set: FileSetId,
}

/// The record of a row that was read with one of the statements above.
pub(crate) fn record(row: &AnyRow) -> Result<TaskRecord> {
    Ok(CompactionRow::read(row)?.record())
}

impl Coordinator {
    /// What the worker of one claim of a compaction says.
    pub(crate) async fn report_compaction(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        message: &TaskMessage,
    ) -> Result<Answer> {
        if let TaskMessage::Compacted(file) = message {
            return self.finish_compaction(id, generation, node, file.as_ref()).await;
        }
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(Answer::Fenced) };
        if !row.may_be_held_by(node) {
            return Ok(Answer::Fenced);
        }
        if matches!(message, TaskMessage::Finished | TaskMessage::Indexed(_)) {
            let text = format!("task {id} compacts, and its worker does not say what is left");
            return Err(Failure::invalid(text).into());
        }
        let event = message.event(tx.now_ms);
        match move_task(&mut tx, &row, generation, &event).await? {
            Step::Move(..) => {}
            Step::Repeat => return Ok(Answer::Accepted),
            Step::Fenced => return Ok(Answer::Fenced),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        if let TaskMessage::Heartbeat { lease_until_ms, .. } = message
            && !renew_target(&mut tx, id, node, *lease_until_ms).await?
        {
            return Ok(Answer::Fenced);
        }
        tx.commit().await?;
        Ok(Answer::Accepted)
    }

    /// Takes a compaction from its worker, where it is still with it.
    pub(crate) async fn take_back_compaction(
        &self,
        id: TaskId,
        generation: Generation,
        event: &Event,
    ) -> Result<Option<Revoked>> {
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        match move_task(&mut tx, &row, generation, event).await? {
            Step::Move(..) => {}
            Step::Repeat | Step::Fenced => return Ok(None),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        tx.commit().await?;
        Ok(row.revoked())
    }
}

/// Steps a compaction that is locked, and writes what the step returned.
async fn move_task(
    tx: &mut Tx,
    row: &CompactionRow,
    stamp: Generation,
    event: &Event,
) -> Result<Step<Compaction, Effect>> {
    let step = write_move(tx, row, stamp, event).await?;
    let Step::Move(after, _) = &step else { return Ok(step) };
    if let (State::InProgress { lease_until_ms, .. }, State::Pending { .. } | State::Failed { .. }) =
        (row.machine.state(), after.state())
    {
        let not_before_ms = until_stopped(event, tx.now_ms, *lease_until_ms);
        file_sets::abandon(tx, Abandon::Compaction(row.id), not_before_ms).await?;
    }
    if matches!(after.state(), State::Completed | State::Failed { .. }) {
        let now_ms = tx.now_ms;
        tx.execute("UPDATE compactions SET ended_ms = $2 WHERE task_id = $1", args![row.id.0, now_ms]).await?;
    }
    Ok(step)
}

/// Ends a compaction that nobody needs any more.
async fn abort(tx: &mut Tx, row: &CompactionRow) -> Result<()> {
    match move_task(tx, row, row.machine.generation(), &Event::Abort).await? {
        Step::Move(..) | Step::Repeat | Step::Fenced => Ok(()),
        Step::Refuse(refusal) => Err(refused(&refusal)),
    }
}

/// The lease of the file that the present claim writes goes with that of the claim; false when the file was taken away.
async fn renew_target(tx: &mut Tx, id: TaskId, by: &NodeId, lease_until_ms: i64) -> Result<bool> {
    let Some(claim) = work(tx, id).await?.and_then(|work| work.claim) else { return Ok(false) };
    let renew = file_set::Event::Renew { by: by.clone(), lease_until_ms };
    Ok(match file_sets::move_file_set(tx, claim.file_set, &renew).await? {
        Step::Move(..) | Step::Repeat => true,
        Step::Fenced => false,
        Step::Refuse(refusal) => return Err(refused(&refusal)),
    })
}

/// The compaction, locked when the transaction writes.
async fn locked(tx: &mut Tx, id: TaskId) -> Result<Option<CompactionRow>> {
    tx.optional(select_compactions!("compactions t WHERE t.task_id = $1 /*FOR UPDATE*/"), args![id.0])
        .await?
        .map(|row| TaskRow::read(&row))
        .transpose()
}

/// What does not change while a claim lasts.
async fn work(tx: &mut Tx, id: TaskId) -> Result<Option<Work>> {
    let row = tx
        .optional(
            "SELECT collection_id, partition_id, shard, files_num, rows_num, view_ts, expired_before_ts, \
             target_segment_id, target_file_set_id FROM compactions WHERE task_id = $1",
            args![id.0],
        )
        .await?;
    row.map(|row| {
        let claim: [Option<i64>; 3] =
            [row.try_get("view_ts")?, row.try_get("target_segment_id")?, row.try_get("target_file_set_id")?];
        let claim = match claim {
            [Some(ts), Some(segment), Some(file_set)] => Some(ClaimOf {
                view_ts: Timestamp(ts),
                expired_before: Timestamp(row.try_get("expired_before_ts")?),
                segment: SegmentId(segment),
                file_set: FileSetId(file_set),
            }),
            [None, None, None] => None,
            _ => return Err(MetaError::Corrupt(format!("compaction {id} has half of a claim"))),
        };
        Ok(Work {
            collection: CollectionId(row.try_get("collection_id")?),
            partition: PartitionId(row.try_get("partition_id")?),
            shard: row.try_get("shard")?,
            files: count(&row, "files_num")?,
            rows: count(&row, "rows_num")?,
            claim,
        })
    })
    .transpose()
}

/// True when every input is a member still, and in no snapshot that asked compaction to wait (CP-4).
async fn inputs_hold(tx: &mut Tx, id: TaskId, work: &Work) -> Result<bool> {
    let now_ms = tx.now_ms;
    let row = tx
        .one(
            concat!(
                "SELECT COUNT(*) AS members_num FROM compaction_inputs i JOIN memberships m \
             ON m.segment_id = i.segment_id AND m.file_set_id = i.file_set_id \
             WHERE i.task_id = $1 AND m.collection_id = $2 AND m.removed_ts = 9223372036854775807 \
             AND m.partition_id NOT IN ",
                left_behind!("$2"),
                " AND m.added_ts > (SELECT COALESCE(MAX(s.create_ts), -1) FROM snapshots s WHERE s.collection_id = $2 \
             AND s.state <> 'deleting' AND s.compaction_protected_until_ms > $3)"
            ),
            args![id.0, work.collection.0, now_ms],
        )
        .await?;
    Ok(count(&row, "members_num")? == work.files)
}
