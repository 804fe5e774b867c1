//! Leases of readers: the oldest timestamp at which a node may still read a collection. A claim leaves alone what ended
//! after it (IV-4). A node that dies is waited for until its leases end, not longer.

use crate::Meta;
use crate::db::{add, args};
use crate::error::Result;
use elanus_types::{CollectionId, NodeId, Timestamp};

impl Meta {
    /// Renews the leases of a node: one for each collection that it reads, with the oldest timestamp of its reads. What it
    /// reads no longer is given back.
    ///
    /// # Errors
    /// When the store is away: then the old leases go on until they end.
    pub async fn renew_readers(&self, node: &NodeId, reads: &[(CollectionId, Timestamp)], until_ms: i64) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.execute("DELETE FROM reader_leases WHERE node = $1", args![node.0.clone()]).await?;
        tx.insert_many(
            "INSERT INTO reader_leases (node, collection_id, read_ts, until_ms)",
            4,
            reads,
            |arguments, (collection, ts)| {
                add(arguments, node.0.clone());
                add(arguments, collection.0);
                add(arguments, ts.0);
                add(arguments, until_ms);
            },
        )
        .await?;
        tx.commit().await
    }

    /// The time of the last release that could concern a reader without a lease: before it, views are exact only where a
    /// snapshot protects.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn forgotten_ts(&self, collection: CollectionId) -> Result<Timestamp> {
        use sqlx::Row;
        let mut tx = self.db.read().await?;
        let row =
            tx.optional("SELECT forgotten_ts FROM collections WHERE collection_id = $1", args![collection.0]).await?;
        row.map_or(Ok(Timestamp::ZERO), |row| Ok(Timestamp(row.try_get("forgotten_ts")?)))
    }
}
