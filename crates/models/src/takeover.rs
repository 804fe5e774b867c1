//! Two coordinators over one metadata store, each believing that it is the one, while a snapshot is created, a sweep runs
//! and a writer is stalled.
//!
//! * I1  The object of whatever is live exists.
//! * I4  No DELETE is on the wire for what is live.
//! * I5  What was claimed never becomes intent or live again; a snapshot that was given up is not committed.
//! * I9  A committed snapshot's manifest is live.
//! * I10 No transaction of a stale epoch and no commit of a taken intent succeeds.
//! * I11 No two coordinators have the same epoch.

use crate::search::Simplification;
use stateright::{Model, Property};

/// Rows of the writer, of the snapshot that is created, and of something that was dropped before.
const DATA: usize = 0;
const MANIFEST: usize = 1;
const DROPPED: usize = 2;
const FILE_SETS: usize = 3;
const COORDINATORS: usize = 2;
const TAKEOVERS_MAX: u8 = 3;

/// The row of a file set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Row {
    Absent,
    Intent,
    Live,
    Queued,
    Deleting,
    Gone,
}

/// The row of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Snapshot {
    Absent,
    Pending {
        /// Epoch of its writer.
        by: u8,
    },
    Committed,
    Deleting,
}

/// What somebody who writes an object has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Write {
    Idle,
    Registered,
    Sent,
    Answered,
    Ended,
}

/// What a sweeper has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sweep {
    Idle,
    Holds(usize),
    Answered(usize),
}

/// A coordinator; it never learns that it is stale but from a transaction that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Coordinator {
    epoch: u8,
    manifest: Write,
    sweep: Sweep,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    epoch: u8,
    rows: [Row; FILE_SETS],
    claimed: [bool; FILE_SETS],
    snapshot: Snapshot,
    data: Write,
    coordinators: [Coordinator; COORDINATORS],
    objects: [bool; FILE_SETS],
    puts: [bool; FILE_SETS],
    deletes: [u8; FILE_SETS],
    undone: bool,
    /// I5 and I10, seen by the step that breaks them.
    came_back: bool,
    stale_commit: bool,
}

/// One step of somebody; the first number is the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Raises the epoch; what it had in hand before is forgotten.
    TakeOver(usize),
    /// Pins a timestamp.
    CreateSnapshot(usize),
    /// Registers the manifest.
    RegisterManifest(usize),
    /// Sends the manifest.
    PutManifest(usize),
    /// The snapshot is complete.
    CommitSnapshot(usize),
    /// Gives up a pending snapshot whose lease ended, perhaps wrongly.
    ExpireSnapshot(usize),
    /// Gives up an intent whose lease ended, perhaps wrongly.
    AbandonIntent(usize, usize),
    /// Releases the manifest of a dropped snapshot.
    DropSnapshot(usize),
    /// Keeps what was dropped.
    Undo(usize),
    /// Claims.
    Claim(usize, usize),
    /// Takes up a deletion.
    Reclaim(usize, usize),
    /// Sends a DELETE.
    SendDelete(usize),
    /// Writes the answer down.
    MarkGone(usize),
    /// Writer: registers.
    RegisterData,
    /// Writer: sends.
    PutData,
    /// Writer: commits, however late.
    CommitData,
    /// Wire: a PUT arrives.
    LandPut(usize),
    /// Wire: a DELETE arrives.
    LandDelete(usize),
}

/// A plausible way to build less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Less {
    /// A coordinator's transaction does not read the epoch.
    EpochNotChecked,
    /// The commit of a snapshot does not ask for the intents of its manifests.
    SnapshotIgnoresIntent,
    /// The commit of a snapshot does not ask whether it is still pending in the same hands.
    SnapshotIgnoresState,
    /// The commit of a write does not ask for its intent.
    WriteIgnoresIntent,
    /// A sweeper deletes what it read, without a claim.
    SweepFromARead,
    /// A sweeper that takes over forgets what was claimed, and starts from the queue.
    ClaimsReturnToTheQueue,
}

