//! How a cluster is doing, for operators: its processes, who coordinates, what waits. Never writes.

use crate::coordination::CoordinationRecord;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::model::ServiceRecord;
use crate::rows::count;
use crate::services::{self, SERVICES_OF_ALL_TIMES};
use crate::{Meta, coordination};
use elanus_types::{Epoch, Timestamp};
use sqlx::Row;

/// Rows of a queue that are counted at most.
const COUNTED_MAX: i64 = 100_000;

/// How a cluster is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Which cluster.
    pub cluster_id: String,
    /// When it was asked, by this process's clock, in milliseconds since 1970.
    pub now_ms: i64,
    /// The last epoch that was given.
    pub epoch: Epoch,
    /// Who coordinates.
    pub coordination: CoordinationRecord,
    /// Its processes, also those that are silent and not forgotten yet, by node id.
    pub services: Vec<ServiceRecord>,
    /// What waits.
    pub queues: Queues,
}

/// What waits, counted up to 100,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Restore jobs that have not ended.
    pub jobs: u64,
    /// Copy tasks that wait for a worker.
    pub tasks_pending: u64,
    /// Copy tasks that are with a worker.
    pub tasks_running: u64,
    /// File sets that nothing needs.
    pub deletions: u64,
    /// File sets that are being deleted.
    pub deleting: u64,
    /// Events that were not published yet.
    pub events: u64,
    /// When the oldest of them was written, in milliseconds since 1970.
    pub event_oldest_ms: Option<i64>,
    /// Compactions that wait for a worker.
    pub compactions_pending: u64,
    /// Compactions that are with a worker.
    pub compactions_running: u64,
    /// Snapshots whose manifests are being written.
    pub snapshots_pending: u64,
    /// Index builds that wait for a worker.
    pub index_builds_pending: u64,
    /// Index builds that are with a worker.
    pub index_builds_running: u64,
}

impl Meta {
    /// How the cluster is doing.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn cluster_status(&self) -> Result<ClusterStatus> {
        let mut tx = self.db.read().await?;
        let who = "SELECT cluster_id, epoch FROM cluster, coordinator WHERE cluster.only_row = 1 AND coordinator.only_row = 1";
        let row = tx.one(who, args![]).await?;
        let services = tx.all(SERVICES_OF_ALL_TIMES, args![]).await?;
        Ok(ClusterStatus {
            cluster_id: row.try_get("cluster_id")?,
            now_ms: tx.now_ms,
            epoch: Epoch(row.try_get("epoch")?),
            coordination: coordination::read(&mut tx).await?,
            services: services.iter().filter_map(|row| services::record(row).transpose()).collect::<Result<_>>()?,
            queues: queues(&mut tx).await?,
        })
    }
}

async fn queues(tx: &mut Tx) -> Result<Queues> {
    let row = tx
        .one(
            "SELECT \
             (SELECT COUNT(*) FROM (SELECT job_id FROM restore_jobs WHERE ended_ms IS NULL LIMIT $1) a) AS jobs, \
             (SELECT COUNT(*) FROM (SELECT task_id FROM copy_tasks WHERE state = 'pending' LIMIT $1) b) AS tasks_pending, \
             (SELECT COUNT(*) FROM (SELECT task_id FROM copy_tasks WHERE state = 'in_progress' LIMIT $1) c) AS tasks_running, \
             (SELECT COUNT(*) FROM (SELECT file_set_id FROM file_sets WHERE state = 'queued' LIMIT $1) d) AS deletions, \
             (SELECT COUNT(*) FROM (SELECT file_set_id FROM file_sets WHERE state = 'deleting' LIMIT $1) e) AS deleting, \
             (SELECT COUNT(*) FROM (SELECT event_id FROM outbox LIMIT $1) f) AS events, \
             (SELECT COUNT(*) FROM (SELECT task_id FROM compactions WHERE state = 'pending' LIMIT $1) g) AS compactions_pending, \
             (SELECT COUNT(*) FROM (SELECT task_id FROM compactions WHERE state = 'in_progress' LIMIT $1) h) AS compactions_running, \
             (SELECT COUNT(*) FROM (SELECT snapshot_id FROM snapshots WHERE state = 'pending' LIMIT $1) i) AS snapshots_pending, \
             (SELECT COUNT(*) FROM (SELECT task_id FROM index_builds WHERE state = 'pending' LIMIT $1) j) AS index_builds_pending, \
             (SELECT COUNT(*) FROM (SELECT task_id FROM index_builds WHERE state = 'in_progress' LIMIT $1) k) AS index_builds_running, \
             (SELECT MIN(event_id) FROM outbox) AS event_oldest",
            args![COUNTED_MAX],
        )
        .await?;
    // Ids are timestamps.
    let oldest: Option<i64> = row.try_get("event_oldest")?;
    Ok(Queues {
        jobs: count(&row, "jobs")?,
        tasks_pending: count(&row, "tasks_pending")?,
        tasks_running: count(&row, "tasks_running")?,
        deletions: count(&row, "deletions")?,
        deleting: count(&row, "deleting")?,
        events: count(&row, "events")?,
        event_oldest_ms: oldest.map(|id| Timestamp(id).ms()),
        compactions_pending: count(&row, "compactions_pending")?,
        compactions_running: count(&row, "compactions_running")?,
        snapshots_pending: count(&row, "snapshots_pending")?,
        index_builds_pending: count(&row, "index_builds_pending")?,
        index_builds_running: count(&row, "index_builds_running")?,
    })
}
