//! What people ask about a restore job: what went wrong in its tasks, and what happened to it and to them.

use crate::Meta;
use crate::db::args;
use crate::error::Result;
use crate::history::HistoryRecord;
use crate::model::JobError;
use elanus_lifecycle::{CopyTask, restore_job};
use elanus_types::{Generation, JobId, TaskId};
use sqlx::Row;

impl Meta {
    /// What went wrong in the tasks of a job, also where the task was tried again; the newest `limit`, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn job_errors(&self, id: JobId, limit: u32) -> Result<Vec<JobError>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT e.at_ms, e.task_id, e.generation, e.object_key, e.reason, t.state FROM copy_errors e \
                 JOIN copy_tasks t ON t.task_id = e.task_id WHERE e.job_id = $1 ORDER BY e.error_id DESC LIMIT $2",
                args![id.0, i64::from(limit)],
            )
            .await?;
        rows.iter()
            .rev()
            .map(|row| {
                Ok(JobError {
                    at_ms: row.try_get("at_ms")?,
                    task: TaskId(row.try_get("task_id")?),
                    generation: Generation(row.try_get("generation")?),
                    task_state: row.try_get("state")?,
                    key: row.try_get("object_key")?,
                    reason: row.try_get("reason")?,
                })
            })
            .collect()
    }

    /// The history of a job and of its tasks, each line with the task that it is about, `None` for the job itself; the
    /// newest `limit`, oldest first. The job's own lines stay when the job is removed.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn job_history(&self, id: JobId, limit: u32) -> Result<Vec<(Option<TaskId>, HistoryRecord)>> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT h.history_id, h.machine, h.subject_id, h.at_ms, h.event, h.from_state, h.to_state, h.detail \
                 FROM history h WHERE h.machine = $2 AND h.subject_id = $1 \
                 UNION ALL \
                 SELECT h.history_id, h.machine, h.subject_id, h.at_ms, h.event, h.from_state, h.to_state, h.detail \
                 FROM copy_tasks t JOIN history h ON h.machine = $3 AND h.subject_id = t.task_id WHERE t.job_id = $1 \
                 ORDER BY 1 DESC LIMIT $4",
                args![id.0, restore_job::MACHINE.to_owned(), CopyTask::MACHINE.to_owned(), i64::from(limit)],
            )
            .await?;
        rows.iter()
            .rev()
            .map(|row| {
                let of_task = row.try_get::<&str, _>("machine")? == CopyTask::MACHINE;
                let task = of_task.then_some(TaskId(row.try_get("subject_id")?));
                Ok((task, HistoryRecord::read(row)?))
            })
            .collect()
    }
}
