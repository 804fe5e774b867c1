//! The whole life of a restore job, and its progress.
//!
//! A detach is such a job too: its source and its target are one collection, what it copies are the files that other
//! collections have as well, and what it publishes in one transaction is the exchange of these files for their copies.
//!
//! ```text
//!  submit           planned             all_tasks_completed              verified
//!  ──────▶ Pending ─────────▶ Copying ─────────────────────▶ Publishing ──────────▶ Completed
//!           │ │                 │                             ▲  │
//!           │ ╰──── cloned ─────┼─────────────────────────────╯  │ verify_failed
//!           │                   │                                ▼               cleaned_up
//!           ╰─── task_failed, deadline_passed, cancel ───────▶ Failing ─────────────────────▶ Failed
//! ```
//!
//! RJ-1  `Completed` means that everything was verified and was published in the same transaction.
//! RJ-2  `Failed` means that nothing is left behind: `Failing` comes first and stays until it is cleaned up.
//! RJ-3  What is being published is not cancelled and does not run out of time: publication is one transaction, which is
//!       retried until it is done or until verification says no.
//! RJ-4  The first reason to fail stays the reason.
//! RJ-5  Progress never falls, and is 100 exactly when the job is `Completed`.
//! RJ-6  `Refuse(Bug)` is never caused by late, repeated or reordered messages.

use crate::labels::{events, labels};
use crate::{CorruptRow, Refusal, Step};

/// Name of this machine in messages and metrics.
pub const MACHINE: &str = "restore_job";

/// Where a restore job is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The target is reserved, hidden; the source is pinned.
    Pending,
    /// Copy tasks are at work.
    Copying,
    /// Every file is there; it is verified, then published.
    Publishing,
    /// The target is visible.
    Completed,
    /// It will fail; what it made is being removed.
    Failing {
        /// Why.
        reason: Reason,
    },
    /// Nothing of it is left.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// Why a restore job failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A copy task failed for good, or the job cannot be planned.
    TaskFailed {
        /// What the user is told.
        message: String,
    },
    /// The copy is not what the snapshot says.
    VerifyFailed {
        /// What the user is told.
        message: String,
    },
    /// It did not end in time.
    DeadlinePassed,
    /// The user did not want it any more.
    Cancelled,
}

/// What can happen to a restore job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// checker: the same transaction inserts all copy tasks and the totals of the progress.
    Planned,
    /// checker: the same transaction inserted memberships of the source's file sets, each of them live, and goes on to
    /// `Verified`: nobody ever sees a clone that is being published.
    Cloned,
    /// checker: no copy task is left.
    AllTasksCompleted,
    /// checker: every file has its size and checksum. The same transaction publishes the target and releases the pin.
    Verified,
    /// checker: a file is missing or differs.
    VerifyFailed {
        /// What the user is told.
        message: String,
    },
    /// checker: a copy task failed for good, or the job cannot be planned.
    TaskFailed {
        /// What the user is told.
        message: String,
    },
    /// checker: the job's time is over.
    DeadlinePassed {
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// API
    Cancel,
    /// checker: target removed, name free, copied objects queued. The same transaction releases the pin.
    CleanedUp,
}

/// What happens with a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Wake whoever gives copy tasks to nodes.
    WakeScheduler,
    /// Wake the checker for the next step of this job.
    WakeChecker,
    /// Every copy task that is not over is aborted.
    AbortTasks,
    /// Others hear of it: waiting calls, caches.
    Announce,
}

/// A restore job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestoreJob {
    pub(crate) state: State,
    /// When the job is given up unless it is being published. Milliseconds since 1970.
    pub deadline_ms: i64,
}

impl RestoreJob {
    /// A new job. The transaction that stores it reserves the target and pins the source.
    #[must_use]
    pub fn submit(deadline_ms: i64) -> Self {
        Self { state: State::Pending, deadline_ms }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// True when nothing is to be done any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Completed | State::Failed { .. })
    }

