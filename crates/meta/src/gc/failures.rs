//! Objects that the store does not delete. They keep no others waiting: one that fails again and again is attempted
//! seldom, and is shown until it is gone.

use super::audit::{self, Line};
use crate::db::{Tx, add, args};
use crate::error::Result;
use crate::rows::count;
use crate::{Coordinator, Meta};
use elanus_types::ObjectKey;
use sqlx::Row;

/// Objects that are shown.
const SHOWN_MAX: i64 = 20;

/// The first failures may be those of a moment.
const FAILED: &str = " ON CONFLICT (object_key) DO UPDATE SET claim_id = excluded.claim_id, why = excluded.why,
  fails_num = gc_failures.fails_num + 1,
  retry_ms = excluded.retry_ms + CASE WHEN gc_failures.fails_num < 2 THEN 0 WHEN gc_failures.fails_num < 10 THEN 30000
                                      ELSE 600000 END";

/// True when an object of the deleting file set `f` failed and it is not yet the time to try again.
macro_rules! waits_for_retry {
    ($now:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM objects fo JOIN gc_failures fx ON fx.object_key = fo.object_key \
             WHERE fo.file_set_id = f.file_set_id AND fx.retry_ms > ",
            $now,
            ")"
        )
    };
}
pub(crate) use waits_for_retry;

/// An object that could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRecord {
    /// Its key.
    pub key: String,
    /// Attempts that failed.
    pub fails: u64,
    /// Since when.
    pub since_ms: i64,
    /// When it is attempted again.
    pub retry_ms: i64,
    /// What the store said last.
    pub why: String,
}

impl Coordinator {
    /// As [`Coordinator::mark_gone`], where the store did not delete the objects with these keys: their file sets stay
    /// claimed, and are attempted again at once, after the third failure every 30 seconds, later every ten minutes.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn mark_gone_but(&self, claim: i64, failed: &[ObjectKey], why: &str) -> Result<u64> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let why: String = why.chars().take(500).collect();
        tx.upsert_many(
            "INSERT INTO gc_failures (object_key, claim_id, fails_num, since_ms, retry_ms, why)",
            FAILED,
            6,
            failed,
            |arguments, key| {
                add(arguments, key.to_string());
                for number in [claim, 1, now_ms, now_ms] {
                    add(arguments, number);
                }
                add(arguments, why.clone());
            },
        )
        .await?;
        tx.execute(
            "UPDATE file_sets SET claim_id = NULL WHERE (claim_id = $1 OR claim_id = $2) AND file_set_id IN \
             (SELECT o.file_set_id FROM gc_failures x JOIN objects o ON o.object_key = x.object_key WHERE x.claim_id = $1)",
            args![claim, claim + 1],
        )
        .await?;
        let detail = format!("{} objects: {why}", failed.len());
        audit::write(&mut tx, self.epoch(), Line { actor: "sweep", action: "failed", collection: None, detail })
            .await?;
        let gone = self.end_claim(&mut tx, claim).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

/// What is going to be gone with this claim failed no more.
pub(super) async fn forget(tx: &mut Tx, claim: i64) -> Result<()> {
    tx.execute(
        "DELETE FROM gc_failures WHERE EXISTS (SELECT 1 FROM objects o JOIN file_sets f ON f.file_set_id = o.file_set_id \
         WHERE o.object_key = gc_failures.object_key AND (f.claim_id = $1 OR f.claim_id = $2))",
        args![claim, claim + 1],
    )
    .await
    .map(|_| ())
}

impl Meta {
    /// Objects that could not be deleted: their number, and the first of them.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn gc_failures(&self) -> Result<(u64, Vec<FailureRecord>)> {
        let mut tx = self.db.read().await?;
        let all = tx.one("SELECT COUNT(*) AS failures_num FROM gc_failures", args![]).await?;
        let rows = tx
            .all(
                "SELECT object_key, fails_num, since_ms, retry_ms, why FROM gc_failures \
                 ORDER BY fails_num DESC, object_key LIMIT $1",
                args![SHOWN_MAX],
            )
            .await?;
        let shown = rows.iter().map(|row| {
            Ok(FailureRecord {
                key: row.try_get("object_key")?,
                fails: count(row, "fails_num")?,
                since_ms: row.try_get("since_ms")?,
                retry_ms: row.try_get("retry_ms")?,
                why: row.try_get("why")?,
            })
        });
        Ok((count(&all, "failures_num")?, shown.collect::<Result<_>>()?))
    }
}
