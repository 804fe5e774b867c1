//! The whole life of a snapshot: a pinned timestamp of one collection.
//!
//! ```text
//!  create            manifests_written              drop (no live pin)            objects_gone
//!  ──────▶ Pending ────────────────────▶ Committed ────────────────────▶ Deleting ─────────────▶ Gone
//!           │ │                           ▲ ▲                            │ ▲
//!           │ ╰─ accept ─▶ Accepted ──────╯ ╰─────────── undo ───────────╯ │
//!           │                 ╰───────────────── drop ─────────────────────┤
//!           ╰──────── write_failed, lease_expired, owner_lost, drop ───────╯
//! ```
//!
//! `Accepted` is for what has many manifests to write: its create is answered, and it is as good as a committed one but for
//! those who read the bucket without the metadata. A heartbeat of its writer, or a claim by the next one, keeps it there.
//!
//! SN-1  Facts are protected from the transaction that creates the row until the one that moves it to `Deleting`, and
//!       never again after that, unless an undo gave back, in its own transaction, every reference that was released since.
//! SN-2  `Committed` means that the manifests are durable: only the owner's `ManifestsWritten` leads there, and what
//!       another attempt of the owner wrote is fenced. An undo leads back to what was committed before, and nowhere else.
//! SN-3  A live pin keeps a snapshot against every drop.
//! SN-4  A snapshot whose writer is lost does not stay `Pending`: its lease ends it, not its age. No heartbeat shortens a
//!       lease.
//! SN-5  `Refuse(Bug)` is never caused by late, repeated or reordered messages.
//! SN-6  What was accepted is given up by nobody but its user: a lost or failed writer is followed by another one, when its
//!       lease is over.

use crate::labels::{events, labels};
use crate::{CorruptRow, LivePin, Refusal, Step};
use elanus_types::{Checksum, NodeId, ObjectKey};

/// Name of this machine in messages and metrics.
pub const MACHINE: &str = "snapshot";

