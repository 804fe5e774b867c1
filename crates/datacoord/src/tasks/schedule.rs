//! The scheduler: gives pending tasks to workers that have free slots. The claim is durable before the worker hears of it,
//! so two schedulers never give one task twice; a worker confirms its claim before it writes.

use super::revoke::tell_all;
use super::turns::{Limits, Turns};
use crate::Parts;
use crate::background::{RESTORE_CHECK, TASK_SCHEDULE};
use elanus_meta::MetaError;
use elanus_meta::model::{Assignment, TaskOwner, TaskRecord, WorkerRecord};
use elanus_proto::datanode::{AssignTaskRequest, CopyFile};
use elanus_runtime::background::Report;
use elanus_trace::Instrument as _;
use elanus_types::{Failure, Generation, NodeId, TaskId};
use futures::{StreamExt as _, stream};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Pending tasks of a kind that one round looks at. The store gives the first of every job, then the second of every job, and so on.
const LOOK_MAX: u32 = 1_024;
/// Workers that are told at the same time.
pub(super) const TELL_AT_ONCE: usize = 16;
/// How long a worker may take to answer; then it is asked again later.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What the scheduler remembers between its rounds. Lost with the process, which costs nothing but repetitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    turns: Arc<Mutex<Turns>>,
    /// Claims that their workers have accepted.
    accepted: Arc<Mutex<HashSet<(TaskId, Generation)>>>,
}

impl Schedule {
    fn give<'t>(
        &self,
        workers: &[WorkerRecord],
        busy: &[TaskRecord],
        pending: &'t [TaskRecord],
        limits: Limits,
    ) -> Vec<(&'t TaskRecord, NodeId)> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.give(workers, busy, pending, limits)
    }

    /// Claims that nobody is known to have accepted; forgets those that are over.
    fn unheard<'t>(&self, busy: &'t [TaskRecord]) -> Vec<&'t TaskRecord> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let present: HashSet<_> = busy.iter().map(|task| (task.id, task.generation)).collect();
        accepted.retain(|claim| present.contains(claim));
        busy.iter().filter(|task| !accepted.contains(&(task.id, task.generation))).collect()
    }

    fn accept(&self, task: TaskId, generation: Generation) {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert((task, generation));
    }
}

pub(crate) async fn schedule(parts: &Parts) -> Result<Report, Failure> {
    let busy = parts.meta().in_progress_tasks().await?;
    let workers = parts.meta().workers().await?;
    let mut dispatches = again(parts, &workers, &busy).await?;
    let pending = parts.meta().pending_tasks(LOOK_MAX).await?;
    let limits = Limits {
        job: parts.config.copy_job_tasks_max,
        compactions: parts.config.compaction.tasks_max,
        index_builds: parts.config.index.tasks_max,
    };
    let given = parts.schedule.give(&workers, &busy, &pending, limits);
    let (mut handled, mut failed) = (0, 0);
    for (task, node) in given {
        let lease_until_ms = parts.now_ms() + parts.config.copy_lease_ms;
        let step = elanus_trace::continued!(
            task.traceparent.as_ref(),
            "datacoord.task.claim",
            elanus.task = task.id.0,
            elanus.node = node.0,
            elanus.attempt = task.attempt
        );
        let claim = parts.coordinator.claim_task(task.id, task.generation, &node, lease_until_ms);
        let claimed = match claim.instrument(step).await {
            Ok(claimed) => claimed,
            // One task that cannot be given keeps no other waiting (O-1).
            Err(error @ (MetaError::Refused(_) | MetaError::Corrupt(_))) => {
                tracing::error!(task = %task.id, owner = ?task.owner, %error, "a task cannot be given to a worker");
                failed += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if let Some((assignment, worker)) = claimed.zip(find(&workers, &node)) {
            dispatches.push((assignment, worker));
            handled += 1;
        }
    }
    let calls: Vec<_> =
        dispatches.into_iter().map(|(assignment, worker)| dispatch(parts, assignment, worker)).collect();
    stream::iter(calls).buffer_unordered(TELL_AT_ONCE).collect::<()>().await;
    let text = match (workers.len(), pending.len()) {
        (0, 1..) => "no data node is registered: tasks wait for one",
        _ => "",
    };
    Ok(Report { text: text.to_owned(), failed, ..Report::handled(handled) })
}

fn find<'w>(workers: &'w [WorkerRecord], node: &NodeId) -> Option<&'w WorkerRecord> {
    workers.iter().find(|worker| worker.node == *node)
}

