//! Everything that a snapshot holds, page by page: what a listing needs in memory does not grow with the collection.

use crate::Meta;
use crate::db::args;
use crate::error::Result;
use crate::model::{FileRecord, Members};
use crate::partition_drops::left_behind;
use crate::rows::{count, file_columns, files};
use elanus_types::{CollectionId, Timestamp};

const MEMBERS_NUM: &str = concat!(
    "SELECT COUNT(*) AS members_num, COUNT(DISTINCT m.segment_id) AS segments_num FROM memberships m \
     WHERE m.collection_id = $1 AND m.added_ts <= $2 AND $2 < m.removed_ts AND m.partition_id NOT IN ",
    left_behind!("$1", "$2")
);

/// Members at `$2` behind the file set `$5` of the segment `$4` of the partition `$3`, at most `$6` of them.
const FILES_PAGE: &str = concat!(
    "SELECT ",
    file_columns!(),
    " FROM (SELECT m.* FROM segments s JOIN memberships m ON m.segment_id = s.segment_id \
     WHERE s.collection_id = $1 AND (s.partition_id, s.segment_id) >= ($3, $4) \
     AND (s.segment_id <> $4 OR m.file_set_id > $5) \
     AND m.added_ts <= $2 AND $2 < m.removed_ts AND m.partition_id NOT IN ",
    left_behind!("$1", "$2"),
    " ORDER BY s.partition_id, s.segment_id, m.file_set_id LIMIT $6) m \
     JOIN objects o ON o.file_set_id = m.file_set_id ORDER BY m.partition_id, segment_id, file_set_id, ordinal"
);

impl Meta {
    /// How many file sets the collection has at `at`, and in how many segments. Exact as long as a snapshot protects `at`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn members_at(&self, collection: CollectionId, at: Timestamp) -> Result<Members> {
        let mut tx = self.db.read().await?;
        let row = tx.one(MEMBERS_NUM, args![collection.0, at.0]).await?;
        Ok(Members { file_sets: count(&row, "members_num")?, segments: count(&row, "segments_num")? })
    }

    /// The next `limit` file sets that the collection has at `at`, in the order of partitions, segments and file sets, behind
    /// `after`. Exact as long as a snapshot protects `at`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn files_page(
        &self,
        collection: CollectionId,
        at: Timestamp,
        after: Option<&FileRecord>,
        limit: usize,
    ) -> Result<Vec<FileRecord>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (partition, segment, file_set) =
            after.map_or((i64::MIN, 0, 0), |last| (last.partition.0, last.segment.0, last.file_set.0));
        let mut tx = self.db.read().await?;
        let rows = tx.all(FILES_PAGE, args![collection.0, at.0, partition, segment, file_set, limit]).await?;
        files(&rows)
    }
}
