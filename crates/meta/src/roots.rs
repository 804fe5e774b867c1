//! What the metadata knows of the root path of its object store, and the epoch that its owner has. The rules are those of
//! `elanus_objects::ownership`; here is only what must be durable, and in one transaction with the epoch.

use crate::db::{Db, Tx, args};
use crate::gc::first_run;
use crate::{Coordinator, Meta, MetaError, Result, schema};
use elanus_types::{Epoch, NodeId, RootHold};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::sync::atomic::Ordering;

/// Starts that are remembered besides those since the marker was last seen to be written: a store without conditional writes
/// may still write the marker of one of them.
const STARTS_KEPT: i64 = 1_000;

/// What the metadata says about a root path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRecord {
    /// Whose metadata.
    pub cluster_id: String,
    /// The last epoch that was given.
    pub epoch: Epoch,
    /// The counter that every write of the marker raises before.
    pub high_water: i64,
    /// The starts that were given an epoch, oldest first.
    pub starts: Vec<(Epoch, String)>,
    /// Where this cluster was the owner last; `None`: it never was.
    pub location: Option<String>,
    /// Of the owner's marker, when it was noted last.
    pub marker_epoch: Epoch,
    /// Why nothing is deleted.
    pub hold: Option<RootHold>,
}

/// What the marker says, as it is to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootMirror {
    /// Of the root path.
    pub location: String,
    /// In the marker.
    pub epoch: Epoch,
    /// Of the marker.
    pub marker_etag: String,
    /// In the marker.
    pub hold: Option<RootHold>,
}

/// Somebody takes over.
#[derive(Clone, Debug)]
pub struct NewStart<'s> {
    /// Who.
    pub holder: &'s NodeId,
    /// The epoch is above this one as well.
    pub floor: Epoch,
    /// The counter is raised above this one as well; `None`: it stays as it is.
    pub high_water_floor: Option<i64>,
    /// Names the start in the marker; empty where there is none.
    pub start_id: &'s str,
    /// Deletes are held from now on; a hold that is there stays.
    pub hold: Option<RootHold>,
}

impl<'s> NewStart<'s> {
    /// Of a coordinator that has no marker.
    #[must_use]
    pub fn of(holder: &'s NodeId) -> Self {
        Self { holder, floor: Epoch(0), high_water_floor: Some(0), start_id: "", hold: None }
    }
}

const RECORD: &str = "
SELECT cluster_id, coordinator.epoch AS epoch, meta_hwm, location, roots.epoch AS marker_epoch, hold
FROM cluster, coordinator, roots
WHERE cluster.only_row = 1 AND coordinator.only_row = 1 AND root_id = 1";

/// Of a store from before there was a mirror.
const RECORD_WITHOUT_MIRROR: &str = "
SELECT cluster_id, epoch, next_id AS meta_hwm, NULL AS location, CAST(0 AS BIGINT) AS marker_epoch, NULL AS hold
FROM cluster, coordinator, id_counter
WHERE cluster.only_row = 1 AND coordinator.only_row = 1 AND id_counter.only_row = 1";

const STARTS: &str = "SELECT epoch, start_id FROM root_starts ORDER BY epoch";

/// The counter of before plus one, and not below the ids that were given: these are given in transactions of their own that
/// need not be on disk, but a commit that writes makes everything before it durable (see `db/dialect.rs`).
const RAISE: &str = "
UPDATE roots SET
    meta_hwm = CASE WHEN meta_hwm >= (SELECT next_id FROM id_counter WHERE only_row = 1) THEN meta_hwm + 1
                    ELSE (SELECT next_id FROM id_counter WHERE only_row = 1) END,
    marker_etag = CASE WHEN $2 = '' THEN marker_etag ELSE $2 END
WHERE root_id = 1
  -- Nobody took over. No lock: should somebody do so at this moment, the marker is not written, for it is another one then.
  AND EXISTS (SELECT 1 FROM coordinator WHERE only_row = 1 AND epoch = $1)
RETURNING meta_hwm";

/// As [`RAISE`], and above the marker's counter too; not at all for NULL.
const RAISE_ABOVE: &str = "
UPDATE roots SET
    meta_hwm = CASE WHEN CAST($1 AS BIGINT) IS NULL THEN meta_hwm
                    WHEN meta_hwm >= $1 AND meta_hwm >= (SELECT next_id FROM id_counter WHERE only_row = 1) THEN meta_hwm + 1
                    WHEN $1 >= (SELECT next_id FROM id_counter WHERE only_row = 1) THEN $1 + 1
                    ELSE (SELECT next_id FROM id_counter WHERE only_row = 1) END,
    hold = COALESCE($2, hold)
WHERE root_id = 1
RETURNING meta_hwm";

impl Meta {
    /// What a store says that may not exist yet; `None` when nothing was ever written there. Creates, migrates and changes
    /// nothing.
    ///
    /// # Errors
    /// [`MetaError::Newer`] when a newer program wrote it, [`MetaError::BadUrl`], and when the store is away.
    pub async fn look(url: &str) -> Result<Option<RootRecord>> {
        let Some(mut reader) = Db::reader(url).await? else { return Ok(None) };
        let version = schema::version(&mut reader).await?;
        match version.found {
            None => return Ok(None),
            Some(_) => version.require_not_newer()?,
        }
        let row = match reader.one_if_there(RECORD).await? {
            Some(row) => Some(row),
            None => reader.one_if_there(RECORD_WITHOUT_MIRROR).await?,
        };
        let starts = reader.all_if_there(STARTS).await?;
        reader.close().await;
        row.map(|row| record(&row, &starts)).transpose()
    }

