//! Scans of the bucket for orphans: objects that nothing knows. And the reasons for which nothing is deleted.
//!
//! OR-1  What a scan saw counts when the scan is complete: a scan that was interrupted, that failed, or whose coordinator
//!       was replaced has seen nothing.
//! OR-2  An object is queued for deletion when two complete scans saw it as it is, far enough apart, and it is old enough;
//!       and only while no row but a tombstone knows its key.
//! OR-3  An object whose key no row ever mentioned is queued only after somebody allowed it.
//! OR-4  When a scan finds more orphans than a healthy store can have, none is queued until somebody accepts that scan.
//! OR-5  An object that was seen changed begins anew.
//!
//! What is queued goes the way of every file set: claim, brakes, permit.

use crate::db::{Tx, add, args};
use crate::error::{MetaError, Result};
use crate::gc::audit::{self, Line};
use crate::rows::{bigint, count, object_key};
use crate::{Coordinator, Meta};
use elanus_lifecycle::FileSet;
use elanus_lifecycle::file_set::Columns;
use elanus_types::{Failure, FileSetId, ObjectKey};
use sqlx::Row;
use sqlx::any::AnyRow;

/// So few orphans hold no scan, however small the store is (OR-4).
const HELD_ABOVE: u64 = 10;
/// Orphans of so many listed objects hold a scan: a healthy store has nearly none, one that two clusters fill has many.
const HELD_PER_LISTED: u64 = 100;
/// Finished scans that are kept.
const KEPT_MAX: i64 = 100;

/// Number of a scan.
pub type ScanId = i64;

/// What a scan has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCounts {
    /// Pages of the listing.
    pub pages: u64,
    /// Objects listed.
    pub listed: u64,
    /// Their bytes.
    pub listed_bytes: u64,
    /// Objects whose file set is gone.
    pub orphans: u64,
    /// Objects that no row ever mentioned.
    pub unknown: u64,
    /// Bytes of both.
    pub orphans_bytes: u64,
    /// Live objects that are not there.
    pub missing: u64,
}

/// Where a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanState {
    /// Somebody wants it to run now.
    Requested,
    /// It runs.
    Running,
    /// It has seen every object.
    Complete,
    /// It has not, and counts for nothing (OR-1).
    Discarded,
}

/// A scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRecord {
    /// Its number.
    pub id: ScanId,
    /// Where it is.
    pub state: ScanState,
    /// When it began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// What it has counted.
    pub counts: ScanCounts,
    /// It has more orphans than a healthy store can have (OR-4).
    pub held: bool,
    /// Somebody accepted that.
    pub accepted_ms: Option<i64>,
    /// Why it was discarded, what is wrong, or what became of unfinished writes.
    pub message: String,
}

/// An object that a scan found and that nothing knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its key.
    pub key: ObjectKey,
    /// Bytes.
    pub size: u64,
    /// By the store's clock.
    pub modified_ms: i64,
    /// The file set that is gone; `None`: no row ever mentioned the key.
    pub tombstone: Option<FileSetId>,
}

/// What is kept of an orphan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanRecord {
    /// As it was seen last.
    pub orphan: Orphan,
    /// When its file set was marked as gone; `None`: no row ever mentioned the key. Written later: a write came late;
    /// earlier: the store forgot a delete.
    pub deleted_ms: Option<i64>,
    /// Start of the first complete scan that saw it so.
    pub first_ms: Option<i64>,
    /// Start of the last one.
    pub last_ms: Option<i64>,
    /// Complete scans that saw it so.
    pub scans: u64,
    /// Somebody allowed its deletion.
    pub allowed: bool,
    /// The file set in the deletion queue.
    pub queued_as: Option<FileSetId>,
}

/// When an orphan may be deleted (OR-2). Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrphanRule {
    /// Between the first and the last complete scan that saw it.
    pub gap_ms: i64,
    /// Since it was written, by the store's clock.
    pub age_ms: i64,
}

/// A reason for which nothing is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteFreeze {
    /// Who froze.
    pub source: String,
    /// Since when.
    pub since_ms: i64,
    /// Why, and what to do about it.
    pub why: String,
}

impl ScanState {
    /// Its name in the store and in messages.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Discarded => "discarded",
        }
    }

    fn from_label(label: &str) -> Result<Self> {
        [Self::Requested, Self::Running, Self::Complete, Self::Discarded]
            .into_iter()
            .find(|state| state.label() == label)
            .ok_or_else(|| MetaError::Corrupt(format!("{label:?} is not the state of a scan")))
    }
}

