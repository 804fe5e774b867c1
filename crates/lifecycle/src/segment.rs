//! The whole life of a segment: a group of files of one collection, partition and shard.
//!
//! ```text
//!          flush             drop
//!  Growing ─────▶ Flushed ──────────▶ Dropped
//!   │  ▲                               ▲
//!   │  ╰ append                        │
//!   ╰───────────────── drop ───────────╯
//! ```
//!
//! SG-1  Only a `Growing` segment gets rows; one that is not growing never grows again.
//! SG-2  `Dropped` has no way out. A snapshot still reads a dropped segment through its memberships.
//! SG-3  Late, repeated and reordered messages are never refused.

use crate::labels::{events, labels};
use crate::{CorruptRow, Step};

/// Name of this machine in messages and metrics.
pub const MACHINE: &str = "segment";

/// Where a segment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Open: a writer commits batches to it.
    Growing,
    /// Closed: its rows stay what they are; delete logs and indexes are still added.
    Flushed,
    /// Ended by compaction, or with its partition or collection.
    Dropped,
}

/// What can happen to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// writer: commits a batch of rows to it, in the same transaction.
    Append,
    /// writer, sealer, API: it is large or old enough, its writer ends, or the user flushes.
    Flush,
    /// API, compaction: its collection or partition is dropped, or others took its rows over.
    Drop,
}

/// What happens with a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Readers hear of it.
    Announce,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    pub(crate) state: State,
}

impl Segment {
    /// An open segment, of a writer.
    #[must_use]
    pub fn growing() -> Self {
        Self { state: State::Growing }
    }

    /// A closed segment, whose rows come from other segments: of a restore or a compaction.
    #[must_use]
    pub fn flushed() -> Self {
        Self { state: State::Flushed }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What `event` does to this segment.
    pub fn step(&self, event: &Event) -> Step<Self, Effect> {
        use Event as E;
        use State as S;
        let to = |state| Step::Move(Self { state }, vec![Effect::Announce]);
        match (self.state, event) {
            (S::Growing, E::Append) => to(S::Growing),
            (S::Growing, E::Flush) => to(S::Flushed),
            (S::Growing | S::Flushed, E::Drop) => to(S::Dropped),
            (S::Flushed | S::Dropped, E::Append) => Step::Fenced, // SG-1: the writer opens another one
            (S::Flushed | S::Dropped, E::Flush) | (S::Dropped, E::Drop) => Step::Repeat,
        }
    }

    /// The state's name in the metadata store.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.state.label()
    }

    /// The segment of a row.
    ///
    /// # Errors
    /// When the state has no such name.
    pub fn from_columns(state: &str) -> Result<Self, CorruptRow> {
        [State::Growing, State::Flushed, State::Dropped]
            .into_iter()
            .find(|known| known.label() == state)
            .map(|state| Self { state })
            .ok_or_else(|| CorruptRow { machine: MACHINE, why: format!("state {state:?}") })
    }
}

labels!(State {
    Self::Growing => "growing",
    Self::Flushed => "flushed",
    Self::Dropped => "dropped",
});

labels!(Effect {
    Self::Announce => "announce",
});

events!(Event {
    Self::Append => ("append", "writer"),
    Self::Flush => ("flush", "writer, sealer, API"),
    Self::Drop => ("drop", "API, compaction"),
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::every_world;

    #[test]
    fn sg_1_to_3_no_order_of_messages_breaks_the_invariants() {
        let worlds = every_world([Segment::growing()], |before| {
            [Event::Append, Event::Flush, Event::Drop]
                .iter()
                .map(|event| match before.step(event) {
                    Step::Move(after, _) => {
                        assert_ne!(before.state(), State::Dropped, "SG-2");
                        assert!(before.state() == State::Growing || after.state() != State::Growing, "SG-1");
                        assert!(*event != Event::Append || before.state() == State::Growing, "SG-1");
                        assert_eq!(Segment::from_columns(after.label()).as_ref(), Ok(&after));
                        after
                    }
                    Step::Repeat | Step::Fenced => before.clone(),
                    Step::Refuse(why) => panic!("SG-3: {why}"),
                })
                .collect()
        });
        assert_eq!(worlds, State::LABELS.len());
        assert!(Segment::from_columns("Growing").is_err());
    }
}
