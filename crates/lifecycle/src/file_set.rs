//! The whole life of a file set: an immutable list of objects that come and go together.
//!
//! ```text
//!           commit            release (last)             claim            objects_gone
//!  Intent ─────────▶ Live ──────────────────▶ Queued ─────────▶ Deleting ──────────────▶ Gone
//!   │  ▲              │ ▲                     ▲  │               │  ▲
//!   │  ╰ renew        │ ╰──────── undo ───────┼──╯               ╰──╯ reclaim
//!   │                 ╰ reference, release    │
//!   ╰────────────────── abandon ──────────────╯
//! ```
//!
//! What a scan of the store finds and nothing knows begins as `Queued`.
//!
//! FS-1  An object is deleted only while its file set is `Deleting`: permits come from its row, see [`crate::permit`].
//! FS-2  `Deleting` and `Gone` never return to `Intent`, `Live` or `Queued`; `claimed_ever` never clears.
//! FS-3  Only `Live` has references, and always at least one: the last release queues in the same step.
//! FS-4  Every reference is given while `Live`. What is `Queued` comes back only by an operator's undo, and only when it
//!       was live and was never claimed.
//! FS-5  An intent becomes live only by its owner's commit. A commit that finds its intent taken away is fenced, a commit
//!       that comes again is a repeat, however late.
//! FS-6  A claim needs a file set that is queued, whose tolerance is over, and that no brake keeps.
//! FS-7  No renewal shortens a lease.
//! FS-8  `Refuse(Bug)` is never caused by late, repeated or reordered messages.

use crate::labels::{events, labels};
use crate::{CorruptRow, Refusal, Step};
use elanus_types::NodeId;

/// Name of this machine in messages and metrics.
pub const MACHINE: &str = "file_set";

/// Where a file set is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Its keys are registered; objects may exist, be on their way, or never come.
    Intent {
        /// The node that writes the objects.
        owner: NodeId,
        /// Until when the owner is believed to be at work. Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// All objects exist and are needed.
    Live {
        /// Number of memberships that name it, at least 1.
        refs: i64,
    },
    /// Nothing needs it; it waits for deletion.
    Queued {
        /// Not deleted before. Milliseconds since 1970.
        not_before_ms: i64,
        /// Why it is here.
        reason: Reason,
    },
    /// Claimed: its objects are being deleted.
    Deleting,
    /// All objects are deleted; the row stays for a while as a tombstone.
    Gone,
}

/// Why a file set is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It never was live: its writer gave up or was lost.
    Abandoned,
    /// Its last reference was released.
    Released,
    /// Scans of the store found its object, and nothing knew it.
    Orphan,
}

/// What can happen to a file set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// writer: still at work.
    Renew {
        /// The writer.
        by: NodeId,
        /// Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// writer: all objects are durable. The same transaction adds the first membership.
    Commit {
        /// The writer.
        by: NodeId,
    },
    /// whoever adds a further membership, in the same transaction.
    Reference,
    /// whoever ends a membership that nothing else needs, in the same transaction.
    Release {
        /// Not deleted before, when this was the last. Milliseconds since 1970.
        not_before_ms: i64,
    },
    /// writer: gives up. checker: the lease ended or the owner is known to be dead.
    Abandon {
        /// Not deleted before. Milliseconds since 1970.
        not_before_ms: i64,
    },
    /// operator: keep it after all. The same transaction adds one membership.
    Undo,
    /// sweeper: wants to delete it.
    Claim {
        /// Milliseconds since 1970.
        now_ms: i64,
        /// What keeps it although nothing references it, read in the same transaction.
        brake: Option<Brake>,
    },
    /// sweeper: found it claimed, by itself before a crash or by another sweeper.
    Reclaim,
    /// sweeper: the store answered for every object that it is deleted or was absent.
    ObjectsGone,
}

/// Why a queued file set is not claimed although its tolerance is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Brake {
    /// Deletes are frozen: the metadata contradicts itself, or an operator froze them.
    Frozen,
    /// An operator paused them, everywhere or for its collection.
    Paused,
    /// A legal hold is on a collection that has or had it.
    Held,
    /// A reader may still open it.
    Read,
    /// The circuit breaker of its collection is open.
    Breaker,
}

/// What happens with a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A line in the audit trail.
    Audit,
    /// The sweeper deletes the objects with permits, after the transaction.
    DeleteObjects,
}

