//! Who moves each state on, and until when. Nothing may wait for something that never comes.

/// What moves a state on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mover {
    /// The background task of this name: it scans this state in every round.
    Task(&'static str),
    /// Nobody needs to: the state holds nothing back and lasts as long as somebody wants it.
    Rests,
}

/// The driver of one state of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Name of the machine.
    pub machine: &'static str,
    /// Label of the state.
    pub state: &'static str,
    /// What moves it on.
    pub mover: Mover,
    /// When that happens at the latest.
    pub deadline: &'static str,
}

/// Every state that is not an end.
pub const DRIVERS: &[Driver] = &[
    task("file_set", "intent", "intent.expire", "lease_until_ms or the loss of its owner, then abandoned"),
    rests("file_set", "live", "when its last membership is released"),
    task("file_set", "queued", "sweep", "not_before_ms, then claimed unless a brake keeps it"),
    task("file_set", "deleting", "sweep", "every round until the store answers for every object"),
    task(
        "snapshot",
        "pending",
        "snapshot.expire",
        "lease_until_ms without a heartbeat or the loss of its owner, then deleted",
    ),
    task("snapshot", "accepted", "snapshot.write", "every round until the manifests are durable, or its user drops it"),
    rests("snapshot", "committed", "when its user drops it"),
    task("snapshot", "deleting", "gc.release", "every round until what only it kept is released"),
    task("restore_job", "pending", "restore.check", "deadline_ms of the job, then failing"),
    task("restore_job", "copying", "restore.check", "deadline_ms of the job, then failing"),
    task("restore_job", "publishing", "restore.check", "every round until published or refused by verification"),
    task("restore_job", "failing", "restore.check", "every round until cleaned up"),
    task("copy_task", "pending", "task.schedule", "not_before_ms and a free slot; the job's deadline aborts it"),
    task(
        "copy_task",
        "in_progress",
        "task.expire",
        "lease_until_ms without a heartbeat or the loss of its node, then tried again",
    ),
    task(
        "compaction",
        "pending",
        "task.schedule",
        "not_before_ms and a free slot; a void one is aborted when it is claimed",
    ),
    task(
        "compaction",
        "in_progress",
        "task.expire",
        "lease_until_ms without a heartbeat or the loss of its node, then tried again",
    ),
    task(
        "index_build",
        "pending",
        "task.schedule",
        "not_before_ms and a free slot; a void one is aborted when it is claimed",
    ),
    task(
        "index_build",
        "in_progress",
        "task.expire",
        "lease_until_ms without a heartbeat or the loss of its node, then tried again",
    ),
    task("segment", "growing", "segment.seal", "size, age, a flush or the end of its writer"),
    rests("segment", "flushed", "when compaction or a drop ends it"),
];

const fn task(machine: &'static str, state: &'static str, name: &'static str, deadline: &'static str) -> Driver {
    Driver { machine, state, mover: Mover::Task(name), deadline }
}

const fn rests(machine: &'static str, state: &'static str, deadline: &'static str) -> Driver {
    Driver { machine, state, mover: Mover::Rests, deadline }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Machine, every_machine};
    use crate::{Compaction, CopyTask, FileSet, IndexBuild, RestoreJob, Segment, Snapshot, Step};
    use std::collections::BTreeSet;

    /// States that some event leads out of.
    fn not_ends<M: Machine>() -> Vec<(&'static str, &'static str)> {
        let leaves = |machine: &M| {
            M::events().iter().any(|event| matches!(machine.answer(event), Step::Move(next, _) if next.state_label() != machine.state_label()))
        };
        M::samples()
            .iter()
            .filter(|(_, machine)| leaves(machine))
            .map(|(_, machine)| (M::NAME, machine.state_label()))
            .collect()
    }

    #[test]
    fn every_state_that_is_not_an_end_has_exactly_one_driver() {
        let mut needed = BTreeSet::new();
        every_machine!(M => needed.extend(not_ends::<M>()));
        // The kinds of tasks are one machine, and each has its table.
        needed.extend(not_ends::<Compaction>());
        needed.extend(not_ends::<IndexBuild>());
        let listed: Vec<_> = DRIVERS.iter().map(|driver| (driver.machine, driver.state)).collect();
        assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), needed);
        assert_eq!(listed.len(), needed.len(), "a state is listed twice");
        assert!(DRIVERS.iter().all(|driver| !driver.deadline.is_empty()));
    }
}
