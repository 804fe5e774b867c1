//! Dropped partitions. The call writes two rows, however large the partition is; its memberships are ended afterwards, in
//! chunks, by the task that releases.
//!
//! PD-1  From the transaction of the drop on, no reader of a later time sees a membership of the partition, and every reader
//!       of an earlier time sees all of them, whether their rows say so already or not: what reads memberships leaves out
//!       [`left_behind`], and what looks for memberships that ended finds them here as well ([`dropped_members`]).
//! PD-2  A chunk ends memberships at the time of the drop, so it changes nothing that anybody reads.
//! PD-3  A chunk releases what it ends, in its transaction, unless a snapshot of an earlier time than the drop protects it.
//! PD-4  Nothing joins a dropped partition: a write or a copy commits only where its partition still holds. So what lies
//!       before the last membership that a chunk looked at needs no second look.

use crate::db::{Tx, args};
use crate::error::Result;
use crate::memberships::{For, take_back};
use elanus_types::{CollectionId, FileSetId, PartitionId, SegmentId, Timestamp};
use sqlx::Row;

/// Segments that a chunk looks at.
const SEGMENTS_MAX: i64 = 100;
/// References that a transaction releases that has to release them all.
const SETTLED_AT_ONCE: u32 = 1_000;

/// Partitions of the collection `$collection` that were dropped until `$ts`, or ever, and whose memberships do not all say
/// so: for `partition_id NOT IN (…)`.
macro_rules! left_behind {
    ($collection:literal) => {
        concat!("(SELECT d.partition_id FROM partition_drops d WHERE d.collection_id = ", $collection, ")")
    };
    ($collection:literal, $ts:literal) => {
        concat!(
            "(SELECT d.partition_id FROM partition_drops d WHERE d.collection_id = ",
            $collection,
            " AND d.dropped_ts <= ",
            $ts,
            ")"
        )
    };
}
pub(crate) use left_behind;

/// A FROM and WHERE: the memberships `m` of the collection `$1` that held at `$2` and ended until `$3` with their partition,
/// and whose rows do not say so. CROSS JOIN, which SQLite does in the order in which it stands: few drops come first, then
/// the segments of each.
macro_rules! dropped_members {
    () => {
        "FROM partition_drops d CROSS JOIN segments s JOIN memberships m ON m.segment_id = s.segment_id \
         WHERE s.collection_id = d.collection_id AND s.partition_id = d.partition_id \
         AND d.collection_id = $1 AND $2 < d.dropped_ts AND d.dropped_ts <= $3 \
         AND m.removed_ts = 9223372036854775807 AND m.added_ts <= $2"
    };
}
pub(crate) use dropped_members;

/// Notes that a partition of a locked collection was dropped in this transaction.
pub(crate) async fn note(tx: &mut Tx, collection: CollectionId, partition: PartitionId, at: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO partition_drops (partition_id, collection_id, dropped_ts) VALUES ($1, $2, $3)",
        args![partition.0, collection.0, at.0],
    )
    .await
    .map(|_| ())
}

/// The collection of a partition that was dropped and is not done.
pub(crate) async fn collection_of(tx: &mut Tx, partition: PartitionId) -> Result<Option<CollectionId>> {
    let sql = "SELECT collection_id FROM partition_drops WHERE partition_id = $1";
    let row = tx.optional(sql, args![partition.0]).await?;
    row.map(|row| Ok(CollectionId(row.try_get("collection_id")?))).transpose()
}

/// The first partition of a collection that was dropped and is not done.
pub(crate) async fn first_of(tx: &mut Tx, collection: CollectionId) -> Result<Option<PartitionId>> {
    let sql = "SELECT MIN(partition_id) AS partition_id FROM partition_drops WHERE collection_id = $1";
    let row = tx.one(sql, args![collection.0]).await?;
    Ok(row.try_get::<Option<i64>, _>("partition_id")?.map(PartitionId))
}

/// Ends everything that left a locked collection with its partitions, for whoever is going to look at the rows.
pub(crate) async fn settle(tx: &mut Tx, collection: CollectionId, not_before_ms: i64) -> Result<()> {
    while let Some(partition) = first_of(tx, collection).await? {
        while end_chunk(tx, partition, SETTLED_AT_ONCE, not_before_ms).await?.is_some() {}
    }
    Ok(())
}

/// What is done of a drop.
struct Drop {
    collection: CollectionId,
    dropped_ts: Timestamp,
    /// The last membership that was looked at.
    segment: SegmentId,
    file_set: FileSetId,
}

