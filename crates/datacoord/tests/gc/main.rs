//! The whole way of what is dropped: release, queue, claim, deletion, end of the rows; with a blow after every effect.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and may say where it is")]

#[allow(dead_code, reason = "every test uses its part of the world")]
#[path = "../world/mod.rs"]
mod world;

use elanus_datacoord::{Bucket, DeleteGuard};
use elanus_proto::admin::{self as pb, gc_answer::What as Said, gc_request::What as Ask};
use elanus_proto::convert::failure_from_grpc;
use elanus_proto::datacoord::SnapshotRef;
use elanus_types::RestoreMode;
use futures::TryStreamExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use world::effects::{BLOWS, Blow, Effects};
use world::{Answer, Owner, Process, World, by_name, let_leases_end};

/// A bound for the loop, far above what is needed.
const EFFECTS_MAX: u64 = 400;

fn impatient() -> World {
    let mut world = World::new();
    world.config.trash_retention_ms = 0;
    world.config.gc_drop_tolerance_ms = 0;
    world.config.gc_tombstones_ms = 1_000;
    world
}

async fn drop_snapshot(process: &mut Process, name: &str, snapshot: &str) -> Answer<()> {
    let of = SnapshotRef { collection: Some(by_name(name)), snapshot_name: snapshot.to_owned() };
    process.coord.drop_snapshot(of).await.map(drop).map_err(failure_from_grpc)
}

async fn drop_collection(process: &mut Process, name: &str) -> Answer<()> {
    process.coord.drop_collection(by_name(name)).await.map(drop).map_err(failure_from_grpc)
}

async fn gc(process: &mut Process, ask: Ask) -> Answer<Said> {
    let request = pb::GcRequest { actor: "ada".to_owned(), what: Some(ask) };
    process.coord.gc(request).await.map(|said| said.into_inner().what.unwrap()).map_err(failure_from_grpc)
}

async fn objects(world: &World) -> usize {
    world.store.list(None).try_collect::<Vec<_>>().await.unwrap().len()
}

/// Two snapshots that share, a clone; then the source goes with both.
async fn scenario(process: &mut Process) -> Answer<()> {
    process.create_collection("source").await?;
    process.upsert("source", &[1, 2, 3]).await?;
    process.snapshot("source", "first").await?;
    process.upsert("source", &[4]).await?;
    process.snapshot("source", "second").await?;
    process.restore("source", "first", "twin", RestoreMode::Clone).await?;
    let _ = process.background.run_until_quiet(50).await;
    drop_snapshot(process, "source", "second").await?;
    let _ = process.background.run_until_quiet(50).await;
    drop_collection(process, "source").await?;
    let _ = process.background.run_until_quiet(50).await;
    Ok(())
}

/// G-1: what is live is whole. G-2: then all of it is dropped, and nothing is left in the bucket nor in the queue.
async fn check(world: &World, process: &mut Process) {
    process.until_settled(&world.clock).await;
    process.scrub().await;
    if let Some(job) = process.job("twin").await
        && job.state == "completed"
    {
        assert_eq!(process.rows("twin").await, (3, 3), "G-1");
    }
    for name in ["source", "twin"] {
        if process.collection(name).await.is_some() {
            drop_collection(process, name).await.unwrap();
        }
    }
    process.until_settled(&world.clock).await;
    let_leases_end(world);
    process.until_settled(&world.clock).await;
    assert_eq!(objects(world).await, 0, "G-2");
    let Said::Status(status) = gc(process, Ask::Status(pb::GcStatusRequest {})).await.unwrap() else { panic!() };
    for amount in [status.waiting, status.due, status.deleting] {
        assert_eq!(amount.unwrap().objects, 0, "G-2");
    }
    assert_eq!((status.unreleased_snapshots, status.unreleased_collections, status.frozen_ms), (0, 0, 0), "G-2");
}

