//! Rollback in place: over the calls, and with a blow at every effect.

use crate::world::effects::{BLOWS, Blow, Effects};
use crate::world::{Answer, Process, World, by_name, let_leases_end};
use elanus_proto::convert::failure_from_grpc;
use elanus_proto::datacoord as pb;
use elanus_proto::datacoord::data_coord_client::DataCoordClient;
use elanus_proto::transport::Channel;
use elanus_types::RestoreMode;

/// Effects that one scenario has at most: a bound for the loop, far above what is needed.
const EFFECTS_MAX: u64 = 200;

async fn roll_back(coord: &DataCoordClient<Channel>, name: &str, snapshot: &str) -> Answer<pb::Rollback> {
    let to = pb::SnapshotRef { collection: Some(by_name(name)), snapshot_name: snapshot.to_owned() };
    coord.clone().rollback_collection(to).await.map(tonic::Response::into_inner).map_err(failure_from_grpc)
}

async fn snapshots(process: &Process, name: &str) -> Vec<pb::Snapshot> {
    process.coord.clone().list_snapshots(by_name(name)).await.unwrap().into_inner().snapshots
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_keeps_what_it_takes_away_in_a_complete_snapshot() {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    process.upsert("docs", &[1, 2, 3]).await.unwrap();
    process.snapshot("docs", "s").await.unwrap();
    process.upsert("docs", &[3, 4, 5, 6]).await.unwrap();
    process.restore("docs", "s", "running", RestoreMode::Copy).await.unwrap();

    let done = roll_back(&process.coord, "docs", "s").await.unwrap();
    assert_eq!(process.rows("docs").await, (3, 3));
    assert_eq!(roll_back(&process.coord, "docs", "s").await.unwrap(), done, "a repeat");
    let all = snapshots(&process, "docs").await;
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["s", done.safety_snapshot_name.as_str()]);
    assert!(
        done.safety_snapshot_name.starts_with("before_rollback_") && all[1].rows == 7 && !all[1].location.is_empty()
    );
    process.upsert("docs", &[7]).await.unwrap();
    assert_eq!(process.rows("docs").await, (4, 4));

    process.restore("docs", &done.safety_snapshot_name, "undone", RestoreMode::Copy).await.unwrap();
    process.until_settled(&world.clock).await;
    assert_eq!((process.rows("undone").await, process.rows("running").await), ((7, 7), (3, 3)));
    assert_eq!(roll_back(&process.coord, "docs", "nothing").await.unwrap_err().code.number(), 2600);
    assert_eq!(roll_back(&process.coord, "nothing", "s").await.unwrap_err().code.number(), 100);
    process.scrub().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollbacks_at_the_same_time_are_one() {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    process.snapshot("docs", "s").await.unwrap();
    process.upsert("docs", &[1, 2]).await.unwrap();
    let coord = process.coord.clone();
    let (a, b, c) =
        tokio::join!(roll_back(&coord, "docs", "s"), roll_back(&coord, "docs", "s"), roll_back(&coord, "docs", "s"),);
    let a = a.unwrap();
    assert_eq!((&a, &a), (&b.unwrap(), &c.unwrap()));
    assert_eq!(snapshots(&process, "docs").await.len(), 2);
    assert_eq!(process.rows("docs").await, (0, 0));
    process.end().await;
}

/// Acknowledged writes before and after a snapshot, and the rollback to it.
async fn scenario(process: &mut Process) -> Answer<()> {
    process.create_collection("docs").await?;
    process.upsert("docs", &[1, 2, 3]).await?;
    process.snapshot("docs", "s").await?;
    process.upsert("docs", &[3, 4]).await
}

async fn strike(n: u64, blow: Blow) -> bool {
    let mut world = World::new();
    let mut first = world.start(Effects::none()).await.unwrap();
    scenario(&mut first).await.unwrap();
    first.end().await;

    let effects = Effects::blow_at(n, blow);
    let mut process = None;
    let mut acknowledged = false;
    if let Ok(started) = world.start(effects.clone()).await {
        acknowledged = roll_back(&started.coord, "docs", "s").await.is_ok();
        let _ = started.background.run_until_quiet(50).await;
        process = Some(started);
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

    // Old or new, and what is taken away is in a complete snapshot.
    let rows = process.rows("docs").await;
    assert!(rows == (3, 3) || !acknowledged && rows == (5, 5), "{rows:?} {acknowledged}");
    if rows == (3, 3) {
        let all = snapshots(&process, "docs").await;
        assert!(all.iter().any(|one| one.name.starts_with("before_rollback_") && one.rows == 5), "RB-1: {all:?}");
    }
    // A client asks again, and writes go on.
    let done = roll_back(&process.coord, "docs", "s").await.unwrap();
    assert_eq!(process.rows("docs").await, (3, 3));
    process.upsert("docs", &[9]).await.unwrap();
    assert_eq!(process.rows("docs").await, (4, 4));
    process.restore("docs", &done.safety_snapshot_name, "undone", RestoreMode::Copy).await.unwrap();
    process.until_settled(&world.clock).await;
    assert_eq!(process.rows("undone").await, (5, 5));
    process.scrub().await;
    process.end().await;
    struck
}

async fn strike_everywhere(blow: Blow) {
    for n in 1..EFFECTS_MAX {
        if !strike(n, blow).await {
            assert!(n > 5, "the scenario has more effects than {n}");
            return;
        }
    }
    panic!("more than {EFFECTS_MAX} effects");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rb_1_an_error_before_any_effect_loses_nothing() {
    strike_everywhere(BLOWS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rb_1_an_error_after_any_effect_loses_nothing() {
    strike_everywhere(BLOWS[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rb_1_death_before_any_effect_loses_nothing() {
    strike_everywhere(BLOWS[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rb_1_death_after_any_effect_loses_nothing() {
    strike_everywhere(BLOWS[3]).await;
}
