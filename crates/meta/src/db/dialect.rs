//! The few places where SQLite and PostgreSQL differ: how a transaction begins, what a row lock is, how connections are
//! kept, what an error means. No statement about facts.
//!
//! SQLite      One writer at a time (`BEGIN IMMEDIATE`): row locks are read over.
//! PostgreSQL  Writers run at once at READ COMMITTED. Whatever a decision rests on is read under a row lock, and each
//!             statement sees what was committed before it began: a lock that was waited for shows the newest row. Reads
//!             are REPEATABLE READ, so that all statements of one read see one state.

use crate::error::{MetaError, Result};
use elanus_types::Failure;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Row};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers beside the one writer of a SQLite file.
const SQLITE_READERS_MAX: u32 = 4;
/// Connections of one process to PostgreSQL that write, and so many that read; those that idle are closed.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;
/// Connections that allocate ids; each holds the counter for one statement.
const POSTGRES_ALLOCATORS_MAX: u32 = 2;
const POSTGRES_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A statement whose answer has not come by then never comes: longer than the server's own `statement_timeout`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);

/// Beside these, each connection has a cache of pages: memory that is filled by whatever is read, up to so many KiB. What a
/// reader does not find there is in the cache of the operating system.
macro_rules! sqlite_session {
    ($cache_kib:literal) => {
        concat!(
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA foreign_keys = ON; PRAGMA cache_size = -",
            $cache_kib
        )
    };
}
const SQLITE_WRITER_SESSION: &str = sqlite_session!(65536);
const SQLITE_READER_SESSION: &str = sqlite_session!(2048);

/// A process that hangs must not keep others from a row for ever, and what was acknowledged must be on disk even where
/// the server's default is to risk it. Plans are for many small statements over what is mostly in memory: to compile them
/// costs more than it saves, and to look a row up by index costs little more than to meet it in a scan.
const POSTGRES_SESSION: &str = "SET lock_timeout = '10s'; SET statement_timeout = '120s'; \
     SET idle_in_transaction_session_timeout = '60s'; SET jit = off; SET random_page_cost = 1.1; \
     SET client_min_messages = warning; \
     DO $$ BEGIN IF current_setting('synchronous_commit') = 'off' THEN SET synchronous_commit = on; END IF; END $$";

/// Ids need not be on disk before what they name is: a commit also makes everything durable that was committed before it.
const POSTGRES_ALLOCATOR_SESSION: &str =
    "SET lock_timeout = '10s'; SET statement_timeout = '20s'; SET synchronous_commit = off";

/// Number of the advisory lock that programs take in turn to migrate; any number that nothing else in the database uses.
const POSTGRES_MIGRATING: &str =
    "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT 1 FROM pg_advisory_xact_lock(7309453283721)";

/// Which store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// The connections to a store, by what they do.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    pub(crate) writer: AnyPool,
    pub(crate) reader: AnyPool,
    /// Where ids are allocated apart from the transactions that use them: the counter is one row, and a transaction that
    /// held it until its end would make all writers wait for each other.
    pub(crate) allocator: Option<AnyPool>,
}

impl Engine {
    /// What OpenTelemetry calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }

