//! A blow after every effect: an error or the death of the process at effect *n*, for all *n*, of writing, creating a
//! snapshot and restoring it in either mode. Whatever happened, afterwards every promise holds and nothing is left over.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and may say where it is")]

#[allow(dead_code, reason = "every test uses its part of the world")]
mod world;

use elanus_proto::convert::failure_from_grpc;
use elanus_proto::datacoord as pb;
use elanus_types::RestoreMode;
use std::time::Duration;
use world::effects::{BLOWS, Blow, Effects};
use world::{Answer, Process, World, let_leases_end};

/// Effects that one scenario has at most: a bound for the loop, far above what is needed.
const EFFECTS_MAX: u64 = 400;

/// What was acknowledged before the blow.
#[derive(Debug, Default)]
struct Acknowledged {
    writes: Vec<i64>,
    snapshot: bool,
    restore: bool,
}

/// Three writes, a snapshot, a write that is not in it, a restore.
async fn scenario(process: &mut Process, mode: RestoreMode, acknowledged: &mut Acknowledged) -> Answer<()> {
    process.create_collection("source").await?;
    for keys in [[1, 2, 3, 4], [3, 4, 5, 6], [7, 8, 9, 10]] {
        process.upsert("source", &keys).await?;
        acknowledged.writes.extend(keys);
    }
    process.snapshot("source", "before").await?;
    acknowledged.snapshot = true;
    process.upsert("source", &[11, 12]).await?;
    acknowledged.writes.extend([11, 12]);
    process.restore("source", "before", "target", mode).await?;
    acknowledged.restore = true;
    Ok(())
}

async fn check(world: &World, process: &mut Process, mode: RestoreMode, acknowledged: &Acknowledged) {
    process.until_settled(&world.clock).await;
    if process.collection("source").await.is_none() {
        assert!(acknowledged.writes.is_empty(), "D-1: the collection was acknowledged");
        process.scrub().await;
        return;
    }
    let (rows, deletes) = process.rows("source").await;
    assert!(rows >= acknowledged.writes.len() as u64, "D-1: {rows} rows of {acknowledged:?}");
    assert_eq!(rows, deletes, "an upsert is whole or absent");

    // S-2: a create that was not acknowledged is absent, or the same request finds it.
    if !acknowledged.snapshot
        && let Err(failure) = process.snapshot("source", "before").await
    {
        assert!(failure.message.contains("already exists"), "S-2: {failure}");
    }
    if !acknowledged.restore && process.job("target").await.is_none() {
        process.restore("source", "before", "target", mode).await.expect("R-2: the name is free");
    }
    process.until_settled(&world.clock).await;
    let mut job = process.job("target").await.expect("a job");
    if job.state == "failed" {
        assert!(process.collection("target").await.is_none(), "R-2: {job:?}");
        process.restore("source", "before", "target", mode).await.expect("R-2: the name is free");
        process.until_settled(&world.clock).await;
        job = process.job("target").await.expect("a job");
    }
    assert_eq!((job.state.as_str(), job.progress), ("completed", 100), "R-3: {job:?}");
    let (rows, deletes) = process.rows("target").await;
    assert_eq!(rows, deletes, "R-4: an upsert is whole or absent");
    if acknowledged.snapshot {
        assert_eq!(rows, 12, "S-1: what came after the snapshot is not in it");
    } else {
        assert!(rows >= acknowledged.writes.len() as u64, "S-1: {rows} rows of {acknowledged:?}");
    }
    assert_eq!(process.scrub().await.abandoned, abandoned_but_kept(process).await, "G-2");
}

/// Objects of dropped snapshots wait for the collector; everything that was abandoned is gone.
async fn abandoned_but_kept(process: &Process) -> i64 {
    let objects = process.meta.known_objects(None, 10_000).await.unwrap();
    let queued = objects.iter().filter(|object| object.file_set_state != "gone" && object.abandoned).count();
    assert_eq!(queued, 0, "{objects:?}");
    0
}