impl ScanCounts {
    /// OR-4
    #[must_use]
    pub fn are_too_many(&self) -> bool {
        let found = self.orphans + self.unknown;
        found > HELD_ABOVE && found * HELD_PER_LISTED > self.listed
    }
}

impl OrphanRecord {
    /// What it waits for, in a word.
    #[must_use]
    pub fn state(&self, rule: OrphanRule, now_ms: i64) -> &'static str {
        let gap_ms = self.last_ms.zip(self.first_ms).map(|(last, first)| last - first);
        match (self.queued_as, gap_ms) {
            (Some(_), _) => "queued",
            (None, None) => "seen",
            (None, Some(_)) if self.orphan.tombstone.is_none() && !self.allowed => "unknown",
            (None, Some(gap_ms)) if self.scans < 2 || gap_ms < rule.gap_ms => "candidate",
            (None, Some(_)) if self.orphan.modified_ms > now_ms - rule.age_ms => "young",
            (None, Some(_)) => "ready",
        }
    }
}

macro_rules! select_scans {
    ($tail:literal) => {
        concat!(
            "SELECT scan_id, state, started_ms, ended_ms, pages_num, listed_num, listed_bytes, orphans_num, unknown_num, \
             orphans_bytes, missing_num, held, accepted_ms, message FROM scans WHERE ",
            $tail
        )
    };
}

const LAST_COMPLETE: &str = select_scans!("state = 'complete' ORDER BY scan_id DESC LIMIT 1");

const SEEN: &str = " ON CONFLICT (object_key) DO UPDATE SET
  -- OR-5
  first_ms = CASE WHEN orphans.size_bytes = excluded.size_bytes AND orphans.modified_ms = excluded.modified_ms
             THEN orphans.first_ms END,
  scans_num = CASE WHEN orphans.size_bytes = excluded.size_bytes AND orphans.modified_ms = excluded.modified_ms
              THEN orphans.scans_num ELSE 0 END,
  size_bytes = excluded.size_bytes, modified_ms = excluded.modified_ms, tombstone_id = excluded.tombstone_id,
  seen_scan_id = excluded.seen_scan_id, queued_as = NULL";

const QUEUE: &str = "
UPDATE orphans SET queued_as = $1 + n.place - 1
FROM (SELECT r.object_key, ROW_NUMBER() OVER (ORDER BY r.object_key) AS place FROM orphans r
      LEFT JOIN objects o ON o.object_key = r.object_key LEFT JOIN file_sets f ON f.file_set_id = o.file_set_id
      WHERE r.queued_as IS NULL AND r.first_ms IS NOT NULL
        -- OR-2
        AND r.scans_num >= 2 AND r.last_ms - r.first_ms >= $2 AND r.modified_ms <= $3
        AND (f.state IS NULL OR f.state = 'gone') AND (r.kept_until_ms IS NULL OR r.kept_until_ms <= $5)
        -- OR-3
        AND (r.tombstone_id IS NOT NULL OR r.allowed_ms IS NOT NULL)
      ORDER BY r.object_key LIMIT $4) n
WHERE n.object_key = orphans.object_key";

/// A file set for each orphan, so that one that cannot be deleted keeps no other waiting.
const QUEUED_SETS: &str = "
INSERT INTO file_sets (file_set_id, kind, state, refs, claimed_ever, ever_live, not_before_ms, reason, created_ms)
SELECT queued_as,
       CASE WHEN object_key LIKE '%/delta_log/%' THEN 'delete' WHEN object_key LIKE '%/index_files/%' THEN 'index'
            WHEN object_key LIKE '%/snapshots/%' THEN 'manifest' ELSE 'insert' END,
       CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS BIGINT), CAST($7 AS BIGINT), CAST($8 AS TEXT),
       CAST($9 AS BIGINT)
FROM orphans WHERE queued_as >= $1 AND queued_as < $2";