    /// What `event` does to this job.
    pub fn step(&self, event: &Event) -> Step<Self, Effect> {
        use Effect::{Announce, WakeChecker, WakeScheduler};
        use Event as E;
        use State as S;
        match (&self.state, event) {
            (S::Pending, E::Planned) => self.to(S::Copying, &[WakeScheduler]),
            (S::Pending, E::Cloned) => self.to(S::Publishing, &[WakeChecker]),
            (S::Copying, E::AllTasksCompleted) => self.to(S::Publishing, &[WakeChecker]),
            (S::Publishing, E::Verified) => self.to(S::Completed, &[Announce]), // RJ-1
            (S::Publishing, E::VerifyFailed { message }) => {
                self.failing(Reason::VerifyFailed { message: message.clone() })
            }

            (S::Pending | S::Copying, E::TaskFailed { message }) => {
                self.failing(Reason::TaskFailed { message: message.clone() })
            }
            (S::Pending | S::Copying, E::DeadlinePassed { now_ms }) if self.deadline_ms <= *now_ms => {
                self.failing(Reason::DeadlinePassed)
            }
            (S::Pending | S::Copying, E::Cancel) => self.failing(Reason::Cancelled),
            (S::Publishing | S::Completed, E::Cancel) => Step::Refuse(Refusal::TooLate), // RJ-3
            (S::Failing { reason }, E::CleanedUp) => self.to(S::Failed { reason: reason.clone() }, &[Announce]), // RJ-2

            // The same message again, or one that the job has left behind.
            (S::Copying, E::Planned)
            | (S::Publishing | S::Completed, E::Planned | E::Cloned | E::AllTasksCompleted)
            | (S::Completed, E::Verified)
            | (S::Failed { .. }, E::CleanedUp) => Step::Repeat,

            // RJ-3, RJ-4: an alarm that is too early, too late, or not the first.
            (S::Pending | S::Copying | S::Publishing | S::Completed, E::DeadlinePassed { .. })
            | (S::Publishing | S::Completed, E::TaskFailed { .. })
            | (S::Failing { .. } | S::Failed { .. }, E::TaskFailed { .. } | E::DeadlinePassed { .. } | E::Cancel)
            | (S::Failing { .. } | S::Failed { .. }, E::VerifyFailed { .. }) => Step::Repeat,

            // The job took another way while its checker worked: what that checker did must not be stored.
            (S::Failing { .. } | S::Failed { .. }, E::Planned | E::Cloned | E::AllTasksCompleted | E::Verified)
            | (S::Completed, E::VerifyFailed { .. }) => Step::Fenced,

            (S::Pending, E::AllTasksCompleted)
            | (S::Copying, E::Cloned)
            | (S::Pending | S::Copying, E::Verified | E::VerifyFailed { .. })
            | (S::Pending | S::Copying | S::Publishing | S::Completed, E::CleanedUp) => {
                Step::Refuse(Refusal::Bug { machine: MACHINE, state: self.label(), event: event.name() })
            }
        }
    }

    fn failing(&self, reason: Reason) -> Step<Self, Effect> {
        self.to(State::Failing { reason }, &[Effect::AbortTasks, Effect::WakeChecker])
    }

    fn to(&self, state: State, effects: &[Effect]) -> Step<Self, Effect> {
        Step::Move(Self { state, ..*self }, effects.to_vec())
    }

    /// The state's name in the metadata store.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.state.label()
    }

    /// What the row of this job holds of its state.
    #[must_use]
    pub fn columns(&self) -> Columns {
        let (reason, message) = match &self.state {
            State::Failing { reason } | State::Failed { reason } => (Some(reason.label().to_owned()), reason.message()),
            State::Pending | State::Copying | State::Publishing | State::Completed => (None, None),
        };
        let message = message.map(str::to_owned);
        Columns { state: self.label().to_owned(), deadline_ms: self.deadline_ms, reason, message }
    }

    /// The job of a row.
    ///
    /// # Errors
    /// When [`RestoreJob::columns`] could not have given these columns.
    pub fn from_columns(columns: &Columns) -> Result<Self, CorruptRow> {
        let reason = || Reason::from_columns(columns.reason.as_deref()?, columns.message.as_deref());
        let state = match columns.state.as_str() {
            "pending" => Some(State::Pending),
            "copying" => Some(State::Copying),
            "publishing" => Some(State::Publishing),
            "completed" => Some(State::Completed),
            "failing" => reason().map(|reason| State::Failing { reason }),
            "failed" => reason().map(|reason| State::Failed { reason }),
            _ => None,
        };
        state
            .map(|state| Self { state, deadline_ms: columns.deadline_ms })
            .filter(|job| job.columns() == *columns)
            .ok_or_else(|| CorruptRow { machine: MACHINE, why: format!("{columns:?}") })
    }
}

impl Reason {
    fn message(&self) -> Option<&str> {
        match self {
            Self::TaskFailed { message } | Self::VerifyFailed { message } => Some(message),
            Self::DeadlinePassed | Self::Cancelled => None,
        }
    }

    fn from_columns(label: &str, message: Option<&str>) -> Option<Self> {
        match (label, message.map(str::to_owned)) {
            ("task_failed", Some(message)) => Some(Self::TaskFailed { message }),
            ("verify_failed", Some(message)) => Some(Self::VerifyFailed { message }),
            ("deadline_passed", None) => Some(Self::DeadlinePassed),
            ("cancelled", None) => Some(Self::Cancelled),
            _ => None,
        }
    }
}

