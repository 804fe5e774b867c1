//! Traces and metrics of services in processes of their own.

use crate::metrics;
use crate::requests::{Caller, completed, fill};
use crate::tree::{CLONE, COPY, CREATE, Tree, attribute, speaks_the_standard};
use crate::world::{Cluster, ctl};
use elanus_scenarios::milvus::Milvus;
use elanus_testkit::{Nats, OtlpReceiver, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_trace_through_four_processes_and_metrics_keep_their_names() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let nats = Nats::start().await.unwrap();
    let cluster = Cluster::on_s3().await.with("ELANUS_EVENTS_URL", &nats.url());
    cluster.migrate().await;
    let endpoint = receiver.endpoint();
    let traced = ["--otlp-endpoint", &endpoint];
    let coordinator =
        cluster.service_with("datacoord", &[&traced[..], &["--compaction-interval", "1s"]].concat()).await;
    cluster.active_after(0).await;
    let (writer, reader) =
        (cluster.service_with("datanode", &traced).await, cluster.service_with("querynode", &traced).await);
    let proxy = cluster.service_with("proxy", &traced).await;
    let milvus = Milvus::at(&proxy.url());
    fill(&milvus, "docs", 6).await;

    let caller = Caller::new();
    assert_eq!(caller.create_snapshot(&milvus, "docs", "before").await, 0);
    let wanted = ["datacoord.snapshot.commit", "MilvusService/CreateSnapshot", "outbox.publish"];
    let tree = Tree::of(&receiver, &caller, &wanted).await;
    eprintln!("{}", tree.picture());
    tree.has_ways(CREATE);
    tree.has_ways(&[
        "MilvusService/CreateSnapshot / DataCoord/CreateSnapshot / datacoord.snapshot.pin / outbox.publish",
        "MilvusService/CreateSnapshot / DataCoord/CreateSnapshot / datacoord.snapshot.commit / outbox.publish",
    ]);
    assert_eq!(tree.root(&caller).service, "elanus-proxy");
    assert_eq!(tree.one("DataCoord/CreateSnapshot").service, "elanus-datacoord");
    assert_eq!(attribute(tree.one("→ DataCoord/CreateSnapshot"), "server.address"), coordinator.listen().to_string());

    let caller = Caller::new();
    let (_, job) = caller.restore(&milvus, ("docs", "before"), "shared", "clone").await;
    completed(&milvus, job).await;
    Tree::of(&receiver, &caller, &["datacoord.restore.clone", "MilvusService/RestoreSnapshot"]).await.has_ways(CLONE);

    let caller = Caller::new();
    let (_, job) = caller.restore(&milvus, ("docs", "before"), "copied", "copy").await;
    completed(&milvus, job).await;
    let wanted = ["datacoord.restore.publish", "MilvusService/RestoreSnapshot", "datanode.task.copy"];
    let tree = Tree::of(&receiver, &caller, &wanted).await;
    eprintln!("{}", tree.picture());
    tree.has_ways(COPY);
    speaks_the_standard(&tree);
    assert_eq!(tree.one("datanode.task.copy").service, "elanus-datanode");
    assert_eq!(tree.one("datacoord.restore.publish").service, "elanus-datacoord");

    one_of_everything(&milvus, &proxy).await;
    for (service, server) in
        [("proxy", &proxy), ("datacoord", &coordinator), ("datanode", &writer), ("querynode", &reader)]
    {
        metrics::keep_their_names(service, server).await;
    }
    a_job_stays_in_its_trace_when_its_coordinator_dies(&receiver, &milvus, coordinator, writer).await;
}

/// There is no data node when the job is made, and another coordinator when there is one.
async fn a_job_stays_in_its_trace_when_its_coordinator_dies(
    receiver: &OtlpReceiver,
    milvus: &Milvus,
    mut coordinator: Server,
    mut writer: Server,
) {
    milvus.create_snapshot("docs", "later").await.unwrap();
    writer.terminate().await.unwrap();
    let caller = Caller::new();
    let (_, job) = caller.restore(milvus, ("docs", "later"), "after_all", "copy").await;
    Tree::of(receiver, &caller, &["datacoord.restore.plan", "MilvusService/RestoreSnapshot"]).await;
    coordinator.kill9().unwrap();
    coordinator.restart().await.unwrap();
    writer.restart().await.unwrap();
    completed(milvus, job).await;
    let tree = Tree::of(receiver, &caller, &["datacoord.restore.publish", "datanode.task.copy"]).await;
    tree.has_ways(COPY);
    let (before, after) = (tree.one("datacoord.restore.plan"), tree.one("datacoord.restore.publish"));
    assert_ne!(before.instance, after.instance, "{}", tree.picture());
}

/// What makes metrics that the above did not.
async fn one_of_everything(milvus: &Milvus, proxy: &Server) {
    assert_eq!(milvus.query("docs", "id > 0").await.unwrap().len(), 96);
    milvus.delete("docs", &[1]).await.unwrap();
    ctl(proxy, "collection compact docs --wait").await;
    milvus.drop_snapshot("docs", "before").await.unwrap();
    milvus.drop_collection("shared").await.unwrap();
    ctl(proxy, "status").await;
}
