//! Every service is killed in turn, and a coordinator is paused, under load.

use crate::world::{Cluster, SOON, Sent, ctl, persist};
use elanus_scenarios::{milvus::Milvus, rows::Row};
use elanus_testkit::{Server, Signal, wait_for};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Inserts rows one by one until it is told to stop.
fn load(milvus: &Milvus, stop: &Arc<AtomicBool>) -> JoinHandle<Sent> {
    let (milvus, stop) = (milvus.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut sent = Sent::default();
        for id in 1.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let answer = milvus.insert("load", &[Row { id, version: 1 }]).await.map(drop);
            let pause = if answer.is_ok() { Duration::ZERO } else { Duration::from_millis(200) };
            sent.note(id, answer);
            tokio::time::sleep(pause).await;
        }
        sent
    })
}

/// The time until a write and a read succeed.
async fn back(milvus: &Milvus, what: &str, id: i64) {
    let started = Instant::now();
    persist("a write", async || milvus.upsert("probe", &[Row { id, version: 1 }]).await).await;
    persist("a read", async || milvus.query("probe", &format!("id == {id}")).await).await;
    eprintln!("{what}: served again after {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_may_be_killed() {
    let cluster = Cluster::on_a_directory();
    cluster.migrate().await;
    let mut coordinators = [cluster.service("datacoord").await, cluster.service("datacoord").await];
    let mut writers = [cluster.service("datanode").await, cluster.service("datanode").await];
    let mut readers = [cluster.service("querynode").await, cluster.service("querynode").await];
    let mut proxies = [cluster.service("proxy").await, cluster.service("proxy").await];
    let mut epoch = cluster.active_after(0).await;
    let milvus = Milvus::at(&proxies[0].url());
    milvus.create_collection("load").await.unwrap();
    milvus.create_collection("probe").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let loading = load(&milvus, &stop);

    for (n, (writer, reader)) in writers.iter_mut().zip(&mut readers).enumerate() {
        let n = i64::try_from(n).unwrap();
        writer.kill9().unwrap();
        back(&milvus, "data node killed", 10 + n).await;
        writer.restart().await.unwrap();
        reader.kill9().unwrap();
        back(&milvus, "query node killed", 20 + n).await;
        reader.restart().await.unwrap();
    }
    for n in 0..2 {
        // The active one, whichever it is.
        let active = active_one(&cluster, &coordinators).await;
        let started = Instant::now();
        coordinators[active].kill9().unwrap();
        milvus_snapshot(&milvus, &format!("after_{n}")).await;
        epoch = cluster.active_after(epoch).await;
        eprintln!("coordinator killed: a snapshot was taken after {:?}", started.elapsed());
        coordinators[active].restart().await.unwrap();
    }
    proxies[0].kill9().unwrap();
    let other = Milvus::at(&proxies[1].url());
    back(&other, "proxy killed, the other one", 30).await;
    proxies[0].restart().await.unwrap();
    back(&milvus, "proxy restarted", 31).await;

    stop.store(true, Ordering::Relaxed);
    let sent = loading.await.unwrap();
    eprintln!(
        "{} acknowledged, {} refused, {} unknown",
        sent.acknowledged.len(),
        sent.refused.len(),
        sent.unknown.len()
    );
    assert!(sent.acknowledged.len() > 10 && sent.unknown.len() < 100, "{sent:?}");
    sent.check(&milvus, "load").await;
    sent.check(&other, "load").await;
    ctl(&proxies[1], "snapshot restore load after_0 again --mode copy --wait").await;
    ctl(&proxies[1], "scrub --checksums").await;
    wait_for("everybody is there", SOON, async || {
        let status = cluster.status().await;
        if status["missing"].as_array().unwrap().is_empty() { Ok(()) } else { Err(format!("{:#}", status["missing"])) }
    })
    .await;
}

async fn milvus_snapshot(milvus: &Milvus, name: &str) {
    let create = async || match milvus.create_snapshot("load", name).await {
        Err(elanus_scenarios::milvus::CallError::Refused(failure)) if failure.message.contains("exist") => Ok(()),
        other => other,
    };
    persist("a snapshot", create).await;
}

/// Which of them is active.
async fn active_one(cluster: &Cluster, coordinators: &[Server]) -> usize {
    wait_for("an active coordinator", SOON, async || {
        let status = cluster.status().await;
        let active = status["services"].as_array().unwrap().iter().find(|service| service["state"] == "active");
        let address = active.and_then(|active| active["address"].as_str()).unwrap_or_default().to_owned();
        coordinators.iter().position(|one| one.listen().to_string() == address).ok_or(format!("{status:#}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_wakes_up_after_its_successor_took_over_stops() {
    let cluster = Cluster::on_a_directory();
    cluster.migrate().await;
    let mut paused = cluster.service("datacoord").await;
    let epoch = cluster.active_after(0).await;
    let mut standby = cluster.service("datacoord").await;
    let (mut writer, reader) = (cluster.service("datanode").await, cluster.service("querynode").await);
    let proxy = cluster.service("proxy").await;
    let milvus = Milvus::at(&proxy.url());
    milvus.create_collection("docs").await.unwrap();
    milvus.insert("docs", &[Row { id: 1, version: 1 }]).await.unwrap();

    paused.signal(Signal::Stop).unwrap();
    let started = Instant::now();
    assert!(cluster.active_after(epoch).await > epoch);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "the standby took over after {took:?}");
    persist("a write", async || milvus.upsert("docs", &[Row { id: 2, version: 1 }]).await).await;
    persist("a snapshot", async || match milvus.create_snapshot("docs", "s").await {
        Err(elanus_scenarios::milvus::CallError::Refused(failure)) if failure.message.contains("exist") => Ok(()),
        other => other,
    })
    .await;
    paused.signal(Signal::Continue).unwrap();
    assert_eq!(paused.wait().await.unwrap(), Some(1));
    // Whichever it notices first: the coordination, or the marker.
    let says = ["another elanus took over this metadata", "is now owned by"];
    assert!(says.iter().any(|text| paused.log().contains(text)), "{}", paused.log());
    eprintln!("the standby took over after {took:?}");
    assert_eq!(milvus.query("docs", "id > 0").await.unwrap().len(), 2);

    // Started again it stands by, and goes on when the other one ends in good order.
    paused.restart().await.unwrap();
    let second = cluster.active_after(epoch).await;
    let started = Instant::now();
    standby.terminate().await.unwrap();
    cluster.active_after(second).await;
    eprintln!("a coordinator ended in good order: the next one was active after {:?}", started.elapsed());
    ctl(&proxy, "scrub --checksums").await;

    // A data node that is paused is passed over, and its writes are not lost.
    let second_writer = cluster.service("datanode").await;
    writer.signal(Signal::Stop).unwrap();
    persist("a write", async || milvus.upsert("docs", &[Row { id: 3, version: 1 }]).await).await;
    writer.signal(Signal::Continue).unwrap();
    assert_eq!(milvus.query("docs", "id > 0").await.unwrap().len(), 3);
    writer.terminate().await.unwrap();
    drop((second_writer, reader));
}
