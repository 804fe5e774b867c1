//! The metadata store is lost: collections come back from the snapshots in the bucket alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::file;
use elanus_testkit::{Ended, Server, elanus, get, python};
use serde_json::Value;
use std::fs;
use std::path::Path;

async fn rebuild(data: &Path, rest: &[&str]) -> Ended {
    let objects = format!("file://{}", data.display());
    let meta = format!("sqlite://{}", data.join("meta.db").display());
    let line = ["ctl", "--output", "json", "rebuild", "--objects", &objects, "--meta", &meta];
    elanus(line.into_iter().chain(rest.iter().copied())).await.unwrap()
}

fn lose_metadata(data: &Path) {
    for name in ["meta.db", "meta.db-wal", "meta.db-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
}

#[tokio::test]
async fn what_snapshots_keep_comes_back_without_the_metadata_store() {
    let mut server = Server::start().await.unwrap();
    let script = file("python/rebuild.py");
    python(&script, &["fill", &server.url()]).await.unwrap();
    let data = server.data().to_owned();
    assert_eq!(rebuild(&data, &[]).await.code, Some(5), "a server runs on the bucket");
    server.kill9().unwrap();
    assert_eq!(rebuild(&data, &["--apply", "--yes"]).await.code, Some(5), "the metadata store is not empty");
    lose_metadata(&data);

    let told = rebuild(&data, &[]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(!data.join("meta.db").exists(), "nothing was written");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let collections = told["collections"].as_array().unwrap();
    assert_eq!((collections.len(), &told["applied"]), (4, &Value::Bool(false)), "{told:#}");
    let renamed: Vec<_> = collections.iter().filter(|one| one["renamed_from"] == "twice").collect();
    assert_eq!(renamed.len(), 1, "{told:#}");
    let docs = collections.iter().find(|one| one["name"] == "docs").unwrap();
    assert_eq!(docs["aliases"], serde_json::json!(["papers"]), "{told:#}");

    let written = rebuild(&data, &["--apply", "--yes"]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    server.restart().await.unwrap();
    let operator = server.client().await.unwrap();
    let report = operator.scrub().level("checksum").send().await.unwrap();
    assert!(report.missing.is_empty() && report.damaged.is_empty() && report.unknown.is_empty(), "{report:?}");
    assert!(report.orphans.is_empty(), "{report:?}");
    assert!(report.findings.is_empty() && report.snapshots == 6, "{report:?}");
    python(&script, &["check", &server.url()]).await.unwrap();
    let report = operator.scrub().level("checksum").send().await.unwrap();
    assert!(report.missing.is_empty() && report.unknown.is_empty() && report.findings.is_empty(), "{report:?}");

    // What operators see of all that.
    let (status, metrics) = get(server.management(), "/metrics").await.unwrap();
    assert_eq!(status, 200);
    for name in ["elanus_proxy_calls_total{", "elanus_runtime_task_rounds_total{", "elanus_snapshot_transitions_total{"]
    {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    let known: Vec<&str> = known_metrics();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(known.contains(&name), "{name} is not in crates/runtime/metrics.txt");
    }
    server.terminate().await.unwrap();
}

/// Every metric that there may be; the list that operators build on.
fn known_metrics() -> Vec<&'static str> {
    include_str!("../../crates/runtime/metrics.txt").lines().filter_map(|line| line.split(' ').next()).collect()
}
