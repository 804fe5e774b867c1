//! Collections, partitions and indexes.

use crate::store::{Store, assert_fenced, definition_with, new_collection, node, refusal, rows_of};
use elanus_meta::model::CollectionKey;
use elanus_types::{CollectionId, FieldId, PartitionId, Timestamp};
use std::collections::BTreeMap;

fn by_name(name: &str) -> CollectionKey {
    CollectionKey::Name { database: "default".to_owned(), name: name.to_owned() }
}

fn params(metric: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("index_type".to_owned(), "FLAT".to_owned()), ("metric_type".to_owned(), metric.to_owned())])
}

async fn a_created_collection_is_found_as_it_was_defined(store: Store) {
    let created = store.collection("books").await;
    assert_eq!(created.definition, definition_with(&[(created.partitions[0].id, "_default")]));
    assert_eq!(created.database, "default");
    assert!(!created.loaded);
    assert_eq!(created.created_ts, created.last_ts);
    assert_eq!(store.record(created.id).await.as_ref(), Some(&created));
    assert_eq!(store.meta.collection(&by_name("books")).await.unwrap().as_ref(), Some(&created));
    assert_eq!(store.meta.collections("default").await.unwrap(), [created]);
    assert_eq!(store.meta.collection(&by_name("films")).await.unwrap(), None);
}

async fn collections_are_listed_by_name_each_with_its_own_partitions_and_indexes(store: Store) {
    let b = store.collection("b").await;
    let a = store.collection("a").await;
    store.coordinator.create_partition(a.id, "p").await.unwrap();
    store.coordinator.create_index(b.id, FieldId(101), "vector", params("L2")).await.unwrap();
    let listed = store.meta.collections("default").await.unwrap();
    assert_eq!(listed, [store.record(a.id).await.unwrap(), store.record(b.id).await.unwrap()]);
    let names: Vec<_> = listed[0].partitions.iter().map(|p| p.name.as_str()).collect();
    assert_eq!((names, listed[0].definition.indexes.len()), (vec!["_default", "p"], 0));
    assert_eq!((listed[1].partitions.len(), listed[1].definition.indexes.len()), (1, 1));
}

async fn an_unknown_database_is_refused(store: Store) {
    let key = CollectionKey::Name { database: "x".to_owned(), name: "books".to_owned() };
    let expected = (800, "database not found[database=x]".to_owned());
    assert_eq!(refusal(store.meta.collection(&key).await), expected);
    assert_eq!(refusal(store.meta.collections("x").await), expected);
    let mut new = new_collection("books");
    new.database = "x".to_owned();
    assert_eq!(refusal(store.coordinator.create_collection(new).await), expected);
}

async fn creating_the_same_collection_again_gives_it_back_and_another_one_is_refused(store: Store) {
    let created = store.collection("books").await;
    assert_eq!(store.collection("books").await, created);
    let mut other = new_collection("books");
    other.definition.shards_num = 1;
    let expected = "create duplicate collection with different parameters, collection: books";
    assert_eq!(refusal(store.coordinator.create_collection(other).await), (1100, expected.to_owned()));
    assert_eq!(store.record(created.id).await, Some(created));
}

async fn a_dropped_collection_is_gone_and_its_name_is_free_for_another(store: Store) {
    let first = store.collection("books").await;
    store.coordinator.drop_collection(first.id).await.unwrap();
    assert_eq!(store.meta.collection(&by_name("books")).await.unwrap(), None);
    assert_eq!(store.record(first.id).await, None);
    assert_eq!(store.meta.collections("default").await.unwrap(), []);
    let mut other = new_collection("books");
    other.definition.shards_num = 7;
    let second = store.coordinator.create_collection(other).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_ne!(second.partitions[0].id, first.partitions[0].id);
}

async fn dropping_again_or_something_unknown_changes_nothing(store: Store) {
    let created = store.collection("books").await;
    store.coordinator.drop_collection(CollectionId(1)).await.unwrap();
    assert_eq!(store.record(created.id).await.as_ref(), Some(&created));
    store.coordinator.drop_collection(created.id).await.unwrap();
    let events = store.meta.next_events(100).await.unwrap();
    store.coordinator.drop_collection(created.id).await.unwrap();
    assert_eq!(store.meta.next_events(100).await.unwrap(), events);
}

async fn a_partition_is_created_once(store: Store) {
    let collection = store.collection("books").await;
    let partition = store.coordinator.create_partition(collection.id, "p").await.unwrap();
    assert!(partition.created_ts > collection.last_ts);
    assert_eq!(store.coordinator.create_partition(collection.id, "p").await.unwrap(), partition);
    let default = store.coordinator.create_partition(collection.id, "_default").await.unwrap();
    assert_eq!(default, collection.partitions[0]);
    assert_eq!(store.record(collection.id).await.unwrap().partitions, [default, partition]);
}

