//! Connections and transactions, on SQLite and PostgreSQL alike; where the two differ is in [`dialect`].
//!
//! Statements are written once, with `$n` parameters and BIGINT/TEXT columns. A row lock is written as the comment
//! `/*FOR UPDATE*/` or `/*FOR SHARE*/`; a reading transaction, and SQLite, read over it.

mod dialect;
mod watch;

use crate::error::{MetaError, Result};
use dialect::Pools;
pub(crate) use dialect::{Engine, name_was_taken, statement_failed};
use elanus_types::{Clock, Code, Epoch, Failure, Timestamp, current_traceparent};
use futures::TryStreamExt as _;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Row, Transaction};
use std::any::Any as StdAny;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use watch::Watch;

/// Parameters of one statement. SQLite would take 32,766, but looks each `$n` up among those before it: large statements
/// are slow.
const PARAMETERS_MAX: usize = 1_000;
/// Inserts of more rows are prepared anew each time.
const KEPT_ROWS_MAX: usize = 4;

const ALLOCATE_IDS: &str = "
UPDATE id_counter SET next_id = CASE WHEN next_id > $1 THEN next_id ELSE $1 END + $2
WHERE only_row = 1 RETURNING next_id";

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

/// Called around every transaction, so that a test can fail or die there, and repeat a run exactly.
pub trait CommitHook: Send + Sync + std::fmt::Debug {
    /// Before the commit is sent: an error rolls the transaction back.
    fn before(&self) -> Result<()>;
    /// After it was applied: an error tells the caller that it does not know.
    fn after(&self) -> Result<()>;
    /// Before a transaction begins, reading ones too: waits until it may, or fails it.
    fn turn(&self) -> Pin<Box<dyn Future<Output = Result<Turn>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(Turn::default())))
    }
    /// The random bits of a new key.
    fn random(&self) -> u32 {
        rand::random()
    }
}

/// The turn of one transaction, until it has ended.
#[derive(Default)]
pub struct Turn(Option<Box<dyn StdAny + Send>>);

impl Turn {
    /// A turn that is over when `guard` is dropped.
    pub fn until_dropped(guard: impl StdAny + Send) -> Self {
        Self(Some(Box::new(guard)))
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Turn").field(&self.0.is_some()).finish()
    }
}

/// The connections to one metadata store.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    pub(crate) engine: Engine,
    pools: Pools,
    pub(crate) clock: Arc<dyn Clock>,
    hook: Option<Arc<dyn CommitHook>>,
    /// Why nothing is written; `None`: things are.
    denied: Option<&'static str>,
    /// Woken after every commit that left events in the outbox.
    pub(crate) outbox: Arc<tokio::sync::Notify>,
}

/// One connection that reads, to a store that may be anything.
pub(crate) struct Reader {
    engine: Engine,
    connection: AnyConnection,
}

impl Reader {
    /// The row of a statement; `None` when there is none, or not even the table.
    pub(crate) async fn one_if_there(&mut self, sql: &'static str) -> Result<Option<AnyRow>> {
        let answer = self.engine.answer(sqlx::query(sql).fetch_optional(&mut self.connection)).await;
        match answer {
            Err(error) if dialect::table_is_missing(&error) => Ok(None),
            answer => Ok(answer?),
        }
    }

    /// The rows of a statement; none when there is not even the table.
    pub(crate) async fn all_if_there(&mut self, sql: &'static str) -> Result<Vec<AnyRow>> {
        let answer = self.engine.answer(sqlx::query(sql).fetch_all(&mut self.connection)).await;
        match answer {
            Err(error) if dialect::table_is_missing(&error) => Ok(Vec::new()),
            answer => Ok(answer?),
        }
    }

    pub(crate) async fn close(self) {
        // It only read.
        let _ = self.connection.close().await;
    }
}

/// Where a URL points to.
enum Place<'u> {
    File(&'u Path),
    Server(&'u str),
}

fn place(url: &str) -> Result<Place<'_>> {
    match url.split_once("://") {
        Some(("sqlite", path)) if path.starts_with('/') => Ok(Place::File(Path::new(path))),
        Some(("sqlite", _)) => {
            Err(MetaError::BadUrl(format!("{url}: a sqlite URL needs an absolute path: sqlite:///path")))
        }
        Some(("postgres" | "postgresql", _)) => Ok(Place::Server(url)),
        _ => {
            let text = "this is no metadata URL: use sqlite:///path or postgres://user:password@host/database";
            Err(MetaError::BadUrl(text.to_owned()))
        }
    }
}

