//! A snapshot that was dropped comes back, as it was, as long as nothing of what it needs was claimed for deletion.
//!
//! A drop notes the snapshot; its release keeps the list of its manifests. What it saw stays in the rows of memberships for as
//! long as their file sets are there.
//!
//! UN-1  Exact or not at all. What is seen at its timestamp is as many objects, bytes and segments as it was committed with,
//!       and all file sets of that, its manifests and its metadata object are live, or queued and never claimed.
//! UN-2  The transaction that makes it protect again gives every reference back that its end released: each membership that
//!       it sees is one again, and so is each of its manifests. It holds the collection's row, as every release does, and
//!       the rows of the file sets, as every claim does.
//! UN-3  What never was committed does not come back, and neither do pins.

use super::audit::{self, Line};
use super::undo::undo_step;
use crate::clock::lock_live;
use crate::db::{Tx, add, args};
use crate::error::{MetaError, Result};
use crate::file_sets::{bind, update_file_sets_columns};
use crate::model::SnapshotRecord;
use crate::partition_drops::left_behind;
use crate::rows::{checksum, count, object_key};
use crate::snapshots::{self, SnapshotRow, find_by_name, move_snapshot};
use crate::{Coordinator, Meta};
use elanus_lifecycle::snapshot::Event;
use elanus_lifecycle::{Snapshot, Step};
use elanus_types::{Checksum, Code, CollectionId, Failure, ObjectKey, SnapshotId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Dropped snapshots that are listed.
const LISTED_MAX: i64 = 1_000;

/// A dropped snapshot that may come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedSnapshot {
    /// Its id, which it keeps.
    pub id: SnapshotId,
    /// Of which collection.
    pub collection: CollectionId,
    /// Its name when it was dropped.
    pub name: String,
    /// The timestamp that it pinned.
    pub create_ts: Timestamp,
    /// When it was dropped.
    pub dropped_ms: i64,
    /// Rows that it saw.
    pub rows: u64,
    /// Bytes that it saw.
    pub bytes: u64,
}

/// Which dropped snapshot of a collection is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichDropped<'n> {
    /// The one with this id.
    Id(SnapshotId),
    /// The one of this name that was dropped last.
    Name(&'n str),
}

/// What was noted of it.
struct Note {
    dropped: DroppedSnapshot,
    metadata_key: ObjectKey,
    checksum: Checksum,
    files: u64,
    segments: u64,
}

/// File sets that a dropped snapshot needs: what is seen at `$2` of collection `$1`, and what was written for `$3`.
macro_rules! needed {
    () => {
        concat!(
            "(SELECT m.file_set_id FROM memberships m WHERE m.collection_id = $1 AND m.added_ts <= $2 \
             AND $2 < m.removed_ts AND m.partition_id NOT IN ",
            left_behind!("$1", "$2"),
            " UNION SELECT s.file_set_id FROM snapshot_file_sets s WHERE s.snapshot_id = $3 \
             UNION SELECT l.file_set_id FROM dropped_snapshot_files l WHERE l.snapshot_id = $3)"
        )
    };
}

macro_rules! select_dropped {
    ($rest:literal) => {
        concat!(
            "SELECT snapshot_id, collection_id, name, create_ts, metadata_key, checksum, rows_num, files_num, bytes, \
             segments_num, dropped_ms FROM dropped_snapshots WHERE ",
            $rest
        )
    };
}

/// Notes a committed snapshot that is dropped in this transaction.
pub(crate) async fn note(tx: &mut Tx, id: SnapshotId) -> Result<()> {
    let now_ms = tx.now_ms;
    tx.execute(
        "INSERT INTO dropped_snapshots (snapshot_id, collection_id, name, description, create_ts, metadata_key, checksum, \
         rows_num, files_num, bytes, segments_num, compaction_protected_until_ms, dropped_ms) \
         SELECT s.snapshot_id, s.collection_id, s.name, s.description, s.create_ts, s.metadata_key, s.checksum, \
         COALESCE(s.rows_num, 0), COALESCE(s.files_num, 0), COALESCE(s.bytes, 0), COALESCE(s.segments_num, 0), \
         s.compaction_protected_until_ms, CAST($2 AS BIGINT) FROM snapshots s \
         WHERE s.snapshot_id = $1 AND s.state = 'committed'",
        args![id.0, now_ms],
    )
    .await
    .map(|_| ())
}

