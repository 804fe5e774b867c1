//! Snapshots that share manifests: each has exactly what the collection had, at the price of what changed, whatever was
//! created and dropped before and whatever failed on the way.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and may say where it is")]

#[allow(dead_code, reason = "every test uses its part of the world")]
mod world;

use elanus_manifest::{ManifestEntry, SnapshotMetadata, Totals, decode_manifest, decode_metadata, fold, verify};
use elanus_meta::model::{SnapshotRecord, SnapshotStatus};
use elanus_proto::datacoord as pb;
use elanus_testkit::Generated;
use elanus_types::RestoreMode;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use std::time::{Duration, Instant};
use world::effects::{BLOWS, Blow, Effects};
use world::{Process, World, by_name, let_leases_end};

const NAME: &str = "source";

/// Live file sets whose references are not those that they count.
const MISCOUNTED: &str = "
SELECT COUNT(*) FROM file_sets f WHERE f.state = 'live' AND f.refs <>
    (SELECT COUNT(*) FROM memberships m WHERE m.file_set_id = f.file_set_id)
    + (SELECT COUNT(*) FROM snapshot_file_sets s WHERE s.file_set_id = f.file_set_id)";

async fn sql(world: &World, statement: &'static str) -> u64 {
    let mut connection = SqliteConnection::connect(&world.meta_url()).await.unwrap();
    let changed = sqlx::query(statement).execute(&mut connection).await.unwrap().rows_affected();
    connection.close().await.unwrap();
    changed
}

async fn number(world: &World, statement: &'static str) -> i64 {
    let mut connection = SqliteConnection::connect(&world.meta_url()).await.unwrap();
    let number = sqlx::query(statement).fetch_one(&mut connection).await.unwrap().get(0);
    connection.close().await.unwrap();
    number
}

async fn started(world: &mut World) -> Process {
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection(NAME).await.unwrap();
    process
}

async fn drop_snapshot(process: &mut Process, name: &str) {
    let of = pb::SnapshotRef { collection: Some(by_name(NAME)), snapshot_name: name.to_owned() };
    process.coord.drop_snapshot(of).await.unwrap();
}

/// The metadata object of a snapshot and what its manifests fold to, read from the bucket alone.
async fn read(world: &World, record: &SnapshotRecord) -> (SnapshotMetadata, Vec<ManifestEntry>) {
    let key = record.metadata_key.as_ref().expect("a committed snapshot has metadata");
    let metadata = decode_metadata(&world.store.get(key).await.unwrap()).unwrap();
    let mut manifests = vec![];
    for manifest in &metadata.manifests {
        let bytes = world.store.get(&manifest.key).await.unwrap();
        verify(&bytes, manifest).unwrap();
        let entries = decode_manifest(&bytes).unwrap();
        let totals = Totals::of(&entries);
        assert_eq!((totals.files, totals.rows, totals.bytes), (manifest.files, manifest.rows, manifest.bytes));
        manifests.push(entries);
    }
    let entries = fold(manifests.into_iter()).unwrap();
    (metadata, entries)
}

/// That every committed snapshot has what the collection had; how many manifests each has, oldest first.
async fn check(world: &World, process: &mut Process) -> Vec<usize> {
    let collection = process.collection(NAME).await.expect("the collection is there");
    let mut lengths = vec![];
    for record in process.meta.snapshots(collection.id).await.unwrap() {
        let (metadata, entries) = read(world, &record).await;
        let view = process.meta.view(collection.id, Some(record.create_ts)).await.unwrap();
        let told = entries.iter().map(|entry| {
            let keys: Vec<_> = entry.files.iter().map(|file| (file.key.clone(), file.size, file.checksum)).collect();
            (entry.segment_id, entry.file_set_id, entry.base_ts, entry.added_ts, entry.rows, keys)
        });
        let kept = view.files.iter().map(|file| {
            let keys: Vec<_> = file.objects.iter().map(|one| (one.key.clone(), one.size, one.checksum)).collect();
            (file.segment, file.file_set, file.base_ts, file.added_ts, file.rows, keys)
        });
        assert_eq!(told.collect::<Vec<_>>(), kept.collect::<Vec<_>>(), "S-1: {}", record.name);
        assert_eq!(metadata.totals, Totals::of(&entries), "{}", record.name);
        let kept = record.totals;
        let Totals { rows, bytes, files, segments } = metadata.totals;
        assert_eq!((kept.rows, kept.bytes, kept.files, kept.segments), (rows, bytes, files, segments));
        lengths.push(metadata.manifests.len());
    }
    process.scrub().await;
    assert_eq!(number(world, MISCOUNTED).await, 0);
    lengths
}

