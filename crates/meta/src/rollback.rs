//! Rollback in place: a collection holds again what one of its snapshots holds, under its own id and name.
//!
//! RB-1  Everything that a rollback takes away is in its safety snapshot, complete with manifests: the rollback commits
//!       only where no fact changed since that snapshot's timestamp.
//! RB-2  One transaction under the collection's clock. Facts that hold at the snapshot and now stay as they are; those
//!       that hold only now end; those that held only then begin again, as new facts about the same files. So every
//!       snapshot, also one of the time that is undone, stays what it was.
//! RB-3  Rows keep their timestamps, so what a delete hid at the snapshot it hides again, and nothing else.
//!
//! While the safety snapshot is written, the collection is held: writes are told to wait. The hold only lets a busy
//! collection be rolled back at all; it proves nothing and ends by itself.

use crate::catalog::COUNT_LOADED;
use crate::clock::{lock_if_live, lock_live};
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::history::{Told, record};
use crate::memberships::{self, Ending, For};
use crate::model::{NewSnapshot, SnapshotRecord, SnapshotStatus};
use crate::reads::version_at;
use crate::rows::{aging, count, from_json, ttl_s};
use crate::{Coordinator, Meta, file_sets, partition_drops, pins, snapshots};
use elanus_lifecycle::Segment;
use elanus_lifecycle::snapshot::Event;
use elanus_types::schema::CollectionSchema;
use elanus_types::{Code, CollectionId, Failure, NodeId, SnapshotId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Facts that held at `$2` and do not hold now.
macro_rules! held_then {
    () => {
        "collection_id = $1 AND added_ts <= $2 AND $2 < removed_ts AND removed_ts < 9223372036854775807"
    };
}

/// Memberships that held at `$2` and do not hold now; of indexes only those whose files come back with them, as they name
/// these by their segment (IX-1).
macro_rules! members_held_then {
    () => {
        "collection_id = $1 AND added_ts <= $2 AND $2 < removed_ts AND removed_ts < 9223372036854775807 \
         AND (kind <> 'index' OR EXISTS (SELECT 1 FROM memberships f WHERE f.segment_id = memberships.segment_id \
              AND f.base_ts = memberships.base_ts AND f.kind = 'insert' AND f.added_ts <= $2 AND $2 < f.removed_ts \
              AND f.removed_ts < 9223372036854775807))"
    };
}

/// Facts that hold now and did not hold at `$2`.
macro_rules! holds_since {
    () => {
        "collection_id = $1 AND $2 < added_ts AND removed_ts = 9223372036854775807"
    };
}

/// A row when a fact of the collection began or ended after `$2`.
const CHANGED_SINCE: &str = "
SELECT 1 AS changed WHERE
     EXISTS (SELECT 1 FROM memberships WHERE collection_id = $1 AND added_ts > $2)
  OR EXISTS (SELECT 1 FROM memberships
             WHERE collection_id = $1 AND removed_ts > $2 AND removed_ts < 9223372036854775807)
  OR EXISTS (SELECT 1 FROM partitions
             WHERE collection_id = $1 AND (added_ts > $2 OR removed_ts > $2 AND removed_ts < 9223372036854775807))
  OR EXISTS (SELECT 1 FROM indexes
             WHERE collection_id = $1 AND (added_ts > $2 OR removed_ts > $2 AND removed_ts < 9223372036854775807))
  OR EXISTS (SELECT 1 FROM collection_versions WHERE collection_id = $1 AND added_ts > $2)";

/// What to begin.
#[derive(Clone, Debug)]
pub struct NewRollback {
    /// Which collection.
    pub collection: CollectionId,
    /// To which of its snapshots.
    pub snapshot_name: String,
    /// Who writes the manifests of the safety snapshot.
    pub owner: NodeId,
    /// Until when, without a heartbeat.
    pub lease_until_ms: i64,
    /// Until when writes wait, without [`Coordinator::hold_writes`].
    pub held_until_ms: i64,
}

/// How a rollback begins.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, for a moment")]
pub enum Begun {
    /// `safety` is pending: its manifests are to be written, then the rollback is to be committed.
    New {
        /// To which snapshot.
        snapshot: SnapshotRecord,
        /// What the collection holds now.
        safety: SnapshotRecord,
    },
    /// The collection was rolled back to this snapshot and did not change since.
    Done(RollbackRecord),
    /// Another rollback of the collection is under way.
    Held,
}

/// A rollback that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackRecord {
    /// Which collection.
    pub collection: CollectionId,
    /// When: since then the collection holds what it held at the snapshot.
    pub ts: Timestamp,
    /// To which snapshot.
    pub snapshot: SnapshotId,
    /// What the collection held before.
    pub safety: SnapshotId,
    /// Its name at that time.
    pub safety_name: String,
}

