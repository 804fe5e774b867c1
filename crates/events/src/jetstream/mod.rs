//! The bus between processes: NATS JetStream.
//!
//! An event `snapshot` about 5 of the cluster C is a message of the subject `elanus.C.snapshot.5` in the stream `elanus-C`.
//! `Nats-Msg-Id` is the id of its row in the outbox, so that an event that is published again within [`streams`]'s window is
//! stored once; `traceparent` is the trace of its cause. What a consumer could not handle goes to the stream
//! `elanus-dead-C`, as `elanus-dead.C.snapshot.5`. Nudges are messages of `elanus-nudge.C` that nothing keeps.
//!
//! * [`connection`]: one connection, made again by itself; one log line when it is lost, one when it is back.
//! * [`streams`]: what is kept, made and corrected by whoever publishes.
//! * [`feed`]: listening, across losses of the connection.
//! * [`consume`]: durable consumers, and what becomes of what they do not take.
//! * [`wire`]: what messages look like.

mod connection;
mod consume;
mod feed;
mod streams;
mod wire;

use crate::config::{BusConfig, Limits};
use crate::{
    Envelope, Error, EventBus, Followed, Following, Handler, Item, Kind, OpenError, Published, Start, Subscription,
    Wanted,
};
use async_nats::{Client, Subscriber, jetstream::Context};
use async_trait::async_trait;
use connection::Link;
use feed::{Fed, Feed};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Mutex;
use tokio_stream::StreamExt as _;

/// How long an answer of the server is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// NATS JetStream as a bus. Connects in the background, and again whenever the connection is lost.
pub struct JetStreamBus {
    shared: Arc<Shared>,
    /// Made when somebody first waits for nudges.
    nudges: Mutex<Option<Subscriber>>,
}

/// What every part works with.
pub(crate) struct Shared {
    client: Client,
    context: Context,
    link: Link,
    cluster: String,
    limits: Limits,
    /// The streams are as they should be since this connection; 0: never.
    streams_checked: AtomicU64,
}

impl JetStreamBus {
    /// See [`crate::open`].
    pub(crate) async fn open(
        config: &BusConfig,
        servers: &[url::Url],
        cluster: &str,
        name: &str,
    ) -> Result<Self, OpenError> {
        let (client, link) = connection::open(config, servers, name).await?;
        let mut context = async_nats::jetstream::new(client.clone());
        context.set_timeout(ANSWER_MAX);
        let (cluster, limits, streams_checked) = (cluster.to_owned(), config.limits, AtomicU64::new(0));
        let shared = Shared { client, context, link, cluster, limits, streams_checked };
        Ok(Self { shared: Arc::new(shared), nudges: Mutex::default() })
    }
}

impl fmt::Debug for JetStreamBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamBus").field("cluster", &self.shared.cluster).finish_non_exhaustive()
    }
}

impl Shared {
    /// Refuses at once what would otherwise wait in the client until the connection is back.
    fn require_connected(&self) -> Result<(), Error> {
        self.link.away().map_or(Ok(()), |why| Err(Error::away(why)))
    }

    /// Makes the streams, or corrects them, once for each connection: the server may have been given an empty disk.
    async fn check_streams(&self) -> Result<(), Error> {
        let connection = self.link.connections();
        if self.streams_checked.load(Ordering::Acquire) != connection {
            streams::check(&self.context, &self.cluster, &self.limits).await?;
            self.streams_checked.store(connection, Ordering::Release);
        }
        Ok(())
    }

    async fn send(&self, envelope: &Envelope) -> Result<async_nats::jetstream::context::PublishAckFuture, Error> {
        let (subject, headers, body) = wire::message(&self.cluster, envelope);
        self.context.publish_with_headers(subject, headers, body).await.map_err(Error::away)
    }
}

#[async_trait]
impl EventBus for JetStreamBus {
    async fn publish(&self, envelope: Envelope) -> Result<(), Error> {
        self.publish_all(vec![envelope]).await.1
    }