/// Creates a snapshot; the requests to the object store that this took.
async fn create(world: &World, process: &mut Process, name: &str) -> (u64, u64) {
    world.requests.take();
    process.snapshot(NAME, name).await.unwrap();
    world.requests.take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_1_each_snapshot_of_a_chain_writes_what_changed_and_reads_nothing() {
    let mut world = World::new();
    let mut process = started(&mut world).await;
    assert_eq!(create(&world, &mut process, "empty").await, (1, 0), "the metadata alone");
    for n in 0..40 {
        process.upsert(NAME, &[n, n + 1]).await.unwrap();
        assert_eq!(create(&world, &mut process, &format!("s{n}")).await, (2, 0), "a manifest and the metadata");
        if n % 10 == 0 {
            assert_eq!(create(&world, &mut process, &format!("again{n}")).await, (1, 0), "nothing changed");
        }
    }
    let lengths = check(&world, &mut process).await;
    assert_eq!(lengths.iter().copied().max(), Some(32));
    assert_eq!(lengths.last(), Some(&8), "after the 32nd all was written anew");
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_1_a_drop_anywhere_in_a_chain_changes_no_other_snapshot() {
    let mut world = World::new();
    let mut process = started(&mut world).await;
    let partition = pb::PartitionRef { collection: Some(by_name(NAME)), partition_name: "p".to_owned() };
    for (n, dropped) in [None, None, Some("s1"), Some("s2"), None, Some("s0"), Some("s5"), None].into_iter().enumerate()
    {
        process.coord.create_partition(partition.clone()).await.unwrap();
        process.upsert(NAME, &[1, 2, 3]).await.unwrap();
        process.upsert_into(NAME, 1, &[4, 5]).await.unwrap();
        if n % 2 == 1 {
            process.coord.drop_partition(partition.clone()).await.unwrap();
        }
        if let Some(dropped) = dropped {
            drop_snapshot(&mut process, dropped).await;
        }
        let (puts, others) = create(&world, &mut process, &format!("s{n}")).await;
        assert_eq!((puts, others), (2, 0), "s{n}");
        check(&world, &mut process).await;
    }
    let (metadata, _) = {
        let collection = process.collection(NAME).await.unwrap();
        let record = process.meta.snapshot(collection.id, "s7").await.unwrap().unwrap();
        read(&world, &record).await
    };
    assert!(metadata.manifests.iter().any(|one| one.entries_removed > 0), "{:?}", metadata.manifests);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_a_snapshot_whose_base_was_released_is_written_anew() {
    let mut world = World::new();
    let mut process = started(&mut world).await;
    process.upsert(NAME, &[1, 2]).await.unwrap();
    process.snapshot(NAME, "first").await.unwrap();
    process.upsert(NAME, &[3]).await.unwrap();
    // As if the first one had been dropped and collected after the second one had read of it.
    let released = sql(
        &world,
        "UPDATE file_sets SET state = 'queued', refs = 0, not_before_ms = 0, reason = 'released' \
         WHERE file_set_id IN (SELECT file_set_id FROM snapshot_file_sets WHERE ordinal = 0)",
    )
    .await;
    assert_eq!(released, 1);
    assert_eq!(create(&world, &mut process, "second").await, (4, 0), "twice a manifest and the metadata");
    drop_snapshot(&mut process, "first").await;
    let_leases_end(&world);
    process.until_settled(&world.clock).await;
    assert_eq!(check(&world, &mut process).await, [1]);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_1_a_create_with_much_to_list_is_answered_first_and_listed_afterwards() {
    let mut world = World::new();
    world.config.snapshot_entries_max = 3;
    let mut process = started(&mut world).await;
    for n in 0..4 {
        process.upsert(NAME, &[n, n + 1]).await.unwrap();
    }
    let (mut lists, collection) = (vec![], process.collection(NAME).await.unwrap().id);
    let state = async |process: &Process, name| process.meta.snapshot(collection, name).await.unwrap().unwrap().state;
    for name in ["first", "second"] {
        let told = process.snapshot(NAME, name).await.unwrap();
        assert!(["accepted", "committed"].contains(&told.state.as_str()), "{told:?}");
        lists.push(told.name);
    }
    let shown = process.meta.snapshots(collection).await.unwrap();
    assert_eq!(shown.iter().map(|one| one.name.clone()).collect::<Vec<_>>(), lists);
    process.restore(NAME, "first", "twin", RestoreMode::Clone).await.unwrap();
    process.restore(NAME, "second", "copy", RestoreMode::Copy).await.unwrap();
    process.until_settled(&world.clock).await;
    assert_eq!(state(&process, "first").await, SnapshotStatus::Committed);
    for target in ["twin", "copy"] {
        assert_eq!(process.rows(target).await, process.rows(NAME).await, "R-4");
    }
    assert_eq!(check(&world, &mut process).await, [1, 1], "the second one shares the list of the first");
    assert_eq!(create(&world, &mut process, "little").await, (1, 0), "nothing changed: written at once");
    // Its list has become long: it is to be written anew, which is much.
    for n in 0..33 {
        process.upsert(NAME, &[n]).await.unwrap();
        process.snapshot(NAME, &format!("s{n}")).await.unwrap();
    }
    process.until_settled(&world.clock).await;
    assert_eq!(check(&world, &mut process).await.len(), 36);
    process.end().await;
}

/// Two snapshots of which the second shares with the first; the second is struck at effect `n` of its process. With
/// `entries_max`, what has more to list is answered first.
async fn strike(n: u64, blow: Blow, entries_max: u32) -> bool {
    let mut world = World::new();
    world.config.gc_drop_tolerance_ms = 0;
    world.config.snapshot_entries_max = entries_max;
    let mut process = started(&mut world).await;
    process.upsert(NAME, &[1, 2, 3]).await.unwrap();
    process.snapshot(NAME, "first").await.unwrap();
    process.upsert(NAME, &[3, 4]).await.unwrap();
    process.end().await;

    let effects = Effects::blow_at(n, blow);
    let mut acknowledged = false;
    let mut struck = None;
    if let Ok(mut process) = world.start(effects.clone()).await {
        acknowledged = process.snapshot(NAME, "second").await.is_ok();
        let _ = process.background.run_until_quiet(50).await;
        struck = Some(process);
    }
    let hit = effects.struck();
    let mut process = match struck {
        Some(process) if hit && !blow.is_death() => process,
        process => {
            if let Some(process) = process {
                process.end().await;
            }
            world.start(Effects::none()).await.unwrap()
        }
    };
    let_leases_end(&world);
    process.until_settled(&world.clock).await;
    let collection = process.collection(NAME).await.unwrap().id;
    let second = process.meta.snapshot(collection, "second").await.unwrap();
    match second {
        Some(record) => assert_eq!(record.state, SnapshotStatus::Committed, "S-2"),
        None => {
            assert!(!acknowledged, "S-2: it was acknowledged");
            process.snapshot(NAME, "second").await.expect("S-2: its name is free");
        }
    }
    process.upsert(NAME, &[5]).await.unwrap();
    process.snapshot(NAME, "third").await.unwrap();
    drop_snapshot(&mut process, "second").await;
    process.snapshot(NAME, "fourth").await.unwrap();
    // The second one may have been dropped while it was listed: its writer is given the rest of its lease.
    process.until_settled(&world.clock).await;
    let_leases_end(&world);
    process.until_settled(&world.clock).await;
    assert_eq!(check(&world, &mut process).await.len(), 3);
    assert_eq!(number(&world, "SELECT COUNT(*) FROM file_sets WHERE state NOT IN ('live', 'gone')").await, 0, "G-2");
    process.end().await;
    hit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_1_s_2_a_blow_at_any_effect_of_a_second_snapshot_leaves_every_promise() {
    strike_everywhere(1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_1_s_2_a_blow_at_any_effect_of_a_snapshot_that_is_answered_first_leaves_every_promise() {
    strike_everywhere(0).await;
}

async fn strike_everywhere(entries_max: u32) {
    for blow in BLOWS {
        let mut n = 1;
        while strike(n, blow, entries_max).await {
            n += 1;
        }
        assert!(n > 5, "{blow:?}: a snapshot has more effects than {n}");
    }
}

async fn fill(world: &World, collection: i64, files: i64) {
    let mut connection = SqliteConnection::connect(&world.meta_url()).await.unwrap();
    for statement in Generated::of("5e1f0e6c-test", collection, files).statements() {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn timed(process: &mut Process, name: &str) -> Duration {
    let start = Instant::now();
    process.snapshot(NAME, name).await.unwrap();
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run with --ignored --nocapture"]
async fn the_second_snapshot_costs_the_same_for_every_size_of_collection() {
    let mut medians = vec![];
    println!(
        "{:>8}  {:>9}  {:>16}  {:>16}  {:>16}",
        "files", "first", "changed: median", "unchanged", "changed: longest"
    );
    for files in [100, 1_000, 10_000, 100_000] {
        let mut world = World::new();
        let mut process = started(&mut world).await;
        let collection = process.collection(NAME).await.unwrap().id;
        fill(&world, collection.0, files).await;
        let first = timed(&mut process, "first").await;
        let (mut changed, mut unchanged) = (vec![], vec![]);
        for n in 0..33 {
            process.upsert(NAME, &[n]).await.unwrap();
            changed.push(timed(&mut process, &format!("changed{n}")).await);
            unchanged.push(timed(&mut process, &format!("unchanged{n}")).await);
        }
        changed.sort();
        unchanged.sort();
        // The longest is the one that wrote everything anew.
        println!("{files:>8}  {first:>9.1?}  {:>16.1?}  {:>16.1?}  {:>16.1?}", changed[16], unchanged[16], changed[32]);
        medians.push(changed[16]);
        process.end().await;
    }
    assert!(medians[3] < 3 * medians[0], "{medians:?}");
}
