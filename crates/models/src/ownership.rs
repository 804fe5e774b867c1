//! Two clusters and one root path: the marker, the namespace of each cluster, the epoch.
//!
//! Processes 0 and 1 are of cluster A, process 2 is of cluster B. To each cluster the other's objects look like orphans.
//! An operator may force a takeover, and the marker may vanish.
//!
//! * O1  No object that a cluster needs is deleted.
//! * I3  No cluster sends a DELETE for a key of another one.
//! * I11 At most one process runs for a cluster and an epoch; the marker's epoch of a cluster never falls.
//!
//! The marker keeps clusters apart only while nobody forces it and nothing happens to it. What holds in every state is
//! marker *and* namespace.

use crate::search::Simplification;
use stateright::{Model, Property};

const PROCESSES: usize = 3;
const STARTS_AGAIN_MAX: u8 = 2;
const TAKEOVERS_MAX: u8 = 2;
/// DELETEs on the wire: what is sent while a later one is already there is covered by the first three.
const ON_THE_WIRE_MAX: usize = 3;

/// A cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cluster {
    /// Two processes.
    A,
    /// One process.
    B,
}

/// An object of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// Whose.
    pub of: Cluster,
    /// Its cluster has it in the deletion queue.
    pub garbage: bool,
}

const OBJECTS: [Object; 4] = [
    Object { of: Cluster::A, garbage: false },
    Object { of: Cluster::B, garbage: false },
    Object { of: Cluster::A, garbage: true },
    Object { of: Cluster::B, garbage: true },
];

/// Where a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// Not started.
    Off,
    /// Has raised the epoch in its metadata, has not got the marker.
    Starting {
        /// Its epoch.
        epoch: u8,
    },
    /// Believes that it owns the root path.
    Running {
        /// Its epoch.
        epoch: u8,
    },
    /// Knows that it does not.
    Fenced,
}

/// A deletion that a process works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deletion {
    /// It chose the object.
    Chosen(Object),
    /// It looked at the marker, and may send.
    Checked(Object),
}

/// What a cluster's metadata says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    epoch: u8,
    /// It owned this root path once.
    initialised: bool,
}

/// `_elanus/owner.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Marker {
    cluster: Cluster,
    epoch: u8,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    marker: Option<Marker>,
    metadata: [Metadata; 2],
    processes: [Process; PROCESSES],
    deletions: [Option<Deletion>; PROCESSES],
    /// DELETEs on the wire, with their senders. Sorted: their order means nothing.
    wire: Vec<(Object, Cluster)>,
    written: [bool; 4],
    present: [bool; 4],
    takeovers: u8,
    losses: u8,
    starts_again: u8,
    epoch_fell: bool,
}

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Process: raises the epoch in its metadata.
    Start(usize),
    /// Process: reads the marker, and replaces it when it may.
    TakeMarker(usize),
    /// Operator: this process shall own the root path whatever the marker says.
    ForceTakeover(usize),
    /// Somebody deletes the marker.
    LoseMarker,
    /// Process: writes an object of its cluster.
    Write(usize, Object),
    /// Process: chooses an object to delete, from its queue or because its metadata does not know it.
    Choose(usize, Object),
    /// Process: looks at the marker before it sends.
    Check(usize),
    /// Process: sends the DELETE.
    Send(usize),
    /// Wire: the DELETE arrives, however late.
    Land(usize),
    /// Process: dies.
    Die(usize),
}

/// A plausible way to build less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Less {
    /// As in the accident: neither marker nor namespace.
    NeitherMarkerNorNamespace,
    /// A marker, and one operator who forces a takeover.
    NoNamespaceForced,
    /// A marker that vanishes, refused only by its former owner.
    NoNamespaceMarkerLost,
    /// A marker, and a lease after which another cluster may have it.
    NoNamespaceLeaseEnds,
    /// A marker that vanishes, and nobody who looks whether the root path is empty.
    NoNamespaceRootNotEmpty,
    /// A process that finds its own epoch in the marker goes on.
    SameEpochTwice,
}

/// All of them, with what each breaks.
pub const SIMPLIFICATIONS: [Simplification<Less>; 6] = [
    Simplification { what: Less::NeitherMarkerNorNamespace, breaks: "O1", steps: 9 },
    Simplification { what: Less::NoNamespaceForced, breaks: "O1", steps: 9 },
    Simplification { what: Less::NoNamespaceMarkerLost, breaks: "O1", steps: 10 },
    Simplification { what: Less::NoNamespaceLeaseEnds, breaks: "O1", steps: 9 },
    Simplification { what: Less::NoNamespaceRootNotEmpty, breaks: "O1", steps: 10 },
    Simplification { what: Less::SameEpochTwice, breaks: "I11", steps: 4 },
];

