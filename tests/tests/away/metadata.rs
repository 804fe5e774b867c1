//! Metadata that another process has locked, and a metadata server that dies under load.

use crate::{assert_clean, refusal, row};
use elanus_scenarios::milvus::{CallError, Milvus, completed};
use elanus_testkit::{Postgres, Server, settings, wait_for};
use elanus_types::RestoreMode;
use std::{
    cell::Cell,
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Duration,
};
use tokio::task::LocalSet;

/// How long everything may take to work again.
const BACK_MAX: Duration = Duration::from_secs(60);

const LOCK: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
sys.stdin.read()
";

/// Another process writes into the metadata and does not come to an end.
fn lock(meta: &Path) -> Child {
    let python =
        Command::new("python3").args(["-c", LOCK]).arg(meta).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut python = python.unwrap();
    let mut line = String::new();
    BufReader::new(python.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    python
}

fn unlock(mut python: Child) {
    drop(python.stdin.take());
    assert!(python.wait().unwrap().success());
}

#[tokio::test]
async fn metadata_that_are_locked_for_a_while_are_told_as_busy_and_recover() {
    let mut server = Server::start().await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("c").await.unwrap();
    milvus.insert("c", &row(1)).await.unwrap();

    let other = lock(&server.data().join("meta.db"));
    let (code, text) = refusal(milvus.insert("c", &row(2)).await);
    assert!(code == 1 && text.contains("locked"), "{code}: {text}");
    assert_eq!(milvus.query("c", "id > 0").await.unwrap(), row(1), "reads go on");

    // A short lock is waited for.
    let mut waiting = tokio::spawn({
        let milvus = milvus.clone();
        async move { milvus.insert("c", &row(2)).await }
    });
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "it waits");
    unlock(other);
    waiting.await.unwrap().unwrap();
    assert_eq!(milvus.query("c", "id > 0").await.unwrap().len(), 2);
    assert_clean(&milvus).await;
    server.terminate().await.unwrap();
}

/// Codes that say "try again", or that nobody knows whether it was done.
fn is_away(error: &CallError) -> bool {
    matches!(error, CallError::Refused(failure) if matches!(failure.code.number(), 1 | 5 | 8))
}

/// Inserts one row after the other; a refused one is tried again. Acknowledged ids.
async fn load(milvus: Milvus, stop: Rc<Cell<bool>>) -> (BTreeSet<i64>, u32) {
    let (mut acked, mut refused) = (BTreeSet::new(), 0);
    for id in 1.. {
        if stop.get() {
            break;
        }
        match milvus.insert("c", &row(id)).await {
            Ok(_) => drop(acked.insert(id)),
            Err(error) => {
                assert!(is_away(&error), "{error}");
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    (acked, refused)
}

#[tokio::test]
async fn d_1_r_3_a_metadata_server_that_is_killed_under_load_comes_back_and_nothing_is_lost() {
    let away = Duration::from_secs(if settings::full() { 60 } else { 2 });
    let mut postgres = Postgres::start().unwrap();
    let home = tempfile::tempdir().unwrap();
    let flags = ["--meta", &postgres.url()];
    let mut server = Server::start_in_with(&home.path().join("data"), &flags).await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("c").await.unwrap();
    milvus.insert("c", &row(0)).await.unwrap();
    milvus.create_snapshot("c", "before").await.unwrap();

    let stop = Rc::new(Cell::new(false));
    let local = LocalSet::new();
    let ((acked, refused), job) = local
        .run_until(async {
            let writing = tokio::task::spawn_local(load(milvus.clone(), stop.clone()));
            let job = milvus.restore("c", "before", "copied", RestoreMode::Copy).await.unwrap();
            postgres.stop();
            let (code, text) = refusal(milvus.create_snapshot("c", "during").await);
            assert!(matches!(code, 1 | 5) && text.contains("metadata"), "{code}: {text}");
            tokio::time::sleep(away).await; // how long it is away is what is tested
            postgres.start_again().unwrap();
            wait_for("a snapshot to be taken again", BACK_MAX, async || {
                match milvus.create_snapshot("c", "after").await {
                    Err(error) if is_away(&error) => Err(error.to_string()),
                    // A create whose answer was lost.
                    Err(error) if error.to_string().contains("already exists") => Ok(()),
                    answer => {
                        answer.unwrap();
                        Ok(())
                    }
                }
            })
            .await;
            stop.set(true);
            (writing.await.unwrap(), job)
        })
        .await;
    assert!(refused > 0, "nobody noticed that it was away");
    wait_for("the restore to end", BACK_MAX, async || match milvus.job(job).await {
        Ok(job) if completed(&job).unwrap() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let found: BTreeSet<i64> = milvus.query("c", "id > 0").await.unwrap().iter().map(|row| row.id).collect();
    let lost: Vec<_> = acked.difference(&found).collect();
    assert!(lost.is_empty(), "D-1: {lost:?}");
    milvus.load("copied").await.unwrap();
    assert_eq!(milvus.query("copied", "id >= 0").await.unwrap(), row(0));
    let names = milvus.snapshots("c").await.unwrap();
    assert!(names.contains(&"before".to_owned()) && names.contains(&"after".to_owned()), "{names:?}");
    assert_clean(&milvus).await;
    server.terminate().await.unwrap();
}
