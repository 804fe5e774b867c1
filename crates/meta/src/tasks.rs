//! Tasks that workers claim: copy tasks, compactions and index builds. Every change of a row's state is a step of
//! `elanus_lifecycle::task`, written by [`write_move`]. What is special about a kind is in a module of its own; workers,
//! scheduler and inspector see tasks of any kind.

mod copy;

pub(crate) use copy::{NewTask, abort_of_job, insert};

use crate::db::{Tx, args};
use crate::error::Result;
use crate::history::{Told, tell};
use crate::machines::{concerns_one, readable};
use crate::model::{Answer, Assignment, Revoked, TaskMessage, TaskOwner, TaskRecord};
use crate::rows::traceparent;
use crate::{Coordinator, Meta, compactions, index_builds};
use elanus_lifecycle::Step;
use elanus_lifecycle::task::{Columns, Effect, Event, State, Task, Work};
use elanus_trace::TraceParent;
use elanus_types::{Generation, NodeId, TaskId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Tasks with what [`TaskRow`] holds; `$owner` is the column that says whose they are.
macro_rules! select_tasks {
    ($owner:literal, $rest:literal) => {
        concat!(
            "SELECT t.task_id, ",
            $owner,
            " AS owner_id, t.state, t.attempt, t.generation, t.worker, t.lease_until_ms, \
             t.not_before_ms, t.reason, t.message FROM ",
            $rest
        )
    };
}
pub(crate) use select_tasks;

const KIND_OF: &str = "
SELECT (SELECT COUNT(*) FROM copy_tasks WHERE task_id = $1) AS is_copy,
       (SELECT COUNT(*) FROM index_builds WHERE task_id = $1) AS is_build";

/// What a task does.
enum Kind {
    Copy,
    Compaction,
    IndexBuild,
}

/// A kind of task with its table.
pub(crate) trait Tasks: Work {
    /// All columns of the machine, of a row that still is as it was read.
    const UPDATE: &'static str;

    /// Whose a task is.
    fn owner(id: i64) -> TaskOwner;
}

/// A task as its row says.
pub(crate) struct TaskRow<W> {
    pub(crate) id: TaskId,
    pub(crate) owner_id: i64,
    pub(crate) machine: Task<W>,
    /// The request that it is part of.
    pub(crate) traceparent: Option<TraceParent>,
}

impl Meta {
    /// Tasks that wait for a worker and may be tried now, at most `limit` of a kind. Jobs take turns, and collections that
    /// are compacted do (O-1).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn pending_tasks(&self, limit: u32) -> Result<Vec<TaskRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let copies = tx.all(copy::PENDING, args![now_ms, i64::from(limit)]).await?;
        let compactions = tx.all(compactions::PENDING, args![now_ms, i64::from(limit)]).await?;
        let builds = tx.all(index_builds::PENDING, args![now_ms, i64::from(limit)]).await?;
        records(&copies, &compactions, &builds)
    }

    /// Tasks that are with a worker.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn in_progress_tasks(&self) -> Result<Vec<TaskRecord>> {
        let mut tx = self.db.read().await?;
        let copies = tx.all(copy::IN_PROGRESS, args![]).await?;
        let compactions = tx.all(compactions::IN_PROGRESS, args![]).await?;
        let builds = tx.all(index_builds::IN_PROGRESS, args![]).await?;
        records(&copies, &compactions, &builds)
    }
}

fn records(copies: &[AnyRow], compactions: &[AnyRow], builds: &[AnyRow]) -> Result<Vec<TaskRecord>> {
    let mut records = readable(copies, copy::record)?;
    records.extend(readable(compactions, compactions::record)?);
    records.extend(readable(builds, index_builds::record)?);
    Ok(records)
}

