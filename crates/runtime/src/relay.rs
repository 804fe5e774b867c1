//! Brings events from the outbox of the metadata store to the event bus.
//!
//! Publish first, delete afterwards: an event may come twice, none is forgotten while the bus can be reached again. While it
//! cannot, events wait; when more wait than are kept, the oldest are forgotten: they only wake, and timers do the same.

use crate::background::{BackgroundTask, Report};
use async_trait::async_trait;
use elanus_events::{Envelope, EventBus, Subject};
use elanus_meta::{Meta, MetaError, model::OutboxEvent};
use elanus_trace::{Span, TraceParent};
use std::{error::Error, sync::Arc, time::Duration};

/// Name of the background task.
pub const RELAY: &str = "outbox.relay";

const EVENTS_PER_ROUND: u32 = 512;
/// What other processes wrote does not wake this one.
const PERIOD: Duration = Duration::from_secs(1);
/// Events that wait for a bus that is away, where nothing else is said.
pub const WAITING_MAX: u32 = 100_000;
/// Between two nudges: what is committed meanwhile goes with the second.
const NUDGE_PAUSE: Duration = Duration::from_millis(20);

/// The background task that empties the outbox.
#[derive(Debug)]
pub struct Relay {
    meta: Meta,
    bus: Arc<dyn EventBus>,
    waiting_max: u32,
}

impl Relay {
    /// From this store to this bus.
    #[must_use]
    pub fn new(meta: Meta, bus: Arc<dyn EventBus>) -> Self {
        Self { meta, bus, waiting_max: WAITING_MAX }
    }

    /// So many events wait at most while the bus is away.
    #[must_use]
    pub fn with_waiting_max(mut self, events: u32) -> Self {
        self.waiting_max = events;
        self
    }

    async fn drain(&self) -> Result<Report, MetaError> {
        if let Some(why) = self.bus.away() {
            // Told by the bus itself, once: no failure of this task.
            self.trim().await?;
            return Ok(Report { text: why, ..Report::default() });
        }
        let events = self.meta.next_events(EVENTS_PER_ROUND).await?;
        let mut report = Report { again_now: events.len() == EVENTS_PER_ROUND as usize, ..Report::default() };
        let mut envelopes = Vec::with_capacity(events.len());
        let mut done = Vec::with_capacity(events.len());
        for event in &events {
            match envelope(event) {
                Some(envelope) => envelopes.push(envelope),
                // Events only wake people up, so one that nobody understands may go; keeping it would block the others.
                None => {
                    tracing::error!(subject = event.subject, id = event.id, "dropped an event that is not valid");
                    done.push(event.id);
                }
            }
        }
        let ids: Vec<i64> = envelopes.iter().map(|envelope| envelope.id).collect();
        let told = publications(&envelopes);
        let (sent, answer) = self.bus.publish_all(envelopes).await;
        drop(told);
        done.extend(&ids[..sent]);
        self.meta.delete_events(&done).await?;
        report.handled = done.len() as u64;
        if let Err(error) = answer {
            // The order of events is kept as far as possible: the rest waits behind this one.
            report.again_now = false;
            report.text = chain(&error);
            // Lost in the middle: the bus tells that, once.
            report.failed = u64::from(self.bus.away().is_none());
            self.trim().await?;
        }
        Ok(report)
    }

    async fn trim(&self) -> Result<(), MetaError> {
        let forgotten = self.meta.trim_events(self.waiting_max).await?;
        metrics::counter!("elanus_runtime_outbox_forgotten_total").increment(forgotten);
        Ok(())
    }
}

/// Tells the publisher of the outbox, in whatever process it is, that this process left events. Ends with the process.
pub fn nudge_after_commits(meta: Meta, bus: Arc<dyn EventBus>) {
    if !bus.is_shared() {
        return;
    }
    tokio::spawn(async move {
        loop {
            meta.outbox_woken().await;
            bus.nudge().await;
            tokio::time::sleep(NUDGE_PAUSE).await;
        }
    });
}

#[async_trait]
impl BackgroundTask for Relay {
    fn name(&self) -> &'static str {
        RELAY
    }

    fn drains(&self) -> &'static str {
        "events that were not published yet"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self) -> Report {
        self.drain().await.unwrap_or_else(|error| Report::error(chain(&error)))
    }

    async fn woken(&self) {
        tokio::select! {
            () = self.meta.outbox_woken() => {}
            () = self.bus.nudged() => {}
        }
    }
}

/// The step of each event's trace in which it is published, as long as they live.
fn publications(envelopes: &[Envelope]) -> Vec<Span> {
    let traced = envelopes.iter().filter_map(|one| Some((one, one.traceparent.as_ref()?.parse::<TraceParent>().ok()?)));
    traced
        .map(|(one, parent)| {
            let subject = one.subject.to_string();
            elanus_trace::continued!(Some(&parent), "outbox.publish", messaging.destination.name = subject)
        })
        .collect()
}

fn envelope(event: &OutboxEvent) -> Option<Envelope> {
    let subject: Subject = format!("elanus.{}", event.subject).parse().ok()?;
    Some(Envelope {
        id: event.id,
        dedup_key: event.dedup_key.clone(),
        subject,
        payload: serde_json::from_str(&event.payload_json).ok()?,
        traceparent: event.traceparent.clone(),
    })
}

