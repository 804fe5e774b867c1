//! Disks that are full or read-only.

use crate::{assert_clean, refusal, row};
use elanus_scenarios::milvus::{CallError, Milvus};
use elanus_testkit::{Mount, Server};
use std::process::Command;

/// Writes of which one must meet the full disk.
const WRITES_MAX: i64 = 50;

async fn a_full_disk(metadata_too: bool) {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::small(24, home.path()) else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", elsewhere.path().join("meta.db").display());
    let flags: &[&str] = if metadata_too { &[] } else { &["--meta", &url] };
    let mut server = Server::start_in_with(&home.path().join("data"), flags).await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("c").await.unwrap();
    milvus.insert("c", &row(0)).await.unwrap();
    milvus.create_snapshot("c", "before").await.unwrap();

    let filler = disk.fill("filler").unwrap();
    let mut acked = vec![0];
    let mut refused = None;
    for id in 1..WRITES_MAX {
        match milvus.insert("c", &row(id)).await {
            Ok(_) => acked.push(id),
            Err(CallError::Refused(failure)) => {
                refused = Some((id, failure));
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let (id, failure) = refused.expect("the disk is full");
    assert_eq!(failure.code.number(), 7, "{failure:?}");
    assert!(failure.message.contains("make room") && !failure.code.retriable(), "{failure:?}");
    let (code, text) = refusal(milvus.create_snapshot("c", "during").await);
    assert!(code == 7 && text.contains("make room"), "{code}: {text}");

    // What needs no room goes on, and nothing of what was refused is seen.
    let found = async || milvus.query("c", "id >= 0").await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(found().await, acked);
    assert_eq!(milvus.snapshots("c").await.unwrap(), ["before"]);

    std::fs::remove_file(&filler).unwrap();
    milvus.insert("c", &row(id)).await.unwrap();
    acked.push(id);
    milvus.create_snapshot("c", "during").await.unwrap();
    assert_eq!(found().await, acked);
    assert_clean(&milvus).await;
    server.kill9().unwrap();
    server.restart().await.unwrap();
    assert_eq!(found().await, acked);
    assert_clean(&milvus).await;
    server.terminate().await.unwrap();
    drop(disk);
}

#[tokio::test]
async fn a_full_object_store_is_told_and_recovers_when_there_is_room() {
    a_full_disk(false).await;
}

#[tokio::test]
async fn a_full_disk_under_metadata_and_objects_is_told_and_recovers_when_there_is_room() {
    a_full_disk(true).await;
}

#[tokio::test]
async fn an_object_store_that_became_read_only_is_told_and_recovers() {
    let mut server = Server::start().await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("c").await.unwrap();
    milvus.insert("c", &row(1)).await.unwrap();
    milvus.create_snapshot("c", "before").await.unwrap();
    let mut folders = std::fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path());
    let objects = folders.find(|path| path.join("insert_log").is_dir()).expect("the cluster's objects");
    let text = objects.to_str().unwrap();
    let Some(bound) = Mount::new(&["--bind", text], &objects) else { return };
    let read_only = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&objects).status().unwrap();
    assert!(read_only.success());

    for answer in [milvus.insert("c", &row(2)).await.map(drop), milvus.create_snapshot("c", "during").await] {
        let (code, text) = refusal(answer);
        assert_eq!(code, 5, "{text}");
        assert!(text.contains("Read-only file system") && text.contains("give elanus the right"), "{text}");
    }
    assert_eq!(milvus.query("c", "id > 0").await.unwrap(), row(1));
    assert_eq!(milvus.snapshots("c").await.unwrap(), ["before"]);

    drop(bound);
    milvus.insert("c", &row(2)).await.unwrap();
    milvus.create_snapshot("c", "during").await.unwrap();
    assert_eq!(milvus.query("c", "id > 0").await.unwrap().len(), 2);
    assert_clean(&milvus).await;
    server.terminate().await.unwrap();
}