/// Keeps the list of what a release takes back of a snapshot: its file sets up to `last`.
pub(super) async fn keep_files(tx: &mut Tx, id: SnapshotId, last: i64) -> Result<()> {
    tx.execute(
        "INSERT INTO dropped_snapshot_files (snapshot_id, file_set_id, ordinal, entries_added, entries_removed, files_num, \
         rows_num, bytes) SELECT s.snapshot_id, s.file_set_id, s.ordinal, s.entries_added, s.entries_removed, s.files_num, \
         s.rows_num, s.bytes FROM snapshot_file_sets s JOIN file_sets f ON f.file_set_id = s.file_set_id \
         JOIN dropped_snapshots d ON d.snapshot_id = s.snapshot_id \
         WHERE s.snapshot_id = $1 AND s.file_set_id <= $2 AND f.ever_live = 1",
        args![id.0, last],
    )
    .await
    .map(|_| ())
}

/// Forgets at most `limit` of those that were dropped before a time; how many.
pub(super) async fn forget(tx: &mut Tx, before_ms: i64, limit: i64) -> Result<u64> {
    // The one choice of both statements: the first changes nothing of it.
    macro_rules! over {
        () => {
            "(SELECT d.snapshot_id FROM dropped_snapshots d WHERE d.dropped_ms <= $1 \
             ORDER BY d.dropped_ms, d.snapshot_id LIMIT $2)"
        };
    }
    tx.execute(concat!("DELETE FROM dropped_snapshot_files WHERE snapshot_id IN ", over!()), args![before_ms, limit])
        .await?;
    tx.execute(concat!("DELETE FROM dropped_snapshots WHERE snapshot_id IN ", over!()), args![before_ms, limit]).await
}

impl Meta {
    /// Dropped snapshots of a live collection that may still come back, newest drop first.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn dropped_snapshots(&self, collection: CollectionId) -> Result<Vec<DroppedSnapshot>> {
        let mut tx = self.db.read().await?;
        snapshots::require_live(&mut tx, collection).await?;
        let rows = tx
            .all(
                select_dropped!("collection_id = $1 ORDER BY dropped_ms DESC, snapshot_id DESC LIMIT $2"),
                args![collection.0, LISTED_MAX],
            )
            .await?;
        rows.iter().map(|row| Ok(Note::read(row)?.dropped)).collect()
    }
}

impl Coordinator {
    /// Brings a dropped snapshot of a live collection back, under its old name or `new_name`.
    ///
    /// # Errors
    /// 100 when the collection is not live; 2600 when no such snapshot was dropped, or that is too long ago; 1100 when the
    /// name is taken, or something of it is deleted, being deleted or forgotten: then nothing happened.
    pub async fn undrop_snapshot(
        &self,
        collection: CollectionId,
        which: WhichDropped<'_>,
        new_name: Option<&str>,
        actor: &str,
    ) -> Result<SnapshotRecord> {
        let mut tx = self.write().await?;
        lock_live(&mut tx, collection).await?;
        let Some(note) = find(&mut tx, collection, which).await? else { return Err(not_found(which)) };
        let id = note.dropped.id;
        let name = new_name.unwrap_or(&note.dropped.name);
        if find_by_name(&mut tx, collection, name).await?.is_some() {
            let text = format!("{name} is the name of another snapshot; bring this one back under another name");
            return Err(Failure::invalid(text).into());
        }
        require_known(&mut tx, &note).await?;
        require_there(&mut tx, &note).await?;
        let back = give_back(&mut tx, &note).await?;
        let row = deleting(&mut tx, &note).await?;
        tx.execute_exactly(
            1,
            "the dropped snapshot",
            "UPDATE snapshots SET name = $2, covered = 0 WHERE snapshot_id = $1 AND state = $3",
            args![id.0, name.to_owned(), row.machine.label().to_owned()],
        )
        .await?;
        let event = Event::Undo { metadata_key: note.metadata_key.clone(), checksum: note.checksum };
        let Step::Move(..) = move_snapshot(&mut tx, &row, &event).await? else {
            return Err(MetaError::Corrupt(format!("snapshot {id} does not come back")));
        };
        for sql in [
            "DELETE FROM dropped_snapshot_files WHERE snapshot_id = $1",
            "DELETE FROM dropped_snapshots WHERE snapshot_id = $1",
        ] {
            tx.execute(sql, args![id.0]).await?;
        }
        let detail = format!("snapshot {id} is back as {name}, {back} file sets left the queue");
        let line = Line { actor, action: "undrop", collection: Some(collection), detail };
        audit::write(&mut tx, self.epoch(), line).await?;
        let back = snapshots::locked(&mut tx, id).await?.ok_or_else(|| not_found(which))?;
        tx.commit().await?;
        Ok(back.record)
    }
}