/// A file set. Fields are private: a state comes from [`FileSet::intent`], [`FileSet::orphan`], [`FileSet::step`] or the
/// stored row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileSet {
    pub(crate) state: State,
    pub(crate) ever_live: bool,
    pub(crate) claimed_ever: bool,
}

impl FileSet {
    /// A new file set, registered before its first byte is written.
    #[must_use]
    pub fn intent(owner: NodeId, lease_until_ms: i64) -> Self {
        Self { state: State::Intent { owner, lease_until_ms }, ever_live: false, claimed_ever: false }
    }

    /// Objects that scans of the store found and that nothing knows. They never were live, so there is no way back (FS-4).
    #[must_use]
    pub fn orphan(not_before_ms: i64) -> Self {
        let state = State::Queued { not_before_ms, reason: Reason::Orphan };
        Self { state, ever_live: false, claimed_ever: false }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Number of memberships that name it.
    #[must_use]
    pub fn refs(&self) -> i64 {
        match self.state {
            State::Live { refs } => refs,
            State::Intent { .. } | State::Queued { .. } | State::Deleting | State::Gone => 0,
        }
    }

    /// True when it was `Live` at any time.
    #[must_use]
    pub fn ever_live(&self) -> bool {
        self.ever_live
    }

    /// True when it was claimed for deletion at any time.
    #[must_use]
    pub fn claimed_ever(&self) -> bool {
        self.claimed_ever
    }

    /// True for an intent whose owner is no longer believed to be at work.
    #[must_use]
    pub fn lease_ended(&self, now_ms: i64) -> bool {
        matches!(self.state, State::Intent { lease_until_ms, .. } if lease_until_ms <= now_ms)
    }

    /// What `event` does to this file set.
    pub fn step(&self, event: &Event) -> Step<Self, Effect> {
        use Event as E;
        use State as S;
        match (&self.state, event) {
            (S::Intent { owner, .. }, E::Renew { by, .. } | E::Commit { by }) if owner != by => Step::Fenced, // FS-5
            (S::Intent { owner, lease_until_ms: until }, E::Renew { lease_until_ms, .. }) => {
                self.to(S::Intent { owner: owner.clone(), lease_until_ms: *until.max(lease_until_ms) }, &[])
            }
            (S::Intent { .. }, E::Commit { .. }) => self.live(1, &[]),
            (S::Intent { .. }, E::Abandon { not_before_ms }) => {
                self.to(S::Queued { not_before_ms: *not_before_ms, reason: Reason::Abandoned }, &[])
            }

            (S::Live { refs }, E::Reference) => self.live(refs + 1, &[]),
            (S::Live { refs: refs @ 2.. }, E::Release { .. }) => self.live(refs - 1, &[]),
            (S::Live { .. }, E::Release { not_before_ms }) => {
                self.to(S::Queued { not_before_ms: *not_before_ms, reason: Reason::Released }, &[]) // FS-3
            }
            // FS-6: undone after the sweeper read it.
            (S::Live { .. }, E::Claim { .. }) => Step::Refuse(Refusal::InUse),
            // Undone by another operator already, or never gone.
            (S::Live { .. }, E::Undo) => Step::Repeat,

            (S::Queued { .. }, E::Undo) if self.ever_live && !self.claimed_ever => self.live(1, &[Effect::Audit]), // FS-4
            (S::Intent { .. } | S::Queued { .. } | S::Deleting | S::Gone, E::Undo) => Step::Refuse(Refusal::NoWayBack),
            (S::Queued { not_before_ms, .. }, E::Claim { now_ms, .. }) if now_ms < not_before_ms => {
                Step::Refuse(Refusal::TooEarly { not_before_ms: *not_before_ms })
            }
            (S::Queued { .. }, E::Claim { brake: Some(brake), .. }) => Step::Refuse(Refusal::Kept { by: *brake }),
            // FS-6
            (S::Queued { .. }, E::Claim { brake: None, .. }) => Step::Move(
                Self { state: S::Deleting, claimed_ever: true, ..*self },
                vec![Effect::Audit, Effect::DeleteObjects],
            ),

            (S::Deleting, E::ObjectsGone) => self.to(S::Gone, &[Effect::Audit]),
            (S::Deleting | S::Gone, E::Claim { .. } | E::Reclaim) => Step::Repeat,
            (S::Gone, E::ObjectsGone) => Step::Repeat,

            // FS-5: the owner asks again because it did not hear the answer, or it is too late.
            (S::Live { .. } | S::Queued { .. } | S::Deleting | S::Gone, E::Commit { .. } | E::Renew { .. }) => {
                if self.ever_live { Step::Repeat } else { Step::Fenced }
            }
            (S::Live { .. } | S::Queued { .. } | S::Deleting | S::Gone, E::Abandon { .. }) => Step::Repeat,

            // FS-4
            (S::Intent { .. } | S::Queued { .. } | S::Deleting | S::Gone, E::Reference) => {
                Step::Refuse(Refusal::NotLive { state: self.label() })
            }
            // FS-2, FS-3: what is claimed stays claimed, and a membership that can be ended keeps the file set live.
            (S::Intent { .. }, E::Claim { .. })
            | (S::Intent { .. } | S::Live { .. } | S::Queued { .. }, E::Reclaim)
            | (S::Intent { .. } | S::Queued { .. } | S::Deleting | S::Gone, E::Release { .. })
            | (S::Intent { .. } | S::Live { .. } | S::Queued { .. }, E::ObjectsGone) => self.bug(event),
        }
    }

    fn live(&self, refs: i64, effects: &[Effect]) -> Step<Self, Effect> {
        Step::Move(Self { state: State::Live { refs }, ever_live: true, ..*self }, effects.to_vec())
    }

    fn to(&self, state: State, effects: &[Effect]) -> Step<Self, Effect> {
        Step::Move(Self { state, ..*self }, effects.to_vec())
    }

    fn bug(&self, event: &Event) -> Step<Self, Effect> {
        Step::Refuse(Refusal::Bug { machine: MACHINE, state: self.label(), event: event.name() })
    }

    /// The state's name in the metadata store.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.state.label()
    }

