//! Seven processes that make one server.

use crate::world::{Cluster, ctl};
use elanus_scenarios::file;
use elanus_testkit::{Server, elanus, get, python};
use std::time::Instant;

async fn script(proxy: &Server, args: &[&str]) {
    let (url, script) = (proxy.url(), file(&format!("python/{}", args[0])));
    let args: Vec<&str> = [url.as_str()].into_iter().chain(args[1..].iter().copied()).collect();
    eprintln!("{}", python(&script, &args).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn pymilvus_works_through_services_that_find_each_other() {
    let cluster = Cluster::on_s3().await;
    let refused = format!("{:#}", cluster.try_service("datanode", &[]).await.unwrap_err());
    assert!(refused.contains("elanus migrate") && refused.contains("exit status: 3"), "{refused}");
    cluster.migrate().await;
    let again = elanus(["migrate", "--check", "--meta", &cluster.postgres.url()]).await.unwrap();
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(!cluster.status().await["missing"].as_array().unwrap().is_empty(), "nobody is there yet");

    // In an order in which everybody has to wait for somebody.
    let mut proxy = cluster.service("proxy").await;
    let (mut writer, mut reader) = (cluster.service("datanode").await, cluster.service("querynode").await);
    let (mut second_writer, mut second_reader) =
        (cluster.service("datanode").await, cluster.service("querynode").await);
    let mut coordinator = cluster.service("datacoord").await;
    let epoch = cluster.active_after(0).await;
    let mut standby = cluster.service("datacoord").await;

    script(&proxy, &["quick_start.py"]).await;
    script(&proxy, &["on_s3.py", "fill"]).await;
    let started = Instant::now();
    ctl(&proxy, "snapshot restore docs before cloned --mode clone --wait").await;
    let cloned = started.elapsed();
    ctl(&proxy, "snapshot restore docs before copied --mode copy --wait").await;
    eprintln!("restored by clone in {cloned:?}, by copy in {:?}", started.elapsed() - cloned);
    script(&proxy, &["on_s3.py", "check"]).await;
    ctl(&proxy, "scrub --checksums").await;

    let status = cluster.status().await;
    assert_eq!(status["missing"].as_array().unwrap().len(), 0, "{status:#}");
    let mut states: Vec<String> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| format!("{} {}", service["kind"].as_str().unwrap(), service["state"].as_str().unwrap()))
        .collect();
    states.sort();
    let expected = [
        "datacoord active",
        "datacoord standby",
        "datanode up",
        "datanode up",
        "proxy up",
        "querynode up",
        "querynode up",
    ];
    assert_eq!(states, expected);
    let shown = ctl(&proxy, "status").await;
    assert!(shown.contains(&standby.listen().to_string()) && !shown.contains("missing"), "{shown}");
    for server in [&proxy, &writer, &reader, &coordinator, &standby] {
        assert_eq!(get(server.management(), "/healthz/strict").await.unwrap(), (200, "OK\n".to_owned()));
        assert!(get(server.management(), "/metrics").await.unwrap().1.contains("elanus_"));
    }

    // In good order: the standby goes on, and nobody is missed.
    coordinator.terminate().await.unwrap();
    assert!(cluster.active_after(epoch).await > epoch);
    for node in [&mut writer, &mut reader] {
        node.terminate().await.unwrap();
    }
    script(&proxy, &["on_s3.py", "drop"]).await;
    ctl(&proxy, "scrub --checksums").await;
    ctl(&proxy, "status").await;
    for node in [&mut second_writer, &mut second_reader, &mut standby, &mut proxy] {
        node.terminate().await.unwrap();
    }
    let status = cluster.status().await;
    assert_eq!(status["services"].as_array().unwrap().len(), 0, "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_at_given_addresses_need_no_registry() {
    let cluster = Cluster::on_a_directory();
    cluster.migrate().await;
    let coordinators = [cluster.service("datacoord").await, cluster.service("datacoord").await];
    let at = |server: &Server| server.listen().to_string();
    let coordinators_at = coordinators.each_ref().map(at).join(",");
    let writer = cluster.service_with("datanode", &["--datacoord", &coordinators_at]).await;
    let reader = cluster.service("querynode").await;
    let flags = ["--datacoord", &coordinators_at, "--datanode", &at(&writer), "--querynode", &at(&reader)];
    let proxy = Server::start_service("proxy", &flags, Vec::new()).await.unwrap();
    script(&proxy, &["quick_start.py"]).await;

    // A process of another kind, or of none of them, is not let in.
    let alone = format!("{:#}", Server::start_service("proxy", &[], Vec::new()).await.unwrap_err());
    assert!(alone.contains("--meta: give the metadata store") && alone.contains("exit status: 2"), "{alone}");
}
