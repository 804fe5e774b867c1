//! Restores that share files, and restores of a part of a snapshot.

use crate::restoring::{
    BOUNDS, assert_nothing_left, assert_quiet, by_name, clone_of, code, content, damage, filled, job, new_restore,
    number, run, snapshot, submit, submit_new,
};
use crate::store::{LATER_MS, Store, deletes_of, node, refusal, rows_of, written};
use elanus_meta::Room;
use elanus_meta::model::{Created, NewRestore, RestoreOptions};
use elanus_types::{CollectionId, ObjectKey, PartitionId, RestoreMode, Timestamp};
use std::collections::BTreeSet;

async fn keys(store: &Store, collection: CollectionId, at: Option<Timestamp>) -> BTreeSet<ObjectKey> {
    let view = store.meta.view(collection, at).await.unwrap();
    view.files.into_iter().flat_map(|file| file.objects).map(|object| object.key).collect()
}

async fn r_4_a_clone_equals_the_source_as_of_the_snapshot_and_shares_every_file(store: Store) {
    let (books, taken) = filled(&store).await;
    let objects = number(&store.url, "SELECT COUNT(*) FROM objects").await;
    let submitted = submit_new(&store.coordinator, clone_of(books, "twin")).await;
    assert_eq!((submitted.state.label(), submitted.options.mode), ("pending", RestoreMode::Clone));
    store.coordinator.plan_job(submitted.id, BOUNDS).await.unwrap();
    assert_eq!(job(&store.meta, submitted.id).await.state.label(), "pending", "a clone is not cut into tasks");
    for _ in 0..2 {
        store.coordinator.clone_job(submitted.id).await.unwrap();
    }
    let done = job(&store.meta, submitted.id).await;
    assert_eq!((done.state.label(), done.percent, done.reason.clone()), ("completed", 100, None));
    assert_eq!((done.files_total, done.files_done, done.bytes_total, done.bytes_done), (10, 10, 10_000, 10_000));

    let source = content(&store.meta, books, Some(taken.create_ts)).await;
    assert_eq!(content(&store.meta, done.target, None).await, source);
    assert_eq!(keys(&store, done.target, None).await, keys(&store, books, Some(taken.create_ts)).await);
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM objects").await, objects, "nothing is written");
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM copy_tasks").await, 0);
    let target = store.record(done.target).await.unwrap();
    assert!(target.last_ts > taken.create_ts, "its clock begins after its rows");
    let statistics = store.meta.statistics(target.id, &[]).await.unwrap();
    assert_eq!((statistics.rows, statistics.files), (60, 10));
    let history = store.meta.history("restore_job", done.id.0).await.unwrap();
    let states: Vec<_> = history.iter().map(|line| line.to_state.as_str()).collect();
    assert_eq!(states, ["pending", "publishing", "completed"]);
    assert_quiet(&store.url).await;
    assert!(store.coordinator.drop_snapshot(books, "s").await.unwrap(), "its pin ended with the job");
}

async fn write(store: &Store, collection: CollectionId) {
    store.clock.advance_ms(5);
    let places = [rows_of(store.record(collection).await.unwrap().partitions[0].id), deletes_of(PartitionId::ALL)];
    let planned = store.meta.begin_write(collection, &node("w1"), LATER_MS, &places).await.unwrap();
    store.commit(collection, &written(&places, planned, 10)).await.unwrap();
}

