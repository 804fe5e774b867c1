//! The trash.

use crate::world::effects::Effects;
use crate::world::{Answer, Process, World, by_name};
use elanus_proto::convert::failure_from_grpc;
use elanus_proto::datacoord as pb;
use elanus_types::RestoreMode;

const RETENTION_MS: i64 = 24 * 3_600_000;

async fn drop_collection(process: &mut Process, name: &str) {
    process.coord.drop_collection(by_name(name)).await.unwrap();
}

async fn listed(process: &mut Process) -> Vec<pb::TrashedCollection> {
    process.coord.list_trash(pb::ListCollectionsRequest::default()).await.unwrap().into_inner().collections
}

async fn restore(process: &mut Process, of: pb::CollectionRef, new_name: &str) -> Answer<pb::Collection> {
    let request = pb::RestoreTrashRequest { collection: Some(of), new_name: new_name.to_owned() };
    process.coord.restore_trash(request).await.map(tonic::Response::into_inner).map_err(failure_from_grpc)
}

async fn purge(process: &mut Process, of: pb::CollectionRef) -> Answer<pb::TrashedCollection> {
    process.coord.purge_trash(of).await.map(tonic::Response::into_inner).map_err(failure_from_grpc)
}

fn by_id(id: i64) -> pb::CollectionRef {
    pb::CollectionRef { collection_id: id, ..pb::CollectionRef::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_collection_comes_back_until_its_retention_ends() {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    process.upsert("docs", &[1, 2, 3]).await.unwrap();
    process.snapshot("docs", "s").await.unwrap();
    drop_collection(&mut process, "docs").await;
    assert_eq!(process.snapshot("docs", "s").await.unwrap_err().code.number(), 100);
    let one = listed(&mut process).await.pop().unwrap();
    assert_eq!((one.name.as_str(), one.rows, one.snapshots), ("docs", 3, 1));

    world.clock.advance_ms(RETENTION_MS - 1);
    process.background.run_until_quiet(50).await.unwrap();
    let back = restore(&mut process, by_name("docs"), "").await.unwrap();
    assert_eq!((back.id, back.name.as_str()), (one.id, "docs"));
    assert_eq!(process.rows("docs").await, (3, 3));
    assert_eq!(restore(&mut process, by_id(back.id), "").await.unwrap(), back, "a repeat by id finds it");
    process.restore("docs", "s", "copy", RestoreMode::Copy).await.unwrap();
    process.until_settled(&world.clock).await;
    assert_eq!(process.rows("copy").await, (3, 3), "its snapshots are whole");

    drop_collection(&mut process, "docs").await;
    world.clock.advance_ms(RETENTION_MS);
    assert_eq!(listed(&mut process).await, []);
    assert_eq!(restore(&mut process, by_id(back.id), "").await.unwrap_err().code.number(), 100);
    assert_eq!(restore(&mut process, by_name("docs"), "").await.unwrap_err().code.number(), 100);
    process.scrub().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_must_say_which_one_and_must_be_free() {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    for _ in 0..2 {
        process.create_collection("docs").await.unwrap();
        drop_collection(&mut process, "docs").await;
    }
    let ids: Vec<i64> = listed(&mut process).await.iter().map(|one| one.id).collect();
    for failure in [
        restore(&mut process, by_name("docs"), "").await.unwrap_err(),
        purge(&mut process, by_name("docs")).await.unwrap_err(),
    ] {
        assert_eq!(failure.code.number(), 1100);
        assert!(failure.message.contains(&format!("{}, {}", ids[0], ids[1])), "{failure}");
    }
    process.create_collection("docs").await.unwrap();
    let failure = restore(&mut process, by_id(ids[0]), "").await.unwrap_err();
    assert!(failure.message.contains("docs already exists"), "{failure}");
    assert_eq!(restore(&mut process, by_id(ids[0]), "docs_old").await.unwrap().name, "docs_old");
    assert_eq!(purge(&mut process, by_name("docs")).await.unwrap().id, ids[1], "only one is left");
    assert_eq!(listed(&mut process).await, []);
    assert_eq!(restore(&mut process, by_id(ids[1]), "x").await.unwrap_err().code.number(), 100);
    process.scrub().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_retention_a_drop_is_for_good() {
    let mut world = World::new();
    world.config.trash_retention_ms = 0;
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    drop_collection(&mut process, "docs").await;
    assert_eq!(listed(&mut process).await, []);
    assert_eq!(restore(&mut process, by_name("docs"), "").await.unwrap_err().code.number(), 100);
    process.end().await;
}
