//! How the stores find what the frequent calls ask for. The plans are kept in `plans/*.txt`, to be read when they change;
//! none of them looks at a whole table that grows with the data.

use crate::restoring::{BOUNDS, claim_all, clone_of, filled, finish_all, new_snapshot, run, submit, submit_new};
use crate::store::{LATER_MS, Store, deletes_of, node, rows_of, written};
use elanus_meta::model::{CollectionKey, Created, TaskMessage};
use elanus_meta::scans::OrphanRule;
use elanus_meta::{Retention, Room};
use elanus_types::{CollectionId, FileSetId, JobId, SegmentId, SnapshotId};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Once;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Tables that grow with what is stored. The others have a row a collection, a job, a pin.
const LARGE: [&str; 7] = ["memberships", "objects", "file_sets", "segments", "history", "copy_items", "copy_tasks"];

/// Collections that share the memberships of a filled store.
const SHELVES: i64 = 50;

thread_local! {
    /// Statements that this thread sent; `None` while nobody asks.
    static SENT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Listens to the store's own trace of its statements. One for the process: what a thread alone listens to may be taken
/// for unheard by the others.
struct Sent;

impl Sent {
    fn begin() {
        static LISTENING: Once = Once::new();
        LISTENING.call_once(|| {
            tracing::subscriber::set_global_default(Self).unwrap();
            tracing::callsite::rebuild_interest_cache();
        });
        SENT.set(Some(vec![]));
    }

    fn end() -> Vec<String> {
        SENT.take().unwrap()
    }
}

impl Subscriber for Sent {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "elanus_meta::db"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Sql<'s>(&'s mut Vec<String>);
        impl Visit for Sql<'_> {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "sql" {
                    self.0.push(in_one_line(value));
                }
            }

            fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
        }
        SENT.with_borrow_mut(|sent| {
            if let Some(sent) = sent {
                event.record(&mut Sql(sent));
            }
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A statement in one line, without its comments.
fn in_one_line(sql: &str) -> String {
    let lines = sql.lines().map(|line| line.split_once("--").map_or(line, |(sql, _)| sql));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// Fills a store with `rows` memberships, without asking it.
async fn fill(store: &Store, rows: i64) {
    for n in 0..SHELVES {
        store.collection(&format!("shelf{n}")).await;
    }
    let mut connection = AnyConnection::connect(&store.url).await.unwrap();
    let from = "FROM n JOIN (SELECT c.collection_id, p.partition_id, \
                ROW_NUMBER() OVER (ORDER BY c.collection_id) - 1 AS k FROM collections c \
                JOIN partitions p ON p.collection_id = c.collection_id AND p.name = '_default') c ON c.k = i % 50";
    let count = |rows: i64| {
        format!("WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) ")
    };
    for (rows, head, select) in [
        (
            rows / 100,
            "INSERT INTO segments (segment_id, collection_id, partition_id, shard, level, state, rows_num, bytes, created_ts) ",
            "SELECT i, collection_id, partition_id, 0, 'l1', 'flushed', 0, 0, 1 ",
        ),
        (
            rows,
            "INSERT INTO file_sets (file_set_id, kind, state, refs, claimed_ever, ever_live, created_ms) ",
            "SELECT i, 'insert', 'live', 1, 0, 1, 0 ",
        ),
        (
            rows,
            "INSERT INTO objects (object_key, file_set_id, ordinal, size_bytes, checksum) ",
            "SELECT 'elanus/' || i, i, 0, 1, '00' ",
        ),
        (
            rows,
            "INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, \
             rows_num, bytes, added_ts, removed_ts) ",
            "SELECT 1 + (i - 1) / 100, i, collection_id, partition_id, 0, 'insert', i, 1, 1, i, \
             CASE WHEN i % 7 = 0 THEN i + 1000 ELSE 9223372036854775807 END ",
        ),
        (
            rows,
            "INSERT INTO history (history_id, at_ms, machine, subject_id, event, from_state, to_state, detail) ",
            "SELECT i, 0, 'file_set', i / 3, 'e', 'a', 'b', '' ",
        ),
        (
            SHELVES,
            "INSERT INTO restore_jobs (job_id, snapshot_id, snapshot_name, source_collection_id, source_name, \
             source_database, target_collection_id, target_name, target_database, mode, partitions_json, with_indexes, state, started_ms, deadline_ms, ended_ms) ",
            "SELECT i, 1, 's', 1, 's', 'default', 2, 't', 'default', 'copy', '[]', 1, 'completed', 0, 0, 1 ",
        ),
        (
            1 + rows / 100,
            "INSERT INTO copy_tasks (task_id, job_id, state, attempt, generation, files_total, bytes_total) ",
            "SELECT i, 1 + i % 50, 'completed', 1, 1, 100, 100 ",
        ),
        (
            rows,
            "INSERT INTO copy_items (task_id, job_id, source_file_set_id, source_segment_id, target_segment_id, \
             target_partition_id, shard, kind, base_ts, rows_num, bytes, target_file_set_id) ",
            "SELECT 1 + (i - 1) / 100, 1 + (1 + (i - 1) / 100) % 50, i, 1 + (i - 1) / 100, 1, 1, 0, 'insert', i, 1, 1, i ",
        ),
    ] {
        let sql = format!("{}{head}{select}{from}", count(rows));
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Does what services do again and again, and returns the statements of each call.
async fn frequent(store: &Store) -> Vec<(&'static str, Vec<String>)> {
    let (books, snapshot) = filled(store).await;
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    let default = store.record(books).await.unwrap().partitions[0].id;
    let pin = coordinator.pin_snapshot(books, "s", "user", 60).await.unwrap();
    let job = submit(coordinator, books, "copy").await.id;
    coordinator.plan_job(job, BOUNDS).await.unwrap();
    let claimed = claim_all(coordinator, "n1").await.unwrap();
    let places = [rows_of(default), deletes_of(default)];
    let owner = node("w1");
    let planned = meta.begin_write(books, &owner, LATER_MS, &places).await.unwrap();
    let given_up: Vec<_> = planned.iter().map(|file| file.file_set).collect();
    let planned = meta.begin_write(books, &owner, LATER_MS, &places).await.unwrap();
    let files = written(&places, planned, 10);
    let ids: Vec<_> = files.iter().map(|file| file.planned.file_set).collect();
    let second = coordinator.create_snapshot(new_snapshot(books, "pending", LATER_MS)).await.unwrap();
    let Created::New(second) = second else { panic!("{second:?}") };

    coordinator.create_alias("default", "tomes", "books").await.unwrap();

    let mut calls = vec![];
    macro_rules! call {
        ($name:literal, $call:expr) => {{
            Sent::begin();
            let _ = $call.await.unwrap();
            calls.push(($name, Sent::end()));
        }};
    }
    call!("last_ts", meta.last_ts(books));
    call!("view", meta.view(books, None));
    call!("view at a time", meta.view(books, Some(snapshot.create_ts)));
    call!("changes", meta.changes(books, snapshot.create_ts));
    call!("collection by id", meta.collection(&CollectionKey::Id(books)));
    let named = |name: &str| CollectionKey::Name { database: "default".to_owned(), name: name.to_owned() };
    call!("collection by name", meta.collection(&named("books")));
    call!("collection by alias", meta.collection(&named("tomes")));
    call!("segments", meta.segments(books));
    call!("statistics", meta.statistics(books, &[]));
    call!("begin_write", meta.begin_write(books, &owner, LATER_MS, &places));
    call!("renew", meta.renew(&owner, &ids, LATER_MS + 1));
    call!("commit_write", meta.commit_write(books, &owner, 1, &files));
    call!("commit_write again", meta.commit_write(books, &owner, 1, &files));
    call!("abandon", meta.abandon(&owner, &given_up, "tested"));
    call!("create_snapshot", coordinator.create_snapshot(new_snapshot(books, "t", LATER_MS)));
    call!("heartbeat_snapshot", coordinator.heartbeat_snapshot(second.id, &node("writer"), LATER_MS + 1));
    call!("changed_since_base", meta.changed_since_base(&second, 1_000));
    call!("members_at", meta.members_at(books, second.create_ts));
    call!("files_page", meta.files_page(books, second.create_ts, None, 1_000));
    call!("accept_snapshot", coordinator.accept_snapshot(second.id, &node("writer")));
    call!("accepted_snapshots", meta.accepted_snapshots(10));
    call!("claim_snapshot", coordinator.claim_snapshot(second.id, &node("writer"), LATER_MS + 1));
    call!("drop_snapshot", coordinator.drop_snapshot(books, "t"));
    coordinator.create_snapshot(new_snapshot(books, "t2", LATER_MS)).await.unwrap();
    call!("unpin", coordinator.unpin(pin.id));
    call!("compaction_view", meta.compaction_view(books));
    call!("index_view", meta.index_view(books, 1));
    call!("forget_index_builds", coordinator.forget_index_builds(1, 100));
    call!("clocks", meta.clocks(CollectionId(0), 100));
    call!("compactions", meta.compactions(Some(books), 100));
    call!("compaction_job", meta.compaction_job(JobId(1)));
    call!("forget_compactions", coordinator.forget_compactions(1, 100));
    call!("pending_tasks", meta.pending_tasks(10));
    call!("in_progress_tasks", meta.in_progress_tasks());
    let heartbeat = TaskMessage::Heartbeat { files_done: 1, bytes_done: 1, lease_until_ms: LATER_MS };
    let task = &claimed[0];
    call!("report_task", coordinator.report_task(task.task, task.generation, &node("n1"), heartbeat));
    call!(
        "report_task finished",
        coordinator.report_task(task.task, task.generation, &node("n1"), TaskMessage::Finished)
    );
    call!("task_counts", meta.task_counts(job));
    call!("expire_tasks", coordinator.expire_tasks());
    call!("expire_snapshots", coordinator.expire_snapshots());
    call!("expire_intents", coordinator.expire_intents(100));
    call!("is_anything_due", meta.is_anything_due());
    call!("claim_unneeded", coordinator.claim_unneeded(Room::Any(100)));
    call!("mark_gone", coordinator.mark_gone(1));
    coordinator.drop_snapshot(books, "t2").await.unwrap();
    call!("to_be_released", meta.to_be_released(100));
    let dropped = meta.to_be_released(100).await.unwrap().snapshots[0];
    call!("release_snapshot", coordinator.release_snapshot(dropped, 1_000));
    let partition = meta.to_be_released(100).await.unwrap().partitions[0];
    call!("release_partition", coordinator.release_partition(partition, 1_000));
    call!("release_partition, last", coordinator.release_partition(partition, 1_000));
    call!("recount", meta.recount(elanus_types::FileSetId(0), 1_000));
    call!("renew_readers", meta.renew_readers(&node("q1"), &[], LATER_MS));
    let keep = Retention { tombstones_ms: 1, history_ms: 1_000_000, audit_ms: 1_000_000 };
    call!("forget", coordinator.forget(keep, 1_000));
    let going = store.collection("going").await;
    store.insert(going.id, going.partitions[0].id).await;
    coordinator.drop_collection(going.id).await.unwrap();
    call!("release_collection", coordinator.release_collection(going.id, 1_000));
    call!("release_collection, last", coordinator.release_collection(going.id, 1_000));
    call!("expire_other_owners", coordinator.expire_other_owners(&[node("w1"), node("n1"), node("writer")]));
    call!("expire_other_owners, one lost", coordinator.expire_other_owners(&[node("n1"), node("writer")]));
    call!("known_objects", meta.known_objects(None, 100));
    call!("begin_scan", coordinator.begin_scan(i64::MAX));
    call!("queue_orphans", coordinator.queue_orphans(OrphanRule { gap_ms: 0, age_ms: 0 }, 100));
    call!("orphans", meta.orphans(None, 100));
    call!("file_set_facts", meta.file_set_facts(FileSetId(0), 100));
    call!("membership_facts", meta.membership_facts((SegmentId(0), FileSetId(0)), 100));
    call!("committed_snapshots", meta.committed_snapshots(SnapshotId(0), 100));
    call!("next_events", meta.next_events(100));
    call!("seal_segments", coordinator.seal_segments(books));
    call!("seal_idle_segments", coordinator.seal_idle_segments(snapshot.create_ts));
    call!("expire_pins", coordinator.expire_pins());
    call!("open_jobs", meta.open_jobs());
    let service = crate::services::service("n1", 1, LATER_MS);
    call!("heartbeat_service", meta.heartbeat_service(&service));
    call!("services", meta.services());
    call!("forget_services", coordinator.forget_services(0));
    call!("renew_coordination", coordinator.renew_coordination(&node("n1")));
    call!("coordination", meta.coordination());
    call!("claim_coordination", meta.claim_coordination(&node("n2"), 0));
    call!("cluster_status", meta.cluster_status());
    call!("prove", coordinator.prove());
    call!("remove_finished_jobs", coordinator.remove_finished_jobs(0, 10));
    call!("drop_partition", coordinator.drop_partition(books, "new"));
    call!("cancel_job", coordinator.cancel_job(job));
    call!("clean_up_job", coordinator.clean_up_job(job));
    let twin = submit_new(coordinator, clone_of(books, "twin")).await.id;
    let twin = run(coordinator, twin).await.target;
    let Ok(Created::New(detach)) = coordinator.submit_detach(twin, LATER_MS).await else { panic!("no detach") };
    call!("plan_job, a detach", coordinator.plan_job(detach.id, BOUNDS));
    claim_all(coordinator, "n1").await.unwrap();
    finish_all(coordinator).await.unwrap();
    call!("publish_job, a detach", coordinator.publish_job(detach.id));
    call!("history", meta.history("snapshot", snapshot.id.0));
    calls
}

/// The plan of a statement, line by line.
async fn plan(connection: &mut AnyConnection, sql: &str, server: bool) -> Vec<String> {
    if !server {
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(connection).await.unwrap();
        return rows.iter().map(|row| row.get::<String, _>("detail")).collect();
    }
    // As for any parameters: what the server settles for when a statement is sent again and again.
    let parameters = (1..=20).rev().find(|n| sql.contains(&format!("${n}"))).unwrap_or(0);
    let nulls = vec!["NULL"; parameters].join(", ");
    let execute = if parameters == 0 { "q".to_owned() } else { format!("q({nulls})") };
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE q AS {sql}"))).execute(&mut *connection).await.unwrap();
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE {execute}")))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    sqlx::raw_sql("DEALLOCATE q").execute(&mut *connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

/// Whether a line of a plan reads a large table from one end to the other.
fn reads_all(line: &str, plan: &[String]) -> bool {
    let line = line.trim_start_matches([' ', '-', '>']);
    if let Some(rest) = line.strip_prefix("Seq Scan on ") {
        return rest.split_whitespace().next().is_some_and(|table| LARGE.contains(&table));
    }
    // SQLite: from end to end of a table, or of an index that has all rows; a table is told by its alias.
    let Some(rest) = line.strip_prefix("SCAN ").filter(|rest| !rest.contains("USING") || rest.contains("autoindex"))
    else {
        return false;
    };
    let table = rest.split_whitespace().next().unwrap();
    let is_subquery = plan.iter().any(|line| *line == format!("CO-ROUTINE {table}"));
    (LARGE.contains(&table) || ["m", "o", "f", "i", "t", "p"].contains(&table)) && !is_subquery
}

/// The plans of all frequent calls; every statement once, under the first call that sends it.
async fn plans(store: &Store) -> String {
    let calls = frequent(store).await;
    let server = store.database.is_some();
    let mut connection = AnyConnection::connect(&store.url).await.unwrap();
    // A server keeps statistics by itself, a SQLite file has none.
    if server {
        let settings = "ANALYZE; SET plan_cache_mode = force_generic_plan; SET jit = off; SET random_page_cost = 1.1; \
                        SET max_parallel_workers_per_gather = 0";
        sqlx::raw_sql(settings).execute(&mut connection).await.unwrap();
    }
    let (mut text, mut seen) = (String::new(), BTreeSet::new());
    for (call, statements) in calls {
        writeln!(text, "## {call}").unwrap();
        for sql in statements {
            if sql.starts_with("INSERT") || !seen.insert(sql.clone()) {
                continue;
            }
            let mut lines = plan(&mut connection, &sql, server).await;
            let all: Vec<_> = lines.iter().filter(|line| reads_all(line, &lines)).collect();
            assert!(all.is_empty(), "{call} reads a whole table: {all:#?}\n{sql}\n{lines:#?}");
            if server {
                // What is kept does not depend on how few rows the small tables have here, nor on near ties.
                sqlx::raw_sql("SET enable_seqscan = off; SET enable_bitmapscan = off")
                    .execute(&mut connection)
                    .await
                    .unwrap();
                lines = plan(&mut connection, &sql, server).await;
                sqlx::raw_sql("SET enable_seqscan = on; SET enable_bitmapscan = on")
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
            writeln!(text, "{sql}").unwrap();
            for line in lines {
                writeln!(text, "    {line}").unwrap();
            }
        }
    }
    connection.close().await.unwrap();
    text
}

async fn golden(store: Store, name: &str) {
    fill(&store, 20_000).await;
    let found = plans(&store).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/plans").join(name);
    if std::fs::read_to_string(&path).unwrap_or_default() == found {
        return;
    }
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&new, found).unwrap();
    panic!("other plans than in {}: read {} and, where they are good, copy it there", path.display(), new.display());
}

#[tokio::test]
async fn the_plans_of_sqlite_are_those_that_were_read() {
    golden(Store::sqlite().await, "sqlite.txt").await;
}

/// Other versions plan otherwise: what they must not do is checked all the same.
#[tokio::test]
async fn the_plans_of_postgres_are_those_that_were_read() {
    let store = Store::postgres().await;
    let mut connection = store.database.as_ref().unwrap().connect().await;
    let version: String = sqlx::query_scalar("SHOW server_version_num").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    if version.starts_with("15") {
        golden(store, "postgres.txt").await;
    } else {
        fill(&store, 20_000).await;
        plans(&store).await;
    }
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_million_memberships_on_sqlite_are_found_by_index() {
    let store = Store::sqlite().await;
    fill(&store, 1_000_000).await;
    plans(&store).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_million_memberships_on_postgres_are_found_by_index() {
    let store = Store::postgres().await;
    fill(&store, 1_000_000).await;
    plans(&store).await;
}
