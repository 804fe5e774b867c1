//! The contract of every bus. Its promises are numbered in [`crate::suite`], where they are tested.

use crate::{Envelope, Kind, Subject};
use async_trait::async_trait;
use std::{fmt, pin::Pin, sync::Arc};
use tokio_stream::{Stream, StreamExt as _};

/// What a subscriber gets. Ends when the bus is gone.
pub type Subscription = Pin<Box<dyn Stream<Item = Item> + Send>>;

/// One item of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event of one of the kinds asked for.
    Event(Envelope),
    /// Events may have been lost, of whatever kind: scan everything that events would have pointed at.
    Lagged,
}

/// Does something about an item; the error is the reason why it could not, and the item is given again.
pub type Handler = Arc<dyn Fn(&Item) -> Result<(), String> + Send + Sync>;

/// Since when events are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// What is published from now on.
    #[default]
    Now,
    /// What was published since then, in milliseconds since 1970, as far as the bus still has it.
    AtMs(i64),
    /// From this number in the bus on, as far as the bus still has it.
    Sequence(u64),
}

/// Which events are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of these kinds; of all, where none is named.
    pub kinds: Vec<Kind>,
    /// About what has this id.
    pub id: Option<i64>,
}

impl Wanted {
    /// True for events that are followed.
    #[must_use]
    pub fn has(&self, subject: Subject) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&subject.kind())) && self.id.is_none_or(|id| id == subject.id())
    }
}

/// An event as a bus has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Its number in the bus; `None` where the bus counts nothing.
    pub sequence: Option<u64>,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: Option<i64>,
    /// The event.
    pub envelope: Envelope,
}

/// One item of what is followed.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    /// An event.
    Event(Published),
    /// The bus was away, or the follower was slow: events may be missing here.
    Gap,
}

/// Events that are followed. Ends when the bus is gone.
pub type Following = Pin<Box<dyn Stream<Item = Followed> + Send>>;

/// Carries events to whoever listens.
///
/// Events may be lost, late, repeated or reordered. A subscriber that must not miss anything scans on a timer; an event
/// only makes it scan sooner.
#[async_trait]
pub trait EventBus: Send + Sync + fmt::Debug {
    /// Sends an event to the subscribers of its kind. Never waits for them; nobody listening is success.
    ///
    /// # Errors
    /// When the bus cannot be reached. The event may have been sent all the same.
    async fn publish(&self, envelope: Envelope) -> Result<(), Error>;

    /// Sends events in their order. How many of them, from the first on, are certainly sent; and why the next one is not.
    async fn publish_all(&self, envelopes: Vec<Envelope>) -> (usize, Result<(), Error>) {
        let mut sent = 0;
        for envelope in envelopes {
            if let Err(error) = self.publish(envelope).await {
                return (sent, Err(error));
            }
            sent += 1;
        }
        (sent, Ok(()))
    }

    /// Listens to events of these kinds that are published from now on.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn subscribe(&self, kinds: &[Kind]) -> Result<Subscription, Error>;

    /// Gives events of these kinds to `handler`, beginning with [`Item::Lagged`], until the bus is lost. Several processes
    /// that consume under one name share the events; where the bus keeps events, who comes back goes on where it was. An
    /// event that the handler does not take is given again, a limited number of times, and then put aside: it never holds
    /// up the others.
    ///
    /// # Errors
    /// Why it ended: the bus cannot be reached.
    async fn consume(&self, name: &str, kinds: &[Kind], handler: &Handler) -> Result<(), Error> {
        let _ = name;
        consume_by_subscription(self.subscribe(kinds).await?, handler).await
    }

    /// Follows events, for people and programs outside of the cluster.
    ///
    /// # Errors
    /// When the bus cannot be reached, or does not keep what was published before.
    async fn follow(&self, start: Start, wanted: Wanted) -> Result<Following, Error> {
        if start != Start::Now {
            return Err(Error::KeepsNothing);
        }
        let kinds = if wanted.kinds.is_empty() { Kind::ALL } else { &wanted.kinds };
        let items = self.subscribe(kinds).await?.filter_map(move |item| match item {
            Item::Event(envelope) if wanted.has(envelope.subject) => {
                Some(Followed::Event(Published { sequence: None, published_ms: None, envelope }))
            }
            Item::Event(_) => None,
            Item::Lagged => Some(Followed::Gap),
        });
        Ok(Box::pin(items))
    }

    /// Tells whoever publishes the outbox, in whatever process, that there is something in it. May be lost.
    async fn nudge(&self) {}

    /// Returns when somebody nudged since the last call. May be dropped and called again at will.
    async fn nudged(&self) {
        std::future::pending().await
    }

    /// Why the bus cannot be reached now, for people; `None`: it can.
    fn away(&self) -> Option<String> {
        None
    }

    /// True where events leave this process.
    fn is_shared(&self) -> bool {
        false
    }
}

/// An event is given to a handler so often before it is put aside, where nothing else is said.
pub(crate) const DELIVERIES_MAX: u32 = 5;

/// [`EventBus::consume`] for a bus that keeps nothing: an event that is put aside is logged.
///
/// # Errors
/// Never; the bus is gone when it returns.
pub async fn consume_by_subscription(mut items: Subscription, handler: &Handler) -> Result<(), Error> {
    if let Err(reason) = handler(&Item::Lagged) {
        tracing::warn!(reason, "the first look before events are read failed");
    }
    while let Some(item) = items.next().await {
        let refused = (0..DELIVERIES_MAX).map(|_| handler(&item)).try_fold(String::new(), |_, answer| answer.err());
        if let (Some(reason), Item::Event(envelope)) = (refused, &item) {
            tracing::error!(subject = %envelope.subject, reason, "put an event aside that could not be handled");
        }
    }
    Ok(())
}

/// Why a bus did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Try again after a while, or leave it to the next scan.
    #[error("the event bus cannot be reached")]
    Away {
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody has published yet: the active coordinator makes the stream.
    #[error("there is no stream of events yet: the active coordinator makes it, when it was given the same bus")]
    NoStream,
    /// What was published before cannot be had.
    #[error(
        "this event bus is inside one process and keeps nothing: follow from now on, or give --events-url of a NATS server"
    )]
    KeepsNothing,
}

impl Error {
    pub(crate) fn away(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Away { source: source.into() }
    }
}