/// Which facts go and come.
#[derive(Clone, Copy)]
struct Cut {
    collection: CollectionId,
    /// Timestamp of the snapshot.
    then: Timestamp,
    /// Timestamp of the rollback.
    now: Timestamp,
}

impl Coordinator {
    /// Takes the safety snapshot's timestamp and lets writes wait.
    ///
    /// # Errors
    /// 100 when the collection is not live; 2600 when it has no committed snapshot of this name.
    pub async fn begin_rollback(&self, new: NewRollback) -> Result<Begun> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, new.collection).await?;
        let snapshot = pins::committed(&mut tx, new.collection, &new.snapshot_name).await?.record;
        if let Some(done) = last(&mut tx, new.collection).await?.filter(|done| done.snapshot == snapshot.id)
            && !changed_since(&mut tx, new.collection, done.ts).await?
        {
            return Ok(Begun::Done(done));
        }
        if clock.is_held(tx.now_ms) {
            return Ok(Begun::Held);
        }
        // What the tick in `protect` will give: the row is locked.
        let name = format!("before_rollback_{}", clock.last_ts.tick(tx.now_ms));
        let safety = NewSnapshot {
            collection: new.collection,
            name,
            description: format!("taken by the rollback to {}", snapshot.name),
            owner: new.owner,
            lease_until_ms: new.lease_until_ms,
            compaction_protected_until_ms: 0,
            idempotency_key: None,
        };
        let safety = Self::protect(&mut tx, &mut clock, &safety).await?;
        set_hold(&mut tx, new.collection, new.held_until_ms).await?;
        tx.commit().await?;
        Ok(Begun::New { snapshot, safety })
    }

    /// Lets writes wait until a time, or not any longer where it is over. A collection that is not live is passed over.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn hold_writes(&self, collection: CollectionId, until_ms: i64) -> Result<()> {
        let mut tx = self.write().await?;
        set_hold(&mut tx, collection, until_ms).await?;
        tx.commit().await
    }

    /// Rolls the collection back, when its safety snapshot is complete and still says what the collection holds. `None`
    /// when something was committed after it: then nothing happened, and another safety snapshot is needed. Called again
    /// with the same safety snapshot it returns what it did.
    ///
    /// # Errors
    /// 100 when the collection is not live; 2600 when one of the snapshots is not committed any more.
    pub async fn commit_rollback(
        &self,
        collection: CollectionId,
        snapshot: SnapshotId,
        safety: SnapshotId,
    ) -> Result<Option<RollbackRecord>> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        if let Some(done) = of_safety(&mut tx, safety).await? {
            return Ok(Some(done));
        }
        let snapshot = committed(&mut tx, collection, snapshot).await?;
        let safety = committed(&mut tx, collection, safety).await?;
        if changed_since(&mut tx, collection, safety.create_ts).await? {
            return Ok(None); // RB-1
        }
        let not_before_ms = self.not_before_ms(&tx);
        // The statements below go by the rows.
        partition_drops::settle(&mut tx, collection, not_before_ms).await?;
        let now = clock.tick(&mut tx).await?;
        let cut = Cut { collection, then: snapshot.create_ts, now };
        let loaded = exchange_partitions(&mut tx, cut).await?;
        exchange_indexes(&mut tx, cut).await?;
        exchange_version(&mut tx, cut).await?;
        let files = exchange_files(&mut tx, cut, not_before_ms).await?;
        end_segments(&mut tx, collection).await?;
        if loaded {
            release_if_not_indexed(&mut tx, cut).await?;
        }
        tx.execute(COUNT_LOADED, args![collection.0]).await?;
        tx.execute(
            "UPDATE collections SET updated_ts = $2, held_until_ms = 0 WHERE collection_id = $1",
            args![collection.0, now.0],
        )
        .await?;
        tx.execute(
            "INSERT INTO rollbacks (collection_id, rollback_ts, snapshot_id, snapshot_ts, safety_snapshot_id) \
             VALUES ($1, $2, $3, $4, $5)",
            args![collection.0, now.0, snapshot.id.0, snapshot.create_ts.0, safety.id.0],
        )
        .await?;
        let detail = format!(
            "to snapshot {} ({}) of {}, before it is {} ({}), {files} files came back",
            snapshot.id, snapshot.name, snapshot.create_ts, safety.id, safety.name
        );
        let told =
            Told { machine: "collection", id: collection.0, event: "rollback", from: "live", to: "live", detail };
        record(&mut tx, &told).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        let done =
            RollbackRecord { collection, ts: now, snapshot: snapshot.id, safety: safety.id, safety_name: safety.name };
        Ok(Some(done))
    }
}

