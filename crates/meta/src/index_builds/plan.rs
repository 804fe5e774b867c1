//! What a collection holds, for plans of index builds and for how far they are; and storing a plan.

use super::{BUILT, field_of};
use crate::clock::lock_if_live;
use crate::db::{add, args};
use crate::definitions::{INDEXES_NOW, index_info};
use crate::error::Result;
use crate::model::{IndexView, IndexableFile, NewIndexBuild};
use crate::partition_drops::left_behind;
use crate::reads::version_at;
use crate::rows::{bigint, count, files, from_json};
use crate::{Coordinator, Meta};
use elanus_lifecycle::IndexBuild;
use elanus_types::{CollectionId, FileSetId, IndexId, SegmentId, Timestamp};
use sqlx::Row;
use std::collections::HashSet;

/// What failed for good is let be for so long.
const FAILED_REST_MS: i64 = 3_600_000;

/// Files of rows of `$1` that hold now and have at least `$2` rows. Busy: inputs of compactions that have not ended.
const LIVE: &str = concat!(
    "
SELECT m.segment_id, m.file_set_id, m.base_ts, m.rows_num,
       CASE WHEN s.state = 'growing' THEN 0 ELSE 1 END AS is_sealed,
       CASE WHEN EXISTS (SELECT 1 FROM compaction_inputs i JOIN compactions t ON t.task_id = i.task_id
                         WHERE i.file_set_id = m.file_set_id AND i.segment_id = m.segment_id AND t.ended_ms IS NULL)
            THEN 1 ELSE 0 END AS is_busy
FROM memberships m JOIN segments s ON s.segment_id = m.segment_id AND s.collection_id = $1
WHERE m.collection_id = $1 AND m.removed_ts = 9223372036854775807 AND m.kind = 'insert' AND m.rows_num >= $2
AND m.partition_id NOT IN ",
    left_behind!("$1"),
    " ORDER BY m.base_ts, m.file_set_id"
);

/// Builds of `$1` that have not ended, and those that failed after `$2`.
const BUILDS: &str = "
SELECT segment_id, file_set_id, index_id, CASE WHEN ended_ms IS NULL THEN 1 ELSE 0 END AS is_open FROM index_builds
WHERE collection_id = $1 AND (ended_ms IS NULL OR (state = 'failed' AND reason <> 'aborted' AND ended_ms > $2))";

const HELD: &str = "
SELECT CASE WHEN c.held_until_ms > $2 OR EXISTS (
         SELECT 1 FROM restore_jobs j WHERE j.target_collection_id = c.collection_id AND j.kind = 'detach'
         AND j.ended_ms IS NULL) THEN 1 ELSE 0 END AS is_held
FROM collections c WHERE c.collection_id = $1";

impl Meta {
    /// What a live collection holds, for plans: files of at least `rows_min` rows.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn index_view(&self, collection: CollectionId, rows_min: u64) -> Result<IndexView> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let version = version_at(&mut tx, collection, None).await?;
        let held: i64 = tx.one(HELD, args![collection.0, now_ms]).await?.try_get("is_held")?;
        let indexes = tx.all(INDEXES_NOW, args![collection.0]).await?;
        let live = tx.all(LIVE, args![collection.0, bigint(rows_min)]).await?;
        let built = tx.all(BUILT, args![collection.0]).await?;
        let builds = tx.all(BUILDS, args![collection.0, now_ms - FAILED_REST_MS]).await?;
        drop(tx);
        let (mut building, mut failed) = (HashSet::new(), HashSet::new());
        for row in &builds {
            let what = (
                SegmentId(row.try_get("segment_id")?),
                FileSetId(row.try_get("file_set_id")?),
                IndexId(row.try_get("index_id")?),
            );
            let is_open = row.try_get::<i64, _>("is_open")? != 0;
            if is_open {
                building.insert(what)
            } else {
                failed.insert(what)
            };
        }
        let built = files(&built)?;
        Ok(IndexView {
            ts: version.ts,
            schema: from_json(&version.row, "schema_json")?,
            indexes: indexes.iter().map(index_info).collect::<Result<_>>()?,
            files: live
                .iter()
                .map(|row| {
                    Ok(IndexableFile {
                        segment: SegmentId(row.try_get("segment_id")?),
                        file_set: FileSetId(row.try_get("file_set_id")?),
                        base_ts: Timestamp(row.try_get("base_ts")?),
                        rows: count(row, "rows_num")?,
                        sealed: row.try_get::<i64, _>("is_sealed")? != 0,
                        busy: row.try_get::<i64, _>("is_busy")? != 0,
                    })
                })
                .collect::<Result<_>>()?,
            built: built.iter().filter_map(|file| Some((file.segment, file.base_ts, field_of(file)?))).collect(),
            building,
            failed,
            held: held != 0,
        })
    }
}

impl Coordinator {
    /// Stores a plan; how many builds it has. What is being built already is passed over, and so is everything when the
    /// collection is gone. Whether file and definition still hold is asked when a build is claimed.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn plan_index_builds(&self, collection: CollectionId, builds: &[NewIndexBuild]) -> Result<u64> {
        if builds.is_empty() {
            return Ok(0);
        }
        let mut tx = self.write().await?;
        if lock_if_live(&mut tx, collection).await?.is_none() {
            return Ok(0);
        }
        let open = tx.all(BUILDS, args![collection.0, i64::MAX]).await?;
        let open: HashSet<(i64, i64, i64)> = open
            .iter()
            .map(|row| Ok((row.try_get("segment_id")?, row.try_get("file_set_id")?, row.try_get("index_id")?)))
            .collect::<Result<_>>()?;
        let is_new = |build: &&NewIndexBuild| !open.contains(&(build.segment.0, build.file_set.0, build.index.0));
        let builds: Vec<&NewIndexBuild> = builds.iter().filter(is_new).collect();
        if builds.is_empty() {
            return Ok(0);
        }
        let now_ms = tx.now_ms;
        let first = tx.allocate_ids(u32::try_from(builds.len()).unwrap_or(u32::MAX)).await?;
        let columns = IndexBuild::new().columns();
        tx.insert_many(
            "INSERT INTO index_builds (task_id, collection_id, index_id, field_id, segment_id, file_set_id, rows_num, \
             state, attempt, generation, not_before_ms, created_ms)",
            12,
            (first..).zip(&builds),
            |arguments, (id, build)| {
                add(arguments, id);
                add(arguments, collection.0);
                add(arguments, build.index.0);
                add(arguments, build.field.0);
                add(arguments, build.segment.0);
                add(arguments, build.file_set.0);
                add(arguments, bigint(build.rows));
                add(arguments, columns.state.clone());
                add(arguments, columns.attempt);
                add(arguments, columns.generation);
                add(arguments, columns.not_before_ms);
                add(arguments, now_ms);
            },
        )
        .await?;
        tx.commit().await?;
        Ok(builds.len() as u64)
    }

    /// Forgets builds that ended before `before_ms`, at most `limit`; how many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn forget_index_builds(&self, before_ms: i64, limit: u32) -> Result<u64> {
        let mut tx = self.write().await?;
        let forgotten = tx
            .execute(
                "DELETE FROM index_builds WHERE task_id IN (SELECT t.task_id FROM index_builds t \
                 WHERE t.ended_ms < $1 ORDER BY t.ended_ms, t.task_id LIMIT $2)",
                args![before_ms, i64::from(limit)],
            )
            .await?;
        if forgotten > 0 {
            tx.commit().await?;
        }
        Ok(forgotten)
    }
}
