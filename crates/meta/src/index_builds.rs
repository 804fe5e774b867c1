//! Index builds: one index of one field of one file of rows. Every change of a row's state is a step of
//! `elanus_lifecycle::task`.
//!
//! IX-1  An index belongs to one file of rows, which never changes, and never changes itself. It is a member of the file's
//!       segment with the file's `base_ts`, by which it names the file: so clones, copies, rollbacks and rebuilds, which
//!       keep both, keep what it is of. Its key says its field.
//! IX-2  It holds no longer than its file: what ends the membership of the file ends that of the index in the same
//!       transaction.
//! IX-3  It holds no longer than a definition of its field, and serves the present one: an index is published only while the
//!       definition that it was built for holds, and dropping that ends it in the same transaction.
//! IX-4  A build whose file or definition ended since its claim is void: its index is abandoned, never published.
//! IX-5  Readers see no change, but that they are faster: an index that is missing, or that fits no longer, is no error.
//!
//! Each claim gets a file set and a key of its own, as with copies. Where several are locked, the collection's row comes
//! before the task's, and that before those of file sets.

mod claim;
mod plan;
mod publish;

use crate::Coordinator;
use crate::db::{Tx, args};
use crate::definitions::{INDEXES_NOW, index_info};
use crate::error::Result;
use crate::file_sets::{self, Abandon};
use crate::machines::refused;
use crate::memberships::{self, Ending, For};
use crate::model::{Answer, FileRecord, Revoked, TaskMessage, TaskOwner, TaskRecord};
use crate::partition_drops::left_behind;
use crate::rows::{files, select_files};
use crate::tasks::{TaskRow, Tasks, select_tasks, until_stopped, write_move};
use elanus_lifecycle::file_set;
use elanus_lifecycle::task::{BuildIndex, Effect, Event, State};
use elanus_lifecycle::{IndexBuild, Step};
use elanus_types::key::indexed_field;
use elanus_types::schema::IndexInfo;
use elanus_types::{
    CollectionId, Failure, FieldId, FileSetId, Generation, IndexId, NodeId, SegmentId, TaskId, Timestamp,
};
use sqlx::Row;
use sqlx::any::AnyRow;

type BuildRow = TaskRow<BuildIndex>;

/// What [`TaskRow::read`] needs of an index build.
macro_rules! select_builds {
    ($rest:literal) => {
        select_tasks!("CAST(NULL AS TEXT) AS traceparent, t.collection_id", $rest)
    };
}

/// Pending builds that may be tried now; collections take turns (O-1).
pub(crate) const PENDING: &str = select_builds!(
    "(SELECT p.*, ROW_NUMBER() OVER (PARTITION BY p.collection_id ORDER BY p.task_id) AS turn \
     FROM index_builds p WHERE p.state = 'pending' AND p.not_before_ms <= $1) t \
     ORDER BY t.turn, t.collection_id LIMIT $2"
);

/// Builds that are with a worker.
pub(crate) const IN_PROGRESS: &str = select_builds!("index_builds t WHERE t.state = 'in_progress' ORDER BY t.task_id");

/// Indexes of the collection `$1` that hold now.
const BUILT: &str = select_files!(
    "m.removed_ts = 9223372036854775807 AND m.kind = 'index' AND m.partition_id NOT IN ",
    left_behind!("$1")
);

/// The file of rows of a build, while it is a member.
const INPUT: &str = select_files!(
    "m.segment_id = $2 AND m.file_set_id = $3 AND m.kind = 'insert' AND m.removed_ts = 9223372036854775807 \
     AND m.partition_id NOT IN ",
    left_behind!("$1")
);

impl Tasks for BuildIndex {
    const UPDATE: &'static str = "UPDATE index_builds SET state = $1, attempt = $2, generation = $3, worker = $4, \
         lease_until_ms = $5, not_before_ms = $6, reason = $7, message = $8 \
         WHERE task_id = $9 AND state = $10 AND generation = $11";

    fn owner(id: i64) -> TaskOwner {
        TaskOwner::Index(CollectionId(id))
    }
}

/// What a build is for, and what its last claim may write.
struct Work {
    collection: CollectionId,
    index: IndexId,
    field: FieldId,
    segment: SegmentId,
    file_set: FileSetId,
    target: Option<FileSetId>,
}

/// The record of a row that was read with one of the statements above.
pub(crate) fn record(row: &AnyRow) -> Result<TaskRecord> {
    Ok(BuildRow::read(row)?.record())
}