impl Coordinator {
    /// Lets writes go on, and drops the safety snapshot of a rollback that is not going to be committed. When it was
    /// committed, nothing happens and it is returned: one transaction decides (RB-1).
    ///
    /// # Errors
    /// 2601 when the safety snapshot was pinned meanwhile; when the store is away. The safety snapshot stays.
    pub async fn abandon_rollback(
        &self,
        collection: CollectionId,
        safety: SnapshotId,
    ) -> Result<Option<RollbackRecord>> {
        let mut tx = self.write().await?;
        let Some(_clock) = lock_if_live(&mut tx, collection).await? else { return Ok(None) };
        if let Some(done) = of_safety(&mut tx, safety).await? {
            return Ok(Some(done));
        }
        set_hold(&mut tx, collection, 0).await?;
        let Some(row) = snapshots::locked(&mut tx, safety).await? else { return tx.commit().await.map(|()| None) };
        if row.record.state == SnapshotStatus::Deleting {
            return tx.commit().await.map(|()| None);
        }
        let live_pin = pins::longest_live(&mut tx, safety).await?;
        self.end(tx, &row, &Event::Drop { live_pin }).await.map(|_| None)
    }
}

impl Meta {
    /// The rollback that this safety snapshot was taken for, if it happened.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn rollback_of(&self, safety: SnapshotId) -> Result<Option<RollbackRecord>> {
        let mut tx = self.db.read().await?;
        of_safety(&mut tx, safety).await
    }
}

macro_rules! select_rollbacks {
    ($rest:literal) => {
        concat!(
            "SELECT r.collection_id, r.rollback_ts, r.snapshot_id, r.safety_snapshot_id, s.name AS safety_name \
             FROM rollbacks r JOIN snapshots s ON s.snapshot_id = r.safety_snapshot_id WHERE ",
            $rest
        )
    };
}

async fn last(tx: &mut Tx, collection: CollectionId) -> Result<Option<RollbackRecord>> {
    let row = tx
        .optional(select_rollbacks!("r.collection_id = $1 ORDER BY r.rollback_ts DESC LIMIT 1"), args![collection.0])
        .await?;
    row.as_ref().map(read).transpose()
}

