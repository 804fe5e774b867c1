//! How long the metadata work of a restore takes. Ignored by default, because it says nothing but numbers:
//! `cargo test -p elanus-meta --test suite -- --ignored --nocapture scale`.

#![allow(clippy::print_stdout, reason = "the numbers are the result")]

use crate::restoring::{assert_quiet, claim_all, clone_of, finish_all, job, snapshot, submit_new};
use crate::store::{LATER_MS, Store, rows_of};
use elanus_meta::model::{Created, TaskBounds};
use elanus_types::CollectionId;
use std::time::{Duration, Instant};

/// Files of one commit.
const BATCH: usize = 1_000;
/// What a clone of 100,000 files may take, on a slow machine and without optimisation.
const CLONE_MAX: Duration = Duration::from_secs(5);

async fn filled(store: &Store, files: usize) -> CollectionId {
    let books = store.collection("books").await;
    let partition = books.partitions[0].id;
    for _ in 0..files / BATCH {
        let written = store.begin(books.id, &vec![rows_of(partition); BATCH]).await;
        store.commit(books.id, &written).await.unwrap();
    }
    snapshot(&store.coordinator, books.id, "s").await;
    books.id
}

async fn clone_of_files(files: usize) -> Duration {
    let store = Store::sqlite().await;
    let books = filled(&store, files).await;
    let id = submit_new(&store.coordinator, clone_of(books, "twin")).await.id;
    let start = Instant::now();
    store.coordinator.clone_job(id).await.unwrap();
    let took = start.elapsed();
    let done = job(&store.meta, id).await;
    assert_eq!((done.state.label(), done.files_done), ("completed", files as u64));
    assert_quiet(&store.url).await;
    took
}

/// Planning, and the transaction that exchanges everything.
async fn detach_of_files(files: usize) -> (Duration, Duration) {
    let store = Store::sqlite().await;
    let books = filled(&store, files).await;
    let twin = submit_new(&store.coordinator, clone_of(books, "twin")).await;
    store.coordinator.clone_job(twin.id).await.unwrap();
    let Ok(Created::New(detach)) = store.coordinator.submit_detach(twin.target, LATER_MS).await else { panic!() };
    let start = Instant::now();
    let bounds = TaskBounds { bytes_max: u64::MAX, files_max: BATCH };
    store.coordinator.plan_job(detach.id, bounds).await.unwrap();
    let planned = start.elapsed();
    claim_all(&store.coordinator, "n1").await.unwrap();
    finish_all(&store.coordinator).await.unwrap();
    let start = Instant::now();
    store.coordinator.publish_job(detach.id).await.unwrap();
    let published = start.elapsed();
    let done = job(&store.meta, detach.id).await;
    assert_eq!((done.state.label(), done.files_done), ("completed", files as u64));
    assert_quiet(&store.url).await;
    (planned, published)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn scale_of_a_detach() {
    for files in [1_000, 10_000, 100_000] {
        let (planned, published) = detach_of_files(files).await;
        println!("detach of {files} files: planned in {planned:?}, exchanged in {published:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn scale_of_a_clone() {
    for files in [1_000, 10_000, 100_000] {
        let took = clone_of_files(files).await;
        println!("clone of {files} files: {took:?}");
        assert!(took < CLONE_MAX, "{files} files: {took:?}");
    }
}
