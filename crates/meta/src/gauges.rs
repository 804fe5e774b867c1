//! How much there is, for metrics. Every statement goes by an index, and looks at a bounded number of rows.

use crate::Meta;
use crate::db::args;
use crate::error::Result;
use crate::gc::brakes::brake_on;
use crate::gc::{Amount, KeptRecord};
use crate::rows::count;
use crate::scans::{OrphanRule, ScanRecord};
use elanus_types::Timestamp;
use sqlx::Row;
use std::collections::BTreeMap;

/// Rows that are counted at most.
const COUNTED_MAX: i64 = 100_000;

/// Sums that metrics show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// File sets and bytes that nothing needs, by reason and state.
    pub queue: Vec<QueueGauge>,
    /// When the first of them could have been deleted.
    pub queue_oldest_ms: Option<i64>,
    /// Snapshots whose manifests are still to be written, and when the oldest of them was created.
    pub unlisted: u64,
    /// See `unlisted`.
    pub unlisted_oldest_ms: Option<i64>,
    /// Pins that keep something, and when the oldest of them was made.
    pub pins: u64,
    /// See `pins`.
    pub pin_oldest_ms: Option<i64>,
    /// Bytes that one snapshot alone keeps.
    pub bytes_of_one_snapshot: u64,
    /// Bytes that several snapshots keep, and nothing else.
    pub bytes_of_several_snapshots: u64,
    /// Orphans and their bytes, by what they wait for.
    pub orphans: BTreeMap<&'static str, (u64, u64)>,
    /// The last complete scan.
    pub last_scan: Option<ScanRecord>,
    /// Reasons for which nothing is deleted.
    pub freezes: u64,
    /// What a brake alone keeps.
    pub kept: Vec<KeptRecord>,
    /// Objects that could not be deleted.
    pub failing: u64,
    /// Objects that a first run would have deleted, and that wait for somebody to look.
    pub first_run: u64,
}

/// A part of the deletion queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueGauge {
    /// Why its file sets are there; empty when they are being deleted.
    pub reason: String,
    /// `queued` or `deleting`.
    pub state: String,
    /// How many.
    pub file_sets: u64,
    /// Their bytes.
    pub bytes: u64,
}

const QUEUE: &str = "
SELECT q.reason, q.state, COUNT(*) AS sets_num, CAST(COALESCE(SUM(q.bytes), 0) AS BIGINT) AS bytes_num,
       MIN(q.not_before_ms) AS oldest_ms
FROM (SELECT COALESCE(f.reason, '') AS reason, f.state, f.not_before_ms,
             (SELECT SUM(o.size_bytes) FROM objects o WHERE o.file_set_id = f.file_set_id) AS bytes
      FROM (SELECT file_set_id, reason, state, not_before_ms FROM file_sets WHERE state = 'queued'
            ORDER BY not_before_ms LIMIT $1) f
      UNION ALL
      SELECT COALESCE(f.reason, '') AS reason, f.state, f.not_before_ms,
             (SELECT SUM(o.size_bytes) FROM objects o WHERE o.file_set_id = f.file_set_id) AS bytes
      FROM (SELECT file_set_id, reason, state, not_before_ms FROM file_sets WHERE state = 'deleting'
            ORDER BY file_set_id LIMIT $1) f) q
GROUP BY q.reason, q.state ORDER BY q.reason, q.state";

const KEPT: &str = concat!(
    "SELECT q.brake, COUNT(o.object_key) AS objects_num, CAST(COALESCE(SUM(o.size_bytes), 0) AS BIGINT) AS bytes \
     FROM (SELECT f.file_set_id, ",
    brake_on!("$1"),
    " AS brake FROM (SELECT file_set_id, collection_id, covered, ever_live FROM file_sets \
     WHERE state = 'queued' AND not_before_ms <= $1 ORDER BY not_before_ms LIMIT $2) f) q \
     JOIN objects o ON o.file_set_id = q.file_set_id WHERE q.brake IS NOT NULL GROUP BY q.brake ORDER BY q.brake"
);