    /// How a transaction that may write begins.
    pub(crate) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        }
    }

    /// How a transaction that reads one state begins.
    pub(crate) fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// What makes a take-over wait for the coordinator's transactions, and new ones for the take-over. The row lock alone
    /// would let them in as long as one is under way, and there may always be one.
    pub(crate) fn lock_coordination(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("LOCK TABLE coordinator IN EXCLUSIVE MODE"),
        }
    }

    /// What takes the turn to migrate, for the rest of the transaction.
    pub(crate) fn lock_migrations(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(POSTGRES_MIGRATING),
        }
    }

    /// The schema's text: SQLite compares text bytewise, PostgreSQL is told to.
    pub(crate) fn schema(self, sql: &'static str) -> Cow<'static, str> {
        match self {
            Self::Sqlite => Cow::Borrowed(sql),
            Self::Postgres => Cow::Owned(sql.replace(" TEXT", " TEXT COLLATE \"C\"")),
        }
    }

    /// A statement as a writing transaction sends it.
    pub(crate) fn writing(self, sql: &'static str) -> &'static str {
        match self {
            Self::Sqlite => sql,
            Self::Postgres => locking(sql),
        }
    }

    /// Waits for an answer no longer than one can still come.
    pub(crate) async fn answer<T>(self, call: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        match self {
            Self::Sqlite => call.await,
            Self::Postgres => tokio::time::timeout(ANSWER_TIMEOUT, call)
                .await
                .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
        }
    }

    /// What a failed COMMIT means.
    pub(crate) fn commit_failed(self, error: sqlx::Error) -> MetaError {
        match sql_state(&error) {
            _ if is_full(&error) => MetaError::Full(error),
            // Refused as a conflict: rolled back for sure.
            Some(state) if self == Self::Postgres && state.starts_with("40") => MetaError::Unavailable(error),
            _ => MetaError::CommitUnknown(error),
        }
    }
}

/// Row locks of PostgreSQL for the comments that stand for them. `NO KEY`, because keys never change here, and foreign
/// keys to a locked row must not wait for it.
fn locking(sql: &'static str) -> &'static str {
    /// By address: every statement is a constant, so there are as many as the program has.
    static TRANSLATED: LazyLock<RwLock<HashMap<(usize, usize), &'static str>>> = LazyLock::new(RwLock::default);
    let address = (sql.as_ptr().addr(), sql.len());
    if let Some(translated) = TRANSLATED.read().unwrap_or_else(PoisonError::into_inner).get(&address) {
        return translated;
    }
    let translated = if sql.contains("/*FOR ") {
        let text = sql
            .replace("/*FOR UPDATE*/", "FOR NO KEY UPDATE")
            .replace("/*FOR UPDATE OF ", "FOR NO KEY UPDATE OF ")
            .replace("/*FOR SHARE*/", "FOR SHARE")
            .replace("*/", "");
        &*text.leak()
    } else {
        sql
    };
    TRANSLATED.write().unwrap_or_else(PoisonError::into_inner).insert(address, translated);
    translated
}

/// `mode=rwc` creates, `mode=ro` only reads.
fn sqlite_url(path: &Path, mode: &str) -> Result<String> {
    sqlx::any::install_default_drivers();
    let path = path.to_str().ok_or_else(|| MetaError::BadUrl("the metadata path is not UTF-8".into()))?;
    // Whatever could be read as part of the URL instead of the path is percent-encoded.
    let encoded: String = path
        .bytes()
        .map(|b| match b {
            b'/' | b'.' | b'_' | b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    Ok(format!("sqlite://{encoded}?mode={mode}"))
}

/// One connection to an existing SQLite file that changes nothing in it. A file that nobody has open is read as it is: even
/// a reader would leave a log beside it.
pub(crate) async fn read_sqlite(path: &Path) -> Result<AnyConnection> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let mode = if Path::new(&log).exists() { "ro" } else { "ro&immutable=true" };
    AnyConnection::connect(&sqlite_url(path, mode)?).await.map_err(MetaError::Unavailable)
}

/// One connection to a PostgreSQL database. No error repeats the URL: there may be a password in it.
pub(crate) async fn read_postgres(url: &str) -> Result<AnyConnection> {
    sqlx::any::install_default_drivers();
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, AnyConnection::connect(url)).await;
    connected.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))).map_err(not_connected)
}

/// True when a statement names a table that the store does not have.
pub(crate) fn table_is_missing(error: &sqlx::Error) -> bool {
    match sql_state(error) {
        Some(state) => state == "42P01",
        None => error.as_database_error().is_some_and(|error| error.message().contains("no such table")),
    }
}

/// Opens a SQLite file, creating it when absent.
pub(crate) async fn open_sqlite(path: &Path) -> Result<Pools> {
    let url = sqlite_url(path, "rwc")?;
    // The file is local: a connection never goes stale, and a new one would start with a cold cache.
    let pool = |connections, statements| {
        session(AnyPoolOptions::new().max_connections(connections), statements)
            .test_before_acquire(false)
            .after_release(|connection, _| Box::pin(is_reusable(connection)))
            .idle_timeout(None)
            .max_lifetime(None)
    };
    let writer = pool(1, SQLITE_WRITER_SESSION).connect(&url).await.map_err(MetaError::Unavailable)?;
    let reader = pool(SQLITE_READERS_MAX, SQLITE_READER_SESSION).connect(&url).await.map_err(MetaError::Unavailable)?;
    Ok(Pools { writer, reader, allocator: None })
}

