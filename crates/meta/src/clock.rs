//! The clock of a collection: one row that every commit to the collection locks and moves.
//!
//! Whoever holds the row allocates the next timestamp, and nobody else can until that transaction ends: timestamp order
//! is commit order (S-1). A timestamp must never be written into a fact before its row is locked.

use crate::db::{Tx, args};
use crate::error::Result;
use crate::rows::collection_not_found;
use elanus_types::{Code, CollectionId, Failure, Timestamp};
use sqlx::Row;

/// A live collection whose row this transaction holds.
#[derive(Debug)]
pub(crate) struct LockedClock {
    collection: CollectionId,
    /// Timestamp of the last commit.
    pub(crate) last_ts: Timestamp,
    /// Until when no write commits.
    held_until_ms: i64,
}

/// Locks a collection that users can see; `None` when it is dropped, hidden or unknown.
pub(crate) async fn lock_if_live(tx: &mut Tx, collection: CollectionId) -> Result<Option<LockedClock>> {
    lock_if(tx, collection, "live").await
}

/// Locks a collection that was dropped.
pub(crate) async fn lock_if_dropped(tx: &mut Tx, collection: CollectionId) -> Result<Option<LockedClock>> {
    lock_if(tx, collection, "dropped").await
}

/// Locks a collection in whatever state, where there is one.
pub(crate) async fn lock_any(tx: &mut Tx, collection: CollectionId) -> Result<()> {
    let sql = "SELECT collection_id FROM collections WHERE collection_id = $1 /*FOR UPDATE*/";
    tx.optional(sql, args![collection.0]).await.map(|_| ())
}

async fn lock_if(tx: &mut Tx, collection: CollectionId, state: &str) -> Result<Option<LockedClock>> {
    let row = tx
        .optional(
            "SELECT last_ts, held_until_ms FROM collections WHERE collection_id = $1 AND state = $2 /*FOR UPDATE*/",
            args![collection.0, state.to_owned()],
        )
        .await?;
    row.map(|row| {
        let last_ts = Timestamp(row.try_get("last_ts")?);
        Ok(LockedClock { collection, last_ts, held_until_ms: row.try_get("held_until_ms")? })
    })
    .transpose()
}

/// As [`lock_if_live`]; 100 when there is none.
pub(crate) async fn lock_live(tx: &mut Tx, collection: CollectionId) -> Result<LockedClock> {
    lock_if_live(tx, collection).await?.ok_or_else(|| collection_not_found(collection))
}

/// Refuses a write while a rollback holds the collection: clients wait a moment and try again.
pub(crate) fn require_not_held(collection: CollectionId, held_until_ms: i64, now_ms: i64) -> Result<()> {
    if held_until_ms <= now_ms {
        return Ok(());
    }
    let text = format!("collection {collection} is being rolled back; writes wait until that is done, try again");
    Err(Failure::new(Code::RateLimit, text).into())
}

impl LockedClock {
    /// True while a rollback keeps writes out.
    pub(crate) fn is_held(&self, now_ms: i64) -> bool {
        self.held_until_ms > now_ms
    }

    /// 8 while a rollback keeps writes out.
    pub(crate) fn require_not_held(&self, now_ms: i64) -> Result<()> {
        require_not_held(self.collection, self.held_until_ms, now_ms)
    }

    /// The timestamp of this transaction's facts.
    pub(crate) async fn tick(&mut self, tx: &mut Tx) -> Result<Timestamp> {
        self.tick_for(tx, 1).await
    }

    /// The first of `requests` timestamps that belong to this transaction.
    pub(crate) async fn tick_for(&mut self, tx: &mut Tx, requests: u32) -> Result<Timestamp> {
        let base = self.last_ts.tick(tx.now_ms);
        let last = Timestamp(base.0 + i64::from(requests.max(1)) - 1);
        tx.execute_exactly(
            1,
            "the collection's clock",
            "UPDATE collections SET last_ts = $2 WHERE collection_id = $1 AND last_ts = $3",
            args![self.collection.0, last.0, self.last_ts.0],
        )
        .await?;
        self.last_ts = last;
        Ok(base)
    }

    /// Tells whoever caches the collection that it changed up to `last_ts`.
    pub(crate) async fn announce(&self, tx: &mut Tx) -> Result<()> {
        let subject = format!("collection.{}", self.collection);
        let dedup_key = format!("{subject}.{}", self.last_ts);
        tx.announce(subject, dedup_key, "{}".to_owned()).await
    }
}
