//! What travels on the bus.

use elanus_types::{CollectionId, JobId, SegmentId, SnapshotId, TaskId};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! subjects {
    ($($(#[$doc:meta])* $kind:ident($id:ident) = $text:literal,)*) => {
        /// What an event is about, without which one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        /// What an event is about; as text `elanus.<kind>.<id>`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub enum Subject {
            $($(#[$doc])* $kind($id),)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// The kind in a subject's text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $text,)*
                }
            }

            fn subject(self, id: i64) -> Subject {
                match self {
                    $(Self::$kind => Subject::$kind($id(id)),)*
                }
            }
        }

        impl Subject {
            /// The kind of this subject.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            fn id(self) -> i64 {
                match self {
                    $(Self::$kind(id) => id.0,)*
                }
            }
        }
    };
}

subjects! {
    /// A segment got or lost a file.
    Segment(SegmentId) = "segment",
    /// A snapshot moved.
    Snapshot(SnapshotId) = "snapshot",
    /// A restore job moved.
    Restore(JobId) = "restore",
    /// A task moved.
    Task(TaskId) = "task",
    /// A collection was created, changed, loaded, released or dropped.
    Collection(CollectionId) = "collection",
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "elanus.{}.{}", self.kind().as_str(), self.id())
    }
}

/// A text that is not the subject of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a subject: expected elanus.<kind>.<id>")]
pub struct InvalidSubject {
    text: String,
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.strip_prefix("elanus.").and_then(|rest| rest.split_once('.'));
        let subject = parts.and_then(|(kind, id)| {
            let kind = Kind::ALL.iter().find(|known| known.as_str() == kind)?;
            Some(kind.subject(id.parse().ok()?))
        });
        // One subject, one text: `+1` and `01` are numbers, too.
        let subject = subject.filter(|subject| subject.to_string() == text);
        subject.ok_or_else(|| InvalidSubject { text: text.chars().take(128).collect() })
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidSubject;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// An event on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The same for every repeat of one event; a bus may drop repeats by it.
    pub dedup_key: String,
    /// What it is about.
    pub subject: Subject,
    /// For people and for caches; small.
    pub payload: serde_json::Value,
    /// W3C trace context of the cause; the consumer's span links to it.
    pub traceparent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_one_text() {
        for kind in Kind::ALL {
            let subject = kind.subject(7);
            assert_eq!(subject.to_string(), format!("elanus.{}.7", kind.as_str()));
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for bad in ["", "elanus", "elanus.segment", "elanus.segment.", "elanus.segment.x", "elanus.segment.+1"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
        for bad in ["elanus.segment.01", "elanus.segment.1.2", "elanus.Segment.1", "milvus.segment.1"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_envelope_survives_the_wire() {
        let envelope = Envelope {
            dedup_key: "k".to_owned(),
            subject: Subject::Snapshot(SnapshotId(5)),
            payload: serde_json::json!({"state": "committed"}),
            traceparent: None,
        };
        let text = serde_json::to_string(&envelope).unwrap();
        assert!(text.contains(r#""subject":"elanus.snapshot.5""#), "{text}");
        assert_eq!(serde_json::from_str::<Envelope>(&text).unwrap(), envelope);
    }
}
