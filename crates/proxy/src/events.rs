//! Events for people and programs outside of the cluster, from the bus.

use crate::Proxy;
use elanus_events::{Error, EventBus, Followed, Following, Kind, Start, Wanted};
use elanus_proto::{
    admin::{TailEventsRequest, TailedEvent},
    convert::failure_to_grpc,
};
use elanus_types::{Code, Failure};
use futures::{Stream, StreamExt as _, future, stream};
use std::{pin::Pin, sync::Arc};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// The bus, and whether this proxy ends.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    bus: Arc<dyn EventBus>,
    ending: watch::Sender<bool>,
}

/// What a follower gets.
pub(crate) type Tail = Pin<Box<dyn Stream<Item = Result<TailedEvent, Status>> + Send>>;

impl Proxy {
    /// The same proxy; it serves the events of this bus to operators.
    #[must_use]
    pub fn with_events(mut self, bus: Arc<dyn EventBus>) -> Self {
        self.events = Some(Events { bus, ending: watch::Sender::new(false) });
        self
    }

    /// Ends the answers to those who follow events, which would not end by themselves.
    pub fn end_tails(&self) {
        if let Some(events) = &self.events {
            events.ending.send_replace(true);
        }
    }
}

pub(crate) async fn tail(proxy: &Proxy, request: Request<TailEventsRequest>) -> Result<Response<Tail>, Status> {
    let request = request.into_inner();
    let limit = request.limit;
    let (start, wanted) = asked(request).map_err(failure_to_grpc)?;
    let Some(Events { bus, ending }) = &proxy.events else {
        let text = "this proxy has no event bus: start it with --events-url of the bus that the coordinators have";
        return Err(failure_to_grpc(Failure::new(Code::Unimplemented, text)));
    };
    let following = bus.follow(start, wanted).await.map_err(|error| failure_to_grpc(failure(&error)))?;
    let mut ending = ending.subscribe();
    let ended = async move {
        // An error: the proxy is gone.
        let _ = ending.wait_for(|ending| *ending).await;
    };
    let items = limited(following, limit).map(Ok).take_until(ended);
    // An answer that stops without a word would look like the end of the events.
    let ending = proxy.events.as_ref().map(|events| events.ending.subscribe());
    let last = stream::once(async move {
        let ends = ending.is_some_and(|ending| *ending.borrow());
        ends.then(|| Err(Status::unavailable("this proxy ends; ask another one")))
    });
    Ok(Response::new(Box::pin(items.chain(last.filter_map(future::ready)))))
}

fn limited(following: Following, limit: u64) -> Pin<Box<dyn Stream<Item = TailedEvent> + Send>> {
    let told = following.map(told);
    match usize::try_from(limit) {
        Ok(0) | Err(_) => Box::pin(told),
        // Ends with the last one, and not when another one comes.
        Ok(limit) => Box::pin(stream::unfold((told, 0), move |(mut told, events)| async move {
            if events >= limit {
                return None;
            }
            let event = told.next().await?;
            let events = events + usize::from(!event.gap);
            Some((event, (told, events)))
        })),
    }
}

fn asked(request: TailEventsRequest) -> Result<(Start, Wanted), Failure> {
    let kinds: Result<Vec<Kind>, Failure> = request
        .kinds
        .iter()
        .map(|kind| {
            kind.parse().map_err(|error| Failure::invalid(format!("no events are of the kind {kind:?}: {error}")))
        })
        .collect();
    let start = match (request.since_ms, request.from_sequence) {
        (None, None) => Start::Now,
        (Some(ms), None) => Start::AtMs(ms),
        (None, Some(sequence)) => Start::Sequence(sequence),
        (Some(_), Some(_)) => return Err(Failure::invalid("give a time or a number to begin with, not both")),
    };
    Ok((start, Wanted { kinds: kinds?, id: request.id }))
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::KeepsNothing => Failure::invalid(error.to_string()),
        Error::Away { source } => Failure::new(Code::NotReady, format!("{error}: {source}")),
        _ => Failure::new(Code::NotReady, error.to_string()),
    }
}

fn told(followed: Followed) -> TailedEvent {
    let Followed::Event(event) = followed else { return TailedEvent { gap: true, ..TailedEvent::default() } };
    let envelope = event.envelope;
    TailedEvent {
        gap: false,
        sequence: event.sequence.unwrap_or_default(),
        kind: envelope.subject.kind().as_str().to_owned(),
        id: envelope.subject.id(),
        event_id: envelope.id,
        at_ms: envelope.at_ms(),
        published_ms: event.published_ms.unwrap_or_default(),
        payload_json: envelope.payload.to_string(),
        key: envelope.dedup_key,
        traceparent: envelope.traceparent.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_events::{LocalBus, Subject, suite};
    use elanus_types::TaskId;

    fn request() -> TailEventsRequest {
        TailEventsRequest::default()
    }

    #[test]
    fn what_is_asked_is_checked() {
        let kinds = vec!["task".to_owned(), "gc".to_owned()];
        let (start, wanted) = asked(TailEventsRequest { kinds, id: Some(7), ..request() }).unwrap();
        assert_eq!((start, wanted), (Start::Now, Wanted { kinds: vec![Kind::Task, Kind::Gc], id: Some(7) }));
        assert_eq!(asked(TailEventsRequest { since_ms: Some(5), ..request() }).unwrap().0, Start::AtMs(5));
        assert_eq!(asked(TailEventsRequest { from_sequence: Some(5), ..request() }).unwrap().0, Start::Sequence(5));
        let unknown = asked(TailEventsRequest { kinds: vec!["tasks".to_owned()], ..request() }).unwrap_err();
        assert!(unknown.message.contains("\"tasks\": give segment, snapshot"), "{unknown}");
        assert!(asked(TailEventsRequest { since_ms: Some(1), from_sequence: Some(1), ..request() }).is_err());
    }

    #[tokio::test]
    async fn an_answer_ends_with_its_last_event() {
        let bus = LocalBus::new();
        let following = bus.follow(Start::Now, Wanted::default()).await.unwrap();
        for n in 1..=3 {
            bus.publish(suite::envelope(Subject::Task(TaskId(n)))).await.unwrap();
        }
        // The bus goes on: nothing but the limit ends it.
        let told: Vec<i64> = limited(following, 2).map(|event| event.id).collect().await;
        assert_eq!(told, [1, 2]);
    }

    #[tokio::test]
    async fn an_event_is_told_with_all_that_is_known() {
        let bus = LocalBus::new();
        let mut following = bus.follow(Start::Now, Wanted::default()).await.unwrap();
        let envelope = suite::envelope(Subject::Task(TaskId(7)));
        bus.publish(envelope.clone()).await.unwrap();
        let event = told(following.next().await.unwrap());
        assert_eq!((event.kind.as_str(), event.id, event.event_id), ("task", 7, envelope.id));
        assert_eq!((event.payload_json, event.key), (envelope.payload.to_string(), envelope.dedup_key));
        assert_eq!(event.traceparent, envelope.traceparent.unwrap());
        assert!(told(Followed::Gap).gap);
    }
}
