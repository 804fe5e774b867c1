//! What the metadata knows of the root path of its object store.

use crate::store::{CLUSTER, Store, node};
use elanus_meta::{Meta, MetaError, NewStart, RootMirror, RootRecord};
use elanus_types::{Epoch, RootHold};

fn mirror(hold: Option<RootHold>) -> RootMirror {
    RootMirror { location: "file:///data".to_owned(), epoch: Epoch(9), marker_etag: "e".to_owned(), hold }
}

async fn a_look_sees_what_the_store_says_and_nothing_where_there_is_none(store: Store) {
    let fresh = store.meta.root().await.unwrap();
    let expected = RootRecord {
        cluster_id: CLUSTER.to_owned(),
        epoch: Epoch(1),
        high_water: fresh.high_water,
        starts: Vec::new(),
        location: None,
        marker_epoch: Epoch(0),
        hold: None,
    };
    assert_eq!(fresh, expected);
    assert_eq!(Meta::look(&store.url).await.unwrap(), Some(fresh));
    store.meta.mirror_root(&mirror(Some(RootHold::Quarantined))).await.unwrap();
    let holder = node("a");
    store.meta.take_over_root(NewStart { start_id: "one", ..NewStart::of(&holder) }).await.unwrap();
    let seen = Meta::look(&store.url).await.unwrap().unwrap();
    assert_eq!(seen, store.meta.root().await.unwrap());
    assert_eq!((seen.location.as_deref(), seen.hold), (Some("file:///data"), Some(RootHold::Quarantined)));
    assert_eq!(seen.starts, [(Epoch(2), "one".to_owned())]);
    assert_eq!(seen.marker_epoch, Epoch(9));
}

async fn a_take_over_is_above_the_floors_and_keeps_a_hold(store: Store) {
    let hold = Some(RootHold::Restored);
    let (a, b) = (node("a"), node("b"));
    let high = store.meta.root().await.unwrap().high_water + 1_000;
    let start = NewStart { floor: Epoch(41), high_water_floor: Some(high), hold, ..NewStart::of(&a) };
    let (next, counter) = store.meta.take_over_root(start).await.unwrap();
    assert_eq!((next.epoch(), store.meta.root().await.unwrap().hold), (Epoch(42), hold));
    assert!(counter > high);
    let start = NewStart { floor: Epoch(3), high_water_floor: Some(high), ..NewStart::of(&b) };
    let (next, later) = store.meta.take_over_root(start).await.unwrap();
    assert_eq!((next.epoch(), store.meta.root().await.unwrap().hold), (Epoch(43), hold));
    assert!(later > counter);
    // Who has not seen the marker leaves the counter alone.
    let start = NewStart { high_water_floor: None, ..NewStart::of(&b) };
    let (_, same) = store.meta.take_over_root(start).await.unwrap();
    assert_eq!(same, later);
    store.meta.mirror_root(&mirror(None)).await.unwrap();
    assert_eq!(store.meta.root().await.unwrap().hold, None);
}

async fn the_counter_rises_each_time_is_above_all_ids_and_is_told_to_the_last_epoch_only(store: Store) {
    let epoch = store.coordinator.epoch();
    let before = store.meta.raise_root(epoch, "").await.unwrap().unwrap();
    let again = store.meta.raise_root(epoch, "etag").await.unwrap().unwrap();
    assert!(again > before, "nothing was done");
    assert_eq!(store.meta.root().await.unwrap().high_water, again);
    let id = store.meta.allocate_ids(1).await.unwrap();
    let after = store.meta.raise_root(epoch, "etag").await.unwrap().unwrap();
    assert!(after > id && after > again);
    let next_holder = node("next");
    let (next, high_water) = store.meta.take_over_root(NewStart::of(&next_holder)).await.unwrap();
    assert!(high_water > after);
    assert_eq!(store.meta.raise_root(epoch, "").await.unwrap(), None);
    assert_eq!(store.meta.root().await.unwrap().high_water, high_water, "nothing was raised");
    assert!(store.meta.raise_root(next.epoch(), "").await.unwrap().is_some());
}

async fn starts_are_remembered_since_the_marker_was_written_and_many_before(store: Store) {
    let holder = node("a");
    let start = |floor: i64, start_id: &'static str| {
        let start = NewStart { floor: Epoch(floor), start_id, ..NewStart::of(&holder) };
        let meta = store.meta.clone();
        async move { meta.take_over_root(start).await.unwrap() }
    };
    start(8, "old").await;
    start(5_000, "much later").await;
    let ids = async || store.meta.root().await.unwrap().starts.into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    assert_eq!(ids().await, ["old", "much later"], "the marker was never seen to be written");
    store.meta.mirror_root(&mirror(None)).await.unwrap();
    start(0, "written").await;
    assert_eq!(ids().await, ["old", "much later", "written"], "its own epoch is the marker's");
    store.meta.mirror_root(&RootMirror { epoch: Epoch(5_001), ..mirror(None) }).await.unwrap();
    start(0, "last").await;
    assert_eq!(ids().await, ["much later", "written", "last"]);
}

async fn a_coordinator_goes_on_under_its_next_epoch_and_one_that_was_taken_over_does_not(store: Store) {
    let clone = store.coordinator.clone();
    let before = store.coordinator.epoch();
    let (epoch, _) = store.coordinator.next_epoch(&node("same"), "again").await.unwrap();
    assert_eq!((epoch, clone.epoch()), (Epoch(before.0 + 1), epoch));
    clone.prove().await.unwrap();
    store.collection("books").await;
    assert!(!clone.is_fenced());
    assert_eq!(store.meta.root().await.unwrap().starts, [(epoch, "again".to_owned())]);
    let other = node("other");
    store.meta.take_over_root(NewStart::of(&other)).await.unwrap();
    let fenced = clone.next_epoch(&node("same"), "once more").await;
    assert!(matches!(fenced, Err(MetaError::Fenced { .. })), "{fenced:?}");
    assert!(store.coordinator.is_fenced());
}

async fn a_backup_is_behind_every_marker_that_was_written_since(store: Store) {
    store.collection("books").await;
    let (url, clock) = (store.url.clone(), store.clock.clone());
    store.meta.close().await;
    let backup = store.copied();
    let meta = Meta::open(&url, CLUSTER, clock).await.unwrap();
    let again = node("again");
    let (coordinator, before) = meta.take_over_root(NewStart::of(&again)).await.unwrap();
    let seen = Meta::look(&backup.url).await.unwrap().unwrap();
    assert!(seen.high_water < before);
    assert!(seen.high_water < meta.raise_root(coordinator.epoch(), "").await.unwrap().unwrap());
    assert!(seen.epoch < meta.root().await.unwrap().epoch);
    meta.close().await;
}

on_every_store!(
    a_look_sees_what_the_store_says_and_nothing_where_there_is_none,
    a_take_over_is_above_the_floors_and_keeps_a_hold,
    the_counter_rises_each_time_is_above_all_ids_and_is_told_to_the_last_epoch_only,
    starts_are_remembered_since_the_marker_was_written_and_many_before,
    a_coordinator_goes_on_under_its_next_epoch_and_one_that_was_taken_over_does_not,
    a_backup_is_behind_every_marker_that_was_written_since,
);