    async fn publish_all(&self, envelopes: Vec<Envelope>) -> (usize, Result<(), Error>) {
        let shared = &self.shared;
        if let Err(error) = shared.require_connected() {
            return (0, Err(error));
        }
        if let Err(error) = shared.check_streams().await {
            return (0, Err(error));
        }
        // All are on their way before the first answer is waited for.
        let (mut answers, mut stopped) = (Vec::with_capacity(envelopes.len()), Ok(()));
        for envelope in &envelopes {
            match shared.send(envelope).await {
                Ok(answer) => answers.push((envelope.subject.kind(), answer)),
                Err(error) => {
                    stopped = Err(error);
                    break;
                }
            }
        }
        let mut sent = 0;
        for (kind, answer) in answers {
            match answer.await {
                Ok(_) => metrics::counter!("elanus_events_published_total", "kind" => kind.as_str()).increment(1),
                Err(error) => {
                    // The stream may be gone: the next attempt looks.
                    shared.streams_checked.store(0, Ordering::Release);
                    return (sent, Err(Error::away(error)));
                }
            }
            sent += 1;
        }
        (sent, stopped)
    }

    async fn subscribe(&self, kinds: &[Kind]) -> Result<Subscription, Error> {
        if kinds.is_empty() {
            return Ok(Box::pin(tokio_stream::pending()));
        }
        let wanted = Wanted { kinds: kinds.to_vec(), id: None };
        let feed = Feed::open(Arc::clone(&self.shared), Start::Now, &wanted).await?;
        let cluster = self.shared.cluster.clone();
        let items = feed.filter_map(move |fed| match fed {
            Fed::Gap => Some(Item::Lagged),
            Fed::Message(message) => match wire::envelope(&cluster, &message) {
                Ok(envelope) => {
                    count_received(envelope.subject.kind());
                    Some(Item::Event(envelope))
                }
                // It says that something happened, and not what.
                Err(_) => Some(Item::Lagged),
            },
        });
        Ok(Box::pin(items))
    }

    async fn consume(&self, name: &str, kinds: &[Kind], handler: &Handler) -> Result<(), Error> {
        self.shared.require_connected()?;
        consume::consume(&self.shared, name, kinds, handler).await
    }

    async fn follow(&self, start: Start, wanted: Wanted) -> Result<Following, Error> {
        let feed = Feed::open(Arc::clone(&self.shared), start, &wanted).await?;
        let cluster = self.shared.cluster.clone();
        let items = feed.filter_map(move |fed| match fed {
            Fed::Gap => Some(Followed::Gap),
            Fed::Message(message) => {
                let envelope = wire::envelope(&cluster, &message).ok()?;
                let (sequence, published_ms) = wire::place(&message);
                Some(Followed::Event(Published { sequence, published_ms, envelope }))
            }
        });
        Ok(Box::pin(items))
    }

    async fn nudge(&self) {
        // It would wait in the client while nobody is there, and be old when it arrives.
        if self.shared.require_connected().is_ok() {
            let sent = self.shared.client.publish(wire::nudge(&self.shared.cluster), bytes::Bytes::new()).await;
            if let Err(error) = sent {
                tracing::debug!(%error, "a nudge was not sent");
            }
        }
    }

    async fn nudged(&self) {
        let mut nudges = self.nudges.lock().await;
        if nudges.is_none() {
            match self.shared.client.subscribe(wire::nudge(&self.shared.cluster)).await {
                Ok(subscriber) => *nudges = Some(subscriber),
                Err(error) => tracing::debug!(%error, "nudges are not heard; a timer does the work"),
            }
        }
        let Some(subscriber) = nudges.as_mut() else { return std::future::pending().await };
        if subscriber.next().await.is_none() {
            *nudges = None;
            return std::future::pending().await;
        }
        // Those that came meanwhile say the same.
        while futures::FutureExt::now_or_never(subscriber.next()).flatten().is_some() {}
    }

    fn away(&self) -> Option<String> {
        self.shared.link.away()
    }

    fn is_shared(&self) -> bool {
        true
    }
}

fn count_received(kind: Kind) {
    metrics::counter!("elanus_events_received_total", "kind" => kind.as_str()).increment(1);
}