async fn strike(n: u64, blow: Blow, mode: RestoreMode) -> bool {
    let mut world = World::new();
    let effects = Effects::blow_at(n, blow);
    let mut acknowledged = Acknowledged::default();
    let mut process = None;
    if let Ok(started) = world.start(effects.clone()).await {
        let process = process.insert(started);
        if scenario(process, mode, &mut acknowledged).await.is_ok() {
            // The restore goes on in the background, and may be struck there.
            let _ = process.background.run_until_quiet(50).await;
        }
    }
    let struck = effects.struck();
    if blow.is_death() || process.is_none() {
        if let Some(process) = process.take() {
            process.end().await;
        }
        process = Some(world.start(Effects::none()).await.unwrap());
    }
    let mut process = process.expect("a process");
    let_leases_end(&world);
    check(&world, &mut process, mode, &acknowledged).await;
    process.end().await;
    struck
}

async fn strike_everywhere(blow: Blow, mode: RestoreMode) {
    // A clone is one commit; a copy is many, and a write for every file.
    let effects_min = if mode == RestoreMode::Clone { 20 } else { 30 };
    for n in 1..EFFECTS_MAX {
        println!("{blow:?} at effect {n}, {mode}");
        if !strike(n, blow, mode).await {
            assert!(n > effects_min, "the scenario has more effects than {n}");
            return;
        }
    }
    panic!("more than {EFFECTS_MAX} effects");
}

/// Makes a test of each blow in each mode.
macro_rules! strike_everywhere {
    ($($promise:ident: $blow:expr, $mode:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            strike_everywhere($blow, $mode).await;
        }
    )*};
}

