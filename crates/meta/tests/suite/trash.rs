//! The trash.

use crate::restoring::{code, content, filled, snapshot};
use crate::store::{LATER_MS, START_MS, Store, refusal};
use elanus_meta::model::CollectionKey;
use elanus_types::Clock as _;

const UNTIL_MS: i64 = START_MS + 100_000;

async fn a_dropped_collection_comes_back_as_it_was_with_its_snapshots_and_pins(store: Store) {
    let (id, record) = filled(&store).await;
    let (meta, coordinator) = (&store.meta, &store.coordinator);
    coordinator.set_loaded(id, &[], true).await.unwrap();
    let pin = coordinator.pin_snapshot(id, "s", "me", 0).await.unwrap();
    let now = content(meta, id, None).await;
    let before = store.record(id).await.unwrap();
    coordinator.trash_collection(id, UNTIL_MS).await.unwrap();

    // It is gone from everything else.
    assert_eq!(store.record(id).await, None);
    assert_eq!(code(meta.snapshots(id).await), 100);
    assert_eq!(code(meta.snapshot(id, "s").await), 100);
    assert_eq!(code(coordinator.pin_snapshot(id, "s", "me", 0).await), 100);
    assert_eq!(meta.changes(id, record.create_ts).await.unwrap(), None);
    let trash = meta.trash("default").await.unwrap();
    assert_eq!(trash.len(), 1);
    let one = &trash[0];
    assert_eq!((one.id, one.name.as_str(), one.until_ms, one.snapshots), (id, "books", UNTIL_MS, 1));
    assert!(one.dropped_ts > before.last_ts && one.rows > 0 && one.bytes > 0);
    coordinator.trash_collection(id, LATER_MS).await.unwrap();
    assert_eq!(meta.trash("default").await.unwrap(), trash, "a repeated drop changes nothing");

    let back = coordinator.restore_from_trash(id, None).await.unwrap();
    assert!(back.loaded && back.last_ts > one.dropped_ts);
    assert_eq!((back.id, &back.name, &back.definition), (id, &before.name, &before.definition));
    assert_eq!(content(meta, id, None).await, now);
    assert_eq!(meta.snapshots(id).await.unwrap()[0].live_pins, 1);
    assert_eq!(meta.pins(record.id).await.unwrap(), [pin]);
    assert_eq!(meta.trash("default").await.unwrap(), []);
    assert_eq!(coordinator.restore_from_trash(id, None).await.unwrap(), back, "a repeat finds it");
    assert_eq!(refusal(coordinator.restore_from_trash(id, Some("other")).await).0, 100);
    store.insert(id, before.partitions[0].id).await;
}

async fn a_name_that_was_taken_meanwhile_is_refused_and_another_can_be_given(store: Store) {
    let (id, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    coordinator.trash_collection(id, UNTIL_MS).await.unwrap();
    let newer = store.collection("books").await.id;
    let (number, text) = refusal(coordinator.restore_from_trash(id, None).await);
    assert!(number == 1100 && text.contains("books already exists"), "{text}");
    let back = coordinator.restore_from_trash(id, Some("books2")).await.unwrap();
    assert_eq!((back.id, back.name.as_str()), (id, "books2"));
    assert_eq!(code(coordinator.restore_from_trash(newer, Some("x")).await), 100, "it is not in the trash");

    // Two of one name, oldest drop first.
    coordinator.trash_collection(newer, UNTIL_MS).await.unwrap();
    let newest = store.collection("books").await.id;
    coordinator.trash_collection(newest, UNTIL_MS).await.unwrap();
    let ids: Vec<_> = store.meta.trash("default").await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(ids, [newer, newest]);
    assert_eq!(code(store.meta.trash("nowhere").await), 800);
}

async fn after_its_retention_nothing_comes_back(store: Store) {
    let (id, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    coordinator.trash_collection(id, UNTIL_MS).await.unwrap();
    store.clock.advance_ms(UNTIL_MS - 1 - store.clock.now_ms());
    assert_eq!(store.meta.trash("default").await.unwrap().len(), 1);
    store.clock.advance_ms(1);
    assert_eq!(store.meta.trash("default").await.unwrap(), []);
    assert_eq!(code(coordinator.restore_from_trash(id, None).await), 100);
    coordinator.purge_from_trash(id).await.unwrap();

    let other = store.collection("other").await.id;
    coordinator.drop_collection(other).await.unwrap();
    assert_eq!(store.meta.trash("default").await.unwrap(), [], "dropped without retention");
    assert_eq!(code(coordinator.restore_from_trash(other, None).await), 100);
}

async fn what_is_purged_is_neither_listed_nor_restored(store: Store) {
    let (id, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    assert_eq!(code(coordinator.purge_from_trash(id).await), 100, "it is live");
    let pin = coordinator.pin_snapshot(id, "s", "me", 0).await.unwrap();
    coordinator.trash_collection(id, UNTIL_MS).await.unwrap();
    assert_eq!(code(coordinator.purge_from_trash(id).await), 2601);
    coordinator.unpin(pin.id).await.unwrap();
    for _ in 0..2 {
        coordinator.purge_from_trash(id).await.unwrap();
        assert_eq!(store.meta.trash("default").await.unwrap(), []);
        assert_eq!(code(coordinator.restore_from_trash(id, None).await), 100);
    }
    let key = CollectionKey::Name { database: "default".to_owned(), name: "books".to_owned() };
    assert_eq!(store.meta.collection(&key).await.unwrap(), None);
    let events: Vec<String> =
        store.meta.history("collection", id.0).await.unwrap().into_iter().map(|one| one.event).collect();
    assert_eq!(events, ["purge"]);
}

async fn what_came_back_can_be_dropped_and_come_back_again(store: Store) {
    let (id, _) = filled(&store).await;
    snapshot(&store.coordinator, id, "t").await;
    let then = content(&store.meta, id, None).await;
    for _ in 0..3 {
        store.coordinator.trash_collection(id, UNTIL_MS).await.unwrap();
        store.coordinator.restore_from_trash(id, None).await.unwrap();
        assert_eq!(content(&store.meta, id, None).await, then);
        assert_eq!(store.meta.snapshots(id).await.unwrap().len(), 2);
    }
}

on_every_store!(
    a_dropped_collection_comes_back_as_it_was_with_its_snapshots_and_pins,
    a_name_that_was_taken_meanwhile_is_refused_and_another_can_be_given,
    after_its_retention_nothing_comes_back,
    what_is_purged_is_neither_listed_nor_restored,
    what_came_back_can_be_dropped_and_come_back_again,
);
