//! Copy tasks: bounded bundles of files of a restore job.
//!
//! Each claim gets file sets and keys of its own, so that a worker that lost its claim can never write, or have deleted,
//! an object of the next one. When a claim is taken back, its file sets are abandoned in the same transaction.
//! Where both are locked, the job's row comes before those of its tasks.

mod claim;

use super::{TaskRow, Tasks, select_tasks, until_stopped, write_move};
use crate::Coordinator;
use crate::db::{Tx, add, args};
use crate::error::Result;
use crate::file_sets::{self, Abandon};
use crate::machines::refused;
use crate::model::{Answer, FileError, Revoked, TaskMessage, TaskOwner, TaskRecord};
use crate::restore;
use crate::rows::bigint;
use elanus_lifecycle::task::{CopyFiles, Effect, Event, State};
use elanus_lifecycle::{CopyTask, Step};
use elanus_types::{Failure, Generation, JobId, NodeId, TaskId};
use sqlx::any::AnyRow;

pub(crate) type CopyRow = TaskRow<CopyFiles>;

/// What [`TaskRow::read`] needs of a copy task.
macro_rules! select_copies {
    ($rest:literal) => {
        select_tasks!(
            "(SELECT j.traceparent FROM restore_jobs j WHERE j.job_id = t.job_id) AS traceparent, t.job_id",
            $rest
        )
    };
}

/// Pending tasks that may be tried now; jobs take turns (O-1).
pub(super) const PENDING: &str = select_copies!(
    "(SELECT p.*, ROW_NUMBER() OVER (PARTITION BY p.job_id ORDER BY p.task_id) AS turn \
     FROM copy_tasks p WHERE p.state = 'pending' AND p.not_before_ms <= $1) t \
     ORDER BY t.turn, t.job_id LIMIT $2"
);

/// Tasks that are with a worker.
pub(super) const IN_PROGRESS: &str = select_copies!("copy_tasks t WHERE t.state = 'in_progress' ORDER BY t.task_id");

impl Tasks for CopyFiles {
    const UPDATE: &'static str = "UPDATE copy_tasks SET state = $1, attempt = $2, generation = $3, worker = $4, \
         lease_until_ms = $5, not_before_ms = $6, reason = $7, message = $8 \
         WHERE task_id = $9 AND state = $10 AND generation = $11";

    fn owner(id: i64) -> TaskOwner {
        TaskOwner::Job(JobId(id))
    }
}

