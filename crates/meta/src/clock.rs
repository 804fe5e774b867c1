//! The clock of a collection: one row that every commit to the collection locks and moves.
//!
//! Whoever holds the row allocates the next timestamp, and nobody else can until that transaction ends: timestamp order
//! is commit order (S-1). A timestamp must never be written into a fact before its row is locked.

use crate::db::{Tx, args};
use crate::error::Result;
use crate::rows::collection_not_found;
use elanus_types::{CollectionId, Timestamp};
use sqlx::Row;

/// A live collection whose row this transaction holds.
#[derive(Debug)]
pub(crate) struct LockedClock {
    collection: CollectionId,
    /// Timestamp of the last commit.
    pub(crate) last_ts: Timestamp,
}

/// Locks a collection that users can see; `None` when it is dropped, hidden or unknown.
pub(crate) async fn lock_if_live(tx: &mut Tx, collection: CollectionId) -> Result<Option<LockedClock>> {
    let row = tx
        .optional(
            "SELECT last_ts FROM collections WHERE collection_id = $1 AND state = 'live' /*FOR UPDATE*/",
            args![collection.0],
        )
        .await?;
    row.map(|row| Ok(LockedClock { collection, last_ts: Timestamp(row.try_get("last_ts")?) })).transpose()
}

/// As [`lock_if_live`]; 100 when there is none.
pub(crate) async fn lock_live(tx: &mut Tx, collection: CollectionId) -> Result<LockedClock> {
    lock_if_live(tx, collection).await?.ok_or_else(|| collection_not_found(collection))
}

impl LockedClock {
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