    /// What the row of this file set holds.
    #[must_use]
    pub fn columns(&self) -> Columns {
        let mut columns = Columns {
            state: self.label().to_owned(),
            refs: self.refs(),
            claimed_ever: self.claimed_ever,
            ever_live: self.ever_live,
            ..Columns::default()
        };
        match &self.state {
            State::Intent { owner, lease_until_ms } => {
                columns.owner = Some(owner.0.clone());
                columns.lease_until_ms = Some(*lease_until_ms);
            }
            State::Queued { not_before_ms, reason } => {
                columns.not_before_ms = Some(*not_before_ms);
                columns.reason = Some(reason.label().to_owned());
            }
            State::Live { .. } | State::Deleting | State::Gone => {}
        }
        columns
    }

    /// The file set of a row.
    ///
    /// # Errors
    /// When [`FileSet::columns`] could not have given these columns.
    pub fn from_columns(columns: &Columns) -> Result<Self, CorruptRow> {
        let state = match columns.state.as_str() {
            "intent" => columns
                .owner
                .clone()
                .zip(columns.lease_until_ms)
                .map(|(owner, lease_until_ms)| State::Intent { owner: NodeId(owner), lease_until_ms }),
            "live" => (columns.refs >= 1).then_some(State::Live { refs: columns.refs }),
            "queued" => columns
                .not_before_ms
                .zip(columns.reason.as_deref().and_then(Reason::from_label))
                .map(|(not_before_ms, reason)| State::Queued { not_before_ms, reason }),
            "deleting" => Some(State::Deleting),
            "gone" => Some(State::Gone),
            _ => None,
        };
        state
            .map(|state| Self { state, ever_live: columns.ever_live, claimed_ever: columns.claimed_ever })
            .filter(|file_set| file_set.columns() == *columns && file_set.flags_fit())
            .ok_or_else(|| CorruptRow { machine: MACHINE, why: format!("{columns:?}") })
    }

    fn flags_fit(&self) -> bool {
        match self.state {
            State::Intent { .. } | State::Queued { reason: Reason::Abandoned | Reason::Orphan, .. } => {
                !self.ever_live && !self.claimed_ever
            }
            State::Live { .. } | State::Queued { reason: Reason::Released, .. } => self.ever_live && !self.claimed_ever,
            State::Deleting | State::Gone => self.claimed_ever,
        }
    }
}

