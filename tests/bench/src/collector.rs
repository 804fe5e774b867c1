//! The garbage collector: the calls that drop, what gives references back, what deletes, what looks for orphans, and what
//! all of it asks of the stores when there is nothing to do.

use crate::copies::{content, write};
use crate::report::{Figure, milliseconds};
use crate::snapshots::durable_transaction;
use crate::world::{Cost, Objects, SOURCE, World, source};
use anyhow::{Context as _, Result, bail, ensure};
use elanus_datacoord::background::{GC_MEASURE, GC_SCAN, GC_TASKS, SWEEP};
use elanus_meta::{Progress, Room};
use elanus_objects::checksum_of;
use elanus_proto::datacoord as pb;
use elanus_types::{Checksum, CollectionId};
use futures::TryStreamExt as _;
use sqlx::AssertSqlSafe;
use std::time::Instant;

/// References of one transaction, as the background task has it.
const CHUNK: u32 = 1_000;
/// Bytes of an object that is deleted or listed.
const BYTES: usize = 64;
/// Of which the least is told: other background tasks have their timers.
const IDLE_ROUNDS: usize = 5;

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Collection,
    Partition,
    Snapshot,
}

/// The calls that drop, and the release of what they free, for one size of collection.
pub(crate) async fn drops(files: i64) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for thing in [Thing::Collection, Thing::Partition, Thing::Snapshot] {
        figures.extend(drop_and_release(thing, files).await?);
    }
    Ok(figures)
}

async fn drop_and_release(thing: Thing, files: i64) -> Result<Vec<Figure>> {
    let mut world = World::start(Objects::Memory).await?;
    let collection = CollectionId(world.fill(files, 1_000, Checksum(0x0123_4567_89ab_cdef)).await?.collection);
    let name = match thing {
        Thing::Collection => "collection",
        Thing::Partition => "partition",
        Thing::Snapshot => "snapshot",
    };
    if thing != Thing::Collection {
        move_into_partition(&world, collection).await?;
    }
    if thing == Thing::Snapshot {
        world.listed_snapshot("first").await?;
    }
    // From here on everything is asked for here: the background must not be faster.
    world.background.shutdown().await;
    if thing == Thing::Snapshot {
        drop_thing(&world, Thing::Partition).await?;
        release(&world, Thing::Partition, collection).await?;
    }
    let transaction_ms = durable_transaction(&world).await?;
    let (call, ()) = world.cost(drop_thing(&world, thing)).await?;
    let (released, references) = world.cost(release(&world, thing, collection)).await?;
    ensure!(references >= files as u64, "{references} references were released, not {files}");
    let rows_ms = update_rows(&world, files).await?;
    world.end().await;
    Ok(vec![
        Figure::cost(format!("gc: drop {name}, {files} files"), &call).beside("a durable transaction", transaction_ms),
        Figure::cost(format!("gc: release of a {name}, {files} files"), &released)
            .beside(format!("UPDATE of {files} rows, {CHUNK} a transaction"), rows_ms),
    ])
}

/// All files of the collection, in a partition that can be dropped.
async fn move_into_partition(world: &World, collection: CollectionId) -> Result<()> {
    let request = pb::PartitionRef { collection: Some(source()), partition_name: "part".to_owned() };
    world.coord.clone().create_partition(request).await?;
    let part = format!("(SELECT partition_id FROM partitions WHERE collection_id = {collection} AND name = 'part')");
    world.beside(["segments", "memberships"].map(|table| format!("UPDATE {table} SET partition_id = {part}"))).await
}

async fn drop_thing(world: &World, thing: Thing) -> Result<()> {
    let mut coord = world.coord.clone();
    match thing {
        Thing::Collection => {
            let request = pb::CollectionRef { collection_name: SOURCE.to_owned(), ..pb::CollectionRef::default() };
            coord.drop_collection(request).await?;
        }
        Thing::Partition => {
            let request = pb::PartitionRef { collection: Some(source()), partition_name: "part".to_owned() };
            coord.drop_partition(request).await?;
        }
        Thing::Snapshot => {
            let request = pb::SnapshotRef { collection: Some(source()), snapshot_name: "first".to_owned() };
            coord.drop_snapshot(request).await?;
        }
    }
    Ok(())
}

