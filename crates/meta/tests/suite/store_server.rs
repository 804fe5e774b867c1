//! What is special about a store on a server.

use crate::server::{Database, Server};
use crate::store::{CLUSTER, START_MS, Store, new_collection, node, refusal};
use elanus_meta::{Meta, MetaError};
use elanus_types::ManualClock;
use std::sync::Arc;

async fn open(url: &str, cluster: &str) -> Result<Meta, MetaError> {
    Meta::open(url, cluster, Arc::new(ManualClock::at_ms(START_MS))).await
}

/// The error with all its sources, as people and logs see it.
fn told(error: &MetaError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(&format!(" {inner}"));
        source = inner.source();
    }
    text
}

/// Tables with their columns and the number of their rows.
async fn content(database: &Database) -> Vec<(String, i64)> {
    sqlx::query_as(
        "SELECT c.table_name || '.' || c.column_name || ' ' || COALESCE(c.collation_name, ''), \
         (xpath('/row/n/text()', query_to_xml('SELECT COUNT(*) AS n FROM ' || c.table_name, true, true, '')))[1]\
         ::text::bigint FROM information_schema.columns c WHERE c.table_schema = 'public' ORDER BY 1",
    )
    .fetch_all(&mut database.connect().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_the_database_is_left_as_it_is() {
    let store = Store::postgres().await;
    store.collection("books").await;
    store.meta.close().await;
    let database = store.database.as_ref().unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', true, '\\x00', 0)",
    )
    .execute(&mut database.connect().await)
    .await
    .unwrap();
    let before = content(database).await;
    let refused = open(&store.url, CLUSTER).await;
    assert!(matches!(refused, Err(MetaError::Newer { found: 99, known }) if known < 99), "{refused:?}");
    assert_eq!(content(database).await, before);
}

#[tokio::test]
async fn a_service_takes_only_a_store_that_was_migrated() {
    let store = Store::postgres().await;
    let clock = Arc::new(ManualClock::at_ms(START_MS));
    let meta = Meta::connect(&store.url, clock.clone()).await.unwrap();
    assert_eq!(meta.root().await.unwrap().cluster_id, CLUSTER);
    meta.close().await;
    let version = Meta::schema_version(&store.url).await.unwrap();
    assert_eq!(version.found, Some(version.known));
    let last = "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    sqlx::query(last).execute(&mut store.database.as_ref().unwrap().connect().await).await.unwrap();
    let refused = Meta::connect(&store.url, clock).await.unwrap_err();
    assert!(matches!(refused, MetaError::Older { found, known } if found < known), "{refused:?}");
    assert!(refused.to_string().contains("elanus migrate"), "{refused}");
}

#[tokio::test]
async fn the_store_of_another_cluster_is_refused_and_left_as_it_is() {
    let store = Store::postgres().await;
    let database = store.database.as_ref().unwrap();
    let before = content(database).await;
    let (code, text) = refusal(open(&store.url, "0191-other").await);
    assert_eq!(code, 1100);
    assert!(text.contains(CLUSTER) && text.contains("0191-other"), "{text}");
    assert_eq!(content(database).await, before);
    open(&store.url, CLUSTER).await.unwrap().close().await;
}

#[tokio::test]
async fn every_text_of_the_metadata_is_compared_bytewise() {
    let store = Store::postgres().await;
    let texts: Vec<String> = sqlx::query_scalar(
        "SELECT table_name || '.' || column_name FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations' AND data_type <> 'bigint' \
         AND COALESCE(collation_name, '') <> 'C'",
    )
    .fetch_all(&mut store.database.as_ref().unwrap().connect().await)
    .await
    .unwrap();
    assert_eq!(texts, Vec::<String>::new(), "neither BIGINT nor TEXT with the collation C");
}

#[tokio::test]
async fn two_programs_may_open_one_store_at_once() {
    let database = Server::shared().database();
    let url = database.url();
    let (first, second) = tokio::join!(open(&url, CLUSTER), open(&url, CLUSTER));
    let (first, second) = (first.unwrap(), second.unwrap());
    let old = first.take_over(&node("first")).await.unwrap();
    let new = second.take_over(&node("second")).await.unwrap();
    assert!(new.epoch() > old.epoch());
    let fenced = old.create_collection(new_collection("books")).await;
    assert!(matches!(fenced, Err(MetaError::Fenced { .. })), "{fenced:?}");
}

#[tokio::test]
async fn no_error_tells_the_password() {
    let database = Server::shared().database();
    sqlx::query(
        "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'guarded') \
         THEN CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right'; END IF; END $$",
    )
    .execute(&mut database.connect().await)
    .await
    .unwrap();
    let meta = open(&database.url_of("guarded:right"), CLUSTER).await.unwrap();
    assert!(!format!("{meta:?}").contains("right"), "{meta:?}");
    for (url, says) in [
        (database.url_of("guarded:hunter2"), "password authentication failed"),
        ("postgres://u:hunter2@localhost:1/db".to_owned(), "refused"),
        ("postgres://u:hunter2@localhost:port/db".to_owned(), "not valid"),
        ("postgres://u:hunter2@/db?port=hunter2".to_owned(), "not valid"),
        ("postgres://u:hunter2@localhost/db?sslmode=none".to_owned(), "not valid"),
        ("postgress://u:hunter2@localhost/db".to_owned(), "no metadata URL"),
        ("postgres:u:hunter2@localhost/db".to_owned(), "no metadata URL"),
    ] {
        let text = told(&open(&url, CLUSTER).await.unwrap_err());
        assert!(text.contains(says) && !text.contains("hunter2"), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_told_and_the_next_call_has_another() {
    let store = Store::postgres().await;
    let collection = store.collection("books").await;
    let kill = "SELECT COUNT(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let killed: i64 =
        sqlx::query_scalar(kill).fetch_one(&mut store.database.as_ref().unwrap().connect().await).await.unwrap();
    assert!(killed > 0);
    store.insert(collection.id, collection.partitions[0].id).await;
    assert_eq!(store.members(collection.id, None).await.len(), 1);
}

#[tokio::test]
async fn a_text_that_the_server_cannot_hold_is_refused() {
    let store = Store::postgres().await;
    let (code, text) = refusal(store.coordinator.create_collection(new_collection("a\0b")).await);
    assert_eq!(code, 1100, "{text}");
}

#[tokio::test]
async fn a_look_at_an_empty_database_finds_and_makes_nothing() {
    let database = tokio::task::spawn_blocking(|| Server::shared().database()).await.unwrap();
    assert_eq!(Meta::look(&database.url()).await.unwrap(), None);
    assert_eq!(content(&database).await, []);
}