impl Coordinator {
    /// Gives a task to a worker; `None` when another claim, or the end of what it is for, came first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn claim_task(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        lease_until_ms: i64,
    ) -> Result<Option<Assignment>> {
        match self.kind_of(id).await? {
            Kind::Copy => Ok(self.claim_copy(id, generation, node, lease_until_ms).await?.flatten()),
            Kind::Compaction => self.claim_compaction(id, generation, node, lease_until_ms).await,
            Kind::IndexBuild => self.claim_index_build(id, generation, node, lease_until_ms).await,
        }
    }

    /// What a task's worker was given, to be sent to it again; `None` when the task is with no worker.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn assignment(&self, id: TaskId) -> Result<Option<Assignment>> {
        match self.copy_assignment(id).await? {
            Some(assignment) => Ok(Some(assignment)),
            None => match self.compaction_assignment(id).await? {
                Some(assignment) => Ok(Some(assignment)),
                None => self.index_build_assignment(id).await,
            },
        }
    }

    /// What the worker of one claim says. The same message again is accepted again.
    ///
    /// # Errors
    /// When the store is away, or the task cannot end yet: then the worker says it again.
    pub async fn report_task(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        message: TaskMessage,
    ) -> Result<Answer> {
        if let Some(answer) = self.report_copy(id, generation, node, &message).await? {
            return Ok(answer);
        }
        match self.kind_of(id).await? {
            Kind::IndexBuild => self.report_index_build(id, generation, node, &message).await,
            Kind::Copy | Kind::Compaction => self.report_compaction(id, generation, node, &message).await,
        }
    }

    /// Ids are of one sequence: a task is of one kind. One that is forgotten counts as a compaction, and is none.
    async fn kind_of(&self, id: TaskId) -> Result<Kind> {
        let mut tx = self.meta().db.read().await?;
        let row = tx.one(KIND_OF, args![id.0]).await?;
        Ok(match (row.try_get::<i64, _>("is_copy")?, row.try_get::<i64, _>("is_build")?) {
            (0, 0) => Kind::Compaction,
            (0, _) => Kind::IndexBuild,
            (_, _) => Kind::Copy,
        })
    }

    /// Takes tasks back whose worker let its lease run out: they are tried again after a rest, or fail.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expire_tasks(&self) -> Result<Vec<Revoked>> {
        let now_ms = self.meta().clock().now_ms();
        self.take_back(&Event::LeaseExpired { now_ms }, |_, lease_until_ms| lease_until_ms <= now_ms).await
    }

    /// Takes back every task that is not with one of these workers.
    pub(crate) async fn take_back_from_others(&self, alive: &[NodeId]) -> Result<u64> {
        let now_ms = self.meta().clock().now_ms();
        let revoked = self.take_back(&Event::NodeLost { now_ms }, |node, _| !alive.contains(node)).await?;
        Ok(u64::try_from(revoked.len()).unwrap_or(u64::MAX))
    }

    async fn take_back(&self, event: &Event, wanted: impl Fn(&NodeId, i64) -> bool) -> Result<Vec<Revoked>> {
        let mut revoked = vec![];
        for task in self.meta().in_progress_tasks().await? {
            let Some((node, lease_until_ms)) = task.worker.as_ref().zip(task.lease_until_ms) else { continue };
            if !wanted(node, lease_until_ms) {
                continue;
            }
            let taken = match task.owner {
                TaskOwner::Job(_) => self.take_back_copy(task.id, task.generation, event).await,
                TaskOwner::Collection(_) => self.take_back_compaction(task.id, task.generation, event).await,
                TaskOwner::Index(_) => self.take_back_index_build(task.id, task.generation, event).await,
            };
            match taken {
                Ok(one) => revoked.extend(one),
                Err(error) if concerns_one(&error) => tracing::error!(task = task.id.0, %error, "cannot be taken back"),
                Err(error) => return Err(error),
            }
        }
        Ok(revoked)
    }
}

impl TaskMessage {
    /// What it is to the machine.
    pub(crate) fn event(&self, now_ms: i64) -> Event {
        match self {
            Self::Heartbeat { lease_until_ms, .. } => Event::Heartbeat { lease_until_ms: *lease_until_ms },
            Self::Finished | Self::Compacted(_) | Self::Indexed(_) => Event::Finish,
            Self::GivenBack => Event::GiveBack { now_ms },
            Self::FailedTransient { reason, .. } => Event::FailTransient { now_ms, message: reason.clone() },
            Self::FailedPermanent { reason, .. } => Event::FailPermanent { message: reason.clone() },
        }
    }
}

