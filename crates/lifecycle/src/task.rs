//! The whole life of a task that a worker claims: a bounded piece of work that ends with one verdict.
//!
//! Three kinds of work are such tasks, each with rows, names and drivers of its own: a *copy task* (a bundle of files of
//! one restore job), a *compaction* (files of one partition and shard become fewer), an *index build* (one index of one
//! segment). Whatever a finish makes visible is made visible in the transaction of the finish.
//!
//! ```text
//!             claim                 finish
//!  Pending ───────────▶ InProgress ────────▶ Completed
//!     ▲ ▲                │  │  │ ▲─╮
//!     │ └─ lease_expired ┘  │  │   ╰ heartbeat
//!     │    node_lost        │  │
//!     │    give_back        │  │
//!     ├──── fail_transient ─┘  └─ fail_permanent, attempts used up ─▶ Failed
//!     └────────────────────────── abort ────────────────────────────▶ Failed
//! ```
//!
//! TK-1  A generation names one claim: it rises when a claim is given and when it is taken back.
//! TK-2  A message stamped with an older generation changes nothing (`Fenced`).
//! TK-3  `Completed` and `Failed` have no way out.
//! TK-4  A task is tried at most `ATTEMPTS_MAX` times, and after a failure not before its back-off is over. An attempt
//!       that ended because its node was lost, or gave it back, does not count: a task survives any number of
//!       restarts.
//! TK-5  No heartbeat shortens a lease.
//! TK-6  `Refuse(Bug)` is never caused by late, repeated or reordered messages.
//! TK-7  A heartbeat of a claim that has ended is `Fenced`: an order that was on its way until then begins nothing. Its files
//!       may have been deleted meanwhile, and a second run would bring them back.

use crate::labels::{events, labels};
use crate::{CorruptRow, Refusal, Step};
use elanus_types::{Generation, NodeId};
use std::cmp::Ordering;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

/// A kind of work.
pub trait Work: Copy + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// Name of the machine in messages and metrics.
    const MACHINE: &'static str;
}

/// Copying a bundle of files of one restore job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyFiles {}

/// Merging files of one partition and shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compact {}

/// Building one index of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuildIndex {}

impl Work for CopyFiles {
    const MACHINE: &'static str = "copy_task";
}

impl Work for Compact {
    const MACHINE: &'static str = "compaction";
}

impl Work for BuildIndex {
    const MACHINE: &'static str = "index_build";
}

/// A bundle of files of one restore job.
pub type CopyTask = Task<CopyFiles>;
/// Files of one partition and shard that become fewer.
pub type Compaction = Task<Compact>;
/// One index of one segment.
pub type IndexBuild = Task<BuildIndex>;

/// How often a task is tried before it fails.
pub const ATTEMPTS_MAX: u32 = 5;

const BACKOFF_MS_MAX: i64 = 60_000;

/// How long a task rests after its `attempt`-th attempt: 1 s, doubled each time, at most 60 s.
#[must_use]
pub fn backoff_ms(attempt: u32) -> i64 {
    1_000_i64
        .checked_shl(attempt.saturating_sub(1))
        .filter(|ms| (1..BACKOFF_MS_MAX).contains(ms))
        .unwrap_or(BACKOFF_MS_MAX)
}

/// Where a task is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for a node.
    Pending {
        /// Not claimed before. Milliseconds since 1970.
        not_before_ms: i64,
    },
    /// A node works.
    InProgress {
        /// The node.
        node: NodeId,
        /// Until when the node is believed to be at work. Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// All of it is done, verified and visible.
    Completed,
    /// It is not tried again.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Another attempt would fail in the same way.
    Permanent {
        /// What the node said.
        message: String,
    },
    /// Every attempt failed.
    AttemptsUsedUp {
        /// What was said of the last one.
        message: String,
    },
    /// Nobody needs it any more.
    Aborted,
}