impl Db {
    /// Opens the store at `url`, creating it when it is a file and absent.
    pub(crate) async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        match place(url)? {
            Place::File(path) => Self::open_sqlite(path, clock).await,
            Place::Server(url) => Self::open_postgres(url, clock).await,
        }
    }

    /// A connection that reads and changes nothing; `None` when there is no such file.
    pub(crate) async fn reader(url: &str) -> Result<Option<Reader>> {
        match place(url)? {
            Place::File(path) if !path.exists() => Ok(None),
            Place::File(path) => {
                let connection = dialect::read_sqlite(path).await?;
                Ok(Some(Reader { engine: Engine::Sqlite, connection }))
            }
            Place::Server(url) => {
                let connection = dialect::read_postgres(url).await?;
                Ok(Some(Reader { engine: Engine::Postgres, connection }))
            }
        }
    }

    /// Opens a SQLite file, creating it when absent.
    async fn open_sqlite(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let pools = dialect::open_sqlite(path).await?;
        Ok(Self { engine: Engine::Sqlite, pools, clock, hook: None, denied: None, outbox: Arc::default() })
    }

    /// Connects to a database of a PostgreSQL server.
    async fn open_postgres(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        let pools = dialect::open_postgres(url).await?;
        Ok(Self { engine: Engine::Postgres, pools, clock, hook: None, denied: None, outbox: Arc::default() })
    }

    pub(crate) fn with_hook(mut self, hook: Arc<dyn CommitHook>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Every transaction that would write is refused, with this reason.
    pub(crate) fn denying(mut self, why: &'static str) -> Self {
        self.denied = Some(why);
        self
    }

    /// A transaction that may write. Nothing else writes while it is open on SQLite.
    pub(crate) async fn write(&self) -> Result<Tx> {
        if let Some(why) = self.denied {
            return Err(Failure::new(Code::WriteDenied, why).into());
        }
        let turn = self.turn().await?;
        self.begin(&self.pools.writer, self.engine.begin_write(), turn, true).await
    }

    /// As [`Db::write`], for the coordinator of this epoch: [`MetaError::Fenced`] when another took over.
    pub(crate) async fn write_as(&self, epoch: Epoch) -> Result<Tx> {
        let mut tx = self.write().await?;
        tx.prove(epoch).await?;
        Ok(tx)
    }

    /// A transaction that reads one state of everything.
    pub(crate) async fn read(&self) -> Result<Tx> {
        let turn = self.turn().await?;
        self.begin(&self.pools.reader, self.engine.begin_read(), turn, false).await
    }

    async fn begin(&self, pool: &AnyPool, statement: &'static str, turn: Turn, writes: bool) -> Result<Tx> {
        let watch = Watch::begin(if writes { "write" } else { "read" }, self.engine.name());
        match self.engine.answer(pool.begin_with(statement)).await {
            Ok(inner) => {
                watch.begun();
                Ok(self.tx(inner, turn, writes, watch))
            }
            Err(error) => {
                watch.not_begun(&error);
                Err(error.into())
            }
        }
    }

    async fn turn(&self) -> Result<Turn> {
        match &self.hook {
            Some(hook) => hook.turn().await,
            None => Ok(Turn::default()),
        }
    }

    /// The random bits of a new key.
    pub(crate) fn random(&self) -> u32 {
        self.hook.as_ref().map_or_else(rand::random, |hook| hook.random())
    }

    fn tx(&self, inner: Transaction<'static, Any>, turn: Turn, writes: bool, watch: Watch) -> Tx {
        Tx {
            inner,
            engine: self.engine,
            writes,
            failed: false,
            allocator: self.pools.allocator.clone(),
            now_ms: self.clock.now_ms(),
            hook: if writes { self.hook.clone() } else { None },
            outbox: false,
            moves: Vec::new(),
            wake: self.outbox.clone(),
            watch,
            when_committed: Vec::new(),
            _turn: turn,
        }
    }

    /// Shows how many connections there are, for metrics.
    pub(crate) fn measure(&self) {
        let Pools { writer, reader, allocator } = &self.pools;
        let pools = [("write", Some(writer)), ("read", Some(reader)), ("allocate", allocator.as_ref())];
        for (name, pool) in pools.into_iter().filter_map(|(name, pool)| Some((name, pool?))) {
            let (open, idle) = (f64::from(pool.size()), pool.num_idle() as f64);
            let gauge = |state: &'static str, number: f64| {
                metrics::gauge!("elanus_meta_connections", "pool" => name, "state" => state).set(number);
            };
            gauge("busy", (open - idle).max(0.0));
            gauge("idle", idle);
            gauge("max", f64::from(pool.options().get_max_connections()));
        }
    }

    pub(crate) async fn close(&self) {
        let Pools { writer, reader, allocator } = &self.pools;
        reader.close().await;
        writer.close().await;
        if let Some(allocator) = allocator {
            allocator.close().await;
        }
    }
}

