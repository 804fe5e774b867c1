//! Writers, references by interval, snapshots, a clone, a reader, the deletion queue and the orphan scan, all at once.
//!
//! Invariants:
//!
//! * I1  The object of whatever is visible, cloned, promised by a snapshot or leased by a reader exists.
//! * I2  What has references is live.
//! * I3  No DELETE is ever sent for an object of another cluster.
//! * I4  No DELETE is on the wire for what has references.
//! * I5  What was claimed never becomes intent or live again.
//! * I6  A key is put by at most one writer.
//! * I7  The row counts exactly the references that there are.
//! * I8  Live without references never holds.
//! * I9  A snapshot keeps what was visible when it was created.
//! * L1  From every state, with no new work and a store that answers, everything unreferenced is absent in the end.
//! * L2  From every state, in the end no snapshot is `Deleting`.
//!
//! L1 and L2 are checked on two levels: the search visits every state that adversity can produce, and from each of them
//! [`Collector::settle`] lets only the background tasks run.

mod liveness;
mod possible;
mod state;
mod step;

pub use possible::Action;
pub use state::State;

use crate::search::Simplification;
use state::{Row, Set, SnapshotState};
use stateright::{Model, Property};

/// How much can happen.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Snapshots.
    pub snapshots: u8,
    /// Scans of the bucket.
    pub scans: u8,
    /// A clone can be made.
    pub clone: bool,
    /// A query node takes a lease.
    pub reader: bool,
    /// A client library sends a PUT again whose answer it did not hear.
    pub puts_again: bool,
}

impl Scope {
    /// Few seconds.
    pub const SMALL: Self = Self { snapshots: 1, scans: 1, clone: false, reader: false, puts_again: false };
    /// Two snapshots, a clone and a reader beside a scan.
    pub const WIDE: Self = Self { snapshots: 2, clone: true, reader: true, ..Self::SMALL };
    /// Every request twice, every scan twice.
    pub const LONG: Self = Self { scans: 2, puts_again: true, ..Self::SMALL };
    /// For simplifications: what breaks breaks soon.
    pub const ALL: Self = Self { snapshots: 2, scans: 2, clone: true, reader: true, puts_again: true };
}

/// A plausible way to build less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Less {
    /// Objects are written before anything is registered.
    NoIntents,
    /// The commit of a write does not ask whether its intent is still there.
    CommitIgnoresIntent,
    /// The scan reads what is known before it lists.
    KnownBeforeListing,
    /// The scan judges keys outside of the own namespace.
    ScanOfWholeRoot,
    /// A snapshot reads what it will hold, and is inserted later.
    SnapshotInTwoTransactions,
    /// A clone reads what it will reference, and references it later.
    CloneFromARead,
    /// A writer that failed tries again with the same key.
    KeysUsedAgain,
    /// Undo takes back what is being deleted.
    UndoWhileDeleting,
    /// Undo asks only whether the file set was live once.
    UndoOfClaimed,
    /// Deletes the objects, then marks the row.
    DeleteBeforeClaim,
    /// A claim does not ask for readers' leases.
    ClaimIgnoresLeases,
    /// A reader takes its view, and the lease on it later.
    LeaseAfterView,
    /// The drain of a dropped snapshot releases what lies in its interval, without looking at its neighbours.
    DrainIgnoresNeighbours,
    /// The drain of a dropped snapshot ends without looking again whether something is left.
    DrainEndsBlindly,
    /// Nobody takes up a deletion whose sweeper died.
    DeletingIsForgotten,
    /// The scan believes that a tombstone has no object.
    TombstonesAreKnown,
}

/// All of them, with what each breaks.
pub const SIMPLIFICATIONS: [Simplification<Less>; 16] = [
    Simplification { what: Less::NoIntents, breaks: "I1", steps: 9 },
    Simplification { what: Less::CommitIgnoresIntent, breaks: "I1", steps: 8 },
    Simplification { what: Less::KnownBeforeListing, breaks: "I1", steps: 10 },
    Simplification { what: Less::ScanOfWholeRoot, breaks: "I3", steps: 4 },
    Simplification { what: Less::SnapshotInTwoTransactions, breaks: "I1", steps: 10 },
    Simplification { what: Less::CloneFromARead, breaks: "I1", steps: 14 },
    Simplification { what: Less::KeysUsedAgain, breaks: "I1", steps: 10 },
    Simplification { what: Less::UndoWhileDeleting, breaks: "I1", steps: 9 },
    Simplification { what: Less::UndoOfClaimed, breaks: "I1", steps: 12 },
    Simplification { what: Less::DeleteBeforeClaim, breaks: "I1", steps: 9 },
    Simplification { what: Less::ClaimIgnoresLeases, breaks: "I1", steps: 9 },
    Simplification { what: Less::LeaseAfterView, breaks: "I1", steps: 10 },
    Simplification { what: Less::DrainIgnoresNeighbours, breaks: "I1", steps: 12 },
    Simplification { what: Less::DrainEndsBlindly, breaks: "L1", steps: 8 },
    Simplification { what: Less::DeletingIsForgotten, breaks: "L1", steps: 4 },
    Simplification { what: Less::TombstonesAreKnown, breaks: "L1", steps: 6 },
];

