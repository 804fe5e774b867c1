//! Metadata from a backup, under a marker that knows better.
//!
//! Store 0 is the metadata of the cluster. Once, it is copied to store 1. Process 0 works on store 0; process 1 is started
//! on the copy at any time later: an operator restored a backup, or took it for a test on the same root path. Both are of
//! one cluster, so that no namespace keeps them apart. Each sees objects of which it has no row, and queues that the other
//! one emptied or undid.
//!
//! * I1  What the metadata needed when they parted is not deleted until an operator reconciles.
//! * I11 The marker's epoch never falls.
//! * I13 Metadata that may delete names nothing that was deleted without it.
//! * OW-10 Metadata of which there is no copy is never frozen, wherever its process died.
//!
//! The marker carries a counter, `hwm`, that the metadata carry too, and which start wrote it. The counter is raised in the
//! metadata first, then in the marker: by renewals, after a claim and before its DELETE, and after an undo. A backup that was
//! made after the last of these *is* the cluster: nothing in the bucket tells it from the original, and what its users drop is
//! dropped. What the original wrote meanwhile it does not know; such objects are deleted only when an operator allows it.
//! Metadata under a running process are not replaced.

use crate::search::Simplification;
use stateright::{Model, Property};

const OBJECTS: usize = 2;

/// The row of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Row {
    Absent,
    Live,
    Queued,
    Deleting,
}

/// A metadata store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Metadata {
    epoch: u8,
    hwm: u8,
    /// The starts that it gave an epoch to, as bits.
    starts: u16,
    /// No deletion until an operator reconciles. Survives restarts.
    frozen: bool,
    rows: [Row; OBJECTS],
}

/// `_elanus/owner.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Marker {
    epoch: u8,
    hwm: u8,
    /// The start that has this epoch.
    start: u8,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Process {
    Off,
    Running {
        epoch: u8,
        /// What it deletes, and whether it looked at the marker since it claimed that.
        deletes: Option<(usize, bool)>,
    },
}

/// Everything. Process `p` works on store `p`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    stores: [Option<Metadata>; 2],
    marker: Marker,
    processes: [Process; 2],
    /// A process was started frozen, and nobody reconciled since.
    parted: bool,
    reconciled: bool,
    written: [bool; OBJECTS],
    present: [bool; OBJECTS],
    needed: [bool; OBJECTS],
    wire: [bool; OBJECTS],
    starts: u8,
    /// Number of the next start that is to be told from others.
    next_start: u8,
    /// How often the counter was raised, but for starts.
    raised: u8,
    epoch_fell: bool,
}

/// One step of somebody: of process or store 0 or 1, about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Operator: copies store 0.
    Backup,
    /// Process: raises the epoch, reads the marker, replaces it.
    Start(usize),
    /// Process: raises the epoch, not the counter, and dies before it has seen the marker.
    StartBlind(usize),
    /// Process: renews the marker.
    Renew(usize),
    /// User: writes.
    Write(usize, usize),
    /// User: drops.
    Drop(usize, usize),
    /// Operator: keeps what is queued.
    Undo(usize, usize),
    /// Process: finds an object of which it has no row, at two scans, old enough.
    QueueOrphan(usize, usize),
    /// Process: claims.
    Claim(usize, usize),
    /// Process: writes the marker again, or finds that it is not its own.
    Check(usize),
    /// Process: sends the DELETE.
    Send(usize),
    /// Wire: the DELETE arrives.
    Land(usize),
    /// Process: dies.
    Die(usize),
    /// Operator: this store is right.
    Reconcile(usize),
}

/// A plausible way to build less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Less {
    /// A start compares epochs only.
    HwmNotCompared,
    /// That deletions are frozen is known to the process only.
    FrozenIsForgotten,
    /// A start does not ask which start wrote the marker.
    StartNotCompared,
    /// A process does not look at the marker before it deletes.
    DeleteWithoutCheck,
    /// A process looks at the marker before it deletes, and does not write it.
    CheckOnlyReads,
    /// An undo does not write the marker.
    UndoNotMarked,
    /// Objects of which there is no row are deleted although nobody allowed it.
    OrphansByThemselves,
    /// The counter is raised in the marker first.
    MarkerFirst,
    /// The counter is also raised by a start that has not seen the marker.
    BlindRaises,
}

