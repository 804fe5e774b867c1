//! Giving a compaction to a worker, and what that one reads and writes.

use super::{ClaimOf, CompactionRow, Work, abort, inputs_hold, locked, move_task, work};
use crate::clock::lock_if_live;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::file_sets::{self, NewIntent};
use crate::machines::refused;
use crate::model::{Assignment, CompactionWork, FileKind};
use crate::reads::version_at;
use crate::rows::{expired_before, files, from_json, object_key, select_files};
use crate::{Coordinator, Meta};
use elanus_lifecycle::deletes::GROUP_TIMESTAMPS_MAX;
use elanus_lifecycle::task::{Event, State};
use elanus_lifecycle::{Refusal, Step};
use elanus_types::key::{FileName, SegmentPlace};
use elanus_types::{FileSetId, Generation, NodeId, SegmentId, TaskId, Timestamp};
use sqlx::Row;

/// The inputs of the compaction `$2`.
const INPUTS: &str = select_files!(
    "(m.segment_id, m.file_set_id) IN (SELECT i.segment_id, i.file_set_id FROM compaction_inputs i WHERE i.task_id = $2)"
);

/// Delete logs of the shard `$3` that were members at `$2` and apply to the partition `$4`; those whose last timestamp is
/// before all rows, which begin at `$5`, hide none of them.
const LOGS: &str = select_files!(
    "m.added_ts <= $2 AND $2 < m.removed_ts AND m.kind = 'delete' AND m.shard = $3 AND m.partition_id IN ($4, -1) \
     AND m.base_ts > $5"
);

impl Coordinator {
    /// Gives a compaction to a worker, with a new file set and key; `None` when another claim came first, when it is void
    /// (then it has ended), and while a rollback holds the collection.
    pub(crate) async fn claim_compaction(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        lease_until_ms: i64,
    ) -> Result<Option<Assignment>> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let Some(work) = work(&mut tx, id).await? else { return Ok(None) };
        let clock = lock_if_live(&mut tx, work.collection).await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        let Some(clock) = clock else {
            abort(&mut tx, &row).await?;
            return tx.commit().await.map(|()| None);
        };
        if clock.is_held(now_ms) {
            return Ok(None);
        }
        if !inputs_hold(&mut tx, id, &work).await? {
            abort(&mut tx, &row).await?;
            return tx.commit().await.map(|()| None);
        }
        let claim = Event::Claim { node: node.clone(), now_ms, lease_until_ms };
        let claimed = match move_task(&mut tx, &row, generation, &claim).await? {
            Step::Move(claimed, _) => claimed,
            Step::Repeat | Step::Fenced | Step::Refuse(Refusal::TooEarly { .. }) => return Ok(None),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        };
        self.plan_target(&mut tx, id, &work, clock.last_ts, node, lease_until_ms).await?;
        tx.commit().await?;
        Ok(Some(assignment(&row, claimed.generation())))
    }

    /// What the worker of a compaction was given; `None` when it is with no worker.
    pub(crate) async fn compaction_assignment(&self, id: TaskId) -> Result<Option<Assignment>> {
        let mut tx = self.meta().db.read().await?;
        let row = locked(&mut tx, id).await?;
        let held = row.filter(|row| matches!(row.machine.state(), State::InProgress { .. }));
        Ok(held.map(|row| assignment(&row, row.machine.generation())))
    }

    async fn plan_target(
        &self,
        tx: &mut Tx,
        id: TaskId,
        work: &Work,
        view_ts: Timestamp,
        node: &NodeId,
        lease_until_ms: i64,
    ) -> Result<()> {
        let first = tx.allocate_ids(2).await?;
        let (segment, file_set) = (SegmentId(first), FileSetId(first + 1));
        let place = SegmentPlace { collection: work.collection, partition: work.partition, segment };
        let name = FileName { file_set, ordinal: 0, random: self.meta().db.random() };
        let intent = NewIntent {
            id: file_set,
            kind: FileKind::Insert,
            collection: work.collection,
            owner: node.clone(),
            lease_until_ms,
            job: None,
            task: Some(id),
            keys: vec![self.meta().keys().insert_log(place, 0, name)],
        };
        file_sets::register(tx, &[intent]).await?;
        // Rows expire also while nothing is committed, so this goes by the time of day, not by the collection's clock.
        let expired_before = expired_before(&version_at(tx, work.collection, None).await?.row, tx.now_ms)?;
        tx.execute_exactly(
            1,
            "the compaction",
            "UPDATE compactions SET view_ts = $2, target_segment_id = $3, target_file_set_id = $4, \
             expired_before_ts = $5 WHERE task_id = $1",
            args![id.0, view_ts.0, segment.0, file_set.0, expired_before.0],
        )
        .await
    }
}

fn assignment(row: &CompactionRow, generation: Generation) -> Assignment {
    Assignment { task: row.id, owner: row.owner(), generation, files: Vec::new(), traceparent: row.traceparent.clone() }
}

impl Meta {
    /// What the holder of a claim reads and writes; `None` when the claim is another's, or over.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn compaction_work(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
    ) -> Result<Option<CompactionWork>> {
        let mut tx = self.db.read().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        let mine = matches!(row.machine.state(), State::InProgress { node: holder, .. } if holder == node);
        if !mine || row.machine.generation() != generation {
            return Ok(None);
        }
        let Some(Work { collection, partition, shard, files: files_num, claim: Some(claim), .. }) =
            work(&mut tx, id).await?
        else {
            return Err(MetaError::Corrupt(format!("compaction {id} is with a worker and has no claim")));
        };
        let ClaimOf { view_ts, expired_before, file_set, .. } = claim;
        let mut inputs = files(&tx.all(INPUTS, args![collection.0, id.0]).await?)?;
        if inputs.len() as u64 != files_num {
            // Forgotten, long after they ended: publishing would be refused.
            return Ok(None);
        }
        inputs.sort_by_key(|file| (file.base_ts, file.file_set));
        let Some(oldest) = inputs.first().map(|file| file.base_ts) else { return Ok(None) };
        let base_ts = oldest.max(expired_before);
        // Less than that, no delete of a log is after the first row.
        let logs_after = oldest.0.saturating_sub(GROUP_TIMESTAMPS_MAX);
        let arguments = args![collection.0, view_ts.0, shard, partition.0, logs_after];
        let logs = files(&tx.all(LOGS, arguments).await?)?;
        let row = tx.one("SELECT object_key FROM objects WHERE file_set_id = $1", args![file_set.0]).await?;
        let target = object_key(row.try_get("object_key")?)?;
        let version = version_at(&mut tx, collection, Some(view_ts)).await?;
        let schema = from_json(&version.row, "schema_json")?;
        Ok(Some(CompactionWork { collection, view_ts, schema, inputs, logs, expired_before, base_ts, target }))
    }
}
