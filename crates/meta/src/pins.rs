//! Pins: leased wishes to keep a snapshot. A pin never outlives its time by itself, and a job's pin ends only with its
//! job, in the job's last transaction.

use crate::db::{Tx, args};
use crate::error::Result;
use crate::model::PinRecord;
use crate::snapshots::{SnapshotRow, find_by_name, require_live};
use crate::{Coordinator, Meta};
use elanus_lifecycle::pin::{Columns, Expiry, LivePin, Pin};
use elanus_types::{Code, CollectionId, Failure, JobId, PinId, SnapshotId};
use sqlx::Row;
use sqlx::any::AnyRow;

macro_rules! select_pins {
    ($rest:literal) => {
        concat!("SELECT pin_id, snapshot_id, owner, created_ms, expires_ms, job_id FROM pins WHERE ", $rest)
    };
}

impl Coordinator {
    /// Pins a committed snapshot for `ttl_seconds`, or until it is released where that is 0.
    ///
    /// # Errors
    /// 100 when the collection is not live; 2600 when it has no committed snapshot of this name.
    pub async fn pin_snapshot(
        &self,
        collection: CollectionId,
        name: &str,
        owner: &str,
        ttl_seconds: i64,
    ) -> Result<PinRecord> {
        let ttl_s = u64::try_from(ttl_seconds).map_err(|_| Failure::invalid("ttl_seconds must be non-negative"))?;
        let mut tx = self.write().await?;
        require_live(&mut tx, collection).await?;
        let snapshot = committed(&mut tx, collection, name).await?;
        let pin = Pin { owner: owner.to_owned(), expiry: Expiry::from_ttl_s(ttl_s, tx.now_ms) };
        let record = insert(&mut tx, snapshot.record.id, &pin).await?;
        tx.commit().await?;
        Ok(record)
    }

    /// Releases a pin. One that is unknown is released already.
    ///
    /// # Errors
    /// 1100 for the pin of a restore job.
    pub async fn unpin(&self, id: PinId) -> Result<()> {
        let mut tx = self.write().await?;
        let Some(row) = tx.optional(select_pins!("pin_id = $1 /*FOR UPDATE*/"), args![id.0]).await? else {
            return Ok(());
        };
        if let Some(job) = record(&row)?.job {
            let text = format!("pin {id} belongs to restore job {job} and ends with it");
            return Err(Failure::invalid(text).into());
        }
        tx.execute("DELETE FROM pins WHERE pin_id = $1 AND job_id IS NULL", args![id.0]).await?;
        tx.commit().await
    }

    /// Removes pins whose time is over; how many. They kept nothing any more.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expire_pins(&self) -> Result<u64> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let removed = tx.execute("DELETE FROM pins WHERE expires_ms <= $1 AND job_id IS NULL", args![now_ms]).await?;
        if removed > 0 {
            tx.commit().await?;
        }
        Ok(removed)
    }
}

impl Meta {
    /// Pins of a snapshot that live now, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn pins(&self, snapshot: SnapshotId) -> Result<Vec<PinRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let rows = tx
            .all(
                select_pins!("snapshot_id = $1 AND (expires_ms IS NULL OR expires_ms > $2) ORDER BY pin_id"),
                args![snapshot.0, now_ms],
            )
            .await?;
        rows.iter().map(record).collect()
    }
}

/// The snapshot of this name, locked, when it may be pinned; 2600 otherwise.
pub(crate) async fn committed(tx: &mut Tx, collection: CollectionId, name: &str) -> Result<SnapshotRow> {
    find_by_name(tx, collection, name).await?.filter(|row| row.machine.pinnable().is_ok()).ok_or_else(|| {
        let failure = Failure::new(Code::SnapshotNotFound, format!("snapshot not found[snapshot={name}]"));
        failure.context(format_args!("collection {collection}")).into()
    })
}

/// Pins a snapshot whose row this transaction has locked.
pub(crate) async fn insert(tx: &mut Tx, snapshot: SnapshotId, pin: &Pin) -> Result<PinRecord> {
    let id = PinId(tx.allocate_ids(1).await?);
    let created_ms = tx.now_ms;
    let columns = pin.columns();
    tx.execute(
        "INSERT INTO pins (pin_id, snapshot_id, owner, created_ms, expires_ms, job_id) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        args![id.0, snapshot.0, columns.owner.clone(), created_ms, columns.expires_at_ms, columns.job_id],
    )
    .await?;
    Ok(PinRecord {
        id,
        snapshot,
        owner: columns.owner,
        created_ms,
        expires_ms: columns.expires_at_ms,
        job: columns.job_id.map(JobId),
    })
}

/// Ends the pin of a job, in the job's last transaction.
pub(crate) async fn release_of_job(tx: &mut Tx, job: JobId) -> Result<()> {
    tx.execute("DELETE FROM pins WHERE job_id = $1", args![job.0]).await.map(|_| ())
}

/// The name of a snapshot of this collection that a live pin or a hold keeps.
pub(crate) async fn of_collection(tx: &mut Tx, collection: CollectionId) -> Result<Option<String>> {
    let now_ms = tx.now_ms;
    let row = tx
        .optional(
            "SELECT s.name FROM snapshots s WHERE s.collection_id = $1 AND s.state <> 'deleting' AND \
             (EXISTS (SELECT 1 FROM pins p WHERE p.snapshot_id = s.snapshot_id \
                      AND (p.expires_ms IS NULL OR p.expires_ms > $2)) \
              OR EXISTS (SELECT 1 FROM gc_holds h WHERE h.snapshot_id = s.snapshot_id)) \
             ORDER BY s.create_ts LIMIT 1",
            args![collection.0, now_ms],
        )
        .await?;
    row.map(|row| Ok(row.try_get("name")?)).transpose()
}

/// The pin or the hold that keeps a snapshot longest; the snapshot's row is locked.
pub(crate) async fn longest_live(tx: &mut Tx, snapshot: SnapshotId) -> Result<Option<LivePin>> {
    let now_ms = tx.now_ms;
    let rows = tx.all(select_pins!("snapshot_id = $1"), args![snapshot.0]).await?;
    let pins = rows
        .iter()
        .map(|row| {
            Ok(Pin::from_columns(&Columns {
                owner: row.try_get("owner")?,
                expires_at_ms: row.try_get("expires_ms")?,
                job_id: row.try_get("job_id")?,
            })?)
        })
        .collect::<Result<Vec<Pin>>>()?;
    let hold = tx
        .optional(
            "SELECT hold_id, actor FROM gc_holds WHERE snapshot_id = $1 ORDER BY hold_id LIMIT 1",
            args![snapshot.0],
        )
        .await?;
    if let Some(hold) = hold {
        let (id, actor): (i64, String) = (hold.try_get("hold_id")?, hold.try_get("actor")?);
        return Ok(Some(LivePin { owner: format!("hold {id} of {actor}"), until_ms: None }));
    }
    Ok(Pin::longest_live(&pins, now_ms))
}

fn record(row: &AnyRow) -> Result<PinRecord> {
    Ok(PinRecord {
        id: PinId(row.try_get("pin_id")?),
        snapshot: SnapshotId(row.try_get("snapshot_id")?),
        owner: row.try_get("owner")?,
        created_ms: row.try_get("created_ms")?,
        expires_ms: row.try_get("expires_ms")?,
        job: row.try_get::<Option<i64>, _>("job_id")?.map(JobId),
    })
}