async fn of_safety(tx: &mut Tx, safety: SnapshotId) -> Result<Option<RollbackRecord>> {
    let row = tx.optional(select_rollbacks!("r.safety_snapshot_id = $1"), args![safety.0]).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &AnyRow) -> Result<RollbackRecord> {
    Ok(RollbackRecord {
        collection: CollectionId(row.try_get("collection_id")?),
        ts: Timestamp(row.try_get("rollback_ts")?),
        snapshot: SnapshotId(row.try_get("snapshot_id")?),
        safety: SnapshotId(row.try_get("safety_snapshot_id")?),
        safety_name: row.try_get("safety_name")?,
    })
}

async fn changed_since(tx: &mut Tx, collection: CollectionId, ts: Timestamp) -> Result<bool> {
    Ok(tx.optional(CHANGED_SINCE, args![collection.0, ts.0]).await?.is_some())
}

async fn set_hold(tx: &mut Tx, collection: CollectionId, until_ms: i64) -> Result<()> {
    let sql = "UPDATE collections SET held_until_ms = $2 WHERE collection_id = $1 AND state = 'live'";
    tx.execute(sql, args![collection.0, until_ms]).await.map(|_| ())
}

/// A snapshot of this collection that is shown, locked.
async fn committed(tx: &mut Tx, collection: CollectionId, id: SnapshotId) -> Result<SnapshotRecord> {
    let row = snapshots::locked(tx, id).await?.map(|row| row.record);
    row.filter(|one| one.collection == collection && one.state.is_shown()).ok_or_else(|| {
        let failure = Failure::new(Code::SnapshotNotFound, format!("snapshot not found[snapshot={id}]"));
        failure.context(format_args!("collection {collection}: dropped while the rollback was prepared")).into()
    })
}

/// How many facts of a kind begin again, and the first of so many fresh ids.
async fn ids_for(tx: &mut Tx, cut: Cut, count_sql: &'static str) -> Result<Option<i64>> {
    let row = tx.one(count_sql, args![cut.collection.0, cut.then.0]).await?;
    match u32::try_from(count(&row, "facts")?) {
        Ok(0) => Ok(None),
        Ok(facts) => tx.allocate_ids(facts).await.map(Some),
        Err(_) => Err(Failure::internal("there are too many facts to bring back").into()),
    }
}

/// Partitions: those that come back get new ids, in the old order. True when the collection is loaded.
async fn exchange_partitions(tx: &mut Tx, cut: Cut) -> Result<bool> {
    let Cut { collection, then, now } = cut;
    let row = tx
        .one(
            "SELECT COALESCE(MIN(loaded), 0) AS whole, COALESCE(MAX(loaded), 0) AS any_of FROM partitions \
             WHERE collection_id = $1 AND removed_ts = 9223372036854775807",
            args![collection.0],
        )
        .await?;
    // As for a partition that is created: loaded where the collection is, as a whole.
    let loaded: i64 = row.try_get("whole")?;
    tx.execute(
        concat!("UPDATE partitions SET removed_ts = $3, loaded = 0 WHERE ", holds_since!()),
        args![collection.0, then.0, now.0],
    )
    .await?;
    let counted = concat!("SELECT COUNT(*) AS facts FROM partitions WHERE ", held_then!());
    if let Some(first) = ids_for(tx, cut, counted).await? {
        tx.execute(
            concat!(
                "INSERT INTO partitions (partition_id, collection_id, name, added_ts, removed_ts, loaded) \
                 SELECT CAST($4 AS BIGINT) + ROW_NUMBER() OVER (ORDER BY partition_id) - 1, collection_id, name, \
                 CAST($3 AS BIGINT), 9223372036854775807, CAST($5 AS BIGINT) FROM partitions WHERE ",
                held_then!()
            ),
            args![collection.0, then.0, now.0, first, loaded],
        )
        .await?;
    }
    Ok(row.try_get::<i64, _>("any_of")? != 0)
}

