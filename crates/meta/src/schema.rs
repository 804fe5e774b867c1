//! The schema: its migrations, and what a store has of them.

use crate::Meta;
use crate::db::{Db, Engine, Reader, Tx, args};
use crate::error::{MetaError, Result};
use elanus_types::Failure;
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr};
use std::borrow::Cow;

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
    (11, "starts", include_str!("../migrations/0011_starts.sql")),
    (12, "collector", include_str!("../migrations/0012_collector.sql")),
    (13, "services", include_str!("../migrations/0013_services.sql")),
    (14, "events", include_str!("../migrations/0014_events.sql")),
    (16, "traces", include_str!("../migrations/0016_traces.sql")),
    (17, "accepted", include_str!("../migrations/0017_accepted.sql")),
    (18, "security", include_str!("../migrations/0018_security.sql")),
    (21, "segments_in_order", include_str!("../migrations/0021_segments_in_order.sql")),
    (22, "snapshot_traces", include_str!("../migrations/0022_snapshot_traces.sql")),
    (23, "ttl", include_str!("../migrations/0023_ttl.sql")),
    (24, "index_builds", include_str!("../migrations/0024_index_builds.sql")),
];

/// The last of them.
pub(crate) const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// What a store has, and what this program needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    /// In the store; `None`: it is empty, or not there.
    pub found: Option<i64>,
    /// Of this program.
    pub known: i64,
}

impl SchemaVersion {
    /// # Errors
    /// [`MetaError::Newer`].
    pub(crate) fn require_not_newer(self) -> Result<()> {
        match self.found {
            Some(found) if found > self.known => Err(MetaError::Newer { found, known: self.known }),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// [`MetaError::Newer`], [`MetaError::Older`].
    pub(crate) fn require_known(self) -> Result<()> {
        self.require_not_newer()?;
        match self.found {
            Some(found) if found == self.known => Ok(()),
            found => Err(MetaError::Older { found: found.unwrap_or(0), known: self.known }),
        }
    }
}

impl Meta {
    /// The version of a store that may not exist yet. Creates and changes nothing.
    ///
    /// # Errors
    /// [`MetaError::BadUrl`], and when the store is away.
    pub async fn schema_version(url: &str) -> Result<SchemaVersion> {
        let Some(mut reader) = Db::reader(url).await? else { return Ok(SchemaVersion { found: None, known: KNOWN }) };
        let version = version(&mut reader).await;
        reader.close().await;
        version
    }
}

pub(crate) async fn version(reader: &mut Reader) -> Result<SchemaVersion> {
    let row = reader.one_if_there("SELECT MAX(version) AS version FROM _sqlx_migrations").await?;
    let found = row.map(|row| row.try_get::<Option<i64>, _>("version")).transpose()?.flatten();
    Ok(SchemaVersion { found, known: KNOWN })
}

/// Runs the migrations that are missing. A store of a newer program or of another cluster is refused before that.
pub(crate) async fn migrate(tx: &mut Tx, engine: Engine, cluster_id: &str) -> Result<()> {
    let migrator = Migrator::with_migrations(
        MIGRATIONS
            .iter()
            .map(|(version, name, sql)| {
                let sql = AssertSqlSafe(engine.schema(sql)).into_sql_str();
                Migration::new(*version, Cow::Borrowed(*name), MigrationType::Simple, sql, false)
            })
            .collect(),
    );
    let table = &migrator.table_name;
    tx.connection().ensure_migrations_table(table).await.map_err(damaged)?;
    let applied = tx.connection().list_applied_migrations(table).await.map_err(damaged)?;
    if let Some(found) = applied.iter().map(|migration| migration.version).max() {
        if found > KNOWN {
            return Err(MetaError::Newer { found, known: KNOWN });
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
