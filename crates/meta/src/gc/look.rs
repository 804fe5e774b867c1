//! What waits for deletion and why an object is kept. Never writes.

use super::brakes::{brake, brake_on};
use super::failures::FailureRecord;
use crate::Meta;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::rows::count;
use elanus_lifecycle::breaker::Amount;
use elanus_types::{CollectionId, FileSetId, ObjectKey};
use sqlx::Row;

/// Lines that tell why an object is kept.
const LINES_MAX: i64 = 100;

/// The state of the collector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcStatus {
    /// Since when deletes are frozen, and why.
    pub frozen: Option<(i64, String)>,
    /// Queued file sets whose tolerance is not over.
    pub waiting: Amount,
    /// Queued file sets that may be claimed now.
    pub due: Amount,
    /// Queued file sets whose tolerance is over and that a brake keeps.
    pub kept: Vec<KeptRecord>,
    /// File sets whose deletion has begun.
    pub deleting: Amount,
    /// When the first of those that wait is due.
    pub next_due_ms: Option<i64>,
    /// Since when the oldest that is due has been.
    pub oldest_due_ms: Option<i64>,
    /// Dropped snapshots that still have references.
    pub unreleased_snapshots: u64,
    /// Dropped partitions of which memberships still have to end.
    pub unreleased_partitions: u64,
    /// Dropped collections that cannot come back and still have references.
    pub unreleased_collections: u64,
    /// Collections whose circuit breaker is open.
    pub breakers: Vec<BreakerRecord>,
    /// Leases of readers that live.
    pub readers: u64,
    /// Objects that could not be deleted.
    pub failing: u64,
    /// The first of them.
    pub failures: Vec<FailureRecord>,
}

/// What one brake keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// Label of the brake.
    pub by: String,
    /// How much.
    pub amount: Amount,
}

/// A circuit breaker that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerRecord {
    /// Of which collection.
    pub collection: CollectionId,
    /// Since when.
    pub opened_ms: i64,
    /// What would have gone within an hour.
    pub amount: Amount,
}

/// Why an object is kept, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyRecord {
    /// Its file set.
    pub file_set: FileSetId,
    /// What kind of file.
    pub kind: String,
    /// State of the file set.
    pub state: String,
    /// References of the file set.
    pub refs: i64,
    /// Who keeps it or kept it, a line each.
    pub reasons: Vec<String>,
}