async fn exchange_indexes(tx: &mut Tx, cut: Cut) -> Result<()> {
    let Cut { collection, then, now } = cut;
    tx.execute(
        concat!("UPDATE indexes SET removed_ts = $3 WHERE ", holds_since!()),
        args![collection.0, then.0, now.0],
    )
    .await?;
    let counted = concat!("SELECT COUNT(*) AS facts FROM indexes WHERE ", held_then!());
    let Some(first) = ids_for(tx, cut, counted).await? else { return Ok(()) };
    tx.execute(
        concat!(
            "INSERT INTO indexes (index_id, collection_id, field_id, name, params_json, added_ts, removed_ts) \
             SELECT CAST($4 AS BIGINT) + ROW_NUMBER() OVER (ORDER BY index_id) - 1, collection_id, field_id, name, \
             params_json, CAST($3 AS BIGINT), 9223372036854775807 FROM indexes WHERE ",
            held_then!()
        ),
        args![collection.0, then.0, now.0, first],
    )
    .await
    .map(|_| ())
}

/// Schema, properties and the rest, where they are not those of the snapshot. With a time to live, what comes back begins to
/// age: that is another version in any case.
async fn exchange_version(tx: &mut Tx, cut: Cut) -> Result<()> {
    let source = version_at(tx, cut.collection, Some(cut.then)).await?.row;
    let (mut aging, ttl_s) = (aging(&source)?, ttl_s(&source)?);
    let ended = match ttl_s {
        Some(_) => {
            aging = aging.brought_back(ttl_s, cut.then, cut.now);
            let sql = "UPDATE collection_versions SET removed_ts = $2 WHERE collection_id = $1 \
                       AND removed_ts = 9223372036854775807";
            tx.execute(sql, args![cut.collection.0, cut.now.0]).await?
        }
        None => {
            let sql = concat!("UPDATE collection_versions SET removed_ts = $3 WHERE ", holds_since!());
            tx.execute(sql, args![cut.collection.0, cut.then.0, cut.now.0]).await?
        }
    };
    if ended == 0 {
        return Ok(());
    }
    tx.execute_exactly(
        1,
        "the definition as of the snapshot",
        concat!(
            "INSERT INTO collection_versions (collection_id, added_ts, removed_ts, schema_json, shards_num, \
             consistency_level, properties_json, ages_from_ts, expired_before_ts) \
             SELECT collection_id, CAST($3 AS BIGINT), 9223372036854775807, schema_json, shards_num, \
             consistency_level, properties_json, CAST($4 AS BIGINT), CAST($5 AS BIGINT) \
             FROM collection_versions WHERE ",
            held_then!()
        ),
        args![cut.collection.0, cut.then.0, cut.now.0, aging.from_ts.0, aging.expired_before_ts.0],
    )
    .await
}