/// Chunks until nothing is left; how many references. What the trash holds is purged first.
async fn release(world: &World, thing: Thing, collection: CollectionId) -> Result<u64> {
    let coordinator = &world.coordinator;
    if thing == Thing::Collection {
        coordinator.purge_from_trash(collection).await?;
    }
    let waiting = coordinator.meta().to_be_released(1).await?;
    let mut released = 0;
    loop {
        let progress = match thing {
            Thing::Collection => coordinator.release_collection(collection, CHUNK).await,
            Thing::Partition => {
                let partition = *waiting.partitions.first().context("no partition was dropped")?;
                coordinator.release_partition(partition, CHUNK).await
            }
            Thing::Snapshot => {
                let snapshot = *waiting.snapshots.first().context("no snapshot was dropped")?;
                coordinator.release_snapshot(snapshot, CHUNK).await
            }
        };
        match progress? {
            Progress::More(references) => released += references,
            Progress::Done => return Ok(released),
            Progress::Kept(brake) => bail!("it is kept: {}", brake.label()),
        }
    }
}

/// Milliseconds of so many rows like file sets that change their state, in transactions of [`CHUNK`].
async fn update_rows(world: &World, rows: i64) -> Result<f64> {
    let mut scratch = world.scratch().await?;
    for statement in [
        "CREATE TABLE sets (id BIGINT PRIMARY KEY, state TEXT NOT NULL, refs BIGINT NOT NULL, due BIGINT)".to_owned(),
        "CREATE INDEX sets_due ON sets (due) WHERE state = 'queued'".to_owned(),
        format!(
            "INSERT INTO sets (id, state, refs) WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n \
             WHERE n < {rows}) SELECT n, 'live', 1 FROM n"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut scratch).await?;
    }
    let started = Instant::now();
    let mut from = 0;
    while from < rows {
        sqlx::query("UPDATE sets SET state = 'queued', refs = 0, due = $1 WHERE id > $1 AND id <= $1 + $2")
            .bind(from)
            .bind(i64::from(CHUNK))
            .execute(&mut scratch)
            .await?;
        from += i64::from(CHUNK);
    }
    Ok(milliseconds(started.elapsed()))
}

/// The queue with so many objects in a directory: from the moment that they are due until they are gone.
pub(crate) async fn drain(files: i64) -> Result<Vec<Figure>> {
    let world = queued(files).await?;
    world.background.shutdown().await;
    let bare_s = bare_deletes(&world).await?;
    world.end().await;

    let world = queued(files).await?;
    let swept = async {
        world.background.activate(SWEEP);
        world.until_none("SELECT 1 FROM file_sets WHERE state IN ('queued', 'deleting') LIMIT 1").await
    };
    let (cost, ()) = world.cost(swept).await?;
    world.end().await;
    let rate = |seconds: f64| files as f64 / seconds;
    let figure = Figure {
        object_requests: Some(cost.object_requests),
        sql_statements: Some(cost.sql_statements),
        ..Figure::new(format!("gc: drain of {files} objects"), rate(cost.time.as_secs_f64()), "objects/s")
    };
    Ok(vec![figure.beside("a bare loop of deletes", rate(bare_s))])
}

/// A world in whose queue so many objects are due, and nobody has begun.
async fn queued(files: i64) -> Result<World> {
    let mut world = World::start(Objects::Directory).await?;
    let bytes = content(BYTES);
    let filled = world.fill(files, bytes.len(), checksum_of(&bytes)).await?;
    write(&world, &filled, &bytes)?;
    let collection = CollectionId(filled.collection);
    world.coordinator.drop_collection(collection).await?;
    // With the tolerance of this coordinator, so that the sweep finds nothing yet.
    while let Progress::More(_) = world.coordinator.release_collection(collection, CHUNK).await? {}
    world.beside(["UPDATE file_sets SET not_before_ms = 0 WHERE state = 'queued'".to_owned()]).await?;
    Ok(world)
}