/// All of them, with what each breaks.
pub const SIMPLIFICATIONS: [Simplification<Less>; 9] = [
    Simplification { what: Less::HwmNotCompared, breaks: "I1", steps: 10 },
    Simplification { what: Less::FrozenIsForgotten, breaks: "I1", steps: 11 },
    Simplification { what: Less::StartNotCompared, breaks: "I1", steps: 12 },
    Simplification { what: Less::DeleteWithoutCheck, breaks: "I1", steps: 9 },
    Simplification { what: Less::CheckOnlyReads, breaks: "I13", steps: 9 },
    Simplification { what: Less::UndoNotMarked, breaks: "I1", steps: 10 },
    Simplification { what: Less::OrphansByThemselves, breaks: "I1", steps: 9 },
    Simplification { what: Less::MarkerFirst, breaks: "OW-10", steps: 3 },
    Simplification { what: Less::BlindRaises, breaks: "I1", steps: 11 },
];

/// The protocol, or a simplification of it.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// What is left out.
    pub less: Option<Less>,
    /// How often the counter is raised: by renewals, claims and undos.
    pub raises: u8,
    /// How often processes start.
    pub starts: u8,
}

impl Restored {
    /// Few seconds.
    pub const SMALL: Self = Self { less: None, raises: 2, starts: 3 };
    /// Everything.
    pub const FULL: Self = Self { less: None, raises: 3, starts: 4 };

    fn lacks(&self, what: Less) -> bool {
        self.less == Some(what)
    }

    fn start(&self, s: &mut State, p: usize) {
        let Some(mut store) = s.stores[p] else { return };
        let newer_epoch = s.marker.epoch > store.epoch;
        let newer_hwm = s.marker.hwm > store.hwm && !self.lacks(Less::HwmNotCompared);
        let by_another = store.starts & (1 << s.marker.start) == 0 && !self.lacks(Less::StartNotCompared);
        if self.lacks(Less::FrozenIsForgotten) {
            store.frozen = false;
        }
        store.frozen |= newer_epoch || newer_hwm || by_another;
        // What is known of the marker is known from now on: only `frozen` tells that it was ahead.
        store.hwm = store.hwm.max(s.marker.hwm);
        s.take_epoch(p, store);
        s.starts += 1;
        s.parted |= store.frozen;
    }

    fn start_blind(&self, s: &mut State, p: usize) {
        let Some(mut store) = s.stores[p] else { return };
        store.epoch += 1;
        if self.lacks(Less::BlindRaises) {
            store.hwm += 1;
        }
        store.starts |= 1 << s.next_start;
        s.next_start += 1;
        s.starts += 1;
        s.stores[p] = Some(store);
    }

    fn check(&self, s: &mut State, p: usize) {
        let Process::Running { epoch, deletes: Some((i, false)) } = s.processes[p] else { return };
        let owns = s.marker.epoch == epoch || self.lacks(Less::DeleteWithoutCheck);
        if owns && !self.lacks(Less::DeleteWithoutCheck) && !self.lacks(Less::CheckOnlyReads) {
            self.renew(s, p);
        }
        s.processes[p] = if owns { Process::Running { epoch, deletes: Some((i, true)) } } else { Process::Off };
    }

    fn renew(&self, s: &mut State, p: usize) {
        let (Some(mut store), Process::Running { epoch, .. }) = (s.stores[p], s.processes[p]) else { return };
        if s.marker.epoch != epoch {
            s.processes[p] = Process::Off;
            return;
        }
        s.raised += 1;
        if self.lacks(Less::MarkerFirst) {
            // And dies before the metadata knows it.
            s.marker.hwm = store.hwm + 1;
            s.processes[p] = Process::Off;
            return;
        }
        store.hwm += 1;
        s.stores[p] = Some(store);
        s.put_marker(store);
    }

