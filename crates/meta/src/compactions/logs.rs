//! The end of delete logs that hide nothing any more (CP-5).
//!
//! Which ones that are is decided on what was read before (`elanus_lifecycle::deletes`); the transaction only makes sure
//! that nothing came since that needs one of them.

use crate::Coordinator;
use crate::clock::lock_if_live;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::memberships::{self, Ending, For};
use crate::partition_drops::left_behind;
use elanus_lifecycle::deletes::GROUP_TIMESTAMPS_MAX;
use elanus_types::{CollectionId, FileSetId, SegmentId, Timestamp};
use sqlx::Row;

/// A file of rows that came after `$2` and may have rows which a delete before `$3` hides. Rows that are written later than
/// a delete are never hidden by it: such a file was brought back by a rollback, exchanged by a detach, or compacted.
const CAME_SINCE: &str = "
SELECT 1 AS came FROM memberships
WHERE collection_id = $1 AND added_ts > $2 AND removed_ts = 9223372036854775807 AND kind = 'insert'
AND COALESCE(deletes_before_ts, base_ts) < $3 LIMIT 1";

impl Coordinator {
    /// Ends delete logs of which it was found out that no file of rows needs them, as the collection was at `as_of`. Those
    /// that ended meanwhile are passed over. How many ended; none when something came since that may need one, or while a
    /// rollback holds the collection.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn end_delete_logs(
        &self,
        collection: CollectionId,
        as_of: Timestamp,
        logs: &[(SegmentId, FileSetId)],
    ) -> Result<u64> {
        let mut tx = self.write().await?;
        let Some(mut clock) = lock_if_live(&mut tx, collection).await? else { return Ok(0) };
        if clock.is_held(tx.now_ms) {
            return Ok(0);
        }
        let mut live = Vec::new();
        let mut end = Timestamp::ZERO;
        for member in logs {
            if let Some(ends_before) = live_log(&mut tx, collection, *member).await? {
                end = end.max(ends_before);
                live.push(*member);
            }
        }
        let came = tx.optional(CAME_SINCE, args![collection.0, as_of.0, end.0]).await?;
        if live.is_empty() || came.is_some() {
            return Ok(0);
        }
        let ts = clock.tick(&mut tx).await?;
        let not_before_ms = self.not_before_ms(&tx);
        let ended =
            memberships::end(&mut tx, collection, Ending::Members(&live), ts, For::Successor, not_before_ms).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        Ok(ended)
    }
}

/// Before when all deletes of a log are, while it is a member.
async fn live_log(
    tx: &mut Tx,
    collection: CollectionId,
    (segment, file_set): (SegmentId, FileSetId),
) -> Result<Option<Timestamp>> {
    let row = tx
        .optional(
            concat!(
                "SELECT COALESCE(deletes_before_ts, base_ts + $4) AS ends_before FROM memberships \
             WHERE segment_id = $2 AND file_set_id = $3 AND collection_id = $1 \
             AND kind = 'delete' AND removed_ts = 9223372036854775807 AND partition_id NOT IN ",
                left_behind!("$1")
            ),
            args![collection.0, segment.0, file_set.0, GROUP_TIMESTAMPS_MAX],
        )
        .await?;
    row.map(|row| Ok(Timestamp(row.try_get("ends_before")?))).transpose()
}
