//! Workers that lost their tasks are told so, until they say that they have stopped or their lease must have ended.

use crate::Parts;
use elanus_meta::model::Revoked;
use elanus_proto::datanode::DropTaskRequest;
use elanus_types::JobId;
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
        let mut left = Vec::new();
        let mut all_told = !waiting.is_empty();
        for mut one in waiting {
            if tell(parts, &one.revoked).await {
                continue;
            }
            all_told = false;
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

/// True when the worker answers that it has stopped.
pub(super) async fn tell(parts: &Parts, revoked: &Revoked) -> bool {
    let request = DropTaskRequest { task_id: revoked.task.0, generation: revoked.generation.0 };
    match parts.datanode.clone().drop_task(request).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(task = %revoked.task, worker = %revoked.worker, %error, "a worker cannot be told to stop");
            false
        }
    }
}
