//! The end of all rows of a collection.

use crate::restoring::{assert_quiet, clone_of, content, filled, number, run, submit_new};
use crate::rollback::roll_back;
use crate::store::{Store, refusal, rows_of};
use elanus_types::CollectionId;

async fn no_row_is_left_and_snapshots_restores_and_rollbacks_have_what_was(store: Store) {
    let (books, taken) = filled(&store).await;
    let then = content(&store.meta, books, Some(taken.create_ts)).await;
    let definition = store.record(books).await.unwrap().definition;
    let last = store.meta.last_ts(books).await.unwrap().unwrap();
    assert!(store.coordinator.truncate_collection(books).await.unwrap() > 0);
    assert!(store.members(books, None).await.is_empty());
    assert_eq!(store.meta.statistics(books, &[]).await.unwrap().rows, 0);
    let record = store.record(books).await.unwrap();
    assert_eq!(record.definition, definition);
    let changes = store.meta.changes(books, last).await.unwrap().unwrap();
    assert!(!changes.removed.is_empty() && changes.added.is_empty() && !changes.redefined);
    assert_quiet(&store.url).await;
    let open = "SELECT COUNT(*) FROM segments WHERE state <> 'dropped'";
    assert_eq!(number(&store.url, open).await, 0);

    assert_eq!(content(&store.meta, books, Some(taken.create_ts)).await, then, "S-1");
    let job = submit_new(&store.coordinator, clone_of(books, "twin")).await;
    let done = run(&store.coordinator, job.id).await;
    assert_eq!(content(&store.meta, done.target, None).await, then);
    let (file, _) = store.insert(books, record.partitions[0].id).await;
    assert_eq!(store.members(books, None).await, [file].into());
    assert_eq!(store.coordinator.truncate_collection(books).await.unwrap(), 1);
    assert_eq!(store.coordinator.truncate_collection(books).await.unwrap(), 0, "nothing is left to end");
    roll_back(&store, books, "s").await;
    assert_eq!(store.members(books, None).await.len(), store.members(books, Some(taken.create_ts)).await.len());
}

async fn a_file_that_was_planned_before_is_committed_after(store: Store) {
    let books = store.collection("books").await;
    let files = store.begin(books.id, &[rows_of(books.partitions[0].id)]).await;
    store.insert(books.id, books.partitions[0].id).await;
    assert_eq!(store.coordinator.truncate_collection(books.id).await.unwrap(), 1);
    store.commit(books.id, &files).await.unwrap();
    assert_eq!(store.members(books.id, None).await, [files[0].planned.file_set].into());
    assert_quiet(&store.url).await;
}

async fn what_is_not_there_is_not_emptied(store: Store) {
    assert_eq!(refusal(store.coordinator.truncate_collection(CollectionId(77)).await).0, 100);
}

on_every_store!(
    no_row_is_left_and_snapshots_restores_and_rollbacks_have_what_was,
    a_file_that_was_planned_before_is_committed_after,
    what_is_not_there_is_not_emptied,
);
