//! Restore jobs: a snapshot becomes a new collection. And detach jobs, which are like them: see [`detach`]. Every change of a row's state is a step of
//! `elanus_lifecycle::restore_job`, written by [`move_job`].
//!
//! R-1  The target is a collection in the state `restoring`, which no reader selects, until the one transaction of
//!      [`publish`] or [`clone`] makes it live with everything in it.
//! R-2  `failed` is written only when nothing of the target is left: see [`fail`].
//! R-3  Every call reads where the job is and does what comes next, so that it may be repeated from anywhere.
//!
//! Where both are locked, the job's row comes before those of its tasks.

mod clone;
mod detach;
mod fail;
mod plan;
mod publish;
mod submit;
mod told;

use crate::Meta;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::history::{Told, tell};
use crate::machines::readable;
use crate::model::{JobKind, JobRecord, RestoreOptions, TaskCounts};
use crate::partition_drops::left_behind;
use crate::rows::{bigint, count, from_json, traceparent};
use elanus_lifecycle::restore_job::{Columns, Effect, Event, MACHINE, Progress, Reason, State};
use elanus_lifecycle::task::Reason as TaskReason;
use elanus_lifecycle::{RestoreJob, Step};
use elanus_types::schema::DEFAULT_PARTITION;
use elanus_types::{Code, CollectionId, Failure, JobId, RestoreMode, SnapshotId, TaskId, Timestamp};
use sqlx::Row;
use sqlx::any::{AnyArguments, AnyRow};

/// Jobs with what [`JobRow`] holds.
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT j.job_id, j.kind, j.snapshot_id, j.snapshot_name, j.source_collection_id, j.source_name, \
             j.source_database, j.target_collection_id, j.target_name, j.target_database, j.mode, j.partitions_json, \
             j.with_indexes, j.keeps_ages, j.state, j.reason, j.message, j.files_total, j.bytes_total, j.files_done, j.bytes_done, j.started_ms, j.deadline_ms, \
             j.ended_ms, j.traceparent, COALESCE(s.create_ts, 0) AS create_ts \
             FROM restore_jobs j LEFT JOIN snapshots s ON s.snapshot_id = j.snapshot_id WHERE ",
            $rest
        )
    };
}

/// A statement over `members`: what a job restores of its snapshot, with the partition of the target that each goes to.
/// Arguments from [`of_members`]; the caller's begin at `$6`.
macro_rules! with_members {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            "WITH parts AS (\
               SELECT s.partition_id AS source_id, t.partition_id AS target_id FROM partitions s \
               JOIN partitions t ON t.collection_id = $2 AND t.name = s.name \
               WHERE s.collection_id = $1 AND s.added_ts <= $3 AND $3 < s.removed_ts AND s.name <> $4 \
               UNION ALL SELECT -1, -1), \
             members AS (\
               SELECT m.segment_id, m.file_set_id, p.target_id, m.shard, s.level, m.kind, m.base_ts, m.rows_num, \
               m.bytes, m.deletes_before_ts FROM memberships m JOIN parts p ON p.source_id = m.partition_id \
               JOIN segments s ON s.segment_id = m.segment_id \
               WHERE m.collection_id = $1 AND m.added_ts <= $3 AND $3 < m.removed_ts AND m.kind <> $5) ",
            $tail
        )
    };
}
use with_members;

/// The arguments of [`with_members`]: `$4` and `$5` name the partition and the kind that stay out, as empty names where
/// none does.
fn of_members(job: &JobRow) -> AnyArguments {
    let JobRecord { source, target, options, .. } = &job.record;
    let partition = if options.wants(DEFAULT_PARTITION) { "" } else { DEFAULT_PARTITION };
    let kind = if options.with_indexes { "" } else { "index" };
    args![source.0, target.0, job.create_ts.0, partition.to_owned(), kind.to_owned()]
}

/// Every member of the snapshot belongs to a partition that was there at its time.
async fn require_homes(tx: &mut Tx, job: &JobRow) -> Result<()> {
    let row = tx
        .one(
            concat!(
                "SELECT COUNT(*) AS homeless FROM memberships m \
                 WHERE m.collection_id = $1 AND m.added_ts <= $2 AND $2 < m.removed_ts AND m.partition_id <> -1 \
                 AND NOT EXISTS (SELECT 1 FROM partitions s WHERE s.partition_id = m.partition_id \
                 AND s.collection_id = $1 AND s.added_ts <= $2 AND $2 < s.removed_ts) AND m.partition_id NOT IN ",
                left_behind!("$1", "$2")
            ),
            args![job.record.source.0, job.create_ts.0],
        )
        .await?;
    match count(&row, "homeless")? {
        0 => Ok(()),
        n => Err(MetaError::Corrupt(format!("{n} files belong to partitions that were not there at their time"))),
    }
}

