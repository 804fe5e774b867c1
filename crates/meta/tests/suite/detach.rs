//! Detach: a collection that shares files gets copies of its own.

use crate::restoring::{
    BOUNDS, assert_quiet, claim_all, clone_of, content, filled, finish_all, job, number, round, run, snapshot,
    submit_new, sweep,
};
use crate::store::{LATER_MS, Store, refusal, rows_of};
use elanus_meta::model::{CleanUp, Created, JobKind, JobRecord};
use elanus_types::{CollectionId, FileSetId, Timestamp};
use std::collections::BTreeSet;

/// The source with its snapshot's time, and a clone of it.
async fn cloned(store: &Store) -> (CollectionId, Timestamp, CollectionId) {
    let (books, taken) = filled(store).await;
    let twin = submit_new(&store.coordinator, clone_of(books, "twin")).await;
    (books, taken.create_ts, run(&store.coordinator, twin.id).await.target)
}

async fn detach(store: &Store, collection: CollectionId) -> JobRecord {
    match store.coordinator.submit_detach(collection, LATER_MS).await.unwrap() {
        Created::New(job) => job,
        Created::Joined(job) => panic!("joined {job:?}"),
    }
}

/// File sets that a collection holds, now or at a time, and another one has as well.
async fn shared(store: &Store, one: (CollectionId, Option<Timestamp>), other: CollectionId) -> BTreeSet<FileSetId> {
    let of_one = store.members(one.0, one.1).await;
    of_one.intersection(&store.members(other, None).await).copied().collect()
}

async fn dt_1_a_detached_clone_holds_the_same_and_shares_nothing(store: Store) {
    let (books, _, twin) = cloned(&store).await;
    let before = content(&store.meta, twin, None).await;
    let (segments, last_ts) = {
        let view = store.meta.view(twin, None).await.unwrap();
        (view.files.iter().map(|file| file.segment).collect::<BTreeSet<_>>(), view.ts)
    };
    assert!(!shared(&store, (twin, None), books).await.is_empty());

    let submitted = detach(&store, twin).await;
    assert_eq!((submitted.kind, submitted.source, submitted.target), (JobKind::Detach, twin, twin));
    let again = store.coordinator.submit_detach(twin, LATER_MS).await.unwrap();
    assert!(matches!(again, Created::Joined(ref job) if job.id == submitted.id), "{again:?}");
    let done = run(&store.coordinator, submitted.id).await;
    assert_eq!((done.state.label(), done.percent, done.files_total, done.files_done), ("completed", 100, 10, 10));

    assert_eq!(content(&store.meta, twin, None).await, before);
    let view = store.meta.view(twin, None).await.unwrap();
    assert_eq!(view.files.iter().map(|file| file.segment).collect::<BTreeSet<_>>(), segments);
    assert!(shared(&store, (twin, None), books).await.is_empty());
    // A reader that follows the collection sees as many files come as go, at one time.
    let changes = store.meta.changes(twin, last_ts).await.unwrap().unwrap();
    assert_eq!((changes.added.len(), changes.removed.len(), changes.redefined), (10, 10, false));
    assert_quiet(&store.url).await;

    let nothing_more = detach(&store, twin).await;
    let done = run(&store.coordinator, nothing_more.id).await;
    assert_eq!((done.state.label(), done.files_total), ("completed", 0), "it shares nothing any more");
}

async fn dt_2_snapshots_hold_what_they_held(store: Store) {
    let (books, _, twin) = cloned(&store).await;
    let older = snapshot(&store.coordinator, twin, "older").await.create_ts;
    let of_older = content(&store.meta, twin, Some(older)).await;
    let members = store.members(twin, Some(older)).await;

    let id = detach(&store, twin).await.id;
    store.coordinator.plan_job(id, BOUNDS).await.unwrap();
    let meanwhile = snapshot(&store.coordinator, twin, "meanwhile").await.create_ts;
    run(&store.coordinator, id).await;
    let newer = snapshot(&store.coordinator, twin, "newer").await.create_ts;

    assert_eq!(store.members(twin, Some(older)).await, members, "the very files");
    assert_eq!(store.members(twin, Some(meanwhile)).await, members);
    assert_eq!(shared(&store, (twin, Some(newer)), books).await, BTreeSet::new());
    for at in [older, meanwhile, newer] {
        assert_eq!(content(&store.meta, twin, Some(at)).await, of_older);
    }
    assert_quiet(&store.url).await;

    // A rollback shares again, and a detach after it ends that.
    let to = store.meta.snapshot(twin, "older").await.unwrap().unwrap();
    let safety = snapshot(&store.coordinator, twin, "safety").await;
    store.coordinator.commit_rollback(twin, to.id, safety.id).await.unwrap().unwrap();
    assert!(!shared(&store, (twin, None), books).await.is_empty());
    let id = detach(&store, twin).await.id;
    run(&store.coordinator, id).await;
    assert!(shared(&store, (twin, None), books).await.is_empty());
    assert_quiet(&store.url).await;
}

