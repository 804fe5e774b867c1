//! The end of rows that nobody needs any more, in chunks. Objects are never decided on here: a file set's rows end long
//! after its objects are gone.
//!
//! RT-1  A membership is forgotten only after its release, and the collection remembers until when: what it was before is
//!       known by its snapshots alone.
//! RT-2  Nothing of a collection on which a hold is, is forgotten.

use super::undrop;
use crate::Coordinator;
use crate::db::{Tx, args};
use crate::error::Result;
use elanus_types::Timestamp;
use sqlx::Row;

/// Collections whose rows end in one round.
const COLLECTIONS_MAX: i64 = 16;

/// How long rows are kept, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// File sets whose objects are gone, as tombstones; released memberships.
    pub tombstones_ms: i64,
    /// What happened to each thing.
    pub history_ms: i64,
    /// The audit trail.
    pub audit_ms: i64,
}

/// How many rows ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// File sets.
    pub file_sets: u64,
    /// Memberships of file sets that are still there.
    pub memberships: u64,
    /// Segments.
    pub segments: u64,
    /// Collections.
    pub collections: u64,
    /// Lines of history, audit, and the like.
    pub lines: u64,
}

impl Forgotten {
    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.file_sets + self.memberships + self.segments + self.collections + self.lines
    }
}