/// Steps a task that is locked, and writes and tells what the step returned.
pub(crate) async fn write_move<W: Tasks>(
    tx: &mut Tx,
    row: &TaskRow<W>,
    stamp: Generation,
    event: &Event,
) -> Result<Step<Task<W>, Effect>> {
    let step = row.machine.step(stamp, event);
    let Step::Move(after, _) = &step else { return Ok(step) };
    let columns = after.columns();
    let arguments = args![
        columns.state,
        columns.attempt,
        columns.generation,
        columns.node,
        columns.lease_until_ms,
        columns.not_before_ms,
        columns.reason,
        columns.message,
        row.id.0,
        row.machine.label().to_owned(),
        row.machine.generation().0
    ];
    tx.execute_exactly(1, "the task", W::UPDATE, arguments).await?;
    if after.label() != row.machine.label() {
        let told = Told {
            machine: Task::<W>::MACHINE,
            id: row.id.0,
            event: event.name(),
            from: row.machine.label(),
            to: after.label(),
            detail: detail(row, after),
        };
        tell(tx, "task", &told).await?;
    }
    Ok(step)
}

/// Until when a worker that loses its claim by `event` may still send bytes: an aborted one stops when its lease is over.
pub(crate) fn until_stopped(event: &Event, now_ms: i64, lease_until_ms: i64) -> i64 {
    match event {
        Event::Abort => now_ms.max(lease_until_ms),
        _ => now_ms,
    }
}

fn detail<W: Work>(before: &TaskRow<W>, after: &Task<W>) -> String {
    let generation = after.generation();
    match (before.machine.state(), after.state()) {
        (_, State::InProgress { node, .. }) => format!("generation {generation}, node {node}"),
        (_, State::Failed { reason }) => format!("generation {generation}, {reason:?}"),
        (State::InProgress { node, .. }, _) => format!("generation {generation}, was with node {node}"),
        _ => format!("generation {generation}"),
    }
}

impl<W: Tasks> TaskRow<W> {
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        let columns = Columns {
            state: row.try_get("state")?,
            attempt: row.try_get("attempt")?,
            generation: row.try_get("generation")?,
            not_before_ms: row.try_get("not_before_ms")?,
            node: row.try_get("worker")?,
            lease_until_ms: row.try_get("lease_until_ms")?,
            reason: row.try_get("reason")?,
            message: row.try_get("message")?,
        };
        Ok(Self {
            id: TaskId(row.try_get("task_id")?),
            owner_id: row.try_get("owner_id")?,
            machine: Task::from_columns(&columns)?,
            traceparent: traceparent(row)?,
        })
    }

    pub(crate) fn owner(&self) -> TaskOwner {
        W::owner(self.owner_id)
    }

    /// False when another node has the claim.
    pub(crate) fn may_be_held_by(&self, node: &NodeId) -> bool {
        match self.machine.state() {
            State::InProgress { node: holder, .. } => holder == node,
            State::Pending { .. } | State::Completed | State::Failed { .. } => true,
        }
    }

    pub(crate) fn record(&self) -> TaskRecord {
        let (worker, lease_until_ms) = match self.machine.state() {
            State::InProgress { node, lease_until_ms } => (Some(node.clone()), Some(*lease_until_ms)),
            State::Pending { .. } | State::Completed | State::Failed { .. } => (None, None),
        };
        TaskRecord {
            id: self.id,
            owner: self.owner(),
            state: self.machine.label(),
            attempt: self.machine.attempt(),
            generation: self.machine.generation(),
            worker,
            lease_until_ms,
            traceparent: self.traceparent.clone(),
        }
    }

    /// The claim that this row, as it was read, had.
    pub(crate) fn revoked(&self) -> Option<Revoked> {
        match self.machine.state() {
            State::InProgress { node, .. } => {
                Some(Revoked { task: self.id, generation: self.machine.generation(), worker: node.clone() })
            }
            State::Pending { .. } | State::Completed | State::Failed { .. } => None,
        }
    }
}