async fn dt_3_what_leaves_meanwhile_stays_away_and_what_comes_stays(store: Store) {
    let (books, _, twin) = cloned(&store).await;
    let coordinator = &store.coordinator;
    let id = detach(&store, twin).await.id;
    coordinator.plan_job(id, BOUNDS).await.unwrap();
    claim_all(coordinator, "n1").await.unwrap();
    finish_all(coordinator).await.unwrap();

    coordinator.drop_partition(twin, "old").await.unwrap();
    store.clock.advance_ms(5);
    let partition = store.record(twin).await.unwrap().partitions[0].id;
    let (added, _) = store.insert(twin, partition).await;
    let expected = content(&store.meta, twin, None).await;

    let done = run(coordinator, id).await;
    assert_eq!(done.state.label(), "completed");
    assert_eq!(content(&store.meta, twin, None).await, expected);
    assert!(store.members(twin, None).await.contains(&added));
    assert!(shared(&store, (twin, None), books).await.is_empty());
    assert!(sweep(coordinator).await.unwrap() > 0, "copies of what left are deleted");
    assert_quiet(&store.url).await;
}

async fn dt_4_a_detach_that_does_not_end_well_changes_nothing(store: Store) {
    let (_, _, twin) = cloned(&store).await;
    let coordinator = &store.coordinator;
    let (before, members) = (content(&store.meta, twin, None).await, store.members(twin, None).await);
    let last_ts = store.meta.last_ts(twin).await.unwrap();
    for stage in 0..3 {
        let id = detach(&store, twin).await.id;
        if stage > 0 {
            coordinator.plan_job(id, BOUNDS).await.unwrap();
            claim_all(coordinator, "n1").await.unwrap();
        }
        if stage > 1 {
            finish_all(coordinator).await.unwrap();
        }
        coordinator.cancel_job(id).await.unwrap();
        coordinator.workers_stopped(id).await.unwrap();
        let done = run(coordinator, id).await;
        assert_eq!((done.state.label(), done.reason.as_deref()), ("failed", Some("cancelled")), "stage {stage}");
        assert_eq!(content(&store.meta, twin, None).await, before);
        assert_eq!(
            (store.members(twin, None).await, store.meta.last_ts(twin).await.unwrap()),
            (members.clone(), last_ts)
        );
        assert_quiet(&store.url).await;
    }
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM copy_items").await, 0);

    // Dropped meanwhile: nothing is published into it.
    let id = detach(&store, twin).await.id;
    coordinator.plan_job(id, BOUNDS).await.unwrap();
    claim_all(coordinator, "n1").await.unwrap();
    finish_all(coordinator).await.unwrap();
    coordinator.drop_collection(twin).await.unwrap();
    let done = run(coordinator, id).await;
    assert_eq!(done.state.label(), "failed");
    assert!(done.reason.unwrap().contains("was dropped meanwhile"));
    assert_eq!(coordinator.clean_up_job(id).await.unwrap(), CleanUp::Done);
    assert_quiet(&store.url).await;
    assert_eq!(refusal(coordinator.submit_detach(twin, LATER_MS).await).0, 100);
}

async fn a_detach_between_writes_of_a_growing_segment_disturbs_no_writer(store: Store) {
    let (_, _, twin) = cloned(&store).await;
    let partition = store.record(twin).await.unwrap().partitions[0].id;
    let began = store.begin(twin, &[rows_of(partition)]).await;
    let id = detach(&store, twin).await.id;
    while !round(&store.coordinator, id, "n1").await.unwrap() {}
    assert_eq!(job(&store.meta, id).await.state.label(), "completed");
    store.commit(twin, &began).await.unwrap();
    assert!(store.members(twin, None).await.contains(&began[0].planned.file_set));
    assert_quiet(&store.url).await;
}

on_every_store! {
    dt_1_a_detached_clone_holds_the_same_and_shares_nothing,
    dt_2_snapshots_hold_what_they_held,
    dt_3_what_leaves_meanwhile_stays_away_and_what_comes_stays,
    dt_4_a_detach_that_does_not_end_well_changes_nothing,
    a_detach_between_writes_of_a_growing_segment_disturbs_no_writer,
}