labels!(State {
    Self::Pending => "pending",
    Self::Copying => "copying",
    Self::Publishing => "publishing",
    Self::Completed => "completed",
    Self::Failing { .. } => "failing",
    Self::Failed { .. } => "failed",
});

labels!(Reason {
    Self::TaskFailed { .. } => "task_failed",
    Self::VerifyFailed { .. } => "verify_failed",
    Self::DeadlinePassed => "deadline_passed",
    Self::Cancelled => "cancelled",
});

labels!(Effect {
    Self::WakeScheduler => "wake_scheduler",
    Self::WakeChecker => "wake_checker",
    Self::AbortTasks => "abort_tasks",
    Self::Announce => "announce",
});

events!(Event {
    Self::Planned => ("planned", "restore_checker"),
    Self::Cloned => ("cloned", "restore_checker"),
    Self::AllTasksCompleted => ("all_tasks_completed", "restore_checker"),
    Self::Verified => ("verified", "restore_checker"),
    Self::VerifyFailed { .. } => ("verify_failed", "restore_checker"),
    Self::TaskFailed { .. } => ("task_failed", "restore_checker"),
    Self::DeadlinePassed { .. } => ("deadline_passed", "restore_checker"),
    Self::Cancel => ("cancel", "API"),
    Self::CleanedUp => ("cleaned_up", "restore_checker"),
});

/// The columns of a restore job's row that its state has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the same name in the state that has it")]
pub struct Columns {
    pub state: String,
    pub deadline_ms: i64,
    pub reason: Option<String>,
    pub message: Option<String>,
}

/// How far a restore job is: what was copied and verified. The totals are set once, when the job is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files of the plan.
    pub files_total: u64,
    /// Files that are at their target.
    pub files_done: u64,
    /// Bytes of the plan.
    pub bytes_total: u64,
    /// Bytes that are at their target.
    pub bytes_done: u64,
}

impl Progress {
    /// Nothing done of a plan.
    #[must_use]
    pub fn planned(files_total: u64, bytes_total: u64) -> Self {
        Self { files_total, bytes_total, ..Self::default() }
    }

    /// Takes a new count. A count that is lower, as after a repeated attempt, changes nothing (RJ-5).
    #[must_use]
    pub fn advanced_to(self, files_done: u64, bytes_done: u64) -> Self {
        Self {
            files_done: self.files_done.max(files_done.min(self.files_total)),
            bytes_done: self.bytes_done.max(bytes_done.min(self.bytes_total)),
            ..self
        }
    }