impl Coordinator {
    /// Wants a scan to run now; the one that is under way where there is one.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn request_scan(&self) -> Result<ScanRecord> {
        let mut tx = self.write().await?;
        let open = select_scans!("state IN ('requested', 'running') ORDER BY scan_id DESC LIMIT 1");
        if let Some(row) = tx.optional(open, args![]).await? {
            return ScanRecord::read(&row);
        }
        let id = tx.allocate_ids(1).await?;
        tx.execute("INSERT INTO scans (scan_id, state, epoch) VALUES ($1, 'requested', $2)", args![id, self.epoch().0])
            .await?;
        let requested = scan(&mut tx, id).await?;
        tx.commit().await?;
        Ok(requested)
    }

    /// Begins the scan that was asked for, or one that is due `interval_ms` after the last complete one; `None` when there
    /// is nothing to do. A scan that was under way is discarded: whoever ran it is gone (OR-1).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn begin_scan(&self, interval_ms: i64) -> Result<Option<ScanRecord>> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let interrupted = tx
            .execute(
                "UPDATE scans SET state = 'discarded', ended_ms = $1, message = 'interrupted' WHERE state = 'running'",
                args![now_ms],
            )
            .await?;
        let id = match tx.optional(select_scans!("state = 'requested'"), args![]).await? {
            Some(row) => Some(row.try_get("scan_id")?),
            None if due(&mut tx, interval_ms).await? => {
                let id = tx.allocate_ids(1).await?;
                let insert = "INSERT INTO scans (scan_id, state, epoch) VALUES ($1, 'requested', $2)";
                tx.execute(insert, args![id, self.epoch().0]).await?;
                Some(id)
            }
            None => None,
        };
        let Some(id) = id else {
            if interrupted > 0 {
                tx.commit().await?;
            }
            return Ok(None);
        };
        tx.execute_exactly(
            1,
            "the scan",
            "UPDATE scans SET state = 'running', started_ms = $2, epoch = $3 WHERE scan_id = $1 AND state = 'requested'",
            args![id, now_ms, self.epoch().0],
        )
        .await?;
        let begun = scan(&mut tx, id).await?;
        tx.commit().await?;
        Ok(Some(begun))
    }

    /// What a scan has seen so far; `orphans` are those of its last pages.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when it is not under way any more.
    pub async fn record_scan(&self, id: ScanId, counts: &ScanCounts, orphans: &[Orphan]) -> Result<()> {
        let mut tx = self.write().await?;
        self.write_counts(&mut tx, id, counts).await?;
        tx.upsert_many(
            "INSERT INTO orphans (object_key, size_bytes, modified_ms, tombstone_id, seen_scan_id)",
            SEEN,
            5,
            orphans,
            |arguments, orphan| {
                add(arguments, orphan.key.to_string());
                add(arguments, bigint(orphan.size));
                add(arguments, orphan.modified_ms);
                add(arguments, orphan.tombstone.map(|set| set.0));
                add(arguments, id);
            },
        )
        .await?;
        tx.commit().await
    }

    /// The scan has seen every object: what it saw counts, what it did not see is no orphan.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when it is not under way any more.
    pub async fn complete_scan(&self, id: ScanId, counts: &ScanCounts, message: &str) -> Result<ScanRecord> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        self.write_counts(&mut tx, id, counts).await?;
        tx.execute_exactly(
            1,
            "the scan",
            "UPDATE scans SET state = 'complete', ended_ms = $2, held = $3, message = $4 \
             WHERE scan_id = $1 AND state = 'running'",
            args![id, now_ms, i64::from(counts.are_too_many()), message.to_owned()],
        )
        .await?;
        tx.execute("DELETE FROM orphans WHERE seen_scan_id <> $1", args![id]).await?;
        tx.execute(
            "UPDATE orphans SET last_ms = s.started_ms, first_ms = COALESCE(orphans.first_ms, s.started_ms), \
             scans_num = orphans.scans_num + 1 \
             FROM scans s WHERE s.scan_id = $1 AND orphans.seen_scan_id = s.scan_id",
            args![id],
        )
        .await?;
        tx.execute(
            "DELETE FROM scans WHERE state IN ('complete', 'discarded') AND scan_id < COALESCE((SELECT MIN(k.scan_id) FROM \
             (SELECT scan_id FROM scans WHERE state IN ('complete', 'discarded') ORDER BY scan_id DESC LIMIT $1) k), 0)",
            args![KEPT_MAX],
        )
        .await?;
        let complete = scan(&mut tx, id).await?;
        tx.commit().await?;
        Ok(complete)
    }

    /// The scan has not seen every object, and counts for nothing (OR-1).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn discard_scan(&self, id: ScanId, why: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        tx.execute(
            "UPDATE scans SET state = 'discarded', ended_ms = $2, message = $3 WHERE scan_id = $1 AND state = 'running'",
            args![id, now_ms, why.to_owned()],
        )
        .await?;
        tx.commit().await
    }

    /// Queues at most `limit` orphans that may be deleted; how many. None while the last scan is held (OR-4).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn queue_orphans(&self, rule: OrphanRule, limit: u32) -> Result<u64> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        match last_complete(&mut tx).await? {
            Some(last) if !last.held || last.accepted_ms.is_some() => {}
            Some(_) | None => return Ok(0),
        }
        let first = tx.allocate_ids(limit).await?;
        let queued =
            tx.execute(QUEUE, args![first, rule.gap_ms, now_ms - rule.age_ms, i64::from(limit), now_ms]).await?;
        if queued == 0 {
            return Ok(0);
        }
        let end = first + i64::from(limit);
        // They have waited longer than what was released does.
        let Columns { state, refs, claimed_ever, ever_live, not_before_ms, reason, owner: _, lease_until_ms: _ } =
            FileSet::orphan(now_ms).columns();
        let (claimed_ever, ever_live) = (i64::from(claimed_ever), i64::from(ever_live));
        let values = args![first, end, state, refs, claimed_ever, ever_live, not_before_ms, reason, now_ms];
        tx.execute_exactly(queued, "an orphan", QUEUED_SETS, values).await?;
        tx.execute(
            "DELETE FROM objects WHERE object_key IN \
             (SELECT r.object_key FROM orphans r WHERE r.queued_as >= $1 AND r.queued_as < $2)",
            args![first, end],
        )
        .await?;
        tx.execute_exactly(
            queued,
            "an orphan",
            "INSERT INTO objects (object_key, file_set_id, ordinal, size_bytes) \
             SELECT object_key, queued_as, 0, size_bytes FROM orphans WHERE queued_as >= $1 AND queued_as < $2",
            args![first, end],
        )
        .await?;
        tx.commit().await?;
        Ok(queued)
    }

    /// Keeps objects that restored metadata do not know until a time, whoever allows their deletion meanwhile.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn quarantine(&self, unknown: &[Orphan], until_ms: i64) -> Result<()> {
        let mut tx = self.write().await?;
        tx.upsert_many(
            "INSERT INTO orphans (object_key, size_bytes, modified_ms, tombstone_id, seen_scan_id, kept_until_ms)",
            " ON CONFLICT (object_key) DO UPDATE SET kept_until_ms = excluded.kept_until_ms",
            6,
            unknown,
            |arguments, orphan| {
                add(arguments, orphan.key.to_string());
                add(arguments, bigint(orphan.size));
                add(arguments, orphan.modified_ms);
                add(arguments, orphan.tombstone.map(|set| set.0));
                add(arguments, 0i64);
                add(arguments, until_ms);
            },
        )
        .await?;
        tx.commit().await
    }

    /// Allows that objects are deleted that no row ever mentioned (OR-3): this one, or all that complete scans saw so
    /// far; how many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn allow_unknown(&self, key: Option<&ObjectKey>) -> Result<u64> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let allowed = tx
            .execute(
                "UPDATE orphans SET allowed_ms = $1 WHERE queued_as IS NULL AND tombstone_id IS NULL \
                 AND allowed_ms IS NULL AND first_ms IS NOT NULL AND object_key = COALESCE(CAST($2 AS TEXT), object_key)",
                args![now_ms, key.map(ToString::to_string)],
            )
            .await?;
        tx.commit().await?;
        Ok(allowed)
    }

    /// Accepts a scan that is held because it found too many orphans (OR-4). It must be the last complete one.
    ///
    /// # Errors
    /// When it is another one, or not held.
    pub async fn accept_scan(&self, id: ScanId) -> Result<ScanRecord> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let last = last_complete(&mut tx).await?;
        match last {
            Some(last) if last.id == id && last.held => {}
            Some(last) if last.held => {
                return Err(Failure::invalid(format!("scan {id} is not the last one; that is scan {}", last.id)).into());
            }
            Some(_) | None => return Err(Failure::invalid(format!("scan {id} is not held")).into()),
        }
        tx.execute("UPDATE scans SET accepted_ms = $2 WHERE scan_id = $1", args![id, now_ms]).await?;
        let accepted = scan(&mut tx, id).await?;
        tx.commit().await?;
        Ok(accepted)
    }

    /// Writes into the audit trail that so many unfinished writes are about to be aborted: those begun before this time.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when another coordinator took over: nothing must be aborted then.
    pub async fn audit_uploads(&self, uploads: usize, before_ms: i64) -> Result<()> {
        let mut tx = self.write().await?;
        let detail = format!("{uploads} unfinished writes, begun before {before_ms} ms");
        let line = Line { actor: "scan", action: "abort uploads", collection: None, detail };
        audit::write(&mut tx, self.epoch(), line).await?;
        tx.commit().await
    }

    /// From now on nothing is deleted, for one more reason. A source that froze before keeps its time.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn freeze_deletes(&self, source: &str, why: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        tx.execute(
            "INSERT INTO delete_freezes (source, since_ms, why) VALUES ($1, $2, $3) \
             ON CONFLICT (source) DO UPDATE SET why = excluded.why",
            args![source.to_owned(), now_ms, why.to_owned()],
        )
        .await?;
        tx.commit().await
    }

    /// Takes a reason back; false when there was none of this source.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn thaw_deletes(&self, source: &str) -> Result<bool> {
        let mut tx = self.write().await?;
        let thawed = tx.execute("DELETE FROM delete_freezes WHERE source = $1", args![source.to_owned()]).await?;
        tx.commit().await?;
        Ok(thawed > 0)
    }

    async fn write_counts(&self, tx: &mut Tx, id: ScanId, counts: &ScanCounts) -> Result<()> {
        tx.execute_exactly(
            1,
            "the scan",
            "UPDATE scans SET pages_num = $3, listed_num = $4, listed_bytes = $5, orphans_num = $6, unknown_num = $7, \
             orphans_bytes = $8, missing_num = $9 WHERE scan_id = $1 AND epoch = $2 AND state = 'running'",
            args![
                id,
                self.epoch().0,
                bigint(counts.pages),
                bigint(counts.listed),
                bigint(counts.listed_bytes),
                bigint(counts.orphans),
                bigint(counts.unknown),
                bigint(counts.orphans_bytes),
                bigint(counts.missing)
            ],
        )
        .await
    }
}

