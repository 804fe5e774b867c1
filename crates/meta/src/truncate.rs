//! The end of all rows of a collection, which stays what it is.
//!
//! Memberships end, as with everything that goes: a snapshot that was taken before holds the rows, whatever reads as of a time
//! before sees them, and a rollback brings them back. What no snapshot protects is released in the same transaction.

use crate::clock::lock_live;
use crate::error::Result;
use crate::memberships::{self, Ending, For};
use crate::{Coordinator, partition_drops, rollback};
use elanus_types::{CollectionId, Timestamp};

impl Coordinator {
    /// Ends all rows of a collection; how many files ended. Schema, partitions, indexes, snapshots and aliases stay, and it
    /// stays loaded.
    ///
    /// # Errors
    /// 100 when the collection is not live; 8 while a rollback holds it; fenced.
    pub async fn truncate_collection(&self, collection: CollectionId) -> Result<u64> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        clock.require_not_held(tx.now_ms)?;
        let not_before_ms = self.not_before_ms(&tx);
        // Rows of dropped partitions are no rows of the collection any more, but of their own clean-up.
        partition_drops::settle(&mut tx, collection, not_before_ms).await?;
        let ts = clock.tick(&mut tx).await?;
        let all = Ending::BegunAfter(Timestamp::ZERO);
        let ended = memberships::end(&mut tx, collection, all, ts, For::User, not_before_ms).await?;
        rollback::end_segments(&mut tx, collection).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        Ok(ended)
    }
}
