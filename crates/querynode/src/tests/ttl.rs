//! Rows that expire: now, inside snapshots, after a change of the time to live, and after what brings old rows back.

use super::past::{at, roll_back, snapshot, v};
use super::world::{World, ids_of, row};
use elanus_proto::querynode::{QueryRequest, ReadScope};
use elanus_types::aging::TTL_PROPERTY;

async fn live_for(world: &World, ttl_s: Option<i64>) {
    let set = |definition: &mut elanus_types::schema::CollectionDefinition| {
        definition.properties.remove(TTL_PROPERTY);
        definition.properties.extend(ttl_s.map(|ttl_s| (TTL_PROPERTY.to_owned(), ttl_s.to_string())));
        Ok(())
    };
    world.coordinator.alter_collection(world.collection.id, set).await.unwrap();
}

async fn ids(world: &World) -> Vec<i64> {
    let found = world.ids(world.scope("age >= 0", &[]), -1, 0).await;
    assert_eq!(world.count(world.scope("", &[])).await, i64::try_from(found.len()).unwrap());
    found
}

#[tokio::test]
async fn v_4_expired_rows_are_not_read_and_a_snapshot_shows_what_it_held() {
    let world = World::new().await;
    live_for(&world, Some(100)).await;
    world.insert([row(1, v(1)), row(2, v(2))]).await;
    world.clock.advance_ms(60_000);
    world.insert([row(3, v(3))]).await;
    assert_eq!(ids(&world).await, [1, 2, 3]);
    let kept = snapshot(&world, "s").await;

    // Nothing is committed, and time goes on.
    world.clock.advance_ms(50_000);
    assert_eq!(ids(&world).await, [3]);
    world.clock.advance_ms(60_000);
    assert_eq!(ids(&world).await, [0_i64; 0]);
    let inside = at(world.scope("age >= 0", &[]), kept.create_ts);
    assert_eq!(world.ids(inside, -1, 0).await, [1, 2, 3]);

    live_for(&world, Some(1_000)).await;
    assert_eq!(ids(&world).await, [1, 2, 3]);
    live_for(&world, Some(1)).await;
    assert_eq!(ids(&world).await, [0_i64; 0]);
    for forever in [Some(0), Some(-1), None] {
        live_for(&world, forever).await;
        assert_eq!(ids(&world).await, [1, 2, 3]);
    }
}

#[tokio::test]
async fn pages_of_one_read_agree_while_rows_expire() {
    let world = World::new().await;
    live_for(&world, Some(100)).await;
    world.insert((0..4).map(|id| row(id, v(1)))).await;
    world.clock.advance_ms(60_000);
    world.insert((4..8).map(|id| row(id, v(1)))).await;
    for (waited_ms, expected) in [(50_000, 4..8), (10_000, 4..8), (80_000, 8..8)] {
        world.clock.advance_ms(waited_ms);
        let scope = ReadScope { output_fields: vec!["id".to_owned()], ..world.scope("", &[]) };
        let ask = |scope, offset| QueryRequest { scope: Some(scope), limit: 2, offset, count_only: false };
        let first = world.query(ask(scope.clone(), 0)).await.unwrap();
        let mut found = ids_of(&first.arrow_ipc);
        world.clock.advance_ms(1_000);
        world.insert([row(100, v(1))]).await;
        world.commit([super::world::Act::Delete(100)]).await;
        for offset in [2, 4] {
            let scope = ReadScope { read_ts: first.read_ts, ..scope.clone() };
            found.extend(ids_of(&world.query(ask(scope, offset)).await.unwrap().arrow_ipc));
        }
        assert_eq!(found, expected.collect::<Vec<i64>>(), "{waited_ms}");
    }
}

#[tokio::test]
async fn what_a_rollback_brings_back_begins_to_age_and_what_had_expired_stays_so() {
    let world = World::new().await;
    live_for(&world, Some(100)).await;
    world.insert([row(1, v(1))]).await;
    world.clock.advance_ms(110_000);
    world.insert([row(2, v(2)), row(3, v(3))]).await;
    let kept = snapshot(&world, "s").await;
    world.clock.advance_ms(500_000);
    assert_eq!(ids(&world).await, [0_i64; 0]);

    roll_back(&world, "s").await;
    assert_eq!(ids(&world).await, [2, 3]);
    world.clock.advance_ms(90_000);
    world.insert([row(4, v(4))]).await;
    assert_eq!(ids(&world).await, [2, 3, 4]);
    world.clock.advance_ms(20_000);
    assert_eq!(ids(&world).await, [4]);
    let inside = at(world.scope("age >= 0", &[]), kept.create_ts);
    assert_eq!(world.ids(inside, -1, 0).await, [2, 3]);
}