impl Meta {
    /// Scans, the newest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn scans(&self, limit: u32) -> Result<Vec<ScanRecord>> {
        let mut tx = self.db.read().await?;
        let rows = tx.all(select_scans!("scan_id > 0 ORDER BY scan_id DESC LIMIT $1"), args![i64::from(limit)]).await?;
        rows.iter().map(ScanRecord::read).collect()
    }

    /// Orphans in the order of their keys, those after `after`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn orphans(&self, after: Option<&ObjectKey>, limit: u32) -> Result<Vec<OrphanRecord>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT r.object_key, r.size_bytes, r.modified_ms, r.tombstone_id, r.first_ms, r.last_ms, r.scans_num, \
                 r.allowed_ms, r.queued_as, f.gone_ms AS deleted_ms FROM orphans r \
                 LEFT JOIN file_sets f ON f.file_set_id = r.tombstone_id \
                 WHERE r.object_key > $1 ORDER BY r.object_key LIMIT $2",
                args![after.map_or_else(String::new, ToString::to_string), i64::from(limit)],
            )
            .await?;
        rows.iter().map(OrphanRecord::read).collect()
    }

    /// Why nothing is deleted at present; empty when things are.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn delete_freezes(&self) -> Result<Vec<DeleteFreeze>> {
        let mut tx = self.db.read().await?;
        freezes(&mut tx).await
    }
}