/// Claims whose worker never heard of them, or whose coordinator died before it told: told again, which is free.
async fn again<'w>(
    parts: &Parts,
    workers: &'w [WorkerRecord],
    busy: &[TaskRecord],
) -> Result<Vec<(Assignment, &'w WorkerRecord)>, Failure> {
    let mut dispatches = vec![];
    for task in parts.schedule.unheard(busy) {
        let Some(worker) = task.worker.as_ref().and_then(|node| find(workers, node)) else { continue };
        if let Some(assignment) = parts.coordinator.assignment(task.id).await? {
            dispatches.push((assignment, worker));
        }
    }
    Ok(dispatches)
}

async fn dispatch(parts: &Parts, assignment: Assignment, worker: &WorkerRecord) {
    let step = elanus_trace::continued!(
        assignment.traceparent.as_ref(),
        "datacoord.task.assign",
        elanus.task = assignment.task.0,
        elanus.files = assignment.files.len(),
        elanus.node = worker.node.0
    );
    tell_worker(parts, assignment, worker).instrument(step).await;
}

async fn tell_worker(parts: &Parts, assignment: Assignment, worker: &WorkerRecord) {
    let (task, generation) = (assignment.task, assignment.generation);
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
    let (job_id, compaction, index_build) = match assignment.owner {
        TaskOwner::Job(job) => (job.0, false, false),
        TaskOwner::Collection(_) => (0, true, false),
        TaskOwner::Index(_) => (0, false, true),
    };
    let request = AssignTaskRequest {
        task_id: task.0,
        job_id,
        generation: generation.0,
        lease_ms: parts.config.copy_lease_ms,
        files,
        node_id: worker.node.to_string(),
        compaction,
        index_build,
    };
    let mut client = match parts.workers.reach(worker) {
        Ok(client) => client,
        Err(error) => {
            tracing::warn!(%task, %error, "a worker cannot be reached: the task waits for the end of its lease");
            return;
        }
    };
    match tokio::time::timeout(ANSWER_MAX, client.assign_task(request)).await {
        Ok(Ok(answer)) if answer.get_ref().accepted => parts.schedule.accept(task, generation),
        Ok(Ok(_)) => tracing::debug!(%task, worker = %worker.node, "the worker has no free slot; it is told again"),
        Ok(Err(error)) => {
            tracing::warn!(%task, worker = %worker.node, %error, "a worker could not be told; it is told again")
        }
        Err(_) => tracing::warn!(%task, worker = %worker.node, "a worker does not answer; it is told again"),
    }
}

/// A service that is silent is shown to operators for so long, in milliseconds.
const SILENT_MS: i64 = 600_000;

/// Takes tasks from workers that are silent, and tells them, should they only be slow; forgets services that are gone.
pub(crate) async fn expire(parts: &Parts) -> Result<Report, Failure> {
    let revoked = parts.coordinator.expire_tasks().await?;
    for one in &revoked {
        tracing::warn!(task = %one.task, worker = %one.worker, "a worker lost its task: no heartbeat");
    }
    tell_all(parts, &revoked).await?;
    let gone = parts.coordinator.forget_services(SILENT_MS).await?;
    for node in &gone {
        tracing::warn!(%node, "a service is forgotten: it was silent for ten minutes");
    }
    if !revoked.is_empty() {
        parts.background.activate(TASK_SCHEDULE);
        parts.background.activate(RESTORE_CHECK);
    }
    Ok(Report::handled((revoked.len() + gone.len()) as u64))
}
