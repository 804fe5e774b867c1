//! Jobs that end by time.

use crate::world::effects::Effects;
use crate::world::{World, by_name};
use elanus_datacoord::background::RESTORE_RETENTION;
use elanus_proto::datacoord as pb;
use elanus_types::Clock as _;
use elanus_types::RestoreMode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_does_not_end_before_its_deadline_fails_and_leaves_nothing() {
    let mut world = World::new();
    world.config.restore_deadline_ms = 60_000;
    // Nobody copies.
    world.node_config.copy_slots = 0;
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("source").await.unwrap();
    process.upsert("source", &[1, 2, 3]).await.unwrap();
    process.snapshot("source", "s").await.unwrap();
    process.restore("source", "s", "target", RestoreMode::Copy).await.unwrap();

    process.background.run_until_quiet(50).await.unwrap();
    world.clock.advance_ms(59_999);
    process.background.run_until_quiet(50).await.unwrap();
    let job = process.job("target").await.unwrap();
    assert_eq!((job.state.as_str(), job.ended_ms), ("copying", 0), "{job:?}");

    world.clock.advance_ms(1);
    process.until_settled(&world.clock).await;
    let job = process.job("target").await.unwrap();
    assert_eq!(job.state, "failed");
    assert!(job.reason.contains("the deadline passed") && job.ended_ms >= job.started_ms + 60_000, "{job:?}");
    assert!(process.collection("target").await.is_none());
    process.create_collection("target").await.expect("R-2: the name is free");
    let source = process.collection("source").await.unwrap();
    let snapshot = process.meta.snapshot(source.id, "s").await.unwrap().unwrap();
    assert_eq!(snapshot.live_pins, 0, "its pin ended with it");
    process.scrub().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_not_dropped_while_it_is_copied_from_and_is_when_the_job_has_ended() {
    let mut world = World::new();
    world.node_config.copy_slots = 0;
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("source").await.unwrap();
    process.upsert("source", &[1, 2, 3]).await.unwrap();
    process.snapshot("source", "s").await.unwrap();
    let job = process.restore("source", "s", "target", RestoreMode::Copy).await.unwrap();
    process.background.run_until_quiet(50).await.unwrap();
    for _ in 0..2 {
        let failure = process.drop_snapshot("source", "s").await.unwrap_err();
        assert_eq!(failure.code.number(), 2601, "{failure}");
        assert!(failure.message.contains("active pins exist"), "{failure}");
    }
    let of = pb::SnapshotRef { collection: Some(by_name("source")), snapshot_name: "s".to_owned() };
    let pins = process.coord.list_pins(of).await.unwrap().into_inner().pins;
    assert_eq!(pins.iter().map(|pin| pin.job_id).collect::<Vec<_>>(), [job.job_id], "it can be told who holds it");
    process.background.run_until_quiet(50).await.unwrap();
    assert_eq!(process.job("target").await.unwrap().state, "copying", "the job is not disturbed");

    process.coord.cancel_restore_job(pb::JobRef { job_id: job.job_id }).await.unwrap();
    process.until_settled(&world.clock).await;
    process.drop_snapshot("source", "s").await.unwrap();
    assert!(process.coord.list_snapshots(by_name("source")).await.unwrap().into_inner().snapshots.is_empty());
    process.scrub().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ended_is_listed_until_its_retention_is_over() {
    let mut world = World::new();
    world.config.job_retention_ms = 100_000;
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("source").await.unwrap();
    process.upsert("source", &[1, 2, 3]).await.unwrap();
    process.snapshot("source", "s").await.unwrap();
    process.restore("source", "s", "target", RestoreMode::Copy).await.unwrap();
    process.until_settled(&world.clock).await;
    let job = process.job("target").await.unwrap();
    assert_eq!(job.state, "completed");

    world.clock.advance_ms(job.ended_ms + 100_000 - world.clock.now_ms());
    process.background.activate_and_wait(RESTORE_RETENTION).await;
    assert_eq!(process.job("target").await.as_ref(), Some(&job));
    world.clock.advance_ms(1);
    process.background.activate_and_wait(RESTORE_RETENTION).await;
    assert_eq!(process.job("target").await, None);
    assert_eq!(process.rows("target").await, process.rows("source").await, "what it made stays");
    process.scrub().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_runs_is_kept_however_old_it_is() {
    let mut world = World::new();
    world.config.restore_deadline_ms = 10_000_000;
    world.config.job_retention_ms = 1_000;
    world.node_config.copy_slots = 0;
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("source").await.unwrap();
    process.upsert("source", &[1]).await.unwrap();
    process.snapshot("source", "s").await.unwrap();
    process.restore("source", "s", "target", RestoreMode::Copy).await.unwrap();
    world.clock.advance_ms(9_000_000);
    process.background.run_until_quiet(50).await.unwrap();
    assert_eq!(process.job("target").await.unwrap().state, "copying");
    process.end().await;
}
