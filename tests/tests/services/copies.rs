//! Copies move to data nodes that come, and away from those that leave or die.

use crate::world::{Cluster, SOON, ctl};
use elanus_proto::milvus::CreateCollectionRequest;
use elanus_scenarios::{
    milvus::Milvus,
    rows::{self, Row},
};
use elanus_testkit::{Server, settings, wait_for};
use prost::Message as _;
use std::collections::BTreeSet;

/// Nodes that a job's tasks were given to, by the address of the process.
async fn nodes_of(proxy: &Server, job: &str) -> BTreeSet<String> {
    let history = ctl(proxy, &format!("--output json job history {job}")).await;
    let given = history.split('"').filter_map(|text| text.split_once(", node "));
    given.map(|(_, node)| node.to_owned()).collect()
}

async fn at_work(proxy: &Server, job: &str, nodes: usize) {
    wait_for("copies on so many nodes", SOON, async || {
        let found = nodes_of(proxy, job).await;
        if found.len() >= nodes { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_move_to_nodes_that_come_and_away_from_those_that_go() {
    let cluster = Cluster::on_s3().await;
    cluster.migrate().await;
    let _coordinator = cluster.service("datacoord").await;
    let slow = ["--copy-slots", "1", "--copies-at-once-max", "1"];
    let (_reader, proxy) = (cluster.service("querynode").await, cluster.service("proxy").await);
    let mut first = cluster.service_with("datanode", &slow).await;
    cluster.active_after(0).await;

    let milvus = Milvus::at(&proxy.url());
    let schema = rows::schema("many").encode_to_vec().into();
    let wide =
        CreateCollectionRequest { collection_name: "many".to_owned(), schema, shards_num: 16, ..Default::default() };
    milvus.raw().create_collection(wide).await.unwrap();
    milvus.create_index("many").await.unwrap();
    milvus.load("many").await.unwrap();
    const WRITES: i64 = 70;
    const ROWS: i64 = 64;
    for write in 0..WRITES {
        let rows: Vec<Row> = (1..=ROWS).map(|n| Row { id: write * ROWS + n, version: 1 }).collect();
        milvus.insert("many", &rows).await.unwrap();
    }
    milvus.create_snapshot("many", "s").await.unwrap();
    let started = ctl(&proxy, "--output json snapshot restore many s many_back --mode copy").await;
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    let job = started["job_id"].to_string();
    at_work(&proxy, &job, 1).await;

    let mut second = cluster.service_with("datanode", &slow).await;
    at_work(&proxy, &job, 2).await;
    first.terminate().await.unwrap();
    let third = cluster.service_with("datanode", &["--copy-slots", "4"]).await;
    at_work(&proxy, &job, 3).await;
    // A node that dies keeps its tasks until their lease ends, half a minute later.
    if settings::full() {
        second.kill9().unwrap();
    } else {
        second.terminate().await.unwrap();
    }
    wait_for("the end of the restore", SOON * 2, async || {
        let described = ctl(&proxy, &format!("--output json job describe {job}")).await;
        if described.contains("\"completed\"") { Ok(()) } else { Err(described) }
    })
    .await;
    milvus.load("many_back").await.unwrap();
    let found = milvus.query("many_back", "id > 0").await.unwrap();
    assert_eq!(found.len(), usize::try_from(WRITES * ROWS).unwrap());
    eprintln!("{}", ctl(&proxy, &format!("job describe {job}")).await);
    drop(third);
}
