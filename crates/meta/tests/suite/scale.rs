//! How long the metadata work of a restore takes. Ignored by default, because it says nothing but numbers:
//! `cargo test -p elanus-meta --test suite -- --ignored --nocapture scale`.

#![allow(clippy::print_stdout, reason = "the numbers are the result")]

use crate::restoring::{assert_quiet, clone_of, job, snapshot, submit_new};
use crate::store::{Store, rows_of};
use std::time::{Duration, Instant};

/// Files of one commit.
const BATCH: usize = 1_000;
/// What a clone of 100,000 files may take, on a slow machine and without optimisation.
const CLONE_MAX: Duration = Duration::from_secs(5);

async fn clone_of_files(files: usize) -> Duration {
    let store = Store::sqlite().await;
    let books = store.collection("books").await;
    let partition = books.partitions[0].id;
    for _ in 0..files / BATCH {
        let written = store.begin(books.id, &vec![rows_of(partition); BATCH]).await;
        store.commit(books.id, &written).await.unwrap();
    }
    snapshot(&store.coordinator, books.id, "s").await;
    let id = submit_new(&store.coordinator, clone_of(books.id, "twin")).await.id;
    let start = Instant::now();
    store.coordinator.clone_job(id).await.unwrap();
    let took = start.elapsed();
    let done = job(&store.meta, id).await;
    assert_eq!((done.state.label(), done.files_done), ("completed", files as u64));
    assert_quiet(&store.url).await;
    took
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
