//! Copy tasks: bounded bundles of files of a restore job, given to one worker at a time. Every change of a row's state is
//! a step of `elanus_lifecycle::task`, written by [`move_task`].
//!
//! Each claim gets file sets and keys of its own, so that a worker that lost its claim can never write, or have deleted,
//! an object of the next one. When a claim is taken back, its file sets are abandoned in the same transaction.
//! Where both are locked, the job's row comes before those of its tasks.

mod claim;

use crate::db::{Tx, add, args};
use crate::error::Result;
use crate::file_sets::{self, Abandon};
use crate::history::{Told, tell};
use crate::machines::{concerns_one, readable, refused};
use crate::model::{Answer, FileError, Revoked, TaskMessage, TaskRecord};
use crate::rows::bigint;
use crate::{Coordinator, Meta, restore};
use elanus_lifecycle::CopyTask;
use elanus_lifecycle::Step;
use elanus_lifecycle::task::{Columns, Effect, Event, State};
use elanus_types::{Generation, JobId, NodeId, TaskId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Tasks with what [`TaskRow`] holds.
macro_rules! select_tasks {
    ($rest:literal) => {
        concat!(
            "SELECT t.task_id, t.job_id, t.state, t.attempt, t.generation, t.worker, t.lease_until_ms, \
             t.not_before_ms, t.reason, t.message FROM ",
            $rest
        )
    };
}

/// A task as its row says.
struct TaskRow {
    id: TaskId,
    job: JobId,
    machine: CopyTask,
}

/// A task that a plan makes.
pub(crate) struct NewTask {
    pub(crate) id: TaskId,
    /// Objects to copy.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Meta {
    /// Tasks that wait for a worker and may be tried now; jobs take turns (O-1).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn pending_tasks(&self, limit: u32) -> Result<Vec<TaskRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let rows = tx
            .all(
                select_tasks!(
                    "(SELECT p.*, ROW_NUMBER() OVER (PARTITION BY p.job_id ORDER BY p.task_id) AS turn \
                     FROM copy_tasks p WHERE p.state = 'pending' AND p.not_before_ms <= $1) t \
                     ORDER BY t.turn, t.job_id LIMIT $2"
                ),
                args![now_ms, i64::from(limit)],
            )
            .await?;
        readable(&rows, |row| Ok(TaskRow::read(row)?.record()))
    }

    /// Tasks that are with a worker.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn in_progress_tasks(&self) -> Result<Vec<TaskRecord>> {
        let mut tx = self.db.read().await?;
        let rows =
            tx.all(select_tasks!("copy_tasks t WHERE t.state = 'in_progress' ORDER BY t.task_id"), args![]).await?;
        readable(&rows, |row| Ok(TaskRow::read(row)?.record()))
    }
}

impl Coordinator {
    /// What the worker of one claim says. The same message again is accepted again.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn report_task(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        message: TaskMessage,
    ) -> Result<Answer> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let Some(job) = restore::lock_of_task(&mut tx, id).await? else { return Ok(Answer::Fenced) };
        let Some(row) = locked(&mut tx, id).await? else { return Ok(Answer::Fenced) };
        if let State::InProgress { node: holder, .. } = row.machine.state()
            && holder != node
        {
            return Ok(Answer::Fenced);
        }
        let event = match &message {
            TaskMessage::Heartbeat { lease_until_ms, .. } => Event::Heartbeat { lease_until_ms: *lease_until_ms },
            TaskMessage::Finished => Event::Finish,
            TaskMessage::GivenBack => Event::GiveBack { now_ms },
            TaskMessage::FailedTransient { reason, .. } => Event::FailTransient { now_ms, message: reason.clone() },
            TaskMessage::FailedPermanent { reason, .. } => Event::FailPermanent { message: reason.clone() },
        };
        match move_task(&mut tx, &row, generation, &event).await? {
            Step::Move(..) => {}
            Step::Repeat => return Ok(Answer::Accepted),
            Step::Fenced => return Ok(Answer::Fenced),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        match message {
            TaskMessage::Heartbeat { files_done, bytes_done, .. } => {
                advance(&mut tx, id, files_done, bytes_done).await?;
            }
            TaskMessage::Finished => finish(&mut tx, id).await?,
            TaskMessage::GivenBack => {}
            TaskMessage::FailedTransient { reason, files } | TaskMessage::FailedPermanent { reason, files } => {
                record_errors(&mut tx, &row, &reason, files).await?;
            }
        }
        restore::advance(&mut tx, &job).await?;
        tx.commit().await?;
        Ok(Answer::Accepted)
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
            match self.take_back_one(task.id, task.generation, event).await {
                Ok(one) => revoked.extend(one),
                Err(error) if concerns_one(&error) => tracing::error!(task = task.id.0, %error, "cannot be taken back"),
                Err(error) => return Err(error),
            }
        }
        Ok(revoked)
    }

    async fn take_back_one(&self, id: TaskId, generation: Generation, event: &Event) -> Result<Option<Revoked>> {
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        match move_task(&mut tx, &row, generation, event).await? {
            Step::Move(..) => {}
            Step::Repeat | Step::Fenced => return Ok(None),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        record_errors(&mut tx, &row, "the worker fell silent or was lost", Vec::new()).await?;
        tx.commit().await?;
        Ok(row.revoked())
    }
}

