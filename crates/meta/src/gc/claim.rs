//! Queued → deleting → gone, set-based. The only place where permits to delete are made, and from nothing but the rows
//! that a committed claim shows, keys and all.
//!
//! CL-1  One transaction claims: it proves the epoch, and takes what is queued, whose tolerance is over, and that no brake
//!       keeps. A claimed file set never comes back.
//! CL-2  Permits leave this module after that transaction was committed.
//! CL-3  What is gone is what a claim gave permits for. A row that cannot be read is claimed by nobody's permit and never
//!       gone.
//! CL-4  More than the circuit breaker allows: nothing of the collection is claimed, and an operator is asked.

use super::audit::{self, Line};
use super::brakes::{self, brake_on};
use super::failures::{self, waits_for_retry};
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::file_sets::{self, Abandon, columns_of, file_set_columns, live_with, stepped};
use crate::machines::concerns_one;
use crate::model::KnownObject;
use crate::partition_drops::left_behind;
use crate::rows::{bigint, checksum, count, object_key};
use crate::{Coordinator, Meta};
use elanus_lifecycle::breaker::{self, Amount};
use elanus_lifecycle::file_set::{Columns, Event};
use elanus_lifecycle::{ClaimedRow, DeletePermit, FileSet};
use elanus_types::{CollectionId, FileSetId, NodeId, ObjectKey};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Window of the circuit breaker.
const HOUR_MS: i64 = 3_600_000;
/// A claim that opens breakers is tried again without their collections; so often.
const TRIES_MAX: usize = 8;

/// What a claim may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// At most so many file sets, those whose deletion has begun included.
    Any(u32),
    /// At most so many of an operator's plan. The circuit breaker was answered with it.
    Plan(i64, u32),
}

/// File sets whose objects are to be deleted.
#[derive(Debug, Default)]
pub struct Claimed {
    /// Names the claim; to be told to [`Coordinator::mark_gone`] when the store has answered for every permit.
    pub claim: i64,
    /// How many file sets.
    pub file_sets: u64,
    /// One an object.
    pub permits: Vec<DeletePermit>,
}

/// What a transaction that claims came to.
enum Outcome {
    Claimed(Claimed),
    /// These collections would lose more than their breakers allow; nothing happened.
    Trips(Vec<(i64, Amount)>),
}

