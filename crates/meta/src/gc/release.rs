//! Dropped snapshots, collections and partitions give back what they referenced: a chunk a call, in one transaction, in the
//! order of a key. Dying between two chunks costs nothing: what is released has left the state that the next call scans.
//!
//! Every chunk holds the row of its collection. What it decides on (which snapshots protect, whether the collection is
//! dropped) changes only under that row or only towards less protection.

use super::{brakes, undrop};
use crate::clock::lock_any;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::file_sets::bind;
use crate::history::{Told, record, tell};
use crate::memberships::{For, release_step, take_back};
use crate::pins;
use crate::snapshots::{self, SnapshotRow};
use crate::{Coordinator, Meta, partition_drops};
use elanus_lifecycle::file_set::Brake;
use elanus_lifecycle::snapshot::{Event, MACHINE};
use elanus_lifecycle::{Gap, Step};
use elanus_types::{CollectionId, PartitionId, SnapshotId, Timestamp};
use sqlx::Row;

/// Snapshots of a dropped collection that end in one chunk.
const SNAPSHOTS_MAX: i64 = 100;

/// What is to be released.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Snapshots that are deleting.
    pub snapshots: Vec<SnapshotId>,
    /// Dropped collections that cannot come back from the trash any more.
    pub collections: Vec<CollectionId>,
    /// Dropped partitions of which memberships have to end.
    pub partitions: Vec<PartitionId>,
}

/// What a chunk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many references were released; there may be more.
    More(u64),
    /// Nothing is left.
    Done,
    /// Not now.
    Kept(Brake),
}

impl Meta {
    /// Dropped snapshots, collections and partitions whose references wait to be released, at most `limit` of each.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn to_be_released(&self, limit: u32) -> Result<Waiting> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let snapshots = tx
            .all(
                "SELECT snapshot_id FROM snapshots WHERE state = 'deleting' ORDER BY snapshot_id LIMIT $1",
                args![i64::from(limit)],
            )
            .await?;
        let collections = tx
            .all(
                "SELECT collection_id FROM collections WHERE state = 'dropped' AND released_ms IS NULL \
                 AND (trash_until_ms IS NULL OR trash_until_ms <= $1) ORDER BY collection_id LIMIT $2",
                args![now_ms, i64::from(limit)],
            )
            .await?;
        let partitions = tx
            .all("SELECT partition_id FROM partition_drops ORDER BY partition_id LIMIT $1", args![i64::from(limit)])
            .await?;
        Ok(Waiting {
            partitions: partitions
                .iter()
                .map(|row| Ok(PartitionId(row.try_get("partition_id")?)))
                .collect::<Result<_>>()?,
            snapshots: snapshots
                .iter()
                .map(|row| Ok(SnapshotId(row.try_get("snapshot_id")?)))
                .collect::<Result<_>>()?,
            collections: collections
                .iter()
                .map(|row| Ok(CollectionId(row.try_get("collection_id")?)))
                .collect::<Result<_>>()?,
        })
    }
}

impl Coordinator {
    /// Releases at most `limit` references of a snapshot that is deleting: first the memberships that only it protected,
    /// then its manifests and its metadata object. Its row ends with the last one.
    ///
    /// # Errors
    /// [`MetaError::Corrupt`] when the references do not add up: nothing of the chunk happened.
    pub async fn release_snapshot(&self, id: SnapshotId, limit: u32) -> Result<Progress> {
        let mut tx = self.write().await?;
        let Some(collection) = collection_of(&mut tx, id).await? else { return Ok(Progress::Done) };
        lock_any(&mut tx, collection).await?;
        let Some(row) = snapshots::locked(&mut tx, id).await? else { return Ok(Progress::Done) };
        if row.machine.protects() {
            return Err(MetaError::Corrupt(format!("snapshot {id} protects, what it references is not released")));
        }
        if let Some(brake) = brakes::on_collection(&mut tx, collection).await? {
            return Ok(Progress::Kept(brake));
        }
        let not_before_ms = self.not_before_ms(&tx);
        let released = release_members(&mut tx, &row, limit, not_before_ms).await?;
        let released = match released {
            0 => release_files(&mut tx, &row, limit, not_before_ms).await?,
            n => n,
        };
        if released > 0 {
            tx.commit().await?;
            return Ok(Progress::More(released));
        }
        forget_snapshot(&mut tx, &row).await?;
        tx.commit().await?;
        Ok(Progress::Done)
    }

