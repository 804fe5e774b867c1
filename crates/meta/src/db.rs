//! Connections, transactions and the few places where SQLite and PostgreSQL differ.
//!
//! Statements are written once, with `$n` parameters and BIGINT/TEXT columns. A row lock is written as the comment
//! `/*FOR UPDATE*/` or `/*FOR SHARE*/`: SQLite, whose writers are serialised by `BEGIN IMMEDIATE`, reads over it.

use crate::error::{MetaError, Result};
use elanus_types::{Clock, Epoch, Timestamp};
use sqlx::any::{AnyArguments, AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Row, Transaction};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Readers beside the one writer.
const READERS_MAX: u32 = 4;
/// Parameters of one statement. SQLite would take 32,766, but looks each `$n` up among those before it: large statements
/// are slow.
const PARAMETERS_MAX: usize = 1_000;
/// Inserts of more rows are prepared anew each time.
const KEPT_ROWS_MAX: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of a statement: `args![id.0, name]`.
macro_rules! args {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut arguments = sqlx::any::AnyArguments::default();
        $( $crate::db::add(&mut arguments, $value); )*
        arguments
    }};
}
pub(crate) use args;

/// Adds one argument. Text is always an owned `String` and numbers are `i64`: what both engines take.
pub(crate) fn add<T>(arguments: &mut AnyArguments, value: T)
where
    T: for<'t> sqlx::Encode<'t, Any> + sqlx::Type<Any>,
{
    use sqlx::Arguments;
    arguments.add(value).expect("numbers, text and NULL always encode");
}

/// Called around every commit, so that a test can fail or die there.
pub trait CommitHook: Send + Sync + std::fmt::Debug {
    /// Before the commit is sent: an error rolls the transaction back.
    fn before(&self) -> Result<()>;
    /// After it was applied: an error tells the caller that it does not know.
    fn after(&self) -> Result<()>;
}

/// The connections to one metadata store.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    writer: AnyPool,
    reader: AnyPool,
    pub(crate) clock: Arc<dyn Clock>,
    hook: Option<Arc<dyn CommitHook>>,
    /// Woken after every commit that left events in the outbox.
    pub(crate) outbox: Arc<tokio::sync::Notify>,
}

impl Db {
    /// Opens a SQLite file, creating it when absent.
    pub(crate) async fn open_sqlite(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let path = path.to_str().ok_or_else(|| MetaError::BadUrl("the metadata path is not UTF-8".into()))?;
        // `mode=rwc` creates; whatever could be read as part of the URL instead of the path is percent-encoded.
        let encoded: String = path
            .bytes()
            .map(|b| match b {
                b'/' | b'.' | b'_' | b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(b).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        let url = format!("sqlite://{encoded}?mode=rwc");
        // The file is local: a connection never goes stale, and a new one would start with a cold cache.
        let pool = |connections| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(CONNECT_TIMEOUT)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        sqlx::raw_sql(
                            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                             PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536",
                        )
                        .execute(connection)
                        .await?;
                        Ok(())
                    })
                })
        };
        let writer = pool(1).connect(&url).await.map_err(MetaError::Unavailable)?;
        let reader = pool(READERS_MAX).connect(&url).await.map_err(MetaError::Unavailable)?;
        Ok(Self { writer, reader, clock, hook: None, outbox: Arc::default() })
    }

    pub(crate) fn with_hook(mut self, hook: Arc<dyn CommitHook>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// A transaction that may write. Nothing else writes while it is open on SQLite.
    pub(crate) async fn write(&self) -> Result<Tx> {
        let inner = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx { inner, now_ms: self.clock.now_ms(), hook: self.hook.clone(), outbox: None, wake: self.outbox.clone() })
    }

    /// As [`Db::write`], for the coordinator of this epoch: [`MetaError::Fenced`] when another took over.
    pub(crate) async fn write_as(&self, epoch: Epoch) -> Result<Tx> {
        let mut tx = self.write().await?;
        let row = tx.one("SELECT epoch FROM coordinator WHERE only_row = 1 /*FOR SHARE*/", args![]).await?;
        if row.try_get::<i64, _>("epoch")? != epoch.0 {
            return Err(MetaError::Fenced { what: "coordination of the cluster" });
        }
        Ok(tx)
    }

    /// A transaction that reads one state of everything.
    pub(crate) async fn read(&self) -> Result<Tx> {
        let inner = self.reader.begin_with("BEGIN").await?;
        Ok(Tx { inner, now_ms: self.clock.now_ms(), hook: None, outbox: None, wake: self.outbox.clone() })
    }

    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// One transaction; dropped without [`Tx::commit`] it changes nothing.
