//! Restore jobs, and what workers report about their tasks.

use super::catalog::{database, resolve};
use super::convert;
use crate::Parts;
use crate::background::{COMPACTION_PLAN, INDEX_PLAN, RESTORE_CHECK, TASK_SCHEDULE};
use elanus_meta::model::{
    Answer, CompactedFile, Created, FileError, IndexedFile, NewRestore, RestoreOptions, TaskMessage,
};
use elanus_proto::datacoord as pb;
use elanus_types::{Code, Failure, Generation, JobId, NodeId, RestoreMode, TaskId};

/// Errors, and lines of a history, that one answer has.
const LINES_MAX: u32 = 1_000;

pub(super) async fn submit(parts: &Parts, request: pb::RestoreSnapshotRequest) -> Result<pb::RestoreJob, Failure> {
    let source = request.source.ok_or_else(|| Failure::missing("no snapshot is named"))?;
    let collection = resolve(parts, source.collection).await?;
    elanus_trace::note("elanus.collection_id", collection.id.0);
    elanus_trace::note("elanus.snapshot", source.snapshot_name.clone());
    let mode = match request.mode.as_str() {
        "" => parts.config.restore_mode,
        named => RestoreMode::parse(named)?,
    };
    let options = RestoreOptions {
        mode,
        partitions: request.partition_names,
        with_indexes: !request.without_indexes,
        keeps_ages: request.keeps_ages,
    };
    let new = NewRestore {
        source: collection.id,
        snapshot_name: source.snapshot_name,
        target_database: database(request.target_db_name),
        target_name: request.target_collection_name,
        options,
        deadline_ms: parts.now_ms() + parts.config.restore_deadline_ms,
    };
    elanus_trace::note("elanus.mode", mode.label());
    let (Created::New(job) | Created::Joined(job)) = parts.coordinator.submit_restore(new).await?;
    elanus_trace::note("elanus.job", job.id.0);
    parts.background.activate(RESTORE_CHECK);
    Ok(convert::job(job, parts.now_ms()))
}

/// A job that gives a collection copies of the files that it shares with others.
pub(super) async fn detach(parts: &Parts, of: pb::CollectionRef) -> Result<pb::RestoreJob, Failure> {
    let collection = resolve(parts, Some(of)).await?;
    let deadline_ms = parts.now_ms() + parts.config.restore_deadline_ms;
    let (Created::New(job) | Created::Joined(job)) =
        parts.coordinator.submit_detach(collection.id, deadline_ms).await?;
    parts.background.activate(RESTORE_CHECK);
    Ok(convert::job(job, parts.now_ms()))
}

pub(super) async fn get(parts: &Parts, of: pb::JobRef) -> Result<pb::RestoreJob, Failure> {
    let job = parts.meta().job(JobId(of.job_id)).await?;
    job.map(|job| convert::job(job, parts.now_ms())).ok_or_else(|| not_found(&of))
}

fn not_found(of: &pb::JobRef) -> Failure {
    Failure::new(Code::JobFailed, format!("restore job not found: jobID={}", of.job_id))
}

pub(super) async fn errors(parts: &Parts, of: pb::JobRef) -> Result<pb::ListJobErrorsResponse, Failure> {
    let id = JobId(of.job_id);
    parts.meta().job(id).await?.ok_or_else(|| not_found(&of))?;
    let errors = parts.meta().job_errors(id, LINES_MAX).await?;
    Ok(pb::ListJobErrorsResponse { errors: errors.into_iter().map(convert::job_error).collect() })
}

/// Also of a job that was forgotten: its own lines stay.
pub(super) async fn history(parts: &Parts, of: pb::JobRef) -> Result<pb::ListJobHistoryResponse, Failure> {
    let lines = parts.meta().job_history(JobId(of.job_id), LINES_MAX).await?;
    if lines.is_empty() {
        return Err(not_found(&of));
    }
    Ok(pb::ListJobHistoryResponse { lines: lines.into_iter().map(convert::history_line).collect() })
}

pub(super) async fn list(
    parts: &Parts,
    request: pb::ListRestoreJobsRequest,
) -> Result<pb::ListRestoreJobsResponse, Failure> {
    let given = |text: &'_ String| -> Option<String> { (!text.is_empty()).then(|| text.clone()) };
    let (database, name) = (given(&request.db_name), given(&request.collection_name));
    let jobs = parts.meta().jobs(database.as_deref(), name.as_deref()).await?;
    let now_ms = parts.now_ms();
    Ok(pb::ListRestoreJobsResponse { jobs: jobs.into_iter().map(|job| convert::job(job, now_ms)).collect() })
}

pub(super) async fn cancel(parts: &Parts, of: pb::JobRef) -> Result<pb::RestoreJob, Failure> {
    let (job, revoked) = parts.coordinator.cancel_job(JobId(of.job_id)).await?;
    parts.revocations.add(job.id, revoked);
    parts.background.activate(RESTORE_CHECK);
    Ok(convert::job(job, parts.now_ms()))
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
        Verdict::Compacted(file) => TaskMessage::Compacted(compacted(file)?),
        Verdict::Indexed(file) => TaskMessage::Indexed(indexed(&file)?),
        Verdict::GivenBack(_) => TaskMessage::GivenBack,
        Verdict::Failed(failed) => {
            let files: Vec<FileError> =
                failed.errors.into_iter().map(|pb::FileError { key, reason }| FileError { key, reason }).collect();
            let reason_of = |file: &FileError| match file.key.as_str() {
                "" => file.reason.clone(),
                key => format!("{key}: {}", file.reason),
            };
            let reasons: Vec<String> = files.iter().map(reason_of).collect();
            let reason = reasons.join("; ");
            if failed.permanent {
                TaskMessage::FailedPermanent { reason, files }
            } else {
                TaskMessage::FailedTransient { reason, files }
            }
        }
    };
    let (task, generation) = (TaskId(report.task_id), Generation(report.generation));
    elanus_trace::note("elanus.task", task.0);
    elanus_trace::note("elanus.report", message.label());
    let answer = parts.coordinator.report_task(task, generation, &NodeId(report.node_id), message).await?;
    if is_last {
        for task in [RESTORE_CHECK, TASK_SCHEDULE, COMPACTION_PLAN, INDEX_PLAN] {
            parts.background.activate(task);
        }
    }
    Ok(pb::TaskReportReply { fenced: answer == Answer::Fenced })
}

/// The index that was built.
fn indexed(file: &pb::task_report::Indexed) -> Result<IndexedFile, Failure> {
    let size = u64::try_from(file.size).map_err(|_| Failure::invalid("an index has a negative size"))?;
    let checksum = file.checksum.parse().map_err(|_| Failure::invalid("a checksum is not hexadecimal"))?;
    Ok(IndexedFile { size, checksum })
}

/// The file that a compaction left, where it left one.
fn compacted(file: pb::task_report::Compacted) -> Result<Option<CompactedFile>, Failure> {
    let number = |n: i64| u64::try_from(n).map_err(|_| Failure::invalid("a compacted file has a negative size"));
    if file.rows == 0 {
        return Ok(None);
    }
    let checksum = file.checksum.parse().map_err(|_| Failure::invalid("a checksum is not hexadecimal"))?;
    Ok(Some(CompactedFile { rows: number(file.rows)?, size: number(file.size)?, checksum }))
}
