//! The first run of another collector than the last one deletes nothing.

use crate::restoring::{damage, number};
use crate::store::{Store, node};
use elanus_meta::{Coordinator, FirstRun, NewStart, Progress, Room};
use elanus_types::RootHold;

const HOUR_MS: i64 = 3_600_000;

async fn begin(coordinator: &Coordinator, program: &str) -> Option<FirstRun> {
    coordinator.begin_collecting(program, HOUR_MS).await.unwrap()
}

/// A store with two objects that are due.
async fn with_garbage(store: &Store) -> Coordinator {
    let coordinator = store.coordinator.clone().with_drop_tolerance(0);
    let books = store.collection("books").await;
    store.insert(books.id, books.partitions[0].id).await;
    store.coordinator.seal_segments(books.id).await.unwrap();
    store.insert(books.id, books.partitions[0].id).await;
    coordinator.drop_collection(books.id).await.unwrap();
    while coordinator.release_collection(books.id, 10).await.unwrap() != Progress::Done {}
    assert!(store.meta.is_anything_due().await.unwrap());
    coordinator
}

async fn claimed(coordinator: &Coordinator) -> u64 {
    coordinator.claim_unneeded(Room::Any(10)).await.unwrap().file_sets
}

async fn fr_3_fr_4_the_first_collector_of_a_store_and_the_same_one_again_begin_at_once(store: Store) {
    let coordinator = with_garbage(&store).await;
    assert_eq!(begin(&coordinator, "elanus 1").await, None, "FR-4: nobody collected before");
    assert_eq!(begin(&coordinator, "elanus 1").await, None, "FR-3");
    let other = store.meta.take_over(&node("other")).await.unwrap();
    assert_eq!(begin(&other, "elanus 1").await, None, "FR-3: a takeover within the cluster");
    assert_eq!(claimed(&other).await, 2);
}

async fn fr_1_fr_2_another_program_writes_a_plan_and_deletes_after_a_time(store: Store) {
    let coordinator = with_garbage(&store).await;
    begin(&coordinator, "elanus 1").await;
    let first = begin(&coordinator, "elanus 2").await.expect("another version");
    assert_eq!((first.plan.file_sets, first.plan.objects), (2, 2));
    assert!(first.why.contains("elanus 2") && first.why.contains("elanus 1"), "{}", first.why);
    let pauses = store.meta.gc_pauses().await.unwrap();
    assert_eq!(pauses, std::slice::from_ref(&first.pause));
    assert_eq!((pauses[0].plan, pauses[0].collection), (Some(first.plan.id), None));
    assert_eq!(store.meta.plan_items(first.plan.id, None, 10).await.unwrap().len(), 2);
    let audit = store.meta.gc_audit(None, None, 10).await.unwrap();
    assert!(audit.iter().any(|line| line.action == "dry run" && line.detail.contains("2 objects")), "{audit:?}");
    let gauges = store.meta.gauges(elanus_meta::scans::OrphanRule { gap_ms: 0, age_ms: 0 }).await.unwrap();
    assert_eq!(gauges.first_run, 2);

    assert!(!store.meta.is_anything_due().await.unwrap());
    assert_eq!(claimed(&coordinator).await, 0, "FR-1");
    assert_eq!(begin(&coordinator, "elanus 2").await, None, "it is asked once, also after a restart");
    store.clock.advance_ms(HOUR_MS - 1);
    assert_eq!(claimed(&coordinator).await, 0);
    store.clock.advance_ms(1);
    assert_eq!(claimed(&coordinator).await, 2, "FR-2: put off, never off");
}

async fn fr_2_a_first_run_is_answered_with_its_plan_or_the_end_of_its_pause(store: Store) {
    let coordinator = with_garbage(&store).await;
    begin(&coordinator, "elanus 1").await;
    let first = begin(&coordinator, "elanus 2").await.unwrap();
    let second = begin(&coordinator, "elanus 1").await.expect("and back again");
    let pauses = store.meta.gc_pauses().await.unwrap();
    assert_eq!(pauses, std::slice::from_ref(&second.pause), "one pause, that of the last change");
    assert_ne!(first.plan.id, second.plan.id);
    assert_eq!(coordinator.resume_gc(Some(second.pause.id), None, "ada").await.unwrap(), 1);
    assert!(store.meta.is_anything_due().await.unwrap());

    let third = begin(&coordinator, "elanus 3").await.unwrap();
    coordinator.begin_apply(third.plan.id, "ada").await.unwrap();
    assert_eq!(store.meta.gc_pauses().await.unwrap(), []);
    assert_eq!(coordinator.claim_unneeded(Room::Plan(third.plan.id, 10)).await.unwrap().file_sets, 2);
}

async fn fr_1_what_follows_a_hold_of_the_root_path_is_dry_too(store: Store) {
    let coordinator = with_garbage(&store).await;
    begin(&coordinator, "elanus 1").await;
    let b = node("b");
    let start = NewStart { hold: Some(RootHold::Quarantined), ..NewStart::of(&b) };
    let (forced, _) = store.meta.take_over_root(start).await.unwrap();
    let first = begin(&forced, "elanus 1").await.expect("the same program, after a takeover by force");
    assert!(first.why.contains("hold"), "{}", first.why);
    assert_eq!(claimed(&forced).await, 0);
    assert_eq!(begin(&forced, "elanus 1").await, None, "once");
}

async fn an_operator_may_do_without(store: Store) {
    let coordinator = with_garbage(&store).await;
    begin(&coordinator, "elanus 1").await;
    assert_eq!(coordinator.begin_collecting("elanus 2", 0).await.unwrap(), None);
    assert_eq!(claimed(&coordinator).await, 2);
}

async fn fr_1_a_store_of_before_there_was_a_note_was_collected_by_somebody(store: Store) {
    let coordinator = with_garbage(&store).await;
    damage(&store.url, "UPDATE gc_program SET program = 'an earlier version'").await;
    let first = begin(&coordinator, "elanus 1").await.expect("as the migration leaves it");
    assert!(first.why.ends_with("after an earlier version"), "{}", first.why);
    assert_eq!(
        number(&store.url, "SELECT COUNT(*) FROM gc_program WHERE program LIKE 'elanus 1, metadata format %'").await,
        1
    );
}

on_every_store! {
    fr_3_fr_4_the_first_collector_of_a_store_and_the_same_one_again_begin_at_once,
    fr_1_fr_2_another_program_writes_a_plan_and_deletes_after_a_time,
    fr_2_a_first_run_is_answered_with_its_plan_or_the_end_of_its_pause,
    fr_1_what_follows_a_hold_of_the_root_path_is_dry_too,
    an_operator_may_do_without,
    fr_1_a_store_of_before_there_was_a_note_was_collected_by_somebody,
}
