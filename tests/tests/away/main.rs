//! The machine lets the process down: a full disk, a directory that became read-only, metadata that are locked or away, a
//! process that is stopped for a while. Whoever asks is told what to do, nothing is left behind, reads go on where they
//! can, and everything works again when the cause is gone.
//!
//! Mounts need root; without it these cases are left to `objects/src/error.rs`, which tests the codes and the texts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;
mod metadata;

use elanus_scenarios::{
    milvus::{CallError, Milvus},
    rows::Row,
};
use elanus_testkit::{Server, Signal};
use std::time::Duration;

/// One new row.
fn row(id: i64) -> [Row; 1] {
    [Row { id, version: 1 }]
}

/// The code and the text of a refusal.
#[track_caller]
fn refusal<T: std::fmt::Debug>(answer: Result<T, CallError>) -> (i32, String) {
    match answer.unwrap_err() {
        CallError::Refused(failure) => (failure.code.number(), failure.message),
        other => panic!("{other}"),
    }
}

/// The bucket is what the metadata says.
async fn assert_clean(milvus: &Milvus) {
    let report = milvus.operator().scrub().checksums(true).send().await.unwrap();
    assert!(report.missing.is_empty() && report.damaged.is_empty() && report.unknown.is_empty(), "{report:?}");
    assert!(report.orphans.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_process_that_is_stopped_answers_when_it_goes_on() {
    let mut server = Server::start().await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("c").await.unwrap();
    server.signal(Signal::Stop).unwrap();
    let mut waiting = tokio::spawn({
        let milvus = milvus.clone();
        async move { milvus.insert("c", &row(1)).await }
    });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "a process that is stopped answered: {early:?}");
    server.signal(Signal::Continue).unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(milvus.query("c", "id > 0").await.unwrap(), row(1));
    server.terminate().await.unwrap();
}