/// The same move of so many machines.
struct Moves {
    machine: &'static str,
    from: String,
    to: String,
    event: &'static str,
    number: u64,
}

/// An event for the outbox.
pub(crate) struct NewEvent {
    /// `kind.id`
    pub(crate) subject: String,
    /// Names it for ever.
    pub(crate) dedup_key: String,
    /// JSON.
    pub(crate) payload_json: String,
}

/// One transaction; dropped without [`Tx::commit`] it changes nothing.
pub(crate) struct Tx {
    inner: Transaction<'static, Any>,
    engine: Engine,
    writes: bool,
    /// A statement failed: PostgreSQL would answer COMMIT with a silent rollback.
    failed: bool,
    allocator: Option<AnyPool>,
    /// The time of the whole transaction.
    pub(crate) now_ms: i64,
    hook: Option<Arc<dyn CommitHook>>,
    /// It left events.
    outbox: bool,
    /// Moves of machines, counted when they are committed.
    moves: Vec<Moves>,
    wake: Arc<tokio::sync::Notify>,
    watch: Watch,
    /// Counted when it is committed.
    when_committed: Vec<Box<dyn FnOnce() + Send + Sync>>,
    /// Last: over when the transaction has been given up.
    _turn: Turn,
}

impl Moves {
    fn count(self) {
        let Self { machine, from, to, event, number } = self;
        let name = crate::machines::transitions_metric(machine);
        metrics::counter!(name, "from" => from, "to" => to, "event" => event).increment(number);
    }
}

impl Tx {
    /// For the migrations alone, which bring statements of their own.
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Takes the turn to migrate, where programs could do that at the same time.
    pub(crate) async fn lock_migrations(&mut self) -> Result<()> {
        self.lock(self.engine.lock_migrations()).await
    }

    /// Keeps every coordinator from beginning a transaction, once those that are under way have ended.
    pub(crate) async fn lock_coordination(&mut self) -> Result<()> {
        self.lock(self.engine.lock_coordination()).await
    }

    /// Fails when `epoch` is not that of the present coordinator. In a transaction that writes nobody takes over before
    /// its end.
    pub(crate) async fn prove(&mut self, epoch: Epoch) -> Result<()> {
        let row = self.one("SELECT epoch FROM coordinator WHERE only_row = 1 /*FOR SHARE*/", args![]).await?;
        if row.try_get::<i64, _>("epoch")? != epoch.0 {
            return Err(MetaError::Fenced { what: "coordination of the cluster" });
        }
        Ok(())
    }

    async fn lock(&mut self, sql: Option<&'static str>) -> Result<()> {
        if let Some(sql) = sql {
            let result = sqlx::raw_sql(sql).execute(&mut *self.inner).await;
            self.checked(result)?;
        }
        Ok(())
    }

    /// The statement as the store takes it.
    fn sql(&mut self, sql: &'static str) -> &'static str {
        self.watch.statement(sql);
        let sql = if self.writes { self.engine.writing(sql) } else { sql };
        tracing::trace!(sql, "statement");
        sql
    }

    /// Remembers a failure, so that nothing is committed after it.
    fn checked<T>(&mut self, result: sqlx::Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.failed = true;
            self.watch.failed(error);
        }
        Ok(result?)
    }