/// Memberships: those that come back are in new segments, one for each old one, and in the partition that has the name
/// of the old one. How many came back.
async fn exchange_files(tx: &mut Tx, cut: Cut, not_before_ms: i64) -> Result<u64> {
    let Cut { collection, then, now } = cut;
    // All of them are in the safety snapshot: nothing is released before that is dropped.
    memberships::end(tx, collection, Ending::BegunAfter(then), now, For::User, not_before_ms).await?;
    let counted = concat!("SELECT COUNT(DISTINCT segment_id) AS facts FROM memberships WHERE ", members_held_then!());
    let Some(first) = ids_for(tx, cut, counted).await? else {
        memberships::end(tx, collection, Ending::IndexesWithoutFile, now, For::User, not_before_ms).await?;
        return Ok(0);
    };
    tx.execute(
        concat!(
            "INSERT INTO segments (segment_id, collection_id, partition_id, shard, level, state, rows_num, bytes, \
             created_ts) \
             SELECT CAST($4 AS BIGINT) + ROW_NUMBER() OVER (ORDER BY s.segment_id) - 1, s.collection_id, \
             COALESCE(n.partition_id, s.partition_id), s.shard, s.level, $5, m.rows_num, m.bytes, CAST($3 AS BIGINT) \
             FROM (SELECT segment_id, CAST(SUM(CASE WHEN kind = 'index' THEN 0 ELSE rows_num END) AS BIGINT) AS rows_num, \
                          CAST(SUM(bytes) AS BIGINT) AS bytes \
                   FROM memberships WHERE ",
            members_held_then!(),
            " GROUP BY segment_id) m \
             JOIN segments s ON s.segment_id = m.segment_id \
             LEFT JOIN partitions o ON o.partition_id = s.partition_id \
             LEFT JOIN partitions n ON n.collection_id = $1 AND n.name = o.name AND n.removed_ts = 9223372036854775807"
        ),
        args![collection.0, then.0, now.0, first, Segment::flushed().label().to_owned()],
    )
    .await?;
    let files = tx
        .execute(
            concat!(
                "INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, \
                 rows_num, bytes, added_ts, removed_ts, deletes_before_ts) \
                 SELECT CAST($4 AS BIGINT) + m.position - 1, m.file_set_id, m.collection_id, \
                 COALESCE(n.partition_id, m.partition_id), m.shard, m.kind, m.base_ts, m.rows_num, m.bytes, \
                 CAST($3 AS BIGINT), 9223372036854775807, m.deletes_before_ts \
                 FROM (SELECT segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, rows_num, bytes, \
                              deletes_before_ts, DENSE_RANK() OVER (ORDER BY segment_id) AS position \
                       FROM memberships WHERE ",
                members_held_then!(),
                ") m LEFT JOIN partitions o ON o.partition_id = m.partition_id \
                 LEFT JOIN partitions n ON n.collection_id = $1 AND n.name = o.name \
                   AND n.removed_ts = 9223372036854775807"
            ),
            args![collection.0, then.0, now.0, first],
        )
        .await?;
    file_sets::reference_added(tx, collection, now).await?;
    memberships::end(tx, collection, Ending::IndexesWithoutFile, now, For::User, not_before_ms).await?;
    Ok(files)
}

/// What grew ends, for writers to open fresh segments; what has no files any more is dropped.
pub(crate) async fn end_segments(tx: &mut Tx, collection: CollectionId) -> Result<()> {
    for sql in [
        "UPDATE segments SET state = 'flushed', writer = NULL WHERE collection_id = $1 AND state = 'growing'",
        "UPDATE segments SET state = 'dropped' WHERE collection_id = $1 AND state = 'flushed' \
         AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.segment_id = segments.segment_id \
                         AND m.removed_ts = 9223372036854775807)",
    ] {
        tx.execute(sql, args![collection.0]).await?;
    }
    Ok(())
}

/// A collection can be loaded only when every vector field has an index: one that lost an index is released.
async fn release_if_not_indexed(tx: &mut Tx, cut: Cut) -> Result<()> {
    let row = tx
        .optional(
            "SELECT schema_json FROM collection_versions WHERE collection_id = $1 AND removed_ts = 9223372036854775807",
            args![cut.collection.0],
        )
        .await?
        .ok_or_else(|| MetaError::Corrupt(format!("collection {} has no definition", cut.collection)))?;
    let schema: CollectionSchema = from_json(&row, "schema_json")?;
    let rows = tx
        .all(
            "SELECT field_id FROM indexes WHERE collection_id = $1 AND removed_ts = 9223372036854775807",
            args![cut.collection.0],
        )
        .await?;
    let indexed = rows.iter().map(|row| Ok(row.try_get("field_id")?)).collect::<Result<Vec<i64>>>()?;
    if schema.vector_fields().all(|field| indexed.contains(&field.id.0)) {
        return Ok(());
    }
    tx.execute(
        "UPDATE partitions SET loaded = 0 WHERE collection_id = $1 AND removed_ts = 9223372036854775807",
        args![cut.collection.0],
    )
    .await
    .map(|_| ())
}
