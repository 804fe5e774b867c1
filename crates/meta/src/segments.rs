//! The segments of a collection as users list them: those with rows, and how many. Never writes.

use crate::Meta;
use crate::db::args;
use crate::error::Result;
use crate::partition_drops::left_behind;
use crate::reads::version_at;
use crate::rows::{count, shard};
use elanus_types::{CollectionId, PartitionId, SegmentId, Shard};
use sqlx::Row;

const SEGMENTS: &str = concat!(
    "
SELECT s.segment_id, s.partition_id, s.shard, s.state, m.rows_num, m.bytes
FROM (SELECT segment_id, CAST(SUM(rows_num) AS BIGINT) AS rows_num, CAST(SUM(bytes) AS BIGINT) AS bytes
      FROM memberships WHERE collection_id = $1 AND removed_ts = 9223372036854775807 AND kind = 'insert'
      GROUP BY segment_id) m
JOIN segments s ON s.segment_id = m.segment_id AND s.collection_id = $1
WHERE s.partition_id NOT IN ",
    left_behind!("$1"),
    " ORDER BY s.segment_id"
);

/// A segment with rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRecord {
    /// Its id.
    pub id: SegmentId,
    /// Its partition.
    pub partition: PartitionId,
    /// Its shard.
    pub shard: Shard,
    /// A node still appends to it.
    pub growing: bool,
    /// Rows in its files, deleted ones as well.
    pub rows: u64,
    /// Bytes of its files of rows.
    pub bytes: u64,
}

impl Meta {
    /// The segments of a live collection that have rows, by id.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn segments(&self, collection: CollectionId) -> Result<Vec<SegmentRecord>> {
        let mut tx = self.db.read().await?;
        version_at(&mut tx, collection, None).await?;
        let rows = tx.all(SEGMENTS, args![collection.0]).await?;
        rows.iter()
            .map(|row| {
                Ok(SegmentRecord {
                    id: SegmentId(row.try_get("segment_id")?),
                    partition: PartitionId(row.try_get("partition_id")?),
                    shard: shard(row)?,
                    growing: row.try_get::<&str, _>("state")? == "growing",
                    rows: count(row, "rows_num")?,
                    bytes: count(row, "bytes")?,
                })
            })
            .collect()
    }
}
