//! Listening across losses of the connection: who listens goes on where it was, as far as the server still has it, and is
//! told that there may be a gap.

use super::{Shared, connection, streams, wire};
use crate::{Error, Start, Wanted};
use async_nats::jetstream::{
    Message,
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream::Stream as KeptStream,
};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};

/// Messages that wait for who listens.
const BACKLOG_MAX: usize = 256;
/// A listener that does not ask for so long is forgotten by the server.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);
/// Between two attempts while the stream is not there.
const AGAIN: Duration = Duration::from_secs(1);

/// What is heard.
pub(super) enum Fed {
    Message(Box<Message>),
    /// The connection was lost: something may be missing before the next message.
    Gap,
}

/// A stream of what is heard. Ends with the bus; dropping it ends the listening.
pub(super) struct Feed(mpsc::Receiver<Fed>);

impl Feed {
    /// Begins to listen: what is published after this returned is heard.
    pub(super) async fn open(shared: Arc<Shared>, start: Start, wanted: &Wanted) -> Result<Self, Error> {
        shared.require_connected()?;
        let filters = wire::filters(&shared.cluster, wanted);
        let (messages, next) = listen(&shared, from(start), &filters).await?;
        let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
        tokio::spawn(run(shared, messages, next, filters, sender));
        Ok(Self(receiver))
    }
}

impl Stream for Feed {
    type Item = Fed;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Fed>> {
        self.0.poll_recv(cx)
    }
}

/// Where to begin. `None`: with what is published from now on.
fn from(start: Start) -> Option<DeliverPolicy> {
    match start {
        Start::Now => None,
        Start::AtMs(ms) => {
            let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
            Some(time.map_or(DeliverPolicy::All, |start_time| DeliverPolicy::ByStartTime { start_time }))
        }
        Start::Sequence(sequence) => Some(DeliverPolicy::ByStartSequence { start_sequence: sequence.max(1) }),
    }
}

/// A listener of its own, and the number that it begins with where that is known.
async fn listen(
    shared: &Shared,
    policy: Option<DeliverPolicy>,
    filters: &[String],
) -> Result<(pull::Stream, Option<u64>), Error> {
    let stream = stream(shared).await?;
    let last = stream.cached_info().state.last_sequence;
    let (policy, next) = match policy {
        // By number: what is published between two connections is not skipped.
        None => (DeliverPolicy::ByStartSequence { start_sequence: last + 1 }, Some(last + 1)),
        // The stream was made anew and counts from the beginning.
        Some(DeliverPolicy::ByStartSequence { start_sequence }) if start_sequence > last + 1 => {
            (DeliverPolicy::All, None)
        }
        Some(policy) => (policy, None),
    };
    let config = pull::Config {
        filter_subjects: filters.to_vec(),
        ack_policy: AckPolicy::None,
        deliver_policy: policy,
        inactive_threshold: FORGOTTEN_AFTER,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(Error::away)?;
    Ok((consumer.messages().await.map_err(Error::away)?, next))
}

/// The stream of events of the cluster.
pub(super) async fn stream(shared: &Shared) -> Result<KeptStream, Error> {
    shared
        .context
        .get_stream(streams::events(&shared.cluster))
        .await
        .map_err(|error| if streams::is_absent(&error.kind()) { Error::NoStream } else { Error::away(error) })
}

async fn run(
    shared: Arc<Shared>,
    mut messages: pull::Stream,
    mut next: Option<u64>,
    filters: Vec<String>,
    sender: mpsc::Sender<Fed>,
) {
    loop {
        let mut link = shared.link.watch();
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = connection::lost(&mut link) => break,
                () = sender.closed() => return,
            };
            let Some(Ok(message)) = message else { break };
            if let Ok(info) = message.info() {
                next = Some(info.stream_sequence + 1);
            }
            if sender.send(Fed::Message(Box::new(message))).await.is_err() {
                return;
            }
        }
        messages = loop {
            tokio::select! {
                () = connection::there(&mut link) => {}
                () = sender.closed() => return,
            }
            let policy = next.map(|start_sequence| DeliverPolicy::ByStartSequence { start_sequence });
            match listen(&shared, policy, &filters).await {
                Ok((messages, begins)) => {
                    next = begins.or(next);
                    break messages;
                }
                Err(error) => tracing::debug!(%error, "events are not heard yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = sender.closed() => return,
            }
        };
        if sender.send(Fed::Gap).await.is_err() {
            return;
        }
    }
}
