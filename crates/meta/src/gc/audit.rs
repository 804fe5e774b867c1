//! The audit trail: every object that was claimed or is gone, and every change of a brake. Only added to.

use crate::Meta;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::events::{self, Collected};
use crate::rows::count;
use elanus_types::{CollectionId, Epoch, FileSetId, ObjectKey};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Names the line; lines are ordered by it.
    pub id: i64,
    /// When.
    pub at_ms: i64,
    /// The coordinator that did it.
    pub epoch: Epoch,
    /// Who wanted it.
    pub actor: String,
    /// What was done: `claim`, `gone`, `pause`, `hold`, …
    pub action: String,
    /// Of which collection.
    pub collection: Option<CollectionId>,
    /// Of which file set.
    pub file_set: Option<FileSetId>,
    /// Which object.
    pub key: Option<String>,
    /// Its size, where it was known.
    pub size: Option<i64>,
    /// Its checksum, where it was known.
    pub checksum: Option<String>,
    /// Why, how much.
    pub detail: String,
}

/// What happened to no object in particular.
pub(crate) struct Line<'l> {
    pub(crate) actor: &'l str,
    pub(crate) action: &'static str,
    pub(crate) collection: Option<CollectionId>,
    pub(crate) detail: String,
}

/// Writes a line, and tells of it.
pub(crate) async fn write(tx: &mut Tx, epoch: Epoch, line: Line<'_>) -> Result<()> {
    let id = tx.allocate_ids(1).await?;
    let now_ms = tx.now_ms;
    tx.execute(
        "INSERT INTO gc_audit (audit_id, at_ms, epoch, actor, action, collection_id, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![
            id,
            now_ms,
            epoch.0,
            line.actor.to_owned(),
            line.action.to_owned(),
            line.collection.map(|id| id.0),
            line.detail.clone()
        ],
    )
    .await?;
    let Line { actor, action, collection, .. } = line;
    events::collected(tx, Collected { line: id, epoch, actor, action, collection, objects: None }).await
}

/// Writes a line for every object of a claim, set-based, and tells of all at once; how many.
pub(crate) async fn write_objects(tx: &mut Tx, epoch: Epoch, actor: &str, action: &str, claim: i64) -> Result<u64> {
    let row = tx
        .one(
            "SELECT COUNT(*) AS objects_num FROM file_sets f JOIN objects o ON o.file_set_id = f.file_set_id \
             WHERE f.claim_id = $1",
            args![claim],
        )
        .await?;
    let objects = count(&row, "objects_num")?;
    if objects == 0 {
        return Ok(0);
    }
    let first = tx.allocate_ids(u32::try_from(objects).unwrap_or(u32::MAX)).await?;
    let now_ms = tx.now_ms;
    let collected = Collected { line: first, epoch, actor, action, collection: None, objects: Some(objects) };
    events::collected(tx, collected).await?;
    tx.execute(
        "INSERT INTO gc_audit (audit_id, at_ms, epoch, actor, action, collection_id, file_set_id, object_key, \
         size_bytes, checksum, detail) \
         SELECT CAST($2 AS BIGINT) + ROW_NUMBER() OVER (ORDER BY o.object_key) - 1, CAST($3 AS BIGINT), \
         CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS TEXT), f.collection_id, f.file_set_id, o.object_key, \
         o.size_bytes, o.checksum, CASE WHEN f.ever_live = 1 THEN 'released' ELSE 'abandoned' END \
         FROM file_sets f JOIN objects o ON o.file_set_id = f.file_set_id WHERE f.claim_id = $1",
        args![claim, first, now_ms, epoch.0, actor.to_owned(), action.to_owned()],
    )
    .await
}

macro_rules! select_audit {
    ($rest:literal) => {
        concat!(
            "SELECT audit_id, at_ms, epoch, actor, action, collection_id, file_set_id, object_key, size_bytes, \
             checksum, detail FROM gc_audit WHERE ",
            $rest
        )
    };
}

impl Meta {
    /// Lines of the audit trail before `before`, newest first; of one object where a key is given.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn gc_audit(&self, key: Option<&ObjectKey>, before: Option<i64>, limit: u32) -> Result<Vec<AuditRecord>> {
        let mut tx = self.db.read().await?;
        let before = before.unwrap_or(i64::MAX);
        let rows = match key {
            Some(key) => {
                tx.all(
                    select_audit!("object_key = $1 AND audit_id < $2 ORDER BY audit_id DESC LIMIT $3"),
                    args![key.as_str().to_owned(), before, i64::from(limit)],
                )
                .await?
            }
            None => {
                tx.all(select_audit!("audit_id < $1 ORDER BY audit_id DESC LIMIT $2"), args![before, i64::from(limit)])
                    .await?
            }
        };
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<AuditRecord> {
    Ok(AuditRecord {
        id: row.try_get("audit_id")?,
        at_ms: row.try_get("at_ms")?,
        epoch: Epoch(row.try_get("epoch")?),
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        collection: row.try_get::<Option<i64>, _>("collection_id")?.map(CollectionId),
        file_set: row.try_get::<Option<i64>, _>("file_set_id")?.map(FileSetId),
        key: row.try_get("object_key")?,
        size: row.try_get("size_bytes")?,
        checksum: row.try_get("checksum")?,
        detail: row.try_get("detail")?,
    })
}