/// Connects to a database of a PostgreSQL server. No error repeats the URL: there may be a password in it.
pub(crate) async fn open_postgres(url: &str) -> Result<Pools> {
    sqlx::any::install_default_drivers();
    // One connection first: a pool would try again until its time is over, and not say why.
    let checked = tokio::time::timeout(CONNECT_TIMEOUT, async {
        let mut connection = AnyConnection::connect(url).await?;
        let row =
            sqlx::query("SELECT current_setting('server_encoding') AS encoding").fetch_one(&mut connection).await?;
        let encoding: String = row.try_get("encoding")?;
        connection.close().await?;
        Ok(encoding)
    });
    let encoding = checked
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
        .map_err(not_connected)?;
    if encoding != "UTF8" {
        return Err(MetaError::BadUrl(format!(
            "the metadata database has the encoding {encoding}: give one with UTF8"
        )));
    }
    let options = AnyConnectOptions::from_str(url).map_err(not_connected)?;
    let pool = |connections, statements| {
        session(AnyPoolOptions::new().max_connections(connections), statements)
            .idle_timeout(POSTGRES_IDLE_TIMEOUT)
            .connect_lazy_with(options.clone())
    };
    Ok(Pools {
        writer: pool(POSTGRES_CONNECTIONS_MAX, POSTGRES_SESSION),
        reader: pool(POSTGRES_CONNECTIONS_MAX, POSTGRES_SESSION),
        allocator: Some(pool(POSTGRES_ALLOCATORS_MAX, POSTGRES_ALLOCATOR_SESSION)),
    })
}

/// False for a connection that still counts a transaction: SQLite has rolled it back by itself when the disk was full, and
/// the driver would refuse every later one.
async fn is_reusable(connection: &mut AnyConnection) -> sqlx::Result<bool> {
    // Behind the rollback that is on its way.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

fn session(options: AnyPoolOptions, statements: &'static str) -> AnyPoolOptions {
    options.acquire_timeout(CONNECT_TIMEOUT).after_connect(move |connection, _| {
        Box::pin(async move { sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(|_| ()) })
    })
}

/// Why there is no connection: what the caller gave, or a server that is away.
fn not_connected(error: sqlx::Error) -> MetaError {
    match &error {
        sqlx::Error::Configuration(why) => MetaError::BadUrl(format!("the metadata URL is not valid: {why}")),
        sqlx::Error::Database(why) if sql_state(&error).is_some_and(|state| matches!(&state[..2], "28" | "3D")) => {
            MetaError::BadUrl(format!("the metadata server refuses: {}", why.message()))
        }
        _ => MetaError::Unavailable(error),
    }
}

/// The five characters of a SQLSTATE; SQLite's codes are shorter.
fn sql_state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().filter(|code| code.len() == 5).map(Cow::into_owned)
}

/// SQLITE_FULL, and `disk_full` of PostgreSQL.
fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| matches!(&*code, "13" | "53100"))
}

/// True when another transaction took a name between this one's look and its insert, and is committed: a second look
/// finds it. Unique indexes over names are called `…_name`.
pub(crate) fn name_was_taken(error: &MetaError) -> bool {
    let MetaError::Unavailable(sqlx::Error::Database(error)) = error else { return false };
    error.is_unique_violation() && error.constraint().is_some_and(|index| index.ends_with("_name"))
}

/// What a statement's error means to the caller.
pub(crate) fn statement_failed(error: sqlx::Error) -> MetaError {
    if let sqlx::Error::Database(inner) = &error
        && (inner.is_check_violation() || inner.is_foreign_key_violation())
    {
        return MetaError::Corrupt(error.to_string());
    }
    match sql_state(&error).as_deref() {
        _ if is_full(&error) => MetaError::Full(error),
        // A NUL in a text, or a character that the server does not know.
        Some("22021" | "22P05") => Failure::invalid("a text has a character that the metadata cannot hold").into(),
        // The statement does not fit the schema.
        Some(state) if state.starts_with("42") => MetaError::Corrupt(error.to_string()),
        _ => MetaError::Unavailable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_lock_is_a_clause_on_postgres_and_a_comment_on_sqlite() {
        let plain = "SELECT a FROM t WHERE b = '/*' || $1";
        let update = "SELECT a FROM t /*FOR UPDATE*/";
        let of = "SELECT a FROM t JOIN u ON x = y /*FOR UPDATE OF t*/";
        let share = "SELECT a FROM t /*FOR SHARE*/";
        for sql in [plain, update, of, share] {
            assert_eq!(Engine::Sqlite.writing(sql), sql);
        }
        assert_eq!(Engine::Postgres.writing(plain), plain);
        assert_eq!(Engine::Postgres.writing(update), "SELECT a FROM t FOR NO KEY UPDATE");
        assert_eq!(Engine::Postgres.writing(of), "SELECT a FROM t JOIN u ON x = y FOR NO KEY UPDATE OF t");
        assert_eq!(Engine::Postgres.writing(share), "SELECT a FROM t FOR SHARE");
        let (first, second) = (Engine::Postgres.writing(share), Engine::Postgres.writing(share));
        assert!(std::ptr::eq(first, second), "translated once");
    }
}
