//! What the metadata knows of the root path of its object store, and the epoch that its owner has. The rules are those of
//! `elanus_objects::ownership`; here is only what must be durable, and in one transaction with the epoch.

use crate::db::{Db, Tx, args};
use crate::gc::first_run;
use crate::{Coordinator, MIGRATIONS, Meta, MetaError, Result};
use elanus_types::{Epoch, NodeId, RootHold};
use sqlx::Row;
use sqlx::any::AnyRow;

/// What the metadata says about a root path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRecord {
    /// Whose metadata.
    pub cluster_id: String,
    /// The last epoch that was given.
    pub epoch: Epoch,
    /// Every id that was given is below it.
    pub high_water: i64,
    /// Where this cluster was the owner last; `None`: it never was.
    pub location: Option<String>,
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

const RECORD: &str = "
SELECT cluster_id, coordinator.epoch AS epoch, next_id, location, hold
FROM cluster, coordinator, id_counter, roots
WHERE cluster.only_row = 1 AND coordinator.only_row = 1 AND id_counter.only_row = 1 AND root_id = 1";

/// Of a store from before there was a mirror.
const RECORD_WITHOUT_MIRROR: &str = "
SELECT cluster_id, epoch, next_id, NULL AS location, NULL AS hold
FROM cluster, coordinator, id_counter
WHERE cluster.only_row = 1 AND coordinator.only_row = 1 AND id_counter.only_row = 1";

impl Meta {
    /// What a store says that may not exist yet; `None` when nothing was ever written there. Creates, migrates and changes
    /// nothing.
    ///
    /// # Errors
    /// [`MetaError::Newer`] when a newer program wrote it, [`MetaError::BadUrl`], and when the store is away.
    pub async fn look(url: &str) -> Result<Option<RootRecord>> {
        let Some(mut reader) = Db::reader(url).await? else { return Ok(None) };
        let migrated = "SELECT MAX(version) AS version FROM _sqlx_migrations";
        let Some(row) = reader.one_if_there(migrated).await? else { return Ok(None) };
        let known = MIGRATIONS[MIGRATIONS.len() - 1].0;
        match row.try_get::<Option<i64>, _>("version")? {
            None => return Ok(None),
            Some(found) if found > known => return Err(MetaError::Newer { found, known }),
            Some(_) => {}
        }
        let row = match reader.one_if_there(RECORD).await? {
            Some(row) => Some(row),
            None => reader.one_if_there(RECORD_WITHOUT_MIRROR).await?,
        };
        reader.close().await;
        row.map(|row| record(&row)).transpose()
    }

    /// What this store says.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn root(&self) -> Result<RootRecord> {
        let mut tx = self.db.read().await?;
        record(&tx.one(RECORD, args![]).await?)
    }

    /// Makes `holder` the one coordinator, with an epoch above `floor` as well, and remembers the hold with it: a hold that
    /// is there stays. Also the high-water mark of the ids, which is durable then.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn take_over_root(
        &self,
        holder: &NodeId,
        floor: Epoch,
        hold: Option<RootHold>,
    ) -> Result<(Coordinator, i64)> {
        let mut tx = self.db.write().await?;
        tx.lock_coordination().await?;
        crate::rebuild::require_whole(&mut tx).await?;
        let row = tx
            .one(
                "UPDATE coordinator SET epoch = CASE WHEN epoch > $1 THEN epoch ELSE $1 END + 1, holder = $2 \
                 WHERE only_row = 1 RETURNING epoch",
                args![floor.0, holder.0.clone()],
            )
            .await?;
        let epoch = Epoch(row.try_get("epoch")?);
        // Every earlier coordinator is fenced from here on: its rollbacks are not going to be committed, so nothing is
        // gained by letting writes wait for them.
        tx.execute("UPDATE collections SET held_until_ms = 0 WHERE held_until_ms <> 0", args![]).await?;
        if let Some(hold) = hold {
            let sql = "UPDATE roots SET hold = $1 WHERE root_id = 1";
            tx.execute(sql, args![hold.label().to_owned()]).await?;
            first_run::after_a_hold(&mut tx).await?;
        }
        let high_water = note_high_water(&mut tx).await?;
        tx.commit().await?;
        Ok((Coordinator::new(self.clone(), epoch), high_water))
    }

    /// The high-water mark of the ids, durably noted; `None` when an epoch other than this one was given since.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn root_high_water(&self, epoch: Epoch) -> Result<Option<i64>> {
        let mut tx = match self.db.write_as(epoch).await {
            Err(MetaError::Fenced { .. }) => return Ok(None),
            tx => tx?,
        };
        let high_water = note_high_water(&mut tx).await?;
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

/// Ids are given in transactions of their own that need not be on disk; what a marker says must be (see
/// `db/dialect.rs`): a commit that writes makes everything before it durable.
async fn note_high_water(tx: &mut Tx) -> Result<i64> {
    let row =
        tx.one("SELECT next_id, meta_hwm FROM id_counter, roots WHERE only_row = 1 AND root_id = 1", args![]).await?;
    let (next_id, noted): (i64, i64) = (row.try_get("next_id")?, row.try_get("meta_hwm")?);
    if next_id > noted {
        let sql = "UPDATE roots SET meta_hwm = $1 WHERE root_id = 1 AND meta_hwm < $1";
        tx.execute(sql, args![next_id]).await?;
    }
    Ok(next_id)
}

fn record(row: &AnyRow) -> Result<RootRecord> {
    let hold: Option<String> = row.try_get("hold")?;
    let hold = hold.map(|label| {
        RootHold::parse(&label).ok_or_else(|| MetaError::Corrupt(format!("the root path has the hold {label}")))
    });
    Ok(RootRecord {
        cluster_id: row.try_get("cluster_id")?,
        epoch: Epoch(row.try_get("epoch")?),
        high_water: row.try_get("next_id")?,
        location: row.try_get("location")?,
        hold: hold.transpose()?,
    })
}
