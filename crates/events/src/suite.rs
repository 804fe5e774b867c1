//! The promises of [`EventBus`] as tests, for a bus with which nothing is wrong. Every implementation runs all of
//! [`PROMISES`], each on a bus of its own.
//!
//! EV-1  An event reaches every subscriber of its kind, unchanged.
//! EV-2  A subscriber gets no events of other kinds.
//! EV-3  An event that nobody listens to is published all the same.
//! EV-4  A subscriber that does not read holds up nobody, and is told when it missed something.
//! EV-5  A subscriber that went away is no hindrance to the others.

use crate::{Envelope, EventBus, Item, Kind, Subject, Subscription};
use elanus_types::{CollectionId, SegmentId, SnapshotId};
use std::{fmt, pin::Pin, sync::Arc, time::Duration};
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
}

/// An event about `subject`.
#[must_use]
pub fn envelope(subject: Subject) -> Envelope {
    Envelope {
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