/// The reasons for which nothing is deleted: those here, and that of `elanus_meta::gc`.
pub(crate) async fn freezes(tx: &mut Tx) -> Result<Vec<DeleteFreeze>> {
    let rows = tx
        .all(
            "SELECT source, since_ms, why FROM delete_freezes UNION ALL SELECT 'gc' AS source, frozen_ms AS since_ms, \
         reason AS why FROM gc_state WHERE frozen_ms IS NOT NULL ORDER BY since_ms, source",
            args![],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(DeleteFreeze {
                source: row.try_get("source")?,
                since_ms: row.try_get("since_ms")?,
                why: row.try_get("why")?,
            })
        })
        .collect()
}

/// The last complete scan.
pub(crate) async fn last_complete(tx: &mut Tx) -> Result<Option<ScanRecord>> {
    tx.optional(LAST_COMPLETE, args![]).await?.as_ref().map(ScanRecord::read).transpose()
}

/// A new cluster has its first scan an interval after it was made.
async fn due(tx: &mut Tx, interval_ms: i64) -> Result<bool> {
    let row = tx
        .one(
            "SELECT COALESCE((SELECT MAX(started_ms) FROM scans WHERE state = 'complete'), created_ms) AS since_ms \
             FROM cluster WHERE only_row = 1",
            args![],
        )
        .await?;
    let since_ms: i64 = row.try_get("since_ms")?;
    Ok(tx.now_ms >= since_ms.saturating_add(interval_ms))
}

