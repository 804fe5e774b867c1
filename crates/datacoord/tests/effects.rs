//! A blow after every effect: an error or the death of the process at effect *n*, for all *n*, of writing, creating a
//! snapshot and restoring it. Whatever happened, afterwards every promise holds and nothing is left over.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and says how far it came")]

mod world;

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
async fn scenario(process: &mut Process, acknowledged: &mut Acknowledged) -> Answer<()> {
    process.create_collection("source").await?;
    for keys in [[1, 2, 3, 4], [3, 4, 5, 6], [7, 8, 9, 10]] {
        process.upsert("source", &keys).await?;
        acknowledged.writes.extend(keys);
    }
    process.snapshot("source", "before").await?;
    acknowledged.snapshot = true;
    process.upsert("source", &[11, 12]).await?;
    acknowledged.writes.extend([11, 12]);
    process.restore("source", "before", "target").await?;
    acknowledged.restore = true;
    Ok(())
}

async fn check(world: &World, process: &mut Process, acknowledged: &Acknowledged) {
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
        process.restore("source", "before", "target").await.expect("R-2: the name is free");
    }
    process.until_settled(&world.clock).await;
    let mut job = process.job("target").await.expect("a job");
    if job.state == "failed" {
        assert!(process.collection("target").await.is_none(), "R-2: {job:?}");
        process.restore("source", "before", "target").await.expect("R-2: the name is free");
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

async fn strike(n: u64, blow: Blow) -> bool {
    let mut world = World::new();
    let effects = Effects::blow_at(n, blow);
    let mut acknowledged = Acknowledged::default();
    let mut process = None;
    if let Ok(started) = world.start(effects.clone()).await {
        let process = process.insert(started);
        if scenario(process, &mut acknowledged).await.is_ok() {
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
    check(&world, &mut process, &acknowledged).await;
    process.end().await;
    struck
}

async fn strike_everywhere(blow: Blow) {
    for n in 1..EFFECTS_MAX {
        println!("{blow:?} at effect {n}");
        if !strike(n, blow).await {
            assert!(n > 30, "the scenario has more effects than {n}");
            return;
        }
    }
    panic!("more than {EFFECTS_MAX} effects");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_3_s_2_d_1_an_error_before_any_effect_leaves_every_promise() {
    strike_everywhere(BLOWS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_3_s_2_d_1_an_error_after_any_effect_leaves_every_promise() {
    strike_everywhere(BLOWS[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_3_s_2_d_1_death_before_any_effect_leaves_every_promise() {
    strike_everywhere(BLOWS[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_3_s_2_d_1_death_after_any_effect_leaves_every_promise() {
    strike_everywhere(BLOWS[3]).await;
}