    /// Ends at most `limit` memberships of a dropped partition, and releases those that no snapshot protects.
    ///
    /// # Errors
    /// [`MetaError::Corrupt`] when the references do not add up: nothing of the chunk happened.
    pub async fn release_partition(&self, id: PartitionId, limit: u32) -> Result<Progress> {
        let mut tx = self.write().await?;
        let Some(collection) = partition_drops::collection_of(&mut tx, id).await? else { return Ok(Progress::Done) };
        lock_any(&mut tx, collection).await?;
        if let Some(brake) = brakes::on_collection(&mut tx, collection).await? {
            return Ok(Progress::Kept(brake));
        }
        let not_before_ms = self.not_before_ms(&tx);
        let ended = partition_drops::end_chunk(&mut tx, id, limit, not_before_ms).await?;
        tx.commit().await?;
        Ok(ended.map_or(Progress::Done, Progress::More))
    }

    /// Ends the snapshots of a dropped collection that cannot come back any more, and releases at most `limit` of its
    /// memberships.
    ///
    /// # Errors
    /// [`MetaError::Corrupt`] when the references do not add up: nothing of the chunk happened.
    pub async fn release_collection(&self, id: CollectionId, limit: u32) -> Result<Progress> {
        let mut tx = self.write().await?;
        lock_any(&mut tx, id).await?;
        let now_ms = tx.now_ms;
        let dropped = tx
            .optional(
                "SELECT dropped_ts FROM collections WHERE collection_id = $1 AND state = 'dropped' \
                 AND released_ms IS NULL AND (trash_until_ms IS NULL OR trash_until_ms <= $2)",
                args![id.0, now_ms],
            )
            .await?;
        let Some(dropped) = dropped else { return Ok(Progress::Done) };
        let dropped_ts = Timestamp(dropped.try_get("dropped_ts")?);
        if let Some(brake) = brakes::on_collection(&mut tx, id).await? {
            return Ok(Progress::Kept(brake));
        }
        let pinned = pins::of_collection(&mut tx, id).await?;
        if pinned.is_some() {
            return Ok(Progress::Kept(Brake::Held));
        }
        let ended = self.end_snapshots_of(&mut tx, id).await?;
        if ended > 0 {
            tx.commit().await?;
            return Ok(Progress::More(ended));
        }
        let not_before_ms = self.not_before_ms(&tx);
        // What left with its partition ended with that, and not with the collection.
        if let Some(partition) = partition_drops::first_of(&mut tx, id).await? {
            let ended = partition_drops::end_chunk(&mut tx, partition, limit, not_before_ms).await?;
            tx.commit().await?;
            return Ok(Progress::More(ended.unwrap_or_default()));
        }
        let released = release_all(&mut tx, id, dropped_ts, limit, not_before_ms).await?;
        if released > 0 {
            tx.commit().await?;
            return Ok(Progress::More(released));
        }
        tx.execute(
            "UPDATE segments SET state = 'dropped', writer = NULL WHERE collection_id = $1 AND state <> 'dropped'",
            args![id.0],
        )
        .await?;
        tx.execute_exactly(
            1,
            "the dropped collection",
            "UPDATE collections SET released_ms = $2, trash_until_ms = NULL WHERE collection_id = $1 AND state = 'dropped'",
            args![id.0, now_ms],
        )
        .await?;
        let told = Told {
            machine: "collection",
            id: id.0,
            event: "released",
            from: "dropped",
            to: "dropped",
            detail: String::new(),
        };
        record(&mut tx, &told).await?;
        tx.commit().await?;
        Ok(Progress::Done)
    }

    /// Releases at most `limit` memberships of all collections that ended, that no snapshot protects, and that are
    /// references all the same: an older program ended them. How many.
    ///
    /// # Errors
    /// [`MetaError::Corrupt`] when the references do not add up; when the store is away.
    pub async fn release_missed(&self, limit: u32) -> Result<u64> {
        const MISSED: &str = "SELECT m.collection_id, m.removed_ts FROM memberships m \
             WHERE m.release_id IS NULL AND m.removed_ts < 9223372036854775807 AND NOT EXISTS \
             (SELECT 1 FROM snapshots s WHERE s.collection_id = m.collection_id AND s.create_ts >= m.added_ts \
              AND s.create_ts < m.removed_ts AND s.state <> 'deleting') LIMIT 1";
        let mut read = self.meta().db.read().await?;
        let Some(row) = read.optional(MISSED, args![]).await? else { return Ok(0) };
        drop(read);
        let collection = CollectionId(row.try_get("collection_id")?);
        let mut tx = self.write().await?;
        lock_any(&mut tx, collection).await?;
        let release = tx.allocate_ids(1).await?;
        let marked = tx
            .execute(
                "UPDATE memberships SET release_id = $2 WHERE (segment_id, file_set_id) IN \
                 (SELECT m.segment_id, m.file_set_id FROM memberships m WHERE m.collection_id = $1 \
                  AND m.release_id IS NULL AND m.removed_ts < 9223372036854775807 AND NOT EXISTS \
                  (SELECT 1 FROM snapshots s WHERE s.collection_id = $1 AND s.create_ts >= m.added_ts \
                   AND s.create_ts < m.removed_ts AND s.state <> 'deleting') LIMIT $3)",
                args![collection.0, release, i64::from(limit)],
            )
            .await?;
        let not_before_ms = self.not_before_ms(&tx);
        take_back(&mut tx, release, marked, collection, For::System, not_before_ms).await?;
        if marked > 0 {
            tx.commit().await?;
        }
        Ok(marked)
    }

