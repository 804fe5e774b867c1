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
mod databases;
mod db;
mod definitions;
mod error;
pub mod facts;
mod file_sets;
pub mod gauges;
mod gc;
mod history;
mod lease;
mod machines;
mod manifests;
mod memberships;
pub mod model;
mod outbox;
mod pins;
mod reads;
pub mod rebuild;
mod restore;
mod rollback;
mod roots;
mod rows;
pub mod scans;
mod segments;
mod snapshots;
mod tasks;
mod trash;
mod workers;
mod writes;

pub use databases::DatabaseRecord;
pub use db::{CommitHook, Turn};
pub use error::{MetaError, Result};
pub use gc::{
    Amount, AuditRecord, BreakerRecord, Claimed, FailureRecord, Forgotten, GcStatus, HoldRecord, KeptRecord,
    PauseRecord, PlanItem, PlanRecord, Progress, Recounted, Retention, Room, Waiting, WhyRecord,
};
pub use history::HistoryRecord;
pub use lease::while_renewing;
pub use rollback::{Begun, NewRollback, RollbackRecord};
pub use roots::{RootMirror, RootRecord};
pub use segments::SegmentRecord;
pub use snapshots::SnapshotFilesPlan;
pub use trash::TrashRecord;

use db::{Db, Engine, args};
use elanus_types::key::KeySpace;
use elanus_types::{Clock, Epoch, Failure, NodeId};
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::watch;

/// Migrations in order. Never edited once released, only added to.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../migrations/0001_first.sql")),
    (2, "gc", include_str!("../migrations/0002_gc.sql")),
    (3, "roots", include_str!("../migrations/0003_roots.sql")),
    (4, "workers", include_str!("../migrations/0004_workers.sql")),
    (5, "catalog", include_str!("../migrations/0005_catalog.sql")),
    (6, "scan", include_str!("../migrations/0006_scan.sql")),
    (9, "gc_failures", include_str!("../migrations/0009_gc_failures.sql")),
    (10, "compaction", include_str!("../migrations/0010_compaction.sql")),
];

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
    epoch: Epoch,
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
        let (coordinator, _) = self.take_over_root(holder, Epoch(0), None).await?;
        Ok(coordinator)
    }

    /// Ends all connections; what is committed is durable without it.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Brings the schema up to this program's version and writes down whose store it is; one program at a time.
    async fn prepare(&self, cluster_id: &str) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.lock_migrations().await?;
        migrate(&mut tx, self.db.engine, cluster_id).await?;
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
        self.epoch
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
        let mut tx = self.meta.db.read().await?;
        let proof = tx.prove(self.epoch).await;
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
        self.noticed(self.meta.db.write_as(self.epoch).await)
    }

    fn noticed<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(MetaError::Fenced { .. }) = &result {
            self.fenced.send_if_modified(|fenced| !std::mem::replace(fenced, true));
        }
        result
    }
}

/// Runs the migrations that are missing. A store of a newer program or of another cluster is refused before that.
async fn migrate(tx: &mut db::Tx, engine: Engine, cluster_id: &str) -> Result<()> {
    let migrator = Migrator::with_migrations(
        MIGRATIONS
            .iter()
            .map(|(version, name, sql)| {
                let sql = AssertSqlSafe(engine.schema(sql)).into_sql_str();
                Migration::new(*version, Cow::Borrowed(*name), MigrationType::Simple, sql, false)
            })
            .collect(),
    );
    let known = MIGRATIONS[MIGRATIONS.len() - 1].0;
    let table = &migrator.table_name;
    tx.connection().ensure_migrations_table(table).await.map_err(damaged)?;
    let applied = tx.connection().list_applied_migrations(table).await.map_err(damaged)?;
    if let Some(found) = applied.iter().map(|migration| migration.version).max() {
        if found > known {
            return Err(MetaError::Newer { found, known });
        }
        let row = tx.one("SELECT cluster_id FROM cluster WHERE only_row = 1", args![]).await?;
        same_cluster(row.try_get("cluster_id")?, cluster_id)?;
    }
    migrator.run_direct(None, tx.connection(), false).await.map_err(damaged)
}

fn same_cluster(found: &str, expected: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(MetaError::Refused(Failure::invalid(format!(
        "the metadata belongs to cluster {found}, the object store to cluster {expected}: give the two that belong together"
    ))))
}

fn damaged(error: sqlx::migrate::MigrateError) -> MetaError {
    MetaError::Corrupt(error.to_string())
}
