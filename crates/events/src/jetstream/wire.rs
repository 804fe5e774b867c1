//! Events as messages.

use crate::{Envelope, Kind, Subject, Wanted};
use async_nats::{HeaderMap, jetstream::Message};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Header of the trace of the cause.
const TRACEPARENT: &str = "traceparent";

/// The body of a message. Its subject says what it is about.
#[derive(Debug, Serialize, Deserialize)]
struct Body<'b> {
    /// As `Nats-Msg-Id`.
    id: i64,
    #[serde(borrow)]
    key: std::borrow::Cow<'b, str>,
    /// Of `id`, for those who do not know how it is made.
    at_ms: i64,
    payload: serde_json::Value,
}

/// Why a message is no event.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoEvent {
    #[error("{subject} is not the subject of an event")]
    Subject { subject: String },
    #[error("the body is not that of an event: {0}")]
    Body(#[from] serde_json::Error),
}

/// Subject, headers and body.
pub(super) fn message(cluster: &str, envelope: &Envelope) -> (String, HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, envelope.id.to_string().as_str());
    if let Some(traceparent) = &envelope.traceparent {
        // What is no value of a header would make the message unreadable.
        if traceparent.bytes().all(|byte| byte.is_ascii_graphic()) {
            headers.insert(TRACEPARENT, traceparent.as_str());
        }
    }
    let body = Body {
        id: envelope.id,
        key: envelope.dedup_key.as_str().into(),
        at_ms: envelope.at_ms(),
        payload: envelope.payload.clone(),
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    (subject(cluster, envelope.subject), headers, body.into())
}

/// The event of a message.
pub(super) fn envelope(cluster: &str, message: &Message) -> Result<Envelope, NoEvent> {
    let subject = about(cluster, message.subject.as_str())?;
    let body: Body<'_> = serde_json::from_slice(&message.payload)?;
    let header = |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name));
    let traceparent = header(TRACEPARENT).map(|value| value.as_str().to_owned());
    Ok(Envelope { id: body.id, dedup_key: body.key.into_owned(), subject, payload: body.payload, traceparent })
}

/// Where a message is in its stream, and since when, in milliseconds since 1970.
pub(super) fn place(message: &Message) -> (Option<u64>, Option<i64>) {
    let Ok(info) = message.info() else { return (None, None) };
    let ms = info.published.unix_timestamp_nanos() / 1_000_000;
    (Some(info.stream_sequence), i64::try_from(ms).ok())
}

/// `elanus.C.snapshot.5`
pub(super) fn subject(cluster: &str, subject: Subject) -> String {
    format!("elanus.{cluster}.{}.{}", subject.kind().as_str(), subject.id())
}

fn about(cluster: &str, text: &str) -> Result<Subject, NoEvent> {
    let unknown = || NoEvent::Subject { subject: text.chars().take(128).collect() };
    let rest = text.strip_prefix("elanus.").and_then(|rest| rest.strip_prefix(cluster)).ok_or_else(unknown)?;
    format!("elanus{rest}").parse().map_err(|_| unknown())
}

/// `elanus-dead.C.snapshot.5`, for a message of this subject.
pub(super) fn dead(subject: &str) -> String {
    format!("elanus-dead.{}", subject.strip_prefix("elanus.").unwrap_or(subject))
}

/// All events of a cluster.
pub(super) fn all(cluster: &str) -> String {
    format!("elanus.{cluster}.>")
}

/// All dead letters of a cluster.
pub(super) fn all_dead(cluster: &str) -> String {
    format!("elanus-dead.{cluster}.>")
}

/// Where the outbox's publisher is nudged.
pub(super) fn nudge(cluster: &str) -> String {
    format!("elanus-nudge.{cluster}")
}

/// What to listen to.
pub(super) fn filters(cluster: &str, wanted: &Wanted) -> Vec<String> {
    let id = wanted.id.map_or_else(|| "*".to_owned(), |id| id.to_string());
    let kinds: &[Kind] = if wanted.kinds.is_empty() { Kind::ALL } else { &wanted.kinds };
    Kind::ALL
        .iter()
        .filter(|kind| kinds.contains(kind))
        .map(|kind| format!("elanus.{cluster}.{}.{id}", kind.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;
    use elanus_types::SnapshotId;

    #[test]
    fn an_event_is_read_by_its_subject_headers_and_body() {
        let envelope = Envelope { id: 1_700_000_000_123 << 18, ..suite::envelope(Subject::Snapshot(SnapshotId(5))) };
        let (subject, headers, body) = message("c-1", &envelope);
        assert_eq!(subject, "elanus.c-1.snapshot.5");
        assert_eq!(headers.get("Nats-Msg-Id").unwrap().as_str(), envelope.id.to_string());
        assert_eq!(headers.get("traceparent").map(|value| value.as_str()), envelope.traceparent.as_deref());
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&read["id"], &read["at_ms"]), (&envelope.id.into(), &1_700_000_000_123_i64.into()));
        assert_eq!((&read["payload"], &read["key"]), (&envelope.payload, &"elanus.snapshot.5@1".into()));
        assert_eq!(about("c-1", &subject).unwrap(), envelope.subject);
    }

    #[test]
    fn a_trace_that_is_no_header_is_left_out() {
        let mut envelope = suite::envelope(Subject::Snapshot(SnapshotId(5)));
        for bad in ["a\r\nNats-Msg-Id: 7", "a b", "ä"] {
            envelope.traceparent = Some(bad.to_owned());
            assert!(message("c", &envelope).1.get("traceparent").is_none(), "{bad:?}");
        }
    }

    #[test]
    fn subjects_of_others_are_no_events() {
        for bad in ["elanus.other.snapshot.5", "elanus.c.snapshot", "elanus.c.unknown.5", "elanus.cc.snapshot.5", "x"] {
            assert!(about("c", bad).is_err(), "{bad}");
        }
        assert_eq!(dead("elanus.c.task.1"), "elanus-dead.c.task.1");
    }

    #[test]
    fn only_what_is_wanted_is_listened_to() {
        let wanted = Wanted { kinds: vec![Kind::Task, Kind::Segment], id: None };
        assert_eq!(filters("c", &wanted), ["elanus.c.segment.*", "elanus.c.task.*"]);
        let wanted = Wanted { kinds: Vec::new(), id: Some(7) };
        assert_eq!(filters("c", &wanted).len(), Kind::ALL.len());
        assert!(filters("c", &wanted).contains(&"elanus.c.gc.7".to_owned()));
    }
}