/// What can happen to a task. A worker comes to one verdict per claim and repeats it until it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// scheduler: a node has a free slot.
    Claim {
        /// The node.
        node: NodeId,
        /// Milliseconds since 1970.
        now_ms: i64,
        /// Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// worker: still at work.
    Heartbeat {
        /// Milliseconds since 1970.
        lease_until_ms: i64,
    },
    /// worker: everything is done and verified.
    Finish,
    /// worker: time-out, store overloaded, node shutting down.
    FailTransient {
        /// Milliseconds since 1970.
        now_ms: i64,
        /// What went wrong.
        message: String,
    },
    /// worker: source file missing, checksum differs, access denied.
    FailPermanent {
        /// What went wrong.
        message: String,
    },
    /// worker: it is about to end, and nothing of the claim runs any more.
    GiveBack {
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// inspector: no heartbeat until the lease ran out.
    LeaseExpired {
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// inspector: the node is known to be dead.
    NodeLost {
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// owner: the job is failing, or what the task works on is gone.
    Abort,
}

/// What happens with a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The node is told to start.
    Dispatch,
    /// The node is told to stop, should it still be there.
    Revoke,
    /// Wake whoever waits for the end of the task.
    WakeOwner,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task<W> {
    pub(crate) state: State,
    pub(crate) attempt: u32,
    pub(crate) generation: Generation,
    pub(crate) work: PhantomData<W>,
}

impl<W: Work> Default for Task<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Work> Task<W> {
    /// Name of this machine in messages and metrics.
    pub const MACHINE: &'static str = W::MACHINE;

    /// A new task, free to be claimed at once.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Pending { not_before_ms: 0 }, attempt: 0, generation: Generation(0), work: PhantomData }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Number of claims that were given, those aside that ended because their node was lost or gave them back.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What the holder of the present claim stamps its messages with.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What `event` does to this task. `stamp` is the generation that the sender holds; scheduler, inspector and
    /// checker read it with the row.
    pub fn step(&self, stamp: Generation, event: &Event) -> Step<Self, Effect> {
        use Effect::{Dispatch, Revoke, WakeOwner};
        use Event as E;
        use State as S;

        match stamp.cmp(&self.generation) {
            Ordering::Less => return Step::Fenced,       // TK-2
            Ordering::Greater => return self.bug(event), // nobody was ever given that generation
            Ordering::Equal => {}
        }

        match (&self.state, event) {
            (S::Pending { not_before_ms }, E::Claim { now_ms, .. }) if now_ms < not_before_ms => {
                Step::Refuse(Refusal::TooEarly { not_before_ms: *not_before_ms }) // TK-4
            }
            (S::Pending { .. }, E::Claim { node, lease_until_ms, .. }) => Step::Move(
                Self {
                    state: S::InProgress { node: node.clone(), lease_until_ms: *lease_until_ms },
                    attempt: self.attempt + 1,
                    generation: self.generation.next(), // TK-1
                    work: PhantomData,
                },
                vec![Dispatch],
            ),
            (S::Pending { .. }, E::Abort) => self.taken_back(S::Failed { reason: Reason::Aborted }, &[WakeOwner]),

            (S::InProgress { node, lease_until_ms: until }, E::Heartbeat { lease_until_ms }) => self.to(
                // TK-5
                S::InProgress { node: node.clone(), lease_until_ms: *until.max(lease_until_ms) },
                &[],
            ),
            (S::InProgress { .. }, E::Finish) => self.to(S::Completed, &[WakeOwner]),
            (S::InProgress { .. }, E::FailPermanent { message }) => {
                self.to(S::Failed { reason: Reason::Permanent { message: message.clone() } }, &[WakeOwner])
            }
            (S::InProgress { .. }, E::FailTransient { now_ms, message }) => self.try_again(*now_ms, message),
            (S::InProgress { lease_until_ms, .. }, E::LeaseExpired { now_ms }) if lease_until_ms <= now_ms => {
                self.try_again(*now_ms, "the node did not renew its lease")
            }
            (S::InProgress { .. }, E::NodeLost { now_ms } | E::GiveBack { now_ms }) => {
                let uncounted = Self { attempt: self.attempt.saturating_sub(1), ..self.clone() }; // TK-4
                uncounted.taken_back(S::Pending { not_before_ms: *now_ms }, &[])
            }
            (S::InProgress { .. }, E::Abort) => {
                self.taken_back(S::Failed { reason: Reason::Aborted }, &[Revoke, WakeOwner])
            }

            (S::Completed | S::Failed { .. }, E::Heartbeat { .. }) => Step::Fenced, // TK-7

            // The same report again, or an alarm about a task that is over.
            (S::Completed, E::Finish | E::LeaseExpired { .. } | E::NodeLost { .. } | E::Abort)
            | (S::Failed { .. }, E::FailPermanent { .. } | E::LeaseExpired { .. } | E::Abort)
            | (S::Failed { .. } | S::Pending { .. }, E::NodeLost { .. })
            | (S::Pending { .. } | S::InProgress { .. }, E::LeaseExpired { .. }) => Step::Repeat,
            // TK-3. A claim whose answer was lost is sent again, and may be worked on twice: the first verdict counts.
            (S::Completed, E::FailTransient { .. } | E::FailPermanent { .. } | E::GiveBack { .. })
            | (S::Failed { .. }, E::Finish | E::FailTransient { .. } | E::GiveBack { .. }) => Step::Repeat,

            (
                S::Pending { .. },
                E::Heartbeat { .. }
                | E::Finish
                | E::FailTransient { .. }
                | E::FailPermanent { .. }
                | E::GiveBack { .. },
            )
            | (S::InProgress { .. } | S::Completed | S::Failed { .. }, E::Claim { .. }) => self.bug(event),
        }
    }

    fn try_again(&self, now_ms: i64, message: &str) -> Step<Self, Effect> {
        if self.attempt < ATTEMPTS_MAX {
            let not_before_ms = now_ms.saturating_add(backoff_ms(self.attempt));
            return self.taken_back(State::Pending { not_before_ms }, &[Effect::Revoke]);
        }
        let reason = Reason::AttemptsUsedUp { message: message.to_owned() };
        self.taken_back(State::Failed { reason }, &[Effect::Revoke, Effect::WakeOwner])
    }

    fn taken_back(&self, state: State, effects: &[Effect]) -> Step<Self, Effect> {
        Step::Move(Self { state, generation: self.generation.next(), ..*self }, effects.to_vec()) // TK-1
    }

    fn to(&self, state: State, effects: &[Effect]) -> Step<Self, Effect> {
        Step::Move(Self { state, ..*self }, effects.to_vec())
    }

    fn bug(&self, event: &Event) -> Step<Self, Effect> {
        Step::Refuse(Refusal::Bug { machine: W::MACHINE, state: self.label(), event: event.name() })
    }

    /// The state's name in the metadata store.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.state.label()
    }

    /// What the row of this task holds of its state.
    #[must_use]
    pub fn columns(&self) -> Columns {
        let columns = Columns {
            state: self.label().to_owned(),
            attempt: i64::from(self.attempt),
            generation: self.generation.0,
            ..Columns::default()
        };
        match &self.state {
            State::Pending { not_before_ms } => Columns { not_before_ms: Some(*not_before_ms), ..columns },
            State::InProgress { node, lease_until_ms } => {
                Columns { node: Some(node.0.clone()), lease_until_ms: Some(*lease_until_ms), ..columns }
            }
            State::Completed => columns,
            State::Failed { reason } => Columns {
                reason: Some(reason.label().to_owned()),
                message: reason.message().map(str::to_owned),
                ..columns
            },
        }
    }

    /// The task of a row.
    ///
    /// # Errors
    /// When [`Task::columns`] could not have given these columns.
    pub fn from_columns(columns: &Columns) -> Result<Self, CorruptRow> {
        let corrupt = || CorruptRow { machine: W::MACHINE, why: format!("{columns:?}") };
        let state = match columns.state.as_str() {
            "pending" => columns.not_before_ms.map(|not_before_ms| State::Pending { not_before_ms }),
            "in_progress" => columns
                .node
                .clone()
                .zip(columns.lease_until_ms)
                .map(|(node, lease_until_ms)| State::InProgress { node: NodeId(node), lease_until_ms }),
            "completed" => Some(State::Completed),
            "failed" => columns
                .reason
                .as_deref()
                .and_then(|reason| Reason::from_columns(reason, columns.message.as_deref()))
                .map(|reason| State::Failed { reason }),
            _ => None,
        };
        let attempt = u32::try_from(columns.attempt).map_err(|_| corrupt())?;
        state
            .map(|state| Self { state, attempt, generation: Generation(columns.generation), work: PhantomData })
            .filter(|task| task.columns() == *columns && columns.generation >= columns.attempt) // TK-1
            .ok_or_else(corrupt)
    }
}

impl Reason {
    fn message(&self) -> Option<&str> {
        match self {
            Self::Permanent { message } | Self::AttemptsUsedUp { message } => Some(message),
            Self::Aborted => None,
        }
    }

    fn from_columns(label: &str, message: Option<&str>) -> Option<Self> {
        match (label, message.map(str::to_owned)) {
            ("permanent", Some(message)) => Some(Self::Permanent { message }),
            ("attempts_used_up", Some(message)) => Some(Self::AttemptsUsedUp { message }),
            ("aborted", None) => Some(Self::Aborted),
            _ => None,
        }
    }
}

labels!(State {
    Self::Pending { .. } => "pending",
    Self::InProgress { .. } => "in_progress",
    Self::Completed => "completed",
    Self::Failed { .. } => "failed",
});

labels!(Reason {
    Self::Permanent { .. } => "permanent",
    Self::AttemptsUsedUp { .. } => "attempts_used_up",
    Self::Aborted => "aborted",
});

labels!(Effect {
    Self::Dispatch => "dispatch",
    Self::Revoke => "revoke",
    Self::WakeOwner => "wake_owner",
});

events!(Event {
    Self::Claim { .. } => ("claim", "scheduler"),
    Self::Heartbeat { .. } => ("heartbeat", "worker"),
    Self::Finish => ("finish", "worker"),
    Self::FailTransient { .. } => ("fail_transient", "worker"),
    Self::FailPermanent { .. } => ("fail_permanent", "worker"),
    Self::GiveBack { .. } => ("give_back", "worker"),
    Self::LeaseExpired { .. } => ("lease_expired", "inspector"),
    Self::NodeLost { .. } => ("node_lost", "inspector"),
    Self::Abort => ("abort", "owner"),
});

/// The columns of a task's row that its state has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the same name in the state that has it")]
pub struct Columns {
    pub state: String,
    pub attempt: i64,
    pub generation: i64,
    pub not_before_ms: Option<i64>,
    pub node: Option<String>,
    pub lease_until_ms: Option<i64>,
    pub reason: Option<String>,
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::every_world;

    const LEASE: i64 = 50;
    const LATER: i64 = 1_000_000;

    fn claim(now_ms: i64) -> Event {
        Event::Claim { node: NodeId("n".into()), now_ms, lease_until_ms: LEASE }
    }

    fn verdicts() -> [Event; 4] {
        [
            Event::GiveBack { now_ms: 0 },
            Event::Finish,
            Event::FailTransient { now_ms: 0, message: "time-out".into() },
            Event::FailPermanent { message: "missing".into() },
        ]
    }

    /// Who was given a generation.
    #[derive(Clone, PartialEq, Eq, Hash)]
    enum Holder {
        /// No worker: scheduler, inspector and checker may have read it.
        Nobody,
        /// A worker, and the one verdict that it came to. Forgotten once the claim is lost: that worker may say anything.
        Worker { verdict: Option<Event> },
    }

    /// A task, and the holder of generation `i` at place `i`.
    type World<W> = (Task<W>, Vec<Holder>);

    /// Everything that anybody may send: any message of any holder, also of one who lost its claim long ago.
    fn mail<W: Work>((task, holders): &World<W>) -> Vec<(usize, Event)> {
        let mut mail = vec![];
        // What does not count as an attempt is two more generations, without end: a few of them stand for all.
        let uncounted_too = holders.len() <= 2 * ATTEMPTS_MAX as usize;
        for (stamp, holder) in holders.iter().enumerate() {
            mail.extend([LEASE - 1, LEASE].map(|now_ms| (stamp, Event::LeaseExpired { now_ms })));
            mail.push((stamp, Event::Abort));
            if uncounted_too {
                mail.push((stamp, Event::NodeLost { now_ms: 0 }));
            }
            let was_pending = stamp < holders.len() - 1 || task.label() == "pending";
            match holder {
                Holder::Nobody if was_pending => mail.extend([0, LATER].map(|now_ms| (stamp, claim(now_ms)))),
                Holder::Nobody => {}
                Holder::Worker { verdict } => {
                    mail.extend([LEASE - 1, LEASE].map(|lease| (stamp, Event::Heartbeat { lease_until_ms: lease })));
                    let may_say = verdict.clone().map_or(verdicts().to_vec(), |verdict| vec![verdict]);
                    let may_say = may_say.into_iter().filter(|event| uncounted_too || event.name() != "give_back");
                    mail.extend(may_say.map(|event| (stamp, event)));
                }
            }
        }
        mail
    }

    fn deliver<W: Work>((before, holders): &World<W>, stamp: usize, event: &Event) -> World<W> {
        let mut holders = holders.clone();
        let held = holders.len();
        if let Holder::Worker { verdict } = &mut holders[stamp]
            && stamp + 1 == held
            && verdicts().contains(event)
        {
            *verdict = Some(event.clone());
        }
        let stamp = Generation(i64::try_from(stamp).unwrap());
        match before.step(stamp, event) {
            Step::Refuse(why) => assert!(matches!(why, Refusal::TooEarly { .. }), "TK-6: {before:?}: {why}"),
            Step::Fenced if matches!(event, Event::Heartbeat { .. }) => {
                let ended = matches!(before.state(), State::Completed | State::Failed { .. });
                assert!(stamp < before.generation() || ended, "TK-2, TK-7");
            }
            Step::Fenced => assert!(stamp < before.generation(), "TK-2"),
            Step::Repeat => {}
            Step::Move(after, _) => {
                check(before, stamp, event, &after);
                if after.generation() != before.generation() {
                    if let Some(Holder::Worker { verdict }) = holders.last_mut() {
                        *verdict = None;
                    }
                    holders.push(match event {
                        Event::Claim { .. } => Holder::Worker { verdict: None },
                        _ => Holder::Nobody,
                    });
                }
                return (after, holders);
            }
        }
        (before.clone(), holders)
    }

    fn check<W: Work>(before: &Task<W>, stamp: Generation, event: &Event, after: &Task<W>) {
        assert!(!matches!(before.state(), State::Completed | State::Failed { .. }), "TK-3: {before:?} <- {event:?}");
        assert_eq!(stamp, before.generation(), "TK-2");
        let worker = |task: &Task<W>| task.label() == "in_progress";
        let ended_by_its_holder = matches!(event, Event::Finish | Event::FailPermanent { .. });
        if worker(before) != worker(after) && !ended_by_its_holder {
            assert_eq!(after.generation(), before.generation().next(), "TK-1: {before:?} <- {event:?}");
        }
        assert!(after.attempt() <= ATTEMPTS_MAX, "TK-4");
        if let (State::InProgress { .. }, State::InProgress { lease_until_ms, .. }) = (before.state(), after.state()) {
            assert_eq!(*lease_until_ms, LEASE, "TK-5");
        }
        if let (State::Pending { not_before_ms }, Event::Claim { now_ms, .. }) = (before.state(), event) {
            assert!(now_ms >= not_before_ms, "TK-4");
        }
        assert_eq!(Task::from_columns(&after.columns()).as_ref(), Ok(after));
    }

    #[test]
    fn tk_1_to_7_no_order_of_messages_breaks_the_invariants() {
        walk::<CopyFiles>();
        walk::<Compact>();
        walk::<BuildIndex>();
    }

    fn walk<W: Work>() {
        let mut used_up = 0;
        let worlds = every_world([(Task::<W>::new(), vec![Holder::Nobody])], |world| {
            used_up += i32::from(matches!(world.0.state(), State::Failed { reason: Reason::AttemptsUsedUp { .. } }));
            mail(world).iter().map(|(stamp, event)| deliver(world, *stamp, event)).collect()
        });
        assert!(worlds > 100, "{worlds}");

        assert!(used_up > 0);
    }

    #[test]
    fn tk_2_a_worker_that_lost_its_claim_is_fenced() {
        let moved = |step| match step {
            Step::Move(task, _) => task,
            other => panic!("{other:?}"),
        };
        let claimed: CopyTask = moved(CopyTask::new().step(Generation(0), &claim(0)));
        assert_eq!(claimed.step(Generation(0), &claim(0)), Step::Fenced, "two schedulers read the same row");
        let lost = moved(claimed.step(Generation(1), &Event::LeaseExpired { now_ms: LEASE }));
        for event in verdicts() {
            assert_eq!(lost.step(Generation(1), &event), Step::Fenced);
        }
        let again = moved(lost.step(Generation(2), &claim(LATER)));
        assert_eq!(again.step(Generation(1), &Event::Finish), Step::Fenced);
        assert_eq!(moved(again.step(Generation(3), &Event::Finish)).label(), "completed");
    }

    #[test]
    fn tk_3_tk_6_of_a_claim_that_is_worked_on_twice_the_first_verdict_counts() {
        let Step::Move(claimed, _) = CopyTask::new().step(Generation(0), &claim(0)) else { panic!("not claimed") };
        for first in [Event::Finish, Event::FailPermanent { message: "missing".into() }] {
            let Step::Move(ended, _) = claimed.step(claimed.generation(), &first) else { panic!("{first:?}") };
            for second in verdicts() {
                assert_eq!(ended.step(ended.generation(), &second), Step::Repeat, "{first:?}, then {second:?}");
            }
        }
    }

    #[test]
    fn tk_7_an_order_that_arrives_after_its_claim_has_ended_is_not_confirmed() {
        let Step::Move(claimed, _) = CopyTask::new().step(Generation(0), &claim(0)) else { panic!("not claimed") };
        let beat = Event::Heartbeat { lease_until_ms: LATER };
        assert!(matches!(claimed.step(claimed.generation(), &beat), Step::Move(..)));
        for last in [Event::Finish, Event::FailPermanent { message: "missing".into() }, Event::Abort] {
            let Step::Move(ended, _) = claimed.step(claimed.generation(), &last) else { panic!("{last:?}") };
            assert_eq!(ended.step(claimed.generation(), &beat), Step::Fenced, "{last:?}");
        }
    }

    #[test]
    fn tk_4_a_task_survives_any_number_of_lost_nodes() {
        let mut task = CopyTask::new();
        for _ in 0..3 * ATTEMPTS_MAX {
            for end in [Event::NodeLost { now_ms: LATER }, Event::GiveBack { now_ms: LATER }] {
                for event in [claim(LATER), end] {
                    let Step::Move(next, _) = task.step(task.generation(), &event) else { panic!("{event:?}") };
                    task = next;
                }
            }
        }
        assert_eq!((task.attempt(), task.label()), (0, "pending"));
        assert_eq!(task.generation(), Generation(i64::from(12 * ATTEMPTS_MAX)));
    }

    #[test]
    fn tk_4_the_back_off_doubles_up_to_a_minute() {
        let backoffs: Vec<i64> = (1..=8).map(backoff_ms).collect();
        assert_eq!(backoffs, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!([backoff_ms(0), backoff_ms(60), backoff_ms(u32::MAX)], [1_000, 60_000, 60_000]);
    }

    #[test]
    fn a_row_that_no_task_wrote_is_corrupt() {
        let row = |state: &str| Columns { state: state.into(), attempt: 1, generation: 1, ..Columns::default() };
        assert!(CopyTask::from_columns(&row("completed")).is_ok());
        for wrong in [
            row("Completed"),
            row("pending"),
            row("in_progress"),
            row("failed"),
            Columns { attempt: -1, ..row("completed") },
            Columns { attempt: 2, ..row("completed") },
            Columns { node: Some("n".into()), ..row("completed") },
            Columns { reason: Some("permanent".into()), ..row("failed") },
            Columns { reason: Some("aborted".into()), message: Some("x".into()), ..row("failed") },
        ] {
            assert!(CopyTask::from_columns(&wrong).is_err(), "{wrong:?}");
        }
    }
}
