//! The scheduler: gives pending tasks to the worker while it has free slots. The claim is durable before the worker hears
//! of it, so two schedulers never give one task twice.

use crate::Parts;
use crate::background::{RESTORE_CHECK, RESTORE_SCHEDULE};
use crate::restore::revoke::tell;
use elanus_meta::model::Assignment;
use elanus_proto::datanode::{AssignTaskRequest, CopyFile};
use elanus_runtime::background::Report;
use elanus_types::{Failure, NodeId};

pub(crate) async fn schedule(parts: &Parts) -> Result<Report, Failure> {
    let busy = parts.meta().in_progress_tasks().await?;
    // A task whose worker never heard of it, or whose coordinator died before it told: told again, which is free.
    for task in &busy {
        if let Some(assignment) = parts.coordinator.assignment(task.id).await? {
            dispatch(parts, assignment).await;
        }
    }
    let free = parts.config.copy_slots.saturating_sub(busy.len());
    let mut handled = 0;
    if free > 0 {
        for task in parts.meta().pending_tasks(u32::try_from(free).unwrap_or(u32::MAX)).await? {
            let lease_until_ms = parts.now_ms() + parts.config.copy_lease_ms;
            // The only worker that this coordinator knows is its own process.
            let worker: &NodeId = &parts.node;
            let claimed = parts.coordinator.claim_task(task.id, task.generation, worker, lease_until_ms).await?;
            if let Some(assignment) = claimed {
                dispatch(parts, assignment).await;
                handled += 1;
            }
        }
    }
    Ok(Report::handled(handled))
}

async fn dispatch(parts: &Parts, assignment: Assignment) {
    let task = assignment.task;
    let files = assignment
        .files
        .into_iter()
        .map(|file| CopyFile {
            source_key: file.source.key.to_string(),
            target_key: file.target.to_string(),
            size: i64::try_from(file.source.size).unwrap_or(i64::MAX),
            checksum: file.source.checksum.to_string(),
        })
        .collect();
    let request = AssignTaskRequest {
        task_id: task.0,
        job_id: assignment.job.0,
        generation: assignment.generation.0,
        lease_ms: parts.config.copy_lease_ms,
        files,
    };
    match parts.datanode.clone().assign_task(request).await {
        Ok(answer) if answer.get_ref().accepted => {}
        Ok(_) => tracing::debug!(%task, "the worker has no free slot; it is told again"),
        Err(error) => tracing::warn!(%task, %error, "the worker could not be told; it is told again"),
    }
}

/// Takes tasks from workers that are silent, and tells them, should they only be slow.
pub(crate) async fn expire(parts: &Parts) -> Result<Report, Failure> {
    let revoked = parts.coordinator.expire_tasks().await?;
    for one in &revoked {
        tracing::warn!(task = %one.task, worker = %one.worker, "a worker lost its copy task: no heartbeat");
        tell(parts, one).await;
    }
    if !revoked.is_empty() {
        parts.background.activate(RESTORE_SCHEDULE);
        parts.background.activate(RESTORE_CHECK);
    }
    Ok(Report::handled(revoked.len() as u64))
}