strike_everywhere! {
    r_3_s_2_d_1_an_error_before_any_effect_leaves_every_promise: BLOWS[0], RestoreMode::Copy;
    r_3_s_2_d_1_an_error_after_any_effect_leaves_every_promise: BLOWS[1], RestoreMode::Copy;
    r_3_s_2_d_1_death_before_any_effect_leaves_every_promise: BLOWS[2], RestoreMode::Copy;
    r_3_s_2_d_1_death_after_any_effect_leaves_every_promise: BLOWS[3], RestoreMode::Copy;
    r_3_s_2_d_1_an_error_before_any_effect_of_a_clone_leaves_every_promise: BLOWS[0], RestoreMode::Clone;
    r_3_s_2_d_1_an_error_after_any_effect_of_a_clone_leaves_every_promise: BLOWS[1], RestoreMode::Clone;
    r_3_s_2_d_1_death_before_any_effect_of_a_clone_leaves_every_promise: BLOWS[2], RestoreMode::Clone;
    r_3_s_2_d_1_death_after_any_effect_of_a_clone_leaves_every_promise: BLOWS[3], RestoreMode::Clone;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_asks_nothing_of_the_object_store_and_a_copy_shows_what_it_did() {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    scenario(&mut process, RestoreMode::Clone, &mut Acknowledged::default()).await.unwrap();
    let requests = world.requests();
    process.until_settled(&world.clock).await;
    assert_eq!(world.requests(), requests, "R-2");
    let job = process.job("target").await.unwrap();
    assert_eq!((job.mode.as_str(), job.state.as_str(), job.files_total), ("clone", "completed", job.files_done));
    assert!(job.files_total > 0);

    process.restore("source", "before", "copied", RestoreMode::Copy).await.unwrap();
    process.until_settled(&world.clock).await;
    let copied = process.job("copied").await.unwrap();
    assert_eq!((copied.mode.as_str(), copied.files_total), ("copy", job.files_total));
    assert_eq!(process.rows("copied").await, process.rows("target").await);
    assert!(world.requests() > requests);

    let of = |job_id| pb::JobRef { job_id };
    let lines = process.coord.list_job_history(of(copied.job_id)).await.unwrap().into_inner().lines;
    assert!(lines.iter().any(|line| line.task_id != 0 && line.to_state == "completed"), "{lines:?}");
    assert_eq!(lines.first().map(|line| (line.task_id, line.event.as_str())), Some((0, "submit")));
    assert!(process.coord.list_job_errors(of(copied.job_id)).await.unwrap().into_inner().errors.is_empty());
    for unknown in [
        process.coord.list_job_history(of(4711)).await.map(drop),
        process.coord.list_job_errors(of(4711)).await.map(drop),
    ] {
        assert_eq!(failure_from_grpc(unknown.unwrap_err()).code.number(), 2101);
    }
    process.end().await;
}

/// A detach of a clone; true when effect `n` was reached.
async fn strike_detach(n: u64, blow: Blow) -> bool {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    scenario(&mut process, RestoreMode::Clone, &mut Acknowledged::default()).await.unwrap();
    process.until_settled(&world.clock).await;
    let (rows, source) = (process.rows("target").await, process.keys("source").await);
    process.end().await;

    let effects = Effects::blow_at(n, blow);
    let mut process = None;
    if let Ok(started) = world.start(effects.clone()).await {
        let process = process.insert(started);
        if process.detach("target").await.is_ok() {
            // The copies go on in the background, and may be struck there.
            let _ = process.background.run_until_quiet(50).await;
        }
    }
    let struck = effects.struck();
    if blow.is_death() || process.is_none() {
        if let Some(process) = process.take() {
            process.end().await;
        }
        process = Some(world.start(Effects::none()).await.unwrap());
    }
    let mut process = process.expect("a process");
    let_leases_end(&world);
    process.until_settled(&world.clock).await;
    assert_eq!(process.rows("target").await, rows, "DT-1");
    let done = process.jobs_of("target").await.iter().any(|job| job.kind == "detach" && job.state == "completed");
    if !done {
        process.detach("target").await.unwrap();
        process.until_settled(&world.clock).await;
    }
    assert_eq!(process.rows("target").await, rows, "DT-1");
    assert!(process.keys("target").await.is_disjoint(&source), "nothing is shared");
    assert_eq!(process.keys("source").await, source);
    assert_eq!(process.scrub().await.abandoned, abandoned_but_kept(&process).await, "G-2");
    process.end().await;
    struck
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dt_4_an_error_or_death_at_any_effect_of_a_detach_leaves_every_promise() {
    for blow in BLOWS {
        let mut n = 1;
        while strike_detach(n, blow).await {
            n += 1;
            assert!(n < EFFECTS_MAX, "more than {EFFECTS_MAX} effects");
        }
        assert!(n > 15, "a detach has more effects than {n}");
    }
}

/// A compaction; true when effect `n` was reached.
async fn strike_compaction(n: u64, blow: Blow) -> bool {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    scenario(&mut process, RestoreMode::Clone, &mut Acknowledged::default()).await.unwrap();
    process.until_settled(&world.clock).await;
    let snapshot = process.meta.snapshots(process.collection("source").await.unwrap().id).await.unwrap()[0].create_ts;
    let (now, then) = (
        process.visible(&*world.store, "source", None).await,
        process.visible(&*world.store, "source", Some(snapshot)).await,
    );
    assert_ne!(now, then);
    process.end().await;

    let effects = Effects::blow_at(n, blow);
    let mut process = None;
    if let Ok(started) = world.start(effects.clone()).await {
        let process = process.insert(started);
        if process.compact("source").await.is_ok() {
            // It goes on in the background, and may be struck there.
            for _ in 0..20 {
                let _ = process.background.run_until_quiet(2).await;
                // A worker compacts on its own.
                tokio::time::sleep(Duration::from_millis(2)).await;
                world.clock.advance_ms(500);
            }
        }
    }
    let struck = effects.struck();
    if blow.is_death() || process.is_none() {
        if let Some(process) = process.take() {
            process.end().await;
        }
        process = Some(world.start(Effects::none()).await.unwrap());
    }
    let mut process = process.expect("a process");
    let_leases_end(&world);
    process.until_settled(&world.clock).await;
    assert!(process.until_compacted(&world.clock, 200).await, "O-1: compactions do not end");
    process.compact("source").await.unwrap();
    assert!(process.until_compacted(&world.clock, 200).await, "O-1: compactions do not end");
    process.until_settled(&world.clock).await;

    assert_eq!(process.visible(&*world.store, "source", None).await, now, "CP-1");
    assert_eq!(process.visible(&*world.store, "source", Some(snapshot)).await, then, "S-1");
    assert_eq!(process.visible(&*world.store, "target", None).await, then, "R-4");
    let (rows, deletes) = process.rows("source").await;
    assert_eq!((rows, deletes), (now.len() as u64, 0), "what is deleted is gone, and so are the deletes");
    assert_eq!(process.scrub().await.abandoned, abandoned_but_kept(&process).await, "G-2");
    process.end().await;
    struck
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cp_1_an_error_or_death_at_any_effect_of_a_compaction_leaves_every_promise() {
    for blow in BLOWS {
        let mut n = 1;
        println!("{blow:?}");
        while strike_compaction(n, blow).await {
            println!("{blow:?} at effect {n} of a compaction");
            n += 1;
            assert!(n < EFFECTS_MAX, "more than {EFFECTS_MAX} effects");
        }
        assert!(n > 10, "a compaction has more effects than {n}");
    }
}

/// Index builds, and snapshots and restores of what they built; true when effect `n` was reached.
async fn strike_index_builds(n: u64, blow: Blow) -> bool {
    let mut world = World::new();
    world.config.index.rows_min = 1;
    let mut process = world.start(Effects::none()).await.unwrap();
    scenario(&mut process, RestoreMode::Clone, &mut Acknowledged::default()).await.unwrap();
    process.until_settled(&world.clock).await;
    // A file for each shard.
    process.compact("source").await.unwrap();
    assert!(process.until_compacted(&world.clock, 200).await);
    let now = process.visible(&*world.store, "source", None).await;
    process.end().await;

    let effects = Effects::blow_at(n, blow);
    let mut process = None;
    if let Ok(started) = world.start(effects.clone()).await {
        let process = process.insert(started);
        if process.index("source").await.is_ok() {
            // It goes on in the background, and may be struck there.
            for _ in 0..20 {
                let is_dead = effects.struck() && blow.is_death();
                if is_dead || process.until_indexed(&world.clock, "source", 1).await {
                    break;
                }
            }
        }
    }
    let struck = effects.struck();
    if blow.is_death() || process.is_none() {
        if let Some(process) = process.take() {
            process.end().await;
        }
        process = Some(world.start(Effects::none()).await.unwrap());
    }
    let mut process = process.expect("a process");
    let_leases_end(&world);
    process.until_settled(&world.clock).await;
    process.index("source").await.expect("the same definition is given back");
    assert!(process.until_indexed(&world.clock, "source", 200).await, "O-1: {:?}", process.indexed("source").await);
    process.until_settled(&world.clock).await;

    let indexed = process.indexed("source").await;
    assert!(indexed.0 >= 1, "{indexed:?}");
    assert_eq!(process.visible(&*world.store, "source", None).await, now, "IX-5");
    process.snapshot("source", "indexed").await.unwrap();
    for (mode, target) in [(RestoreMode::Clone, "cloned"), (RestoreMode::Copy, "copied")] {
        process.restore("source", "indexed", target, mode).await.unwrap();
        process.until_settled(&world.clock).await;
        assert_eq!(process.indexed(target).await, indexed, "R-4: {mode}");
    }
    assert_eq!(process.scrub().await.abandoned, abandoned_but_kept(&process).await, "G-2");
    process.end().await;
    struck
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ix_1_to_5_an_error_or_death_at_any_effect_of_index_builds_leaves_every_promise() {
    // Side by side: most of the time is spent waiting for workers.
    let blows = BLOWS.map(async |blow| {
        let mut n = 1;
        while strike_index_builds(n, blow).await {
            println!("{blow:?} at effect {n} of index builds");
            n += 1;
            assert!(n < EFFECTS_MAX, "more than {EFFECTS_MAX} effects");
        }
        assert!(n > 6, "index builds have more effects than {n}");
    });
    futures::future::join_all(blows).await;
}
