//! Restore jobs, and what workers report about their tasks.

use super::catalog::{database, resolve};
use super::convert;
use crate::Parts;
use crate::background::{RESTORE_CHECK, RESTORE_SCHEDULE};
use elanus_meta::model::{Answer, Created, NewRestore, TaskMessage};
use elanus_proto::datacoord as pb;
use elanus_types::{Code, Failure, Generation, JobId, NodeId, TaskId};

pub(super) async fn submit(parts: &Parts, request: pb::RestoreSnapshotRequest) -> Result<pb::RestoreJob, Failure> {
    let source = request.source.ok_or_else(|| Failure::missing("no snapshot is named"))?;
    let collection = resolve(parts, source.collection).await?;
    let new = NewRestore {
        source: collection.id,
        snapshot_name: source.snapshot_name,
        target_database: database(request.target_db_name),
        target_name: request.target_collection_name,
        deadline_ms: parts.now_ms() + parts.config.restore_deadline_ms,
    };
    let (Created::New(job) | Created::Joined(job)) = parts.coordinator.submit_restore(new).await?;
    parts.background.activate(RESTORE_CHECK);
    Ok(convert::job(job))
}

pub(super) async fn get(parts: &Parts, of: pb::JobRef) -> Result<pb::RestoreJob, Failure> {
    let job = parts.meta().job(JobId(of.job_id)).await?;
    job.map(convert::job)
        .ok_or_else(|| Failure::new(Code::JobFailed, format!("restore job not found: jobID={}", of.job_id)))
}

pub(super) async fn list(
    parts: &Parts,
    request: pb::ListRestoreJobsRequest,
) -> Result<pb::ListRestoreJobsResponse, Failure> {
    let given = |text: &'_ String| -> Option<String> { (!text.is_empty()).then(|| text.clone()) };
    let (database, name) = (given(&request.db_name), given(&request.collection_name));
    let jobs = parts.meta().jobs(database.as_deref(), name.as_deref()).await?;
    Ok(pb::ListRestoreJobsResponse { jobs: jobs.into_iter().map(convert::job).collect() })
}

pub(super) async fn cancel(parts: &Parts, of: pb::JobRef) -> Result<pb::RestoreJob, Failure> {
    let (job, revoked) = parts.coordinator.cancel_job(JobId(of.job_id)).await?;
    parts.revocations.add(job.id, revoked);
    parts.background.activate(RESTORE_CHECK);
    Ok(convert::job(job))
}

pub(super) async fn report(parts: &Parts, report: pb::TaskReport) -> Result<pb::TaskReportReply, Failure> {
    use pb::task_report::Verdict;
    let verdict = report.verdict.ok_or_else(|| Failure::missing("a report says nothing"))?;
    let is_last = !matches!(verdict, Verdict::Heartbeat(_));
    let message = match verdict {
        Verdict::Heartbeat(beat) => TaskMessage::Heartbeat {
            files_done: u64::try_from(beat.files_done).unwrap_or_default(),
            bytes_done: u64::try_from(beat.bytes_done).unwrap_or_default(),
            lease_until_ms: parts.now_ms() + parts.config.copy_lease_ms,
        },
        Verdict::Finished(_) => TaskMessage::Finished,
        Verdict::Failed(failed) => {
            let reasons: Vec<String> =
                failed.errors.into_iter().map(|error| format!("{}: {}", error.key, error.reason)).collect();
            let reason = reasons.join("; ");
            if failed.permanent {
                TaskMessage::FailedPermanent { reason }
            } else {
                TaskMessage::FailedTransient { reason }
            }
        }
    };
    let (task, generation) = (TaskId(report.task_id), Generation(report.generation));
    let answer = parts.coordinator.report_task(task, generation, &NodeId(report.node_id), message).await?;
    if is_last {
        parts.background.activate(RESTORE_CHECK);
        parts.background.activate(RESTORE_SCHEDULE);
    }
    Ok(pb::TaskReportReply { fenced: answer == Answer::Fenced })
}
