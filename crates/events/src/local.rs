//! A bus inside one process. A subscriber that is slow loses events and is told so; it never holds up the others.

use crate::{Envelope, Error, EventBus, Item, Kind, Subscription};
use async_trait::async_trait;
use tokio::sync::{Notify, broadcast};
use tokio_stream::{StreamExt, wrappers::BroadcastStream};

/// How many events a subscriber may be behind.
const BACKLOG_MAX: usize = 1_024;

/// A bus inside one process.
#[derive(Debug)]
pub struct LocalBus {
    sender: broadcast::Sender<Envelope>,
    nudges: Notify,
}

impl LocalBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG_MAX), nudges: Notify::new() }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EventBus for LocalBus {
    async fn publish(&self, envelope: Envelope) -> Result<(), Error> {
        // An error means that nobody listens.
        let _ = self.sender.send(envelope);
        Ok(())
    }

    async fn subscribe(&self, kinds: &[Kind]) -> Result<Subscription, Error> {
        let kinds = kinds.to_vec();
        let items = BroadcastStream::new(self.sender.subscribe()).filter_map(move |received| match received {
            Ok(envelope) => kinds.contains(&envelope.subject.kind()).then_some(Item::Event(envelope)),
            Err(_lagged) => Some(Item::Lagged),
        });
        Ok(Box::pin(items))
    }

    async fn nudge(&self) {
        self.nudges.notify_one();
    }

    async fn nudged(&self) {
        self.nudges.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, suite};
    use elanus_types::TaskId;
    use std::sync::Arc;

    #[tokio::test]
    async fn the_bus_in_one_process_keeps_every_promise() {
        for promise in suite::PROMISES {
            promise.check(Arc::new(LocalBus::new())).await;
        }
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_first_and_then_goes_on() {
        let bus = LocalBus::new();
        let mut items = bus.subscribe(&[Kind::Task]).await.unwrap();
        for n in 0..BACKLOG_MAX as i64 + 1 {
            bus.publish(suite::envelope(Subject::Task(TaskId(n)))).await.unwrap();
        }
        assert_eq!(items.next().await, Some(Item::Lagged));
        assert_eq!(items.next().await, Some(Item::Event(suite::envelope(Subject::Task(TaskId(1))))));
    }

    #[tokio::test]
    async fn a_subscription_ends_with_its_bus() {
        let bus = LocalBus::new();
        let mut items = bus.subscribe(Kind::ALL).await.unwrap();
        drop(bus);
        assert_eq!(items.next().await, None);
    }
}
