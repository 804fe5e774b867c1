//! What a collection is now, was at a time, and what changed since: for those who read files. Never writes.

use crate::Meta;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::model::{CollectionView, MembershipChanges, ViewChanges};
use crate::partition_drops::{dropped_members, left_behind};
use crate::rows::{aging, collection_not_found, file_columns, files, from_json, select_files, ttl_s};
use elanus_types::{CollectionId, Failure, FileSetId, PartitionId, SegmentId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

/// The version that held at `$2`, or that holds now where `$2` is NULL.
const VERSION_AT: &str = "
SELECT c.last_ts, v.schema_json, v.shards_num, v.consistency_level, v.properties_json, v.ages_from_ts, v.expired_before_ts
FROM collections c JOIN collection_versions v ON v.collection_id = c.collection_id
WHERE c.collection_id = $1
  -- Nobody sees a restore's target before it is published.
  AND c.state <> 'restoring'
  -- The collection's own life: it is not there before its creation and not after its drop, which moved last_ts.
  AND c.created_ts <= COALESCE(CAST($2 AS BIGINT), c.last_ts)
  AND (c.dropped_ts IS NULL OR COALESCE(CAST($2 AS BIGINT), c.last_ts) < c.dropped_ts)
  AND v.added_ts <= COALESCE(CAST($2 AS BIGINT), c.last_ts)
  AND COALESCE(CAST($2 AS BIGINT), c.last_ts) < v.removed_ts";

pub(crate) const PARTITIONS_AT: &str = "
SELECT partition_id, name FROM partitions
WHERE collection_id = $1 AND added_ts <= $2 AND $2 < removed_ts
ORDER BY partition_id";

/// The clock of a live collection, and since when its version holds.
const LIVE_VERSION: &str = "
SELECT c.last_ts, v.added_ts AS version_ts
FROM collections c JOIN collection_versions v ON v.collection_id = c.collection_id
WHERE c.collection_id = $1 AND c.state = 'live' AND v.removed_ts = 9223372036854775807";

/// Until when facts of the collection are forgotten, whether `$2` is the time of a snapshot that protects, and whether a file
/// that was a member then is on its way out.
const PAST: &str = "
SELECT c.forgotten_ts,
       CASE WHEN EXISTS (SELECT 1 FROM snapshots s WHERE s.collection_id = c.collection_id AND s.create_ts = $2
                         AND s.state <> 'deleting') THEN 1 ELSE 0 END AS is_protected,
       CASE WHEN EXISTS (SELECT 1 FROM memberships m JOIN file_sets f ON f.file_set_id = m.file_set_id
                         WHERE m.collection_id = c.collection_id AND m.added_ts <= $2 AND $2 < m.removed_ts
                         AND m.removed_ts <= c.last_ts AND f.state IN ('deleting', 'gone')) THEN 1 ELSE 0 END AS is_deleted
FROM collections c WHERE c.collection_id = $1";

const FILES_AT: &str =
    select_files!("m.added_ts <= $2 AND $2 < m.removed_ts AND m.partition_id NOT IN ", left_behind!("$1", "$2"));

/// Members at `$3` that were not members at `$2`.
const FILES_ADDED: &str = select_files!(
    "$2 < m.added_ts AND m.added_ts <= $3 AND $3 < m.removed_ts AND m.partition_id NOT IN ",
    left_behind!("$1", "$3")
);

/// Members at `$2` that are not members at `$3`.
const MEMBERS_REMOVED: &str = concat!(
    "SELECT segment_id, file_set_id FROM memberships \
     WHERE collection_id = $1 AND $2 < removed_ts AND removed_ts <= $3 AND added_ts <= $2 \
     UNION ALL SELECT m.segment_id, m.file_set_id ",
    dropped_members!(),
    " ORDER BY segment_id, file_set_id"
);

/// [`MEMBERS_REMOVED`] with their files.
const FILES_REMOVED: &str = select_files!(
    "$2 < m.removed_ts AND m.removed_ts <= $3 AND m.added_ts <= $2 UNION ALL SELECT ",
    file_columns!(),
    " FROM (SELECT m.* ",
    dropped_members!(),
    ") m JOIN objects o ON o.file_set_id = m.file_set_id"
);

/// Among the segments of which a membership began or ended after `$2` and until `$3`: those with members at `$3`, and at
/// `$2`. A segment that has any of these members is found at the first one.
const SEGMENTS_CHANGED: &str = concat!(
    "
SELECT CAST(COALESCE(SUM(t.is_there), 0) AS BIGINT) AS after_num,
       CAST(COALESCE(SUM(t.was_there), 0) AS BIGINT) AS before_num
FROM (SELECT
        CASE WHEN EXISTS (SELECT 1 FROM memberships m WHERE m.segment_id = s.segment_id
                          AND m.added_ts <= $3 AND $3 < m.removed_ts AND m.partition_id NOT IN ",
    left_behind!("$1", "$3"),
    ") THEN 1 ELSE 0 END AS is_there,
        CASE WHEN EXISTS (SELECT 1 FROM memberships m WHERE m.segment_id = s.segment_id
                          AND m.added_ts <= $2 AND $2 < m.removed_ts AND m.partition_id NOT IN ",
    left_behind!("$1", "$2"),
    ") THEN 1 ELSE 0 END AS was_there
      FROM (SELECT segment_id FROM memberships WHERE collection_id = $1 AND $2 < added_ts AND added_ts <= $3
            UNION
            SELECT segment_id FROM memberships WHERE collection_id = $1 AND $2 < removed_ts AND removed_ts <= $3
            UNION
            SELECT m.segment_id ",
    dropped_members!(),
    ") s) t"
);

/// The version of a collection at a time.
pub(crate) struct VersionAt {
    /// Never after the last commit: what is committed later must count as later.
    pub(crate) ts: Timestamp,
    /// With the columns of `collection_versions`.
    pub(crate) row: AnyRow,
}

/// The version at `at`, or now; 100 when the collection was not there then.
pub(crate) async fn version_at(tx: &mut Tx, collection: CollectionId, at: Option<Timestamp>) -> Result<VersionAt> {
    let row = tx
        .optional(VERSION_AT, args![collection.0, at.map(|ts| ts.0)])
        .await?
        .ok_or_else(|| collection_not_found(collection))?;
    let last_ts = Timestamp(row.try_get("last_ts")?);
    Ok(VersionAt { ts: at.map_or(last_ts, |at| at.min(last_ts)), row })
}

impl Meta {
    /// Timestamp of the last commit to the collection; `None` when it is not live.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn last_ts(&self, collection: CollectionId) -> Result<Option<Timestamp>> {
        let mut tx = self.db.read().await?;
        live_ts(&mut tx, collection).await
    }

    /// The collection at `at` (also when it was dropped later), or now. `view.ts` is `at`, or the last commit where that
    /// is earlier: [`Meta::changes`] after it misses nothing.
    ///
    /// # Errors
    /// 100 when the collection was not there; 1100 when what it was then is forgotten or deleted; when the store is away.
    pub async fn view(&self, collection: CollectionId, at: Option<Timestamp>) -> Result<CollectionView> {
        let mut tx = self.db.read().await?;
        let VersionAt { ts, row } = version_at(&mut tx, collection, at).await?;
        if at.is_some() {
            is_known(&mut tx, collection, ts).await?;
        }
        let partitions = tx.all(PARTITIONS_AT, args![collection.0, ts.0]).await?;
        let members = tx.all(FILES_AT, args![collection.0, ts.0]).await?;
        drop(tx);
        Ok(CollectionView {
            ts,
            schema: from_json(&row, "schema_json")?,
            aging: aging(&row)?,
            ttl_s: ttl_s(&row)?,
            partitions: partitions
                .iter()
                .map(|row| Ok(PartitionId(row.try_get("partition_id")?)))
                .collect::<Result<_>>()?,
            files: files(&members)?,
        })
    }

    /// What happened to the collection's files after `after`; `None` when it is not live any more.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn changes(&self, collection: CollectionId, after: Timestamp) -> Result<Option<ViewChanges>> {
        let mut tx = self.db.read().await?;
        let Some(row) = tx.optional(LIVE_VERSION, args![collection.0]).await? else {
            return Ok(None);
        };
        let ts = Timestamp(row.try_get("last_ts")?);
        let version_ts = Timestamp(row.try_get("version_ts")?);
        let added = tx.all(FILES_ADDED, args![collection.0, after.0, ts.0]).await?;
        let removed = tx.all(MEMBERS_REMOVED, args![collection.0, after.0, ts.0]).await?;
        drop(tx);
        Ok(Some(ViewChanges {
            ts,
            redefined: version_ts > after,
            added: files(&added)?,
            removed: removed
                .iter()
                .map(|row| Ok((SegmentId(row.try_get("segment_id")?), FileSetId(row.try_get("file_set_id")?))))
                .collect::<Result<_>>()?,
        }))
    }

    /// How the memberships differ between two times, at the cost of what changed. Exact as long as something protects
    /// the memberships of `from`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn changes_between(
        &self,
        collection: CollectionId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<MembershipChanges> {
        let mut tx = self.db.read().await?;
        changes_between(&mut tx, collection, from, to).await
    }

    /// The time now, as a timestamp; says nothing about any collection's clock.
    ///
    /// # Errors
    /// None on this store.
    pub async fn now_ts(&self) -> Result<Timestamp> {
        Ok(Timestamp::from_ms(self.db.clock.now_ms()))
    }
}

/// See [`Meta::changes_between`].
pub(crate) async fn changes_between(
    tx: &mut Tx,
    collection: CollectionId,
    from: Timestamp,
    to: Timestamp,
) -> Result<MembershipChanges> {
    let added = tx.all(FILES_ADDED, args![collection.0, from.0, to.0]).await?;
    let removed = tx.all(FILES_REMOVED, args![collection.0, from.0, to.0]).await?;
    let segments = tx.one(SEGMENTS_CHANGED, args![collection.0, from.0, to.0]).await?;
    Ok(MembershipChanges {
        added: files(&added)?,
        removed: files(&removed)?,
        segments: segments.try_get::<i64, _>("after_num")? - segments.try_get::<i64, _>("before_num")?,
    })
}

/// A time of which facts are forgotten is refused: a view would be silently wrong. What a snapshot protects is whole.
async fn is_known(tx: &mut Tx, collection: CollectionId, ts: Timestamp) -> Result<()> {
    let row = tx.one(PAST, args![collection.0, ts.0]).await?;
    let forgotten = Timestamp(row.try_get("forgotten_ts")?);
    let is_deleted = row.try_get::<i64, _>("is_deleted")? != 0;
    if row.try_get::<i64, _>("is_protected")? != 0 || (ts >= forgotten && !is_deleted) {
        return Ok(());
    }
    let text = format!(
        "the collection cannot be read any more as it was at {ts}: no snapshot kept that, and some of it is deleted; read it \
         at a later time, or read or restore a snapshot[collection={collection}]"
    );
    Err(Failure::invalid(text).into())
}

async fn live_ts(tx: &mut Tx, collection: CollectionId) -> Result<Option<Timestamp>> {
    let row = tx
        .optional("SELECT last_ts FROM collections WHERE collection_id = $1 AND state = 'live'", args![collection.0])
        .await?;
    row.map(|row| Ok(Timestamp(row.try_get("last_ts")?))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meta;
    use elanus_types::ManualClock;
    use std::sync::Arc;

    /// How SQLite goes about a statement, a line a table.
    async fn plan(meta: &Meta, statement: &str) -> Vec<String> {
        let explain = Box::leak(format!("EXPLAIN QUERY PLAN {statement}").into_boxed_str());
        let mut tx = meta.db.read().await.unwrap();
        let rows = tx.all(explain, args![1i64, 1i64, 2i64]).await.unwrap();
        rows.iter().map(|row| row.try_get("detail").unwrap()).collect()
    }

    #[tokio::test]
    async fn changes_are_found_by_their_time_and_nothing_is_scanned() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("meta.db").display());
        let meta = Meta::open(&url, "cluster", Arc::new(ManualClock::at_ms(1))).await.unwrap();
        let added = "memberships_added (collection_id=? AND added_ts>? AND added_ts<?)";
        let removed = "memberships_removed (collection_id=? AND removed_ts>? AND removed_ts<?)";
        for (statement, indexes) in
            [(FILES_ADDED, &[added][..]), (FILES_REMOVED, &[removed]), (SEGMENTS_CHANGED, &[added, removed])]
        {
            let plan = plan(&meta, statement).await;
            for index in indexes {
                assert!(plan.iter().any(|line| line.contains(index)), "{statement}\n{plan:#?}");
            }
            // `s` and `t` are the results of inner queries.
            let scanned =
                plan.iter().filter_map(|line| line.strip_prefix("SCAN ")).find(|name| !["s", "t"].contains(name));
            assert_eq!(scanned, None, "{statement}\n{plan:#?}");
        }
    }
}