/// I7 after each step is `assert_quiet`: the references of a file set are its memberships.
async fn i_7_a_clone_lives_like_any_other_collection_and_apart_from_its_source(store: Store) {
    let (books, taken) = filled(&store).await;
    let coordinator = &store.coordinator;
    let source = content(&store.meta, books, Some(taken.create_ts)).await;
    let first = submit_new(coordinator, clone_of(books, "first")).await;
    let first = run(coordinator, first.id).await.target;
    let second = submit_new(coordinator, clone_of(books, "second")).await;
    let second = run(coordinator, second.id).await.target;
    assert_quiet(&store.url).await;
    assert_eq!(number(&store.url, "SELECT MAX(refs) FROM file_sets").await, 3);

    write(&store, first).await;
    coordinator.drop_partition(first, "old").await.unwrap();
    write(&store, books).await;
    assert_eq!(content(&store.meta, second, None).await, source, "what happens to others is not seen");
    assert_eq!(content(&store.meta, books, Some(taken.create_ts)).await, source);
    assert_quiet(&store.url).await;

    // Of a clone: a snapshot, a clone of that, a copy of that.
    let of_first = snapshot(coordinator, first, "s").await;
    write(&store, first).await;
    let expected = content(&store.meta, first, Some(of_first.create_ts)).await;
    for (mode, name) in [(RestoreMode::Clone, "third"), (RestoreMode::Copy, "fourth")] {
        let new = NewRestore { options: RestoreOptions::whole(mode), ..new_restore(first, name) };
        let id = submit_new(coordinator, new).await.id;
        let done = run(coordinator, id).await;
        assert_eq!(done.state.label(), "completed");
        assert_eq!(content(&store.meta, done.target, None).await, expected, "{name}");
        assert_quiet(&store.url).await;
    }

    // The source goes.
    assert!(coordinator.drop_snapshot(books, "s").await.unwrap());
    coordinator.drop_collection(books).await.unwrap();
    assert!(coordinator.drop_snapshot(first, "s").await.unwrap());
    coordinator.drop_collection(first).await.unwrap();
    assert_eq!(content(&store.meta, second, None).await, source);
    let third = by_name(&store.meta, "third").await.unwrap();
    assert_eq!(content(&store.meta, third, None).await, expected);
    write(&store, third).await;
    for object in store.meta.known_objects(None, 1_000).await.unwrap() {
        assert!(["live", "queued"].contains(&object.file_set_state.as_str()), "{object:?}");
    }
    assert_eq!(coordinator.claim_unneeded(Room::Any(100)).await.unwrap().file_sets, 0);
    assert_quiet(&store.url).await;
}

async fn a_pending_clone_goes_on_when_its_source_is_dropped(store: Store) {
    let (books, taken) = filled(&store).await;
    let source = content(&store.meta, books, Some(taken.create_ts)).await;
    let id = submit_new(&store.coordinator, clone_of(books, "twin")).await.id;
    store.coordinator.drop_collection(books).await.unwrap();
    let done = run(&store.coordinator, id).await;
    assert_eq!(content(&store.meta, done.target, None).await, source);
    assert_quiet(&store.url).await;
}

async fn r_1_r_2_a_clone_of_what_is_not_live_writes_nothing_and_fails(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    let id = submit_new(coordinator, clone_of(books, "twin")).await.id;
    damage(
        &store.url,
        "UPDATE file_sets SET state = 'queued', refs = 0, not_before_ms = 0, reason = 'released' \
         WHERE file_set_id IN (SELECT file_set_id FROM memberships ORDER BY added_ts LIMIT 1)",
    )
    .await;
    let segments = number(&store.url, "SELECT COUNT(*) FROM segments").await;
    let text = "9 of 10 files that the snapshot needs are live".to_owned();
    assert_eq!(refusal(coordinator.clone_job(id).await), (5, text.clone()));
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM segments").await, segments);
    assert_eq!(job(&store.meta, id).await.state.label(), "pending");
    assert_eq!(by_name(&store.meta, "twin").await, None);
    assert_eq!(coordinator.fail_job(id, &text).await.unwrap(), []);
    coordinator.clone_job(id).await.unwrap();
    let failed = run(coordinator, id).await;
    assert_eq!((failed.state.label(), failed.reason), ("failed", Some(text)));
    assert_nothing_left(&store, "twin").await;
}

async fn r_2_a_clone_that_is_cancelled_in_time_leaves_nothing_and_later_is_refused(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    let id = submit_new(coordinator, clone_of(books, "twin")).await.id;
    coordinator.cancel_job(id).await.unwrap();
    assert_eq!(run(coordinator, id).await.state.label(), "failed");
    assert_nothing_left(&store, "twin").await;
    let id = submit_new(coordinator, clone_of(books, "twin")).await.id;
    coordinator.clone_job(id).await.unwrap();
    assert_eq!(code(coordinator.cancel_job(id).await), 1100);
}

