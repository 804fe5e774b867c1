//! Traces of everything in one process.

use crate::requests::{Caller, completed, fill};
use crate::tree::{CLONE, COPY, CREATE, Tree, attribute, speaks_the_standard};
use elanus_scenarios::milvus::Milvus;
use elanus_scenarios::rows::Row;
use elanus_testkit::{OtlpReceiver, Server, elanus, free_port, get, wait_for};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// More than the spans that a task has of its files.
const MANY_WRITES: i64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_its_restores_are_a_trace_each() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let flags = [
        "--otlp-endpoint",
        &receiver.endpoint(),
        "--log",
        "debug",
        "--log-format",
        "json",
        "--auto-compaction",
        "false",
    ];
    let mut server = Server::start_with(&flags).await.unwrap();
    let milvus = Milvus::at(&server.url());
    fill(&milvus, "docs", MANY_WRITES).await;

    let caller = Caller::new();
    assert_eq!(caller.create_snapshot(&milvus, "docs", "before").await, 0);
    let tree = Tree::of(&receiver, &caller, &["datacoord.snapshot.commit"]).await;
    eprintln!("{}", tree.picture());
    tree.has_ways(CREATE);
    speaks_the_standard(&tree);
    let root = tree.root(&caller);
    assert_eq!((root.service.as_str(), root.kind), ("elanus-standalone", 2));
    assert_eq!((attribute(root, "elanus.collection"), attribute(root, "elanus.snapshot")), ("docs", "before"));
    let create = tree.one("DataCoord/CreateSnapshot");
    assert_eq!(attribute(create, "elanus.files"), MANY_WRITES.to_string());
    assert!(tree.spans().iter().all(|span| span.error.is_none()), "{}", tree.picture());

    let caller = Caller::new();
    let (code, job) = caller.restore(&milvus, ("docs", "before"), "shared", "clone").await;
    completed(&milvus, job).await;
    let tree = Tree::of(&receiver, &caller, &["datacoord.restore.clone"]).await;
    assert_eq!(code, 0);
    tree.has_ways(CLONE);
    assert_eq!(attribute(tree.one("datacoord.restore.clone"), "elanus.job"), job.to_string());
    assert!(!tree.spans().iter().any(|span| span.name.starts_with("datanode.")), "{}", tree.picture());

    let caller = Caller::new();
    let (code, job) = caller.restore(&milvus, ("docs", "before"), "copied", "copy").await;
    completed(&milvus, job).await;
    let tree = Tree::of(&receiver, &caller, &["datacoord.restore.publish"]).await;
    eprintln!("{}", tree.picture());
    assert_eq!(code, 0);
    tree.has_ways(COPY);
    speaks_the_standard(&tree);
    let task = tree.one("datanode.task.copy");
    let files = MANY_WRITES.to_string();
    assert_eq!((attribute(task, "elanus.files"), attribute(task, "elanus.files_done")), (&*files, &*files));
    assert_eq!(
        (attribute(task, "elanus.bytes"), attribute(task, "elanus.ended")),
        (attribute(task, "elanus.bytes_done"), "done")
    );
    assert_eq!(tree.named("datanode.file.copy").len(), 32, "TR-4: not one for every file");

    // One line of the log leads to the trace.
    let lines = server.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let told: Vec<_> = lines.filter(|line| line["trace_id"] == caller.trace).collect();
    assert!(told.iter().all(|line| line["span_id"].as_str().is_some_and(|id| id.len() == 16)), "{told:?}");
    server.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_written_after_the_answer_are_in_the_trace_of_the_create() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let flags = ["--otlp-endpoint", &receiver.endpoint(), "--auto-compaction", "false", "--snapshot-listed-max", "8"];
    let mut server = Server::start_with(&flags).await.unwrap();
    let milvus = Milvus::at(&server.url());
    fill(&milvus, "docs", MANY_WRITES).await;

    let caller = Caller::new();
    assert_eq!(caller.create_snapshot(&milvus, "docs", "before").await, 0);
    let tree = Tree::of(&receiver, &caller, &["datacoord.snapshot.write", "datacoord.snapshot.commit"]).await;
    eprintln!("{}", tree.picture());
    for name in ["datacoord.snapshot.pin", "datacoord.snapshot.manifests", "datacoord.snapshot.commit", "objects.put"] {
        assert!(!tree.named(name).is_empty(), "{name}: {}", tree.picture());
    }
    let written = tree.one("datacoord.snapshot.write");
    assert_eq!((attribute(written, "elanus.snapshot"), attribute(written, "elanus.files")), ("before", "40"));
    server.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_and_the_log_leads_there() {
    let receiver = OtlpReceiver::start().await.unwrap();
    // The variable that all programs with OpenTelemetry know.
    let settings = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), receiver.endpoint()),
        ("ELANUS_LOG".to_owned(), "debug".to_owned()),
    ];
    let mut server = Server::start_with_settings(settings).await.unwrap();
    let milvus = Milvus::at(&server.url());
    fill(&milvus, "docs", 1).await;

    let caller = Caller::new();
    let (code, _) = caller.restore(&milvus, ("docs", "unknown"), "target", "clone").await;
    assert_eq!(code, 2600);
    let tree = Tree::of(&receiver, &caller, &["MilvusService/RestoreSnapshot"]).await;
    for name in ["MilvusService/RestoreSnapshot", "→ DataCoord/RestoreSnapshot", "DataCoord/RestoreSnapshot"] {
        let span = tree.one(name);
        assert!(span.error.as_ref().is_some_and(|why| why.contains("unknown")), "{}", tree.picture());
        assert_eq!(attribute(span, "elanus.code"), "2600");
    }
    let ids = format!("trace_id={} span_id={}", caller.trace, tree.root(&caller).id);
    assert!(
        server.log().lines().any(|line| line.contains("unknown") && line.ends_with(&ids)),
        "{ids}\n{}",
        server.log()
    );

    // What is still here when the process ends is sent before.
    let caller = Caller::new();
    milvus.insert("docs", &[Row { id: 99, version: 1 }]).await.unwrap();
    assert_eq!(caller.create_snapshot(&milvus, "docs", "last").await, 0);
    server.terminate().await.unwrap();
    let spans = receiver.trace(&caller.trace);
    assert!(spans.iter().any(|span| span.name.ends_with("MilvusService/CreateSnapshot")), "{spans:#?}");
    // A request without a trace of its own begins one.
    let inserted = receiver.spans().into_iter().find(|span| span.name.ends_with("MilvusService/Insert"));
    assert_eq!(inserted.map(|span| span.parent), Some(String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_where_nothing_is_sampled() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let flags = ["--otlp-endpoint", &receiver.endpoint(), "--trace-sample-fraction", "0"];
    let mut server = Server::start_with(&flags).await.unwrap();
    let milvus = Milvus::at(&server.url());
    fill(&milvus, "docs", 2).await;
    milvus.create_snapshot("docs", "one").await.unwrap();
    assert_eq!(Caller::not_sampled().create_snapshot(&milvus, "docs", "two").await, 0);
    // Who samples elsewhere is followed.
    let caller = Caller::new();
    assert_eq!(caller.create_snapshot(&milvus, "docs", "three").await, 0);
    server.terminate().await.unwrap();
    let spans = receiver.spans();
    assert!(!spans.is_empty() && spans.iter().all(|span| span.trace == caller.trace), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_harms_nobody_and_is_told_once() {
    let endpoint = format!("http://127.0.0.1:{}", free_port().unwrap());
    let mut server = Server::start_with(&["--otlp-endpoint", &endpoint]).await.unwrap();
    let milvus = Milvus::at(&server.url());
    fill(&milvus, "docs", 4).await;
    let caller = Caller::new();
    assert_eq!(caller.create_snapshot(&milvus, "docs", "one").await, 0);
    wait_for("lost spans in the metrics", SOON, async || {
        let (_, metrics) = get(server.management(), "/metrics").await.map_err(|error| error.to_string())?;
        let lost = metrics.lines().find_map(|line| line.strip_prefix("elanus_runtime_spans_total{outcome=\"lost\"} "));
        match lost.and_then(|number| number.parse::<u64>().ok()) {
            Some(1..) => Ok(()),
            _ => Err(metrics),
        }
    })
    .await;
    fill(&milvus, "more", 4).await;
    server.terminate().await.unwrap();
    let log = server.log();
    assert_eq!(log.matches("traces are lost").count(), 1, "{log}");
    assert!(!log.contains("OpenTelemetry"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_receiver_and_no_share_is_refused() {
    for (flag, value, says) in [
        ("--otlp-endpoint", "jaeger:4317", "http://jaeger:4317"),
        ("--otlp-endpoint", "https://jaeger:4317", "collector"),
        ("--trace-sample-fraction", "10%", "from 0 to 1"),
    ] {
        let ended = elanus(["standalone", flag, value]).await.unwrap();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(flag) && ended.stderr.contains(says), "{ended:?}");
    }
}