    /// Runs a statement; the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, args: AnyArguments) -> Result<u64> {
        let query = sqlx::query_with(self.sql(sql), args);
        let result = self.engine.answer(query.execute(&mut *self.inner)).await;
        Ok(self.checked(result)?.rows_affected())
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
        let query = sqlx::query_with(self.sql(sql), args);
        let result = self.engine.answer(query.fetch_optional(&mut *self.inner)).await;
        self.checked(result)
    }

    pub(crate) async fn one(&mut self, sql: &'static str, args: AnyArguments) -> Result<AnyRow> {
        let query = sqlx::query_with(self.sql(sql), args);
        let result = self.engine.answer(query.fetch_one(&mut *self.inner)).await;
        self.checked(result)
    }

    pub(crate) async fn all(&mut self, sql: &'static str, args: AnyArguments) -> Result<Vec<AnyRow>> {
        let query = sqlx::query_with(self.sql(sql), args);
        let result = self.engine.answer(query.fetch_all(&mut *self.inner)).await;
        self.checked(result)
    }

    /// Reads rows one by one: of a long answer, only what `read` makes of it is in memory.
    pub(crate) async fn all_as<T>(
        &mut self,
        sql: &'static str,
        args: AnyArguments,
        read: impl Fn(&AnyRow) -> Result<T>,
    ) -> Result<Vec<T>> {
        let query = sqlx::query_with(self.sql(sql), args);
        let mut found = Vec::new();
        let reading = async {
            let mut rows = query.fetch(&mut *self.inner);
            while let Some(row) = rows.try_next().await? {
                found.push(read(&row));
            }
            Ok(())
        };
        let result = self.engine.answer(reading).await;
        self.checked(result)?;
        found.into_iter().collect()
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
        self.upsert_many(head, "", columns, rows, bind)
    }

    /// As [`Tx::insert_many`], with what follows the values, as `ON CONFLICT …`.
    pub(crate) fn upsert_many<R>(
        &mut self,
        head: &'static str,
        tail: &'static str,
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
            self.watch.statement(head);
            sql.push_str(tail);
            // Kept prepared only where the same number of rows comes again and again.
            statements.push(sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(rows_num <= KEPT_ROWS_MAX));
        }
        Box::pin(async move {
            for statement in statements {
                let result = self.engine.answer(statement.execute(&mut *self.inner)).await;
                self.checked(result)?;
            }
            Ok(())
        })
    }

    /// `count` fresh ids, ordered by time; the first of them. Ids are never given twice, also when the store was
    /// restored from a backup that is older than the last ids it gave.
    pub(crate) async fn allocate_ids(&mut self, count: u32) -> Result<i64> {
        let floor = Timestamp::from_ms(self.now_ms).0;
        let arguments = args![floor, i64::from(count)];
        let row = match self.allocator.clone() {
            Some(pool) => self.engine.answer(sqlx::query_with(ALLOCATE_IDS, arguments).fetch_one(&pool)).await?,
            None => self.one(ALLOCATE_IDS, arguments).await?,
        };
        Ok(row.try_get::<i64, _>("next_id")? - i64::from(count))
    }

    /// Puts an event in the outbox; it is published after the commit. `dedup_key` names it for ever.
    pub(crate) async fn announce(&mut self, subject: String, dedup_key: String, payload_json: String) -> Result<()> {
        self.announce_many(vec![NewEvent { subject, dedup_key, payload_json }]).await
    }

    /// As [`Tx::announce`], for events that belong together.
    pub(crate) async fn announce_many(&mut self, events: Vec<NewEvent>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let first_id = self.allocate_ids(u32::try_from(events.len()).unwrap_or(u32::MAX)).await?;
        let traceparent = current_traceparent();
        self.upsert_many(
            "INSERT INTO outbox (event_id, subject, dedup_key, payload_json, traceparent)",
            " ON CONFLICT (dedup_key) DO NOTHING",
            5,
            (first_id..).zip(events),
            |arguments, (id, event)| {
                add(arguments, id);
                add(arguments, event.subject);
                add(arguments, event.dedup_key);
                add(arguments, event.payload_json);
                add(arguments, traceparent.clone());
            },
        )
        .await?;
        self.outbox = true;
        Ok(())
    }

    /// Counts a move of `number` machines, once this transaction is committed.
    pub(crate) fn moved(&mut self, machine: &'static str, from: &str, to: &str, event: &'static str, number: u64) {
        if number > 0 {
            let (from, to) = (from.to_owned(), to.to_owned());
            self.moves.push(Moves { machine, from, to, event, number });
        }
    }

    /// Does this once the transaction is committed: for what is counted.
    pub(crate) fn when_committed(&mut self, count: impl FnOnce() + Send + Sync + 'static) {
        self.when_committed.push(Box::new(count));
    }

    /// Makes everything durable.
    pub(crate) async fn commit(mut self) -> Result<()> {
        if let Some(hook) = &self.hook {
            hook.before()?;
        }
        if self.failed {
            return Err(MetaError::Corrupt("a transaction is committed after one of its statements failed".to_owned()));
        }
        if let Err(error) = self.engine.answer(self.inner.commit()).await {
            self.watch.failed(&error);
            return Err(self.engine.commit_failed(error));
        }
        self.watch.committed();
        if self.outbox {
            self.wake.notify_one();
        }
        self.moves.into_iter().for_each(|moves| moves.count());
        self.when_committed.into_iter().for_each(|count| count());
        match &self.hook {
            Some(hook) => hook.after(),
            None => Ok(()),
        }
    }
}