async fn an_empty_snapshot_is_cloned(store: Store) {
    let books = store.collection("books").await;
    let taken = snapshot(&store.coordinator, books.id, "s").await;
    let id = submit_new(&store.coordinator, clone_of(books.id, "twin")).await.id;
    let done = run(&store.coordinator, id).await;
    assert_eq!((done.state.label(), done.percent, done.files_total), ("completed", 100, 0));
    let source = content(&store.meta, books.id, Some(taken.create_ts)).await;
    assert_eq!(content(&store.meta, done.target, None).await, source);
}

async fn only_the_named_partitions_are_restored_in_either_mode(store: Store) {
    let (books, taken) = filled(&store).await;
    let coordinator = &store.coordinator;
    let whole = content(&store.meta, books, Some(taken.create_ts)).await;
    for mode in RestoreMode::ALL {
        for (n, (named, there, indexes)) in [
            (&["old"][..], &["_default", "old"][..], true),
            (&["_default"], &["_default"], false),
            (&["old", "_default", "old"], &["_default", "old"], true),
            (&[], &["_default", "old"], false),
        ]
        .into_iter()
        .enumerate()
        {
            let partitions = named.iter().map(|name| (*name).to_owned()).collect();
            let options = RestoreOptions { mode, partitions, with_indexes: indexes, keeps_ages: false };
            let new = NewRestore { options, ..new_restore(books, &format!("part_{mode}_{n}")) };
            let submitted = submit_new(coordinator, new.clone()).await;
            match coordinator.submit_restore(new.clone()).await.unwrap() {
                Created::Joined(job) => assert_eq!(job, submitted, "the same request again"),
                Created::New(job) => panic!("{job:?}"),
            }
            let otherwise = RestoreOptions { with_indexes: !indexes, ..new.options.clone() };
            let other = coordinator.submit_restore(NewRestore { options: otherwise, ..new }).await;
            assert_eq!(code(other), 1100, "the name is reserved for another wish");

            let done = run(coordinator, submitted.id).await;
            assert_eq!(done.state.label(), "completed", "{mode} {named:?}");
            let target = store.record(done.target).await.unwrap();
            let names: Vec<_> = target.partitions.iter().map(|partition| partition.name.as_str()).collect();
            assert_eq!(names, there, "{mode} {named:?}");
            let expected = whole.only(if named.is_empty() { there } else { named }, there, indexes);
            assert_eq!(content(&store.meta, target.id, None).await, expected, "{mode} {named:?}");
            assert_eq!(done.files_total as usize, store.meta.view(target.id, None).await.unwrap().files.len());
            assert_quiet(&store.url).await;
        }
    }
}

async fn a_partition_that_the_snapshot_has_not_is_refused_with_those_that_it_has(store: Store) {
    let (books, _) = filled(&store).await;
    // "new" came after the snapshot, "gone" went before it.
    for name in ["new", "gone", "never"] {
        let options = RestoreOptions { partitions: vec!["old".into(), name.into()], ..clone_of(books, "x").options };
        let new = NewRestore { options, ..clone_of(books, "x") };
        let text = format!("partition not found[partition={name}]: the snapshot has _default, old");
        assert_eq!(refusal(store.coordinator.submit_restore(new).await), (200, text));
    }
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM restore_jobs").await, 0);
    let id = submit(&store.coordinator, books, "x").await.id;
    assert_eq!(run(&store.coordinator, id).await.state.label(), "completed", "the name is free");
}

on_every_store!(
    r_4_a_clone_equals_the_source_as_of_the_snapshot_and_shares_every_file,
    i_7_a_clone_lives_like_any_other_collection_and_apart_from_its_source,
    a_pending_clone_goes_on_when_its_source_is_dropped,
    r_1_r_2_a_clone_of_what_is_not_live_writes_nothing_and_fails,
    r_2_a_clone_that_is_cancelled_in_time_leaves_nothing_and_later_is_refused,
    an_empty_snapshot_is_cloned,
    only_the_named_partitions_are_restored_in_either_mode,
    a_partition_that_the_snapshot_has_not_is_refused_with_those_that_it_has,
);