/// The protocol, or a simplification of it.
#[derive(Clone, Copy, Debug)]
pub struct Ownership {
    /// A marker is looked at.
    pub marker: bool,
    /// Keys carry the cluster, and a scan stays in the own namespace.
    pub namespace: bool,
    /// An operator may force a takeover.
    pub forced: bool,
    /// The marker may vanish.
    pub lost: bool,
    /// A missing marker is refused by who had it.
    pub missing_is_refused: bool,
    /// A root path that is not empty is refused by who never had it.
    pub nonempty_is_refused: bool,
    /// Another cluster's marker may be taken when its lease ended.
    pub lease_ends: bool,
    /// The epoch is raised before the marker is taken.
    pub epoch_is_raised: bool,
}

impl Ownership {
    /// The protocol, with everything that can happen to it.
    pub const FULL: Self = Self {
        marker: true,
        namespace: true,
        forced: true,
        lost: true,
        missing_is_refused: true,
        nonempty_is_refused: true,
        lease_ends: false,
        epoch_is_raised: true,
    };
    /// As [`Ownership::FULL`], without operators who force and markers that vanish.
    pub const SMALL: Self = Self { forced: false, lost: false, ..Self::FULL };

    /// A simplification, and no other trouble than the one that it is weak against.
    #[must_use]
    pub fn without(less: Less) -> Self {
        let marker_only = Self { namespace: false, ..Self::SMALL };
        match less {
            Less::NeitherMarkerNorNamespace => Self { marker: false, ..marker_only },
            Less::NoNamespaceForced => Self { forced: true, ..marker_only },
            Less::NoNamespaceMarkerLost => Self { lost: true, ..marker_only },
            Less::NoNamespaceLeaseEnds => Self { lease_ends: true, ..marker_only },
            Less::NoNamespaceRootNotEmpty => Self { lost: true, nonempty_is_refused: false, ..marker_only },
            Less::SameEpochTwice => Self { epoch_is_raised: false, ..Self::SMALL },
        }
    }

    fn can(&self, s: &State, p: usize, actions: &mut Vec<Action>) {
        match s.processes[p] {
            Process::Off => actions.push(Action::Start(p)),
            Process::Starting { .. } => {
                actions.push(Action::TakeMarker(p));
                if self.forced && s.takeovers < TAKEOVERS_MAX && cluster(p) == Cluster::B {
                    actions.push(Action::ForceTakeover(p));
                }
            }
            Process::Running { .. } => self.can_running(s, p, actions),
            Process::Fenced => {}
        }
        if s.processes[p] != Process::Off && s.starts_again < STARTS_AGAIN_MAX {
            actions.push(Action::Die(p));
        }
    }

    fn can_running(&self, s: &State, p: usize, actions: &mut Vec<Action>) {
        let own = OBJECTS.into_iter().filter(|object| object.of == cluster(p));
        actions.extend(own.filter(|object| !s.written[at(*object)]).map(|object| Action::Write(p, object)));
        match s.deletions[p] {
            Some(Deletion::Chosen(_)) => actions.push(Action::Check(p)),
            Some(Deletion::Checked(_)) if s.wire.len() < ON_THE_WIRE_MAX => actions.push(Action::Send(p)),
            Some(Deletion::Checked(_)) => {}
            None => {
                let present = OBJECTS.into_iter().filter(|object| s.present[at(*object)]);
                let looks_unneeded = |object: &Object| match object.of == cluster(p) {
                    true => object.garbage,
                    // This metadata has no row of it.
                    false => !self.namespace,
                };
                actions.extend(present.filter(looks_unneeded).map(|object| Action::Choose(p, object)));
            }
        }
    }

    /// What a starting process does with the marker that it reads.
    fn take_marker(&self, s: &mut State, p: usize, epoch: u8) -> Option<()> {
        let own = cluster(p);
        let had_it = s.metadata[own as usize].initialised;
        match s.marker {
            _ if !self.marker => {}
            None if had_it && self.missing_is_refused => return None,
            None if !had_it && self.nonempty_is_refused && s.present.contains(&true) => return None,
            None => {}
            Some(marker) if marker.cluster == own && marker.epoch >= epoch && self.epoch_is_raised => {
                s.processes[p] = Process::Fenced;
                return Some(());
            }
            Some(marker) if marker.cluster == own => s.epoch_fell |= marker.epoch > epoch,
            Some(_) if self.lease_ends => {}
            Some(_) => return None,
        }
        s.own_root(p, epoch);
        Some(())
    }

