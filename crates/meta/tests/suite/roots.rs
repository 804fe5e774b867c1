//! What the metadata knows of the root path of its object store.

use crate::store::{CLUSTER, Store, node};
use elanus_meta::{Meta, RootMirror, RootRecord};
use elanus_types::{Epoch, RootHold};

fn mirror(hold: Option<RootHold>) -> RootMirror {
    RootMirror { location: "file:///data".to_owned(), epoch: Epoch(9), marker_etag: "e".to_owned(), hold }
}

async fn a_look_sees_what_the_store_says_and_nothing_where_there_is_none(store: Store) {
    let fresh = RootRecord {
        cluster_id: CLUSTER.to_owned(),
        epoch: Epoch(1),
        high_water: 1,
        location: None,
        marker_epoch: Epoch(0),
        hold: None,
    };
    assert_eq!(store.meta.root().await.unwrap(), fresh);
    assert_eq!(Meta::look(&store.url).await.unwrap(), Some(fresh));
    store.meta.mirror_root(&mirror(Some(RootHold::Quarantined))).await.unwrap();
    store.collection("books").await;
    let seen = Meta::look(&store.url).await.unwrap().unwrap();
    assert_eq!(seen, store.meta.root().await.unwrap());
    assert_eq!((seen.location.as_deref(), seen.hold), (Some("file:///data"), Some(RootHold::Quarantined)));
    assert!(seen.high_water > 1);
    assert_eq!(seen.marker_epoch, Epoch(9));
}

async fn a_take_over_is_above_the_floor_and_keeps_a_hold(store: Store) {
    let (next, _) = store.meta.take_over_root(&node("a"), Epoch(41), Some(RootHold::Restored)).await.unwrap();
    assert_eq!((next.epoch(), store.meta.root().await.unwrap().hold), (Epoch(42), Some(RootHold::Restored)));
    let (next, _) = store.meta.take_over_root(&node("b"), Epoch(3), None).await.unwrap();
    assert_eq!((next.epoch(), store.meta.root().await.unwrap().hold), (Epoch(43), Some(RootHold::Restored)));
    store.meta.mirror_root(&mirror(None)).await.unwrap();
    assert_eq!(store.meta.root().await.unwrap().hold, None);
}

async fn the_high_water_mark_rises_with_what_is_done_and_is_told_to_the_last_epoch_only(store: Store) {
    let epoch = store.coordinator.epoch();
    let before = store.meta.root_high_water(epoch).await.unwrap().unwrap();
    assert_eq!(store.meta.root_high_water(epoch).await.unwrap(), Some(before), "nothing was done");
    store.collection("books").await;
    let after = store.meta.root_high_water(epoch).await.unwrap().unwrap();
    assert!(after > before);
    let (next, high_water) = store.meta.take_over_root(&node("next"), Epoch(0), None).await.unwrap();
    assert!(high_water >= after);
    assert_eq!(store.meta.root_high_water(epoch).await.unwrap(), None);
    assert!(store.meta.root_high_water(next.epoch()).await.unwrap().is_some());
}

async fn a_backup_is_behind_what_was_done_since(store: Store) {
    store.collection("books").await;
    let (url, clock) = (store.url.clone(), store.clock.clone());
    store.meta.close().await;
    let backup = store.copied();
    let meta = Meta::open(&url, CLUSTER, clock).await.unwrap();
    let (_, before) = meta.take_over_root(&node("again"), Epoch(0), None).await.unwrap();
    meta.allocate_ids(1).await.unwrap();
    let seen = Meta::look(&backup.url).await.unwrap().unwrap();
    assert!(seen.high_water <= before && seen.high_water < meta.root().await.unwrap().high_water);
    assert!(seen.epoch < meta.root().await.unwrap().epoch);
    meta.close().await;
}

on_every_store!(
    a_look_sees_what_the_store_says_and_nothing_where_there_is_none,
    a_take_over_is_above_the_floor_and_keeps_a_hold,
    the_high_water_mark_rises_with_what_is_done_and_is_told_to_the_last_epoch_only,
    a_backup_is_behind_what_was_done_since,
);