    /// Snapshots of a dropped collection that still protect end with it; how many.
    async fn end_snapshots_of(&self, tx: &mut Tx, collection: CollectionId) -> Result<u64> {
        let rows = snapshots::protecting(tx, collection, SNAPSHOTS_MAX).await?;
        for row in &rows {
            self.end_in(tx, row, &Event::Drop { live_pin: None }).await?;
        }
        Ok(rows.len() as u64)
    }
}

async fn collection_of(tx: &mut Tx, id: SnapshotId) -> Result<Option<CollectionId>> {
    let row = tx.optional("SELECT collection_id FROM snapshots WHERE snapshot_id = $1", args![id.0]).await?;
    row.map(|row| Ok(CollectionId(row.try_get("collection_id")?))).transpose()
}

/// Marks and takes back what the end of a snapshot frees (IV-3).
async fn release_members(tx: &mut Tx, row: &SnapshotRow, limit: u32, not_before_ms: i64) -> Result<u64> {
    let (collection, at) = (row.record.collection, row.record.create_ts);
    let neighbours = tx
        .one(
            "SELECT (SELECT MAX(s.create_ts) FROM snapshots s WHERE s.collection_id = $1 AND s.create_ts <= $2 \
                     AND s.snapshot_id <> $3 AND s.state <> 'deleting') AS before_ts, \
                    (SELECT MIN(s.create_ts) FROM snapshots s WHERE s.collection_id = $1 AND s.create_ts > $2 \
                     AND s.state <> 'deleting') AS after_ts",
            args![collection.0, at.0, row.record.id.0],
        )
        .await?;
    let gap = Gap {
        before: neighbours.try_get::<Option<i64>, _>("before_ts")?.map(Timestamp),
        at,
        after: neighbours.try_get::<Option<i64>, _>("after_ts")?.map(Timestamp),
    };
    let release = tx.allocate_ids(1).await?;
    let marked = tx
        .execute(
            // `Gap::frees`, as a statement.
            "UPDATE memberships SET release_id = $6 WHERE (segment_id, file_set_id) IN \
             (SELECT m.segment_id, m.file_set_id FROM memberships m \
              WHERE m.collection_id = $1 AND m.release_id IS NULL AND m.removed_ts < 9223372036854775807 \
              AND m.removed_ts > $3 AND m.removed_ts <= $4 AND m.added_ts <= $3 AND m.added_ts > $2 \
              ORDER BY m.removed_ts, m.segment_id, m.file_set_id LIMIT $5)",
            args![
                collection.0,
                gap.before.map_or(-1, |ts| ts.0),
                gap.at.0,
                gap.after.unwrap_or(Timestamp::NEVER).0,
                i64::from(limit),
                release
            ],
        )
        .await?;
    let on_behalf = on_behalf_of(tx, row).await?;
    Ok(take_back(tx, release, marked, collection, on_behalf, not_before_ms).await?.memberships)
}

async fn on_behalf_of(tx: &mut Tx, row: &SnapshotRow) -> Result<For> {
    let row = tx.one("SELECT covered FROM snapshots WHERE snapshot_id = $1", args![row.record.id.0]).await?;
    Ok(if row.try_get::<i64, _>("covered")? != 0 { For::User } else { For::System })
}

