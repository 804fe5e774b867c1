//! A dropped collection that was purged, or whose time in the trash is over, comes back from the deletion queue, as it
//! was at its drop, as long as none of its files was claimed. Its snapshots ended with it;
//! each comes back by itself ([`super::undrop`]).
//!
//! UD-1  Everything or nothing: every file set that the collection held at its drop is live, or queued and never claimed;
//!       and nothing of it was forgotten.
//! UD-2  Each membership that comes back is one reference again, given in the transaction that shows the collection.

use super::audit::{self, Line};
use crate::catalog::COUNT_LOADED;
use crate::clock::lock_if_dropped;
use crate::db::{Tx, add, args};
use crate::definitions::{database_id, name_holder, record};
use crate::error::{MetaError, Result};
use crate::file_sets::{bind, live_with, stepped, update_file_sets_columns};
use crate::model::CollectionRecord;
use crate::rows::{collection_not_found, count};
use crate::{Coordinator, databases};
use elanus_lifecycle::file_set::{Columns, Event};
use elanus_types::{CollectionId, Failure, Timestamp};
use sqlx::Row;

/// Memberships of `$1` that held until its drop at `$2`.
macro_rules! held_until_drop {
    () => {
        "m.collection_id = $1 AND (m.removed_ts = $2 OR m.removed_ts = 9223372036854775807)"
    };
}

impl Coordinator {
    /// Brings a dropped collection back from the deletion queue, under its old name or `new_name`.
    ///
    /// # Errors
    /// 100 when it is not dropped; 1100 when some of its files are deleted or being deleted, or the name is taken.
    pub async fn undo_collection(
        &self,
        id: CollectionId,
        new_name: Option<&str>,
        actor: &str,
    ) -> Result<CollectionRecord> {
        let mut tx = self.write().await?;
        let Some(mut clock) = lock_if_dropped(&mut tx, id).await? else { return Err(collection_not_found(id)) };
        let row = tx
            .one(
                "SELECT c.name, d.name AS database_name, c.dropped_ts, c.forgotten_ts FROM collections c \
                 JOIN databases d ON d.database_id = c.database_id WHERE c.collection_id = $1",
                args![id.0],
            )
            .await?;
        let dropped_ts = Timestamp(row.try_get("dropped_ts")?);
        let old_name: String = row.try_get("name")?;
        let name = new_name.unwrap_or(&old_name);
        if row.try_get::<i64, _>("forgotten_ts")? >= dropped_ts.0 {
            return Err(too_late(id, "its files are deleted"));
        }
        let database_name: String = row.try_get("database_name")?;
        let database = database_id(&mut tx, &database_name).await?;
        if name_holder(&mut tx, database, name).await?.is_some() {
            let text = format!("{name} is the name of another collection or alias; bring this one back under another");
            return Err(Failure::invalid(text).into());
        }
        databases::require_room(&mut tx, database).await?;
        let files = give_back(&mut tx, id, dropped_ts).await?;
        let ts = clock.tick(&mut tx).await?;
        for sql in [
            "UPDATE memberships SET removed_ts = 9223372036854775807, release_id = NULL \
             WHERE collection_id = $1 AND removed_ts = $2",
            // Those of the drop: they hold files again. Writers open fresh ones.
            "UPDATE segments SET state = 'flushed' WHERE collection_id = $1 AND state = 'dropped' AND EXISTS \
             (SELECT 1 FROM memberships m WHERE m.segment_id = segments.segment_id AND m.added_ts < $2 \
              AND m.removed_ts = 9223372036854775807)",
        ] {
            tx.execute(sql, args![id.0, dropped_ts.0]).await?;
        }
        tx.execute_exactly(
            1,
            "the dropped collection",
            "UPDATE collections SET state = 'live', name = $2, dropped_ts = NULL, trash_until_ms = NULL, \
             released_ms = NULL, updated_ts = $3 WHERE collection_id = $1 AND state = 'dropped'",
            args![id.0, name.to_owned(), ts.0],
        )
        .await?;
        tx.execute(COUNT_LOADED, args![id.0]).await?;
        let detail = format!("back as {name}, {files} file sets left the queue");
        let line = Line { actor, action: "undo", collection: Some(id), detail };
        audit::write(&mut tx, self.epoch(), line).await?;
        clock.announce(&mut tx).await?;
        let back = record(&mut tx, id).await?.ok_or_else(|| collection_not_found(id))?;
        tx.commit().await?;
        Ok(back)
    }
}

/// A reference for each released membership of the drop; how many file sets came out of the queue.
async fn give_back(tx: &mut Tx, id: CollectionId, dropped_ts: Timestamp) -> Result<u64> {
    let of_drop = || args![id.0, dropped_ts.0];
    let row = tx
        .one(
            concat!(
                "SELECT COUNT(*) AS lost_num FROM (SELECT f.file_set_id, f.state, f.claimed_ever FROM file_sets f \
                 WHERE f.file_set_id IN (SELECT m.file_set_id FROM memberships m WHERE ",
                held_until_drop!(),
                ") ORDER BY f.file_set_id /*FOR UPDATE*/) l \
                 WHERE NOT (l.state = 'live' OR (l.state = 'queued' AND l.claimed_ever = 0))"
            ),
            of_drop(),
        )
        .await?;
    let lost = count(&row, "lost_num")?;
    if lost > 0 {
        return Err(too_late(id, &format!("{lost} of its file sets are deleted or being deleted"))); // UD-1
    }
    let (queued, live) = undo_step()?;
    let mut arguments = bind(&queued.state, &live);
    add(&mut arguments, id.0);
    add(&mut arguments, dropped_ts.0);
    let undone = tx
        .execute(
            concat!(
                "UPDATE file_sets SET ",
                update_file_sets_columns!(),
                ", covered = 0 WHERE state = $9 AND claimed_ever = 0 AND file_set_id IN \
                 (SELECT m.file_set_id FROM memberships m WHERE m.collection_id = $10 AND m.removed_ts = $11 \
                  AND m.release_id IS NOT NULL)"
            ),
            arguments,
        )
        .await?;
    // UD-2: of those that others hold, too, and of those that the collection held several times.
    tx.execute(
        "UPDATE file_sets SET refs = r.held FROM (SELECT m.file_set_id, \
           (SELECT COUNT(*) FROM memberships o WHERE o.file_set_id = m.file_set_id AND o.release_id IS NULL) + \
           COUNT(*) AS held FROM memberships m WHERE m.collection_id = $1 AND m.removed_ts = $2 \
           AND m.release_id IS NOT NULL GROUP BY m.file_set_id) r \
         WHERE r.file_set_id = file_sets.file_set_id AND file_sets.state = 'live'",
        of_drop(),
    )
    .await?;
    Ok(undone)
}

/// What the machine makes of an undo: before and after.
pub(super) fn undo_step() -> Result<(Columns, Columns)> {
    let queued = stepped(&live_with(1)?, &Event::Release { not_before_ms: 0 })?;
    Ok((queued.columns(), stepped(&queued, &Event::Undo)?.columns()))
}

fn too_late(id: CollectionId, why: &str) -> MetaError {
    Failure::invalid(format!("collection {id} cannot come back: {why}")).into()
}
