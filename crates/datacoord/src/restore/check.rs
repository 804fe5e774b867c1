//! The checker: clones, or plans jobs into tasks, publishes what is copied and verified, fails what cannot succeed, cleans
//! up. A detach is checked like a restore that copies.

use crate::Parts;
use crate::background::{SWEEP, TASK_SCHEDULE};
use crate::tasks::Settled;
use elanus_meta::MetaError;
use elanus_meta::model::{CleanUp, JobKind, JobRecord, JobState, TaskBounds};
use elanus_runtime::background::Report;
use elanus_trace::{Instrument as _, Span};
use elanus_types::{Failure, RestoreMode};

/// Reasons of failed tasks that a job's reason names.
const REASONS_MAX: u32 = 5;
/// Jobs that one round forgets.
const FORGET_MAX: u32 = 1_000;

pub(crate) async fn check(parts: &Parts) -> Result<Report, Failure> {
    let mut report = Report::default();
    for job in parts.meta().open_jobs().await? {
        match advance(parts, &job).await {
            Ok(true) => report.handled += 1,
            Ok(false) => {}
            Err(failure) => {
                tracing::warn!(job = %job.id, state = job.state.label(), %failure, "a restore job could not be moved on");
                report.failed += 1;
                report.text = failure.message;
            }
        }
    }
    report.again_now = report.handled > 0;
    Ok(report)
}

/// One step of one job; true when it moved.
async fn advance(parts: &Parts, job: &JobRecord) -> Result<bool, Failure> {
    let step = match &job.state {
        // Looked at every two seconds, and mostly nothing has happened.
        JobState::Copying if !all_tasks_ended(parts, job).await? => Span::none(),
        JobState::Pending | JobState::Copying | JobState::Publishing | JobState::Failing { .. } => step_of(job),
        JobState::Completed | JobState::Failed { .. } => Span::none(),
    };
    let moved = take_step(parts, job).instrument(step.clone()).await;
    if let Err(failure) = &moved {
        elanus_trace::span_failed(&step, &failure.message);
    }
    moved
}

/// What a trace calls the next step of a job.
fn step_of(job: &JobRecord) -> Span {
    let of = job.traceparent.as_ref();
    let (id, files, bytes) = (job.id.0, job.files_total, job.bytes_total);
    let name = match &job.state {
        JobState::Pending if job.options.mode == RestoreMode::Clone => "datacoord.restore.clone",
        JobState::Pending => "datacoord.restore.plan",
        JobState::Failing { .. } => "datacoord.restore.clean_up",
        _ => "datacoord.restore.publish",
    };
    elanus_trace::continued!(
        of,
        "restore",
        otel.name = name,
        elanus.job = id,
        elanus.files = files,
        elanus.bytes = bytes,
        elanus.snapshot = job.snapshot_name,
        elanus.collection = job.source_name,
        elanus.target = job.target_name
    )
}

/// Only asked where it is traced: a job that is not is looked at once a round.
async fn all_tasks_ended(parts: &Parts, job: &JobRecord) -> Result<bool, Failure> {
    if !elanus_trace::is_on() || job.traceparent.is_none() {
        return Ok(true);
    }
    let tasks = parts.meta().task_counts(job.id).await?;
    Ok(tasks.failed > 0 || tasks.pending + tasks.in_progress == 0 || parts.now_ms() >= job.deadline_ms)
}

async fn take_step(parts: &Parts, job: &JobRecord) -> Result<bool, Failure> {
    let step = match &job.state {
        JobState::Pending | JobState::Copying if parts.now_ms() >= job.deadline_ms => {
            return fail(parts, job, too_late(job.kind)).await.map(|()| true);
        }
        JobState::Pending if job.options.mode == RestoreMode::Clone => {
            parts.coordinator.clone_job(job.id).await.map(|()| true)
        }
        JobState::Pending => plan(parts, job).await,
        JobState::Copying => count(parts, job).await,
        JobState::Publishing => parts.coordinator.publish_job(job.id).await.map(|()| true),
        JobState::Failing { .. } => return clean_up(parts, job).await,
        JobState::Completed | JobState::Failed { .. } => Ok(false),
    };
    match step {
        // What the metadata refuses now it will refuse again.
        Err(MetaError::Refused(failure)) => fail(parts, job, &failure.message).await.map(|()| true),
        other => Ok(other?),
    }
}

fn too_late(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Restore => "the deadline passed; restore again, with a longer deadline if the collection is large",
        JobKind::Detach => "the deadline passed; nothing was exchanged, detach again when there is less load",
    }
}

async fn plan(parts: &Parts, job: &JobRecord) -> Result<bool, MetaError> {
    let bounds =
        TaskBounds { bytes_max: parts.config.copy_task_bytes_max, files_max: parts.config.copy_task_files_max };
    parts.coordinator.plan_job(job.id, bounds).await?;
    parts.background.activate(TASK_SCHEDULE);
    Ok(true)
}

async fn count(parts: &Parts, job: &JobRecord) -> Result<bool, MetaError> {
    let tasks = parts.meta().task_counts(job.id).await?;
    if tasks.failed > 0 {
        let reasons = parts.meta().failed_task_reasons(job.id, REASONS_MAX).await?;
        let again = match job.kind {
            JobKind::Restore => "",
            JobKind::Detach => "; where files left the collection meanwhile, detach again",
        };
        let text = format!("{} copy tasks failed: {}{again}", tasks.failed, reasons.join("; "));
        return Err(Failure::internal(text).into());
    }
    if tasks.pending + tasks.in_progress > 0 {
        return Ok(false);
    }
    parts.coordinator.publish_job(job.id).await?;
    Ok(true)
}

/// Fails a job; its workers are told to stop, and it is cleaned up when they have.
pub(super) async fn fail(parts: &Parts, job: &JobRecord, reason: &str) -> Result<(), Failure> {
    tracing::warn!(job = %job.id, reason, "a restore job fails");
    elanus_trace::failed(reason);
    let revoked = parts.coordinator.fail_job(job.id, reason).await?;
    parts.revocations.add(job.id, revoked);
    Ok(())
}

/// Removes the target, hands the copied objects to the sweeper; the job is failed when nothing is left.
async fn clean_up(parts: &Parts, job: &JobRecord) -> Result<bool, Failure> {
    // A worker that still writes would leave an object behind that nothing knows.
    match parts.revocations.settle(parts, job.id).await {
        Settled::Stopped => parts.coordinator.workers_stopped(job.id).await?,
        Settled::LeasesTell => {}
        Settled::Waiting => return Ok(false),
    }
    match parts.coordinator.clean_up_job(job.id).await? {
        CleanUp::Done => Ok(true),
        CleanUp::Waiting(file_sets) => {
            tracing::debug!(job = %job.id, file_sets, "copied objects are being deleted");
            parts.background.activate(SWEEP);
            Ok(false)
        }
    }
}

pub(crate) async fn remove_finished(parts: &Parts) -> Result<Report, Failure> {
    let before_ms = parts.now_ms() - parts.config.job_retention_ms;
    let handled = parts.coordinator.remove_finished_jobs(before_ms, FORGET_MAX).await?;
    Ok(Report { again_now: handled >= u64::from(FORGET_MAX), ..Report::handled(handled) })
}
