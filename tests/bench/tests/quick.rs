//! The benchmark runs, and counts what does not depend on the machine. Times are nobody's promise here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::process::Command;

fn figures(filter: &str) -> Vec<Value> {
    let bench = env!("CARGO_BIN_EXE_elanus-bench");
    let output = Command::new(bench).args(["--quick", "--output", "json", "--filter", filter]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["figures"].as_array().unwrap().clone()
}

#[test]
fn a_create_and_a_clone_ask_the_same_of_the_object_store_for_every_size_of_collection() {
    let figures = figures("snapshot");
    let requests = |what: &str, files: i64| {
        let name = format!("snapshot: {what}, {files} files");
        figures.iter().find(|figure| figure["what"] == name).unwrap()["object_requests"].as_u64().unwrap()
    };
    for files in [100, 1_000] {
        assert_eq!(requests("first create", files), 2, "a manifest and the metadata");
        assert_eq!(requests("later create", files), 1, "nothing changed: the metadata");
        assert_eq!(requests("clone", files), 0);
    }
}