/// Seconds that the store needs by itself for everything that is due.
async fn bare_deletes(world: &World) -> Result<f64> {
    let mut batches = Vec::new();
    loop {
        let claimed = world.coordinator.claim_unneeded(Room::Any(CHUNK)).await?;
        if claimed.file_sets == 0 {
            break;
        }
        world.coordinator.mark_gone(claimed.claim).await?;
        batches.push(claimed.permits);
    }
    let started = Instant::now();
    for permits in batches {
        world.objects.delete(permits).await?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// A round of each background task of the collector when there is nothing to do.
pub(crate) async fn idle() -> Result<Vec<Figure>> {
    let world = World::start(Objects::Memory).await?;
    let transaction_ms = durable_transaction(&world).await?;
    let mut figures = Vec::new();
    for task in GC_TASKS.into_iter().chain([GC_SCAN, GC_MEASURE]) {
        let mut least: Option<Cost> = None;
        for _ in 0..IDLE_ROUNDS {
            let round = async { Ok(world.background.activate_and_wait(task).await) };
            let (cost, report) = world.cost(round).await?;
            ensure!(report.is_quiet(), "{task} has something to do: {report:?}");
            least = Some(least.map_or(cost, |least| least.min(cost)));
        }
        let cost = least.context("no round")?;
        figures.push(
            Figure::cost(format!("gc: idle round of {task}"), &cost).beside("a durable transaction", transaction_ms),
        );
    }
    world.end().await;
    Ok(figures)
}

/// Scans of two sizes, each in a process of its own. The memory of the larger one stands beside that of the smaller one.
pub(crate) async fn scans((small, large): (i64, i64)) -> Result<Vec<Figure>> {
    let (less, more) = (scan_in_child(small).await?, scan_in_child(large).await?);
    let mut figures = Vec::new();
    for scanned in [&less, &more] {
        figures.push(
            Figure {
                object_requests: Some(scanned.requests),
                sql_statements: Some(scanned.statements),
                ..Figure::new(format!("gc: orphan scan of {} keys", scanned.files), scanned.seconds, "s")
            }
            .beside("the listing alone", scanned.listing_s),
        );
    }
    let what = format!("gc: memory of an orphan scan of {large} keys");
    figures.push(Figure::new(what, more.growth_mib, "MiB").beside(format!("of {small} keys"), less.growth_mib));
    Ok(figures)
}

#[derive(Debug)]
struct Scanned {
    files: i64,
    growth_mib: f64,
    seconds: f64,
    listing_s: f64,
    requests: u64,
    statements: u64,
}

async fn scan_in_child(files: i64) -> Result<Scanned> {
    let numbers = crate::memory::numbers_of_child("--scan-and-tell-memory", files).await?;
    let [before_kib, peak_kib, seconds, listing_s, requests, statements] = numbers[..] else {
        bail!("it told {numbers:?}");
    };
    Ok(Scanned {
        files,
        growth_mib: ((peak_kib - before_kib) / 1024.0).max(0.01),
        seconds,
        listing_s,
        requests: requests as u64,
        statements: statements as u64,
    })
}

/// The child: scans, and prints memory before, its peak, both times, and the counts.
#[expect(clippy::print_stdout, reason = "read by the parent")]
pub(crate) async fn scan_and_tell(files: i64) -> Result<()> {
    let mut world = World::start(Objects::Directory).await?;
    let bytes = content(BYTES);
    let filled = world.fill(files, bytes.len(), checksum_of(&bytes)).await?;
    write(&world, &filled, &bytes)?;
    drop(filled);
    let listing = Instant::now();
    let listed = world.objects.list(None).try_fold(0_i64, async |listed, _| Ok(listed + 1)).await?;
    let listing_s = listing.elapsed().as_secs_f64();
    ensure!(listed == files, "{listed} objects are listed, not {files}");

    world.coordinator.request_scan().await?;
    let before = crate::memory::peak_from_here()?;
    let scan = async { Ok(world.background.activate_and_wait(GC_SCAN).await) };
    let (cost, report) = world.cost(scan).await?;
    let peak = crate::memory::status("VmHWM:")?;
    ensure!(report.text.starts_with(&format!("{files} objects, 0 orphans, 0 unknown, 0 missing")), "{report:?}");
    let Cost { time, object_requests, sql_statements } = cost;
    println!("{before} {peak} {} {listing_s} {object_requests} {sql_statements}", time.as_secs_f64());
    world.end().await;
    Ok(())
}