impl Reason {
    fn from_label(label: &str) -> Option<Self> {
        [Self::Abandoned, Self::Released, Self::Orphan].into_iter().find(|reason| reason.label() == label)
    }
}

labels!(State {
    Self::Intent { .. } => "intent",
    Self::Live { .. } => "live",
    Self::Queued { .. } => "queued",
    Self::Deleting => "deleting",
    Self::Gone => "gone",
});

labels!(Reason {
    Self::Abandoned => "abandoned",
    Self::Released => "released",
    Self::Orphan => "orphan",
});

labels!(Brake {
    Self::Frozen => "frozen",
    Self::Paused => "paused",
    Self::Held => "held",
    Self::Read => "read",
    Self::Breaker => "breaker",
});

labels!(Effect {
    Self::Audit => "audit",
    Self::DeleteObjects => "delete_objects",
});

events!(Event {
    Self::Renew { .. } => ("renew", "writer"),
    Self::Commit { .. } => ("commit", "writer"),
    Self::Reference => ("reference", "whoever adds a membership"),
    Self::Release { .. } => ("release", "whoever ends a membership"),
    Self::Abandon { .. } => ("abandon", "writer, intent_checker"),
    Self::Undo => ("undo", "operator"),
    Self::Claim { .. } => ("claim", "sweeper"),
    Self::Reclaim => ("reclaim", "sweeper"),
    Self::ObjectsGone => ("objects_gone", "sweeper"),
});

/// The columns of a file set's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the same name in the state that has it")]
pub struct Columns {
    pub state: String,
    pub refs: i64,
    pub claimed_ever: bool,
    pub ever_live: bool,
    pub owner: Option<String>,
    pub lease_until_ms: Option<i64>,
    pub not_before_ms: Option<i64>,
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClaimedRow;
    use crate::walk::every_world;
    use elanus_types::{FileSetId, ObjectKey};

    const NOT_BEFORE: i64 = 10;

    fn node(name: &str) -> NodeId {
        NodeId(name.into())
    }

    fn claim(now_ms: i64) -> Event {
        Event::Claim { now_ms, brake: None }
    }

    fn stored(state: &str, refs: i64, ever_live: bool, claimed_ever: bool) -> Columns {
        Columns { state: state.into(), refs, ever_live, claimed_ever, ..Columns::default() }
    }

    /// A file set, the memberships that name it, and whether a sweeper ever saw it `Deleting`.
    type World = (FileSet, i64, bool);

    fn mail((file_set, memberships, seen_deleting): &World) -> Vec<Event> {
        let mut mail = vec![Event::Undo, claim(NOT_BEFORE - 1), claim(NOT_BEFORE)];
        mail.push(Event::Claim { now_ms: NOT_BEFORE, brake: Some(Brake::Held) });
        for by in ["owner", "other"] {
            mail.extend([4, 6].map(|lease_until_ms| Event::Renew { by: node(by), lease_until_ms }));
            mail.push(Event::Commit { by: node(by) });
        }
        mail.push(Event::Abandon { not_before_ms: NOT_BEFORE });
        if *memberships < 3 {
            mail.push(Event::Reference);
        }
        if *memberships > 0 {
            mail.push(Event::Release { not_before_ms: NOT_BEFORE });
        }
        if *seen_deleting {
            mail.extend([Event::Reclaim, Event::ObjectsGone]);
        }
        // A sweeper asks for what it once read as queued.
        mail.retain(|event| !matches!((event, file_set.label()), (Event::Claim { .. }, "intent")));
        mail
    }

    fn deliver(world: &World, event: &Event) -> World {
        let (before, memberships, seen_deleting) = world.clone();
        match before.step(event) {
            Step::Refuse(why) => {
                assert!(!why.is_bug(), "FS-8: {why}");
                (before, memberships, seen_deleting)
            }
            Step::Repeat | Step::Fenced => (before, memberships, seen_deleting),
            Step::Move(after, effects) => {
                let change = match event {
                    Event::Commit { .. } | Event::Reference | Event::Undo => 1,
                    Event::Release { .. } => -1,
                    _ => 0,
                };
                check(&before, event, &after, &effects);
                let seen_deleting = seen_deleting || *after.state() == State::Deleting;
                (after, memberships + change, seen_deleting)
            }
        }
    }

