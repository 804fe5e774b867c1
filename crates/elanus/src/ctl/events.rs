//! `elanus ctl events`: what happens in the cluster, as it happens.

use super::{Stop, stop};
use crate::output::{Format, clean, rfc3339};
use clap::{Args, Subcommand};
use elanus_client::{Client, ErrorKind, TailEventsRequest, TailedEvent};
use elanus_events::Kind;
use elanus_types::Clock;
use serde_json::{Value, json};
use std::{io::Write as _, time::Duration};

const HELP: &str = "\
Examples:
  elanus ctl events tail
  elanus ctl events tail --kind snapshot --kind restore --since 10m
  elanus ctl events tail --kind restore --id 449 --output json
  elanus ctl events tail --from-seq 1 --limit 100

One line for each event, one JSON object a line with --output json. What was published before is there with a NATS server
as the bus (--events-url), as long as it keeps it; inside one process, only what happens from now on.

An event wakes and tells; it may come twice, and may be missing. What is, is in the metadata.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Tail(TailArgs),
}

/// Follow events until Ctrl-C
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct TailArgs {
    /// Only events of this kind, or these: segment, snapshot, restore, task, collection, gc
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kind: Vec<Kind>,
    /// Only about what has this id: a snapshot, a job, a collection, …
    #[arg(long, value_name = "ID")]
    id: Option<i64>,
    /// Also what was published in this time, for example 10m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "from_seq")]
    since: Option<Duration>,
    /// From this number in the bus on; 1: all that it keeps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    from_seq: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

fn kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|error: elanus_events::UnknownKind| error.to_string())
}

impl TailArgs {
    fn request(&self, clock: &dyn Clock) -> TailEventsRequest {
        let ago = |time: Duration| clock.now_ms() - i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        TailEventsRequest {
            kinds: self.kind.iter().map(|kind| kind.as_str().to_owned()).collect(),
            id: self.id,
            since_ms: self.since.map(|time| ago(time).max(0)),
            from_sequence: self.from_seq,
            limit: self.limit.unwrap_or(0),
        }
    }
}

/// Prints events until the limit is reached, or the reader has enough.
pub(super) async fn execute(client: &Client, command: Command, format: Format, clock: &dyn Clock) -> Result<(), Stop> {
    let Command::Tail(args) = command;
    let mut tail = client.tail_events(args.request(clock)).await?;
    let mut last = 0;
    loop {
        let event = match tail.next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(()),
            Err(error) if last > 0 && error.kind == ErrorKind::Unavailable => {
                let text = format!("{error}; go on with --from-seq {}", last + 1);
                return Err(stop(ErrorKind::Unavailable, text));
            }
            Err(error) => return Err(error.into()),
        };
        last = last.max(event.sequence);
        if event.gap {
            eprintln!("the event bus was away: events may be missing here");
        }
        let line = match format {
            Format::Json => Some(to_json(&event).to_string()),
            Format::Table => (!event.gap).then(|| to_line(&event)),
        };
        // A reader that closed the pipe has what it wanted.
        if let Some(line) = line
            && writeln!(std::io::stdout().lock(), "{line}").is_err()
        {
            return Ok(());
        }
    }
}

fn to_json(event: &TailedEvent) -> Value {
    if event.gap {
        return json!({ "gap": true });
    }
    let payload: Value = serde_json::from_str(&event.payload_json).unwrap_or(Value::Null);
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    json!({
        "sequence": if event.sequence == 0 { Value::Null } else { event.sequence.into() },
        "kind": event.kind,
        "id": event.id,
        "at_ms": event.at_ms,
        "at": rfc3339(event.at_ms),
        "event_id": event.event_id,
        "key": event.key,
        "payload": payload,
        "traceparent": or_null(&event.traceparent),
    })
}

/// `2026-01-01T00:00:00.000Z  17  snapshot.5  commit: pending → committed`
fn to_line(event: &TailedEvent) -> String {
    let time = rfc3339(event.at_ms).unwrap_or_else(|| "-".to_owned());
    let sequence = if event.sequence == 0 { String::new() } else { format!("{:>8}  ", event.sequence) };
    let payload: Value = serde_json::from_str(&event.payload_json).unwrap_or(Value::Null);
    let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
    let what = match (text("event"), text("from"), text("to"), text("action")) {
        (event, from, to, _) if !event.is_empty() && !from.is_empty() => format!("{event}: {from} → {to}"),
        (event, _, to, _) if !event.is_empty() => format!("{event}: {to}"),
        (.., action) if !action.is_empty() => match payload["objects"].as_u64() {
            Some(objects) => format!("{action}: {objects} objects"),
            None => action,
        },
        _ => "changed".to_owned(),
    };
    clean(&format!("{time}  {sequence}{}.{}  {what}", event.kind, event.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::ManualClock;

    fn event(payload: &str) -> TailedEvent {
        TailedEvent {
            sequence: 17,
            kind: "snapshot".to_owned(),
            id: 5,
            event_id: 9,
            key: "k".to_owned(),
            at_ms: 1_700_000_000_123,
            payload_json: payload.to_owned(),
            ..TailedEvent::default()
        }
    }

    #[test]
    fn an_event_is_a_line() {
        let head = "2023-11-14T22:13:20.123Z        17  snapshot.5  ";
        for (payload, what) in [
            (r#"{"event":"commit","from":"pending","to":"committed"}"#, "commit: pending → committed"),
            (r#"{"event":"create","from":"","to":"pending"}"#, "create: pending"),
            (r#"{"action":"gone","objects":3}"#, "gone: 3 objects"),
            (r#"{"action":"pause","objects":null}"#, "pause"),
            ("{}", "changed"),
            ("no json", "changed"),
        ] {
            assert_eq!(to_line(&event(payload)), format!("{head}{what}"));
        }
        assert!(to_line(&event("{\"action\":\"\\u001b[2J\\n\"}")).ends_with("\\u{1b}[2J\\n"));
    }

    #[test]
    fn an_event_is_an_object() {
        let json = to_json(&event(r#"{"event":"commit"}"#));
        assert_eq!((&json["sequence"], &json["payload"]["event"]), (&17.into(), &"commit".into()));
        assert_eq!((&json["at"], &json["traceparent"]), (&"2023-11-14T22:13:20.123Z".into(), &Value::Null));
        assert_eq!(to_json(&TailedEvent { gap: true, ..TailedEvent::default() }), json!({ "gap": true }));
    }

    #[test]
    fn a_time_is_counted_from_now() {
        let args = TailArgs {
            kind: vec![Kind::Gc],
            id: None,
            since: Some(Duration::from_secs(600)),
            from_seq: None,
            limit: Some(3),
        };
        let request = args.request(&ManualClock::at_ms(1_000_000));
        assert_eq!((request.since_ms, request.limit, request.kinds), (Some(400_000), 3, vec!["gc".to_owned()]));
        assert_eq!(args.request(&ManualClock::at_ms(5)).since_ms, Some(0));
    }
}