impl Meta {
    /// The state of the collector, at the cost of reading the queue.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn gc_status(&self) -> Result<GcStatus> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let mut status = GcStatus::default();
        if let Some(row) = tx
            .optional(
                "SELECT frozen_ms, reason FROM gc_state WHERE frozen_ms IS NOT NULL \
                 UNION ALL SELECT since_ms AS frozen_ms, why AS reason FROM delete_freezes ORDER BY frozen_ms LIMIT 1",
                args![],
            )
            .await?
        {
            status.frozen = Some((row.try_get("frozen_ms")?, row.try_get("reason")?));
        }
        let rows = tx
            .all(
                concat!(
                    "SELECT q.what, COUNT(o.object_key) AS objects_num, \
                     CAST(COALESCE(SUM(o.size_bytes), 0) AS BIGINT) AS bytes, MIN(q.not_before_ms) AS first_ms FROM \
                     (SELECT f.file_set_id, f.not_before_ms, CASE WHEN f.not_before_ms > $1 THEN 'waiting' \
                      ELSE COALESCE(",
                    brake_on!("$1"),
                    ", 'due') END AS what FROM file_sets f WHERE f.state = 'queued' \
                     UNION ALL SELECT d.file_set_id, 0, 'deleting' FROM file_sets d WHERE d.state = 'deleting') q \
                     LEFT JOIN objects o ON o.file_set_id = q.file_set_id GROUP BY q.what ORDER BY q.what"
                ),
                args![now_ms],
            )
            .await?;
        for row in &rows {
            let amount = Amount { objects: count(row, "objects_num")?, bytes: count(row, "bytes")? };
            match row.try_get::<&str, _>("what")? {
                "waiting" => {
                    status.waiting = amount;
                    status.next_due_ms = row.try_get("first_ms")?;
                }
                "due" => {
                    status.due = amount;
                    status.oldest_due_ms = row.try_get("first_ms")?;
                }
                "deleting" => status.deleting = amount,
                by => status.kept.push(KeptRecord { by: by.to_owned(), amount }),
            }
        }
        let row = tx
            .one(
                "SELECT (SELECT COUNT(*) FROM snapshots WHERE state = 'deleting') AS snapshots_num, \
                 (SELECT COUNT(*) FROM partition_drops) AS partitions_num, \
                 (SELECT COUNT(*) FROM collections WHERE state = 'dropped' AND released_ms IS NULL \
                  AND (trash_until_ms IS NULL OR trash_until_ms <= $1)) AS collections_num, \
                 (SELECT COUNT(*) FROM reader_leases WHERE until_ms > $1) AS readers_num",
                args![now_ms],
            )
            .await?;
        status.unreleased_snapshots = count(&row, "snapshots_num")?;
        status.unreleased_partitions = count(&row, "partitions_num")?;
        status.unreleased_collections = count(&row, "collections_num")?;
        status.readers = count(&row, "readers_num")?;
        let rows = tx
            .all("SELECT collection_id, opened_ms, objects_num, bytes FROM gc_breakers ORDER BY collection_id", args![])
            .await?;
        for row in &rows {
            status.breakers.push(BreakerRecord {
                collection: CollectionId(row.try_get("collection_id")?),
                opened_ms: row.try_get("opened_ms")?,
                amount: Amount { objects: count(row, "objects_num")?, bytes: count(row, "bytes")? },
            });
        }
        drop(tx);
        (status.failing, status.failures) = self.gc_failures().await?;
        Ok(status)
    }

    /// Why an object is kept; `None` for a key that the metadata never knew or has forgotten.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn gc_why(&self, key: &ObjectKey) -> Result<Option<WhyRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let row = tx
            .optional(
                concat!(
                    "SELECT f.file_set_id, f.kind, f.state, f.refs, f.owner, f.lease_until_ms, f.not_before_ms, \
                     f.reason, f.job_id, f.gone_ms, ",
                    brake_on!("$2"),
                    " AS brake FROM objects o JOIN file_sets f ON f.file_set_id = o.file_set_id WHERE o.object_key = $1"
                ),
                args![key.as_str().to_owned(), now_ms],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mut why = WhyRecord {
            file_set: FileSetId(row.try_get("file_set_id")?),
            kind: row.try_get("kind")?,
            state: row.try_get("state")?,
            refs: row.try_get("refs")?,
            reasons: vec![],
        };
        match why.state.as_str() {
            "intent" => {
                let (owner, until): (String, i64) = (row.try_get("owner")?, row.try_get("lease_until_ms")?);
                why.reasons.push(format!("{owner} is writing it, its lease ends at {until} ms"));
            }
            "queued" => {
                let (reason, due): (String, i64) = (row.try_get("reason")?, row.try_get("not_before_ms")?);
                why.reasons.push(format!("{reason}, to be deleted from {due} ms on"));
                if let Some(brake) = brake(row.try_get("brake")?)? {
                    why.reasons.push(format!("kept by a brake: {}", brake.label()));
                }
            }
            "deleting" => {
                why.reasons.push("is being deleted".to_owned());
                let failed = tx
                    .optional(
                        "SELECT fails_num, since_ms, why FROM gc_failures WHERE object_key = $1",
                        args![key.as_str().to_owned()],
                    )
                    .await?;
                if let Some(failed) = failed {
                    let (times, text): (i64, String) = (failed.try_get("fails_num")?, failed.try_get("why")?);
                    why.reasons.push(format!("could not be deleted {times} times: {text}"));
                }
            }
            "gone" => {
                let gone: Option<i64> = row.try_get("gone_ms")?;
                why.reasons.push(format!("deleted at {} ms", gone.unwrap_or_default()));
            }
            _ => {}
        }
        members(&mut tx, why.file_set, &mut why.reasons).await?;
        manifests(&mut tx, why.file_set, &mut why.reasons).await?;
        Ok(Some(why))
    }
}

