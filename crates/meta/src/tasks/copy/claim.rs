//! Giving a task to a worker: a claim, and what it may write.

use super::{CopyRow, locked, move_task};
use crate::Coordinator;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::file_sets::{self, NewIntent};
use crate::machines::refused;
use crate::model::{Assignment, CopyFile, FileKind};
use crate::rows::{kind, object_key, stored_object};
use elanus_lifecycle::task::{Event, State};
use elanus_lifecycle::{Refusal, Step};
use elanus_types::key::{FileName, KeySpace, SegmentPlace, indexed_field};
use elanus_types::{CollectionId, FileSetId, Generation, JobId, NodeId, ObjectKey, PartitionId, SegmentId, TaskId};
use sqlx::Row;
use sqlx::any::AnyRow;

impl Coordinator {
    /// Gives a copy task to a worker, with new file sets and keys; nothing when another claim, or the end of the job, came
    /// first. `None` when this is no copy task.
    pub(in crate::tasks) async fn claim_copy(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        lease_until_ms: i64,
    ) -> Result<Option<Option<Assignment>>> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        let claim = Event::Claim { node: node.clone(), now_ms, lease_until_ms };
        let claimed = match move_task(&mut tx, &row, generation, &claim).await? {
            Step::Move(claimed, _) => claimed,
            Step::Repeat | Step::Fenced | Step::Refuse(Refusal::TooEarly { .. }) => return Ok(Some(None)),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        };
        self.plan_keys(&mut tx, &row, node, lease_until_ms).await?;
        let assignment = assignment_of(&mut tx, &row, claimed.generation()).await?;
        tx.commit().await?;
        Ok(Some(Some(assignment)))
    }

    /// File sets and keys of a new claim, one file set for each of the task's source file sets.
    async fn plan_keys(&self, tx: &mut Tx, row: &CopyRow, node: &NodeId, lease_until_ms: i64) -> Result<()> {
        let objects = tx
            .all(
                "SELECT i.source_file_set_id, i.source_segment_id, i.kind, o.object_key, i.target_segment_id, \
                 i.target_partition_id, j.target_collection_id \
                 FROM copy_items i JOIN restore_jobs j ON j.job_id = i.job_id \
                 JOIN objects o ON o.file_set_id = i.source_file_set_id \
                 WHERE i.task_id = $1 ORDER BY i.source_file_set_id, i.source_segment_id, o.ordinal",
                args![row.id.0],
            )
            .await?;
        let objects: Vec<SourceObject> = objects.iter().map(SourceObject::read).collect::<Result<_>>()?;
        let sets: Vec<&[SourceObject]> = objects.chunk_by(|a, b| a.source == b.source).collect();
        let first = tx.allocate_ids(u32::try_from(sets.len()).unwrap_or(u32::MAX)).await?;
        let keys = self.meta().keys();
        let intents: Vec<NewIntent> = (first..)
            .map(FileSetId)
            .zip(&sets)
            .map(|(id, objects)| {
                let keys: Result<Vec<ObjectKey>> = objects
                    .iter()
                    .enumerate()
                    .map(|(ordinal, object)| {
                        object.target_key(keys, FileName { file_set: id, ordinal, random: self.meta().db.random() })
                    })
                    .collect();
                Ok(NewIntent {
                    id,
                    kind: objects[0].kind,
                    collection: objects[0].target.collection,
                    owner: node.clone(),
                    lease_until_ms,
                    job: Some(JobId(row.owner_id)),
                    task: Some(row.id),
                    keys: keys?,
                })
            })
            .collect::<Result<_>>()?;
        file_sets::register(tx, &intents).await?;
        tx.execute_exactly(
            u64::try_from(sets.len()).unwrap_or(u64::MAX),
            "a file of the copy task",
            // Numbered as the loop above numbered them.
            "UPDATE copy_items SET target_file_set_id = n.target FROM \
             (SELECT s.source_file_set_id, s.source_segment_id, \
              $2 - 1 + ROW_NUMBER() OVER (ORDER BY s.source_file_set_id, s.source_segment_id) AS target \
              FROM copy_items s WHERE s.task_id = $1) n \
             WHERE copy_items.task_id = $1 AND copy_items.source_file_set_id = n.source_file_set_id \
             AND copy_items.source_segment_id = n.source_segment_id",
            args![row.id.0, first],
        )
        .await
    }

    /// What the worker of a copy task was given; `None` when it is with no worker.
    pub(in crate::tasks) async fn copy_assignment(&self, id: TaskId) -> Result<Option<Assignment>> {
        let mut tx = self.meta().db.read().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        match row.machine.state() {
            State::InProgress { .. } => assignment_of(&mut tx, &row, row.machine.generation()).await.map(Some),
            State::Pending { .. } | State::Completed | State::Failed { .. } => Ok(None),
        }
    }
}

/// The objects of a claim, sources paired with targets.
async fn assignment_of(tx: &mut Tx, row: &CopyRow, generation: Generation) -> Result<Assignment> {
    let objects = tx
        .all(
            "SELECT s.object_key, s.size_bytes, s.checksum, t.object_key AS target_key \
             FROM copy_items i JOIN objects s ON s.file_set_id = i.source_file_set_id \
             JOIN objects t ON t.file_set_id = i.target_file_set_id AND t.ordinal = s.ordinal \
             WHERE i.task_id = $1 ORDER BY i.source_file_set_id, i.source_segment_id, s.ordinal",
            args![row.id.0],
        )
        .await?;
    let files = objects
        .iter()
        .map(|object| {
            let target = object_key(object.try_get("target_key")?)?;
            Ok(CopyFile { source: stored_object(object)?, target })
        })
        .collect::<Result<_>>()?;
    let traceparent = row.traceparent.clone();
    Ok(Assignment { task: row.id, owner: row.owner(), generation, files, traceparent })
}

/// An object to copy, and where its copy belongs.
struct SourceObject {
    source: (FileSetId, SegmentId),
    kind: FileKind,
    key: ObjectKey,
    target: SegmentPlace,
}

impl SourceObject {
    fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            source: (FileSetId(row.try_get("source_file_set_id")?), SegmentId(row.try_get("source_segment_id")?)),
            kind: kind(row.try_get("kind")?)?,
            key: object_key(row.try_get("object_key")?)?,
            target: SegmentPlace {
                collection: CollectionId(row.try_get("target_collection_id")?),
                partition: PartitionId(row.try_get("target_partition_id")?),
                segment: SegmentId(row.try_get("target_segment_id")?),
            },
        })
    }

    fn target_key(&self, keys: &KeySpace, file: FileName) -> Result<ObjectKey> {
        match self.kind {
            FileKind::Insert => Ok(keys.insert_log(self.target, file.ordinal, file)),
            FileKind::Delete => Ok(keys.delta_log(self.target, file)),
            FileKind::Index => match indexed_field(&self.key) {
                Some(field) => Ok(keys.index_file(self.target, field, file)),
                None => {
                    Err(MetaError::Corrupt(format!("object {} does not say of which field it is an index", self.key)))
                }
            },
            FileKind::Manifest => Err(MetaError::Corrupt("a manifest is no member that can be copied".to_owned())),
        }
    }
}