/// The protocol, or a simplification of it.
#[derive(Clone, Copy, Debug)]
pub struct Collector {
    /// How much can happen.
    pub scope: Scope,
    /// What is left out.
    pub less: Option<Less>,
}

impl Collector {
    fn lacks(&self, what: Less) -> bool {
        self.less == Some(what)
    }
}

impl Model for Collector {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(true), State::first(false)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(self.possible(state).into_iter().filter(|action| self.is_in_scope(state, *action)));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.step(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1 what is needed exists", |_, s: &State| {
                all(|i| s.file_sets[i].object || !(s.is_referenced(i) || s.is_leased(i)))
            }),
            Property::always("I2 what has references is live", |_, s: &State| {
                s.file_sets.iter().all(|f| f.refs <= 0 || f.row == Row::Live)
            }),
            Property::always("I3 no DELETE for an object of another cluster", |_, s: &State| {
                s.file_sets.iter().all(|f| !f.foreign || (f.object && f.deletes == 0))
            }),
            Property::always("I4 no DELETE on the wire for what has references", |_, s: &State| {
                s.file_sets.iter().all(|f| f.refs <= 0 || f.deletes == 0)
            }),
            Property::always("I5 what was claimed does not come back", |_, s: &State| !s.resurrected),
            Property::always("I6 a key is put by one writer", |_, s: &State| {
                s.file_sets.iter().all(|f| f.attempts <= 1)
            }),
            Property::always("I7 the row counts the references that there are", |_, s: &State| {
                s.file_sets.iter().all(|f| f.refs == f.references())
            }),
            Property::always("I8 live has references", |_, s: &State| {
                s.file_sets.iter().all(|f| f.row != Row::Live || f.refs > 0)
            }),
            Property::always("I9 a snapshot keeps what it was created with", |_, s: &State| {
                let kept = |i: usize| s.file_sets[i].row == Row::Live;
                s.snapshots
                    .iter()
                    .all(|snapshot| !snapshot.state.promises() || all(|i| kept(i) || !snapshot.holds.has(i)))
            }),
            Property::always(
                "L1, L2 what is unreferenced goes in the end, and so do dropped snapshots",
                |c: &Self, s: &State| c.settle(s).is_clean(),
            ),
            Property::sometimes("an object goes after the drop of its last snapshot", |_, s: &State| {
                let gone = |i: usize| s.file_sets[i].row == Row::Gone && !s.file_sets[i].object;
                s.snapshots.iter().any(|snapshot| {
                    snapshot.state == SnapshotState::Gone && !all(|i| !(snapshot.holds.has(i) && gone(i)))
                })
            }),
            Property::sometimes("a PUT lands after the deletion", |_, s: &State| {
                s.file_sets.iter().any(|f| f.row == Row::Gone && f.object && !f.foreign)
            }),
            Property::sometimes("a scan queues an orphan", |_, s: &State| {
                s.scans > 0 && s.file_sets.iter().any(|f| f.row == Row::Queued && f.claimed_ever)
            }),
            Property::sometimes("two dropped snapshots are drained at once", |c: &Self, s: &State| {
                c.scope.snapshots < 2 || s.snapshots.iter().all(|snapshot| snapshot.state == SnapshotState::Deleting)
            }),
            Property::sometimes("a clone outlives snapshot and source", |c: &Self, s: &State| {
                !c.scope.clone
                    || s.snapshots[0].state == SnapshotState::Gone
                        && s.file_sets.iter().any(|f| f.cloned && f.refs == 1)
            }),
            Property::sometimes("a lease keeps what is queued", |c: &Self, s: &State| {
                !c.scope.reader || !all(|i| !(s.is_leased(i) && s.file_sets[i].row == Row::Queued))
            }),
        ]
    }
}

fn all(holds: impl Fn(usize) -> bool) -> bool {
    Set::of(|i| !holds(i)).is_empty()
}