    fn can_running(&self, s: &State, p: usize, store: &Metadata, deletes: Option<(usize, bool)>, to: &mut Vec<Action>) {
        let may_raise = s.raised < self.raises;
        if may_raise {
            to.push(Action::Renew(p));
        }
        to.push(Action::Die(p));
        if s.parted && store.frozen {
            to.push(Action::Reconcile(p));
        }
        match deletes {
            Some((_, true)) => to.push(Action::Send(p)),
            Some((_, false)) if may_raise => to.push(Action::Check(p)),
            Some((_, false)) | None => {}
        }
        // That a person says that these metadata are right is the only reason to allow it.
        let allowed = s.reconciled || self.lacks(Less::OrphansByThemselves);
        for i in 0..OBJECTS {
            match store.rows[i] {
                Row::Absent if !s.written[i] => to.push(Action::Write(p, i)),
                Row::Absent if s.present[i] && !store.frozen && allowed => to.push(Action::QueueOrphan(p, i)),
                Row::Absent => {}
                Row::Live => to.push(Action::Drop(p, i)),
                Row::Queued if may_raise => to.push(Action::Undo(p, i)),
                Row::Queued => {}
                Row::Deleting => {}
            }
            let waits = matches!(store.rows[i], Row::Queued | Row::Deleting);
            if waits && !store.frozen && deletes.is_none() {
                to.push(Action::Claim(p, i));
            }
        }
    }
}

impl State {
    fn put_marker(&mut self, store: Metadata) {
        self.epoch_fell |= store.epoch < self.marker.epoch;
        self.marker = Marker { epoch: store.epoch, hwm: store.hwm, ..self.marker };
    }

    /// Process `p` goes on with `store` under a new epoch.
    fn take_epoch(&mut self, p: usize, mut store: Metadata) {
        store.epoch = store.epoch.max(self.marker.epoch) + 1;
        store.starts |= 1 << self.next_start;
        self.stores[p] = Some(store);
        self.marker.start = self.next_start;
        self.next_start += 1;
        self.put_marker(store);
        self.processes[p] = Process::Running { epoch: store.epoch, deletes: None };
    }

    /// Process `p` is the one that the marker names.
    fn is_owner(&self, p: usize) -> bool {
        matches!(self.processes[p], Process::Running { epoch, .. } if epoch == self.marker.epoch)
    }

    fn row(&mut self, p: usize, i: usize) -> Option<&mut Row> {
        self.stores[p].as_mut().map(|store| &mut store.rows[i])
    }

    /// Some process claimed it before: a backup of the time before that cannot bring it back.
    fn is_being_deleted(&self, i: usize) -> bool {
        self.wire[i] || self.stores.iter().flatten().any(|store| store.rows[i] == Row::Deleting)
    }

    /// A process that runs with an older epoch than its store's commits nothing.
    fn is_fenced(&self, p: usize) -> bool {
        match (self.processes[p], &self.stores[p]) {
            (Process::Running { epoch, .. }, Some(store)) => epoch != store.epoch,
            _ => true,
        }
    }

    fn reconcile(&mut self, p: usize) {
        let Some(mut store) = self.stores[p] else { return };
        store.frozen = false;
        store.hwm = store.hwm.max(self.marker.hwm);
        // The other store is given up for good.
        self.processes = [Process::Off; 2];
        self.take_epoch(p, store);
        self.needed = [0, 1].map(|i| store.rows[i] == Row::Live && self.present[i] && !self.is_being_deleted(i));
        self.parted = false;
        self.reconciled = true;
    }
}

