//! What earlier programs left behind is migrated, read, restored and written on by this one.
//!
//! `tests/data/upgrade` has what the programs of earlier commits made with `tests/python/upgrade.py fill`, on SQLite and
//! on PostgreSQL. A migration that was edited after that is refused there: the checksums of migrations are in the metadata.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::file;
use elanus_testkit::{Ended, Postgres, Server, elanus, python};
use std::{path::Path, process::Command};
use tempfile::TempDir;

/// Schema versions of the earlier programs; those between were never the last one of a program that was kept.
const SCHEMAS: [i64; 2] = [9, 13];

fn unpack(archive: &str) -> TempDir {
    let home = TempDir::with_prefix("elanus-upgrade-").unwrap();
    let archive = file("data/upgrade").join(archive);
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(home.path()).status().unwrap();
    assert!(unpacked.success(), "{}", archive.display());
    home
}

async fn migrate(url: &str, further: &[&str]) -> Ended {
    elanus(["migrate", "--meta", url].into_iter().chain(further.iter().copied())).await.unwrap()
}

async fn read_and_go_on(schema: i64, url: &str, data: &Path) {
    let before = migrate(url, &["--check"]).await;
    assert!(before.stdout.contains(&format!("schema version {schema}")), "{before:?}");
    let migrated = migrate(url, &[]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    assert_eq!(migrate(url, &["--check"]).await.code, Some(0));

    let mut server = Server::start_in_with(data, &["--meta", url]).await.unwrap();
    let checked = python(&file("python/upgrade.py"), &[&server.url(), "check"]).await;
    checked.unwrap_or_else(|error| panic!("from schema {schema}: {error:#}"));
    let scrub = elanus(["ctl", "--addr", &server.url(), "scrub", "--checksums"]).await.unwrap();
    assert_eq!(scrub.code, Some(0), "{scrub:?}");
    assert!(!server.log().contains("ERROR"), "{}", server.log());
    server.terminate().await.unwrap();
}

#[tokio::test]
async fn what_earlier_programs_left_on_sqlite_is_read_and_written_on() {
    for schema in SCHEMAS {
        let home = unpack(&format!("schema-{schema}-sqlite.tar.gz"));
        let data = home.path().join("data");
        read_and_go_on(schema, &format!("sqlite://{}", data.join("meta.db").display()), &data).await;
    }
}

#[tokio::test]
async fn what_earlier_programs_left_on_postgresql_is_read_and_written_on() {
    let postgres = Postgres::start().unwrap();
    for schema in SCHEMAS {
        let home = unpack(&format!("schema-{schema}-postgres.tar.gz"));
        let database = format!("schema_{schema}");
        postgres.create_database(&database).unwrap();
        postgres.load(&database, &home.path().join("dump.sql")).unwrap();
        read_and_go_on(schema, &postgres.url_of(&database), &home.path().join("data")).await;
    }
}
