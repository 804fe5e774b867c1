//! The metadata store: every fact about collections with its lifetime `[added_ts, removed_ts)`, and the state machines'
//! rows.
//!
//! * Facts are added and ended, never overwritten; the state of a collection at `s` is the facts with
//!   `added_ts <= s < removed_ts`.
//! * A commit to a collection locks the collection's row, allocates a timestamp and holds the row until it commits:
//!   timestamp order is commit order, so a snapshot's cut is exact (S-1).
//! * What a coordinator writes goes through [`Coordinator`], which proves its epoch in the same transaction.
//! * A state machine's row is read, stepped by `elanus-lifecycle`, and written with its expected state and generation
//!   repeated, in one transaction with its events ([`outbox`]).

mod aliases;
mod alter;
mod catalog;
mod clock;
mod compactions;
mod coordination;
mod databases;
mod db;
mod definitions;
mod error;
mod events;
pub mod facts;
mod file_sets;
pub mod gauges;
mod gc;
mod history;
mod index_builds;
mod lease;
mod listing;
mod machines;
mod manifests;
mod memberships;
pub mod model;
mod outbox;
mod partition_drops;
mod pins;
mod purges;
mod reads;
pub mod rebuild;
mod restore;
mod rollback;
mod roots;
mod rows;
pub mod scans;
mod schema;
mod security;
mod segments;
mod services;
mod snapshots;
mod status;
mod tasks;
mod trash;
mod truncate;
mod writes;

pub use aliases::Names;
pub use coordination::{COORDINATION_LEASE_MS, CoordinationRecord};
pub use databases::DatabaseRecord;
pub use db::{CommitHook, Turn};
pub use error::{MetaError, Result};
pub use gc::{
    Amount, AuditRecord, BreakerRecord, Claimed, DroppedSnapshot, FailureRecord, FirstRun, Forgotten, GcStatus,
    HoldRecord, KeptRecord, PauseRecord, PlanItem, PlanRecord, Progress, Recounted, Retention, Room, Waiting,
    WhichDropped, WhyRecord,
};
pub use history::HistoryRecord;
pub use lease::while_renewing;
pub use purges::PurgeRecord;
pub use rollback::{Begun, NewRollback, RollbackRecord};
pub use roots::{NewStart, RootMirror, RootRecord};
pub use schema::SchemaVersion;
pub use security::{Grant, GrantRecord, RoleRecord, SecurityRecord, UserRecord};
pub use segments::SegmentRecord;
pub use snapshots::SnapshotFilesPlan;
pub use status::{ClusterStatus, Queues};
pub use trash::TrashRecord;

use db::{Db, args};
use elanus_types::key::KeySpace;
use elanus_types::{Clock, Epoch, NodeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::watch;

/// What was released waits so long before it is deleted, unless [`Coordinator::with_drop_tolerance`] says otherwise.
const DROP_TOLERANCE_MS: i64 = 24 * 3_600_000;

/// The metadata store of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Meta {
    db: Db,
    keys: KeySpace,
}

/// The metadata store as the coordinator of one epoch: every write fails with [`MetaError::Fenced`] once another took over.
#[derive(Clone, Debug)]
pub struct Coordinator {
    meta: Meta,
    /// Rises, for all clones, with [`Coordinator::next_epoch`].
    epoch: Arc<AtomicI64>,
    drop_tolerance_ms: i64,
    /// Becomes true, for all clones, when a write found out that another took over; never false again.
    fenced: watch::Sender<bool>,
}

impl Meta {
    /// Opens the store at `url` (`sqlite:///absolute/path` or `postgres://user:password@host/database`), creating and
    /// migrating it, for the cluster that owns the object store.
    ///
    /// # Errors
    /// [`MetaError::Newer`] when a newer program wrote it; [`MetaError::Refused`] when it belongs to another cluster; in
    /// both cases nothing was changed. No error has the password of the URL in it.
    pub async fn open(url: &str, cluster_id: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        let keys = KeySpace::new(cluster_id).map_err(|e| MetaError::BadUrl(e.to_string()))?;
        let db = Db::open(url, clock).await?;
        let meta = Self { db, keys };
        // A store that is not taken is left without open files.
        if let Err(error) = meta.prepare(cluster_id).await {
            meta.close().await;
            return Err(error);
        }
        Ok(meta)
    }

    /// Opens a store that is there and has this program's schema. Creates, migrates and changes nothing.
    ///
    /// # Errors
    /// [`MetaError::Older`] when it is empty or must be migrated first, [`MetaError::Newer`] when a newer program wrote it.
    /// No error has the password of the URL in it.
    pub async fn connect(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::schema_version(url).await?.require_known()?;
        let record = Self::look(url).await?.ok_or_else(|| MetaError::Corrupt("the cluster has no name".to_owned()))?;
        let keys = KeySpace::new(&record.cluster_id).map_err(|e| MetaError::Corrupt(e.to_string()))?;
        Ok(Self { db: Db::open(url, clock).await?, keys })
    }

