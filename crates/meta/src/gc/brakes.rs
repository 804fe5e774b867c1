//! What keeps queued file sets although nothing references them: freeze, pauses, holds, the circuit breaker. All are rows:
//! they outlive every process.

use super::audit::{self, Line};
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::rows::collection_not_found;
use crate::{Coordinator, Meta};
use elanus_lifecycle::file_set::Brake;
use elanus_types::{CollectionId, Failure, SnapshotId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Pauses and holds that may live at a time.
const LIVE_MAX: i64 = 1_000;

/// The label of the [`Brake`] that keeps the file set `f`, or NULL. `$now` is the parameter with the time.
macro_rules! brake_on {
    ($now:literal) => {
        concat!(
            "CASE WHEN EXISTS (SELECT 1 FROM gc_state g WHERE g.frozen_ms IS NOT NULL) \
             OR EXISTS (SELECT 1 FROM delete_freezes) THEN 'frozen' \
             WHEN EXISTS (SELECT 1 FROM gc_pauses w WHERE w.until_ms > ",
            $now,
            " AND (w.collection_id IS NULL OR w.collection_id = f.collection_id)) THEN 'paused' \
             WHEN EXISTS (SELECT 1 FROM gc_holds h WHERE h.snapshot_id IS NULL AND (h.collection_id = f.collection_id \
             OR h.collection_id IN (SELECT m.collection_id FROM memberships m WHERE m.file_set_id = f.file_set_id))) \
             THEN 'held' \
             WHEN EXISTS (SELECT 1 FROM memberships m JOIN reader_leases r ON r.collection_id = m.collection_id \
             WHERE m.file_set_id = f.file_set_id AND r.until_ms > ",
            $now,
            " AND r.read_ts < m.removed_ts) THEN 'read' \
             WHEN f.covered = 0 AND f.ever_live = 1 AND EXISTS \
             (SELECT 1 FROM gc_breakers b WHERE b.collection_id = f.collection_id) THEN 'breaker' END"
        )
    };
}
pub(crate) use brake_on;

/// A pause of deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseRecord {
    /// Its ticket.
    pub id: i64,
    /// Of one collection, or of everything.
    pub collection: Option<CollectionId>,
    /// When it ends by itself.
    pub until_ms: i64,
    /// When it began.
    pub created_ms: i64,
    /// Who asked.
    pub actor: String,
    /// The plan of a first run, which waits for an answer.
    pub plan: Option<i64>,
    /// Why; empty where an operator asked.
    pub why: String,
}

