//! Metadata from a backup, under a marker that knows better.
//!
//! Store 0 is the metadata of the cluster. Once, it is copied to store 1. Process 0 works on store 0; process 1 is started
//! on the copy at any time later: an operator restored a backup, or took it for a test on the same root path. Both are of
//! one cluster, so that no namespace keeps them apart. Each sees objects of which it has no row, and queues that the other
//! one emptied or undid.
//!
//! * I1  What the metadata needed when they parted is not deleted until an operator reconciles.
//! * I11 The marker's epoch never falls.
//!
//! The marker carries the number of the last renewal, `hwm`, that the metadata carry too. It is raised in the metadata
//! first. Assumed: somebody renewed since the backup was made (a renewal is every 10 s). Metadata under a running process
//! are not replaced.

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
    /// No deletion until an operator reconciles. Survives restarts.
    frozen: bool,
    rows: [Row; OBJECTS],
}

/// `_elanus/owner.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Marker {
    epoch: u8,
    hwm: u8,
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
    /// Process 1 was started and nobody reconciled since.
    parted: bool,
    reconciled: bool,
    written: [bool; OBJECTS],
    present: [bool; OBJECTS],
    needed: [bool; OBJECTS],
    wire: [bool; OBJECTS],
    starts: u8,
    epoch_fell: bool,
}

/// One step of somebody: of process or store 0 or 1, about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Operator: copies store 0.
    Backup,
    /// Process: raises the epoch, reads the marker, replaces it.
    Start(usize),
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
    /// Process: looks at the marker.
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
    /// A start compares the number of renewals only.
    EpochNotCompared,
    /// That deletions are frozen is known to the process only.
    FrozenIsForgotten,
    /// A process does not look at the marker before it deletes.
    DeleteWithoutCheck,
    /// The assumption is dropped: a backup may be younger than the last renewal.
    YoungBackup,
}

/// All of them, with what each breaks.
pub const SIMPLIFICATIONS: [Simplification<Less>; 5] = [
    Simplification { what: Less::HwmNotCompared, breaks: "I1", steps: 10 },
    Simplification { what: Less::EpochNotCompared, breaks: "I1", steps: 12 },
    Simplification { what: Less::FrozenIsForgotten, breaks: "I1", steps: 12 },
    Simplification { what: Less::DeleteWithoutCheck, breaks: "I1", steps: 10 },
    Simplification { what: Less::YoungBackup, breaks: "I1", steps: 8 },
];

/// The protocol, or a simplification of it.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// What is left out.
    pub less: Option<Less>,
    /// How often the marker is renewed.
    pub renewals: u8,
    /// How often processes start.
    pub starts: u8,
}

impl Restored {
    /// Few seconds.
    pub const SMALL: Self = Self { less: None, renewals: 1, starts: 3 };
    /// Everything.
    pub const FULL: Self = Self { less: None, renewals: 2, starts: 4 };

    fn lacks(&self, what: Less) -> bool {
        self.less == Some(what)
    }

    fn may_start(&self, s: &State, p: usize) -> bool {
        let Some(store) = s.stores[p] else { return false };
        let renewed_since = s.marker.hwm > store.hwm;
        // Assumed of the first start on the copy only.
        p == 0 || s.parted || s.reconciled || renewed_since || self.lacks(Less::YoungBackup)
    }

    fn start(&self, s: &mut State, p: usize) {
        let Some(mut store) = s.stores[p] else { return };
        let newer_epoch = s.marker.epoch > store.epoch && !self.lacks(Less::EpochNotCompared);
        let newer_hwm = s.marker.hwm > store.hwm && !self.lacks(Less::HwmNotCompared);
        if self.lacks(Less::FrozenIsForgotten) {
            store.frozen = false;
        }
        store.frozen |= newer_epoch || newer_hwm;
        store.epoch = store.epoch.max(s.marker.epoch) + 1;
        // What is known of the marker is known from now on: only `frozen` tells that it was ahead.
        store.hwm = store.hwm.max(s.marker.hwm);
        s.stores[p] = Some(store);
        s.put_marker(store);
        s.processes[p] = Process::Running { epoch: store.epoch, deletes: None };
        s.starts += 1;
        s.parted |= p == 1 && !s.reconciled;
    }

    fn check(&self, s: &mut State, p: usize) {
        let Process::Running { epoch, deletes: Some((i, false)) } = s.processes[p] else { return };
        let owns = s.marker.epoch == epoch || self.lacks(Less::DeleteWithoutCheck);
        s.processes[p] = if owns { Process::Running { epoch, deletes: Some((i, true)) } } else { Process::Off };
    }

    fn renew(&self, s: &mut State, p: usize) {
        let (Some(mut store), Process::Running { epoch, .. }) = (s.stores[p], s.processes[p]) else { return };
        if s.marker.epoch != epoch {
            s.processes[p] = Process::Off;
            return;
        }
        store.hwm += 1;
        s.stores[p] = Some(store);
        s.put_marker(store);
    }

    fn can_running(&self, s: &State, p: usize, store: &Metadata, deletes: Option<(usize, bool)>, to: &mut Vec<Action>) {
        if store.hwm < self.renewals {
            to.push(Action::Renew(p));
        }
        to.push(Action::Die(p));
        if s.parted && store.frozen {
            to.push(Action::Reconcile(p));
        }
        match deletes {
            Some((_, true)) => to.push(Action::Send(p)),
            Some((_, false)) => to.push(Action::Check(p)),
            None => {}
        }
        for i in 0..OBJECTS {
            match store.rows[i] {
                Row::Absent if !s.written[i] => to.push(Action::Write(p, i)),
                Row::Absent if s.present[i] && !store.frozen => to.push(Action::QueueOrphan(p, i)),
                Row::Absent => {}
                Row::Live => to.push(Action::Drop(p, i)),
                Row::Queued => to.push(Action::Undo(p, i)),
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
        self.marker = Marker { epoch: store.epoch, hwm: store.hwm };
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
        store.epoch = store.epoch.max(self.marker.epoch) + 1;
        self.stores[p] = Some(store);
        self.put_marker(store);
        // It starts again under the new epoch; the other store is given up for good.
        self.processes = [Process::Off; 2];
        self.processes[p] = Process::Running { epoch: store.epoch, deletes: None };
        self.needed = [0, 1].map(|i| store.rows[i] == Row::Live && self.present[i] && !self.is_being_deleted(i));
        self.parted = false;
        self.reconciled = true;
    }
}

impl Model for Restored {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let first = Metadata { epoch: 0, hwm: 0, frozen: false, rows: [Row::Absent; OBJECTS] };
        vec![State {
            stores: [Some(first), None],
            marker: Marker { epoch: 0, hwm: 0 },
            processes: [Process::Off; 2],
            parted: false,
            reconciled: false,
            written: [false; OBJECTS],
            present: [false; OBJECTS],
            needed: [false; OBJECTS],
            wire: [false; OBJECTS],
            starts: 0,
            epoch_fell: false,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.stores[1].is_none() {
            actions.push(Action::Backup);
        }
        for p in 0..2 {
            match (s.processes[p], &s.stores[p]) {
                (Process::Off, Some(_)) if s.starts < self.starts && self.may_start(s, p) => {
                    actions.push(Action::Start(p))
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
