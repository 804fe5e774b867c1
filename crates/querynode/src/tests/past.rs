//! Reads inside snapshots, and readers of a collection that is rolled back.

use super::world::{Act, DIM, Row, World, row};
use crate::{QueryConfig, QueryNode};
use elanus_meta::model::{Created, NewSnapshot, SnapshotFiles, SnapshotRecord, StoredObject, Totals};
use elanus_meta::{Begun, NewRollback};
use elanus_proto::querynode::ReadScope;
use elanus_types::{Checksum, NodeId, Timestamp};
use futures::future::join_all;
use std::collections::BTreeSet;

const LATER_MS: i64 = i64::MAX / 2;

pub(super) fn v(x: i16) -> [f32; DIM] {
    [f32::from(x), 0.0, 0.0]
}

pub(super) fn at(scope: ReadScope, ts: Timestamp) -> ReadScope {
    ReadScope { read_ts: ts.0.try_into().unwrap(), ..scope }
}

fn writer() -> NodeId {
    NodeId("writer".to_owned())
}

async fn complete(world: &World, pending: SnapshotRecord) -> SnapshotRecord {
    let plan = world.coordinator.begin_snapshot_files(pending.id, &writer(), LATER_MS, 0).await.unwrap();
    let (file_set, key) = plan.metadata;
    let metadata = (file_set, StoredObject { key, size: 1, checksum: Checksum(1) });
    let files = SnapshotFiles { base: None, manifests: vec![], metadata };
    world.coordinator.commit_snapshot(pending.id, &writer(), &files, Totals::default()).await.unwrap()
}

pub(super) async fn snapshot(world: &World, name: &str) -> SnapshotRecord {
    let new = NewSnapshot {
        collection: world.collection.id,
        name: name.to_owned(),
        description: String::new(),
        owner: writer(),
        lease_until_ms: LATER_MS,
        compaction_protected_until_ms: 0,
        idempotency_key: None,
    };
    match world.coordinator.create_snapshot(new).await.unwrap() {
        Created::New(pending) => complete(world, pending).await,
        Created::Joined(found) => panic!("{found:?}"),
    }
}

pub(super) async fn roll_back(world: &World, name: &str) {
    let collection = world.collection.id;
    let new = NewRollback {
        collection,
        snapshot_name: name.to_owned(),
        owner: writer(),
        lease_until_ms: LATER_MS,
        held_until_ms: 0,
    };
    match world.coordinator.begin_rollback(new).await.unwrap() {
        Begun::New { snapshot, safety } => {
            let safety = complete(world, safety).await;
            world.coordinator.commit_rollback(collection, snapshot.id, safety.id).await.unwrap().unwrap();
        }
        Begun::Done(_) => {}
        Begun::Held => panic!("nobody holds it"),
    }
}

async fn ids(world: &World) -> Vec<i64> {
    world.ids(world.scope("age >= 0", &[]), -1, 0).await
}

/// What a node sees that has followed the collection, and one that sees it for the first time.
async fn ids_of_both(world: &mut World) -> Vec<i64> {
    let carried_on = ids(world).await;
    let fresh = QueryNode::new(world.meta.clone(), world.store.clone(), QueryConfig::default());
    let followed = std::mem::replace(&mut world.node, fresh);
    assert_eq!(ids(world).await, carried_on, "V-2");
    world.node = followed;
    carried_on
}

#[tokio::test]
async fn readers_follow_a_rollback_with_deletes_upserts_and_partitions() {
    let mut world = World::new().await;
    let default = world.default_partition();
    let other = world.coordinator.create_partition(world.collection.id, "other").await.unwrap().id;
    world.insert((0_i16..8).map(|id| row(id.into(), v(id)))).await;
    world.commit([Act::Insert(other, row(20, v(1))), Act::Insert(other, row(21, v(1)))]).await;
    world.commit([Act::Delete(1), Act::Delete(21)]).await;
    let kept = snapshot(&world, "s").await;
    assert_eq!(ids_of_both(&mut world).await, [0, 2, 3, 4, 5, 6, 7, 20]);

    world.commit([Act::Delete(2), Act::Delete(20)]).await;
    world.commit([Act::Upsert(default, Row { age: 99, ..row(3, v(3)) }), Act::Insert(default, row(1, v(1)))]).await;
    world.coordinator.drop_partition(world.collection.id, "other").await.unwrap();
    assert_eq!(ids_of_both(&mut world).await, [0, 1, 3, 4, 5, 6, 7]);
    assert_eq!(world.ids(world.scope("age == 99", &[]), -1, 0).await, [3]);

    // Inside the snapshot: rows that were deleted, the partition that was dropped, by its old id.
    let inside = |filter: &str| at(world.scope(filter, &[]), kept.create_ts);
    assert_eq!(world.ids(inside("age >= 0"), -1, 0).await, [0, 2, 3, 4, 5, 6, 7, 20]);
    assert_eq!(world.ids(inside("age == 99"), -1, 0).await, [0_i64; 0]);
    assert_eq!(world.ids(ReadScope { partition_ids: vec![other.0], ..inside("") }, -1, 0).await, [20]);

    roll_back(&world, "s").await;
    assert_eq!(ids_of_both(&mut world).await, [0, 2, 3, 4, 5, 6, 7, 20]);
    assert_eq!(world.ids(world.scope("age == 99", &[]), -1, 0).await, [0_i64; 0]);
    // Deletes hide what came back.
    world.commit([Act::Delete(20), Act::Delete(4)]).await;
    assert_eq!(ids_of_both(&mut world).await, [0, 2, 3, 5, 6, 7]);
    let inside = at(world.scope("age >= 0", &[]), kept.create_ts);
    assert_eq!(world.ids(inside, -1, 0).await, [0, 2, 3, 4, 5, 6, 7, 20], "the snapshot stays what it was");
}