impl Model for Restored {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let first = Metadata { epoch: 0, hwm: 0, starts: 1, frozen: false, rows: [Row::Absent; OBJECTS] };
        vec![State {
            stores: [Some(first), None],
            marker: Marker { epoch: 0, hwm: 0, start: 0 },
            processes: [Process::Off; 2],
            parted: false,
            reconciled: false,
            written: [false; OBJECTS],
            present: [false; OBJECTS],
            needed: [false; OBJECTS],
            wire: [false; OBJECTS],
            starts: 0,
            next_start: 1,
            raised: 0,
            epoch_fell: false,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.stores[1].is_none() {
            actions.push(Action::Backup);
        }
        for p in 0..2 {
            match (s.processes[p], &s.stores[p]) {
                (Process::Off, Some(_)) if s.starts < self.starts => {
                    actions.push(Action::Start(p));
                    actions.push(Action::StartBlind(p));
                }
                (Process::Running { deletes, .. }, Some(store)) if !s.is_fenced(p) => {
                    self.can_running(s, p, store, deletes, actions);
                }
                _ => {}
            }
        }
        actions.extend((0..OBJECTS).filter(|i| s.wire[*i]).map(Action::Land));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut s = before.clone();
        match action {
            Action::Backup => s.stores[1] = s.stores[0],
            Action::Start(p) => self.start(&mut s, p),
            Action::StartBlind(p) => self.start_blind(&mut s, p),
            Action::Renew(p) => self.renew(&mut s, p),
            Action::Write(p, i) => {
                *s.row(p, i)? = Row::Live;
                s.written[i] = true;
                s.present[i] = true;
                s.needed[i] = true;
            }
            Action::Drop(p, i) => {
                *s.row(p, i)? = Row::Queued;
                // Two metadata: what the other one needs is still needed.
                s.needed[i] &= s.parted;
            }
            Action::Undo(p, i) => {
                *s.row(p, i)? = Row::Live;
                // It is told when the marker is written.
                if !self.lacks(Less::UndoNotMarked) {
                    if !s.is_owner(p) {
                        s.processes[p] = Process::Off;
                        return Some(s);
                    }
                    self.renew(&mut s, p);
                }
                s.needed[i] |= s.present[i] && !s.is_being_deleted(i);
            }
            Action::QueueOrphan(p, i) => *s.row(p, i)? = Row::Queued,
            Action::Claim(p, i) => {
                *s.row(p, i)? = Row::Deleting;
                let Process::Running { deletes, .. } = &mut s.processes[p] else { return None };
                *deletes = Some((i, false));
            }
            Action::Check(p) => self.check(&mut s, p),
            Action::Send(p) => {
                let Process::Running { deletes, .. } = &mut s.processes[p] else { return None };
                let (i, _) = deletes.take()?;
                s.wire[i] = true;
            }
            Action::Land(i) => {
                s.wire[i] = false;
                s.present[i] = false;
            }
            Action::Die(p) => s.processes[p] = Process::Off,
            Action::Reconcile(p) => s.reconcile(p),
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1 what either metadata needed is not deleted", |_, s: &State| {
                (0..OBJECTS).all(|i| s.present[i] || !s.needed[i])
            }),
            Property::always("I11 the marker's epoch never falls", |_, s: &State| !s.epoch_fell),
            Property::always("I13 metadata that may delete names nothing that is gone", |_, s: &State| {
                let may_delete = |p: usize| s.is_owner(p) && s.stores[p].is_some_and(|store| !store.frozen);
                let named = |p: usize, i: usize| {
                    s.stores[p].is_some_and(|store| matches!(store.rows[i], Row::Live | Row::Queued))
                };
                s.reconciled || (0..2).all(|p| !may_delete(p) || (0..OBJECTS).all(|i| !named(p, i) || s.present[i]))
            }),
            Property::always("OW-10 metadata without a copy is not frozen", |_, s: &State| {
                s.stores[1].is_some() || s.stores[0].is_none_or(|store| !store.frozen)
            }),
            Property::sometimes("the copy is started beside the original", |_, s: &State| {
                s.parted && s.processes.iter().all(|process| *process != Process::Off)
            }),
            Property::sometimes("something is deleted before the backup comes back", |_, s: &State| {
                !s.parted && !s.reconciled && s.written[0] && !s.present[0]
            }),
            Property::sometimes("something is deleted after an operator reconciled", |_, s: &State| {
                s.reconciled && s.written[0] && !s.present[0]
            }),
        ]
    }
}