pub(crate) struct Tx {
    inner: Transaction<'static, Any>,
    /// The time of the whole transaction.
    pub(crate) now_ms: i64,
    hook: Option<Arc<dyn CommitHook>>,
    pub(crate) outbox: Option<i64>,
    wake: Arc<tokio::sync::Notify>,
}

impl Tx {
    /// For the migrations alone, which bring statements of their own.
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Runs a statement; the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, args: AnyArguments) -> Result<u64> {
        Ok(sqlx::query_with(sql, args).execute(&mut *self.inner).await?.rows_affected())
    }

    /// Runs a statement that must change exactly `expected` rows; [`MetaError::Fenced`] otherwise.
    pub(crate) async fn execute_exactly(
        &mut self,
        expected: u64,
        what: &'static str,
        sql: &'static str,
        args: AnyArguments,
    ) -> Result<()> {
        if self.execute(sql, args).await? == expected { Ok(()) } else { Err(MetaError::Fenced { what }) }
    }

    pub(crate) async fn optional(&mut self, sql: &'static str, args: AnyArguments) -> Result<Option<AnyRow>> {
        Ok(sqlx::query_with(sql, args).fetch_optional(&mut *self.inner).await?)
    }

    pub(crate) async fn one(&mut self, sql: &'static str, args: AnyArguments) -> Result<AnyRow> {
        Ok(sqlx::query_with(sql, args).fetch_one(&mut *self.inner).await?)
    }

    pub(crate) async fn all(&mut self, sql: &'static str, args: AnyArguments) -> Result<Vec<AnyRow>> {
        Ok(sqlx::query_with(sql, args).fetch_all(&mut *self.inner).await?)
    }

    /// Inserts many rows with few statements. `head` is `INSERT INTO t (a, b)`; each row has `columns` values.
    ///
    /// All statements are built before the first is sent: what the rows come from is not held while the store works.
    pub(crate) fn insert_many<R>(
        &mut self,
        head: &'static str,
        columns: usize,
        rows: impl IntoIterator<Item = R>,
        bind: impl Fn(&mut AnyArguments, R),
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        let per_statement = PARAMETERS_MAX / columns;
        let mut statements = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mut arguments = AnyArguments::default();
            let mut sql = format!("{head} VALUES ");
            let mut rows_num = 0;
            for (n, row) in rows.by_ref().take(per_statement).enumerate() {
                rows_num = n + 1;
                sql.push_str(if n == 0 { "(" } else { ", (" });
                for column in 1..=columns {
                    let comma = if column == 1 { "" } else { ", " };
                    sql.push_str(&format!("{comma}${}", n * columns + column));
                }
                sql.push(')');
                bind(&mut arguments, row);
            }
            // Kept prepared only where the same number of rows comes again and again.
            statements.push(sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(rows_num <= KEPT_ROWS_MAX));
        }
        Box::pin(async move {
            for statement in statements {
                statement.execute(&mut *self.inner).await?;
            }
            Ok(())
        })
    }

    /// `count` fresh ids, ordered by time; the first of them. Ids are never given twice, also when the store was
    /// restored from a backup that is older than the last ids it gave.
    pub(crate) async fn allocate_ids(&mut self, count: u32) -> Result<i64> {
        let floor = Timestamp::from_ms(self.now_ms).0;
        let row = self
            .one(
                "UPDATE id_counter SET next_id = CASE WHEN next_id > $1 THEN next_id ELSE $1 END + $2 \
                 WHERE only_row = 1 RETURNING next_id",
                args![floor, i64::from(count)],
            )
            .await?;
        Ok(row.try_get::<i64, _>("next_id")? - i64::from(count))
    }

    /// Puts an event in the outbox; it is published after the commit. `dedup_key` names it for ever.
    pub(crate) async fn announce(&mut self, subject: String, dedup_key: String, payload_json: String) -> Result<()> {
        let event_id = self.allocate_ids(1).await?;
        self.execute(
            "INSERT INTO outbox (event_id, subject, dedup_key, payload_json) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (dedup_key) DO NOTHING",
            args![event_id, subject, dedup_key, payload_json],
        )
        .await?;
        self.outbox = Some(event_id);
        Ok(())
    }

    /// Makes everything durable.
    pub(crate) async fn commit(self) -> Result<()> {
        if let Some(hook) = &self.hook {
            hook.before()?;
        }
        self.inner.commit().await.map_err(MetaError::CommitUnknown)?;
        if self.outbox.is_some() {
            self.wake.notify_one();
        }
        match &self.hook {
            Some(hook) => hook.after(),
            None => Ok(()),
        }
    }
}
