//! Durable consumers: the server remembers how far each name has come. What is taken is acknowledged; what is not is given
//! again later, and after the last time it is published as a dead letter, with the reason, and ended.
//!
//! The limit is kept here and not by the server, which would drop a message without a word: so also a message that kills its
//! consumer ends as a dead letter, for the next one finds how often it was given.

use super::{Shared, connection, count_received, feed, wire};
use crate::{Error, Handler, Item, Kind, Wanted};
use async_nats::{
    HeaderMap,
    jetstream::{
        AckKind, Message,
        consumer::{AckPolicy, DeliverPolicy, pull},
    },
};
use std::time::Duration;
use tokio_stream::StreamExt as _;

/// What is not acknowledged within this time is given again.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// What was not taken is given again after this time, and after twice, three times it.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Messages that are given and not acknowledged.
const UNDER_WAY_MAX: i64 = 256;

/// Headers of a dead letter.
const REASON: &str = "Elanus-Reason";
const CONSUMER: &str = "Elanus-Consumer";
const SEQUENCE: &str = "Elanus-Sequence";
const DELIVERIES: &str = "Elanus-Deliveries";
/// The longest reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 512;

/// Gives events to `handler` until the connection is lost.
pub(super) async fn consume(shared: &Shared, name: &str, kinds: &[Kind], handler: &Handler) -> Result<(), Error> {
    let stream = feed::stream(shared).await?;
    let mut link = shared.link.watch();
    let config = pull::Config {
        durable_name: Some(name.to_owned()),
        filter_subjects: wire::filters(&shared.cluster, &Wanted { kinds: kinds.to_vec(), id: None }),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: UNDER_WAY_MAX,
        // Of its first time; later ones go on. What was before is found by a look, not by events.
        deliver_policy: DeliverPolicy::New,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(Error::away)?;
    let mut messages = consumer.messages().await.map_err(Error::away)?;
    if let Err(reason) = handler(&Item::Lagged) {
        tracing::warn!(reason, "the first look before events are read failed");
    }
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = connection::lost(&mut link) => return Err(Error::away("the connection was lost")),
        };
        match message {
            Some(Ok(message)) => one(shared, name, &message, handler).await?,
            Some(Err(error)) => return Err(Error::away(error)),
            None => return Err(Error::away("the consumer ended")),
        }
    }
}

async fn one(shared: &Shared, name: &str, message: &Message, handler: &Handler) -> Result<(), Error> {
    let info = message.info().map_err(Error::away)?;
    let (deliveries, sequence) = (info.delivered, info.stream_sequence);
    let most = i64::from(shared.limits.deliveries_max.max(1));
    let answer = if deliveries > most {
        Err("it was given as often as is allowed, and never answered for".to_owned())
    } else {
        handle(shared, message, handler)
    };
    let kind = match answer {
        Ok(()) => AckKind::Ack,
        Err(reason) if deliveries >= most => {
            put_aside(shared, name, message, &reason, sequence, deliveries).await?;
            AckKind::Term
        }
        Err(reason) => {
            tracing::debug!(subject = message.subject.as_str(), deliveries, reason, "an event was not taken");
            AckKind::Nak(Some(AGAIN_AFTER * u32::try_from(deliveries).unwrap_or(1)))
        }
    };
    message.ack_with(kind).await.map_err(Error::away)
}

fn handle(shared: &Shared, message: &Message, handler: &Handler) -> Result<(), String> {
    let envelope = wire::envelope(&shared.cluster, message).map_err(|error| error.to_string())?;
    count_received(envelope.subject.kind());
    handler(&Item::Event(envelope))
}

async fn put_aside(
    shared: &Shared,
    name: &str,
    message: &Message,
    reason: &str,
    sequence: u64,
    deliveries: i64,
) -> Result<(), Error> {
    let subject = message.subject.as_str();
    let mut headers = HeaderMap::new();
    // Twice when this process dies before it has ended the message: stored once.
    headers.insert(async_nats::header::NATS_MESSAGE_ID, format!("{name}.{sequence}").as_str());
    headers.insert(REASON, one_line(reason).as_str());
    headers.insert(CONSUMER, name);
    headers.insert(SEQUENCE, sequence.to_string().as_str());
    headers.insert(DELIVERIES, deliveries.to_string().as_str());
    let publishing = shared.context.publish_with_headers(wire::dead(subject), headers, message.payload.clone());
    publishing.await.map_err(Error::away)?.await.map_err(Error::away)?;
    metrics::counter!("elanus_events_dead_letters_total", "consumer" => name.to_owned()).increment(1);
    tracing::error!(
        subject,
        sequence,
        deliveries,
        reason,
        consumer = name,
        "an event could not be handled: put aside as a dead letter"
    );
    Ok(())
}

/// As the value of a header.
fn one_line(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(one_line("a\r\nNats-Msg-Id: 7"), "a  Nats-Msg-Id: 7");
        assert_eq!(one_line(&"x".repeat(10_000)).len(), REASON_CHARS_MAX);
    }
}
