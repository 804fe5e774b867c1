//! The coordinator: what exists, which snapshots, which restores; and the clean-up after what failed.
//!
//! One coordinator is active: whoever raised the epoch last. Everything that it writes proves its epoch, so an older one
//! changes nothing. It keeps no state of its own: after a restart it goes on from the metadata.
//!
//! * [`background`]: every background task on one screen.
//! * `service`: the calls. They write one fact and return; what takes longer is done by background tasks.
//! * `snapshot`: writes the manifests of a pinned timestamp.
//! * [`Workers`]: how data nodes are reached, inside the process or on the network.
//! * [`stand_by`]: a coordinator that waits for its turn.
//! * `gate`: an earlier coordinator sends callers on to the later one.
//! * `rollback`: a collection goes back in place to one of its snapshots.
//! * `restore`: the checker of restore jobs. `compaction`: which files are compacted.
//! * `tasks`: gives the tasks of both to workers, and takes them from those that are silent.
//! * [`rebuild`]: collections from the snapshots in the bucket, when the metadata is lost. Needs no coordinator.
//! * `gc`: releases what was dropped, deletes what nothing needs; scan for orphans, scrub.

pub mod background;
mod compaction;
mod gate;
mod gc;
mod index;
pub mod rebuild;
mod restore;
mod rollback;
mod segment;
mod service;
mod snapshot;
mod standby;
mod stored;
mod tasks;
mod wake;
mod workers;

pub use compaction::CompactionConfig;
pub use index::IndexConfig;
pub use workers::{OwnWorker, RemoteWorkers, Workers};

pub use gc::{Bucket, DeleteGuard, Former};
pub use service::status::of_status;
pub use standby::stand_by;

use elanus_events::EventBus;
use elanus_meta::{COORDINATION_LEASE_MS, Coordinator, Meta};
use elanus_objects::ObjectStore;
use elanus_proto::transport::Channel;
use elanus_runtime::{Served, background::Background};
use elanus_types::{Failure, NodeId, RestoreMode};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// Limits and times of a coordinator.
#[derive(Clone, Copy, Debug)]
pub struct DataCoordConfig {
    /// How a restore gets its files when the request does not say it.
    pub restore_mode: RestoreMode,
    /// What is compacted, and how much at a time.
    pub compaction: CompactionConfig,
    /// What is indexed, and how much at a time.
    pub index: IndexConfig,
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
    /// A create that has more files to list than this is answered first: they are listed afterwards.
    pub snapshot_entries_max: u32,
    /// A dropped collection can be brought back for so long, in milliseconds; 0: it cannot.
    pub trash_retention_ms: i64,
    /// Between two scans for orphans, in milliseconds.
    pub scan_interval_ms: i64,
    /// Between the first and the last scan that saw an orphan, before it is deleted, in milliseconds.
    pub orphan_gap_ms: i64,
    /// An orphan that was written later is not deleted, in milliseconds.
    pub orphan_age_ms: i64,
    /// Keys of one request for a listing: the most that S3 gives.
    pub scan_page_keys: usize,
    /// A scan goes through the bucket in ranges of so many known keys, several at a time.
    pub scan_shard_keys: u64,
    /// Ranges that are walked at the same time: memory is that of so many pages.
    pub scan_shards_at_once: usize,
    /// What lost its last reference is deleted so much later, in milliseconds. Longer than every read takes, and than the
    /// age of the oldest backup of the metadata that should be of use.
    pub gc_drop_tolerance_ms: i64,
    /// The first run of another program than the one that collected before deletes nothing for so long, in milliseconds; 0:
    /// it deletes at once.
    pub gc_first_run_pause_ms: i64,
    /// Which program this is, with version and build.
    pub program: &'static str,
    /// Rows of what is deleted are kept for so long, in milliseconds.
    pub gc_tombstones_ms: i64,
    /// What happened to each thing is told for so long, in milliseconds.
    pub history_retention_ms: i64,
    /// The audit trail of deletes is kept for so long, in milliseconds.
    pub audit_retention_ms: i64,
    /// It answers questions about metadata that refuse every write, and has no background tasks.
    pub only_reads: bool,
}

impl Default for DataCoordConfig {
    fn default() -> Self {
        const HOUR_MS: i64 = 3_600_000;
        Self {
            // Source and target are under one root path.
            restore_mode: RestoreMode::Clone,
            compaction: CompactionConfig::default(),
            index: IndexConfig::default(),
            copy_job_tasks_max: 64,
            copy_task_bytes_max: 1 << 30,
            copy_task_files_max: 256,
            copy_lease_ms: 30_000,
            restore_deadline_ms: 24 * HOUR_MS,
            job_retention_ms: 3 * HOUR_MS,
            snapshot_lease_ms: 30_000,
            snapshot_entries_max: 256,
            trash_retention_ms: 24 * HOUR_MS,
            scan_interval_ms: 168 * HOUR_MS,
            orphan_gap_ms: 24 * HOUR_MS,
            orphan_age_ms: 168 * HOUR_MS,
            scan_page_keys: 1_000,
            scan_shard_keys: 2_000,
            scan_shards_at_once: 4,
            gc_drop_tolerance_ms: 24 * HOUR_MS,
            gc_first_run_pause_ms: HOUR_MS,
            program: concat!("elanus ", env!("CARGO_PKG_VERSION")),
            gc_tombstones_ms: 48 * HOUR_MS,
            history_retention_ms: 30 * 24 * HOUR_MS,
            audit_retention_ms: 90 * 24 * HOUR_MS,
            only_reads: false,
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
    /// Until when the lease of the coordination lasts, in milliseconds since 1970.
    pub(crate) lease_until_ms: Arc<AtomicI64>,
    pub(crate) compaction: compaction::Settled,
    pub(crate) indexes: compaction::Settled,
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
    /// Starts the coordinator of an epoch: its background tasks run from now on, unless it only reads.
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
        let indexes = compaction::Settled::default();
        // CO-3
        let lease_until_ms = Arc::new(AtomicI64::new(coordinator.meta().clock().now_ms() + COORDINATION_LEASE_MS));
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
            lease_until_ms,
            compaction,
            indexes,
        };
        if !parts.config.only_reads {
            background::register(&parts);
            wake::listen(bus, parts.background.clone(), parts.coordinator.clone());
        }
        Self { parts }
    }

    /// Where clients on the network are served: they are sent on when another coordinator took over.
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel::in_process(Served::inside(gate::Gate::new(self.clone(), self.parts.coordinator.clone())))
    }

    /// Ends the coordination in good order, so that another one need not wait. Its background tasks have ended before.
    ///
    /// # Errors
    /// When the metadata are away, or another took over: nothing is lost by that.
    pub async fn release(&self) -> Result<(), Failure> {
        Ok(self.parts.coordinator.release_coordination(&self.parts.node).await?)
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
