//! What there is: rows of the metadata store, objects in the bucket, requests on the wire, processes.

/// File sets that a model has. Each has one object.
pub(super) const FILE_SETS: usize = 2;
/// Snapshots that can be created at most.
pub(super) const SNAPSHOTS: usize = 2;

/// Some of the file sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(u8);

impl Set {
    /// The file sets for which `is_in` is true.
    pub fn of(is_in: impl Fn(usize) -> bool) -> Self {
        Self((0..FILE_SETS).filter(|i| is_in(*i)).fold(0, |bits, i| bits | 1 << i))
    }

    /// Whether file set `i` is among them.
    #[must_use]
    pub fn has(self, i: usize) -> bool {
        self.0 & 1 << i != 0
    }

    /// These without file set `i`.
    #[must_use]
    pub fn without(self, i: usize) -> Self {
        Self(self.0 & !(1 << i))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The row of a file set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    /// There is no row.
    Absent,
    /// Registered before the first byte.
    Intent,
    /// Referenced.
    Live,
    /// Waits for deletion; the way back is open unless it was claimed before.
    Queued,
    /// Claimed.
    Deleting,
    /// A tombstone.
    Gone,
}

/// The membership of a file set in the collection. Time is counted in snapshots: what happens between two of them happens
/// at the same time, and snapshot `k` lies in `[added, removed)` when `added <= k < removed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// There is none, or it was released.
    No,
    /// Visible now.
    Now {
        /// Since when.
        added: u8,
    },
    /// Visible to snapshots only.
    Ended {
        /// Since when.
        added: u8,
        /// Until when, exclusive.
        removed: u8,
    },
}

/// The process that writes a file set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// Did not begin.
    Idle,
    /// The key is registered, nothing was sent.
    Registered,
    /// The bytes are on their way.
    Sent,
    /// The store answered.
    Answered,
    /// Committed, or dead.
    Ended,
}

/// A file set, its object, and who is busy with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileSet {
    /// Its row.
    pub row: Row,
    /// It was live at any time.
    pub ever_live: bool,
    /// It was claimed at any time.
    pub claimed_ever: bool,
    /// The number of references that its row says.
    pub refs: i8,
    /// The collection's reference.
    pub member: Member,
    /// The clone's reference.
    pub cloned: bool,
    /// Who writes it.
    pub writer: Writer,
    /// Writers that put the key so far.
    pub attempts: u8,
    /// PUTs on the wire.
    pub puts: u8,
    /// DELETEs on the wire.
    pub deletes: u8,
    /// The object is in the bucket.
    pub object: bool,
    /// It belongs to another cluster on the same root path: this one has no row of it.
    pub foreign: bool,
}

/// A snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Its row.
    pub state: SnapshotState,
    /// What was visible when it was created. The protocol never looks here: it has only times.
    pub holds: Set,
}

/// The row of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotState {
    /// There is no row.
    Absent,
    /// It protects already.
    Pending,
    /// Acknowledged.
    Committed,
    /// Dropped or given up; what only it needed is being released.
    Deleting,
    /// Everything is released.
    Gone,
}

/// The process that deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sweeper {
    /// Has nothing in hand.
    Idle,
    /// Believes that it may delete this file set.
    Holds(usize),
    /// The store answered for this file set.
    Answered(usize),
}

/// A scan of the bucket that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    /// Keys that were listed and are not judged yet.
    pub listed: Set,
}

/// A query node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// Did not begin.
    Idle,
    /// Reads these; the lease is in the metadata. It stops before the lease ends.
    Leased(Set),
    /// Stopped.
    Ended,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// File sets of this cluster, and perhaps a foreign one.
    pub file_sets: [FileSet; FILE_SETS],
    /// In order of creation: the position is the time.
    pub snapshots: [Snapshot; SNAPSHOTS],
    /// Snapshots that were created so far.
    pub now: u8,
    /// A clone was made.
    pub clone_made: bool,
    /// An operator undid a deletion.
    pub undone: bool,
    /// Who deletes.
    pub sweeper: Sweeper,
    /// Who looks for orphans.
    pub scan: Option<Scan>,
    /// Scans that began.
    pub scans: u8,
    /// Who reads.
    pub reader: Reader,
    /// What a process read in a transaction of its own, to act on it later. Only simplifications do that.
    pub read_before: Option<Set>,
    /// A file set that was claimed became live or intent again.
    pub resurrected: bool,
}

impl FileSet {
    const NEW: Self = Self {
        row: Row::Absent,
        ever_live: false,
        claimed_ever: false,
        refs: 0,
        member: Member::No,
        cloned: false,
        writer: Writer::Idle,
        attempts: 0,
        puts: 0,
        deletes: 0,
        object: false,
        foreign: false,
    };

    /// References that there are, whatever the row says.
    #[must_use]
    pub fn references(&self) -> i8 {
        i8::from(self.member != Member::No) + i8::from(self.cloned)
    }

    /// Gives one reference back; the last one queues in the same step.
    pub fn release(&mut self) {
        self.refs -= 1;
        if self.refs == 0 && self.row == Row::Live {
            self.row = Row::Queued;
        }
    }
}

impl Member {
    /// Whether a snapshot of time `at` needs it.
    #[must_use]
    pub fn is_needed_at(self, at: u8) -> bool {
        match self {
            Self::No => false,
            Self::Now { added } => added <= at,
            Self::Ended { added, removed } => added <= at && at < removed,
        }
    }
}

impl SnapshotState {
    /// Its row still keeps memberships: a dropped snapshot does until its own drain has released them.
    #[must_use]
    pub fn protects(self) -> bool {
        matches!(self, Self::Pending | Self::Committed | Self::Deleting)
    }

    /// Somebody may ask for its rows.
    #[must_use]
    pub fn promises(self) -> bool {
        matches!(self, Self::Pending | Self::Committed)
    }
}

impl State {
    /// Nothing yet, or nothing but an object of another cluster.
    #[must_use]
    pub fn first(with_foreign_object: bool) -> Self {
        let mut file_sets = [FileSet::NEW; FILE_SETS];
        if with_foreign_object {
            file_sets[FILE_SETS - 1] = FileSet { foreign: true, object: true, ..FileSet::NEW };
        }
        let snapshot = Snapshot { state: SnapshotState::Absent, holds: Set::default() };
        Self {
            file_sets,
            snapshots: [snapshot; SNAPSHOTS],
            now: 0,
            clone_made: false,
            undone: false,
            sweeper: Sweeper::Idle,
            scan: None,
            scans: 0,
            reader: Reader::Idle,
            read_before: None,
            resurrected: false,
        }
    }

    /// What the collection shows now.
    #[must_use]
    pub fn visible(&self) -> Set {
        Set::of(|i| matches!(self.file_sets[i].member, Member::Now { .. }))
    }

    /// Whether a reader's lease is on it.
    #[must_use]
    pub fn is_leased(&self, i: usize) -> bool {
        matches!(self.reader, Reader::Leased(set) if set.has(i))
    }

    /// Whether anybody was promised its bytes: the collection, the clone, a snapshot.
    #[must_use]
    pub fn is_referenced(&self, i: usize) -> bool {
        let file_set = &self.file_sets[i];
        let promised = self.snapshots.iter().any(|s| s.state.promises() && s.holds.has(i));
        matches!(file_set.member, Member::Now { .. }) || file_set.cloned || promised
    }
}
