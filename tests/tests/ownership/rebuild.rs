//! The metadata store is lost, and the objects are in a bucket.

use crate::place::{Cluster, Place, ROWS, collects_nothing, scrubbed_clean, work};
use crate::stories::reconcile;
use elanus_scenarios::milvus::Milvus;
use serde_json::Value;

#[tokio::test]
async fn collections_come_back_from_the_snapshots_in_a_bucket() {
    let place = Place::bucket().await;
    let found = place.cluster("one");
    let mut server = found.start().await;
    work(&server).await;
    server.terminate().await.unwrap();
    for name in ["meta.db", "meta.db-wal", "meta.db-shm"] {
        let _ = std::fs::remove_file(found.data.join(name));
    }
    let meta = format!("sqlite://{}", found.data.join("meta.db").display());
    rebuilt(&place, &found, &["--meta", &meta]).await;
}

#[tokio::test]
async fn rebuilt_metadata_in_a_new_directory_are_served_from_there() {
    for data_flag in [true, false] {
        let place = Place::bucket().await;
        let lost = place.cluster("one");
        let mut server = lost.start().await;
        work(&server).await;
        server.terminate().await.unwrap();
        // The machine is gone; the new one has an empty disk.
        let found = place.cluster("a new directory");
        let data = found.data.to_str().unwrap().to_owned();
        let meta = format!("sqlite://{data}/meta.db");
        if data_flag {
            rebuilt(&place, &found, &["--data", &data]).await;
        } else {
            std::fs::create_dir(&found.data).unwrap();
            rebuilt(&place, &found, &["--meta", &meta]).await;
        }
    }
}

/// The snapshots come back into the metadata of `found`, as these flags say where they are, and are served.
async fn rebuilt(place: &Place, found: &Cluster, meta: &[&str]) {
    let before = place.root.everything().await;
    let rebuild = async |rest: &[&str]| {
        let line: Vec<&str> = ["rebuild"].iter().chain(meta).copied().collect();
        let ended = found.ctl(&line, rest).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let told: Value = serde_json::from_str(&ended.stdout).unwrap();
        (told["collections"][0]["name"].clone(), told["applied"].clone())
    };
    assert_eq!(rebuild(&[]).await, ("kept".into(), false.into()));
    assert!(!found.data.join("meta.db").exists(), "nothing was written");
    assert_eq!(rebuild(&["--apply", "--yes"]).await, ("kept".into(), true.into()));
    assert_eq!(place.root.everything().await, before, "nothing in the bucket was touched");

    let mut server = found.start().await;
    scrubbed_clean(&server).await;
    let milvus = Milvus::at(&server.url());
    milvus.load("kept").await.unwrap();
    let mut rows = milvus.query("kept", "id >= 0").await.unwrap();
    rows.sort_unstable();
    assert_eq!(rows, ROWS, "those of the snapshot");
    assert_eq!(milvus.snapshots("kept").await.unwrap(), ["first"]);
    collects_nothing(&server, &place.root).await;
    reconcile(&server, 0, &["--apply", "--yes"]).await;
    server.terminate().await.unwrap();
    found.collects_nothing_but_its_own().await;
    found.assert_whole().await;
}
