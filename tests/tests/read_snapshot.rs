//! What a snapshot writes can be read without Elanus: by a script that knows JSON, Avro and Parquet only.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::file;
use elanus_testkit::{Server, python};

#[tokio::test]
async fn a_snapshot_is_read_by_general_tools_without_a_server() {
    let mut server = Server::start().await.unwrap();
    let written = python(&file("python/fill_for_reading.py"), &[&server.url()]).await.unwrap();
    let (location, rows) = written.trim().split_once(' ').unwrap();
    server.terminate().await.unwrap();

    let metadata = server.data().join(location);
    let read = python(&file("python/read_snapshot.py"), &[metadata.to_str().unwrap(), rows]).await.unwrap();
    let lines: Vec<serde_json::Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), rows.parse::<usize>().unwrap());
    let text_of = |id: i64| lines.iter().find(|row| row["id"] == id).map(|row| row["text"].clone());
    assert_eq!(text_of(100), Some("second".into()), "the upsert is in it, and hides the row before");
    assert_eq!(text_of(260), None, "the delete is in it");
    assert_eq!(text_of(1039), Some("third".into()));
}