/// Memberships, and the snapshots that see them.
async fn members(tx: &mut Tx, id: FileSetId, reasons: &mut Vec<String>) -> Result<()> {
    let rows = tx
        .all(
            "SELECT m.collection_id, c.name, c.state, m.segment_id, m.added_ts, \
             COALESCE((SELECT d.dropped_ts FROM partition_drops d WHERE d.partition_id = m.partition_id \
              AND m.removed_ts = 9223372036854775807), m.removed_ts) AS removed_ts, m.release_id, \
             (SELECT COUNT(*) FROM snapshots s WHERE s.collection_id = m.collection_id AND s.create_ts >= m.added_ts \
              AND s.create_ts < m.removed_ts AND s.state <> 'deleting') AS snapshots_num, \
             (SELECT MIN(s.name) FROM snapshots s WHERE s.collection_id = m.collection_id AND s.create_ts >= m.added_ts \
              AND s.create_ts < m.removed_ts AND s.state <> 'deleting') AS snapshot_name, \
             (SELECT COUNT(*) FROM reader_leases r WHERE r.collection_id = m.collection_id AND r.until_ms > $2 \
              AND r.read_ts < m.removed_ts) AS readers_num \
             FROM memberships m JOIN collections c ON c.collection_id = m.collection_id WHERE m.file_set_id = $1 \
             ORDER BY m.collection_id, m.segment_id LIMIT $3",
            args![id.0, tx.now_ms, LINES_MAX],
        )
        .await?;
    for row in &rows {
        let (collection, segment): (i64, i64) = (row.try_get("collection_id")?, row.try_get("segment_id")?);
        let (name, state): (String, String) = (row.try_get("name")?, row.try_get("state")?);
        let (added, removed): (i64, i64) = (row.try_get("added_ts")?, row.try_get("removed_ts")?);
        let at = format!("segment {segment} of {state} collection {name} ({collection})");
        let released: Option<i64> = row.try_get("release_id")?;
        let snapshots = count(row, "snapshots_num")?;
        reasons.push(match (removed == i64::MAX, released) {
            (true, _) => format!("in {at} since {added}"),
            (false, Some(_)) => format!("was in {at} from {added} until {removed}, released"),
            (false, None) => format!("was in {at} from {added} until {removed}, still referenced"),
        });
        if snapshots > 0 {
            let first: String = row.try_get("snapshot_name")?;
            reasons.push(format!("seen by {snapshots} snapshots of {name}, one of them {first}"));
        }
        if count(row, "readers_num")? > 0 && removed < i64::MAX {
            reasons.push(format!("a reader of {name} may still open it"));
        }
    }
    Ok(())
}

async fn manifests(tx: &mut Tx, id: FileSetId, reasons: &mut Vec<String>) -> Result<()> {
    let rows = tx
        .all(
            "SELECT s.snapshot_id, s.name, s.state, s.collection_id FROM snapshot_file_sets l \
             JOIN snapshots s ON s.snapshot_id = l.snapshot_id WHERE l.file_set_id = $1 ORDER BY s.snapshot_id LIMIT $2",
            args![id.0, LINES_MAX],
        )
        .await?;
    for row in &rows {
        let (snapshot, collection): (i64, i64) = (row.try_get("snapshot_id")?, row.try_get("collection_id")?);
        let (name, state): (String, String) = (row.try_get("name")?, row.try_get("state")?);
        reasons.push(format!("a file of {state} snapshot {name} ({snapshot}) of collection {collection}"));
    }
    Ok(())
}
