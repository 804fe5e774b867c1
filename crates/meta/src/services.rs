//! Which processes a cluster has, and how they are reached. The table is called `workers`, as it was when only data nodes
//! were in it.
//!
//! WK-1  The registry says who gets new work, and nothing else: a node that is missing here keeps what it was given for
//!       as long as the leases of that work say, and a node that comes back is fenced by generations, not by this table.
//! WK-2  A process writes its own row and no other; a coordinator only removes rows whose lease is over, or whose process is
//!       dead for sure because a lock of the operating system says so.
//! WK-3  A service of a kind that only a newer program knows is none of this one's: it is passed over, and the others are
//!       found. Old and new programs run beside each other while a cluster is restarted.

use crate::db::args;
use crate::error::Result;
use crate::model::{ServiceKind, ServiceRecord, WorkerRecord};
use crate::{Coordinator, Meta};
use elanus_types::{Epoch, NodeId};
use sqlx::Row;
use sqlx::any::AnyRow;

macro_rules! select_services {
    ($rest:literal) => {
        concat!(
            "SELECT node_id, kind, address, management, version, epoch, slots, lease_until_ms, started_ms FROM workers ",
            $rest
        )
    };
}

/// Also those that are silent.
pub(crate) const SERVICES_OF_ALL_TIMES: &str = select_services!("ORDER BY node_id");

impl Meta {
    /// Registers a process, or renews its lease. A lease is never shortened.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn heartbeat_service(&self, service: &ServiceRecord) -> Result<()> {
        let mut tx = self.db.write().await?;
        let now_ms = tx.now_ms;
        tx.execute(
            "INSERT INTO workers (node_id, kind, address, management, version, epoch, slots, lease_until_ms, started_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (node_id) DO UPDATE SET kind = excluded.kind, address = excluded.address, \
             management = excluded.management, version = excluded.version, epoch = excluded.epoch, slots = excluded.slots, \
             lease_until_ms = CASE WHEN workers.lease_until_ms < excluded.lease_until_ms \
             THEN excluded.lease_until_ms ELSE workers.lease_until_ms END",
            args![
                service.node.0.clone(),
                service.kind.label().to_owned(),
                service.address.clone(),
                service.management.clone(),
                service.version.clone(),
                service.epoch.0,
                i64::try_from(service.slots).unwrap_or(i64::MAX),
                service.lease_until_ms,
                now_ms
            ],
        )
        .await?;
        tx.commit().await
    }

    /// A process takes no more work: it is about to end.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn remove_service(&self, node: &NodeId) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.execute("DELETE FROM workers WHERE node_id = $1", args![node.0.clone()]).await?;
        tx.commit().await
    }

    /// Processes whose lease is not over, by node id.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn services(&self) -> Result<Vec<ServiceRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let sql = select_services!("WHERE lease_until_ms > $1 ORDER BY node_id");
        tx.all(sql, args![now_ms]).await?.iter().filter_map(|row| record(row).transpose()).collect()
    }

    /// Of those, the ones that copy.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let services = self.services().await?.into_iter().filter(|service| service.kind.copies());
        let worker = |ServiceRecord { node, address, slots, lease_until_ms, .. }| WorkerRecord {
            node,
            address,
            slots,
            lease_until_ms,
        };
        Ok(services.map(worker).collect())
    }
}

impl Coordinator {
    /// Removes processes whose lease ended `silent_ms` ago or earlier; who they were.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn forget_services(&self, silent_ms: i64) -> Result<Vec<NodeId>> {
        let mut tx = self.write().await?;
        let before_ms = tx.now_ms.saturating_sub(silent_ms);
        let rows = tx.all("DELETE FROM workers WHERE lease_until_ms <= $1 RETURNING node_id", args![before_ms]).await?;
        if !rows.is_empty() {
            tx.commit().await?;
        }
        rows.iter().map(|row| Ok(NodeId(row.try_get("node_id")?))).collect()
    }
}

/// `None`: of a kind that this program does not know (WK-3).
pub(crate) fn record(row: &AnyRow) -> Result<Option<ServiceRecord>> {
    let kind: String = row.try_get("kind")?;
    let Some(kind) = ServiceKind::parse(&kind) else { return Ok(None) };
    Ok(Some(ServiceRecord {
        node: NodeId(row.try_get("node_id")?),
        kind,
        address: row.try_get("address")?,
        management: row.try_get("management")?,
        version: row.try_get("version")?,
        epoch: Epoch(row.try_get("epoch")?),
        slots: usize::try_from(row.try_get::<i64, _>("slots")?).unwrap_or(0),
        lease_until_ms: row.try_get("lease_until_ms")?,
        started_ms: row.try_get("started_ms")?,
    }))
}
