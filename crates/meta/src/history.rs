//! What happened to each thing, for people; and the one place where a machine's move becomes a history row, an event in
//! the outbox and a log line. Nothing is ever decided by reading the history.

use crate::Meta;
use crate::db::{Tx, args};
use crate::error::Result;
use sqlx::Row;
use sqlx::any::AnyRow;

/// One line of the history of a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// When.
    pub at_ms: i64,
    /// What happened.
    pub event: String,
    /// State before; empty for the first line.
    pub from_state: String,
    /// State after.
    pub to_state: String,
    /// Who, why, how much.
    pub detail: String,
}

/// A move of a machine, as it is told.
pub(crate) struct Told<'t> {
    /// Name of the machine.
    pub(crate) machine: &'static str,
    /// Id of the thing.
    pub(crate) id: i64,
    /// Name of the event.
    pub(crate) event: &'static str,
    /// Label of the state before; empty when the thing is new.
    pub(crate) from: &'t str,
    /// Label of the state after.
    pub(crate) to: &'t str,
    /// Who, why, how much.
    pub(crate) detail: String,
}

/// Writes the history row; its id, which names the move for ever.
pub(crate) async fn record(tx: &mut Tx, told: &Told<'_>) -> Result<i64> {
    let history_id = tx.allocate_ids(1).await?;
    let now_ms = tx.now_ms;
    tx.moved(told.machine, told.from, told.to, told.event, 1);
    tx.execute(
        "INSERT INTO history (history_id, at_ms, machine, subject_id, event, from_state, to_state, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        args![
            history_id,
            now_ms,
            told.machine.to_owned(),
            told.id,
            told.event.to_owned(),
            told.from.to_owned(),
            told.to.to_owned(),
            told.detail.clone()
        ],
    )
    .await?;
    tracing::debug!(
        machine = told.machine,
        id = told.id,
        event = told.event,
        from = told.from,
        to = told.to,
        detail = told.detail,
        "moved"
    );
    Ok(history_id)
}

/// Writes the history row and puts the move in the outbox under `topic.id`.
pub(crate) async fn tell(tx: &mut Tx, topic: &'static str, told: &Told<'_>) -> Result<()> {
    let history_id = record(tx, told).await?;
    let payload = serde_json::json!({
        "machine": told.machine, "id": told.id, "event": told.event, "from": told.from, "to": told.to,
    });
    let subject = format!("{topic}.{}", told.id);
    let dedup_key = format!("{subject}.{history_id}");
    tx.announce(subject, dedup_key, payload.to_string()).await
}

impl Meta {
    /// The history of one thing, oldest first. `machine` is the `MACHINE` of its module in `elanus_lifecycle`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn history(&self, machine: &str, id: i64) -> Result<Vec<HistoryRecord>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT at_ms, event, from_state, to_state, detail FROM history \
                 WHERE machine = $1 AND subject_id = $2 ORDER BY history_id",
                args![machine.to_owned(), id],
            )
            .await?;
        rows.iter().map(HistoryRecord::read).collect()
    }
}

impl HistoryRecord {
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            at_ms: row.try_get("at_ms")?,
            event: row.try_get("event")?,
            from_state: row.try_get("from_state")?,
            to_state: row.try_get("to_state")?,
            detail: row.try_get("detail")?,
        })
    }
}
