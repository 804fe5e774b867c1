//! Workers that lost their tasks are told so, until they say that they have stopped or their lease must have ended.

use super::schedule::{ANSWER_MAX, TELL_AT_ONCE};
use crate::Parts;
use elanus_meta::model::{Revoked, WorkerRecord};
use elanus_proto::datanode::DropTaskRequest;
use elanus_types::{Failure, JobId};
use futures::{StreamExt as _, stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Who is still to be told. Lost with the process: then the workers find out by their next heartbeat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revocations(Arc<Mutex<HashMap<JobId, Vec<Waiting>>>>);

#[derive(Clone, Debug)]
struct Waiting {
    revoked: Revoked,
    /// When the worker has stopped by itself at the latest. Set at the first try to tell it.
    stopped_by_ms: Option<i64>,
}

/// What is known of the workers of a failing job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Each of them has said that it stopped.
    Stopped,
    /// Nobody is left to be told; the leases in the metadata say until when one may write.
    LeasesTell,
    /// Some have not answered yet.
    Waiting,
}

impl Revocations {
    /// Remembers workers that must stop before the job is cleaned up.
    pub(crate) fn add(&self, job: JobId, revoked: Vec<Revoked>) {
        let waiting = revoked.into_iter().map(|revoked| Waiting { revoked, stopped_by_ms: None });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(job).or_default().extend(waiting);
    }

    /// Tells all workers of a job that they must stop.
    pub(crate) async fn settle(&self, parts: &Parts, job: JobId) -> Settled {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&job).unwrap_or_default();
        if waiting.is_empty() {
            return Settled::LeasesTell;
        }
        let revoked: Vec<_> = waiting.iter().map(|one| one.revoked.clone()).collect();
        let told = tell_all(parts, &revoked).await.unwrap_or_else(|_| vec![false; revoked.len()]);
        let mut left = Vec::new();
        let all_told = told.iter().all(|told| *told);
        for (mut one, told) in waiting.into_iter().zip(told) {
            if told {
                continue;
            }
            let stopped_by_ms = *one.stopped_by_ms.get_or_insert(parts.now_ms() + parts.config.copy_lease_ms);
            if parts.now_ms() < stopped_by_ms {
                left.push(one);
            }
        }
        if left.is_empty() {
            return if all_told { Settled::Stopped } else { Settled::LeasesTell };
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(job).or_default().extend(left);
        Settled::Waiting
    }
}

/// Tells workers that they must stop; for each whether it answers that it has.
pub(super) async fn tell_all(parts: &Parts, revoked: &[Revoked]) -> Result<Vec<bool>, Failure> {
    if revoked.is_empty() {
        return Ok(Vec::new());
    }
    let workers = parts.meta().workers().await?;
    let calls: Vec<_> = revoked.iter().map(|one| tell(parts, &workers, one)).collect();
    Ok(stream::iter(calls).buffered(TELL_AT_ONCE).collect().await)
}

async fn tell(parts: &Parts, workers: &[WorkerRecord], revoked: &Revoked) -> bool {
    let (task, node) = (revoked.task, &revoked.worker);
    // One that is not registered any more has ended, or stops when its lease does.
    let Some(worker) = workers.iter().find(|worker| worker.node == *node) else { return false };
    let Ok(mut client) = parts.workers.reach(worker) else { return false };
    let request =
        DropTaskRequest { task_id: task.0, generation: revoked.generation.0, node_id: revoked.worker.to_string() };
    match tokio::time::timeout(ANSWER_MAX, client.drop_task(request)).await {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => tracing::warn!(%task, worker = %node, %error, "a worker cannot be told to stop"),
        Err(_) => tracing::warn!(%task, worker = %node, "a worker that is told to stop does not answer"),
    }
    false
}
