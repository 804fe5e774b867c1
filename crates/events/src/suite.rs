//! The promises of [`EventBus`] as tests, for a bus with which nothing is wrong. Every implementation runs all of
//! [`PROMISES`], each on a bus of its own.
//!
//! EV-1  An event reaches every subscriber of its kind, unchanged.
//! EV-2  A subscriber gets no events of other kinds.
//! EV-3  An event that nobody listens to is published all the same.
//! EV-4  A subscriber that does not read holds up nobody, and is told when it missed something.
//! EV-5  A subscriber that went away is no hindrance to the others.
//! EV-6  An event that its consumer does not take is given again, at most [`DELIVERIES_MAX`] times, and the next ones come.
//! EV-7  A nudge wakes who waits for one, and who waits after it.
//! EV-8  Many events at once are all sent, and who follows some of them gets those.

use crate::bus::DELIVERIES_MAX;
use crate::{Envelope, EventBus, Followed, Handler, Item, Kind, Start, Subject, Subscription, Wanted};
use elanus_types::{CollectionId, SegmentId, SnapshotId};
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_stream::StreamExt;

type Bus = Arc<dyn EventBus>;
type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The longest wait for an event that must come.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// One promise.
pub struct Promise {
    /// `ev_N_` and what is promised.
    pub name: &'static str,
    run: fn(Bus) -> Run,
}