    fn check(&self, s: &mut State, p: usize) {
        let (Process::Running { epoch }, Some(Deletion::Chosen(object))) = (s.processes[p], s.deletions[p]) else {
            return;
        };
        let own = cluster(p);
        let owns = s.marker == Some(Marker { cluster: own, epoch }) && s.metadata[own as usize].epoch == epoch;
        if owns || !self.marker {
            s.deletions[p] = Some(Deletion::Checked(object));
        } else {
            s.deletions[p] = None;
            s.processes[p] = Process::Fenced;
        }
    }
}

impl State {
    fn own_root(&mut self, p: usize, epoch: u8) {
        self.marker = Some(Marker { cluster: cluster(p), epoch });
        self.metadata[cluster(p) as usize].initialised = true;
        self.processes[p] = Process::Running { epoch };
    }

    fn one_runs_per_epoch(&self) -> bool {
        let running = |p: usize| match self.processes[p] {
            Process::Running { epoch } => Some((cluster(p), epoch)),
            Process::Off | Process::Starting { .. } | Process::Fenced => None,
        };
        (0..PROCESSES).all(|p| (0..p).all(|q| running(p).is_none() || running(p) != running(q)))
    }
}

fn cluster(process: usize) -> Cluster {
    if process < 2 { Cluster::A } else { Cluster::B }
}

fn at(object: Object) -> usize {
    OBJECTS.iter().position(|other| *other == object).unwrap_or_default()
}

impl Model for Ownership {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            marker: None,
            metadata: [Metadata::default(); 2],
            processes: [Process::Off; PROCESSES],
            deletions: [None; PROCESSES],
            wire: vec![],
            written: [false; 4],
            present: [false; 4],
            takeovers: 0,
            losses: 0,
            starts_again: 0,
            epoch_fell: false,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        for p in 0..PROCESSES {
            self.can(s, p, actions);
        }
        actions.extend((0..s.wire.len()).map(Action::Land));
        if self.lost && s.losses == 0 && s.marker.is_some() {
            actions.push(Action::LoseMarker);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut s = before.clone();
        match action {
            Action::Start(p) => {
                let metadata = &mut s.metadata[cluster(p) as usize];
                if self.epoch_is_raised || metadata.epoch == 0 {
                    metadata.epoch += 1;
                }
                s.processes[p] = Process::Starting { epoch: metadata.epoch };
            }
            Action::TakeMarker(p) => {
                let Process::Starting { epoch } = s.processes[p] else { return None };
                self.take_marker(&mut s, p, epoch)?;
            }
            Action::ForceTakeover(p) => {
                let Process::Starting { epoch } = s.processes[p] else { return None };
                s.takeovers += 1;
                s.own_root(p, epoch);
            }
            Action::LoseMarker => {
                s.marker = None;
                s.losses += 1;
            }
            Action::Write(_, object) => {
                s.written[at(object)] = true;
                s.present[at(object)] = true;
            }
            Action::Choose(p, object) => s.deletions[p] = Some(Deletion::Chosen(object)),
            Action::Check(p) => self.check(&mut s, p),
            Action::Send(p) => {
                let Some(Deletion::Checked(object)) = s.deletions[p].take() else { return None };
                s.wire.push((object, cluster(p)));
                s.wire.sort_unstable();
            }
            Action::Land(k) => {
                let (object, _) = s.wire.remove(k);
                s.present[at(object)] = false;
            }
            Action::Die(p) => {
                s.processes[p] = Process::Off;
                s.deletions[p] = None;
                s.starts_again += 1;
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("O1 what a cluster needs is not deleted", |_, s: &State| {
                let needed = OBJECTS.into_iter().filter(|object| !object.garbage).map(at);
                needed.into_iter().all(|i| s.present[i] || !s.written[i])
            }),
            Property::always("I3 no DELETE for a key of another cluster", |_, s: &State| {
                s.wire.iter().all(|(object, sender)| object.of == *sender)
            }),
            Property::always("I11 one process a cluster and epoch, and no epoch falls", |_, s: &State| {
                s.one_runs_per_epoch() && !s.epoch_fell
            }),
            Property::sometimes("garbage is deleted", |_, s: &State| s.written[2] && !s.present[2]),
            Property::sometimes("a second process of a cluster takes over", |_, s: &State| {
                matches!(s.processes[1], Process::Running { epoch: 2 })
            }),
        ]
    }
}
