//! The manifests of snapshots: which ones a snapshot has, in their order, and which an earlier snapshot lends to a later
//! one. A shared manifest has one reference for each snapshot that names it.

use crate::Meta;
use crate::db::{Tx, add, args};
use crate::error::{MetaError, Result};
use crate::file_sets;
use crate::model::{ManifestRecord, MembershipChanges, SnapshotBase, SnapshotRecord, Totals};
use crate::partition_drops::dropped_members;
use crate::reads::changes_between;
use crate::rows::{bigint, count, stored_object};
use elanus_types::{FileSetId, NodeId, SnapshotId, Timestamp};
use sqlx::Row;
use sqlx::any::{AnyArguments, AnyRow};

/// The newest committed snapshot of a collection before a time.
const BASE: &str = "
SELECT snapshot_id, create_ts, COALESCE(rows_num, 0) AS rows_num, COALESCE(files_num, 0) AS files_num,
       COALESCE(bytes, 0) AS bytes, COALESCE(segments_num, 0) AS segments_num
FROM snapshots WHERE collection_id = $1 AND create_ts < $2 AND state = 'committed'
ORDER BY create_ts DESC LIMIT 1";

/// Memberships of a collection that began or ended after `$2` and until `$3`, as far as `$4`.
const CHANGED: &str = concat!(
    "SELECT COUNT(*) AS changed_num FROM (\
     SELECT 1 AS one FROM memberships WHERE collection_id = $1 AND $2 < added_ts AND added_ts <= $3 \
     UNION ALL SELECT 1 AS one FROM memberships WHERE collection_id = $1 AND $2 < removed_ts AND removed_ts <= $3 \
     UNION ALL SELECT 1 AS one ",
    dropped_members!(),
    " LIMIT $4) c"
);

const MANIFESTS: &str = "
SELECT s.file_set_id, s.entries_added, s.entries_removed, s.files_num, s.rows_num, s.bytes,
       o.object_key, o.size_bytes, o.checksum
FROM snapshot_file_sets s JOIN objects o ON o.file_set_id = s.file_set_id
WHERE s.snapshot_id = $1 AND s.ordinal IS NOT NULL
ORDER BY s.ordinal";

impl Meta {
    /// What the writer of a snapshot may build on: the newest committed snapshot before it, and what changed since. `None`
    /// when there is none.
    ///
    /// Both are read at once: as long as the base is committed, nothing that changed since it is forgotten.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn changes_since_base(
        &self,
        snapshot: &SnapshotRecord,
    ) -> Result<Option<(SnapshotBase, MembershipChanges)>> {
        let mut tx = self.db.read().await?;
        let Some(row) = tx.optional(BASE, args![snapshot.collection.0, snapshot.create_ts.0]).await? else {
            return Ok(None);
        };
        let id = SnapshotId(row.try_get("snapshot_id")?);
        let create_ts = Timestamp(row.try_get("create_ts")?);
        let totals = Totals {
            rows: count(&row, "rows_num")?,
            files: count(&row, "files_num")?,
            bytes: count(&row, "bytes")?,
            segments: count(&row, "segments_num")?,
        };
        let manifests = manifests_of(&mut tx, id).await?;
        let changes = changes_between(&mut tx, snapshot.collection, create_ts, snapshot.create_ts).await?;
        Ok(Some((SnapshotBase { id, create_ts, totals, manifests }, changes)))
    }

    /// How many memberships began or ended since the newest committed snapshot before this one, or ever where there is
    /// none. Counts as far as `limit`, at a cost that does not grow beyond it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn changed_since_base(&self, snapshot: &SnapshotRecord, limit: u32) -> Result<u64> {
        let mut tx = self.db.read().await?;
        let base = tx.optional(BASE, args![snapshot.collection.0, snapshot.create_ts.0]).await?;
        let from: i64 = base.map_or(Ok(0), |row| row.try_get("create_ts"))?;
        let row = tx.one(CHANGED, args![snapshot.collection.0, from, snapshot.create_ts.0, i64::from(limit)]).await?;
        count(&row, "changed_num")
    }

    /// The manifests of a committed snapshot, in the order in which they are folded.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn snapshot_manifests(&self, id: SnapshotId) -> Result<Vec<ManifestRecord>> {
        let mut tx = self.db.read().await?;
        manifests_of(&mut tx, id).await
    }
}

async fn manifests_of(tx: &mut Tx, id: SnapshotId) -> Result<Vec<ManifestRecord>> {
    tx.all(MANIFESTS, args![id.0]).await?.iter().map(manifest).collect()
}

fn manifest(row: &AnyRow) -> Result<ManifestRecord> {
    Ok(ManifestRecord {
        file_set: FileSetId(row.try_get("file_set_id")?),
        object: stored_object(row)?,
        entries_added: count(row, "entries_added")?,
        entries_removed: count(row, "entries_removed")?,
        files: count(row, "files_num")?,
        rows: count(row, "rows_num")?,
        bytes: count(row, "bytes")?,
    })
}

/// The manifests of a snapshot that is being committed: those of its base, then its own; how many.
pub(crate) async fn commit(
    tx: &mut Tx,
    id: SnapshotId,
    by: &NodeId,
    base: Option<&SnapshotBase>,
    own: &[ManifestRecord],
) -> Result<usize> {
    let shared_num = match base {
        Some(base) => share(tx, id, base).await?,
        None => 0,
    };
    for (n, manifest) in own.iter().enumerate() {
        file_sets::commit_file_set(tx, manifest.file_set, by, std::slice::from_ref(&manifest.object)).await?;
        let mut arguments = args![id.0, manifest.file_set.0, bigint((shared_num + n) as u64)];
        add_counts(&mut arguments, manifest);
        tx.execute_exactly(
            1,
            "a manifest",
            "UPDATE snapshot_file_sets SET ordinal = $3, entries_added = $4, entries_removed = $5, files_num = $6, \
             rows_num = $7, bytes = $8 WHERE snapshot_id = $1 AND file_set_id = $2",
            arguments,
        )
        .await?;
    }
    Ok(shared_num + own.len())
}

/// Makes the manifests of `base` those of the snapshot, too; how many.
async fn share(tx: &mut Tx, id: SnapshotId, base: &SnapshotBase) -> Result<usize> {
    const RELEASED: MetaError = MetaError::Released { what: "a manifest of an earlier snapshot" };
    let shared_num = base.manifests.len();
    if !file_sets::reference_manifests(tx, base.id, shared_num).await? {
        return Err(RELEASED);
    }
    let copied = tx
        .execute(
            "INSERT INTO snapshot_file_sets (snapshot_id, file_set_id, ordinal, entries_added, entries_removed, \
             files_num, rows_num, bytes) SELECT $1, file_set_id, ordinal, entries_added, entries_removed, \
             files_num, rows_num, bytes FROM snapshot_file_sets WHERE snapshot_id = $2 AND ordinal IS NOT NULL",
            args![id.0, base.id.0],
        )
        .await?;
    if copied == shared_num as u64 { Ok(shared_num) } else { Err(RELEASED) }
}

fn add_counts(arguments: &mut AnyArguments, manifest: &ManifestRecord) {
    let ManifestRecord { entries_added, entries_removed, files, rows, bytes, .. } = manifest;
    for count in [entries_added, entries_removed, files, rows, bytes] {
        add(arguments, bigint(*count));
    }
}
