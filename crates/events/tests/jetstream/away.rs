//! The server is away: at the start, for a while, and with all that it kept.

use super::{SOON, bus, config, ids, next, outsider, publish, task};
use elanus_events::{EventBus, Item, Kind, open};
use elanus_testkit::{Nats, wait_for};
use std::time::Duration;
use tokio_stream::StreamExt as _;

async fn known(bus: &dyn EventBus, away: bool) {
    wait_for("the state of the bus to be known", SOON, async || match bus.away() {
        found if found.is_some() == away => Ok(()),
        found => Err(format!("{found:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_come_later_and_go_and_come_back() {
    let mut nats = Nats::not_started(&[]).unwrap();
    let bus = open(&config(&nats), "c", "test").await.unwrap();
    assert!(bus.away().unwrap().contains(&nats.url()));
    // Nothing waits for a server that is not there.
    let at_once = Duration::from_secs(20);
    let refused = tokio::time::timeout(at_once, bus.publish(task(1))).await.expect("an answer at once");
    assert!(refused.is_err());
    assert!(tokio::time::timeout(at_once, bus.subscribe(&[Kind::Task])).await.expect("an answer at once").is_err());
    tokio::time::timeout(at_once, bus.nudge()).await.expect("a nudge does not wait");

    nats.start_again().await.unwrap();
    known(&*bus, false).await;
    publish(&*bus, &task(1)).await;
    let mut items = bus.subscribe(&[Kind::Task]).await.unwrap();
    publish(&*bus, &task(2)).await;
    assert_eq!(next(&mut items).await, task(2));

    nats.kill9();
    known(&*bus, true).await;
    let (sent, answer) = bus.publish_all(vec![task(3), task(4)]).await;
    assert!(sent == 0 && answer.is_err());
    nats.start_again().await.unwrap();
    known(&*bus, false).await;
    let publish_all = async || match bus.publish_all(vec![task(3), task(4)]).await {
        (2, Ok(())) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_for("what waited is published", SOON, publish_all).await;
    // The same subscription goes on, and says that there may be a gap.
    let told = tokio::time::timeout(SOON, items.next()).await.expect("something comes");
    assert_eq!(told, Some(Item::Lagged));
    assert_eq!((next(&mut items).await, next(&mut items).await), (task(3), task(4)));
    let expected: Vec<String> = (1..=4).map(|n| task(n).id.to_string()).collect();
    assert_eq!(ids(&outsider(&nats).await, "elanus-c").await, expected, "kill -9 lost nothing that was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_what_it_kept_gets_its_streams_again() {
    let mut nats = Nats::start().await.unwrap();
    let bus = bus(&config(&nats), "c").await;
    for n in 1..=5 {
        publish(&*bus, &task(n)).await;
    }
    let mut items = bus.subscribe(&[Kind::Task]).await.unwrap();
    nats.wipe().unwrap();
    known(&*bus, true).await;
    nats.start_again().await.unwrap();
    known(&*bus, false).await;
    publish(&*bus, &task(6)).await;
    assert_eq!(next(&mut items).await, task(6), "numbers begin anew, and events come");
}
