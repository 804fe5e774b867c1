//! The bus between processes against a NATS server: the promises of every bus, and those of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod away;
mod encrypted;
mod kept;
mod refused;

use async_nats::jetstream::{self, Context};
use elanus_events::{BusConfig, Envelope, EventBus, Item, Limits, Login, Subject, Subscription, open, suite};
use elanus_testkit::{Nats, wait_for};
use elanus_types::TaskId;
use std::{sync::Arc, time::Duration};
use tokio_stream::StreamExt as _;

const SOON: Duration = Duration::from_secs(60);

fn config(nats: &Nats) -> BusConfig {
    BusConfig { url: nats.url().parse().unwrap(), ..BusConfig::default() }
}

/// A bus that is connected and has its streams.
async fn bus(config: &BusConfig, cluster: &str) -> Arc<dyn EventBus> {
    let bus = open(config, cluster, "test").await.unwrap();
    publish(&*bus, &task(0)).await;
    bus
}

/// As an outbox numbers them.
fn task(n: i64) -> Envelope {
    suite::envelope(Subject::Task(TaskId(n)))
}

/// Again and again, as a relay does.
async fn publish(bus: &dyn EventBus, envelope: &Envelope) {
    let send = async || bus.publish(envelope.clone()).await.map_err(|error| format!("{error:?}"));
    wait_for("an event to be published", SOON, send).await;
}

/// The next event, whatever gaps there are before it.
async fn next(items: &mut Subscription) -> Envelope {
    loop {
        match tokio::time::timeout(SOON, items.next()).await.expect("an event comes") {
            Some(Item::Event(event)) => return event,
            Some(Item::Lagged) => {}
            None => panic!("the bus is there, so is the subscription"),
        }
    }
}

/// A client that knows nothing of Elanus.
async fn outsider(nats: &Nats) -> Context {
    jetstream::new(async_nats::connect(nats.url()).await.unwrap())
}

/// Ids of the messages in a stream, in its order.
async fn ids(context: &Context, stream: &str) -> Vec<String> {
    let mut stream = context.get_stream(stream).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let mut ids = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        ids.push(message.headers.get("Nats-Msg-Id").unwrap().to_string());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_between_processes_keeps_every_promise() {
    let nats = Nats::start().await.unwrap();
    for promise in suite::PROMISES {
        // A cluster of its own, on the same server: none hears the others.
        promise.check(bus(&config(&nats), promise.name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_publishes_another_one_hears() {
    let nats = Nats::start().await.unwrap();
    let (one, other) = (bus(&config(&nats), "c").await, bus(&config(&nats), "c").await);
    let stranger = bus(&config(&nats), "d").await;
    let mut items = other.subscribe(elanus_events::Kind::ALL).await.unwrap();
    publish(&*stranger, &task(1)).await;
    publish(&*one, &task(2)).await;
    assert_eq!(next(&mut items).await, task(2), "and nothing of another cluster");

    // The publisher of the outbox waits, in another process.
    let _ = tokio::time::timeout(Duration::from_millis(200), one.nudged()).await;
    other.nudge().await;
    tokio::time::timeout(SOON, one.nudged()).await.expect("a nudge reaches another process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_lets_in_only_whom_it_knows() {
    let nats = Nats::start_with(&["--auth", "the-token"]).await.unwrap();
    let token = |text: &str| BusConfig { login: Login::Token(text.to_owned()), ..config(&nats) };
    bus(&token("the-token"), "c").await;
    let wrong = open(&token("another-one"), "c", "test").await.unwrap();
    let why = wait_for("the reason", SOON, async || {
        let why = wrong.away().unwrap_or_default();
        if why.to_lowercase().contains("authorization") { Ok(why) } else { Err(why) }
    })
    .await;
    assert!(!why.contains("another-one") && why.contains(&nats.url()), "{why}");
    assert!(wrong.publish(task(1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_made_once_and_corrected() {
    let nats = Nats::start().await.unwrap();
    bus(&config(&nats), "c").await;
    let context = outsider(&nats).await;
    let of = async |name: &str| context.get_stream(name).await.unwrap().cached_info().config.clone();
    for (name, subject) in [("elanus-c", "elanus.c.>"), ("elanus-dead-c", "elanus-dead.c.>")] {
        let found = of(name).await;
        assert_eq!((found.max_age, found.max_bytes), (Duration::from_secs(24 * 3_600), 1 << 30));
        assert_eq!((found.subjects, found.num_replicas), (vec![subject.to_owned()], 1));
    }
    // Of an operator: it stays. Of the configuration: it is corrected.
    let changed = jetstream::stream::Config { description: Some("ours".to_owned()), ..of("elanus-c").await };
    context.update_stream(&changed).await.unwrap();
    let limits = Limits { age_max: Duration::from_secs(3_600), bytes_max: 1 << 20, ..Limits::default() };
    bus(&BusConfig { limits, ..config(&nats) }, "c").await;
    let found = of("elanus-c").await;
    assert_eq!((found.max_age, found.max_bytes), (Duration::from_secs(3_600), 1 << 20));
    assert_eq!(found.description.as_deref(), Some("ours"));
    assert_eq!(ids(&context, "elanus-c").await.len(), 1, "what was there stays");

    // More copies than there are servers: nothing is published, and it says why.
    let limits = Limits { replicas: 3, ..Limits::default() };
    let impossible = open(&BusConfig { limits, ..config(&nats) }, "e", "test").await.unwrap();
    let why = wait_for("a refusal", SOON, async || match impossible.publish(task(1)).await {
        Err(error) if impossible.away().is_none() => Ok(format!("{error:?}")),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(why.contains("replicas"), "{why}");
}