#[tokio::test]
async fn readers_follow_whatever_order_of_writes_and_rollbacks() {
    for seed in 0_u64..8 {
        let mut world = World::new().await;
        let default = world.default_partition();
        let mut dice = seed;
        let mut roll = move |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((dice >> 33) % sides).unwrap()
        };
        let mut rows: BTreeSet<i64> = BTreeSet::new();
        let mut snapshots: Vec<(SnapshotRecord, BTreeSet<i64>)> = vec![];
        for step in 0..30 {
            match roll(8) {
                0..=2 => {
                    let id = roll(10);
                    world.commit([Act::Upsert(default, row(id, v(1)))]).await;
                    rows.insert(id);
                }
                3..=4 => {
                    let id = roll(10);
                    world.commit([Act::Delete(id)]).await;
                    rows.remove(&id);
                }
                5 => snapshots.push((snapshot(&world, &format!("s{step}")).await, rows.clone())),
                _ if !snapshots.is_empty() => {
                    let pick = usize::try_from(roll(snapshots.len() as u64)).unwrap();
                    roll_back(&world, &snapshots[pick].0.name).await;
                    rows = snapshots[pick].1.clone();
                }
                _ => {}
            }
            if roll(3) > 0 {
                let expected: Vec<i64> = rows.iter().copied().collect();
                assert_eq!(ids_of_both(&mut world).await, expected, "seed {seed}, step {step}");
            }
        }
        for (kept, rows) in &snapshots {
            let found = world.ids(at(world.scope("age >= 0", &[]), kept.create_ts), -1, 0).await;
            assert_eq!(found, rows.iter().copied().collect::<Vec<i64>>(), "{}", kept.name);
        }
    }
}

#[tokio::test]
async fn a_read_of_the_last_commit_never_shows_a_later_one() {
    let world = World::new().await;
    let ts = world.insert([row(1, v(1))]).await;
    let closed = world.store.gate.acquire_many(1_000).await.unwrap();
    let mut gone = Box::pin(ids(&world));
    let mut asked = Box::pin(world.ids(at(world.scope("age >= 0", &[]), ts), -1, 0));
    // The first refreshes, the second waits for it.
    for _ in 0..200 {
        assert!(futures::poll!(&mut gone).is_pending() && futures::poll!(&mut asked).is_pending());
        tokio::task::yield_now().await;
    }
    world.insert([row(2, v(2))]).await;
    drop(gone);
    drop(closed);
    assert_eq!(asked.await, [1]);
    assert_eq!(ids(&world).await, [1, 2]);
}

#[tokio::test]
async fn few_views_of_the_past_are_kept_those_that_were_read_last() {
    let world = World::with(QueryConfig { cache_bytes_max: 0, cpu_concurrency: 2, ..QueryConfig::default() }).await;
    let mut past = vec![];
    for id in 0..7 {
        past.push(world.insert([row(id, v(0))]).await);
    }
    world.coordinator.drop_collection(world.collection.id).await.unwrap();
    let read = async |n: usize| {
        let before = world.gets();
        assert_eq!(world.count(at(world.scope("", &[]), past[n])).await, i64::try_from(n).unwrap() + 1);
        world.gets() > before
    };
    assert!(read(6).await);
    assert!(!read(6).await, "kept");
    for n in 0..6 {
        assert!(read(n).await);
        assert!(!read(6).await, "read again and again");
    }
    assert!(!read(5).await && !read(4).await && !read(3).await);
    assert!(read(0).await, "let go");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_one_past_share_its_view() {
    let world = World::new().await;
    for id in 0..4 {
        world.insert([row(id, v(0))]).await;
    }
    let ts = world.last_ts().await;
    world.coordinator.drop_collection(world.collection.id).await.unwrap();
    let reads = join_all((0..20).map(|_| world.count(at(world.scope("", &[]), ts)))).await;
    assert!(reads.iter().all(|count| *count == 4));
    assert_eq!(world.gets(), 4);
}