/// The error with its sources, outermost first.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_events::{Error as BusError, Item, Kind, LocalBus, Subscription};
    use elanus_meta::model::NewCollection;
    use elanus_types::{
        FieldId, JobId, ManualClock, NodeId,
        schema::{CollectionDefinition, CollectionSchema, ConsistencyLevel, DataType, FieldSchema},
    };
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio_stream::StreamExt as _;

    const WAIT_MAX: Duration = Duration::from_secs(30);

    fn event(subject: &str, payload_json: &str) -> OutboxEvent {
        OutboxEvent {
            id: 1,
            subject: subject.to_owned(),
            dedup_key: "k".to_owned(),
            payload_json: payload_json.to_owned(),
            traceparent: Some("00-1-2-01".to_owned()),
        }
    }

    #[test]
    fn an_event_of_the_store_becomes_one_of_the_bus() {
        let published = envelope(&event("restore.42", r#"{"state":"copying"}"#)).unwrap();
        assert_eq!(published.subject, Subject::Restore(JobId(42)));
        assert_eq!(published.payload["state"], "copying");
        assert_eq!((published.id, published.traceparent.as_deref()), (1, Some("00-1-2-01")));
        assert_eq!(envelope(&event("restore", "{}")), None);
        assert_eq!(envelope(&event("restore.1", "{")), None);
    }

    /// A bus that can be away, and knows it or finds it out by trying.
    #[derive(Debug)]
    struct Flaky {
        bus: LocalBus,
        away: AtomicBool,
        knows: AtomicBool,
    }

    #[async_trait]
    impl EventBus for Flaky {
        async fn publish(&self, envelope: Envelope) -> Result<(), BusError> {
            if self.away.load(Ordering::SeqCst) {
                return Err(BusError::Away { source: "no route".into() });
            }
            self.bus.publish(envelope).await
        }

        async fn subscribe(&self, kinds: &[Kind]) -> Result<Subscription, BusError> {
            self.bus.subscribe(kinds).await
        }

        fn away(&self) -> Option<String> {
            let is_known = self.away.load(Ordering::SeqCst) && self.knows.load(Ordering::SeqCst);
            is_known.then(|| "no route is known".to_owned())
        }
    }

    /// Leaves an event in the outbox.
    async fn create_collection(meta: &Meta) -> Subject {
        let key = FieldSchema {
            id: FieldId::FIRST_USER,
            name: "id".to_owned(),
            description: String::new(),
            data_type: DataType::Int64,
            is_primary_key: true,
            auto_id: false,
            is_dynamic: false,
            nullable: false,
            element_type: None,
            default_value: None,
            type_params: Default::default(),
        };
        let schema = CollectionSchema {
            description: String::new(),
            fields: vec![key],
            enable_dynamic_field: false,
            ..CollectionSchema::default()
        };
        let definition = CollectionDefinition {
            schema,
            shards_num: 1,
            consistency_level: ConsistencyLevel::Strong,
            properties: Default::default(),
            partitions: Vec::new(),
            indexes: Vec::new(),
            aging: elanus_types::Aging::default(),
        };
        let new = NewCollection { database: "default".to_owned(), name: "docs".to_owned(), definition };
        let coordinator = meta.take_over(&NodeId("test".to_owned())).await.unwrap();
        Subject::Collection(coordinator.create_collection(new).await.unwrap().id)
    }

    #[tokio::test]
    async fn an_event_wakes_the_relay_and_waits_while_the_bus_is_away() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("meta.db").display());
        let meta = Meta::open(&url, "c", Arc::new(ManualClock::at_ms(1_000))).await.unwrap();
        let bus = Arc::new(Flaky { bus: LocalBus::new(), away: AtomicBool::new(true), knows: AtomicBool::new(false) });
        let mut items = bus.subscribe(Kind::ALL).await.unwrap();
        let relay = Relay::new(meta.clone(), bus.clone());

        let subject = create_collection(&meta).await;
        tokio::time::timeout(WAIT_MAX, relay.woken()).await.expect("a commit wakes the relay");
        let report = relay.round().await;
        assert_eq!((report.handled, report.failed), (0, 1), "{report:?}");
        assert!(report.text.ends_with("no route"), "{report:?}");
        assert!(!meta.next_events(10).await.unwrap().is_empty(), "nothing is forgotten");

        bus.knows.store(true, Ordering::SeqCst);
        let report = relay.round().await;
        assert!(report.is_quiet() && report.text == "no route is known", "the bus tells it, not this task: {report:?}");
        assert!(!meta.next_events(10).await.unwrap().is_empty(), "nothing is forgotten");

        bus.away.store(false, Ordering::SeqCst);
        let report = relay.round().await;
        assert!(report.handled > 0 && report.failed == 0, "{report:?}");
        let Ok(Some(Item::Event(published))) = tokio::time::timeout(WAIT_MAX, items.next()).await else {
            panic!("no event came");
        };
        assert_eq!(published.subject, subject);
        assert_eq!(meta.next_events(10).await.unwrap(), []);
        assert!(relay.round().await.is_quiet());
    }

    #[tokio::test]
    async fn while_the_bus_is_away_the_newest_events_wait() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("meta.db").display());
        let meta = Meta::open(&url, "c", Arc::new(ManualClock::at_ms(1_000))).await.unwrap();
        let bus = Arc::new(Flaky { bus: LocalBus::new(), away: AtomicBool::new(true), knows: AtomicBool::new(true) });
        let Subject::Collection(collection) = create_collection(&meta).await else { panic!("that is a collection") };
        let coordinator = meta.take_over(&NodeId("test".to_owned())).await.unwrap();
        for _ in 0..5 {
            coordinator.seal_segments(collection).await.unwrap();
        }
        let before = meta.next_events(10).await.unwrap();
        assert_eq!(before.len(), 6);
        let relay = Relay::new(meta.clone(), bus.clone()).with_waiting_max(2);
        relay.round().await;
        assert_eq!(meta.next_events(10).await.unwrap(), before[4..], "the oldest are worth least");
        bus.away.store(false, Ordering::SeqCst);
        assert_eq!(relay.round().await.handled, 2);
    }
}
