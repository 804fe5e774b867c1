//! The end of a build that went well: one transaction under the collection's clock makes the index a member beside its file,
//! or finds that it is void (IX-4).

use super::{Work, abort, holds, locked, move_task, work};
use crate::Coordinator;
use crate::clock::lock_if_live;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::file_sets;
use crate::machines::refused;
use crate::model::{Answer, FileRecord, IndexedFile, StoredObject};
use crate::rows::{bigint, object_key};
use elanus_lifecycle::Step;
use elanus_lifecycle::task::Event;
use elanus_types::{FileSetId, Generation, NodeId, TaskId, Timestamp};
use sqlx::Row;

impl Coordinator {
    /// Publishes the index of a claimed build. A void one ends, which its worker need not know.
    ///
    /// # Errors
    /// 8 while a rollback holds the collection: the worker says it again.
    pub(super) async fn finish_index_build(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        file: IndexedFile,
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
        let Some((work, target)) = work.as_ref().and_then(|work| Some((work, work.target?))) else {
            return Err(MetaError::Corrupt(format!("index build {id} is with a worker and has no claim")));
        };
        let Some((input, _)) = holds(&mut tx, work).await? else {
            abort(&mut tx, &row).await?; // IX-4
            return tx.commit().await.map(|()| Answer::Accepted);
        };
        if let Step::Refuse(refusal) = move_task(&mut tx, &row, generation, &Event::Finish).await? {
            return Err(refused(&refusal));
        }
        let ts = clock.tick(&mut tx).await?;
        add(&mut tx, work, target, &input, node, file, ts).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        Ok(Answer::Accepted)
    }
}

/// The index as a member of its file's segment (IX-1).
async fn add(
    tx: &mut Tx,
    work: &Work,
    target: FileSetId,
    input: &FileRecord,
    node: &NodeId,
    file: IndexedFile,
    ts: Timestamp,
) -> Result<()> {
    let row = tx.one("SELECT object_key FROM objects WHERE file_set_id = $1", args![target.0]).await?;
    let key = object_key(row.try_get("object_key")?)?;
    let object = StoredObject { key, size: file.size, checksum: file.checksum };
    if !file_sets::commit_file_set(tx, target, node, &[object]).await? {
        return Err(MetaError::Corrupt(format!("file set {target} of an index build is live already")));
    }
    tx.execute(
        "INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, rows_num, \
         bytes, added_ts, removed_ts) VALUES ($1, $2, $3, $4, $5, 'index', $6, $7, $8, $9, 9223372036854775807)",
        args![
            work.segment.0,
            target.0,
            work.collection.0,
            input.partition.0,
            i64::from(input.shard.0),
            input.base_ts.0,
            bigint(input.rows),
            bigint(file.size),
            ts.0
        ],
    )
    .await
    .map(drop)
}