/// A task that a plan makes.
pub(crate) struct NewTask {
    pub(crate) id: TaskId,
    /// Objects to copy.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// The record of a row that was read with one of the statements above.
pub(super) fn record(row: &AnyRow) -> Result<TaskRecord> {
    Ok(CopyRow::read(row)?.record())
}

impl Coordinator {
    /// What the worker of one claim of a copy task says; `None` when this is no copy task.
    pub(super) async fn report_copy(
        &self,
        id: TaskId,
        generation: Generation,
        node: &NodeId,
        message: &TaskMessage,
    ) -> Result<Option<Answer>> {
        let mut tx = self.write().await?;
        let Some(job) = restore::lock_of_task(&mut tx, id).await? else { return Ok(None) };
        let Some(row) = locked(&mut tx, id).await? else { return Ok(Some(Answer::Fenced)) };
        if !row.may_be_held_by(node) {
            return Ok(Some(Answer::Fenced));
        }
        if matches!(message, TaskMessage::Compacted(_) | TaskMessage::Indexed(_)) {
            return Err(Failure::invalid(format!("task {id} copies, and its worker has done something else")).into());
        }
        let event = message.event(tx.now_ms);
        match move_task(&mut tx, &row, generation, &event).await? {
            Step::Move(..) => {}
            Step::Repeat => return Ok(Some(Answer::Accepted)),
            Step::Fenced => return Ok(Some(Answer::Fenced)),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        match message {
            TaskMessage::Heartbeat { files_done, bytes_done, .. } => {
                advance(&mut tx, id, *files_done, *bytes_done).await?;
            }
            TaskMessage::Finished => finish(&mut tx, id).await?,
            TaskMessage::GivenBack | TaskMessage::Compacted(_) | TaskMessage::Indexed(_) => {}
            TaskMessage::FailedTransient { reason, files } | TaskMessage::FailedPermanent { reason, files } => {
                record_errors(&mut tx, &row, reason, files).await?;
            }
        }
        restore::advance(&mut tx, &job).await?;
        tx.commit().await?;
        Ok(Some(Answer::Accepted))
    }

    /// Takes a copy task from its worker, where it is still with it.
    pub(super) async fn take_back_copy(
        &self,
        id: TaskId,
        generation: Generation,
        event: &Event,
    ) -> Result<Option<Revoked>> {
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        match move_task(&mut tx, &row, generation, event).await? {
            Step::Move(..) => {}
            Step::Repeat | Step::Fenced => return Ok(None),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        record_errors(&mut tx, &row, "the worker fell silent or was lost", &[]).await?;
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
            select_copies!(
                "copy_tasks t WHERE t.job_id = $1 AND t.state IN ('pending', 'in_progress') \
                 ORDER BY t.task_id /*FOR UPDATE*/"
            ),
            args![job.0],
        )
        .await?;
    let mut revoked = vec![];
    for row in &rows {
        let row = CopyRow::read(row)?;
        match move_task(tx, &row, row.machine.generation(), &Event::Abort).await? {
            Step::Move(..) => revoked.extend(row.revoked()),
            Step::Repeat | Step::Fenced => {}
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
    }
    Ok(revoked)
}

/// Steps a task that is locked, and writes what the step returned.
async fn move_task(tx: &mut Tx, row: &CopyRow, stamp: Generation, event: &Event) -> Result<Step<CopyTask, Effect>> {
    let step = write_move(tx, row, stamp, event).await?;
    let Step::Move(after, effects) = &step else { return Ok(step) };
    match (row.machine.state(), after.state()) {
        (State::Pending { .. }, State::InProgress { .. }) => {
            tx.execute("UPDATE copy_tasks SET files_done = 0, bytes_done = 0 WHERE task_id = $1", args![row.id.0])
                .await?;
        }
        (State::InProgress { lease_until_ms, .. }, State::Pending { .. } | State::Failed { .. }) => {
            let not_before_ms = until_stopped(event, tx.now_ms, *lease_until_ms);
            file_sets::abandon(tx, Abandon::Task(row.id), not_before_ms).await?;
        }
        _ => {}
    }
    if effects.contains(&Effect::WakeOwner) {
        let subject = format!("restore.{}", row.owner_id);
        let dedup_key = format!("{subject}.task.{}.{}", row.id, after.generation());
        tx.announce(subject, dedup_key, "{}".to_owned()).await?;
    }
    Ok(step)
}

/// Keeps what went wrong in the claim that `row` had: a line a file, or one line where no file is named.
async fn record_errors(tx: &mut Tx, row: &CopyRow, reason: &str, files: &[FileError]) -> Result<()> {
    let mut lines: Vec<(Option<String>, String)> =
        files.iter().map(|file| (Some(file.key.clone()), file.reason.clone())).collect();
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
            add(arguments, row.owner_id);
            add(arguments, row.id.0);
            add(arguments, generation.0);
            add(arguments, now_ms);
            add(arguments, key);
            add(arguments, reason);
        },
    )
    .await
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
async fn locked(tx: &mut Tx, id: TaskId) -> Result<Option<CopyRow>> {
    tx.optional(select_copies!("copy_tasks t WHERE t.task_id = $1 /*FOR UPDATE*/"), args![id.0])
        .await?
        .map(|row| TaskRow::read(&row))
        .transpose()
}