async fn find(tx: &mut Tx, collection: CollectionId, which: WhichDropped<'_>) -> Result<Option<Note>> {
    let row = match which {
        WhichDropped::Id(id) => {
            tx.optional(select_dropped!("collection_id = $1 AND snapshot_id = $2"), args![collection.0, id.0]).await?
        }
        WhichDropped::Name(name) => {
            tx.optional(
                select_dropped!("collection_id = $1 AND name = $2 ORDER BY dropped_ms DESC, snapshot_id DESC LIMIT 1"),
                args![collection.0, name.to_owned()],
            )
            .await?
        }
    };
    row.as_ref().map(Note::read).transpose()
}

/// UN-1: nothing that it saw is forgotten. What is seen at a time can only become less.
async fn require_known(tx: &mut Tx, note: &Note) -> Result<()> {
    let row = tx
        .one(
            concat!(
                "SELECT COUNT(*) AS files_num, CAST(COALESCE(SUM(o.size_bytes), 0) AS BIGINT) AS bytes_num, \
                 COUNT(DISTINCT m.segment_id) AS segments_num \
                 FROM memberships m JOIN objects o ON o.file_set_id = m.file_set_id \
                 WHERE m.collection_id = $1 AND m.added_ts <= $2 AND $2 < m.removed_ts AND m.partition_id NOT IN ",
                left_behind!("$1", "$2")
            ),
            args![note.dropped.collection.0, note.dropped.create_ts.0],
        )
        .await?;
    let known = (count(&row, "files_num")?, count(&row, "bytes_num")?, count(&row, "segments_num")?);
    if known == (note.files, note.dropped.bytes, note.segments) {
        return Ok(());
    }
    let (files, bytes, segments) = known;
    Err(too_late(
        note,
        &format!(
            "it saw {} objects with {} bytes in {} segments, of which {files} with {bytes} bytes in {segments} are known",
            note.files, note.dropped.bytes, note.segments
        ),
    ))
}

/// UN-1: locked, in the order that everybody keeps.
async fn require_there(tx: &mut Tx, note: &Note) -> Result<()> {
    let row = tx
        .one(
            concat!(
                "SELECT COUNT(*) AS lost_num, MIN(l.file_set_id) AS first_id FROM (SELECT f.file_set_id, f.state, \
                 f.claimed_ever FROM file_sets f WHERE f.file_set_id IN ",
                needed!(),
                " ORDER BY f.file_set_id /*FOR UPDATE*/) l \
                 WHERE NOT (l.state = 'live' OR (l.state = 'queued' AND l.claimed_ever = 0))"
            ),
            note.arguments(),
        )
        .await?;
    let lost = count(&row, "lost_num")?;
    if lost > 0 {
        let first: i64 = row.try_get("first_id")?;
        let why = format!("{lost} of its file sets are deleted or being deleted, the first is {first}");
        return Err(too_late(note, &why));
    }
    // A manifest whose row ended is named by nobody any more.
    let row = tx
        .one(
            "SELECT (SELECT COUNT(*) FROM dropped_snapshot_files l WHERE l.snapshot_id = $1 AND NOT EXISTS \
             (SELECT 1 FROM file_sets f WHERE f.file_set_id = l.file_set_id)) AS lost_num, \
             (SELECT COUNT(*) FROM (SELECT s.file_set_id FROM snapshot_file_sets s WHERE s.snapshot_id = $1 \
              AND s.ordinal IS NULL UNION SELECT l.file_set_id FROM dropped_snapshot_files l WHERE l.snapshot_id = $1 \
              AND l.ordinal IS NULL) r JOIN objects o ON o.file_set_id = r.file_set_id WHERE o.object_key = $2) AS roots_num",
            args![note.dropped.id.0, note.metadata_key.to_string()],
        )
        .await?;
    if count(&row, "lost_num")? > 0 || count(&row, "roots_num")? != 1 {
        return Err(too_late(note, "its manifests are deleted"));
    }
    Ok(())
}

