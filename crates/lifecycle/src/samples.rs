//! One machine of every state and one event of every kind: what tables and tests go through.

use crate::file_set::{self, FileSet};
use crate::task::{self, Task, Work};
use crate::{LivePin, RestoreJob, Segment, Snapshot, Step, restore_job, segment, snapshot};
use elanus_types::{Checksum, Generation, NodeId, ObjectKey};
use std::marker::PhantomData;

/// What tables and tests ask of a machine.
pub(crate) trait Machine: Sized {
    /// Its name.
    const NAME: &'static str;
    /// Its source text, for diagram and invariants.
    const SOURCE: &'static str;
    /// Labels of all its states.
    #[cfg(test)]
    const STATES: &'static [&'static str];
    /// Names of all its events.
    #[cfg(test)]
    const EVENTS: &'static [&'static str];
    type Event;
    type Effect;

    /// Machines in every state, each with what is special about it.
    fn samples() -> Vec<(&'static str, Self)>;
    /// Events of every kind.
    fn events() -> Vec<Self::Event>;
    fn state_label(&self) -> &'static str;
    fn event_name(event: &Self::Event) -> (&'static str, &'static str);
    fn effect_label(effect: &Self::Effect) -> &'static str;
    /// `step`, from a sender that holds the present claim.
    fn answer(&self, event: &Self::Event) -> Step<Self, Self::Effect>;
}

/// Runs an expression once for every machine, with the machine as a type of the given name.
macro_rules! every_machine {
    ($name:ident => $run:expr) => {
        every_machine!(@ $name $run, FileSet Snapshot RestoreJob CopyTask Segment)
    };
    (@ $name:ident $run:expr, $($machine:ident)*) => {
        $({ type $name = $machine; $run; })*
    };
}
pub(crate) use every_machine;

fn node() -> NodeId {
    NodeId("node".into())
}

fn key() -> ObjectKey {
    ObjectKey::parse("snapshot/metadata.json").expect("a literal in normal form")
}

macro_rules! names {
    ($module:ident, $file:literal) => {
        const SOURCE: &'static str = include_str!($file);
        #[cfg(test)]
        const STATES: &'static [&'static str] = $module::State::LABELS;
        #[cfg(test)]
        const EVENTS: &'static [&'static str] = $module::Event::NAMES;
        type Event = $module::Event;
        type Effect = $module::Effect;

        fn state_label(&self) -> &'static str {
            self.label()
        }
        fn event_name(event: &Self::Event) -> (&'static str, &'static str) {
            (event.name(), event.sender())
        }
        fn effect_label(effect: &Self::Effect) -> &'static str {
            effect.label()
        }
    };
}

impl Machine for FileSet {
    const NAME: &'static str = file_set::MACHINE;
    names!(file_set, "file_set.rs");

    fn samples() -> Vec<(&'static str, Self)> {
        use file_set::{Reason, State};
        let set = |state, ever_live, claimed_ever| Self { state, ever_live, claimed_ever };
        vec![
            ("", Self::intent(node(), 5)),
            ("1 reference", set(State::Live { refs: 1 }, true, false)),
            ("more references", set(State::Live { refs: 2 }, true, false)),
            ("abandoned", set(State::Queued { not_before_ms: 5, reason: Reason::Abandoned }, false, false)),
            ("released", set(State::Queued { not_before_ms: 5, reason: Reason::Released }, true, false)),
            ("", set(State::Deleting, false, true)),
            ("", set(State::Gone, false, true)),
        ]
    }

    fn events() -> Vec<Self::Event> {
        use file_set::Event as E;
        vec![
            E::Renew { by: node(), lease_until_ms: 9 },
            E::Commit { by: node() },
            E::Reference,
            E::Release { not_before_ms: 5 },
            E::Abandon { not_before_ms: 5 },
            E::Undo,
            E::Claim { now_ms: 5, brake: None },
            E::Reclaim,
            E::ObjectsGone,
        ]
    }

    fn answer(&self, event: &Self::Event) -> Step<Self, Self::Effect> {
        self.step(event)
    }
}

impl Machine for Snapshot {
    const NAME: &'static str = snapshot::MACHINE;
    names!(snapshot, "snapshot.rs");

    fn samples() -> Vec<(&'static str, Self)> {
        use snapshot::State;
        vec![
            ("", Self::create(node(), 5)),
            ("", Self { state: State::Accepted { owner: node(), lease_until_ms: 5 } }),
            ("", Self { state: State::Committed { metadata_key: key(), checksum: Checksum(1) } }),
            ("", Self { state: State::Deleting }),
            ("", Self { state: State::Gone }),
        ]
    }