impl Promise {
    /// Panics when `bus` does not keep the promise.
    pub async fn check(&self, bus: Bus) {
        let checked = tokio::time::timeout(WAIT_MAX * 2, (self.run)(bus)).await;
        assert!(checked.is_ok(), "{}: no answer", self.name);
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! promises {
    ($($name:ident,)*) => {
        /// All promises, in the order of their numbers.
        pub const PROMISES: &[Promise] = &[$(Promise { name: stringify!($name), run: |bus| Box::pin($name(bus)) },)*];
    };
}

promises! {
    ev_1_an_event_reaches_every_subscriber_unchanged,
    ev_2_other_kinds_do_not_come,
    ev_3_nobody_need_listen,
    ev_4_who_does_not_read_holds_up_nobody,
    ev_5_who_went_away_is_no_hindrance,
    ev_6_what_is_not_taken_is_put_aside,
    ev_7_a_nudge_wakes,
    ev_8_many_at_once_are_all_sent,
}

/// An event about `subject`.
#[must_use]
pub fn envelope(subject: Subject) -> Envelope {
    Envelope {
        // As an outbox would number them.
        id: (subject.kind() as i64) << 32 | subject.id(),
        dedup_key: format!("{subject}@1"),
        subject,
        payload: serde_json::json!({"text": "ä \" \n", "number": i64::MAX, "list": [1, null]}),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    }
}

fn segment(n: i64) -> Envelope {
    envelope(Subject::Segment(SegmentId(n)))
}

async fn publish(bus: &Bus, envelope: &Envelope) {
    bus.publish(envelope.clone()).await.expect("an event is published");
}

async fn subscribe(bus: &Bus, kinds: &[Kind]) -> Subscription {
    bus.subscribe(kinds).await.expect("a subscription is given")
}

/// What comes until this event does, with it.
async fn until(items: &mut Subscription, last: &Envelope) -> Vec<Item> {
    let mut seen = Vec::new();
    while !seen.contains(&Item::Event(last.clone())) {
        let next = tokio::time::timeout(WAIT_MAX, items.next()).await;
        let next = next.unwrap_or_else(|_| panic!("{} did not come, but {seen:?}", last.subject));
        seen.push(next.expect("the bus is there, so is the subscription"));
    }
    seen
}

async fn ev_1_an_event_reaches_every_subscriber_unchanged(bus: Bus) {
    let mut all = subscribe(&bus, Kind::ALL).await;
    let mut some = subscribe(&bus, &[Kind::Segment, Kind::Task]).await;
    publish(&bus, &segment(1)).await;
    until(&mut all, &segment(1)).await;
    until(&mut some, &segment(1)).await;
}

async fn ev_2_other_kinds_do_not_come(bus: Bus) {
    let mut items = subscribe(&bus, &[Kind::Snapshot]).await;
    let mut nothing = subscribe(&bus, &[]).await;
    let wanted = envelope(Subject::Snapshot(SnapshotId(1)));
    publish(&bus, &segment(1)).await;
    publish(&bus, &envelope(Subject::Collection(CollectionId(1)))).await;
    publish(&bus, &wanted).await;
    for item in until(&mut items, &wanted).await {
        assert!(!matches!(&item, Item::Event(other) if other.subject.kind() != Kind::Snapshot), "{item:?}");
    }
    let none = tokio::time::timeout(Duration::ZERO, nothing.next()).await;
    assert!(!matches!(none, Ok(Some(Item::Event(_)))), "{none:?}");
}

async fn ev_3_nobody_need_listen(bus: Bus) {
    publish(&bus, &segment(1)).await;
    let mut items = subscribe(&bus, Kind::ALL).await;
    publish(&bus, &segment(2)).await;
    until(&mut items, &segment(2)).await;
}

async fn ev_4_who_does_not_read_holds_up_nobody(bus: Bus) {
    let mut slow = subscribe(&bus, Kind::ALL).await;
    for n in 1..=5_000 {
        publish(&bus, &segment(n)).await;
    }
    let mut seen = 0;
    while seen < 5_000 {
        match tokio::time::timeout(WAIT_MAX, slow.next()).await.expect("something comes") {
            Some(Item::Event(_)) => seen += 1,
            Some(Item::Lagged) => return,
            None => panic!("the bus is there, so is the subscription"),
        }
    }
}

async fn ev_5_who_went_away_is_no_hindrance(bus: Bus) {
    let gone = subscribe(&bus, Kind::ALL).await;
    let mut stays = subscribe(&bus, Kind::ALL).await;
    publish(&bus, &segment(1)).await;
    drop(gone);
    publish(&bus, &segment(2)).await;
    until(&mut stays, &segment(2)).await;
}

async fn ev_6_what_is_not_taken_is_put_aside(bus: Bus) {
    let seen: Arc<Mutex<Vec<Item>>> = Arc::default();
    let (begun, news) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler: Handler = {
        let (seen, begun, news) = (Arc::clone(&seen), Arc::clone(&begun), Arc::clone(&news));
        Arc::new(move |item| {
            seen.lock().expect("no test panics here").push(item.clone());
            news.notify_one();
            match item {
                Item::Lagged => begun.notify_one(),
                Item::Event(event) if event.subject.id() == 1 => return Err("not this one".to_owned()),
                Item::Event(_) => {}
            }
            Ok(())
        })
    };
    let consumed = Arc::clone(&bus);
    let consumer = tokio::spawn(async move { consumed.consume("suite", &[Kind::Segment], &handler).await });
    tokio::time::timeout(WAIT_MAX, begun.notified()).await.expect("a consumer begins with a look of its own");
    publish(&bus, &segment(1)).await;
    publish(&bus, &segment(2)).await;
    let times = |n: i64| {
        let seen = seen.lock().expect("no test panics here");
        seen.iter().filter(|item| matches!(item, Item::Event(event) if event.subject.id() == n)).count()
    };
    let limit = DELIVERIES_MAX as usize;
    while times(1) < limit || times(2) < 1 {
        let came = tokio::time::timeout(WAIT_MAX, news.notified()).await;
        assert!(came.is_ok(), "given {} times, and the next one {} times", times(1), times(2));
    }
    publish(&bus, &segment(3)).await;
    while times(3) < 1 {
        tokio::time::timeout(WAIT_MAX, news.notified()).await.expect("those behind it come");
    }
    assert_eq!((times(1), times(2)), (limit, 1));
    consumer.abort();
}

async fn ev_7_a_nudge_wakes(bus: Bus) {
    // Whoever publishes the outbox waits before anybody has a reason to nudge.
    let early = tokio::time::timeout(Duration::from_millis(200), bus.nudged()).await;
    assert!(early.is_err(), "nobody nudged");
    bus.nudge().await;
    tokio::time::timeout(WAIT_MAX, bus.nudged()).await.expect("a nudge wakes who waits after it");
    let (waiting, nudging) = tokio::join!(tokio::time::timeout(WAIT_MAX, bus.nudged()), bus.nudge());
    waiting.expect("a nudge wakes who waits");
    nudging
}

async fn ev_8_many_at_once_are_all_sent(bus: Bus) {
    let wanted = Wanted { kinds: vec![Kind::Segment], id: Some(700) };
    let mut items = bus.follow(Start::Now, wanted).await.expect("events are followed");
    let many: Vec<Envelope> = (1..=700).map(segment).collect();
    let (sent, answer) = bus.publish_all(many).await;
    answer.expect("nothing is wrong with this bus");
    assert_eq!(sent, 700);
    let first = tokio::time::timeout(WAIT_MAX, items.next()).await.expect("what is followed comes");
    match first {
        Some(Followed::Event(event)) => assert_eq!(event.envelope, segment(700)),
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_that_is_written_is_checked() {
        let source = include_str!("suite.rs");
        let documented = source.lines().filter(|line| line.starts_with("//! EV-")).count();
        let written = source.lines().filter(|line| line.starts_with("async fn ev_")).count();
        assert_eq!((documented, written), (PROMISES.len(), PROMISES.len()));
        for (n, promise) in PROMISES.iter().enumerate() {
            assert!(promise.name.starts_with(&format!("ev_{}_", n + 1)), "{promise:?}");
        }
    }
}
