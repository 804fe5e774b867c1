//! The real Python client against the binary. What is checked stands in `tests/python`, one script a topic; each gets a
//! server of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::file;
use elanus_testkit::{Server, program, python};

async fn run(script: &str) {
    let mut server = Server::start().await.unwrap();
    let written = python(&file("python").join(script), &[&server.url()]).await;
    eprintln!("{}", written.unwrap());
    server.terminate().await.unwrap();
}

#[tokio::test]
async fn pymilvus_quick_start() {
    run("quick_start.py").await;
}

#[tokio::test]
async fn pymilvus_schema() {
    run("schema.py").await;
}

#[tokio::test]
async fn pymilvus_filters() {
    run("types_query.py").await;
}

#[tokio::test]
async fn pymilvus_search() {
    run("search.py").await;
}

#[tokio::test]
async fn pymilvus_reading() {
    run("reading.py").await;
}

#[tokio::test]
async fn pymilvus_snapshots_s_1_s_2_s_3_r_4() {
    run("snapshots.py").await;
}

#[tokio::test]
async fn pymilvus_gc_g_1_g_2() {
    let mut server = Server::start_with(&["--trash-retention", "0", "--gc-drop-tolerance", "0"]).await.unwrap();
    let management = format!("http://{}", server.management());
    let (data, program) = (server.data().display().to_string(), program().unwrap().display().to_string());
    let args = [server.url(), data, program, management];
    let written = python(&file("python").join("gc.py"), &args.each_ref().map(String::as_str)).await;
    eprintln!("{}", written.unwrap());
    server.terminate().await.unwrap();
}

#[tokio::test]
async fn pymilvus_indexes_ix_1_to_5_g_2_r_4() {
    let mut server = Server::start_with(&["--trash-retention", "0", "--gc-drop-tolerance", "0"]).await.unwrap();
    let management = format!("http://{}", server.management());
    let (data, program) = (server.data().display().to_string(), program().unwrap().display().to_string());
    let args = [server.url(), data, program, management];
    let written = python(&file("python").join("indexes.py"), &args.each_ref().map(String::as_str)).await;
    eprintln!("{}", written.unwrap());
    server.terminate().await.unwrap();
}

#[tokio::test]
async fn pymilvus_compaction_cp_1_s_1() {
    run("compaction.py").await;
}

#[tokio::test]
async fn pymilvus_errors() {
    run("errors.py").await;
}

#[tokio::test]
async fn pymilvus_catalog_r_4() {
    run("catalog.py").await;
}

#[tokio::test]
async fn pymilvus_changing_r_4() {
    run("changing.py").await;
}

#[tokio::test]
async fn pymilvus_types_r_4() {
    let mut server = Server::start().await.unwrap();
    let (data, program) = (server.data().display().to_string(), program().unwrap().display().to_string());
    let args = [server.url(), data, program];
    let written = python(&file("python").join("every_type.py"), &args.each_ref().map(String::as_str)).await;
    eprintln!("{}", written.unwrap());
    server.terminate().await.unwrap();
}

#[tokio::test]
async fn pymilvus_security_ac_1_ac_2_ac_3_ac_4_ac_5_ac_6() {
    let mut server = Server::start_with(&["--authorization-enabled", "--log", "trace"]).await.unwrap();
    let log = server.log_path().display().to_string();
    let written = python(&file("python").join("security.py"), &[&server.url(), &log]).await;
    eprintln!("{}", written.unwrap());
    server.terminate().await.unwrap();
}