/// Where a snapshot is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The timestamp is taken and protected; the manifests are being written.
    Pending {
        /// The node that writes the manifests.
        owner: NodeId,
        /// Until when the owner is believed to be at work. Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// Its create is answered; the manifests are still to be written, by one writer after another until they are.
    Accepted {
        /// The node that writes the manifests, while the lease lasts.
        owner: NodeId,
        /// Until when nobody else may begin. Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// The manifests are durable.
    Committed {
        /// The snapshot's metadata object, from which everything else is found.
        metadata_key: ObjectKey,
        /// Of the metadata object.
        checksum: Checksum,
    },
    /// Nothing is protected any more; memberships and manifests are being released.
    Deleting,
    /// Nothing is left. The row is a tombstone or is removed.
    Gone,
}

/// What can happen to a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// writer: still at work.
    Heartbeat {
        /// The writer.
        by: NodeId,
        /// Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// writer: there is much to write, the create is answered before.
    Accept {
        /// The writer, whose lease ends with this.
        by: NodeId,
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// writer: goes on with one that was accepted, when nobody is at it.
    Claim {
        /// The new writer.
        by: NodeId,
        /// Milliseconds since 1970.
        now_ms: i64,
        /// Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// writer: all manifests and the metadata object are durable.
    ManifestsWritten {
        /// The writer.
        by: NodeId,
        /// The metadata object.
        metadata_key: ObjectKey,
        /// Of the metadata object.
        checksum: Checksum,
    },
    /// writer: the manifests cannot be written.
    WriteFailed {
        /// The writer.
        by: NodeId,
    },
    /// checker: no heartbeat until the lease ran out.
    LeaseExpired {
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// checker: its owner is known to be dead.
    OwnerLost,
    /// API: the user drops it.
    Drop {
        /// The pin that keeps it, if one does, read in the same transaction.
        live_pin: Option<LivePin>,
    },
    /// sweeper: everything that only this snapshot kept is released.
    ObjectsGone,
    /// API: a dropped snapshot comes back with all that it needs. The caller knows what was committed.
    Undo {
        /// The metadata object.
        metadata_key: ObjectKey,
        /// Of the metadata object.
        checksum: Checksum,
    },
}

/// What happens with a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Others hear of it: waiting calls, caches.
    Announce,
    /// Wake the task that releases what only this snapshot kept.
    WakeSweeper,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    pub(crate) state: State,
}

impl Snapshot {
    /// A new snapshot. Protection starts with the transaction that stores it (SN-1).
    #[must_use]
    pub fn create(owner: NodeId, lease_until_ms: i64) -> Self {
        Self { state: State::Pending { owner, lease_until_ms } }
    }

    /// A snapshot that is on its way to its end: what an undo starts from where nothing is left of the row.
    #[must_use]
    pub fn dropped() -> Self {
        Self { state: State::Deleting }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// True while the facts at its timestamp must be kept (SN-1).
    #[must_use]
    pub fn protects(&self) -> bool {
        matches!(self.state, State::Pending { .. } | State::Accepted { .. } | State::Committed { .. })
    }

    /// True when its create was, or may have been, answered: it is listed, read, restored and pinned.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        matches!(self.state, State::Accepted { .. } | State::Committed { .. })
    }

    /// Whether a pin may be put on it.
    ///
    /// # Errors
    /// When it is not shown.
    pub fn pinnable(&self) -> Result<(), Refusal> {
        if self.is_shown() { Ok(()) } else { Err(Refusal::NotPinnable { state: self.label() }) }
    }

    /// What `event` does to this snapshot.
    pub fn step(&self, event: &Event) -> Step<Self, Effect> {
        use Event as E;
        use State as S;
        let to = |state, effects| Step::Move(Self { state }, effects);
        let deleting = || to(S::Deleting, vec![Effect::Announce, Effect::WakeSweeper]);
        match (&self.state, event) {
            // SN-2: nobody but the owner decides.
            (
                S::Pending { owner, .. },
                E::Heartbeat { by, .. } | E::Accept { by, .. } | E::ManifestsWritten { by, .. } | E::WriteFailed { by },
            )
            | (
                S::Accepted { owner, .. },
                E::Heartbeat { by, .. } | E::ManifestsWritten { by, .. } | E::WriteFailed { by },
            ) if owner != by => Step::Fenced,
            (S::Pending { owner, lease_until_ms: until }, E::Heartbeat { lease_until_ms, .. }) => {
                to(S::Pending { owner: owner.clone(), lease_until_ms: *until.max(lease_until_ms) }, vec![])
            }
            (S::Accepted { owner, lease_until_ms: until }, E::Heartbeat { lease_until_ms, .. }) => {
                to(S::Accepted { owner: owner.clone(), lease_until_ms: *until.max(lease_until_ms) }, vec![])
            }
            (S::Pending { .. } | S::Accepted { .. }, E::ManifestsWritten { metadata_key, checksum, .. }) => {
                to(S::Committed { metadata_key: metadata_key.clone(), checksum: *checksum }, vec![Effect::Announce])
            }
            (S::Pending { owner, .. }, E::Accept { now_ms, .. }) => {
                to(S::Accepted { owner: owner.clone(), lease_until_ms: *now_ms }, vec![Effect::Announce])
            }
            (S::Pending { .. }, E::WriteFailed { .. } | E::OwnerLost) => deleting(),
            (S::Pending { lease_until_ms, .. }, E::LeaseExpired { now_ms }) if lease_until_ms <= now_ms => deleting(), // SN-4
            // A heartbeat came before the alarm.
            (S::Pending { .. }, E::LeaseExpired { .. }) => Step::Repeat,

            (S::Accepted { lease_until_ms: until, .. }, E::Claim { by, now_ms, lease_until_ms }) if until <= now_ms => {
                to(S::Accepted { owner: by.clone(), lease_until_ms: *until.max(lease_until_ms) }, vec![])
            }
            // Somebody is at it; who was answered late has begun already, or ended.
            (S::Pending { .. } | S::Accepted { .. } | S::Committed { .. } | S::Deleting | S::Gone, E::Claim { .. }) => {
                Step::Fenced
            }
            // SN-6
            (S::Accepted { .. }, E::Accept { .. } | E::WriteFailed { .. } | E::LeaseExpired { .. } | E::OwnerLost) => {
                Step::Repeat
            }

            (S::Pending { .. } | S::Accepted { .. } | S::Committed { .. }, E::Drop { live_pin: Some(pin) }) => {
                Step::Refuse(Refusal::Pinned { owner: pin.owner.clone(), until_ms: pin.until_ms }) // SN-3
            }
            (S::Pending { .. } | S::Accepted { .. } | S::Committed { .. }, E::Drop { live_pin: None }) => deleting(),

            (
                S::Committed { metadata_key, checksum },
                E::ManifestsWritten { metadata_key: key, checksum: sum, .. }
                | E::Undo { metadata_key: key, checksum: sum },
            ) if metadata_key == key && checksum == sum => Step::Repeat,
            // Another attempt won: what this one wrote is not the snapshot.
            (S::Committed { .. }, E::ManifestsWritten { .. } | E::Undo { .. }) => Step::Fenced,
            // The commit was applied although its writer did not hear so.
            (
                S::Committed { .. },
                E::Heartbeat { .. } | E::Accept { .. } | E::WriteFailed { .. } | E::LeaseExpired { .. } | E::OwnerLost,
            ) => Step::Repeat,

            // SN-1
            (S::Deleting | S::Gone, E::Heartbeat { .. } | E::Accept { .. } | E::ManifestsWritten { .. }) => {
                Step::Fenced
            }
            (S::Deleting | S::Gone, E::WriteFailed { .. } | E::LeaseExpired { .. } | E::OwnerLost | E::Drop { .. }) => {
                Step::Repeat
            }

            (S::Deleting, E::Undo { metadata_key, checksum }) => {
                to(S::Committed { metadata_key: metadata_key.clone(), checksum: *checksum }, vec![Effect::Announce])
            }
            // SN-2: there is nothing to go back to, or nothing any more.
            (S::Pending { .. } | S::Accepted { .. } | S::Gone, E::Undo { .. }) => Step::Fenced,

            (S::Deleting, E::ObjectsGone) => to(S::Gone, vec![Effect::Announce]),
            (S::Gone, E::ObjectsGone) => Step::Repeat,
            // An undo came first.
            (S::Committed { .. }, E::ObjectsGone) => Step::Fenced,
            (S::Pending { .. } | S::Accepted { .. }, E::ObjectsGone) => {
                Step::Refuse(Refusal::Bug { machine: MACHINE, state: self.label(), event: event.name() })
            }
        }
    }

    /// The state's name in the metadata store.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.state.label()
    }

    /// What the row of this snapshot holds of its state.
    #[must_use]
    pub fn columns(&self) -> Columns {
        let columns = Columns { state: self.label().to_owned(), ..Columns::default() };
        match &self.state {
            State::Pending { owner, lease_until_ms } | State::Accepted { owner, lease_until_ms } => Columns {
                // In the store it is a pending one with a mark.
                state: "pending".to_owned(),
                accepted: matches!(self.state, State::Accepted { .. }),
                owner: Some(owner.0.clone()),
                lease_until_ms: Some(*lease_until_ms),
                ..columns
            },
            State::Committed { metadata_key, checksum } => Columns {
                metadata_key: Some(metadata_key.to_string()),
                metadata_checksum: Some(checksum.to_string()),
                ..columns
            },
            State::Deleting | State::Gone => columns,
        }
    }

    /// The snapshot of a row.
    ///
    /// # Errors
    /// When [`Snapshot::columns`] could not have given these columns.
    pub fn from_columns(columns: &Columns) -> Result<Self, CorruptRow> {
        let key = columns.metadata_key.as_deref().and_then(|key| ObjectKey::parse(key).ok());
        let checksum = columns.metadata_checksum.as_deref().and_then(|sum| sum.parse().ok());
        let state = match columns.state.as_str() {
            "pending" => {
                columns.owner.clone().map(NodeId).zip(columns.lease_until_ms).map(|(owner, lease_until_ms)| {
                    if columns.accepted {
                        State::Accepted { owner, lease_until_ms }
                    } else {
                        State::Pending { owner, lease_until_ms }
                    }
                })
            }
            "committed" => {
                key.zip(checksum).map(|(metadata_key, checksum)| State::Committed { metadata_key, checksum })
            }
            "deleting" => Some(State::Deleting),
            "gone" => Some(State::Gone),
            _ => None,
        };
        state
            .map(|state| Self { state })
            .filter(|snapshot| snapshot.columns() == *columns)
            .ok_or_else(|| CorruptRow { machine: MACHINE, why: format!("{columns:?}") })
    }
}

labels!(State {
    Self::Pending { .. } => "pending",
    Self::Accepted { .. } => "accepted",
    Self::Committed { .. } => "committed",
    Self::Deleting => "deleting",
    Self::Gone => "gone",
});

labels!(Effect {
    Self::Announce => "announce",
    Self::WakeSweeper => "wake_sweeper",
});

events!(Event {
    Self::Heartbeat { .. } => ("heartbeat", "writer"),
    Self::Accept { .. } => ("accept", "writer"),
    Self::Claim { .. } => ("claim", "writer"),
    Self::ManifestsWritten { .. } => ("manifests_written", "writer"),
    Self::WriteFailed { .. } => ("write_failed", "writer"),
    Self::LeaseExpired { .. } => ("lease_expired", "snapshot_checker"),
    Self::OwnerLost => ("owner_lost", "snapshot_checker"),
    Self::Drop { live_pin: None } => ("drop", "API"),
    Self::Drop { live_pin: Some(_) } => ("drop_pinned", "API"),
    Self::ObjectsGone => ("objects_gone", "sweeper"),
    Self::Undo { .. } => ("undo", "API"),
});

/// The columns of a snapshot's row that its state has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the same name in the state that has it")]
pub struct Columns {
    pub state: String,
    pub accepted: bool,
    pub owner: Option<String>,
    pub lease_until_ms: Option<i64>,
    pub metadata_key: Option<String>,
    pub metadata_checksum: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::every_world;

    fn node(name: &str) -> NodeId {
        NodeId(name.into())
    }

    fn written(by: &str, key: &str) -> Event {
        Event::ManifestsWritten { by: node(by), metadata_key: ObjectKey::parse(key).unwrap(), checksum: Checksum(1) }
    }

    fn pin() -> LivePin {
        LivePin { owner: "someone".into(), until_ms: None }
    }

    /// A snapshot, whether a sweeper ever saw it `Deleting`, and what was noted when it was dropped.
    type World = (Snapshot, bool, Option<Event>);

    fn undo(snapshot: &Snapshot) -> Option<Event> {
        match snapshot.state() {
            State::Committed { metadata_key, checksum } => {
                Some(Event::Undo { metadata_key: metadata_key.clone(), checksum: *checksum })
            }
            _ => None,
        }
    }

    fn mail((_, seen_deleting, noted): &World) -> Vec<Event> {
        let mut mail = vec![Event::OwnerLost, Event::Drop { live_pin: None }, Event::Drop { live_pin: Some(pin()) }];
        mail.extend([4, 5, 9].map(|now_ms| Event::LeaseExpired { now_ms }));
        for by in ["owner", "other"] {
            mail.extend([4, 9].map(|lease_until_ms| Event::Heartbeat { by: node(by), lease_until_ms }));
            mail.push(Event::WriteFailed { by: node(by) });
            mail.extend([4, 9].map(|now_ms| Event::Accept { by: node(by), now_ms }));
            mail.extend([4, 9].map(|now_ms| Event::Claim { by: node(by), now_ms, lease_until_ms: now_ms + 5 }));
            mail.extend([written(by, "m/first"), written(by, "m/second")]);
        }
        if *seen_deleting {
            mail.push(Event::ObjectsGone);
        }
        mail.extend(noted.clone());
        mail
    }

    fn check(before: &Snapshot, event: &Event, after: &Snapshot) {
        let undone = matches!(event, Event::Undo { .. });
        assert!(before.protects() || !after.protects() || undone, "SN-1: {before:?} <- {event:?}");
        if undone {
            // What was noted is what was committed: the walk sends nothing else.
            assert_eq!((before.state(), undo(after).as_ref()), (&State::Deleting, Some(event)), "SN-2");
            return;
        }
        if let State::Pending { lease_until_ms, .. } = after.state() {
            assert!(*lease_until_ms >= 5, "SN-4: {before:?} <- {event:?}");
        }
        if matches!(before.state(), State::Accepted { .. }) {
            let dropped = matches!(event, Event::Drop { .. });
            assert!(after.is_shown() || dropped, "SN-6: {before:?} <- {event:?}");
        }
        if let (
            State::Accepted { owner, lease_until_ms },
            State::Accepted { owner: next, .. },
            Event::Claim { now_ms, .. },
        ) = (before.state(), after.state(), event)
        {
            assert!(lease_until_ms <= now_ms, "SN-6: {next:?} began while {owner:?} was at it");
        }
        assert!(!matches!(event, Event::Drop { live_pin: Some(_) }), "SN-3: {before:?}");
        if matches!(after.state(), State::Committed { .. }) {
            let (State::Pending { owner, .. } | State::Accepted { owner, .. }) = before.state() else {
                panic!("SN-2: what is committed does not change: {before:?} <- {event:?}")
            };
            assert!([written(&owner.0, "m/first"), written(&owner.0, "m/second")].contains(event), "SN-2: {event:?}");
        }
        assert_eq!(Snapshot::from_columns(&after.columns()).as_ref(), Ok(after));
    }

    #[test]
    fn sn_1_to_6_no_order_of_messages_breaks_the_invariants() {
        let worlds = every_world([(Snapshot::create(node("owner"), 5), false, None)], |world| {
            let (before, seen_deleting, noted) = world;
            let deliver = |event: &Event| match before.step(event) {
                Step::Move(after, _) => {
                    check(before, event, &after);
                    let seen_deleting = *seen_deleting || *after.state() == State::Deleting;
                    let noted = if *after.state() == State::Deleting { undo(before) } else { noted.clone() };
                    (after, seen_deleting, noted)
                }
                Step::Refuse(why) => {
                    assert!(!why.is_bug(), "SN-5: {why}");
                    world.clone()
                }
                Step::Repeat | Step::Fenced => world.clone(),
            };
            mail(world).iter().map(deliver).collect()
        });
        // Pending with two leases, accepted with five of two writers; two metadata objects, each before and after an undo;
        // deleting and gone, of none or one of these.
        assert_eq!(worlds, 17);
    }

    #[test]
    fn sn_4_a_lease_ends_a_pending_snapshot_only_when_it_is_over() {
        let snapshot = Snapshot::create(node("owner"), 5);
        assert_eq!(snapshot.step(&Event::LeaseExpired { now_ms: 4 }), Step::Repeat);
        let Step::Move(after, _) = snapshot.step(&Event::LeaseExpired { now_ms: 5 }) else { panic!("still pending") };
        assert_eq!(*after.state(), State::Deleting);
        assert_eq!(after.step(&written("owner", "m/first")), Step::Fenced);
    }

    #[test]
    fn sn_6_an_accepted_snapshot_waits_for_the_next_writer() {
        let snapshot = Snapshot::create(node("owner"), 5);
        let by = node("owner");
        let Step::Move(accepted, _) = snapshot.step(&Event::Accept { by: by.clone(), now_ms: 3 }) else { panic!() };
        assert!(accepted.is_shown() && accepted.protects() && accepted.pinnable().is_ok());
        for over in [Event::WriteFailed { by }, Event::OwnerLost, Event::LeaseExpired { now_ms: 99 }] {
            assert_eq!(accepted.step(&over), Step::Repeat);
        }
        let claim = |by, now_ms| Event::Claim { by: node(by), now_ms, lease_until_ms: now_ms + 5 };
        let Step::Move(taken, _) = accepted.step(&claim("second", 3)) else { panic!("nobody is at it") };
        assert_eq!(taken.step(&claim("third", 7)), Step::Fenced);
        assert_eq!(taken.step(&written("owner", "m/first")), Step::Fenced);
        let Step::Move(taken, _) = taken.step(&claim("third", 8)) else { panic!("the second is silent") };
        let Step::Move(committed, _) = taken.step(&written("third", "m/first")) else { panic!("it is the writer") };
        assert!(matches!(committed.state(), State::Committed { .. }));
    }

    #[test]
    fn sn_3_a_refused_drop_names_the_pin() {
        let snapshot = Snapshot::create(node("owner"), 5);
        let Step::Move(committed, _) = snapshot.step(&written("owner", "m/first")) else { panic!("not committed") };
        assert!(committed.pinnable().is_ok());
        let Step::Refuse(why) = committed.step(&Event::Drop { live_pin: Some(pin()) }) else { panic!("dropped") };
        assert_eq!(why.to_string(), "the snapshot is pinned by someone for ever");
    }

    #[test]
    fn a_row_that_no_snapshot_wrote_is_corrupt() {
        let row = |state: &str| Columns { state: state.into(), ..Columns::default() };
        let committed = Columns {
            metadata_key: Some("m/first".into()),
            metadata_checksum: Some("00000000000000ff".into()),
            ..row("committed")
        };
        assert!(Snapshot::from_columns(&committed).is_ok());
        for wrong in [
            row("pending"),
            row("committed"),
            row("dropped"),
            Columns { metadata_key: Some("../m".into()), ..committed.clone() },
            Columns { metadata_checksum: Some("x".into()), ..committed.clone() },
            Columns { owner: Some("n".into()), ..committed.clone() },
            Columns { state: "deleting".into(), ..committed.clone() },
            Columns { accepted: true, ..committed.clone() },
            Columns { accepted: true, ..row("deleting") },
        ] {
            assert!(Snapshot::from_columns(&wrong).is_err(), "{wrong:?}");
        }
    }
}