/// A job as its row says.
pub(crate) struct JobRow {
    record: JobRecord,
    machine: RestoreJob,
    progress: Progress,
    /// Timestamp of the snapshot, which a job that is not over pins; 0 when it is gone, and of a detach.
    create_ts: Timestamp,
}

impl Meta {
    /// A job, also when it is over.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        let mut tx = self.db.read().await?;
        Ok(locked(&mut tx, id).await?.map(|row| row.record))
    }

    /// Jobs that are not over, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn open_jobs(&self) -> Result<Vec<JobRecord>> {
        let mut tx = self.db.read().await?;
        let rows = tx.all(select_jobs!("j.ended_ms IS NULL ORDER BY j.job_id"), args![]).await?;
        readable(&rows, |row| Ok(JobRow::read(row)?.record))
    }

    /// Jobs by target, oldest first. `None` asks for all.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn jobs(&self, database: Option<&str>, target_name: Option<&str>) -> Result<Vec<JobRecord>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                select_jobs!(
                    "(CAST($1 AS TEXT) IS NULL OR j.target_database = $1) \
                     AND (CAST($2 AS TEXT) IS NULL OR j.target_name = $2) ORDER BY j.job_id"
                ),
                args![database.map(str::to_owned), target_name.map(str::to_owned)],
            )
            .await?;
        readable(&rows, |row| Ok(JobRow::read(row)?.record))
    }

    /// Copy tasks of a job by state.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn task_counts(&self, id: JobId) -> Result<TaskCounts> {
        counts(&mut self.db.read().await?, id).await
    }

    /// Why tasks of a job failed by themselves.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn failed_task_reasons(&self, id: JobId, limit: u32) -> Result<Vec<String>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT COALESCE(message, reason) AS why FROM copy_tasks \
                 WHERE job_id = $1 AND state = 'failed' AND reason <> $2 ORDER BY task_id LIMIT $3",
                args![id.0, TaskReason::Aborted.label().to_owned(), i64::from(limit)],
            )
            .await?;
        rows.iter().map(|row| Ok(row.try_get("why")?)).collect()
    }
}

/// 2101.
fn job_not_found(id: JobId) -> MetaError {
    Failure::new(Code::JobFailed, format!("restore job not found: jobID={id}")).into()
}

/// Steps a job that is locked, and writes what the step returned.
async fn move_job(tx: &mut Tx, row: &JobRow, event: &Event) -> Result<Step<RestoreJob, Effect>> {
    let step = row.machine.step(event);
    let Step::Move(after, _) = &step else { return Ok(step) };
    let columns = after.columns();
    let ended_ms = after.is_over().then_some(tx.now_ms);
    tx.execute_exactly(
        1,
        "the restore job",
        "UPDATE restore_jobs SET state = $1, reason = $2, message = $3, ended_ms = $4 \
         WHERE job_id = $5 AND state = $6",
        args![
            columns.state,
            columns.reason,
            columns.message,
            ended_ms,
            row.record.id.0,
            row.machine.label().to_owned()
        ],
    )
    .await?;
    let told = Told {
        machine: MACHINE,
        id: row.record.id.0,
        event: event.name(),
        from: row.machine.label(),
        to: after.label(),
        detail: reason_of(after.state()).unwrap_or_default(),
    };
    tell(tx, "restore", &told).await?;
    if ended_ms.is_some() {
        let took_s = (tx.now_ms - row.record.started_ms) as f64 / 1_000.0;
        let (kind, mode, ended) = (row.record.kind.label(), row.record.options.mode.label(), after.label());
        tx.when_committed(move || {
            let name = "elanus_restore_job_duration_seconds";
            metrics::histogram!(name, "ended" => ended, "kind" => kind, "mode" => mode).record(took_s);
        });
    }
    Ok(step)
}

/// The job, locked when the transaction writes.
async fn locked(tx: &mut Tx, id: JobId) -> Result<Option<JobRow>> {
    tx.optional(select_jobs!("j.job_id = $1 /*FOR UPDATE OF j*/"), args![id.0])
        .await?
        .map(|row| JobRow::read(&row))
        .transpose()
}

/// As [`locked`]; 2101 when there is none.
async fn lock(tx: &mut Tx, id: JobId) -> Result<JobRow> {
    locked(tx, id).await?.ok_or_else(|| job_not_found(id))
}

/// The job of a task, locked.
pub(crate) async fn lock_of_task(tx: &mut Tx, task: TaskId) -> Result<Option<JobRow>> {
    let Some(row) = tx.optional("SELECT job_id FROM copy_tasks WHERE task_id = $1", args![task.0]).await? else {
        return Ok(None);
    };
    locked(tx, JobId(row.try_get("job_id")?)).await
}

