//! Emptying the folder of a former owner of the root path: keys that no row of this metadata ever mentioned become rows,
//! a page at a time, and go the way of every file set: claim, brakes, permit, audit trail.
//!
//! PU-1  Only keys in the folder of that cluster are queued, and never in this cluster's own.
//! PU-2  A page is queued in one transaction with where the next one begins, when nothing of the page before is left.
//! PU-3  Rows of a page end with the next page: the metadata does not grow with the size of the folder.
//!
//! Whether it may be emptied is said by the owner's marker (`elanus_objects::ownership`), before each page.

use crate::db::{Tx, args};
use crate::error::Result;
use crate::gc::audit::{self, Line};
use crate::rows::{bigint, count};
use crate::{Coordinator, Meta};
use elanus_lifecycle::FileSet;
use elanus_lifecycle::file_set::Columns;
use elanus_types::{Failure, ObjectKey};
use sqlx::Row;
use sqlx::any::AnyRow;

/// The emptying of a folder. Objects are counted when they are queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeRecord {
    /// Whose folder.
    pub cluster_id: String,
    /// Who wanted it.
    pub actor: String,
    /// Since when, in milliseconds since 1970.
    pub started_ms: i64,
    /// When everything was gone.
    pub ended_ms: Option<i64>,
    /// The next page begins after this key; `None`: at the beginning.
    pub after: Option<ObjectKey>,
    /// Queued so far.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects of the page that is under way that are not yet deleted.
    pub waiting: u64,
}

const RECORD: &str = "
SELECT cluster_id, actor, started_ms, ended_ms, after_key, objects_num, bytes,
       (SELECT COUNT(*) FROM file_sets f WHERE f.file_set_id >= p.page_first AND f.file_set_id < p.page_end
        AND f.state <> 'gone') AS waiting
FROM purges p WHERE cluster_id = $1";

/// The one that began first.
const RUNNING: &str = "SELECT cluster_id FROM purges WHERE state = 'running' ORDER BY started_ms, cluster_id LIMIT 1";

impl Meta {
    /// The emptying of this cluster's folder, where somebody wanted it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn purge(&self, cluster_id: &str) -> Result<Option<PurgeRecord>> {
        let mut tx = self.db.read().await?;
        let row = tx.optional(RECORD, args![cluster_id.to_owned()]).await?;
        row.map(|row| record(&row)).transpose()
    }

    /// The one that is to go on.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn running_purge(&self) -> Result<Option<PurgeRecord>> {
        let mut tx = self.db.read().await?;
        let Some(row) = tx.optional(RUNNING, args![]).await? else { return Ok(None) };
        let cluster_id: String = row.try_get("cluster_id")?;
        let row = tx.optional(RECORD, args![cluster_id]).await?;
        row.map(|row| record(&row)).transpose()
    }
}