    fn events() -> Vec<Self::Event> {
        use snapshot::Event as E;
        vec![
            E::Heartbeat { by: node(), lease_until_ms: 9 },
            E::Accept { by: node(), now_ms: 4 },
            E::Claim { by: node(), now_ms: 5, lease_until_ms: 9 },
            E::ManifestsWritten { by: node(), metadata_key: key(), checksum: Checksum(1) },
            E::WriteFailed { by: node() },
            E::LeaseExpired { now_ms: 5 },
            E::OwnerLost,
            E::Drop { live_pin: None },
            E::Drop { live_pin: Some(LivePin { owner: "owner".into(), until_ms: None }) },
            E::ObjectsGone,
            E::Undo { metadata_key: key(), checksum: Checksum(1) },
        ]
    }

    fn answer(&self, event: &Self::Event) -> Step<Self, Self::Effect> {
        self.step(event)
    }
}

impl Machine for RestoreJob {
    const NAME: &'static str = restore_job::MACHINE;
    names!(restore_job, "restore_job.rs");

    fn samples() -> Vec<(&'static str, Self)> {
        use restore_job::{Reason, State};
        [
            State::Pending,
            State::Copying,
            State::Publishing,
            State::Completed,
            State::Failing { reason: Reason::Cancelled },
            State::Failed { reason: Reason::Cancelled },
        ]
        .map(|state| ("", Self { state, deadline_ms: 5 }))
        .into()
    }

    fn events() -> Vec<Self::Event> {
        use restore_job::Event as E;
        vec![
            E::Planned,
            E::Cloned,
            E::AllTasksCompleted,
            E::Verified,
            E::VerifyFailed { message: String::new() },
            E::TaskFailed { message: String::new() },
            E::DeadlinePassed { now_ms: 5 },
            E::Cancel,
            E::CleanedUp,
        ]
    }

    fn answer(&self, event: &Self::Event) -> Step<Self, Self::Effect> {
        self.step(event)
    }
}

impl<W: Work> Machine for Task<W> {
    const NAME: &'static str = W::MACHINE;
    names!(task, "task.rs");

    fn samples() -> Vec<(&'static str, Self)> {
        use task::{ATTEMPTS_MAX, Reason, State};
        let task = |state, attempt| Self { state, attempt, generation: Generation(1), work: PhantomData };
        let at_work = || State::InProgress { node: node(), lease_until_ms: 5 };
        vec![
            ("", task(State::Pending { not_before_ms: 5 }, 0)),
            ("attempts left", task(at_work(), 1)),
            ("last attempt", task(at_work(), ATTEMPTS_MAX)),
            ("", task(State::Completed, 1)),
            ("", task(State::Failed { reason: Reason::Aborted }, 1)),
        ]
    }

    fn events() -> Vec<Self::Event> {
        use task::Event as E;
        vec![
            E::Claim { node: node(), now_ms: 5, lease_until_ms: 5 },
            E::Heartbeat { lease_until_ms: 9 },
            E::Finish,
            E::FailTransient { now_ms: 5, message: String::new() },
            E::FailPermanent { message: String::new() },
            E::LeaseExpired { now_ms: 5 },
            E::GiveBack { now_ms: 5 },
            E::NodeLost { now_ms: 5 },
            E::Abort,
        ]
    }

    fn answer(&self, event: &Self::Event) -> Step<Self, Self::Effect> {
        self.step(self.generation, event)
    }
}

impl Machine for Segment {
    const NAME: &'static str = segment::MACHINE;
    names!(segment, "segment.rs");

    fn samples() -> Vec<(&'static str, Self)> {
        use segment::State;
        [State::Growing, State::Flushed, State::Dropped].map(|state| ("", Self { state })).into()
    }

    fn events() -> Vec<Self::Event> {
        vec![segment::Event::Append, segment::Event::Flush, segment::Event::Drop]
    }

    fn answer(&self, event: &Self::Event) -> Step<Self, Self::Effect> {
        self.step(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CopyTask;
    use std::collections::BTreeSet;

    #[test]
    fn samples_have_every_state_and_every_event() {
        every_machine!(M => {
            let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
            let states: Vec<_> = M::samples().iter().map(|(_, machine)| machine.state_label()).collect();
            assert_eq!(set(&states), set(M::STATES), "{}", M::NAME);
            let events: Vec<_> = M::events().iter().map(|event| M::event_name(event).0).collect();
            assert_eq!(set(&events), set(M::EVENTS), "{}", M::NAME);
        });
    }

    #[test]
    fn names_are_snake_case() {
        every_machine!(M => {
            for name in M::STATES.iter().chain(M::EVENTS).chain([&M::NAME]) {
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            }
        });
    }
}