async fn dropping_a_partition_ends_its_files_and_no_others(store: Store) {
    let collection = store.collection("books").await;
    let default = collection.partitions[0].id;
    let partition = store.coordinator.create_partition(collection.id, "p").await.unwrap().id;
    let (kept, _) = store.insert(collection.id, default).await;
    let (_, before) = store.insert(collection.id, partition).await;
    store.coordinator.drop_partition(collection.id, "p").await.unwrap();
    assert_eq!(store.members(collection.id, None).await, [kept].into());
    assert_eq!(store.members(collection.id, Some(before)).await.len(), 2, "the past stays");
    let view = store.meta.view(collection.id, None).await.unwrap();
    assert_eq!(view.partitions, [default]);
    let again = store.coordinator.create_partition(collection.id, "p").await.unwrap().id;
    assert_ne!(again, partition, "ids are never given twice");
    assert_eq!(store.members(collection.id, None).await, [kept].into());
}

async fn the_default_partition_and_unknown_ones_are_not_dropped(store: Store) {
    let collection = store.collection("books").await.id;
    assert_eq!(refusal(store.coordinator.drop_partition(collection, "_default").await).0, 1100);
    let expected = (200, "partition not found[partition=p]".to_owned());
    assert_eq!(refusal(store.coordinator.drop_partition(collection, "p").await), expected);
}

async fn a_field_has_at_most_one_index(store: Store) {
    let collection = store.collection("books").await.id;
    let coordinator = &store.coordinator;
    let index = coordinator.create_index(collection, FieldId(101), "vector", params("L2")).await.unwrap();
    assert_eq!(coordinator.create_index(collection, FieldId(101), "vector", params("L2")).await.unwrap(), index);
    for (field, name, metric) in [(101, "vector", "IP"), (101, "other", "L2"), (100, "vector", "L2")] {
        let refused = coordinator.create_index(collection, FieldId(field), name, params(metric)).await;
        assert_eq!(refusal(refused), (1100, "at most one distinct index is allowed per field".to_owned()));
    }
    assert_eq!(store.record(collection).await.unwrap().definition.indexes, std::slice::from_ref(&index));
    coordinator.drop_index(collection, "vector").await.unwrap();
    coordinator.drop_index(collection, "vector").await.unwrap();
    assert_eq!(store.record(collection).await.unwrap().definition.indexes, []);
    let second = coordinator.create_index(collection, FieldId(101), "vector", params("IP")).await.unwrap();
    assert_ne!(second.id, index.id);
}

async fn what_is_done_to_a_collection_that_is_not_there_is_refused(store: Store) {
    let dropped = store.collection("books").await.id;
    store.coordinator.drop_collection(dropped).await.unwrap();
    let coordinator = &store.coordinator;
    for id in [dropped, CollectionId(7)] {
        let expected = (100, format!("collection not found[collection={id}]"));
        assert_eq!(refusal(coordinator.create_partition(id, "p").await), expected);
        assert_eq!(refusal(coordinator.drop_partition(id, "p").await), expected);
        assert_eq!(refusal(coordinator.create_index(id, FieldId(101), "v", params("L2")).await), expected);
        assert_eq!(refusal(coordinator.drop_index(id, "v").await), expected);
        assert_eq!(refusal(coordinator.set_loaded(id, &[], true).await), expected);
        assert_eq!(refusal(coordinator.seal_segments(id).await), expected);
        assert_eq!(refusal(store.meta.statistics(id, &[]).await), expected);
        assert_eq!(refusal(store.meta.view(id, None).await), expected);
        assert_eq!(refusal(store.meta.definition_at(id, Timestamp::NEVER).await), expected);
        let place = rows_of(PartitionId(1));
        assert_eq!(refusal(store.meta.begin_write(id, &node("w1"), 0, &[place]).await), expected);
        assert_eq!(refusal(store.meta.commit_write(id, &node("w1"), 1, &[]).await), expected);
        assert_eq!(store.meta.last_ts(id).await.unwrap(), None);
        assert_eq!(store.meta.changes(id, Timestamp::ZERO).await.unwrap(), None);
    }
}

async fn a_collection_is_loaded_while_one_of_its_partitions_is(store: Store) {
    let collection = store.collection("books").await;
    let (id, default) = (collection.id, collection.partitions[0].id);
    let partition = store.coordinator.create_partition(id, "p").await.unwrap().id;
    let loaded = async || {
        let record = store.record(id).await.unwrap();
        (record.loaded, record.partitions.iter().map(|partition| partition.loaded).collect::<Vec<_>>())
    };
    store.coordinator.set_loaded(id, &[partition], true).await.unwrap();
    assert_eq!(loaded().await, (true, vec![false, true]));
    store.coordinator.drop_partition(id, "p").await.unwrap();
    assert_eq!(loaded().await, (false, vec![false]));
    store.coordinator.set_loaded(id, &[], true).await.unwrap();
    store.coordinator.create_partition(id, "q").await.unwrap();
    assert_eq!(loaded().await, (true, vec![true, true]), "a partition of a collection that is loaded as a whole");
    store.coordinator.set_loaded(id, &[default], false).await.unwrap();
    assert_eq!(loaded().await, (true, vec![false, true]));
    store.coordinator.create_partition(id, "r").await.unwrap();
    assert_eq!(loaded().await, (true, vec![false, true, false]));
    store.coordinator.set_loaded(id, &[], false).await.unwrap();
    assert_eq!(loaded().await, (false, vec![false, false, false]));
    assert_eq!(refusal(store.coordinator.set_loaded(id, &[partition], true).await).0, 200, "dropped");
}