/// UN-2; how many file sets came out of the queue.
async fn give_back(tx: &mut Tx, note: &Note) -> Result<u64> {
    let (queued, live) = undo_step()?;
    let mut arguments = bind(&queued.state, &live);
    for argument in [note.dropped.collection.0, note.dropped.create_ts.0, note.dropped.id.0] {
        add(&mut arguments, argument);
    }
    let undone = tx
        .execute(
            concat!(
                "UPDATE file_sets SET ",
                update_file_sets_columns!(),
                ", covered = 0 WHERE state = $9 AND claimed_ever = 0 AND file_set_id IN \
                 (SELECT m.file_set_id FROM memberships m WHERE m.collection_id = $10 AND m.added_ts <= $11 \
                  AND $11 < m.removed_ts AND m.release_id IS NOT NULL \
                  UNION SELECT l.file_set_id FROM dropped_snapshot_files l WHERE l.snapshot_id = $12)"
            ),
            arguments,
        )
        .await?;
    let seen = || args![note.dropped.collection.0, note.dropped.create_ts.0];
    // Of those that others hold, too, and of those that it saw several times.
    tx.execute(
        "UPDATE file_sets SET refs = r.held FROM (SELECT m.file_set_id, \
           (SELECT COUNT(*) FROM memberships o WHERE o.file_set_id = m.file_set_id AND o.release_id IS NULL) + \
           COUNT(*) AS held FROM memberships m WHERE m.collection_id = $1 AND m.added_ts <= $2 AND $2 < m.removed_ts \
           AND m.release_id IS NOT NULL GROUP BY m.file_set_id) r \
         WHERE r.file_set_id = file_sets.file_set_id AND file_sets.state = 'live'",
        seen(),
    )
    .await?;
    tx.execute(
        "UPDATE memberships SET release_id = NULL WHERE collection_id = $1 AND added_ts <= $2 AND $2 < removed_ts \
         AND release_id IS NOT NULL",
        seen(),
    )
    .await?;
    let id = || args![note.dropped.id.0];
    tx.execute(
        "UPDATE file_sets SET refs = r.held FROM (SELECT l.file_set_id, 1 + (SELECT COUNT(*) FROM snapshot_file_sets s \
           WHERE s.file_set_id = l.file_set_id) AS held FROM dropped_snapshot_files l WHERE l.snapshot_id = $1) r \
         WHERE r.file_set_id = file_sets.file_set_id AND file_sets.state = 'live'",
        id(),
    )
    .await?;
    Ok(undone)
}

/// The snapshot as it is on its way to its end, with all its files: where its row has ended, another one.
async fn deleting(tx: &mut Tx, note: &Note) -> Result<SnapshotRow> {
    let id = note.dropped.id;
    if snapshots::locked(tx, id).await?.is_none() {
        tx.execute_exactly(
            1,
            "the dropped snapshot",
            "INSERT INTO snapshots (snapshot_id, collection_id, name, description, create_ts, state, \
             compaction_protected_until_ms, rows_num, files_num, bytes, segments_num) \
             SELECT d.snapshot_id, d.collection_id, d.name, d.description, d.create_ts, $2, \
             d.compaction_protected_until_ms, d.rows_num, d.files_num, d.bytes, d.segments_num \
             FROM dropped_snapshots d WHERE d.snapshot_id = $1",
            args![id.0, Snapshot::dropped().label().to_owned()],
        )
        .await?;
    }
    tx.execute(
        "INSERT INTO snapshot_file_sets (snapshot_id, file_set_id, ordinal, entries_added, entries_removed, files_num, \
         rows_num, bytes) SELECT l.snapshot_id, l.file_set_id, l.ordinal, l.entries_added, l.entries_removed, l.files_num, \
         l.rows_num, l.bytes FROM dropped_snapshot_files l WHERE l.snapshot_id = $1",
        args![id.0],
    )
    .await?;
    snapshots::locked(tx, id).await?.ok_or_else(|| MetaError::Corrupt(format!("snapshot {id} does not come back")))
}

impl Note {
    fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            dropped: DroppedSnapshot {
                id: SnapshotId(row.try_get("snapshot_id")?),
                collection: CollectionId(row.try_get("collection_id")?),
                name: row.try_get("name")?,
                create_ts: Timestamp(row.try_get("create_ts")?),
                dropped_ms: row.try_get("dropped_ms")?,
                rows: count(row, "rows_num")?,
                bytes: count(row, "bytes")?,
            },
            metadata_key: object_key(row.try_get("metadata_key")?)?,
            checksum: checksum(row.try_get("checksum")?)?,
            files: count(row, "files_num")?,
            segments: count(row, "segments_num")?,
        })
    }

    /// Of [`needed!`].
    fn arguments(&self) -> sqlx::any::AnyArguments {
        args![self.dropped.collection.0, self.dropped.create_ts.0, self.dropped.id.0]
    }
}

fn too_late(note: &Note, why: &str) -> MetaError {
    Failure::invalid(format!("snapshot {} cannot come back: {why}", note.dropped.name)).into()
}

/// 2600: never dropped, too long ago, or back already.
fn not_found(which: WhichDropped<'_>) -> MetaError {
    let which = match which {
        WhichDropped::Id(id) => id.to_string(),
        WhichDropped::Name(name) => name.to_owned(),
    };
    let failure = Failure::new(Code::SnapshotNotFound, format!("snapshot not found[snapshot={which}]"));
    failure.context("not dropped, back already, or dropped too long ago").into()
}