impl Coordinator {
    /// Abandons at most `limit` intents whose lease is over, a restore job's aside; how many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expire_intents(&self, limit: u32) -> Result<u64> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let abandoned = file_sets::abandon(&mut tx, Abandon::LeaseOver(i64::from(limit)), now_ms).await?;
        if abandoned > 0 {
            tx.commit().await?;
        }
        Ok(abandoned)
    }

    /// For a start at which every process but these is dead for sure: ends their pending snapshots, takes their copy
    /// tasks back and abandons their intents; how many things. What they had leased is free at once.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expire_other_owners(&self, alive: &[NodeId]) -> Result<u64> {
        let mut ended = self.take_back_from_others(alive).await? + self.end_snapshots_of_others(alive).await?;
        self.end_leases_of_others(alive).await?;
        let mut read = self.meta().db.read().await?;
        let rows = read
            .all(
                "SELECT DISTINCT owner FROM file_sets WHERE state = 'intent' AND job_id IS NULL AND owner IS NOT NULL",
                args![],
            )
            .await?;
        drop(read);
        for row in &rows {
            let owner = NodeId(row.try_get("owner")?);
            if !alive.contains(&owner) {
                let mut tx = self.write().await?;
                let now_ms = tx.now_ms;
                ended += file_sets::abandon(&mut tx, Abandon::Owner(&owner), now_ms).await?;
                tx.commit().await?;
            }
        }
        Ok(ended)
    }

    /// Nobody gives work to the dead, and what they were listing is for the next one.
    async fn end_leases_of_others(&self, alive: &[NodeId]) -> Result<()> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let holders = "SELECT node_id FROM workers \
                       UNION SELECT owner AS node_id FROM snapshots WHERE accepted = 1 AND owner IS NOT NULL";
        for row in tx.all(holders, args![]).await? {
            let node = NodeId(row.try_get("node_id")?);
            if alive.contains(&node) {
                continue;
            }
            tx.execute("DELETE FROM workers WHERE node_id = $1", args![node.0.clone()]).await?;
            tx.execute(
                "UPDATE snapshots SET lease_until_ms = $2 WHERE accepted = 1 AND owner = $1 AND lease_until_ms > $2",
                args![node.0, now_ms],
            )
            .await?;
        }
        tx.commit().await
    }

    /// For a take-over while other processes live: ends the pending snapshots of earlier coordinators, which can never
    /// commit them; how many. What data nodes are writing and copying goes on.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expire_other_coordinators(&self, me: &NodeId) -> Result<u64> {
        self.end_snapshots_of_others(std::slice::from_ref(me)).await
    }

    /// Claims what nothing needs. To be repeated as long as it returns any. What was claimed before and is not gone is
    /// claimed again: permits are harmless twice.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn claim_unneeded(&self, room: Room) -> Result<Claimed> {
        for _ in 0..TRIES_MAX {
            match self.try_claim(room).await? {
                Outcome::Claimed(claimed) => return Ok(claimed),
                Outcome::Trips(collections) => self.open_breakers(&collections).await?,
            }
        }
        Ok(Claimed::default())
    }

    async fn try_claim(&self, room: Room) -> Result<Outcome> {
        let mut tx = self.write().await?;
        if brakes::on_everything(&mut tx).await?.is_some() {
            return Ok(Outcome::Claimed(Claimed::default()));
        }
        // Two: those that are claimed for the first time are counted and audited.
        let again = tx.allocate_ids(2).await?;
        let first = again + 1;
        let (limit, plan) = match room {
            Room::Any(limit) => (limit, None),
            Room::Plan(plan, limit) => (limit, Some(plan)),
        };
        let begun = match plan {
            None => reclaim(&mut tx, again, limit.div_ceil(2)).await?,
            Some(_) => 0,
        };
        let room = limit.saturating_sub(u32::try_from(begun).unwrap_or(u32::MAX));
        let taken = match plan {
            None => take(&mut tx, first, room).await?,
            Some(plan) => take_of_plan(&mut tx, first, plan, room).await?,
        };
        if begun + taken == 0 {
            return Ok(Outcome::Claimed(Claimed::default()));
        }
        if taken > 0 {
            let uncovered = uncovered(&mut tx, first).await?;
            if plan.is_none() {
                let trips = trips(&mut tx, &uncovered).await?;
                if !trips.is_empty() {
                    return Ok(Outcome::Trips(trips)); // CL-4
                }
            }
            note(&mut tx, first, &uncovered).await?;
            audit::write_objects(&mut tx, self.epoch(), "sweep", "claim", first).await?;
        }
        let rows = claimed_rows(&mut tx, again).await?;
        tx.commit().await?;
        let file_sets = rows.len() as u64;
        let permits = rows.into_iter().flat_map(ClaimedRow::permits).collect(); // CL-2
        Ok(Outcome::Claimed(Claimed { claim: again, file_sets, permits }))
    }

    async fn open_breakers(&self, collections: &[(i64, Amount)]) -> Result<()> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        for (id, amount) in collections {
            tracing::error!(
                collection = id,
                objects = amount.objects,
                bytes = amount.bytes,
                "the circuit breaker opens: more would be deleted than nobody asked for; look with gc plan, answer with gc apply"
            );
            tx.execute(
                "INSERT INTO gc_breakers (collection_id, opened_ms, objects_num, bytes) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (collection_id) DO NOTHING",
                args![*id, now_ms, bigint(amount.objects), bigint(amount.bytes)],
            )
            .await?;
            let detail = format!("{} objects, {} bytes within an hour", amount.objects, amount.bytes);
            let collection = Some(CollectionId(*id));
            let line = Line { actor: "sweep", action: "breaker opened", collection, detail };
            audit::write(&mut tx, self.epoch(), line).await?;
        }
        tx.commit().await
    }

    /// The store has answered for every object of a claim: it is deleted or was absent. How many file sets are gone now;
    /// of a claim that is gone already or was taken over, none.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn mark_gone(&self, claim: i64) -> Result<u64> {
        let mut tx = self.write().await?;
        let gone = self.end_claim(&mut tx, claim).await?;
        if gone > 0 {
            tx.commit().await?;
        }
        Ok(gone)
    }

    pub(super) async fn end_claim(&self, tx: &mut Tx, claim: i64) -> Result<u64> {
        let now_ms = tx.now_ms;
        let (before, after) = gone_step()?;
        failures::forget(tx, claim).await?;
        for id in [claim, claim + 1] {
            audit::write_objects(tx, self.epoch(), "sweep", "gone", id).await?;
        }
        tx.execute(
            "UPDATE file_sets SET state = $1, gone_ms = $2, claim_id = NULL \
             WHERE state = $3 AND (claim_id = $4 OR claim_id = $5)",
            args![after.state, now_ms, before.state, claim, claim + 1],
        )
        .await
    }
}

