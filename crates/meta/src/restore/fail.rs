//! The end of a restore job that did not go well, and the end of what every job leaves in the metadata.
//!
//! R-2  A failing job first loses its target, its name, its pin and its plan in one transaction, which also queues its
//!      file sets for deletion; it is failed when the objects of all of them are gone.

use super::{JobRow, lock, move_job};
use crate::db::{Tx, args};
use crate::error::Result;
use crate::file_sets::{self, Abandon};
use crate::machines::refused;
use crate::model::{CleanUp, JobRecord, Revoked};
use crate::rows::count;
use crate::{Coordinator, pins, tasks};
use elanus_lifecycle::Step;
use elanus_lifecycle::restore_job::{Effect, Event, State};
use elanus_types::{Failure, JobId};
use sqlx::Row;

impl Coordinator {
    /// Makes a job fail, unless it is being published or is over; which workers must stop.
    ///
    /// # Errors
    /// 2101 for an unknown job; when the store is away.
    pub async fn fail_job(&self, id: JobId, reason: &str) -> Result<Vec<Revoked>> {
        let event = Event::TaskFailed { message: reason.to_owned() };
        Ok(self.fail_by(id, &event).await?.1)
    }

    /// Makes a job fail because its user does not want it any more.
    ///
    /// # Errors
    /// 2101 for an unknown job; 1100 when it is being published or completed; when the store is away.
    pub async fn cancel_job(&self, id: JobId) -> Result<(JobRecord, Vec<Revoked>)> {
        self.fail_by(id, &Event::Cancel).await
    }

    async fn fail_by(&self, id: JobId, event: &Event) -> Result<(JobRecord, Vec<Revoked>)> {
        let mut tx = self.write().await?;
        let job = lock(&mut tx, id).await?;
        let Some(revoked) = fail(&mut tx, &job, event).await? else { return Ok((job.record, vec![])) };
        let job = lock(&mut tx, id).await?;
        tx.commit().await?;
        Ok((job.record, revoked))
    }

    /// Removes what a failing job made. To be called until it is [`CleanUp::Done`]; between the calls the objects are
    /// deleted through [`Coordinator::claim_abandoned`].
    ///
    /// # Errors
    /// 2101 for an unknown job; 1100 when it is not failing; when the store is away.
    pub async fn clean_up_job(&self, id: JobId) -> Result<CleanUp> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let job = lock(&mut tx, id).await?;
        match job.machine.state() {
            State::Failing { .. } => {}
            State::Failed { .. } => return Ok(CleanUp::Done),
            State::Pending | State::Copying | State::Publishing | State::Completed => {
                return Err(
                    Failure::invalid(format!("restore job {id} is {}, not failing", job.machine.label())).into()
                );
            }
        }
        remove_target(&mut tx, &job).await?;
        tx.execute("DELETE FROM copy_items WHERE job_id = $1", args![id.0]).await?;
        pins::release_of_job(&mut tx, id).await?;
        file_sets::abandon(&mut tx, Abandon::Job(id), now_ms).await?;
        let row =
            tx.one("SELECT COUNT(*) AS sets FROM file_sets WHERE job_id = $1 AND state <> 'gone'", args![id.0]).await?;
        let left = count(&row, "sets")?;
        if left == 0
            && let Step::Refuse(refusal) = move_job(&mut tx, &job, &Event::CleanedUp).await?
        {
            return Err(refused(&refusal));
        }
        tx.commit().await?;
        Ok(if left == 0 { CleanUp::Done } else { CleanUp::Waiting(left) })
    }

    /// Every worker of a failing job has said that it writes no more: its file sets need not wait for their leases.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn workers_stopped(&self, id: JobId) -> Result<()> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        tx.execute(
            "UPDATE file_sets SET not_before_ms = $2 \
             WHERE job_id = $1 AND state = 'queued' AND ever_live = 0 AND not_before_ms > $2",
            args![id.0, now_ms],
        )
        .await?;
        tx.commit().await
    }

    /// Removes at most `limit` jobs that ended before a time, with their tasks and plans; how many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn remove_finished_jobs(&self, ended_before_ms: i64, limit: u32) -> Result<u64> {
        let mut tx = self.write().await?;
        let rows = tx
            .all(
                "SELECT job_id FROM restore_jobs WHERE ended_ms < $1 ORDER BY ended_ms LIMIT $2 /*FOR UPDATE*/",
                args![ended_before_ms, i64::from(limit)],
            )
            .await?;
        for row in &rows {
            let id: i64 = row.try_get("job_id")?;
            tx.execute("DELETE FROM copy_items WHERE job_id = $1", args![id]).await?;
            tx.execute("DELETE FROM copy_errors WHERE job_id = $1", args![id]).await?;
            tx.execute("DELETE FROM copy_tasks WHERE job_id = $1", args![id]).await?;
            tx.execute("DELETE FROM restore_jobs WHERE job_id = $1", args![id]).await?;
        }
        if !rows.is_empty() {
            tx.commit().await?;
        }
        Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
    }
}

/// Moves a job to its failure and aborts its tasks; `None` when the event came twice or too late to matter.
pub(super) async fn fail(tx: &mut Tx, job: &JobRow, event: &Event) -> Result<Option<Vec<Revoked>>> {
    match move_job(tx, job, event).await? {
        Step::Move(_, effects) if effects.contains(&Effect::AbortTasks) => {
            tasks::abort_of_job(tx, job.record.id).await.map(Some)
        }
        Step::Move(..) => Ok(Some(vec![])),
        Step::Repeat | Step::Fenced => Ok(None),
        Step::Refuse(refusal) => Err(refused(&refusal)),
    }
}

/// The hidden target with everything that names it, so that its name is free. Nothing but its job ever named it.
async fn remove_target(tx: &mut Tx, job: &JobRow) -> Result<()> {
    let target = job.record.target.0;
    let held = tx
        .optional(
            "SELECT 1 AS held FROM collections WHERE collection_id = $1 AND job_id = $2 AND state = 'restoring' \
             /*FOR UPDATE*/",
            args![target, job.record.id.0],
        )
        .await?;
    if held.is_none() {
        return Ok(());
    }
    for sql in [
        "DELETE FROM segments WHERE collection_id = $1",
        "DELETE FROM indexes WHERE collection_id = $1",
        "DELETE FROM partitions WHERE collection_id = $1",
        "DELETE FROM collection_versions WHERE collection_id = $1",
        "DELETE FROM collections WHERE collection_id = $1",
    ] {
        tx.execute(sql, args![target]).await?;
    }
    Ok(())
}