impl Coordinator {
    /// Removes at most `limit` rows of each kind.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn forget(&self, keep: Retention, limit: u32) -> Result<Forgotten> {
        let limit = i64::from(limit);
        Ok(Forgotten {
            file_sets: self.forget_file_sets(keep, limit).await?,
            memberships: self.forget_memberships(keep, limit).await?,
            segments: self.forget_segments(limit).await?,
            collections: self.forget_collections(keep).await?,
            lines: self.forget_lines(keep, limit).await?,
        })
    }

    async fn forget_file_sets(&self, keep: Retention, limit: i64) -> Result<u64> {
        // What the statements below have in common: nothing that they remove changes the choice before the last one.
        macro_rules! over {
            () => {
                "(SELECT f.file_set_id FROM file_sets f WHERE f.gone_ms <= $1 AND f.state = 'gone' \
                 AND NOT EXISTS (SELECT 1 FROM copy_items i WHERE i.source_file_set_id = f.file_set_id) \
                 AND NOT EXISTS (SELECT 1 FROM restore_jobs j WHERE j.job_id = f.job_id AND j.ended_ms IS NULL) \
                 AND NOT EXISTS (SELECT 1 FROM memberships h JOIN gc_holds g ON g.collection_id = h.collection_id \
                 WHERE h.file_set_id = f.file_set_id) ORDER BY f.gone_ms, f.file_set_id LIMIT $2)"
            };
        }
        let mut tx = self.write().await?;
        let before = tx.now_ms - keep.tombstones_ms;
        let arguments = || args![before, limit];
        tx.execute(
            concat!(
                "UPDATE collections SET forgotten_ts = r.removed_ts FROM \
                 (SELECT m.collection_id, MAX(m.removed_ts) AS removed_ts FROM memberships m WHERE m.file_set_id IN ",
                over!(),
                " GROUP BY m.collection_id) r \
                 WHERE r.collection_id = collections.collection_id AND collections.forgotten_ts < r.removed_ts"
            ),
            arguments(),
        )
        .await?;
        for sql in [
            concat!("DELETE FROM memberships WHERE file_set_id IN ", over!()),
            concat!("DELETE FROM snapshot_file_sets WHERE file_set_id IN ", over!()),
            concat!("DELETE FROM objects WHERE file_set_id IN ", over!()),
        ] {
            tx.execute(sql, arguments()).await?;
        }
        let ended = tx.execute(concat!("DELETE FROM file_sets WHERE file_set_id IN ", over!()), arguments()).await?;
        if ended > 0 {
            tx.commit().await?;
        }
        Ok(ended)
    }

    /// Released memberships of file sets that others still reference.
    async fn forget_memberships(&self, keep: Retention, limit: i64) -> Result<u64> {
        macro_rules! over {
            () => {
                "(SELECT m.segment_id, m.file_set_id FROM memberships m JOIN file_sets f ON f.file_set_id = m.file_set_id \
                 WHERE m.release_id < $1 AND f.state = 'live' AND NOT EXISTS \
                 (SELECT 1 FROM gc_holds g WHERE g.collection_id = m.collection_id) \
                 ORDER BY m.release_id, m.segment_id, m.file_set_id LIMIT $2)"
            };
        }
        let mut tx = self.write().await?;
        let before = Timestamp::from_ms(tx.now_ms - keep.tombstones_ms).0;
        tx.execute(
            concat!(
                "UPDATE collections SET forgotten_ts = r.removed_ts FROM \
                 (SELECT o.collection_id, MAX(o.removed_ts) AS removed_ts FROM memberships o \
                  WHERE (o.segment_id, o.file_set_id) IN ",
                over!(),
                " GROUP BY o.collection_id) r \
                 WHERE r.collection_id = collections.collection_id AND collections.forgotten_ts < r.removed_ts"
            ),
            args![before, limit],
        )
        .await?;
        let ended = tx
            .execute(
                concat!("DELETE FROM memberships WHERE (segment_id, file_set_id) IN ", over!()),
                args![before, limit],
            )
            .await?;
        if ended > 0 {
            tx.commit().await?;
        }
        Ok(ended)
    }

    async fn forget_segments(&self, limit: i64) -> Result<u64> {
        let mut tx = self.write().await?;
        let ended = tx
            .execute(
                "DELETE FROM segments WHERE segment_id IN (SELECT s.segment_id FROM segments s WHERE s.state = 'dropped' \
                 AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.segment_id = s.segment_id) LIMIT $1)",
                args![limit],
            )
            .await?;
        if ended > 0 {
            tx.commit().await?;
        }
        Ok(ended)
    }

    /// Dropped collections of which nothing is left but their own rows.
    async fn forget_collections(&self, keep: Retention) -> Result<u64> {
        let mut tx = self.write().await?;
        let before = tx.now_ms - keep.tombstones_ms;
        let rows = tx
            .all(
                "SELECT c.collection_id FROM collections c WHERE c.released_ms <= $1 AND c.state = 'dropped' \
                 AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.collection_id = c.collection_id) \
                 AND NOT EXISTS (SELECT 1 FROM segments s WHERE s.collection_id = c.collection_id) \
                 AND NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.collection_id = c.collection_id) \
                 AND NOT EXISTS (SELECT 1 FROM gc_holds g WHERE g.collection_id = c.collection_id) \
                 ORDER BY c.released_ms LIMIT $2",
                args![before, COLLECTIONS_MAX],
            )
            .await?;
        for row in &rows {
            forget_collection(&mut tx, row.try_get("collection_id")?).await?;
        }
        if !rows.is_empty() {
            tx.commit().await?;
        }
        Ok(rows.len() as u64)
    }

    async fn forget_lines(&self, keep: Retention, limit: i64) -> Result<u64> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let mut ended = 0;
        for (sql, keep_ms) in [
            (
                // From the first one on: a range with two ends is looked up in the index.
                "DELETE FROM history WHERE history_id >= (SELECT MIN(f.history_id) FROM history f) AND history_id <= \
                 (SELECT MAX(l.history_id) FROM (SELECT h.history_id FROM history h WHERE h.history_id < $1 \
                  ORDER BY h.history_id LIMIT $2) l)",
                keep.history_ms,
            ),
            (
                "DELETE FROM gc_audit WHERE audit_id >= (SELECT MIN(f.audit_id) FROM gc_audit f) AND audit_id <= \
                 (SELECT MAX(l.audit_id) FROM (SELECT a.audit_id FROM gc_audit a WHERE a.audit_id < $1 \
                  ORDER BY a.audit_id LIMIT $2) l)",
                keep.audit_ms,
            ),
            (
                "DELETE FROM gc_claims WHERE claim_id IN \
                 (SELECT c.claim_id FROM gc_claims c WHERE c.claim_id < $1 ORDER BY c.claim_id LIMIT $2)",
                keep.tombstones_ms,
            ),
        ] {
            // Ids are ordered by time.
            let before = Timestamp::from_ms(now_ms - keep_ms).0;
            ended += tx.execute(sql, args![before, limit]).await?;
        }
        let plans_before = Timestamp::from_ms(now_ms - keep.tombstones_ms).0;
        for sql in ["DELETE FROM gc_plan_items WHERE plan_id < $1", "DELETE FROM gc_plans WHERE plan_id < $1"] {
            ended += tx.execute(sql, args![plans_before]).await?;
        }
        for sql in ["DELETE FROM gc_pauses WHERE until_ms <= $1", "DELETE FROM reader_leases WHERE until_ms <= $1"] {
            ended += tx.execute(sql, args![now_ms]).await?;
        }
        // Longer than what a dropped snapshot needs may wait in the queue.
        let dropped_before = now_ms - keep.tombstones_ms.max(self.drop_tolerance_ms);
        ended += undrop::forget(&mut tx, dropped_before, limit).await?;
        if ended > 0 {
            tx.commit().await?;
        }
        Ok(ended)
    }
}

async fn forget_collection(tx: &mut Tx, id: i64) -> Result<()> {
    for sql in [
        "DELETE FROM rollbacks WHERE collection_id = $1",
        "DELETE FROM aliases WHERE collection_id = $1",
        "DELETE FROM collection_versions WHERE collection_id = $1",
        "DELETE FROM partitions WHERE collection_id = $1",
        "DELETE FROM indexes WHERE collection_id = $1",
        "DELETE FROM gc_breakers WHERE collection_id = $1",
        "DELETE FROM collections WHERE collection_id = $1 AND state = 'dropped'",
    ] {
        tx.execute(sql, args![id]).await?;
    }
    Ok(())
}
