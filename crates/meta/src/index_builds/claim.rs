//! Giving a build to a worker, and what that one reads and writes.

use super::{BuildRow, Work, abort, holds, locked, move_task, work};
use crate::clock::lock_if_live;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::file_sets::{self, NewIntent};
use crate::machines::refused;
use crate::model::{Assignment, FileKind, FileRecord, IndexWork};
use crate::reads::version_at;
use crate::rows::{from_json, object_key};
use crate::{Coordinator, Meta};
use elanus_lifecycle::task::{Event, State};
use elanus_lifecycle::{Refusal, Step};
use elanus_types::key::{FileName, SegmentPlace};
use elanus_types::{FileSetId, Generation, NodeId, TaskId};
use sqlx::Row;

impl Coordinator {
    /// Gives a build to a worker, with a new file set and key; `None` when another claim came first, when it is void (then it
    /// has ended), and while a rollback holds the collection.
    pub(crate) async fn claim_index_build(
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
        let Some((input, _)) = holds(&mut tx, &work).await? else {
            abort(&mut tx, &row).await?;
            return tx.commit().await.map(|()| None);
        };
        let claim = Event::Claim { node: node.clone(), now_ms, lease_until_ms };
        let claimed = match move_task(&mut tx, &row, generation, &claim).await? {
            Step::Move(claimed, _) => claimed,
            Step::Repeat | Step::Fenced | Step::Refuse(Refusal::TooEarly { .. }) => return Ok(None),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        };
        self.plan_index(&mut tx, id, &work, &input, node, lease_until_ms).await?;
        tx.commit().await?;
        Ok(Some(assignment(&row, claimed.generation())))
    }

    /// What the worker of a build was given; `None` when it is with no worker.
    pub(crate) async fn index_build_assignment(&self, id: TaskId) -> Result<Option<Assignment>> {
        let mut tx = self.meta().db.read().await?;
        let row = locked(&mut tx, id).await?;
        let held = row.filter(|row| matches!(row.machine.state(), State::InProgress { .. }));
        Ok(held.map(|row| assignment(&row, row.machine.generation())))
    }

    async fn plan_index(
        &self,
        tx: &mut Tx,
        id: TaskId,
        work: &Work,
        input: &FileRecord,
        node: &NodeId,
        lease_until_ms: i64,
    ) -> Result<()> {
        let file_set = FileSetId(tx.allocate_ids(1).await?);
        let place = SegmentPlace { collection: work.collection, partition: input.partition, segment: work.segment };
        let name = FileName { file_set, ordinal: 0, random: self.meta().db.random() };
        let intent = NewIntent {
            id: file_set,
            kind: FileKind::Index,
            collection: work.collection,
            owner: node.clone(),
            lease_until_ms,
            job: None,
            task: Some(id),
            keys: vec![self.meta().keys().index_file(place, work.field, name)],
        };
        file_sets::register(tx, &[intent]).await?;
        tx.execute_exactly(
            1,
            "the index build",
            "UPDATE index_builds SET target_file_set_id = $2 WHERE task_id = $1",
            args![id.0, file_set.0],
        )
        .await
    }
}

fn assignment(row: &BuildRow, generation: Generation) -> Assignment {
    Assignment { task: row.id, owner: row.owner(), generation, files: Vec::new(), traceparent: row.traceparent.clone() }
}

impl Meta {
    /// What the holder of a claim reads and writes; `None` when the claim is another's, or over, or void by now.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn index_work(&self, id: TaskId, generation: Generation, node: &NodeId) -> Result<Option<IndexWork>> {
        let mut tx = self.db.read().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        let mine = matches!(row.machine.state(), State::InProgress { node: holder, .. } if holder == node);
        if !mine || row.machine.generation() != generation {
            return Ok(None);
        }
        let Some(work @ Work { collection, target: Some(target), .. }) = work(&mut tx, id).await? else {
            return Err(MetaError::Corrupt(format!("index build {id} is with a worker and has no claim")));
        };
        let Some((input, index)) = holds(&mut tx, &work).await? else { return Ok(None) };
        let row = tx.one("SELECT object_key FROM objects WHERE file_set_id = $1", args![target.0]).await?;
        let target = object_key(row.try_get("object_key")?)?;
        let version = version_at(&mut tx, collection, None).await?;
        let schema = from_json(&version.row, "schema_json")?;
        Ok(Some(IndexWork { collection, schema, index, input, target }))
    }
}