    fn check(before: &FileSet, event: &Event, after: &FileSet, effects: &[Effect]) {
        let over = |file_set: &FileSet| matches!(file_set.state(), State::Deleting | State::Gone);
        assert!(!over(before) || over(after), "FS-2: {before:?} <- {event:?}");
        assert!(!before.claimed_ever() || after.claimed_ever(), "FS-2");
        assert!(!before.ever_live() || after.ever_live());
        assert!(after.label() != "intent" || !after.lease_ended(4), "FS-7: {before:?} <- {event:?}");
        let first_live = before.refs() == 0 && after.refs() > 0;
        match before.state() {
            State::Intent { .. } if first_live => assert_eq!(*event, Event::Commit { by: node("owner") }, "FS-5"),
            State::Queued { .. } if first_live => {
                assert!(*event == Event::Undo && before.ever_live() && !before.claimed_ever(), "FS-4");
            }
            _ => assert!(!first_live, "FS-4: {before:?} <- {event:?}"),
        }
        if effects.contains(&Effect::DeleteObjects) {
            assert!(matches!(before.state(), State::Queued { .. }) && *event == claim(NOT_BEFORE), "FS-6");
        }
        assert_eq!(FileSet::from_columns(&after.columns()).as_ref(), Ok(after));
    }

    #[test]
    fn fs_1_to_8_no_order_of_messages_breaks_the_invariants() {
        let collected = FileSet::from_columns(&stored("deleting", 0, true, true)).unwrap();
        let orphan = FileSet::orphan(NOT_BEFORE);
        let start = [(FileSet::intent(node("owner"), 5), 0, false), (collected, 0, true), (orphan, 0, false)];
        let worlds = every_world(start, |world| {
            let (file_set, memberships, _) = world;
            assert_eq!(file_set.refs(), *memberships, "every membership is one reference: {world:?}");
            assert_eq!(matches!(file_set.state(), State::Live { .. }), *memberships > 0, "FS-3: {world:?}");
            #[expect(clippy::disallowed_methods, reason = "what it takes is tested here")]
            let row = ClaimedRow::read(FileSetId(1), &file_set.columns(), vec![ObjectKey::parse("a/b").unwrap()]);
            assert_eq!(row.unwrap().is_some(), *file_set.state() == State::Deleting, "FS-1");
            mail(world).iter().map(|event| deliver(world, event)).collect()
        });
        assert!(worlds > 10, "{worlds}");
    }

    #[test]
    fn fs_5_a_late_commit_learns_whether_it_once_succeeded() {
        let commit = Event::Commit { by: node("owner") };
        let gone = |ever_live| FileSet::from_columns(&stored("gone", 0, ever_live, true)).unwrap();
        assert_eq!(gone(true).step(&commit), Step::Repeat);
        assert_eq!(gone(false).step(&commit), Step::Fenced);
    }

    #[test]
    fn a_row_that_no_file_set_wrote_is_corrupt() {
        let queued =
            Columns { not_before_ms: Some(1), reason: Some("released".into()), ..stored("queued", 0, true, false) };
        assert!(FileSet::from_columns(&queued).is_ok());
        let wrong = [
            stored("Live", 1, true, false),
            stored("live", 0, true, false),
            stored("live", -1, true, false),
            stored("live", 1, false, false),
            stored("live", 1, true, true),
            stored("intent", 0, false, false),
            stored("deleting", 1, true, true),
            stored("gone", 0, true, false),
            stored("queued", 0, true, false),
            Columns { refs: 1, ..queued.clone() },
            Columns { reason: Some("abandoned".into()), ..queued.clone() },
            Columns { reason: Some("orphan".into()), ..queued.clone() },
            Columns { reason: Some("tired".into()), ..queued.clone() },
            Columns { owner: Some("n".into()), ..queued.clone() },
        ];
        for columns in wrong {
            assert!(FileSet::from_columns(&columns).is_err(), "{columns:?}");
        }
    }

    #[test]
    fn a_lease_ends_at_its_time_and_only_for_an_intent() {
        let file_set = FileSet::intent(node("owner"), 5);
        assert!(!file_set.lease_ended(4));
        assert!(file_set.lease_ended(5));
        let Step::Move(live, _) = file_set.step(&Event::Commit { by: node("owner") }) else { panic!("not committed") };
        assert!(!live.lease_ended(5));
    }
}