/// Ends at most `limit` memberships of a dropped partition whose collection is locked, and releases those that no
/// snapshot protects; how many were released. `None` when none is left: then the drop is done.
pub(crate) async fn end_chunk(
    tx: &mut Tx,
    partition: PartitionId,
    limit: u32,
    not_before_ms: i64,
) -> Result<Option<u64>> {
    let Some(mut drop) = read(tx, partition).await? else { return Ok(None) };
    let last_snapshot = last_snapshot_before(tx, &drop).await?;
    let segments = segments(tx, partition, &drop).await?;
    let release = tx.allocate_ids(1).await?;
    let (mut ended, mut marked, mut done) = (0, 0, None);
    let first = drop.segment;
    for segment in &segments {
        let room = u64::from(limit).saturating_sub(ended);
        if room == 0 {
            break;
        }
        let after = if *segment == drop.segment { drop.file_set } else { FileSetId(0) };
        let rows = tx
            .all(
                "UPDATE memberships SET removed_ts = $3, \
                 release_id = CASE WHEN added_ts > $4 THEN CAST($5 AS BIGINT) END \
                 WHERE segment_id = $1 AND file_set_id IN (SELECT m.file_set_id FROM memberships m \
                 WHERE m.segment_id = $1 AND m.file_set_id > $2 AND m.removed_ts = 9223372036854775807 \
                 ORDER BY m.file_set_id LIMIT $6) RETURNING file_set_id, release_id",
                args![
                    segment.0,
                    after.0,
                    drop.dropped_ts.0,
                    last_snapshot.0,
                    release,
                    i64::try_from(room).unwrap_or(i64::MAX)
                ],
            )
            .await?;
        let mut last = after;
        for row in &rows {
            last = last.max(FileSetId(row.try_get("file_set_id")?));
            marked += u64::from(row.try_get::<Option<i64>, _>("release_id")?.is_some()); // PD-3
        }
        ended += rows.len() as u64;
        (drop.segment, drop.file_set) = (*segment, last);
        if (rows.len() as u64) < room {
            done = Some(*segment);
        }
    }
    if let Some(done) = done {
        end_segments(tx, partition, &drop, first, done).await?;
    }
    if ended == 0 && segments.len() < usize::try_from(SEGMENTS_MAX).unwrap_or(usize::MAX) {
        tx.execute("DELETE FROM partition_drops WHERE partition_id = $1", args![partition.0]).await?;
        return Ok(None);
    }
    // PD-4. Of segments that were empty, the last one is looked at again.
    tx.execute(
        "UPDATE partition_drops SET segment_id = $2, file_set_id = $3 WHERE partition_id = $1",
        args![partition.0, drop.segment.0, drop.file_set.0],
    )
    .await?;
    Ok(Some(take_back(tx, release, marked, drop.collection, For::User, not_before_ms).await?.memberships))
}

async fn read(tx: &mut Tx, partition: PartitionId) -> Result<Option<Drop>> {
    let row = tx
        .optional(
            "SELECT collection_id, dropped_ts, segment_id, file_set_id FROM partition_drops WHERE partition_id = $1",
            args![partition.0],
        )
        .await?;
    row.map(|row| {
        Ok(Drop {
            collection: CollectionId(row.try_get("collection_id")?),
            dropped_ts: Timestamp(row.try_get("dropped_ts")?),
            segment: SegmentId(row.try_get("segment_id")?),
            file_set: FileSetId(row.try_get("file_set_id")?),
        })
    })
    .transpose()
}

/// Of all snapshots before the drop that protect, the last one decides (IV-1). Later ones never saw the partition.
async fn last_snapshot_before(tx: &mut Tx, drop: &Drop) -> Result<Timestamp> {
    let row = tx
        .one(
            "SELECT COALESCE(MAX(create_ts), -1) AS last_ts FROM snapshots \
             WHERE collection_id = $1 AND create_ts < $2 AND state <> 'deleting'",
            args![drop.collection.0, drop.dropped_ts.0],
        )
        .await?;
    Ok(Timestamp(row.try_get("last_ts")?))
}

/// The next segments of the partition, from the one on that was looked at last.
async fn segments(tx: &mut Tx, partition: PartitionId, drop: &Drop) -> Result<Vec<SegmentId>> {
    let rows = tx
        .all(
            "SELECT segment_id FROM segments WHERE collection_id = $1 AND partition_id = $2 AND segment_id >= $3 \
             ORDER BY segment_id LIMIT $4",
            args![drop.collection.0, partition.0, drop.segment.0, SEGMENTS_MAX],
        )
        .await?;
    rows.iter().map(|row| Ok(SegmentId(row.try_get("segment_id")?))).collect()
}

/// Segments in which nothing is left.
async fn end_segments(
    tx: &mut Tx,
    partition: PartitionId,
    drop: &Drop,
    first: SegmentId,
    last: SegmentId,
) -> Result<()> {
    tx.execute(
        "UPDATE segments SET state = 'dropped', writer = NULL WHERE collection_id = $1 AND partition_id = $2 \
         AND segment_id >= $3 AND segment_id <= $4 AND state <> 'dropped'",
        args![drop.collection.0, partition.0, first.0, last.0],
    )
    .await
    .map(|_| ())
}
