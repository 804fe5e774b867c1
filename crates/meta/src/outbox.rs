//! Events that were written with their facts and wait to be published. Whoever publishes them deletes them afterwards:
//! an event may be published twice, never forgotten.

use crate::Meta;
use crate::db::args;
use crate::error::Result;
use crate::model::OutboxEvent;
use sqlx::Row;

/// Events that are forgotten in one transaction.
const TRIMMED_MAX: i64 = 10_000;

impl Meta {
    /// Waits until a commit of this process left events. Returns at once when that happened since the last call; what
    /// other processes left does not wake.
    pub async fn outbox_woken(&self) {
        self.db.outbox.notified().await;
    }

    /// The oldest events, at most `limit`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn next_events(&self, limit: u32) -> Result<Vec<OutboxEvent>> {
        let rows = self
            .db
            .read()
            .await?
            .all(
                "SELECT event_id, subject, dedup_key, payload_json, traceparent FROM outbox ORDER BY event_id LIMIT $1",
                args![i64::from(limit)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(OutboxEvent {
                    id: row.try_get("event_id")?,
                    subject: row.try_get("subject")?,
                    dedup_key: row.try_get("dedup_key")?,
                    payload_json: row.try_get("payload_json")?,
                    traceparent: row.try_get("traceparent")?,
                })
            })
            .collect()
    }

    /// Forgets events that were published. Unknown ones are passed over.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn delete_events(&self, ids: &[i64]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.write().await?;
        for id in ids {
            tx.execute("DELETE FROM outbox WHERE event_id = $1", args![*id]).await?;
        }
        tx.commit().await
    }

    /// Keeps the `keep` newest events and forgets the others, a bounded number at a time; how many were forgotten. For a
    /// bus that is away: events only wake, so the oldest ones are worth least.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn trim_events(&self, keep: u32) -> Result<u64> {
        let mut tx = self.db.read().await?;
        let newest = "SELECT event_id FROM outbox ORDER BY event_id DESC LIMIT 1 OFFSET $1";
        let Some(row) = tx.optional(newest, args![i64::from(keep)]).await? else { return Ok(0) };
        let last: i64 = row.try_get("event_id")?;
        drop(tx);
        let mut tx = self.db.write().await?;
        let forgotten = tx
            .execute(
                "DELETE FROM outbox WHERE event_id IN \
                 (SELECT event_id FROM outbox WHERE event_id <= $1 ORDER BY event_id LIMIT $2)",
                args![last, TRIMMED_MAX],
            )
            .await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}