/// All of them, with what each breaks.
pub const SIMPLIFICATIONS: [Simplification<Less>; 6] = [
    Simplification { what: Less::EpochNotChecked, breaks: "I10", steps: 3 },
    Simplification { what: Less::SnapshotIgnoresIntent, breaks: "I1", steps: 10 },
    Simplification { what: Less::SnapshotIgnoresState, breaks: "I5", steps: 7 },
    Simplification { what: Less::WriteIgnoresIntent, breaks: "I1", steps: 9 },
    Simplification { what: Less::SweepFromARead, breaks: "I1", steps: 5 },
    Simplification { what: Less::ClaimsReturnToTheQueue, breaks: "I1", steps: 6 },
];

/// The protocol, or a simplification of it.
#[derive(Clone, Copy, Debug)]
pub struct Takeover {
    /// What is left out.
    pub less: Option<Less>,
    /// How often coordinators start.
    pub takeovers: u8,
}

impl Takeover {
    /// Few seconds.
    pub const SMALL: Self = Self { less: None, takeovers: 2 };
    /// Everything.
    pub const FULL: Self = Self { less: None, takeovers: TAKEOVERS_MAX };

    fn lacks(&self, what: Less) -> bool {
        self.less == Some(what)
    }

    /// What coordinator `c` can do by a transaction. A stale one can do none.
    fn transactions(&self, s: &State, c: usize, to: &mut Vec<Action>) {
        let own = s.coordinators[c];
        if own.epoch == 0 || own.epoch != s.epoch && !self.lacks(Less::EpochNotChecked) {
            return;
        }
        match s.snapshot {
            Snapshot::Absent => to.push(Action::CreateSnapshot(c)),
            Snapshot::Pending { by } => {
                if by == own.epoch && own.manifest == Write::Idle {
                    to.push(Action::RegisterManifest(c));
                }
                to.push(Action::ExpireSnapshot(c));
            }
            Snapshot::Committed => to.push(Action::DropSnapshot(c)),
            Snapshot::Deleting => {}
        }
        let pending = s.snapshot == Snapshot::Pending { by: own.epoch } || self.lacks(Less::SnapshotIgnoresState);
        let intended = s.rows[MANIFEST] == Row::Intent || self.lacks(Less::SnapshotIgnoresIntent);
        if own.manifest == Write::Answered && pending && intended {
            to.push(Action::CommitSnapshot(c));
        }
        if s.rows[DROPPED] == Row::Queued && !s.claimed[DROPPED] && !s.undone {
            to.push(Action::Undo(c));
        }
        for i in 0..FILE_SETS {
            match s.rows[i] {
                Row::Intent => to.push(Action::AbandonIntent(c, i)),
                Row::Queued if own.sweep == Sweep::Idle => to.push(Action::Claim(c, i)),
                Row::Deleting if own.sweep == Sweep::Idle => to.push(Action::Reclaim(c, i)),
                _ => {}
            }
        }
        if matches!(own.sweep, Sweep::Answered(_)) {
            to.push(Action::MarkGone(c));
        }
    }

    fn writer(&self, s: &State, to: &mut Vec<Action>) {
        match s.data {
            Write::Idle => to.push(Action::RegisterData),
            Write::Registered => to.push(Action::PutData),
            Write::Answered if s.rows[DATA] == Row::Intent || self.lacks(Less::WriteIgnoresIntent) => {
                to.push(Action::CommitData);
            }
            Write::Sent | Write::Answered | Write::Ended => {}
        }
    }

    fn take_over(&self, s: &mut State, c: usize) {
        s.epoch += 1;
        s.coordinators[c] = Coordinator { epoch: s.epoch, manifest: Write::Idle, sweep: Sweep::Idle };
        if self.lacks(Less::ClaimsReturnToTheQueue) {
            for i in (0..FILE_SETS).filter(|i| s.rows[*i] == Row::Deleting).collect::<Vec<_>>() {
                s.rows[i] = Row::Queued;
                s.claimed[i] = false;
            }
        }
    }
}