impl Coordinator {
    /// Wants a folder to be emptied. One that is under way goes on; one that is complete begins again.
    ///
    /// # Errors
    /// When it is this cluster's own (PU-1), or the store is away.
    pub async fn begin_purge(&self, cluster_id: &str, actor: &str) -> Result<()> {
        self.refuse_own(cluster_id)?;
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let begun = tx
            .execute(
                "INSERT INTO purges (cluster_id, state, actor, started_ms, ended_ms, after_key, page_first, page_end, \
                 objects_num, bytes) VALUES ($1, 'running', $2, $3, NULL, '', 0, 0, 0, 0) \
                 ON CONFLICT (cluster_id) DO UPDATE SET state = 'running', actor = excluded.actor, \
                 started_ms = excluded.started_ms, ended_ms = NULL, objects_num = 0, bytes = 0 \
                 WHERE purges.state = 'complete'",
                args![cluster_id.to_owned(), actor.to_owned(), now_ms],
            )
            .await?;
        if begun > 0 {
            self.note(&mut tx, actor, "purge", format!("the folder {cluster_id}/ is to be emptied")).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Queues a page of a folder, which are all keys after that of the page before (PU-2). False when something of that page
    /// is left.
    ///
    /// # Errors
    /// [`crate::MetaError::Refused`] when a key is not in that folder (PU-1); when the store is away.
    pub async fn queue_purge(&self, cluster_id: &str, page: &[(ObjectKey, u64)]) -> Result<bool> {
        self.refuse_own(cluster_id)?;
        let inside = |key: &ObjectKey| key.as_str().strip_prefix(cluster_id).is_some_and(|rest| rest.starts_with('/'));
        if let Some((key, _)) = page.iter().find(|(key, _)| !inside(key)) {
            return Err(Failure::internal(format!("{key} is not in the folder {cluster_id}/")).into()); // PU-1
        }
        let Some((last, _)) = page.last() else { return Ok(false) };
        let mut tx = self.write().await?;
        if !end_page(&mut tx, cluster_id).await? {
            return Ok(false);
        }
        let now_ms = tx.now_ms;
        let first = tx.allocate_ids(u32::try_from(page.len()).unwrap_or(u32::MAX)).await?;
        let end = first + bigint(page.len() as u64);
        let columns = FileSet::orphan(now_ms).columns();
        tx.insert_many(
            "INSERT INTO file_sets (file_set_id, kind, state, refs, claimed_ever, ever_live, not_before_ms, reason, created_ms)",
            9,
            first..end,
            |arguments, id| {
                let Columns { state, refs, claimed_ever, ever_live, not_before_ms, reason, .. } = columns.clone();
                crate::db::add(arguments, id);
                crate::db::add(arguments, "insert".to_owned());
                crate::db::add(arguments, state);
                crate::db::add(arguments, refs);
                crate::db::add(arguments, i64::from(claimed_ever));
                crate::db::add(arguments, i64::from(ever_live));
                crate::db::add(arguments, not_before_ms);
                crate::db::add(arguments, reason);
                crate::db::add(arguments, now_ms);
            },
        )
        .await?;
        tx.insert_many(
            "INSERT INTO objects (object_key, file_set_id, ordinal, size_bytes)",
            4,
            (first..end).zip(page),
            |arguments, (id, (key, size))| {
                crate::db::add(arguments, key.to_string());
                crate::db::add(arguments, id);
                crate::db::add(arguments, 0i64);
                crate::db::add(arguments, bigint(*size));
            },
        )
        .await?;
        let bytes = page.iter().map(|(_, size)| size).sum();
        tx.execute_exactly(
            1,
            "the purge",
            "UPDATE purges SET after_key = $2, page_first = $3, page_end = $4, objects_num = objects_num + $5, \
             bytes = bytes + $6 WHERE cluster_id = $1 AND state = 'running'",
            args![cluster_id.to_owned(), last.to_string(), first, end, end - first, bigint(bytes)],
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The listing had nothing after the last page. From the beginning once more; when it had nothing from there either, the
    /// folder is empty. True then; false also when something of the last page is left.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn end_purge(&self, cluster_id: &str) -> Result<bool> {
        let mut tx = self.write().await?;
        if !end_page(&mut tx, cluster_id).await? {
            return Ok(false);
        }
        let now_ms = tx.now_ms;
        let ended = tx
            .execute(
                "UPDATE purges SET state = 'complete', ended_ms = $2 WHERE cluster_id = $1 AND state = 'running' \
                 AND after_key = ''",
                args![cluster_id.to_owned(), now_ms],
            )
            .await?;
        if ended == 0 {
            tx.execute("UPDATE purges SET after_key = '' WHERE cluster_id = $1", args![cluster_id.to_owned()]).await?;
        } else {
            self.note(&mut tx, "purge", "purged", format!("the folder {cluster_id}/ is empty")).await?;
        }
        tx.commit().await?;
        Ok(ended > 0)
    }

    fn refuse_own(&self, cluster_id: &str) -> Result<()> {
        if cluster_id == self.meta().keys().namespace() {
            let text = format!("{cluster_id} is this cluster: its own folder is never emptied");
            return Err(Failure::invalid(text).into());
        }
        Ok(())
    }

    async fn note(&self, tx: &mut Tx, actor: &str, action: &'static str, detail: String) -> Result<()> {
        audit::write(tx, self.epoch(), Line { actor, action, collection: None, detail }).await
    }
}

/// Removes the rows of the page that is under way (PU-3); false when an object of it is left, or nothing is under way.
async fn end_page(tx: &mut Tx, cluster_id: &str) -> Result<bool> {
    let sql = "SELECT page_first, page_end FROM purges WHERE cluster_id = $1 AND state = 'running' /*FOR UPDATE*/";
    let Some(row) = tx.optional(sql, args![cluster_id.to_owned()]).await? else { return Ok(false) };
    let (first, end): (i64, i64) = (row.try_get("page_first")?, row.try_get("page_end")?);
    let left =
        "SELECT COUNT(*) AS left_num FROM file_sets WHERE file_set_id >= $1 AND file_set_id < $2 AND state <> 'gone'";
    if count(&tx.one(left, args![first, end]).await?, "left_num")? > 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM objects WHERE file_set_id >= $1 AND file_set_id < $2", args![first, end]).await?;
    tx.execute("DELETE FROM file_sets WHERE file_set_id >= $1 AND file_set_id < $2", args![first, end]).await?;
    let over = "UPDATE purges SET page_first = 0, page_end = 0 WHERE cluster_id = $1";
    tx.execute(over, args![cluster_id.to_owned()]).await?;
    Ok(true)
}

fn record(row: &AnyRow) -> Result<PurgeRecord> {
    let after: String = row.try_get("after_key")?;
    Ok(PurgeRecord {
        cluster_id: row.try_get("cluster_id")?,
        actor: row.try_get("actor")?,
        started_ms: row.try_get("started_ms")?,
        ended_ms: row.try_get("ended_ms")?,
        after: if after.is_empty() { None } else { Some(crate::rows::object_key(&after)?) },
        objects: count(row, "objects_num")?,
        bytes: count(row, "bytes")?,
        waiting: count(row, "waiting")?,
    })
}
