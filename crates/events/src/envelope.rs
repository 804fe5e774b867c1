//! What travels on the bus.

use elanus_types::{AuditId, CollectionId, JobId, SegmentId, SnapshotId, TaskId, Timestamp};
use std::{fmt, str::FromStr};

macro_rules! subjects {
    ($($(#[$doc:meta])* $kind:ident($id:ident) = $text:literal,)*) => {
        /// What an event is about, without which one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        /// What an event is about; as text `elanus.<kind>.<id>`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

            /// The subject of this kind with this id.
            #[must_use]
            pub fn subject(self, id: i64) -> Subject {
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

            /// The id of what it is about, as a number.
            #[must_use]
            pub fn id(self) -> i64 {
                match self {
                    $(Self::$kind(id) => id.0,)*
                }
            }
        }
    };
}

subjects! {
    /// A segment began to grow, was closed, or was made or ended by a compaction.
    Segment(SegmentId) = "segment",
    /// A snapshot moved.
    Snapshot(SnapshotId) = "snapshot",
    /// A restore job moved.
    Restore(JobId) = "restore",
    /// A task moved.
    Task(TaskId) = "task",
    /// A collection was created, written, changed, loaded, released or dropped.
    Collection(CollectionId) = "collection",
    /// The collector claimed or deleted objects, or a brake of it moved.
    Gc(AuditId) = "gc",
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

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().find(|kind| kind.as_str() == text).copied().ok_or(UnknownKind)
    }
}

/// A text that is not the kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give segment, snapshot, restore, task, collection or gc")]
pub struct UnknownKind;

/// An event on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The same for every repeat of one event, of no other event, and rising with time; a bus may drop repeats by it.
    pub id: i64,
    /// What it tells, as a name: the same fact has the same, also when it is told twice.
    pub dedup_key: String,
    /// What it is about.
    pub subject: Subject,
    /// For people and for caches; small.
    pub payload: serde_json::Value,
    /// W3C trace context of the cause; the consumer's span links to it.
    pub traceparent: Option<String>,
}

impl Envelope {
    /// When its fact was written, in milliseconds since 1970: ids are timestamps.
    #[must_use]
    pub fn at_ms(&self) -> i64 {
        Timestamp(self.id).ms()
    }
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
    fn a_kind_is_told_by_its_name_alone() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert!(UnknownKind.to_string().contains(kind.as_str()), "{kind:?}");
        }
        for bad in ["", "Segment", "segments", "*", ">"] {
            assert_eq!(bad.parse::<Kind>(), Err(UnknownKind), "{bad}");
        }
    }
}