impl Meta {
    /// True when a claim would take something: to be asked before anything is asked of the object store.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn is_anything_due(&self) -> Result<bool> {
        let mut tx = self.db.read().await?;
        if brakes::on_everything(&mut tx).await?.is_some() {
            return Ok(false);
        }
        let now_ms = tx.now_ms;
        let row = tx
            .optional(
                concat!(
                    "SELECT 1 AS due WHERE EXISTS (SELECT 1 FROM file_sets f WHERE f.state = 'deleting' AND NOT ",
                    waits_for_retry!("$1"),
                    ") OR EXISTS (SELECT 1 FROM file_sets f WHERE f.state = 'queued' AND f.not_before_ms <= $1 AND ",
                    brake_on!("$1"),
                    " IS NULL)"
                ),
                args![now_ms],
            )
            .await?;
        Ok(row.is_some())
    }

    /// Objects that the metadata knows, by key, those after `after`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn known_objects(&self, after: Option<&ObjectKey>, limit: u32) -> Result<Vec<KnownObject>> {
        self.known_between(after, None, limit).await
    }

    /// How many objects the metadata knows.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn objects_number(&self) -> Result<u64> {
        let mut tx = self.db.read().await?;
        count(&tx.one("SELECT COUNT(*) AS objects_num FROM objects", args![]).await?, "objects_num")
    }

    /// Every `n`-th key of the objects that the metadata knows, in order, without the last one.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn every_nth_object(&self, n: u64) -> Result<Vec<ObjectKey>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT r.object_key FROM (SELECT o.object_key, ROW_NUMBER() OVER (ORDER BY o.object_key) AS place \
                 FROM objects o) r WHERE r.place % $1 = 0 \
                 AND r.object_key < (SELECT MAX(l.object_key) FROM objects l) ORDER BY r.object_key",
                args![bigint(n.max(1))],
            )
            .await?;
        rows.iter().map(|row| object_key(row.try_get("object_key")?)).collect()
    }

    /// As [`Meta::known_objects`], those not after `until`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn known_between(
        &self,
        after: Option<&ObjectKey>,
        until: Option<&ObjectKey>,
        limit: u32,
    ) -> Result<Vec<KnownObject>> {
        let mut tx = self.db.read().await?;
        let after = after.map_or_else(String::new, ToString::to_string);
        // No character of a key comes after it.
        let until = until.map_or_else(|| "~".to_owned(), ToString::to_string);
        let rows = tx
            .all(
                "SELECT o.object_key, o.size_bytes, o.checksum, o.file_set_id, f.state, f.ever_live FROM objects o \
                 JOIN file_sets f ON f.file_set_id = o.file_set_id WHERE o.object_key > $1 AND o.object_key <= $2 \
                 ORDER BY o.object_key LIMIT $3",
                args![after, until, i64::from(limit)],
            )
            .await?;
        rows.iter().map(known_object).collect()
    }
}

fn known_object(row: &AnyRow) -> Result<KnownObject> {
    let state: String = row.try_get("state")?;
    let size: Option<i64> = row.try_get("size_bytes")?;
    let sum: Option<String> = row.try_get("checksum")?;
    Ok(KnownObject {
        key: object_key(row.try_get("object_key")?)?,
        file_set: FileSetId(row.try_get("file_set_id")?),
        size: size.and_then(|size| u64::try_from(size).ok()),
        checksum: sum.as_deref().map(checksum).transpose()?,
        abandoned: row.try_get::<i64, _>("ever_live")? == 0 && state != "intent",
        file_set_state: state,
    })
}