    /// As [`Meta::connect`], to read: every write is refused with [`elanus_types::Code::WriteDenied`] and the reason `why`.
    ///
    /// # Errors
    /// Those of [`Meta::connect`].
    pub async fn open_to_read(url: &str, clock: Arc<dyn Clock>, why: &'static str) -> Result<Self> {
        let Self { db, keys } = Self::connect(url, clock).await?;
        Ok(Self { db: db.denying(why), keys })
    }

    /// Whoever coordinates now, for who only reads: nothing that it writes is ever stored.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn coordinator_to_read(&self) -> Result<Coordinator> {
        Ok(Coordinator::new(self.clone(), self.root().await?.epoch))
    }

    /// The same store with a hook around every transaction, for tests that fail or die there.
    #[must_use]
    pub fn with_commit_hook(mut self, hook: Arc<dyn CommitHook>) -> Self {
        self.db = self.db.with_hook(hook);
        self
    }

    /// Keys of this cluster's objects.
    #[must_use]
    pub fn keys(&self) -> &KeySpace {
        &self.keys
    }

    /// The clock that the store was opened with.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.db.clock
    }

    /// `count` fresh ids; the first of them.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn allocate_ids(&self, count: u32) -> Result<i64> {
        let mut tx = self.db.write().await?;
        let first = tx.allocate_ids(count).await?;
        tx.commit().await?;
        Ok(first)
    }

    /// Makes `holder` the one coordinator: raises the epoch, so that every earlier coordinator is fenced.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn take_over(&self, holder: &NodeId) -> Result<Coordinator> {
        let (coordinator, _) = self.take_over_root(NewStart::of(holder)).await?;
        Ok(coordinator)
    }

    /// Shows the state of the connections in the metrics of the process.
    pub fn measure(&self) {
        self.db.measure();
    }

    /// Ends all connections; what is committed is durable without it.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Brings the schema up to this program's version and writes down whose store it is; one program at a time.
    async fn prepare(&self, cluster_id: &str) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.lock_migrations().await?;
        schema::migrate(&mut tx, self.db.engine, cluster_id).await?;
        let now_ms = tx.now_ms;
        tx.execute(
            "INSERT INTO cluster (only_row, cluster_id, created_ms) VALUES (1, $1, $2) ON CONFLICT (only_row) DO NOTHING",
            args![cluster_id.to_owned(), now_ms],
        )
        .await?;
        tx.commit().await
    }
}

impl Coordinator {
    pub(crate) fn new(meta: Meta, epoch: Epoch) -> Self {
        let epoch = Arc::new(AtomicI64::new(epoch.0));
        Self { meta, epoch, drop_tolerance_ms: DROP_TOLERANCE_MS, fenced: watch::Sender::new(false) }
    }

    /// The store that this coordinates.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The ownership number of this coordinator.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// The same coordinator; what it releases from now on waits so long before it may be deleted.
    #[must_use]
    pub fn with_drop_tolerance(mut self, drop_tolerance_ms: i64) -> Self {
        self.drop_tolerance_ms = drop_tolerance_ms.max(0);
        self
    }

    /// Before that, what this transaction releases is not deleted.
    pub(crate) fn not_before_ms(&self, tx: &db::Tx) -> i64 {
        tx.now_ms.saturating_add(self.drop_tolerance_ms)
    }

    /// Asks whether this is still the coordinator; what it learns, [`Coordinator::fenced`] tells.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when another took over; when the store is away.
    pub async fn prove(&self) -> Result<()> {
        let before = self.epoch();
        let mut tx = self.meta.db.read().await?;
        let proof = tx.prove(before).await;
        if proof.is_err() && self.epoch() != before {
            return Ok(()); // it was this coordinator that raised it
        }
        self.noticed(proof)
    }

    /// True when another took over and this one has noticed it: nothing that it writes will ever be stored.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        *self.fenced.borrow()
    }

    /// Returns when [`Coordinator::is_fenced`].
    pub async fn fenced(&self) {
        // The sender lives as long as `self`.
        let _ = self.fenced.subscribe().wait_for(|fenced| *fenced).await;
    }

    /// A transaction that proves the epoch.
    pub(crate) async fn write(&self) -> Result<db::Tx> {
        let before = self.epoch();
        match self.meta.db.write_as(before).await {
            // It was this coordinator that raised it.
            Err(MetaError::Fenced { .. }) if self.epoch() != before => {
                self.noticed(self.meta.db.write_as(self.epoch()).await)
            }
            tx => self.noticed(tx),
        }
    }

    fn noticed<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(MetaError::Fenced { .. }) = &result {
            self.fenced.send_if_modified(|fenced| !std::mem::replace(fenced, true));
        }
        result
    }
}