async fn a_definition_is_found_as_it_was_at_any_time(store: Store) {
    let created = store.collection("books").await;
    let id = created.id;
    let partition = store.coordinator.create_partition(id, "p").await.unwrap();
    let index = store.coordinator.create_index(id, FieldId(101), "vector", params("L2")).await.unwrap();
    let full = store.record(id).await.unwrap();
    store.coordinator.drop_partition(id, "p").await.unwrap();
    store.coordinator.drop_index(id, "vector").await.unwrap();
    let bare = store.record(id).await.unwrap();
    store.coordinator.drop_collection(id).await.unwrap();
    let at = async |ts| store.meta.definition_at(id, ts).await;
    assert_eq!(at(created.created_ts).await.unwrap(), created.definition);
    let with_partition = at(partition.created_ts).await.unwrap();
    assert_eq!((with_partition.partitions.len(), with_partition.indexes.len()), (2, 0));
    assert_eq!(at(full.last_ts).await.unwrap(), full.definition);
    assert_eq!(full.definition.indexes, [index]);
    assert_eq!(at(bare.last_ts).await.unwrap(), created.definition);
    assert_eq!(refusal(at(Timestamp(created.created_ts.0 - 1)).await).0, 100, "before it was created");
    assert_eq!(refusal(at(Timestamp(bare.last_ts.0 + 1)).await).0, 100, "when it was dropped");
}

async fn every_change_of_a_collection_moves_its_clock_and_is_announced(store: Store) {
    let id = store.collection("books").await.id;
    let coordinator = &store.coordinator;
    let mut last = Timestamp::ZERO;
    let mut announced = std::collections::BTreeSet::new();
    for step in 0..8 {
        match step {
            0 => {}
            1 => drop(coordinator.create_partition(id, "p").await.unwrap()),
            2 => drop(coordinator.create_index(id, FieldId(101), "v", params("L2")).await.unwrap()),
            3 => coordinator.set_loaded(id, &[], true).await.unwrap(),
            4 => drop(coordinator.seal_segments(id).await.unwrap()),
            5 => coordinator.drop_index(id, "v").await.unwrap(),
            6 => coordinator.drop_partition(id, "p").await.unwrap(),
            _ => drop(store.insert(id, store.record(id).await.unwrap().partitions[0].id).await),
        }
        let ts = store.meta.last_ts(id).await.unwrap().unwrap();
        assert!(ts > last, "step {step}");
        last = ts;
        tokio::time::timeout(std::time::Duration::from_secs(10), store.meta.outbox_woken()).await.unwrap();
        let mut events = store.meta.next_events(100).await.unwrap();
        let ids: Vec<i64> = events.iter().map(|event| event.id).chain([1]).collect();
        if step == 7 {
            assert!(events.remove(0).subject.starts_with("segment."), "its first row begins a segment");
        }
        assert_eq!(events.len(), 1, "step {step}");
        assert_eq!(events[0].subject, format!("collection.{id}"));
        assert!(announced.insert(events[0].dedup_key.clone()), "step {step}");
        store.meta.delete_events(&ids).await.unwrap();
    }
    assert_eq!(store.meta.next_events(100).await.unwrap(), []);
}

async fn a_coordinator_that_lost_its_epoch_changes_nothing(store: Store) {
    let collection = store.collection("books").await;
    let next = store.meta.take_over(&node("next")).await.unwrap();
    assert!(next.epoch() > store.coordinator.epoch());
    assert_fenced(store.coordinator.create_collection(new_collection("films")).await);
    assert_fenced(store.coordinator.drop_collection(collection.id).await);
    assert_fenced(store.coordinator.create_partition(collection.id, "p").await);
    assert_fenced(store.coordinator.seal_segments(collection.id).await);
    assert_eq!(store.meta.collections("default").await.unwrap(), std::slice::from_ref(&collection));
    next.drop_collection(collection.id).await.unwrap();
}

on_every_store!(
    a_created_collection_is_found_as_it_was_defined,
    collections_are_listed_by_name_each_with_its_own_partitions_and_indexes,
    an_unknown_database_is_refused,
    creating_the_same_collection_again_gives_it_back_and_another_one_is_refused,
    a_dropped_collection_is_gone_and_its_name_is_free_for_another,
    dropping_again_or_something_unknown_changes_nothing,
    a_partition_is_created_once,
    dropping_a_partition_ends_its_files_and_no_others,
    the_default_partition_and_unknown_ones_are_not_dropped,
    a_field_has_at_most_one_index,
    what_is_done_to_a_collection_that_is_not_there_is_refused,
    a_collection_is_loaded_while_one_of_its_partitions_is,
    a_definition_is_found_as_it_was_at_any_time,
    every_change_of_a_collection_moves_its_clock_and_is_announced,
    a_coordinator_that_lost_its_epoch_changes_nothing,
);