/// A legal hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    /// Its id.
    pub id: i64,
    /// Whose objects stay.
    pub collection: CollectionId,
    /// Only this snapshot.
    pub snapshot: Option<SnapshotId>,
    /// When it was set.
    pub created_ms: i64,
    /// Who asked.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Coordinator {
    /// Pauses deletion everywhere, or of one collection, until a time; the pause. It is a barrier only together with the
    /// end of the round that runs: the caller waits for that.
    ///
    /// # Errors
    /// 1100 when there are too many pauses or the time is over, 100 for an unknown collection.
    pub async fn pause_gc(&self, collection: Option<CollectionId>, until_ms: i64, actor: &str) -> Result<PauseRecord> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        if until_ms <= now_ms {
            return Err(Failure::invalid("a pause must end later than now").into());
        }
        if let Some(id) = collection {
            is_there(&mut tx, id).await?;
        }
        tx.execute("DELETE FROM gc_pauses WHERE until_ms <= $1", args![now_ms]).await?;
        bounded(&mut tx, "SELECT COUNT(*) AS live_num FROM gc_pauses").await?;
        let id = tx.allocate_ids(1).await?;
        tx.execute(
            "INSERT INTO gc_pauses (pause_id, collection_id, until_ms, created_ms, actor) VALUES ($1, $2, $3, $4, $5)",
            args![id, collection.map(|id| id.0), until_ms, now_ms, actor.to_owned()],
        )
        .await?;
        let detail = format!("ticket {id}, until {until_ms} ms");
        audit::write(&mut tx, self.epoch(), Line { actor, action: "pause", collection, detail }).await?;
        tx.commit().await?;
        let (plan, why) = (None, String::new());
        Ok(PauseRecord { id, collection, until_ms, created_ms: now_ms, actor: actor.to_owned(), plan, why })
    }

    /// Ends a pause, or with no ticket every pause of a collection, or every one; how many ended.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn resume_gc(&self, ticket: Option<i64>, collection: Option<CollectionId>, actor: &str) -> Result<u64> {
        let mut tx = self.write().await?;
        let ended = tx
            .execute(
                "DELETE FROM gc_pauses WHERE (CAST($1 AS BIGINT) IS NULL OR pause_id = $1) \
                 AND (CAST($2 AS BIGINT) IS NULL OR collection_id = $2)",
                args![ticket, collection.map(|id| id.0)],
            )
            .await?;
        if ended == 0 {
            return Ok(0);
        }
        let detail = format!("{ended} pauses");
        audit::write(&mut tx, self.epoch(), Line { actor, action: "resume", collection, detail }).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Puts a hold on everything that a collection has or had, also a dropped one, or on one of its snapshots.
    ///
    /// # Errors
    /// 100 for an unknown collection, 2600 for a snapshot that does not protect any more.
    pub async fn hold_gc(
        &self,
        collection: CollectionId,
        snapshot: Option<SnapshotId>,
        reason: &str,
        actor: &str,
    ) -> Result<HoldRecord> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        crate::clock::lock_any(&mut tx, collection).await?;
        is_there(&mut tx, collection).await?;
        if let Some(id) = snapshot {
            let row = crate::snapshots::locked(&mut tx, id).await?;
            row.filter(|row| row.record.collection == collection && row.machine.protects()).ok_or_else(|| {
                Failure::new(elanus_types::Code::SnapshotNotFound, format!("snapshot not found[snapshot={id}]"))
            })?;
        }
        bounded(&mut tx, "SELECT COUNT(*) AS live_num FROM gc_holds").await?;
        let id = tx.allocate_ids(1).await?;
        tx.execute(
            "INSERT INTO gc_holds (hold_id, collection_id, snapshot_id, created_ms, actor, reason) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            args![id, collection.0, snapshot.map(|id| id.0), now_ms, actor.to_owned(), reason.to_owned()],
        )
        .await?;
        let detail = format!("hold {id}: {reason}");
        let line = Line { actor, action: "hold", collection: Some(collection), detail };
        audit::write(&mut tx, self.epoch(), line).await?;
        tx.commit().await?;
        Ok(HoldRecord {
            id,
            collection,
            snapshot,
            created_ms: now_ms,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        })
    }

    /// Lifts a hold; false when there is none.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn lift_hold(&self, hold: i64, actor: &str) -> Result<bool> {
        let mut tx = self.write().await?;
        if tx.execute("DELETE FROM gc_holds WHERE hold_id = $1", args![hold]).await? == 0 {
            return Ok(false);
        }
        let detail = format!("hold {hold}");
        audit::write(&mut tx, self.epoch(), Line { actor, action: "lift", collection: None, detail }).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Freezes all deletes until an operator thaws them. One that is frozen stays frozen for its first reason.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn freeze_gc(&self, reason: &str, actor: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let frozen = tx
            .execute(
                "UPDATE gc_state SET frozen_ms = $1, reason = $2 WHERE only_row = 1 AND frozen_ms IS NULL",
                args![now_ms, reason.to_owned()],
            )
            .await?;
        if frozen == 0 {
            return Ok(());
        }
        let line = Line { actor, action: "freeze", collection: None, detail: reason.to_owned() };
        audit::write(&mut tx, self.epoch(), line).await?;
        tx.commit().await
    }

    /// Lets deletes go on after a freeze; false when they were not frozen.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn thaw_gc(&self, actor: &str) -> Result<bool> {
        let mut tx = self.write().await?;
        let sql = "UPDATE gc_state SET frozen_ms = NULL, reason = NULL WHERE only_row = 1 AND frozen_ms IS NOT NULL";
        if tx.execute(sql, args![]).await? == 0 {
            return Ok(false);
        }
        let line = Line { actor, action: "thaw", collection: None, detail: String::new() };
        audit::write(&mut tx, self.epoch(), line).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Meta {
    /// Pauses that live, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn gc_pauses(&self) -> Result<Vec<PauseRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let rows = tx
            .all(
                "SELECT pause_id, collection_id, until_ms, created_ms, actor, plan_id, why FROM gc_pauses \
                 WHERE until_ms > $1 ORDER BY pause_id",
                args![now_ms],
            )
            .await?;
        rows.iter().map(pause).collect()
    }

    /// Holds, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn gc_holds(&self) -> Result<Vec<HoldRecord>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT hold_id, collection_id, snapshot_id, created_ms, actor, reason FROM gc_holds ORDER BY hold_id",
                args![],
            )
            .await?;
        rows.iter().map(hold).collect()
    }
}

