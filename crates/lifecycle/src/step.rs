//! What every machine answers to a message, and what it says about a row that it could not have written.

use crate::file_set::Brake;
use crate::labels::labels;
use std::fmt;

/// The answer of a machine to one event. `T` is the machine, `E` its effects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step<T, E> {
    /// Store the new state and its effects in one transaction.
    Move(T, Vec<E>),
    /// The message came twice or too late to matter: answer success, write nothing.
    Repeat,
    /// The sender lost what it worked on: answer that, write nothing; the sender stops.
    Fenced,
    /// The event is not allowed now: write nothing, tell the sender why.
    Refuse(Refusal),
}

/// Why a machine refuses an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No correct sender sends this event in this state: a bug, a person must look.
    #[error("a {machine} that is {state} cannot take {event}")]
    Bug {
        /// Name of the machine.
        machine: &'static str,
        /// Label of its state.
        state: &'static str,
        /// Name of the event.
        event: &'static str,
    },
    /// File set: only one that is live can get a further reference.
    #[error("the file set is {state}, only a live one can be referenced")]
    NotLive {
        /// Label of its state.
        state: &'static str,
    },
    /// File set: something needs it.
    #[error("the file set is in use")]
    InUse,
    /// File set: the time during which it can be undone is not over. Copy task: its back-off is not over.
    #[error("it is too early, wait until {not_before_ms} ms since 1970")]
    TooEarly {
        /// Milliseconds since 1970.
        not_before_ms: i64,
    },
    /// File set: nothing references it, and all the same it is not deleted now.
    #[error("the file set is kept: {}", by.label())]
    Kept {
        /// What keeps it.
        by: Brake,
    },
    /// File set: it was handed to deletion or never was complete, so there is nothing sure to come back to.
    #[error("the file set cannot come back: it never was live, or its deletion has begun")]
    NoWayBack,
    /// Snapshot: a live pin keeps it.
    #[error("the snapshot is pinned by {owner}{}", Until(*until_ms))]
    Pinned {
        /// Who holds the pin.
        owner: String,
        /// When the pin ends by itself, in milliseconds since 1970; `None` when it does not.
        until_ms: Option<i64>,
    },
    /// Pin: only a committed snapshot can be pinned.
    #[error("the snapshot is {state}, only a committed one can be pinned")]
    NotPinnable {
        /// Label of its state.
        state: &'static str,
    },
    /// Restore job: publication has begun and is not undone.
    #[error("the restore job is being published or is over")]
    TooLate,
}

impl Refusal {
    /// True when only a bug or damaged metadata explains it: log at error and count.
    #[must_use]
    pub fn is_bug(&self) -> bool {
        matches!(self, Self::Bug { .. })
    }
}

labels!(Refusal {
    Self::Bug { .. } => "bug",
    Self::NotLive { .. } => "not_live",
    Self::InUse => "in_use",
    Self::TooEarly { .. } => "too_early",
    Self::Kept { .. } => "kept",
    Self::NoWayBack => "no_way_back",
    Self::Pinned { .. } => "pinned",
    Self::NotPinnable { .. } => "not_pinnable",
    Self::TooLate => "too_late",
});

struct Until(Option<i64>);

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ms) => write!(f, " until {ms} ms since 1970"),
            None => f.write_str(" for ever"),
        }
    }
}

/// A row that no version of this machine wrote. Whoever reads it keeps everything that the row may need.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the row of a {machine} is corrupt: {why}")]
pub struct CorruptRow {
    /// Name of the machine.
    pub machine: &'static str,
    /// What does not fit together.
    pub why: String,
}