/// The manifests and the metadata object of a snapshot, at most `limit`: one reference each. What was planned for it and
/// never written was abandoned before, and is no reference.
async fn release_files(tx: &mut Tx, row: &SnapshotRow, limit: u32, not_before_ms: i64) -> Result<u64> {
    let id = row.record.id.0;
    let last = tx
        .one(
            "SELECT MAX(c.file_set_id) AS last_id FROM (SELECT s.file_set_id FROM snapshot_file_sets s \
             WHERE s.snapshot_id = $1 ORDER BY s.file_set_id LIMIT $2) c",
            args![id, i64::from(limit)],
        )
        .await?;
    let Some(last) = last.try_get::<Option<i64>, _>("last_id")? else { return Ok(0) };
    let chunk = || args![id, last];
    // Locked in the order that shares of manifests keep, too.
    tx.one(
        "SELECT COUNT(*) AS locked_num FROM (SELECT f.file_set_id FROM file_sets f WHERE f.file_set_id IN \
         (SELECT s.file_set_id FROM snapshot_file_sets s WHERE s.snapshot_id = $1 AND s.file_set_id <= $2) \
         ORDER BY f.file_set_id /*FOR UPDATE*/) l",
        chunk(),
    )
    .await?;
    undrop::keep_files(tx, row.record.id, last).await?;
    let (before, queued) = release_step(1, not_before_ms)?;
    let on_behalf = on_behalf_of(tx, row).await?;
    let mut arguments = bind(&before.state, &queued);
    for argument in [id, last, on_behalf.covered(), row.record.collection.0] {
        crate::db::add(&mut arguments, argument);
    }
    tx.execute(
        // As `update_file_sets!`, with whose it was.
        concat!(
            "UPDATE file_sets SET ",
            crate::file_sets::update_file_sets_columns!(),
            ", covered = $12, collection_id = $13 WHERE state = $9 AND refs = 1 AND file_set_id IN \
             (SELECT s.file_set_id FROM snapshot_file_sets s WHERE s.snapshot_id = $10 AND s.file_set_id <= $11)"
        ),
        arguments,
    )
    .await?;
    let (before, _) = release_step(2, not_before_ms)?;
    tx.execute(
        "UPDATE file_sets SET refs = refs - 1 WHERE state = $3 AND refs > 1 AND file_set_id IN \
         (SELECT s.file_set_id FROM snapshot_file_sets s WHERE s.snapshot_id = $1 AND s.file_set_id <= $2)",
        args![id, last, before.state],
    )
    .await?;
    tx.execute("DELETE FROM snapshot_file_sets WHERE snapshot_id = $1 AND file_set_id <= $2", chunk()).await
}

/// The end of a snapshot's row: nothing of it is left.
async fn forget_snapshot(tx: &mut Tx, row: &SnapshotRow) -> Result<()> {
    let event = Event::ObjectsGone;
    let Step::Move(after, _) = row.machine.step(&event) else {
        return Err(MetaError::Corrupt(format!("snapshot {} does not end", row.record.id)));
    };
    for sql in [
        "DELETE FROM pins WHERE snapshot_id = $1",
        "DELETE FROM rollbacks WHERE snapshot_id = $1",
        "DELETE FROM rollbacks WHERE safety_snapshot_id = $1",
        "DELETE FROM snapshots WHERE snapshot_id = $1 AND state = 'deleting'",
    ] {
        tx.execute(sql, args![row.record.id.0]).await?;
    }
    let told = Told {
        machine: MACHINE,
        id: row.record.id.0,
        event: event.name(),
        from: row.machine.label(),
        to: after.label(),
        detail: String::new(),
    };
    tell(tx, MACHINE, &told).await
}

/// At most `limit` memberships of a collection that is gone, whatever their time. Those that held until its drop end with
/// it: so they leave the range that the next chunk scans.
async fn release_all(
    tx: &mut Tx,
    id: CollectionId,
    dropped_ts: Timestamp,
    limit: u32,
    not_before_ms: i64,
) -> Result<u64> {
    let release = tx.allocate_ids(1).await?;
    let limit = i64::from(limit);
    let mut marked = tx
        .execute(
            "UPDATE memberships SET release_id = $2, removed_ts = $4 WHERE (segment_id, file_set_id) IN \
             (SELECT m.segment_id, m.file_set_id FROM memberships m WHERE m.collection_id = $1 \
              AND m.removed_ts = 9223372036854775807 ORDER BY m.segment_id, m.file_set_id LIMIT $3)",
            args![id.0, release, limit, dropped_ts.0],
        )
        .await?;
    if marked == 0 {
        marked = tx
            .execute(
                "UPDATE memberships SET release_id = $2 WHERE (segment_id, file_set_id) IN \
                 (SELECT m.segment_id, m.file_set_id FROM memberships m WHERE m.collection_id = $1 \
                  AND m.release_id IS NULL AND m.removed_ts < 9223372036854775807 \
                  ORDER BY m.removed_ts, m.segment_id, m.file_set_id LIMIT $3)",
                args![id.0, release, limit],
            )
            .await?;
    }
    Ok(take_back(tx, release, marked, id, For::User, not_before_ms).await?.memberships)
}
