//! Which data nodes there are, and how they are reached.
//!
//! WK-1  The registry says who gets new work, and nothing else: a node that is missing here keeps what it was given for
//!       as long as the leases of that work say, and a node that comes back is fenced by generations, not by this table.
//! WK-2  A node writes its own row and no other; a coordinator only removes rows whose lease is over.

use crate::db::args;
use crate::error::Result;
use crate::model::WorkerRecord;
use crate::{Coordinator, Meta};
use elanus_types::NodeId;
use sqlx::Row;

impl Meta {
    /// Registers a node, or renews its lease. A lease is never shortened.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn heartbeat_worker(&self, worker: &WorkerRecord) -> Result<()> {
        let mut tx = self.db.write().await?;
        let now_ms = tx.now_ms;
        tx.execute(
            "INSERT INTO workers (node_id, address, slots, lease_until_ms, started_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (node_id) DO UPDATE SET address = excluded.address, slots = excluded.slots, \
             lease_until_ms = CASE WHEN workers.lease_until_ms < excluded.lease_until_ms \
             THEN excluded.lease_until_ms ELSE workers.lease_until_ms END",
            args![
                worker.node.0.clone(),
                worker.address.clone(),
                i64::try_from(worker.slots).unwrap_or(i64::MAX),
                worker.lease_until_ms,
                now_ms
            ],
        )
        .await?;
        tx.commit().await
    }

    /// A node takes no more work: it is about to end.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn remove_worker(&self, node: &NodeId) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.execute("DELETE FROM workers WHERE node_id = $1", args![node.0.clone()]).await?;
        tx.commit().await
    }

    /// Nodes whose lease is not over, by id.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let rows = tx
            .all(
                "SELECT node_id, address, slots, lease_until_ms FROM workers WHERE lease_until_ms > $1 ORDER BY node_id",
                args![now_ms],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(WorkerRecord {
                    node: NodeId(row.try_get("node_id")?),
                    address: row.try_get("address")?,
                    slots: usize::try_from(row.try_get::<i64, _>("slots")?).unwrap_or(0),
                    lease_until_ms: row.try_get("lease_until_ms")?,
                })
            })
            .collect()
    }
}

impl Coordinator {
    /// Removes nodes whose lease is over; who they were.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn forget_workers(&self) -> Result<Vec<NodeId>> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let rows = tx.all("DELETE FROM workers WHERE lease_until_ms <= $1 RETURNING node_id", args![now_ms]).await?;
        if !rows.is_empty() {
            tx.commit().await?;
        }
        rows.iter().map(|row| Ok(NodeId(row.try_get("node_id")?))).collect()
    }
}
