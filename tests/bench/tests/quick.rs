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
        // A larger one is answered first, and its lists may begin before the answer is here.
        let first = requests("first create", files) + requests("first create, then its lists", files);
        assert_eq!(first, 2, "a manifest and the metadata");
        assert_eq!(requests("later create", files), 1, "nothing changed: the metadata");
        assert_eq!(requests("clone", files), 0);
    }
}

#[test]
fn the_collector_drops_in_one_change_and_asks_for_nothing_when_it_is_idle() {
    let figures = figures("gc");
    let figure = |name: &str| figures.iter().find(|figure| figure["what"] == name).unwrap_or_else(|| panic!("{name}"));
    let count = |name: &str, of: &str| figure(name)[of].as_u64().unwrap();

    for thing in ["collection", "partition", "snapshot"] {
        let drop = |files: i64| count(&format!("gc: drop {thing}, {files} files"), "sql_statements");
        assert_eq!(drop(100), drop(1_000), "the call does not know how much there is");
        assert_eq!(count(&format!("gc: drop {thing}, 1000 files"), "object_requests"), 0);
        // Within a chunk, the number of references is the number of nobody's statements.
        let release = |files: i64| count(&format!("gc: release of a {thing}, {files} files"), "sql_statements");
        assert!(release(1_000) <= release(100) + 40, "{thing}: {} and {}", release(100), release(1_000));
    }

    // A claim of up to 1,000 objects: one request deletes them.
    assert_eq!(count("gc: drain of 500 objects", "object_requests"), 1);
    assert!(count("gc: drain of 500 objects", "sql_statements") < 60);

    for task in ["snapshot.expire", "intent.expire", "gc.release", "sweep", "gc.recount", "gc.forget", "gc.scan"] {
        let name = format!("gc: idle round of {task}");
        assert_eq!(count(&name, "object_requests"), 0, "{task}");
        assert!(count(&name, "sql_statements") <= 32, "{task}: {}", count(&name, "sql_statements"));
    }

    // A request for every thousand keys, and one that shows that there are no more.
    assert_eq!(count("gc: orphan scan of 500 keys", "object_requests"), 2, "one page, and unfinished writes");
    assert_eq!(count("gc: orphan scan of 2500 keys", "object_requests"), 4, "three pages, and unfinished writes");
    assert_eq!(count("gc: renewal of the owner's marker", "object_requests"), 1);
}
