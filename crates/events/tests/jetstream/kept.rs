//! What the server keeps: once each, for those who come back, and from any point on.

use super::{bus, config, ids, next, outsider, publish, task};
use elanus_events::{Followed, Handler, Item, Kind, Start, Wanted};
use elanus_testkit::{Nats, wait_for};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_stream::StreamExt as _;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_published_again_is_there_once() {
    let nats = Nats::start().await.unwrap();
    let (one, other) = (bus(&config(&nats), "c").await, bus(&config(&nats), "c").await);
    let mut items = other.subscribe(&[Kind::Task]).await.unwrap();
    for n in [1, 2, 1, 2, 3] {
        publish(&*one, &task(n)).await;
        publish(&*other, &task(n)).await;
    }
    let expected: Vec<String> = (0..4).map(|n| task(n).id.to_string()).collect();
    assert_eq!(ids(&outsider(&nats).await, "elanus-c").await, expected);
    for n in 1..=3 {
        assert_eq!(next(&mut items).await, task(n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_begins_where_it_wants() {
    let nats = Nats::start().await.unwrap();
    let bus = bus(&config(&nats), "c").await;
    for n in 1..=4 {
        publish(&*bus, &task(n)).await;
    }
    let first = async |start: Start, wanted: Wanted| {
        let mut following = bus.follow(start, wanted).await.unwrap();
        match tokio::time::timeout(SOON, following.next()).await.expect("an event comes") {
            Some(Followed::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    };
    // The first one is that of `bus`.
    let third = first(Start::Sequence(3), Wanted::default()).await;
    assert_eq!((third.sequence, &third.envelope), (Some(3), &task(2)));
    let wanted = Wanted { kinds: vec![Kind::Task], id: Some(4) };
    assert_eq!(first(Start::Sequence(1), wanted).await.envelope, task(4));
    let since = first(Start::AtMs(third.published_ms.unwrap()), Wanted::default()).await;
    assert!(since.sequence <= Some(3), "{since:?}");
    assert_eq!(first(Start::AtMs(0), Wanted::default()).await.envelope, task(0));
    let mut now = bus.follow(Start::Now, Wanted::default()).await.unwrap();
    publish(&*bus, &task(5)).await;
    match tokio::time::timeout(SOON, now.next()).await.expect("an event comes") {
        Some(Followed::Event(event)) => assert_eq!(event.envelope, task(5)),
        other => panic!("{other:?}"),
    }
}

/// Notes what it is given.
fn notes() -> (Handler, Arc<Mutex<Vec<Item>>>) {
    let seen: Arc<Mutex<Vec<Item>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let handler: Handler = Arc::new(move |item| {
        noted.lock().unwrap().push(item.clone());
        Ok(())
    });
    (handler, seen)
}

async fn until(seen: &Mutex<Vec<Item>>, n: i64) {
    wait_for("an event", SOON, async || {
        let seen = seen.lock().unwrap();
        if seen.contains(&Item::Event(task(n))) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_comes_back_goes_on_where_it_was() {
    let nats = Nats::start().await.unwrap();
    let (publisher, first) = (bus(&config(&nats), "c").await, bus(&config(&nats), "c").await);
    let (handler, seen) = notes();
    let consuming = Arc::clone(&first);
    let consumer = tokio::spawn(async move { consuming.consume("name", &[Kind::Task], &handler).await });
    wait_for("its first look", SOON, async || if seen.lock().unwrap().is_empty() { Err("not yet") } else { Ok(()) })
        .await;
    publish(&*publisher, &task(1)).await;
    until(&seen, 1).await;
    consumer.abort();
    drop(first);

    publish(&*publisher, &task(2)).await;
    let second = bus(&config(&nats), "c").await;
    let (handler, seen) = notes();
    let consumer = tokio::spawn(async move { second.consume("name", &[Kind::Task], &handler).await });
    until(&seen, 2).await;
    assert_eq!(seen.lock().unwrap().first(), Some(&Item::Lagged), "it looks for itself first");
    consumer.abort();
}
