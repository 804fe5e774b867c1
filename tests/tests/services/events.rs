//! NATS between the processes: events of one wake the others; without it everything works all the same, and afterwards what
//! waited is published, once.

use crate::world::{Cluster, SOON, Sent, ctl, persist};
use async_nats::jetstream::{self, Context};
use elanus_scenarios::{
    file,
    milvus::{CallError, Milvus},
    rows::Row,
};
use elanus_testkit::{Nats, Server, elanus, get, python, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;

/// All services of a cluster with this bus.
struct Services {
    cluster: Cluster,
    datacoord: Server,
    datanode: Server,
    querynode: Server,
    proxy: Server,
}

impl Services {
    async fn start(nats: &Nats) -> Self {
        let cluster = Cluster::on_a_directory().with("ELANUS_EVENTS_URL", &nats.url());
        cluster.migrate().await;
        let datacoord = cluster.service("datacoord").await;
        let (datanode, querynode) = (cluster.service("datanode").await, cluster.service("querynode").await);
        let proxy = cluster.service("proxy").await;
        cluster.active_after(0).await;
        Self { cluster, datacoord, datanode, querynode, proxy }
    }

    fn all(&self) -> [&Server; 4] {
        [&self.datacoord, &self.datanode, &self.querynode, &self.proxy]
    }

    /// Id of the cluster.
    async fn id(&self) -> String {
        self.cluster.status().await["cluster_id"].as_str().unwrap().to_owned()
    }

    /// Waits until nothing is left to publish.
    async fn published(&self) {
        wait_for("an empty outbox", SOON, async || {
            let status = self.cluster.status().await;
            if status["queues"]["events"] == 0 { Ok(()) } else { Err(format!("{:#}", status["queues"])) }
        })
        .await;
    }

    /// Waits until all of them say that the bus is there, or away.
    async fn all_say(&self, away: bool) {
        for server in self.all() {
            wait_for("health that says how the bus is", SOON, async || {
                let (status, text) = get(server.management(), "/healthz").await.unwrap();
                let found = text.contains("events: NATS at");
                // It serves all the same.
                if found == away && status == 200 { Ok(()) } else { Err(format!("{status} {text}")) }
            })
            .await;
        }
    }
}

/// The number behind a line of the metrics, 0 where there is none.
async fn metric(server: &Server, line: &str) -> u64 {
    let text = get(server.management(), "/metrics").await.unwrap().1;
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |number| number.trim().parse().unwrap())
}

async fn reaches(server: &Server, line: &str, number: u64) {
    wait_for(line, SOON, async || match metric(server, line).await {
        found if found >= number => Ok(()),
        found => Err(format!("{found} of {number}")),
    })
    .await;
}

async fn outsider(nats: &Nats) -> Context {
    jetstream::new(async_nats::connect(nats.url()).await.unwrap())
}