/// Some of those whose deletion has begun, by chance: objects that cannot be deleted keep no others waiting (O-1).
async fn reclaim(tx: &mut Tx, claim: i64, limit: u32) -> Result<u64> {
    let now_ms = tx.now_ms;
    tx.execute(
        concat!(
            "UPDATE file_sets SET claim_id = $1 WHERE file_set_id IN (SELECT f.file_set_id FROM file_sets f \
             WHERE f.state = 'deleting' AND NOT EXISTS (SELECT 1 FROM gc_pauses w WHERE w.until_ms > $2 \
             AND w.collection_id = f.collection_id) AND NOT ",
            waits_for_retry!("$2"),
            " ORDER BY RANDOM() LIMIT $3)"
        ),
        args![claim, now_ms, i64::from(limit)],
    )
    .await
}

/// CL-1
async fn take(tx: &mut Tx, claim: i64, limit: u32) -> Result<u64> {
    let now_ms = tx.now_ms;
    let (before, after) = claim_step(now_ms)?;
    tx.execute(
        concat!(
            "UPDATE file_sets SET state = $1, claimed_ever = $2, not_before_ms = NULL, reason = NULL, claim_id = $3 \
             WHERE state = $4 AND file_set_id IN (SELECT f.file_set_id FROM file_sets f \
             WHERE f.state = 'queued' AND f.not_before_ms <= $5 AND ",
            brake_on!("$5"),
            " IS NULL ORDER BY f.not_before_ms LIMIT $6)"
        ),
        args![after.state, i64::from(after.claimed_ever), claim, before.state, now_ms, i64::from(limit)],
    )
    .await
}

/// As [`take`], of what an operator saw and agreed to: that answers the breaker, and no other brake.
async fn take_of_plan(tx: &mut Tx, claim: i64, plan: i64, limit: u32) -> Result<u64> {
    let now_ms = tx.now_ms;
    let (before, after) = claim_step(now_ms)?;
    tx.execute(
        concat!(
            "UPDATE file_sets SET state = $1, claimed_ever = $2, not_before_ms = NULL, reason = NULL, claim_id = $3 \
             WHERE state = $4 AND file_set_id IN (SELECT f.file_set_id FROM gc_plan_items i \
             JOIN file_sets f ON f.file_set_id = i.file_set_id \
             WHERE i.plan_id = $7 AND f.state = 'queued' AND f.not_before_ms <= $5 AND COALESCE(",
            brake_on!("$5"),
            ", 'breaker') = 'breaker' ORDER BY f.file_set_id LIMIT $6)"
        ),
        args![after.state, i64::from(after.claimed_ever), claim, before.state, now_ms, i64::from(limit), plan],
    )
    .await
}

/// What the machine makes of a claim: the columns before and after. Whether it was ever live changes nothing of it.
fn claim_step(now_ms: i64) -> Result<(Columns, Columns)> {
    let claim = Event::Claim { now_ms, brake: None };
    let abandoned = stepped(&FileSet::intent(NodeId(String::new()), 0), &Event::Abandon { not_before_ms: now_ms })?;
    let released = stepped(&live_with(1)?, &Event::Release { not_before_ms: now_ms })?;
    let (of_abandoned, of_released) = (stepped(&abandoned, &claim)?.columns(), stepped(&released, &claim)?.columns());
    let written = Columns { ever_live: true, ..of_abandoned.clone() };
    let cleared = Columns {
        state: of_released.state.clone(),
        claimed_ever: true,
        not_before_ms: None,
        reason: None,
        ..released.columns()
    };
    if written != of_released || of_released != cleared {
        return Err(MetaError::Corrupt("a claim changes other columns than its statement".into()));
    }
    Ok((released.columns(), of_released))
}

/// As [`claim_step`], for the end.
fn gone_step() -> Result<(Columns, Columns)> {
    let (_, before) = claim_step(0)?;
    let after = stepped(&columns_of(&before)?, &Event::ObjectsGone)?.columns();
    if (Columns { state: after.state.clone(), ..before.clone() }) != after {
        return Err(MetaError::Corrupt("the end changes other columns than its statement".into()));
    }
    Ok((before, after))
}