    /// What this store says.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn root(&self) -> Result<RootRecord> {
        let mut tx = self.db.read().await?;
        let row = tx.one(RECORD, args![]).await?;
        record(&row, &tx.all(STARTS, args![]).await?)
    }

    /// Makes the holder the one coordinator, and remembers start and hold with that. Also the counter, which is durable then.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn take_over_root(&self, start: NewStart<'_>) -> Result<(Coordinator, i64)> {
        let mut tx = self.db.write().await?;
        tx.lock_coordination().await?;
        crate::rebuild::require_whole(&mut tx).await?;
        let (epoch, high_water) = raise_epoch(&mut tx, &start).await?;
        // Every earlier coordinator is fenced from here on: its rollbacks are not going to be committed, so nothing is
        // gained by letting writes wait for them.
        tx.execute("UPDATE collections SET held_until_ms = 0 WHERE held_until_ms <> 0", args![]).await?;
        if start.hold.is_some() {
            first_run::after_a_hold(&mut tx).await?;
        }
        tx.commit().await?;
        Ok((Coordinator::new(self.clone(), epoch), high_water))
    }

    /// Raises the counter of the marker, and notes the etag of the marker that was written last; `None` when an epoch other
    /// than this one was given since. One statement.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn raise_root(&self, epoch: Epoch, marker_etag: &str) -> Result<Option<i64>> {
        let mut tx = self.db.write().await?;
        let Some(row) = tx.optional(RAISE, args![epoch.0, marker_etag.to_owned()]).await? else { return Ok(None) };
        let high_water = row.try_get("meta_hwm")?;
        tx.commit().await?;
        Ok(Some(high_water))
    }

    /// Remembers what the marker says.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn mirror_root(&self, mirror: &RootMirror) -> Result<()> {
        let RootMirror { location, epoch, marker_etag, hold } = mirror.clone();
        let mut tx = self.db.write().await?;
        tx.execute(
            "UPDATE roots SET location = $1, epoch = $2, marker_etag = $3, hold = $4 WHERE root_id = 1",
            args![location, epoch.0, marker_etag, hold.map(|hold| hold.label().to_owned())],
        )
        .await?;
        tx.commit().await
    }
}

impl Coordinator {
    /// Raises the epoch and goes on under the new one, with all clones. Transactions that are under way end under the old
    /// one, and this waits for them. Also the counter of the marker.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when another took over; when the store is away.
    pub async fn next_epoch(&self, holder: &NodeId, start_id: &str) -> Result<(Epoch, i64)> {
        let mut tx = self.meta.db.write().await?;
        tx.lock_coordination().await?;
        let proof = tx.prove(self.epoch()).await;
        self.noticed(proof)?;
        let (epoch, high_water) = raise_epoch(&mut tx, &NewStart { start_id, ..NewStart::of(holder) }).await?;
        // Before the commit: whoever finds the new epoch in the store finds it here too.
        let before = self.epoch.swap(epoch.0, Ordering::AcqRel);
        let committed = tx.commit().await;
        if committed.as_ref().is_err_and(|error| !matches!(error, MetaError::CommitUnknown(_))) {
            self.epoch.store(before, Ordering::Release);
        }
        committed?;
        Ok((epoch, high_water))
    }
}

async fn raise_epoch(tx: &mut Tx, start: &NewStart<'_>) -> Result<(Epoch, i64)> {
    let NewStart { holder, floor, high_water_floor, start_id, hold } = start;
    let row = tx
        .one(
            "UPDATE coordinator SET epoch = CASE WHEN epoch > $1 THEN epoch ELSE $1 END + 1, holder = $2 \
             WHERE only_row = 1 RETURNING epoch",
            args![floor.0, holder.0.clone()],
        )
        .await?;
    let epoch = Epoch(row.try_get("epoch")?);
    crate::coordination::begin(tx, holder, epoch).await?;
    let hold = hold.map(|hold| hold.label().to_owned());
    let row = tx.one(RAISE_ABOVE, args![*high_water_floor, hold]).await?;
    if !start_id.is_empty() {
        let remember = "INSERT INTO root_starts (epoch, start_id) VALUES ($1, $2)";
        tx.execute(remember, args![epoch.0, (*start_id).to_owned()]).await?;
        let forget = "DELETE FROM root_starts WHERE epoch < $1 AND epoch < (SELECT epoch FROM roots WHERE root_id = 1)";
        tx.execute(forget, args![epoch.0 - STARTS_KEPT]).await?;
    }
    Ok((epoch, row.try_get("meta_hwm")?))
}

fn record(row: &AnyRow, starts: &[AnyRow]) -> Result<RootRecord> {
    let hold: Option<String> = row.try_get("hold")?;
    let hold = hold.map(|label| {
        RootHold::parse(&label).ok_or_else(|| MetaError::Corrupt(format!("the root path has the hold {label}")))
    });
    let start = |row: &AnyRow| Ok((Epoch(row.try_get("epoch")?), row.try_get("start_id")?));
    Ok(RootRecord {
        cluster_id: row.try_get("cluster_id")?,
        epoch: Epoch(row.try_get("epoch")?),
        high_water: row.try_get("meta_hwm")?,
        starts: starts.iter().map(start).collect::<Result<_>>()?,
        location: row.try_get("location")?,
        marker_epoch: Epoch(row.try_get("marker_epoch")?),
        hold: hold.transpose()?,
    })
}