const SNAPSHOT_ONLY: &str = "
SELECT CAST(COALESCE(SUM(CASE WHEN e.keepers = 1 THEN e.bytes ELSE 0 END), 0) AS BIGINT) AS one_bytes,
       CAST(COALESCE(SUM(CASE WHEN e.keepers > 1 THEN e.bytes ELSE 0 END), 0) AS BIGINT) AS several_bytes
FROM (SELECT m.bytes, (SELECT COUNT(*) FROM snapshots s WHERE s.collection_id = m.collection_id
                       AND s.create_ts >= m.added_ts AND s.create_ts < m.removed_ts AND s.state <> 'deleting') AS keepers
      FROM (SELECT collection_id, bytes, added_ts, removed_ts FROM memberships
            WHERE release_id IS NULL AND removed_ts < 9223372036854775807 LIMIT $1) m) e";

impl Meta {
    /// Sums that metrics show, as they are now.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn gauges(&self, rule: OrphanRule) -> Result<Gauges> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let queue = tx.all(QUEUE, args![COUNTED_MAX]).await?;
        let pins = tx
            .one(
                "SELECT COUNT(*) AS pins_num, MIN(created_ms) AS oldest_ms FROM pins \
                 WHERE expires_ms IS NULL OR expires_ms > $1",
                args![now_ms],
            )
            .await?;
        let unlisted = tx
            .one(
                "SELECT COUNT(*) AS unlisted_num, MIN(create_ts) AS oldest_ts \
                 FROM (SELECT create_ts FROM snapshots WHERE accepted = 1 ORDER BY create_ts LIMIT $1) a",
                args![COUNTED_MAX],
            )
            .await?;
        let kept = tx.one(SNAPSHOT_ONLY, args![COUNTED_MAX]).await?;
        let braked = tx.all(KEPT, args![now_ms, COUNTED_MAX]).await?;
        let failing = tx.one("SELECT COUNT(*) AS failures_num FROM gc_failures", args![]).await?;
        let planned = tx
            .one(
                "SELECT CAST(COALESCE(SUM(p.objects_num), 0) AS BIGINT) AS objects_num FROM gc_pauses w \
                 JOIN gc_plans p ON p.plan_id = w.plan_id WHERE w.until_ms > $1",
                args![now_ms],
            )
            .await?;
        let freezes = crate::scans::freezes(&mut tx).await?.len() as u64;
        let last_scan = crate::scans::last_complete(&mut tx).await?;
        drop(tx);
        let mut gauges = Gauges {
            unlisted: count(&unlisted, "unlisted_num")?,
            unlisted_oldest_ms: unlisted.try_get::<Option<i64>, _>("oldest_ts")?.map(|ts| Timestamp(ts).ms()),
            pins: count(&pins, "pins_num")?,
            pin_oldest_ms: pins.try_get("oldest_ms")?,
            bytes_of_one_snapshot: count(&kept, "one_bytes")?,
            bytes_of_several_snapshots: count(&kept, "several_bytes")?,
            last_scan,
            freezes,
            failing: count(&failing, "failures_num")?,
            first_run: count(&planned, "objects_num")?,
            ..Gauges::default()
        };
        for row in &queue {
            let oldest_ms: Option<i64> = row.try_get("oldest_ms")?;
            gauges.queue_oldest_ms = [gauges.queue_oldest_ms, oldest_ms].into_iter().flatten().min();
            gauges.queue.push(QueueGauge {
                reason: row.try_get("reason")?,
                state: row.try_get("state")?,
                file_sets: count(row, "sets_num")?,
                bytes: count(row, "bytes_num")?,
            });
        }
        for row in &braked {
            let amount = Amount { objects: count(row, "objects_num")?, bytes: count(row, "bytes")? };
            gauges.kept.push(KeptRecord { by: row.try_get("brake")?, amount });
        }
        for orphan in self.orphans(None, 10_000).await? {
            let (number, bytes) = gauges.orphans.entry(orphan.state(rule, now_ms)).or_default();
            *number += 1;
            *bytes += orphan.orphan.size;
        }
        Ok(gauges)
    }
}
