//! The trash: dropped collections that can be brought back, with their snapshots and pins, until their retention ends.
//!
//! A drop ends nothing but the collection's life: its facts and its snapshots' rows stay as they are. Until when it may
//! come back is written down by the drop, so that whoever frees its files later needs no setting to know that nobody
//! wants them: `trash_until_ms` is over or NULL, and never grows again.

use crate::catalog::COUNT_LOADED;
use crate::clock::lock_if_dropped;
use crate::db::{Tx, args};
use crate::definitions::{NameHolder, database_id, name_conflict, name_holder, record};
use crate::error::{MetaError, Result};
use crate::history::{Told, record as tell_people};
use crate::model::CollectionRecord;
use crate::partition_drops::left_behind;
use crate::rows::{collection_not_found, count};
use crate::{Coordinator, Meta, databases, pins};
use elanus_types::{Code, CollectionId, Failure, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

const TRASH: &str = concat!(
    "
SELECT c.collection_id, d.name AS database_name, c.name, c.dropped_ts, c.trash_until_ms,
  (SELECT COUNT(*) FROM snapshots s WHERE s.collection_id = c.collection_id AND (s.state = 'committed' OR s.accepted = 1)) AS snapshots,
  (SELECT CAST(COALESCE(SUM(m.rows_num), 0) AS BIGINT) FROM memberships m WHERE m.collection_id = c.collection_id
     AND m.kind = 'insert' AND m.removed_ts = 9223372036854775807 AND m.partition_id NOT IN ",
    left_behind!("c.collection_id"),
    ") AS rows_num,
  (SELECT CAST(COALESCE(SUM(m.bytes), 0) AS BIGINT) FROM memberships m WHERE m.collection_id = c.collection_id
     AND m.removed_ts = 9223372036854775807 AND m.partition_id NOT IN ",
    left_behind!("c.collection_id"),
    ") AS bytes
FROM collections c JOIN databases d ON d.database_id = c.database_id
WHERE c.database_id = $1 AND c.state = 'dropped' AND c.trash_until_ms > $2
ORDER BY c.dropped_ts, c.collection_id"
);

/// A dropped collection that can be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashRecord {
    /// Its id, which it keeps.
    pub id: CollectionId,
    /// Name of its database.
    pub database: String,
    /// Its name when it was dropped.
    pub name: String,
    /// When it was dropped.
    pub dropped_ts: Timestamp,
    /// Until when it can be brought back.
    pub until_ms: i64,
    /// Committed snapshots that come back with it.
    pub snapshots: u64,
    /// Rows in its files.
    pub rows: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Meta {
    /// The dropped collections of a database that can be brought back, in the order of their drops.
    ///
    /// # Errors
    /// 800 for an unknown database; when the store is away.
    pub async fn trash(&self, database: &str) -> Result<Vec<TrashRecord>> {
        let mut tx = self.db.read().await?;
        let (database, now_ms) = (database_id(&mut tx, database).await?, tx.now_ms);
        tx.all(TRASH, args![database.0, now_ms]).await?.iter().map(read).collect()
    }
}

impl Coordinator {
    /// Brings a dropped collection back as it was, under its old name or `new_name`. One that is back under that name
    /// already is given back.
    ///
    /// # Errors
    /// 100 when it is not in the trash; 800 when its database was dropped; 1100 when the name is taken, 1601 by an alias.
    pub async fn restore_from_trash(&self, id: CollectionId, new_name: Option<&str>) -> Result<CollectionRecord> {
        let mut tx = self.write().await?;
        let Some(mut clock) = lock_if_dropped(&mut tx, id).await? else {
            let back = record(&mut tx, id).await?;
            return back.filter(|one| new_name.is_none_or(|name| name == one.name)).ok_or_else(|| not_in_trash(id));
        };
        let Some(row) = in_trash(&mut tx, id).await? else { return Err(not_in_trash(id)) };
        let old_name: String = row.try_get("name")?;
        let name = new_name.unwrap_or(&old_name);
        let database_name: String = row.try_get("database_name")?;
        let database = database_id(&mut tx, &database_name).await?;
        match name_holder(&mut tx, database, name).await? {
            None => {}
            Some(NameHolder::Alias(_)) => {
                let why = format!("{name} is an alias; bring the collection back under another name");
                return Err(name_conflict(&database_name, name).context(why).into());
            }
            Some(NameHolder::Collection(_) | NameHolder::Restore) => {
                let text = format!("a collection named {name} already exists; bring this one back under another name");
                return Err(Failure::invalid(text).into());
            }
        }
        databases::require_room(&mut tx, database).await?;
        let ts = clock.tick(&mut tx).await?;
        tx.execute_exactly(
            1,
            "the dropped collection",
            "UPDATE collections SET state = 'live', name = $2, dropped_ts = NULL, trash_until_ms = NULL, updated_ts = $3 \
             WHERE collection_id = $1 AND state = 'dropped'",
            args![id.0, name.to_owned(), ts.0],
        )
        .await?;
        // Loaded again where it was: the drop left the marks of the partitions.
        tx.execute(COUNT_LOADED, args![id.0]).await?;
        let detail = format!("from the trash, as {name}");
        tell(&mut tx, id, "restore", "live", detail).await?;
        clock.announce(&mut tx).await?;
        let back = record(&mut tx, id).await?.ok_or_else(|| collection_not_found(id))?;
        tx.commit().await?;
        Ok(back)
    }

    /// Ends the way back for a dropped collection. Nothing is deleted here. One that was purged already is passed over.
    ///
    /// # Errors
    /// 100 when it is live or unknown; 2601 when a pin keeps one of its snapshots.
    pub async fn purge_from_trash(&self, id: CollectionId) -> Result<()> {
        let mut tx = self.write().await?;
        if lock_if_dropped(&mut tx, id).await?.is_none() {
            return Err(not_in_trash(id));
        }
        if in_trash(&mut tx, id).await?.is_none() {
            return Ok(());
        }
        if let Some(name) = pins::of_collection(&mut tx, id).await? {
            let failure = Failure::new(Code::SnapshotPinned, format!("snapshot is pinned[snapshot={name}]"));
            return Err(failure.context("active pins exist, unpin before purging").into());
        }
        let sql = "UPDATE collections SET trash_until_ms = NULL WHERE collection_id = $1 AND state = 'dropped'";
        tx.execute_exactly(1, "the dropped collection", sql, args![id.0]).await?;
        tell(&mut tx, id, "purge", "dropped", String::new()).await?;
        tx.commit().await
    }
}

async fn in_trash(tx: &mut Tx, id: CollectionId) -> Result<Option<AnyRow>> {
    let now_ms = tx.now_ms;
    tx.optional(
        "SELECT c.name, d.name AS database_name FROM collections c JOIN databases d ON d.database_id = c.database_id \
         WHERE c.collection_id = $1 AND c.state = 'dropped' AND c.trash_until_ms > $2",
        args![id.0, now_ms],
    )
    .await
}

async fn tell(tx: &mut Tx, id: CollectionId, event: &'static str, to: &str, detail: String) -> Result<()> {
    let told = Told { machine: "collection", id: id.0, event, from: "dropped", to, detail };
    tell_people(tx, &told).await.map(|_| ())
}

/// 100: dropped for good, never dropped, or never there.
fn not_in_trash(id: CollectionId) -> MetaError {
    let text = format!("collection not found in the trash[collection={id}]");
    Failure::new(Code::CollectionNotFound, text).into()
}

fn read(row: &AnyRow) -> Result<TrashRecord> {
    Ok(TrashRecord {
        id: CollectionId(row.try_get("collection_id")?),
        database: row.try_get("database_name")?,
        name: row.try_get("name")?,
        dropped_ts: Timestamp(row.try_get("dropped_ts")?),
        until_ms: row.try_get("trash_until_ms")?,
        snapshots: count(row, "snapshots")?,
        rows: count(row, "rows_num")?,
        bytes: count(row, "bytes")?,
    })
}