/// What is in the stream: how often each id, and how often each key of these kinds.
async fn stored(nats: &Nats, cluster: &str) -> (BTreeMap<String, u32>, BTreeMap<String, u32>) {
    let mut stream = outsider(nats).await.get_stream(format!("elanus-{cluster}")).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let (mut ids, mut keys) = (BTreeMap::new(), BTreeMap::new());
    for sequence in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        *ids.entry(message.headers.get("Nats-Msg-Id").unwrap().to_string()).or_default() += 1;
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        *keys.entry(body["key"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    (ids, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_process_wake_the_others() {
    let nats = Nats::start().await.unwrap();
    let mut services = Services::start(&nats).await;
    services.all_say(false).await;
    let milvus = Milvus::at(&services.proxy.url());
    milvus.create_collection("docs").await.unwrap();
    milvus.insert("docs", &[Row { id: 1, version: 1 }]).await.unwrap();
    assert_eq!(milvus.query("docs", "id > 0").await.unwrap().len(), 1);

    // A write of the data node, told by the coordinator: the query node has it before anybody asks.
    let (by_read, by_event) =
        ("elanus_querynode_view_refreshes_total{by=\"read\"}", "elanus_querynode_view_refreshes_total{by=\"event\"}");
    let (reads, events) = (metric(&services.querynode, by_read).await, metric(&services.querynode, by_event).await);
    // Again and again: an event that came before the query node listened is not heard.
    let mut written = 1;
    while metric(&services.querynode, by_event).await == events {
        written += 1;
        assert!(written < 60, "no event is heard: {}", services.querynode.log());
        milvus.insert("docs", &[Row { id: written, version: 1 }]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(metric(&services.querynode, by_read).await, reads, "nobody has read");
    assert_eq!(milvus.query("docs", "id > 0").await.unwrap().len() as i64, written);

    // Tasks and jobs come back to the coordinator from the bus.
    milvus.create_snapshot("docs", "s").await.unwrap();
    ctl(&services.proxy, "snapshot restore docs s copied --mode copy --wait").await;
    for kind in ["restore", "task"] {
        reaches(&services.datacoord, &format!("elanus_events_received_total{{kind=\"{kind}\"}}"), 1).await;
    }

    // Operators follow them through the proxy, programs with any client of NATS.
    services.published().await;
    let tail = "--output json events tail --kind snapshot,segment --from-seq 1 --limit 3";
    let tailed: Vec<Value> =
        ctl(&services.proxy, tail).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<String> =
        tailed.iter().map(|event| format!("{} {}", event["kind"], event["payload"]["to"]).replace('"', "")).collect();
    assert_eq!(told, ["segment growing", "snapshot pending", "snapshot committed"]);
    let shown = ctl(&services.proxy, "events tail --kind snapshot --since 1h --limit 2").await;
    assert!(shown.contains("manifests_written: pending → committed"), "{shown}");
    let cluster = services.id().await;
    let script = file("python/follow_events.py");
    let followed = python(&script, &[&nats.url(), &cluster, "2"]).await.unwrap();
    let followed: Vec<Value> = followed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (theirs, ours) in followed.iter().zip(&tailed[1..]) {
        assert_eq!(
            (&theirs["id"], &theirs["key"], &theirs["payload"]),
            (&ours["event_id"], &ours["key"], &ours["payload"])
        );
    }

    // What is no event is put aside, and stands in nobody's way.
    let context = outsider(&nats).await;
    context.publish(format!("elanus.{cluster}.task.1"), "no event".into()).await.unwrap().await.unwrap();
    reaches(&services.datacoord, "elanus_events_dead_letters_total{consumer=\"datacoord\"}", 1).await;
    let dead = context.get_stream(format!("elanus-dead-{cluster}")).await.unwrap();
    let letter = dead.get_raw_message(1).await.unwrap();
    assert_eq!(letter.headers.get("Elanus-Deliveries").unwrap().as_str(), "5");

    // A proxy that ends says so to those who follow.
    let address = services.proxy.url();
    let follower = tokio::spawn(async move { elanus(["ctl", "--addr", &address, "events", "tail"]).await.unwrap() });
    milvus.insert("docs", &[Row { id: written + 1, version: 1 }]).await.unwrap();
    services.proxy.terminate().await.unwrap();
    let ended = follower.await.unwrap();
    assert_eq!(ended.code, Some(7), "{ended:?}");
}

async fn snapshot(milvus: &Milvus, name: &str) {
    persist("a snapshot", async || match milvus.create_snapshot("docs", name).await {
        Err(CallError::Refused(failure)) if failure.message.contains("exist") => Ok(()),
        other => other,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_everything_works_and_it_catches_up() {
    let mut nats = Nats::not_started(&[]).unwrap();
    let services = Services::start(&nats).await;
    services.all_say(true).await;
    let milvus = Milvus::at(&services.proxy.url());
    milvus.create_collection("docs").await.unwrap();
    let mut sent = Sent::default();
    let mut ids = 1..;
    let mut write = async |number: usize| {
        for id in ids.by_ref().take(number) {
            sent.note(id, milvus.insert("docs", &[Row { id, version: 1 }]).await.map(drop));
        }
    };
    write(20).await;
    snapshot(&milvus, "before_it_came").await;
    ctl(&services.proxy, "snapshot restore docs before_it_came copied --mode copy --wait").await;
    assert!(services.cluster.status().await["queues"]["events"].as_i64().unwrap() > 20, "events wait");

    nats.start_again().await.unwrap();
    services.all_say(false).await;
    services.published().await;

    // Killed under load, twice: with events on their way, and for a while.
    for round in 0..2 {
        write(20).await;
        nats.kill9();
        write(20).await;
        snapshot(&milvus, &format!("without_{round}")).await;
        services.all_say(true).await;
        write(20).await;
        nats.start_again().await.unwrap();
        services.all_say(false).await;
    }
    write(20).await;
    services.published().await;

    let cluster = services.id().await;
    let (by_id, by_key) = stored(&nats, &cluster).await;
    let twice: Vec<_> = by_id.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "published more than once: {twice:?}");
    assert_eq!(metric(&services.datacoord, "elanus_runtime_outbox_forgotten_total").await, 0);
    // Three snapshots, pending and committed, and a copy of one: every move of theirs, once.
    let moves =
        |kind: &str| by_key.iter().filter(|(key, _)| key.starts_with(kind)).map(|(_, times)| *times).sum::<u32>();
    assert_eq!(moves("snapshot."), 6, "{by_key:?}");
    // One event for each commit at most, and every commit has one: nobody else wrote, so no two were one commit.
    assert!(moves("collection.") as usize >= sent.acknowledged.len(), "{by_key:?}");
    assert_eq!(sent.acknowledged.len(), 160, "the bus is in no write's way: {sent:?}");
    sent.check(&milvus, "docs").await;
    ctl(&services.proxy, "snapshot restore docs without_1 again --mode copy --wait").await;
    ctl(&services.proxy, "scrub --checksums").await;

    // A line when it is lost, a line when it is back, in each process. Who was not long without it at the start says nothing
    // of that; a server that was started a moment ago may be lost once more before it serves.
    for server in services.all() {
        let log = server.log();
        let times = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        assert!((2..=6).contains(&times("the event bus is away")), "{log}");
        assert_eq!(times("the event bus is back"), times("the event bus is away"), "{log}");
        // Such a server may also take its time to acknowledge: that round is repeated.
        assert!(times("background round failed") <= 3, "{log}");
    }
}