/// What a claim takes that no user's drop released, by collection (BR-1).
async fn uncovered(tx: &mut Tx, claim: i64) -> Result<Vec<(i64, Amount)>> {
    let rows = tx
        .all(
            "SELECT COALESCE(f.collection_id, 0) AS collection_id, COUNT(*) AS objects_num, \
             CAST(COALESCE(SUM(o.size_bytes), 0) AS BIGINT) AS bytes \
             FROM file_sets f JOIN objects o ON o.file_set_id = f.file_set_id \
             WHERE f.claim_id = $1 AND f.covered = 0 AND f.ever_live = 1 GROUP BY COALESCE(f.collection_id, 0)",
            args![claim],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let amount = Amount { objects: count(row, "objects_num")?, bytes: count(row, "bytes")? };
            Ok((row.try_get("collection_id")?, amount))
        })
        .collect()
}

/// Collections that would lose more than is allowed (BR-2).
async fn trips(tx: &mut Tx, uncovered: &[(i64, Amount)]) -> Result<Vec<(i64, Amount)>> {
    let now_ms = tx.now_ms;
    let mut trips = vec![];
    for (collection, amount) in uncovered {
        let row = tx
            .one(
                "SELECT CAST(COALESCE(SUM(objects_num), 0) AS BIGINT) AS objects_num, \
                 CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM gc_claims WHERE collection_id = $1 AND at_ms > $2",
                args![*collection, now_ms - HOUR_MS],
            )
            .await?;
        let hour = amount.plus(Amount { objects: count(&row, "objects_num")?, bytes: count(&row, "bytes")? });
        if breaker::is_small(hour) {
            continue;
        }
        let row = tx
            .one(
                concat!(
                    "SELECT COUNT(*) AS objects_num, CAST(COALESCE(SUM(o.size_bytes), 0) AS BIGINT) AS bytes \
                     FROM memberships m JOIN objects o ON o.file_set_id = m.file_set_id \
                     WHERE m.collection_id = $1 AND m.removed_ts = 9223372036854775807 AND m.partition_id NOT IN ",
                    left_behind!("$1")
                ),
                args![*collection],
            )
            .await?;
        let total = Amount { objects: count(&row, "objects_num")?, bytes: count(&row, "bytes")? };
        if !breaker::allows(hour, total) {
            trips.push((*collection, hour));
        }
    }
    Ok(trips)
}

async fn note(tx: &mut Tx, claim: i64, uncovered: &[(i64, Amount)]) -> Result<()> {
    let now_ms = tx.now_ms;
    tx.insert_many(
        "INSERT INTO gc_claims (claim_id, collection_id, at_ms, objects_num, bytes)",
        5,
        uncovered,
        |arguments, (collection, amount)| {
            for argument in [claim, *collection, now_ms, bigint(amount.objects), bigint(amount.bytes)] {
                crate::db::add(arguments, argument);
            }
        },
    )
    .await
}

/// The rows of both halves of a claim with their keys. One that cannot be read leaves the claim (CL-3).
async fn claimed_rows(tx: &mut Tx, again: i64) -> Result<Vec<ClaimedRow>> {
    let rows = tx
        .all(
            concat!(
                "SELECT f.*, o.object_key FROM (SELECT ",
                file_set_columns!(),
                " FROM file_sets WHERE claim_id = $1 OR claim_id = $2) f \
                 LEFT JOIN objects o ON o.file_set_id = f.file_set_id ORDER BY f.file_set_id, o.ordinal"
            ),
            args![again, again + 1],
        )
        .await?;
    let id = |row: &AnyRow| row.try_get::<i64, _>("file_set_id").ok();
    let mut claimed = vec![];
    for rows in rows.chunk_by(|a, b| id(a) == id(b)) {
        match claimed_row(rows) {
            Ok(row) => claimed.push(row),
            Err(error) if concerns_one(&error) => {
                tracing::error!(file_set = id(&rows[0]), %error, "is kept");
                tx.execute("UPDATE file_sets SET claim_id = NULL WHERE file_set_id = $1", args![id(&rows[0])]).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(claimed)
}

fn claimed_row(rows: &[AnyRow]) -> Result<ClaimedRow> {
    let mut keys = vec![];
    for row in rows {
        if let Some(key) = row.try_get::<Option<&str>, _>("object_key")? {
            keys.push(object_key(key)?);
        }
    }
    let id = FileSetId(rows[0].try_get("file_set_id")?);
    let columns = file_sets::columns(&rows[0])?;
    #[expect(clippy::disallowed_methods, reason = "this is the claim")]
    let row = ClaimedRow::read(id, &columns, keys)?;
    row.ok_or_else(|| MetaError::Corrupt(format!("file set {id} is claimed and not deleting")))
}