    /// Whole percents, for a job in this state: by bytes, or by files where there are no bytes. Below 100 until the job
    /// is completed (RJ-5).
    #[must_use]
    pub fn percent(&self, state: &State) -> u8 {
        if *state == State::Completed {
            return 100;
        }
        let (done, total) = match self.bytes_total {
            0 => (self.files_done, self.files_total),
            bytes_total => (self.bytes_done, bytes_total),
        };
        let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(0);
        u8::try_from(percent).unwrap_or(99).min(99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::every_world;
    use std::collections::BTreeSet;

    const DEADLINE: i64 = 10;

    fn say(word: &str) -> String {
        word.into()
    }

    /// A job and every state in which a checker ever read it. A checker sends what belongs to a state that it read,
    /// as late and as often as it likes, but it never cleans up a job that it did not read as failing.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct World {
        job: RestoreJob,
        read: BTreeSet<&'static str>,
        clones: bool,
    }

    fn mail(world: &World) -> Vec<Event> {
        let mut mail = vec![Event::Cancel];
        mail.extend([DEADLINE - 1, DEADLINE].map(|now_ms| Event::DeadlinePassed { now_ms }));
        for label in &world.read {
            match *label {
                "pending" if world.clones => mail.push(Event::Cloned),
                "pending" => mail.extend([Event::Planned, Event::TaskFailed { message: say("cannot plan") }]),
                "copying" => mail.extend([Event::AllTasksCompleted, Event::TaskFailed { message: say("no file") }]),
                "publishing" => mail.extend([Event::Verified, Event::VerifyFailed { message: say("differs") }]),
                "failing" => mail.push(Event::CleanedUp),
                _ => {}
            }
        }
        mail
    }

    fn check(before: &RestoreJob, event: &Event, after: &RestoreJob) {
        assert!(!before.is_over(), "over is over: {before:?} <- {event:?}");
        let (from, to) = (before.label(), after.label());
        assert!(to != "completed" || (from == "publishing" && *event == Event::Verified), "RJ-1");
        assert!(to != "failed" || (from == "failing" && *event == Event::CleanedUp), "RJ-2");
        assert!(from != "publishing" || matches!(event, Event::Verified | Event::VerifyFailed { .. }), "RJ-3");
        if let (State::Failing { reason: first }, State::Failing { reason } | State::Failed { reason }) =
            (before.state(), after.state())
        {
            assert_eq!(first, reason, "RJ-4");
        }
        assert_eq!(RestoreJob::from_columns(&after.columns()).as_ref(), Ok(after));
    }

    #[test]
    fn rj_1_to_6_no_order_of_messages_breaks_the_invariants() {
        let start = [false, true].map(|clones| World {
            job: RestoreJob::submit(DEADLINE),
            read: BTreeSet::from(["pending"]),
            clones,
        });
        let mut reached = BTreeSet::new();
        let worlds = every_world(start, |world| {
            reached.insert(world.job.label());
            let deliver = |event: &Event| match world.job.step(event) {
                Step::Move(job, _) => {
                    check(&world.job, event, &job);
                    let mut read = world.read.clone();
                    read.insert(job.label());
                    World { job, read, clones: world.clones }
                }
                Step::Refuse(why) => {
                    assert_eq!(why, Refusal::TooLate, "RJ-6: {:?} <- {event:?}", world.job);
                    world.clone()
                }
                Step::Repeat | Step::Fenced => world.clone(),
            };
            mail(world).iter().map(deliver).collect()
        });
        assert!(worlds > 20, "{worlds}");
        assert_eq!(reached, State::LABELS.iter().copied().collect());
    }

    #[test]
    fn a_job_runs_out_of_time_at_its_deadline_and_not_before() {
        let job = RestoreJob::submit(DEADLINE);
        assert_eq!(job.step(&Event::DeadlinePassed { now_ms: DEADLINE - 1 }), Step::Repeat);
        let Step::Move(after, _) = job.step(&Event::DeadlinePassed { now_ms: DEADLINE }) else {
            panic!("still pending")
        };
        assert_eq!(*after.state(), State::Failing { reason: Reason::DeadlinePassed });
    }

    #[test]
    fn rj_3_a_job_that_is_being_published_is_not_cancelled() {
        let job = RestoreJob { state: State::Publishing, deadline_ms: DEADLINE };
        assert_eq!(job.step(&Event::Cancel), Step::Refuse(Refusal::TooLate));
        assert_eq!(job.step(&Event::DeadlinePassed { now_ms: DEADLINE }), Step::Repeat);
    }

    #[test]
    fn rj_5_progress_never_falls_and_ends_at_100() {
        let mut progress = Progress::planned(4, 1_000);
        let mut last = progress.percent(&State::Copying);
        assert_eq!(last, 0);
        for (files, bytes) in [(1, 250), (0, 0), (2, 200), (3, 999), (9, 9_999)] {
            progress = progress.advanced_to(files, bytes);
            let percent = progress.percent(&State::Copying);
            assert!(percent >= last, "{percent} after {last}");
            last = percent;
        }
        assert_eq!(progress, Progress { files_done: 4, bytes_done: 1_000, ..progress });
        assert_eq!(progress.percent(&State::Publishing), 99);
        assert_eq!(progress.percent(&State::Completed), 100);
    }

    #[test]
    fn rj_5_progress_of_nothing_and_of_very_much() {
        assert_eq!(Progress::default().percent(&State::Publishing), 0);
        assert_eq!(Progress::default().percent(&State::Completed), 100);
        assert_eq!(Progress::planned(2, 0).advanced_to(1, 0).percent(&State::Copying), 50);
        assert_eq!(Progress::planned(1, u64::MAX).advanced_to(0, u64::MAX / 2).percent(&State::Copying), 49);
    }

    #[test]
    fn a_row_that_no_job_wrote_is_corrupt() {
        let row = |state: &str, reason: Option<&str>, message: Option<&str>| Columns {
            state: state.into(),
            deadline_ms: 1,
            reason: reason.map(say),
            message: message.map(say),
        };
        assert!(RestoreJob::from_columns(&row("failed", Some("cancelled"), None)).is_ok());
        for wrong in [
            row("copied", None, None),
            row("failed", None, None),
            row("failing", Some("tired"), None),
            row("failing", Some("task_failed"), None),
            row("failed", Some("cancelled"), Some("x")),
            row("copying", Some("cancelled"), None),
            row("completed", None, Some("x")),
        ] {
            assert!(RestoreJob::from_columns(&wrong).is_err(), "{wrong:?}");
        }
    }
}