/// Inserts the tasks of a plan.
pub(crate) async fn insert(tx: &mut Tx, job: JobId, tasks: &[NewTask]) -> Result<()> {
    let machine = CopyTask::new();
    tx.insert_many(
        "INSERT INTO copy_tasks (task_id, job_id, state, attempt, generation, not_before_ms, files_total, bytes_total)",
        8,
        tasks,
        |arguments, task| {
            let columns = machine.columns();
            add(arguments, task.id.0);
            add(arguments, job.0);
            add(arguments, columns.state);
            add(arguments, columns.attempt);
            add(arguments, columns.generation);
            add(arguments, columns.not_before_ms);
            add(arguments, bigint(task.files));
            add(arguments, bigint(task.bytes));
        },
    )
    .await
}

/// Aborts every task of a job that is not over, in the transaction that makes the job fail; which workers had one.
pub(crate) async fn abort_of_job(tx: &mut Tx, job: JobId) -> Result<Vec<Revoked>> {
    let rows = tx
        .all(
            select_tasks!(
                "copy_tasks t WHERE t.job_id = $1 AND t.state IN ('pending', 'in_progress') \
                 ORDER BY t.task_id /*FOR UPDATE*/"
            ),
            args![job.0],
        )
        .await?;
    let mut revoked = vec![];
    for row in &rows {
        let row = TaskRow::read(row)?;
        match move_task(tx, &row, row.machine.generation(), &Event::Abort).await? {
            Step::Move(..) => revoked.extend(row.revoked()),
            Step::Repeat | Step::Fenced => {}
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
    }
    Ok(revoked)
}

/// Steps a task that is locked, and writes what the step returned.
async fn move_task(tx: &mut Tx, row: &TaskRow, stamp: Generation, event: &Event) -> Result<Step<CopyTask, Effect>> {
    let step = row.machine.step(stamp, event);
    let Step::Move(after, effects) = &step else { return Ok(step) };
    let columns = after.columns();
    tx.execute_exactly(
        1,
        "the copy task",
        "UPDATE copy_tasks SET state = $1, attempt = $2, generation = $3, worker = $4, lease_until_ms = $5, \
         not_before_ms = $6, reason = $7, message = $8 \
         WHERE task_id = $9 AND state = $10 AND generation = $11",
        args![
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
        ],
    )
    .await?;
    if after.label() == row.machine.label() {
        return Ok(step);
    }
    match (row.machine.state(), after.state()) {
        (State::Pending { .. }, State::InProgress { .. }) => {
            tx.execute("UPDATE copy_tasks SET files_done = 0, bytes_done = 0 WHERE task_id = $1", args![row.id.0])
                .await?;
        }
        (State::InProgress { lease_until_ms, .. }, State::Pending { .. } | State::Failed { .. }) => {
            // An aborted worker may still be sending bytes: it stops when its lease is over.
            let not_before_ms = match event {
                Event::Abort => tx.now_ms.max(*lease_until_ms),
                _ => tx.now_ms,
            };
            file_sets::abandon(tx, Abandon::Task(row.id), not_before_ms).await?;
        }
        _ => {}
    }
    let told = Told {
        machine: CopyTask::MACHINE,
        id: row.id.0,
        event: event.name(),
        from: row.machine.label(),
        to: after.label(),
        detail: detail(row, after),
    };
    tell(tx, "task", &told).await?;
    if effects.contains(&Effect::WakeOwner) {
        let subject = format!("restore.{}", row.job);
        let dedup_key = format!("{subject}.task.{}.{}", row.id, after.generation());
        tx.announce(subject, dedup_key, "{}".to_owned()).await?;
    }
    Ok(step)
}

/// Keeps what went wrong in the claim that `row` had: a line a file, or one line where no file is named.
async fn record_errors(tx: &mut Tx, row: &TaskRow, reason: &str, files: Vec<FileError>) -> Result<()> {
    let mut lines: Vec<(Option<String>, String)> =
        files.into_iter().map(|file| (Some(file.key), file.reason)).collect();
    if lines.is_empty() {
        lines.push((None, reason.to_owned()));
    }
    let first = tx.allocate_ids(u32::try_from(lines.len()).unwrap_or(u32::MAX)).await?;
    let (now_ms, generation) = (tx.now_ms, row.machine.generation());
    tx.insert_many(
        "INSERT INTO copy_errors (error_id, job_id, task_id, generation, at_ms, object_key, reason)",
        7,
        (first..).zip(lines),
        |arguments, (id, (key, reason))| {
            add(arguments, id);
            add(arguments, row.job.0);
            add(arguments, row.id.0);
            add(arguments, generation.0);
            add(arguments, now_ms);
            add(arguments, key);
            add(arguments, reason);
        },
    )
    .await
}

fn detail(before: &TaskRow, after: &CopyTask) -> String {
    let generation = after.generation();
    match (before.machine.state(), after.state()) {
        (_, State::InProgress { node, .. }) => format!("generation {generation}, node {node}"),
        (_, State::Failed { reason }) => format!("generation {generation}, {reason:?}"),
        (State::InProgress { node, .. }, _) => format!("generation {generation}, was with node {node}"),
        _ => format!("generation {generation}"),
    }
}

/// What a worker has copied in its claim; a report that was overtaken changes nothing.
async fn advance(tx: &mut Tx, id: TaskId, files_done: u64, bytes_done: u64) -> Result<()> {
    tx.execute(
        "UPDATE copy_tasks SET \
         files_done = CASE WHEN $2 <= files_done THEN files_done WHEN $2 > files_total THEN files_total ELSE $2 END, \
         bytes_done = CASE WHEN $3 <= bytes_done THEN bytes_done WHEN $3 > bytes_total THEN bytes_total ELSE $3 END \
         WHERE task_id = $1",
        args![id.0, bigint(files_done), bigint(bytes_done)],
    )
    .await
    .map(|_| ())
}

/// Everything is copied; what was verified against the source is recorded of the target's objects.
async fn finish(tx: &mut Tx, id: TaskId) -> Result<()> {
    tx.execute(
        "UPDATE copy_tasks SET files_done = files_total, bytes_done = bytes_total WHERE task_id = $1",
        args![id.0],
    )
    .await?;
    tx.execute(
        "UPDATE objects SET size_bytes = s.size_bytes, checksum = s.checksum \
         FROM copy_items i JOIN objects s ON s.file_set_id = i.source_file_set_id \
         WHERE i.task_id = $1 AND objects.file_set_id = i.target_file_set_id AND objects.ordinal = s.ordinal",
        args![id.0],
    )
    .await
    .map(|_| ())
}

/// The task, locked when the transaction writes.
async fn locked(tx: &mut Tx, id: TaskId) -> Result<Option<TaskRow>> {
    tx.optional(select_tasks!("copy_tasks t WHERE t.task_id = $1 /*FOR UPDATE*/"), args![id.0])
        .await?
        .map(|row| TaskRow::read(&row))
        .transpose()
}

impl TaskRow {
    fn read(row: &AnyRow) -> Result<Self> {
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
            job: JobId(row.try_get("job_id")?),
            machine: CopyTask::from_columns(&columns)?,
        })
    }

    fn record(&self) -> TaskRecord {
        let (worker, lease_until_ms) = match self.machine.state() {
            State::InProgress { node, lease_until_ms } => (Some(node.clone()), Some(*lease_until_ms)),
            State::Pending { .. } | State::Completed | State::Failed { .. } => (None, None),
        };
        TaskRecord {
            id: self.id,
            job: self.job,
            state: self.machine.label(),
            attempt: self.machine.attempt(),
            generation: self.machine.generation(),
            worker,
            lease_until_ms,
        }
    }

    /// The claim that this row, as it was read, had.
    fn revoked(&self) -> Option<Revoked> {
        match self.machine.state() {
            State::InProgress { node, .. } => {
                Some(Revoked { task: self.id, generation: self.machine.generation(), worker: node.clone() })
            }
            State::Pending { .. } | State::Completed | State::Failed { .. } => None,
        }
    }
}
