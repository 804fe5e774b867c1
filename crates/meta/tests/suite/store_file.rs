//! What is special about a store in a file.

use crate::store::{CLUSTER, START_MS, Store, node, refusal};
use elanus_meta::{Meta, MetaError};
use elanus_types::ManualClock;
use sqlx::{Connection, SqliteConnection};
use std::path::Path;
use std::sync::Arc;

async fn open(url: &str, cluster: &str) -> Result<Meta, MetaError> {
    Meta::open(url, cluster, Arc::new(ManualClock::at_ms(START_MS))).await
}

/// Everything in the folder of a store that nobody has open.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_the_file_is_left_as_it_is() {
    let store = Store::sqlite().await;
    store.collection("books").await;
    store.meta.close().await;
    let mut connection = SqliteConnection::connect(&store.url).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', true, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let before = files(store.dir.path());
    let refused = open(&store.url, CLUSTER).await;
    assert!(matches!(refused, Err(MetaError::Newer { found: 99, known }) if known < 99), "{refused:?}");
    assert!(files(store.dir.path()) == before, "something was written");
}

#[tokio::test]
async fn a_service_takes_only_a_store_that_was_migrated() {
    let store = Store::sqlite().await;
    let clock = Arc::new(ManualClock::at_ms(START_MS));
    let meta = Meta::connect(&store.url, clock.clone()).await.unwrap();
    assert_eq!(meta.root().await.unwrap().cluster_id, CLUSTER);
    meta.close().await;
    let version = Meta::schema_version(&store.url).await.unwrap();
    assert_eq!(version.found, Some(version.known));
    let mut connection = SqliteConnection::connect(&store.url).await.unwrap();
    let last = "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    sqlx::query(last).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let refused = Meta::connect(&store.url, clock).await.unwrap_err();
    assert!(matches!(refused, MetaError::Older { found, known } if found < known), "{refused:?}");
    assert!(refused.to_string().contains("elanus migrate"), "{refused}");
}

#[tokio::test]
async fn the_store_of_another_cluster_is_refused_and_left_as_it_is() {
    let store = Store::sqlite().await;
    store.meta.close().await;
    let before = files(store.dir.path());
    let (code, text) = refusal(open(&store.url, "0191-other").await);
    assert_eq!(code, 1100);
    assert!(text.contains(CLUSTER) && text.contains("0191-other"), "{text}");
    assert!(files(store.dir.path()) == before, "something was written");
    open(&store.url, CLUSTER).await.unwrap().close().await;
}

#[tokio::test]
async fn any_path_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["plain.db", "with space.db", "ä#1?mode=ro&x=%41.db"] {
        let path = dir.path().join(name);
        let meta = open(&format!("sqlite://{}", path.display()), CLUSTER).await.unwrap();
        meta.take_over(&node("n")).await.unwrap();
        meta.close().await;
        assert!(path.is_file(), "{name}");
    }
}

#[tokio::test]
async fn a_url_of_no_store_says_what_to_give() {
    for url in ["sqlite://relative.db", "/plain/path", "mysql://host/db"] {
        let refused = open(url, CLUSTER).await;
        assert!(matches!(&refused, Err(MetaError::BadUrl(text)) if text.contains("sqlite://")), "{refused:?}");
    }
}

#[tokio::test]
async fn two_programs_may_open_one_store_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("meta.db").display());
    let (first, second) = tokio::join!(open(&url, CLUSTER), open(&url, CLUSTER));
    let (first, second) = (first.unwrap(), second.unwrap());
    let old = first.take_over(&node("first")).await.unwrap();
    let new = second.take_over(&node("second")).await.unwrap();
    assert!(new.epoch() > old.epoch());
}

#[tokio::test]
async fn a_look_creates_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite://{}", dir.path().join(name).display());
    assert_eq!(Meta::look(&url("absent.db")).await.unwrap(), None);
    assert_eq!(files(dir.path()), []);
    let foreign = SqliteConnection::connect(&format!("{}?mode=rwc", url("foreign.db"))).await.unwrap();
    foreign.close().await.unwrap();
    assert_eq!(Meta::look(&url("foreign.db")).await.unwrap(), None);

    let store = Store::sqlite().await;
    store.meta.close().await;
    let before = files(store.dir.path());
    assert!(Meta::look(&store.url).await.unwrap().is_some());
    assert!(files(store.dir.path()) == before, "something was written");
}

#[tokio::test]
async fn a_look_at_the_store_of_a_newer_program_says_so() {
    let store = Store::sqlite().await;
    store.meta.close().await;
    let mut connection = SqliteConnection::connect(&store.url).await.unwrap();
    let later = "UPDATE _sqlx_migrations SET version = 99 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    sqlx::query(later).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let refused = Meta::look(&store.url).await;
    assert!(matches!(refused, Err(MetaError::Newer { found: 99, .. })), "{refused:?}");
}