async fn scan(tx: &mut Tx, id: ScanId) -> Result<ScanRecord> {
    ScanRecord::read(&tx.one(select_scans!("scan_id = $1"), args![id]).await?)
}

impl ScanRecord {
    fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("scan_id")?,
            state: ScanState::from_label(row.try_get("state")?)?,
            started_ms: row.try_get("started_ms")?,
            ended_ms: row.try_get("ended_ms")?,
            counts: ScanCounts {
                pages: count(row, "pages_num")?,
                listed: count(row, "listed_num")?,
                listed_bytes: count(row, "listed_bytes")?,
                orphans: count(row, "orphans_num")?,
                unknown: count(row, "unknown_num")?,
                orphans_bytes: count(row, "orphans_bytes")?,
                missing: count(row, "missing_num")?,
            },
            held: row.try_get::<i64, _>("held")? != 0,
            accepted_ms: row.try_get("accepted_ms")?,
            message: row.try_get("message")?,
        })
    }
}

impl OrphanRecord {
    fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            orphan: Orphan {
                key: object_key(row.try_get("object_key")?)?,
                size: count(row, "size_bytes")?,
                modified_ms: row.try_get("modified_ms")?,
                tombstone: row.try_get::<Option<i64>, _>("tombstone_id")?.map(FileSetId),
            },
            deleted_ms: row.try_get("deleted_ms")?,
            first_ms: row.try_get("first_ms")?,
            last_ms: row.try_get("last_ms")?,
            scans: count(row, "scans_num")?,
            allowed: row.try_get::<Option<i64>, _>("allowed_ms")?.is_some(),
            queued_as: row.try_get::<Option<i64>, _>("queued_as")?.map(FileSetId),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: OrphanRule = OrphanRule { gap_ms: 10, age_ms: 100 };

    fn record(modified_ms: i64, tombstone: bool, scans: u64, first_ms: i64, last_ms: i64) -> OrphanRecord {
        let key = ObjectKey::parse("c/a").unwrap();
        let tombstone = tombstone.then_some(FileSetId(1));
        let orphan = Orphan { key, size: 1, modified_ms, tombstone };
        let (first_ms, last_ms) = (Some(first_ms), Some(last_ms));
        OrphanRecord { orphan, deleted_ms: None, first_ms, last_ms, scans, allowed: false, queued_as: None }
    }

    #[test]
    fn or_2_and_3_an_orphan_tells_what_it_waits_for() {
        assert_eq!(record(0, true, 2, 190, 200).state(RULE, 200), "ready");
        assert_eq!(record(101, true, 2, 190, 200).state(RULE, 200), "young");
        assert_eq!(record(0, true, 2, 191, 200).state(RULE, 200), "candidate");
        assert_eq!(record(0, true, 1, 100, 200).state(RULE, 200), "candidate");
        assert_eq!(record(0, false, 2, 190, 200).state(RULE, 200), "unknown");
        let allowed = OrphanRecord { allowed: true, ..record(0, false, 2, 190, 200) };
        assert_eq!(allowed.state(RULE, 200), "ready");
        let queued = OrphanRecord { queued_as: Some(FileSetId(1)), ..allowed };
        assert_eq!(queued.state(RULE, 200), "queued");
        assert_eq!(OrphanRecord { first_ms: None, ..queued.clone() }.state(RULE, 200), "queued");
        let seen = OrphanRecord { first_ms: None, queued_as: None, ..queued };
        assert_eq!(seen.state(RULE, 200), "seen");
    }

    #[test]
    fn or_4_more_than_one_in_a_hundred_hold_a_scan_but_never_a_few() {
        let counts = |listed, orphans, unknown| ScanCounts { listed, orphans, unknown, ..ScanCounts::default() };
        for (held, counts) in [
            (false, counts(0, 0, 0)),
            (false, counts(10, 5, 5)),
            (true, counts(11, 11, 0)),
            (false, counts(1_100, 11, 0)),
            (true, counts(1_099, 0, 11)),
            (false, counts(100_000, 500, 500)),
            (true, counts(100_000, 1_000, 1)),
        ] {
            assert_eq!(counts.are_too_many(), held, "{counts:?}");
        }
    }
}
