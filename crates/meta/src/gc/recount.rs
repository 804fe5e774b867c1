//! Whether the references that file sets say they have are there (I7). A difference is damage or a bug: deletes are frozen
//! and a person must look.

use crate::Meta;
use crate::db::args;
use crate::error::Result;
use elanus_types::FileSetId;
use sqlx::Row;

/// Differences that are named.
const NAMED_MAX: i64 = 20;

/// A page of the recount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recounted {
    /// The last file set that was looked at; `None` when there are no more.
    pub last: Option<FileSetId>,
    /// File sets that have other references than they say, with both numbers.
    pub wrong: Vec<(FileSetId, i64, i64)>,
}

impl Meta {
    /// Counts the references of the file sets after `after`, at most `limit`. Each page sees one state of everything.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn recount(&self, after: FileSetId, limit: u32) -> Result<Recounted> {
        let mut tx = self.db.read().await?;
        let last = tx
            .one(
                "SELECT MAX(p.file_set_id) AS last_id FROM (SELECT f.file_set_id FROM file_sets f \
                 WHERE f.file_set_id > $1 ORDER BY f.file_set_id LIMIT $2) p",
                args![after.0, i64::from(limit)],
            )
            .await?;
        let Some(last) = last.try_get::<Option<i64>, _>("last_id")? else { return Ok(Recounted::default()) };
        let rows = tx
            .all(
                "SELECT c.file_set_id, c.refs, c.found FROM (SELECT f.file_set_id, f.refs, \
                 (SELECT COUNT(*) FROM memberships m WHERE m.file_set_id = f.file_set_id AND m.release_id IS NULL) + \
                 CASE WHEN f.ever_live = 1 THEN (SELECT COUNT(*) FROM snapshot_file_sets s \
                   WHERE s.file_set_id = f.file_set_id) ELSE 0 END AS found \
                 FROM file_sets f WHERE f.file_set_id > $1 AND f.file_set_id <= $2) c \
                 WHERE c.refs <> c.found ORDER BY c.file_set_id LIMIT $3",
                args![after.0, last, NAMED_MAX],
            )
            .await?;
        let wrong = rows
            .iter()
            .map(|row| Ok((FileSetId(row.try_get("file_set_id")?), row.try_get("refs")?, row.try_get("found")?)))
            .collect::<Result<_>>()?;
        Ok(Recounted { last: Some(FileSetId(last)), wrong })
    }
}
