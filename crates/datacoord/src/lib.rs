//! The coordinator: what exists, which snapshots, which restores; and the clean-up after what failed.
//!
//! One coordinator is active: whoever raised the epoch last. Everything that it writes proves its epoch, so an older one
//! changes nothing. It keeps no state of its own: after a restart it goes on from the metadata.
//!
//! * [`background`]: every background task on one screen.
//! * `service`: the calls. They write one fact and return; what takes longer is done by background tasks.
//! * `snapshot`: writes the manifests of a pinned timestamp.
//! * [`Workers`]: how data nodes are reached, inside the process or on the network.
//! * `rollback`: a collection goes back in place to one of its snapshots.
//! * `restore`: the checker of restore jobs. `compaction`: which files are compacted.
//! * `tasks`: gives the tasks of both to workers, and takes them from those that are silent.
//! * [`rebuild`]: collections from the snapshots in the bucket, when the metadata is lost. Needs no coordinator.
//! * `gc`: releases what was dropped, deletes what nothing needs; scan for orphans, scrub.

pub mod background;
mod compaction;
mod gc;
pub mod rebuild;
mod restore;
mod rollback;
mod segment;
mod service;
mod snapshot;
mod stored;
mod tasks;
mod wake;
mod workers;

pub use compaction::CompactionConfig;
pub use workers::{OwnWorker, RemoteWorkers, Workers};

pub use gc::{Bucket, DeleteGuard};

use elanus_events::EventBus;
use elanus_meta::{Coordinator, Meta};
use elanus_objects::ObjectStore;
use elanus_runtime::background::Background;
use elanus_types::{NodeId, RestoreMode};
use std::fmt;
use std::sync::Arc;

/// Limits and times of a coordinator.
#[derive(Clone, Copy, Debug)]
pub struct DataCoordConfig {
    /// How a restore gets its files when the request does not say it.
    pub restore_mode: RestoreMode,
    /// What is compacted, and how much at a time.
    pub compaction: CompactionConfig,
    /// Copy tasks of one job that are with workers at the same time.
    pub copy_job_tasks_max: usize,
    /// Bytes of one copy task; a larger file set is a task of its own.
    pub copy_task_bytes_max: u64,
    /// File sets of one copy task.
    pub copy_task_files_max: usize,
    /// A worker that is silent for so long has lost its task, in milliseconds.
    pub copy_lease_ms: i64,
    /// A restore that takes longer fails, in milliseconds.
    pub restore_deadline_ms: i64,
    /// Finished jobs are listed for so long, in milliseconds.
    pub job_retention_ms: i64,
    /// A snapshot whose writer is silent for so long is given up, in milliseconds.
    pub snapshot_lease_ms: i64,
    /// A dropped collection can be brought back for so long, in milliseconds; 0: it cannot.
    pub trash_retention_ms: i64,
    /// Between two scans for orphans, in milliseconds.
    pub scan_interval_ms: i64,
    /// Between the first and the last scan that saw an orphan, before it is deleted, in milliseconds.
    pub orphan_gap_ms: i64,
    /// An orphan that was written later is not deleted, in milliseconds.
    pub orphan_age_ms: i64,
    /// What lost its last reference is deleted so much later, in milliseconds. Longer than every read takes, and than the
    /// age of the oldest backup of the metadata that should be of use.
    pub gc_drop_tolerance_ms: i64,
    /// Rows of what is deleted are kept for so long, in milliseconds.
    pub gc_tombstones_ms: i64,
    /// What happened to each thing is told for so long, in milliseconds.
    pub history_retention_ms: i64,
    /// The audit trail of deletes is kept for so long, in milliseconds.
    pub audit_retention_ms: i64,
}

impl Default for DataCoordConfig {
    fn default() -> Self {
        const HOUR_MS: i64 = 3_600_000;
        Self {
            // Source and target are under one root path.
            restore_mode: RestoreMode::Clone,
            compaction: CompactionConfig::default(),
            copy_job_tasks_max: 64,
            copy_task_bytes_max: 1 << 30,
            copy_task_files_max: 256,
            copy_lease_ms: 30_000,
            restore_deadline_ms: 24 * HOUR_MS,
            job_retention_ms: 3 * HOUR_MS,
            snapshot_lease_ms: 30_000,
            trash_retention_ms: 24 * HOUR_MS,
            scan_interval_ms: 168 * HOUR_MS,
            orphan_gap_ms: 24 * HOUR_MS,
            orphan_age_ms: 168 * HOUR_MS,
            gc_drop_tolerance_ms: 24 * HOUR_MS,
            gc_tombstones_ms: 48 * HOUR_MS,
            history_retention_ms: 30 * 24 * HOUR_MS,
            audit_retention_ms: 90 * 24 * HOUR_MS,
        }
    }
}

/// What every part of the coordinator works with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) coordinator: Coordinator,
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) guard: Arc<dyn DeleteGuard>,
    pub(crate) workers: Arc<dyn Workers>,
    pub(crate) node: NodeId,
    pub(crate) config: DataCoordConfig,
    pub(crate) background: Background,
    pub(crate) revocations: tasks::Revocations,
    pub(crate) schedule: tasks::Schedule,
    pub(crate) gc: gc::Collector,
    pub(crate) compaction: compaction::Settled,
}

impl Parts {
    pub(crate) fn meta(&self) -> &Meta {
        self.coordinator.meta()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.meta().clock().now_ms()
    }
}

/// The coordinator's calls. Cheap to clone.
#[derive(Clone)]
pub struct DataCoord {
    parts: Parts,
}

impl DataCoord {
    /// Starts the coordinator of an epoch: its background tasks run from now on.
    pub fn start(
        coordinator: Coordinator,
        bucket: impl Into<Bucket>,
        bus: Arc<dyn EventBus>,
        workers: Arc<dyn Workers>,
        node: NodeId,
        config: DataCoordConfig,
        background: &Background,
    ) -> Self {
        let background = background.clone();
        let (revocations, schedule) = (tasks::Revocations::default(), tasks::Schedule::default());
        let coordinator = coordinator.with_drop_tolerance(config.gc_drop_tolerance_ms);
        let Bucket { objects, guard } = bucket.into();
        let (gc, compaction) = (gc::Collector::default(), compaction::Settled::default());
        let parts = Parts {
            coordinator,
            objects,
            guard,
            workers,
            node,
            config,
            background,
            revocations,
            schedule,
            gc,
            compaction,
        };
        background::register(&parts);
        wake::listen(bus, parts.background.clone(), parts.coordinator.clone());
        Self { parts }
    }

    /// Returns when another coordinator took over. By then the background tasks of this one have ended or are ending, and
    /// every call that would change something is refused; the process should end.
    pub async fn fenced(&self) {
        self.parts.coordinator.fenced().await;
    }
}

impl fmt::Debug for DataCoord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataCoord").field("epoch", &self.parts.coordinator.epoch()).finish_non_exhaustive()
    }
}