/// What keeps everything that a collection would release or have deleted.
pub(crate) async fn on_collection(tx: &mut Tx, collection: CollectionId) -> Result<Option<Brake>> {
    let now_ms = tx.now_ms;
    let row = tx
        .one(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM gc_state WHERE frozen_ms IS NOT NULL) \
             OR EXISTS (SELECT 1 FROM delete_freezes) THEN 'frozen' \
             WHEN EXISTS (SELECT 1 FROM gc_pauses WHERE until_ms > $2 AND (collection_id IS NULL OR collection_id = $1)) \
             THEN 'paused' \
             WHEN EXISTS (SELECT 1 FROM gc_holds WHERE collection_id = $1 AND snapshot_id IS NULL) THEN 'held' END AS brake",
            args![collection.0, now_ms],
        )
        .await?;
    brake(row.try_get("brake")?)
}

/// What keeps everything everywhere.
pub(crate) async fn on_everything(tx: &mut Tx) -> Result<Option<Brake>> {
    let now_ms = tx.now_ms;
    let row = tx
        .one(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM gc_state WHERE frozen_ms IS NOT NULL) \
             OR EXISTS (SELECT 1 FROM delete_freezes) THEN 'frozen' \
             WHEN EXISTS (SELECT 1 FROM gc_pauses WHERE until_ms > $1 AND collection_id IS NULL) \
             THEN 'paused' END AS brake",
            args![now_ms],
        )
        .await?;
    brake(row.try_get("brake")?)
}

/// The brake of a label.
pub(crate) fn brake(label: Option<&str>) -> Result<Option<Brake>> {
    let Some(label) = label else { return Ok(None) };
    [Brake::Frozen, Brake::Paused, Brake::Held, Brake::Read, Brake::Breaker]
        .into_iter()
        .find(|brake| brake.label() == label)
        .map(Some)
        .ok_or_else(|| MetaError::Corrupt(format!("{label:?} is not a brake")))
}

/// Also a dropped one.
async fn is_there(tx: &mut Tx, collection: CollectionId) -> Result<()> {
    let found = tx.optional("SELECT 1 AS found FROM collections WHERE collection_id = $1", args![collection.0]).await?;
    found.map(|_| ()).ok_or_else(|| collection_not_found(collection))
}

async fn bounded(tx: &mut Tx, sql: &'static str) -> Result<()> {
    let row = tx.one(sql, args![]).await?;
    if row.try_get::<i64, _>("live_num")? < LIVE_MAX {
        return Ok(());
    }
    Err(Failure::invalid(format!("there are {LIVE_MAX} of them already; end some first")).into())
}

fn pause(row: &AnyRow) -> Result<PauseRecord> {
    Ok(PauseRecord {
        id: row.try_get("pause_id")?,
        collection: row.try_get::<Option<i64>, _>("collection_id")?.map(CollectionId),
        until_ms: row.try_get("until_ms")?,
        created_ms: row.try_get("created_ms")?,
        actor: row.try_get("actor")?,
        plan: row.try_get("plan_id")?,
        why: row.try_get::<Option<String>, _>("why")?.unwrap_or_default(),
    })
}

fn hold(row: &AnyRow) -> Result<HoldRecord> {
    Ok(HoldRecord {
        id: row.try_get("hold_id")?,
        collection: CollectionId(row.try_get("collection_id")?),
        snapshot: row.try_get::<Option<i64>, _>("snapshot_id")?.map(SnapshotId),
        created_ms: row.try_get("created_ms")?,
        actor: row.try_get("actor")?,
        reason: row.try_get("reason")?,
    })
}
