//! What is put in the outbox with its fact, and how much of it waits.

use crate::store::{LATER_MS, Store, deletes_of, rows_of};
use elanus_meta::model::OutboxEvent;
use elanus_types::set_traceparent_source;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Subjects without ids, and what the segment or the collector did.
fn told(events: &[OutboxEvent]) -> Vec<String> {
    let one = |event: &OutboxEvent| {
        let payload: serde_json::Value = serde_json::from_str(&event.payload_json).unwrap();
        let what = ["to", "action"].iter().find_map(|name| payload[name].as_str()).unwrap_or_default().to_owned();
        format!("{} {what}", event.subject.split_once('.').unwrap().0)
    };
    events.iter().map(one).collect()
}

async fn taken(store: &Store) -> Vec<OutboxEvent> {
    let events = store.meta.next_events(100).await.unwrap();
    store.meta.delete_events(&events.iter().map(|event| event.id).collect::<Vec<_>>()).await.unwrap();
    events
}

async fn a_segment_is_told_when_it_begins_and_when_it_is_closed(store: Store) {
    let collection = store.collection("books").await;
    let partition = collection.partitions[0].id;
    taken(&store).await;
    store.insert(collection.id, partition).await;
    assert_eq!(told(&taken(&store).await), ["segment growing", "collection "]);
    store.insert(collection.id, partition).await;
    assert_eq!(told(&taken(&store).await), ["collection "], "not with every write");
    let places = [rows_of(partition), deletes_of(partition)];
    let files = store.begin(collection.id, &places).await;
    store.commit(collection.id, &files).await.unwrap();
    assert_eq!(told(&taken(&store).await), ["segment growing", "collection "]);

    store.coordinator.seal_segments(collection.id).await.unwrap();
    let closed = taken(&store).await;
    assert_eq!(told(&closed), ["segment flushed", "segment flushed", "collection "]);
    let keys: std::collections::BTreeSet<_> = closed.iter().map(|event| &event.dedup_key).collect();
    assert_eq!(keys.len(), 3);

    store.insert(collection.id, partition).await;
    taken(&store).await;
    store.clock.advance_ms(1_000);
    let now = elanus_types::Timestamp::from_ms(store.meta.clock().now_ms());
    assert_eq!(store.coordinator.seal_idle_segments(now).await.unwrap(), 1);
    assert_eq!(told(&taken(&store).await), ["segment flushed"]);
    // A file that fills its segment closes it.
    let mut files = store.begin(collection.id, &[rows_of(partition)]).await;
    files[0].rows = 1_000_000;
    store.commit(collection.id, &files).await.unwrap();
    assert_eq!(told(&taken(&store).await), ["segment growing", "segment flushed", "collection "]);
}

async fn what_is_done_to_the_collector_is_told(store: Store) {
    taken(&store).await;
    store.coordinator.pause_gc(None, LATER_MS, "me").await.unwrap();
    let paused = taken(&store).await;
    assert_eq!(told(&paused), ["gc pause"]);
    let line = &store.meta.gc_audit(None, None, 1).await.unwrap()[0];
    assert_eq!(paused[0].subject, format!("gc.{}", line.id), "the line of the audit trail");
    let payload: serde_json::Value = serde_json::from_str(&paused[0].payload_json).unwrap();
    assert_eq!((&payload["actor"], &payload["objects"]), (&"me".into(), &serde_json::Value::Null));
}

async fn an_event_keeps_the_trace_of_its_cause(store: Store) {
    set_traceparent_source(|| Some(TRACEPARENT.to_owned()));
    taken(&store).await;
    store.collection("books").await;
    assert_eq!(taken(&store).await[0].traceparent.as_deref(), Some(TRACEPARENT));
}

async fn the_newest_events_wait_and_the_oldest_are_forgotten(store: Store) {
    let collection = store.collection("books").await;
    for _ in 0..6 {
        store.coordinator.seal_segments(collection.id).await.unwrap();
    }
    let before = store.meta.next_events(100).await.unwrap();
    let number = u32::try_from(before.len()).unwrap();
    for keep in [number, number + 1, u32::MAX] {
        assert_eq!(store.meta.trim_events(keep).await.unwrap(), 0);
    }
    assert_eq!(store.meta.trim_events(3).await.unwrap(), u64::from(number) - 3);
    assert_eq!(store.meta.next_events(100).await.unwrap(), before[before.len() - 3..]);
    assert_eq!(store.meta.trim_events(0).await.unwrap(), 3);
    assert_eq!(store.meta.next_events(100).await.unwrap(), []);
}

on_every_store![
    a_segment_is_told_when_it_begins_and_when_it_is_closed,
    what_is_done_to_the_collector_is_told,
    an_event_keeps_the_trace_of_its_cause,
    the_newest_events_wait_and_the_oldest_are_forgotten,
];