impl Coordinator {
    /// What the worker of one claim of an index build says.
    pub(crate) async fn report_index_build(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        message: &TaskMessage,
    ) -> Result<Answer> {
        if let TaskMessage::Indexed(file) = message {
            return self.finish_index_build(id, generation, node, *file).await;
        }
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(Answer::Fenced) };
        if !row.may_be_held_by(node) {
            return Ok(Answer::Fenced);
        }
        if matches!(message, TaskMessage::Finished | TaskMessage::Compacted(_)) {
            let text = format!("task {id} builds an index, and its worker does not say which");
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

    /// Takes a build from its worker, where it is still with it.
    pub(crate) async fn take_back_index_build(
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

/// Ends the indexes of a field of a locked collection with its definition, at `ts` (IX-3).
pub(crate) async fn end_of_field(
    tx: &mut Tx,
    collection: CollectionId,
    field: FieldId,
    ts: Timestamp,
    not_before_ms: i64,
) -> Result<()> {
    let mut built = files(&tx.all(BUILT, args![collection.0]).await?)?;
    built.retain(|file| field_of(file) == Some(field));
    let members: Vec<_> = built.iter().map(|file| (file.segment, file.file_set)).collect();
    // Like what a user drops: an index can be built again, no row is lost.
    memberships::end(tx, collection, Ending::Members(&members), ts, For::User, not_before_ms).await?;
    Ok(())
}

/// The field that an index is of.
fn field_of(file: &FileRecord) -> Option<FieldId> {
    indexed_field(&file.objects.first()?.key)
}

/// Steps a build that is locked, and writes what the step returned.
async fn move_task(tx: &mut Tx, row: &BuildRow, stamp: Generation, event: &Event) -> Result<Step<IndexBuild, Effect>> {
    let step = write_move(tx, row, stamp, event).await?;
    let Step::Move(after, _) = &step else { return Ok(step) };
    if let (State::InProgress { lease_until_ms, .. }, State::Pending { .. } | State::Failed { .. }) =
        (row.machine.state(), after.state())
    {
        let not_before_ms = until_stopped(event, tx.now_ms, *lease_until_ms);
        file_sets::abandon(tx, Abandon::IndexBuild(row.id), not_before_ms).await?;
    }
    if matches!(after.state(), State::Completed | State::Failed { .. }) {
        let now_ms = tx.now_ms;
        tx.execute("UPDATE index_builds SET ended_ms = $2 WHERE task_id = $1", args![row.id.0, now_ms]).await?;
    }
    Ok(step)
}

/// Ends a build that nobody needs any more.
async fn abort(tx: &mut Tx, row: &BuildRow) -> Result<()> {
    match move_task(tx, row, row.machine.generation(), &Event::Abort).await? {
        Step::Move(..) | Step::Repeat | Step::Fenced => Ok(()),
        Step::Refuse(refusal) => Err(refused(&refusal)),
    }
}

/// The lease of what the present claim writes goes with that of the claim; false when it was taken away.
async fn renew_target(tx: &mut Tx, id: TaskId, by: &NodeId, lease_until_ms: i64) -> Result<bool> {
    let Some(target) = work(tx, id).await?.and_then(|work| work.target) else { return Ok(false) };
    let renew = file_set::Event::Renew { by: by.clone(), lease_until_ms };
    Ok(match file_sets::move_file_set(tx, target, &renew).await? {
        Step::Move(..) | Step::Repeat => true,
        Step::Fenced => false,
        Step::Refuse(refusal) => return Err(refused(&refusal)),
    })
}

/// The build, locked when the transaction writes.
async fn locked(tx: &mut Tx, id: TaskId) -> Result<Option<BuildRow>> {
    tx.optional(select_builds!("index_builds t WHERE t.task_id = $1 /*FOR UPDATE*/"), args![id.0])
        .await?
        .map(|row| TaskRow::read(&row))
        .transpose()
}

/// What does not change while a claim lasts.
async fn work(tx: &mut Tx, id: TaskId) -> Result<Option<Work>> {
    let row = tx
        .optional(
            "SELECT collection_id, index_id, field_id, segment_id, file_set_id, target_file_set_id \
             FROM index_builds WHERE task_id = $1",
            args![id.0],
        )
        .await?;
    row.map(|row| {
        Ok(Work {
            collection: CollectionId(row.try_get("collection_id")?),
            index: IndexId(row.try_get("index_id")?),
            field: FieldId(row.try_get("field_id")?),
            segment: SegmentId(row.try_get("segment_id")?),
            file_set: FileSetId(row.try_get("file_set_id")?),
            target: row.try_get::<Option<i64>, _>("target_file_set_id")?.map(FileSetId),
        })
    })
    .transpose()
}

/// The file and the definition of a build, while both hold and the file has no such index (IX-4). Also nothing where another
/// file of the segment has the same first timestamp: an index could not say of which it is.
async fn holds(tx: &mut Tx, work: &Work) -> Result<Option<(FileRecord, IndexInfo)>> {
    let collection = work.collection.0;
    let input = tx.all(INPUT, args![collection, work.segment.0, work.file_set.0]).await?;
    let Some(input) = files(&input)?.pop() else { return Ok(None) };
    let definitions = tx.all(INDEXES_NOW, args![collection]).await?;
    let definitions: Vec<IndexInfo> = definitions.iter().map(index_info).collect::<Result<_>>()?;
    let Some(index) = definitions.into_iter().find(|index| index.id == work.index) else { return Ok(None) };
    let same = tx
        .all(
            "SELECT file_set_id FROM memberships WHERE segment_id = $1 AND base_ts = $2 AND kind = 'insert' \
             AND removed_ts = 9223372036854775807",
            args![work.segment.0, input.base_ts.0],
        )
        .await?;
    let built = files(&tx.all(BUILT, args![collection]).await?)?;
    let there = built.iter().any(|file| {
        file.segment == work.segment && file.base_ts == input.base_ts && field_of(file) == Some(work.field)
    });
    Ok((same.len() == 1 && !there).then_some((input, index)))
}