async fn strike(n: u64, blow: Blow) -> bool {
    let mut world = impatient();
    let effects = Effects::blow_at(n, blow);
    let mut process = None;
    if let Ok(started) = world.start(effects.clone()).await {
        let process = process.insert(started);
        let _ = scenario(process).await;
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
    check(&world, &mut process).await;
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

/// Makes a test of each blow.
macro_rules! strike_everywhere {
    ($($promise:ident: $blow:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            strike_everywhere($blow).await;
        }
    )*};
}

strike_everywhere! {
    g_1_g_2_an_error_before_any_effect_loses_nothing_and_leaves_nothing: BLOWS[0];
    g_1_g_2_an_error_after_any_effect_loses_nothing_and_leaves_nothing: BLOWS[1];
    g_1_g_2_death_before_any_effect_loses_nothing_and_leaves_nothing: BLOWS[2];
    g_1_g_2_death_after_any_effect_loses_nothing_and_leaves_nothing: BLOWS[3];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_round_asks_the_object_store_for_nothing() {
    let mut world = impatient();
    let mut process = world.start(Effects::none()).await.unwrap();
    scenario(&mut process).await.unwrap();
    process.until_settled(&world.clock).await;
    let requests = world.requests();
    for _ in 0..3 {
        world.clock.advance_ms(3_600_000);
        let Said::Runs(runs) = gc(&mut process, Ask::Run(pb::GcRunRequest::default())).await.unwrap() else { panic!() };
        assert!(runs.runs.iter().all(|run| run.failed == 0), "{runs:?}");
    }
    assert_eq!(world.requests(), requests);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_everything_until_its_ticket_is_given_back() {
    let mut world = impatient();
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    process.upsert("docs", &[1]).await.unwrap();
    let pause = pb::GcPauseRequest { seconds: 60, ..pb::GcPauseRequest::default() };
    let Said::Pause(paused) = gc(&mut process, Ask::Pause(pause.clone())).await.unwrap() else { panic!() };
    drop_collection(&mut process, "docs").await.unwrap();
    process.background.run_until_quiet(50).await.unwrap();
    assert_eq!(objects(&world).await, 2, "files of rows and of deletes");
    process.end().await;

    let mut process = world.start(Effects::none()).await.unwrap();
    process.background.run_until_quiet(50).await.unwrap();
    assert_eq!(objects(&world).await, 2, "it outlives the process");
    let resume = |ticket| Ask::Resume(pb::GcResumeRequest { ticket, collection_id: 0 });
    assert_eq!(gc(&mut process, resume(paused.ticket + 1)).await.unwrap_err().code.number(), 1100);
    gc(&mut process, resume(paused.ticket)).await.unwrap();
    process.background.run_until_quiet(50).await.unwrap();
    assert_eq!(objects(&world).await, 0);
    for seconds in [0, -1, i64::MAX] {
        let refused = gc(&mut process, Ask::Pause(pb::GcPauseRequest { seconds, ..pause.clone() })).await;
        assert_eq!(refused.unwrap_err().code.number(), 1100);
    }
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g_3_whoever_does_not_own_the_root_path_claims_nothing() {
    let mut world = impatient();
    let owner = Arc::new(Owner::default());
    let guard: Arc<dyn DeleteGuard> = owner.clone();
    let mut process = world.start_with(Effects::none(), |objects| Bucket { objects, guard }).await.unwrap();
    process.create_collection("docs").await.unwrap();
    process.upsert("docs", &[1]).await.unwrap();
    drop_collection(&mut process, "docs").await.unwrap();
    let run = async |process: &mut Process| {
        let Said::Runs(runs) = gc(process, Ask::Run(pb::GcRunRequest::default())).await.unwrap() else { panic!() };
        runs.runs
    };
    let runs = run(&mut process).await;
    assert!(runs.iter().any(|one| one.failed > 0 && one.text.contains("another cluster owns")), "{runs:?}");
    assert_eq!(objects(&world).await, 2);
    let Said::Status(status) = gc(&mut process, Ask::Status(pb::GcStatusRequest {})).await.unwrap() else { panic!() };
    assert_eq!((status.due.unwrap().objects, status.deleting.unwrap().objects), (2, 0), "undo is still possible");
    owner.0.store(true, Ordering::SeqCst);
    run(&mut process).await;
    assert_eq!(objects(&world).await, 0);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fr_1_fr_2_an_upgraded_program_deletes_nothing_before_somebody_had_time_to_look() {
    let mut world = impatient();
    world.config.program = "elanus 1";
    let mut process = world.start(Effects::none()).await.unwrap();
    for name in ["first", "second", "third"] {
        process.create_collection(name).await.unwrap();
        process.upsert(name, &[1, 2]).await.unwrap();
    }
    drop_collection(&mut process, "first").await.unwrap();
    process.until_settled(&world.clock).await;
    let_leases_end(&world);
    process.until_settled(&world.clock).await;
    let before = objects(&world).await;
    process.end().await;

    world.config.program = "elanus 2";
    let mut process = world.start(Effects::none()).await.unwrap();
    drop_collection(&mut process, "second").await.unwrap();
    process.until_settled(&world.clock).await;
    assert_eq!(objects(&world).await, before, "FR-1");
    let Said::Status(status) = gc(&mut process, Ask::Status(pb::GcStatusRequest {})).await.unwrap() else { panic!() };
    let [pause] = status.pauses.as_slice() else { panic!("{status:?}") };
    assert!(pause.plan_id != 0 && pause.why.contains("elanus 2"), "{pause:?}");
    let items = pb::GcPlanItemsRequest { plan_id: pause.plan_id, ..pb::GcPlanItemsRequest::default() };
    let Said::PlanItems(items) = gc(&mut process, Ask::PlanItems(items)).await.unwrap() else { panic!() };
    assert!(!items.items.is_empty());
    // A restart of the same program neither forgets nor prolongs it.
    process.end().await;
    let mut process = world.start(Effects::none()).await.unwrap();
    process.until_settled(&world.clock).await;
    assert_eq!(objects(&world).await, before, "FR-1");
    world.clock.advance_ms(3_600_000);
    process.until_settled(&world.clock).await;
    let after = objects(&world).await;
    assert!(after < before, "FR-2: put off, never off");
    drop_collection(&mut process, "third").await.unwrap();
    process.until_settled(&world.clock).await;
    assert!(objects(&world).await < after, "FR-3: it goes on");
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fr_2_the_plan_of_a_first_run_is_its_answer() {
    let mut world = impatient();
    world.config.program = "elanus 1";
    let mut process = world.start(Effects::none()).await.unwrap();
    for name in ["first", "second"] {
        process.create_collection(name).await.unwrap();
        process.upsert(name, &[1, 2]).await.unwrap();
    }
    drop_collection(&mut process, "first").await.unwrap();
    process.until_settled(&world.clock).await;
    process.end().await;
    world.config.program = "elanus 2";
    let mut process = world.start(Effects::none()).await.unwrap();
    let before = objects(&world).await;
    drop_collection(&mut process, "second").await.unwrap();
    process.until_settled(&world.clock).await;
    assert_eq!(objects(&world).await, before, "FR-1");
    let Said::Status(status) = gc(&mut process, Ask::Status(pb::GcStatusRequest {})).await.unwrap() else { panic!() };
    let apply = pb::GcApplyRequest { plan_id: status.pauses[0].plan_id };
    let Said::Count(deleted) = gc(&mut process, Ask::Apply(apply)).await.unwrap() else { panic!() };
    assert!(deleted.count > 0, "FR-2");
    process.until_settled(&world.clock).await;
    assert_eq!(objects(&world).await, 0, "and what came after it");
    process.end().await;
}