/// Takes what the tasks of a locked job have copied over to the job, whose progress never falls.
pub(crate) async fn advance(tx: &mut Tx, row: &JobRow) -> Result<()> {
    let sums = tx
        .one(
            "SELECT CAST(COALESCE(SUM(files_done), 0) AS BIGINT) AS files_done, \
             CAST(COALESCE(SUM(bytes_done), 0) AS BIGINT) AS bytes_done FROM copy_tasks WHERE job_id = $1",
            args![row.record.id.0],
        )
        .await?;
    let progress = row.progress.advanced_to(count(&sums, "files_done")?, count(&sums, "bytes_done")?);
    if progress == row.progress {
        return Ok(());
    }
    tx.execute(
        "UPDATE restore_jobs SET files_done = $2, bytes_done = $3 WHERE job_id = $1",
        args![row.record.id.0, bigint(progress.files_done), bigint(progress.bytes_done)],
    )
    .await
    .map(|_| ())
}

async fn counts(tx: &mut Tx, id: JobId) -> Result<TaskCounts> {
    let rows =
        tx.all("SELECT state, COUNT(*) AS tasks FROM copy_tasks WHERE job_id = $1 GROUP BY state", args![id.0]).await?;
    let mut counts = TaskCounts::default();
    for row in &rows {
        let tasks = count(row, "tasks")?;
        match row.try_get::<&str, _>("state")? {
            "pending" => counts.pending = tasks,
            "in_progress" => counts.in_progress = tasks,
            "completed" => counts.completed = tasks,
            "failed" => counts.failed = tasks,
            other => return Err(MetaError::Corrupt(format!("{tasks} copy tasks of job {id} are {other:?}"))),
        }
    }
    Ok(counts)
}

fn job_kind(label: &str) -> Result<JobKind> {
    [JobKind::Restore, JobKind::Detach]
        .into_iter()
        .find(|kind| kind.label() == label)
        .ok_or_else(|| MetaError::Corrupt(format!("{label:?} is not a kind of job")))
}

fn mode(label: &str) -> Result<RestoreMode> {
    RestoreMode::parse(label).map_err(|failure| MetaError::Corrupt(failure.message))
}

fn reason_of(state: &State) -> Option<String> {
    let (State::Failing { reason } | State::Failed { reason }) = state else { return None };
    Some(match reason {
        Reason::TaskFailed { message } | Reason::VerifyFailed { message } => message.clone(),
        Reason::DeadlinePassed => "the deadline passed".to_owned(),
        Reason::Cancelled => "cancelled".to_owned(),
    })
}

impl JobRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let columns = Columns {
            state: row.try_get("state")?,
            deadline_ms: row.try_get("deadline_ms")?,
            reason: row.try_get("reason")?,
            message: row.try_get("message")?,
        };
        let machine = RestoreJob::from_columns(&columns)?;
        let progress = Progress {
            files_total: count(row, "files_total")?,
            files_done: count(row, "files_done")?,
            bytes_total: count(row, "bytes_total")?,
            bytes_done: count(row, "bytes_done")?,
        };
        let record = JobRecord {
            id: JobId(row.try_get("job_id")?),
            kind: job_kind(row.try_get("kind")?)?,
            snapshot: SnapshotId(row.try_get("snapshot_id")?),
            snapshot_name: row.try_get("snapshot_name")?,
            source: CollectionId(row.try_get("source_collection_id")?),
            source_name: row.try_get("source_name")?,
            source_database: row.try_get("source_database")?,
            target: CollectionId(row.try_get("target_collection_id")?),
            target_name: row.try_get("target_name")?,
            target_database: row.try_get("target_database")?,
            options: RestoreOptions {
                mode: mode(row.try_get("mode")?)?,
                partitions: from_json(row, "partitions_json")?,
                with_indexes: row.try_get::<i64, _>("with_indexes")? != 0,
                keeps_ages: row.try_get::<i64, _>("keeps_ages")? != 0,
            },
            state: machine.state().clone(),
            reason: reason_of(machine.state()),
            files_total: progress.files_total,
            files_done: progress.files_done,
            bytes_total: progress.bytes_total,
            bytes_done: progress.bytes_done,
            percent: progress.percent(machine.state()),
            started_ms: row.try_get("started_ms")?,
            deadline_ms: columns.deadline_ms,
            ended_ms: row.try_get("ended_ms")?,
            traceparent: traceparent(row)?,
        };
        Ok(Self { record, machine, progress, create_ts: Timestamp(row.try_get("create_ts")?) })
    }
}