impl State {
    /// A transaction of coordinator `c` commits.
    fn commit(&mut self, c: usize) {
        self.stale_commit |= self.coordinators[c].epoch != self.epoch;
    }

    fn enliven(&mut self, i: usize) {
        self.came_back |= matches!(self.rows[i], Row::Deleting | Row::Gone) || self.claimed[i];
        self.rows[i] = Row::Live;
    }

    fn give_up_snapshot(&mut self) {
        self.snapshot = Snapshot::Deleting;
        // The same transaction: nobody is left who could commit it.
        if matches!(self.rows[MANIFEST], Row::Intent | Row::Live) {
            self.rows[MANIFEST] = Row::Queued;
        }
    }

    fn land_put(&mut self, i: usize) {
        self.puts[i] = false;
        self.objects[i] = true;
        let writes = self.coordinators.iter_mut().map(|c| (MANIFEST, &mut c.manifest)).chain([(DATA, &mut self.data)]);
        for (_, write) in writes.filter(|(of, write)| *of == i && **write == Write::Sent) {
            *write = Write::Answered;
        }
    }

    fn land_delete(&mut self, i: usize) {
        self.deletes[i] -= 1;
        self.objects[i] = false;
        for coordinator in &mut self.coordinators {
            if coordinator.sweep == Sweep::Holds(i) {
                coordinator.sweep = Sweep::Answered(i);
            }
        }
    }
}

impl Model for Takeover {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let off = Coordinator { epoch: 0, manifest: Write::Idle, sweep: Sweep::Idle };
        vec![State {
            epoch: 0,
            rows: [Row::Absent, Row::Absent, Row::Queued],
            claimed: [false; FILE_SETS],
            snapshot: Snapshot::Absent,
            data: Write::Idle,
            coordinators: [off; COORDINATORS],
            objects: [false, false, true],
            puts: [false; FILE_SETS],
            deletes: [0; FILE_SETS],
            undone: false,
            came_back: false,
            stale_commit: false,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        for c in 0..COORDINATORS {
            if s.epoch < self.takeovers {
                actions.push(Action::TakeOver(c));
            }
            self.transactions(s, c, actions);
            // Requests to the store need no transaction: a stale coordinator sends them, too.
            if s.coordinators[c].manifest == Write::Registered {
                actions.push(Action::PutManifest(c));
            }
            if matches!(s.coordinators[c].sweep, Sweep::Holds(i) if s.deletes[i] < 2) {
                actions.push(Action::SendDelete(c));
            }
        }
        self.writer(s, actions);
        actions.extend((0..FILE_SETS).filter(|i| s.puts[*i]).map(Action::LandPut));
        actions.extend((0..FILE_SETS).filter(|i| s.deletes[*i] > 0).map(Action::LandDelete));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut s = before.clone();
        match action {
            Action::TakeOver(c) => self.take_over(&mut s, c),
            Action::CreateSnapshot(c) => {
                s.commit(c);
                s.snapshot = Snapshot::Pending { by: s.coordinators[c].epoch };
            }
            Action::RegisterManifest(c) => {
                s.commit(c);
                s.rows[MANIFEST] = Row::Intent;
                s.coordinators[c].manifest = Write::Registered;
            }
            Action::PutManifest(c) => {
                s.puts[MANIFEST] = true;
                s.coordinators[c].manifest = Write::Sent;
            }
            Action::CommitSnapshot(c) => {
                s.commit(c);
                s.stale_commit |= s.rows[MANIFEST] != Row::Intent;
                s.came_back |= s.snapshot == Snapshot::Deleting;
                s.enliven(MANIFEST);
                s.snapshot = Snapshot::Committed;
                s.coordinators[c].manifest = Write::Ended;
            }
            Action::ExpireSnapshot(c) if self.lacks(Less::SnapshotIgnoresState) => {
                s.commit(c);
                s.snapshot = Snapshot::Deleting;
            }
            Action::ExpireSnapshot(c) | Action::DropSnapshot(c) => {
                s.commit(c);
                s.give_up_snapshot();
            }
            Action::AbandonIntent(c, i) => {
                s.commit(c);
                s.rows[i] = Row::Queued;
            }
            Action::Undo(c) => {
                s.commit(c);
                s.undone = true;
                s.enliven(DROPPED);
            }
            Action::Claim(c, i) => {
                s.commit(c);
                if !self.lacks(Less::SweepFromARead) {
                    s.rows[i] = Row::Deleting;
                    s.claimed[i] = true;
                }
                s.coordinators[c].sweep = Sweep::Holds(i);
            }
            Action::Reclaim(c, i) => {
                s.commit(c);
                s.coordinators[c].sweep = Sweep::Holds(i);
            }
            Action::SendDelete(c) => {
                let Sweep::Holds(i) = s.coordinators[c].sweep else { return None };
                s.deletes[i] += 1;
            }
            Action::MarkGone(c) => {
                s.commit(c);
                let Sweep::Answered(i) = s.coordinators[c].sweep else { return None };
                s.coordinators[c].sweep = Sweep::Idle;
                if s.rows[i] == Row::Deleting {
                    s.rows[i] = Row::Gone;
                }
            }
            Action::RegisterData => {
                s.rows[DATA] = Row::Intent;
                s.data = Write::Registered;
            }
            Action::PutData => {
                s.puts[DATA] = true;
                s.data = Write::Sent;
            }
            Action::CommitData => {
                s.stale_commit |= s.rows[DATA] != Row::Intent;
                s.enliven(DATA);
                s.data = Write::Ended;
            }
            Action::LandPut(i) => s.land_put(i),
            Action::LandDelete(i) => s.land_delete(i),
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1 what is live exists", |_, s: &State| {
                (0..FILE_SETS).all(|i| s.objects[i] || s.rows[i] != Row::Live)
            }),
            Property::always("I4 no DELETE on the wire for what is live", |_, s: &State| {
                (0..FILE_SETS).all(|i| s.deletes[i] == 0 || s.rows[i] != Row::Live)
            }),
            Property::always("I5 what was claimed or given up does not come back", |_, s: &State| !s.came_back),
            Property::always("I9 the manifest of a committed snapshot is live", |_, s: &State| {
                s.snapshot != Snapshot::Committed || s.rows[MANIFEST] == Row::Live
            }),
            Property::always("I10 nothing stale commits", |_, s: &State| !s.stale_commit),
            Property::always("I11 no two coordinators have one epoch", |_, s: &State| {
                s.coordinators[0].epoch != s.coordinators[1].epoch || s.coordinators[0].epoch == 0
            }),
            Property::sometimes("a stale coordinator's DELETE arrives", |_, s: &State| {
                s.coordinators.iter().any(|c| c.epoch < s.epoch && matches!(c.sweep, Sweep::Answered(_)))
            }),
            Property::sometimes("a manifest lands after its snapshot was given up", |_, s: &State| {
                s.snapshot == Snapshot::Deleting && s.objects[MANIFEST] && s.rows[MANIFEST] == Row::Gone
            }),
            Property::sometimes("a stalled write is committed under a later epoch", |_, s: &State| {
                s.epoch > 1 && s.rows[DATA] == Row::Live
            }),
            Property::sometimes("a snapshot is committed while another one sweeps", |_, s: &State| {
                s.snapshot == Snapshot::Committed
                    && s.coordinators.iter().all(|c| c.epoch > 0 && c.sweep != Sweep::Idle)
            }),
        ]
    }
}
