//! What a claim tells the coordinator: heartbeats while it runs, one verdict at its end.

use super::{Claim, CopyWorker};
use elanus_proto::datacoord::{FileError, TaskReport, task_report};
use elanus_types::ObjectKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Files and bytes that are copied and verified.
#[derive(Debug, Default)]
pub(super) struct Progress {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    pub(super) fn add(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How a claim ended.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Finished,
    Failed { permanent: bool, errors: Vec<(ObjectKey, String)> },
}

/// Runs the copying while heartbeats renew the lease. `None` when the claim was lost or stopped.
pub(super) async fn while_beating(
    worker: &CopyWorker,
    claim: &Claim,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
    copying: impl Future<Output = Option<Verdict>>,
) -> Option<Verdict> {
    tokio::pin!(copying);
    let every = Duration::from_millis(u64::try_from(claim.lease_ms / 3).unwrap_or(1).max(1));
    let mut lease_until_ms = worker.clock.now_ms() + claim.lease_ms;
    loop {
        tokio::select! {
            verdict = &mut copying => return verdict,
            () = tokio::time::sleep(every) => {}
        }
        let asked_ms = worker.clock.now_ms();
        let beat = task_report::Heartbeat {
            files_done: signed(progress.files.load(Ordering::Relaxed)),
            bytes_done: signed(progress.bytes.load(Ordering::Relaxed)),
        };
        // The copying goes on while the coordinator is asked, and however long it takes to answer.
        let answer = tokio::select! {
            verdict = &mut copying => return verdict,
            answer = send(worker, claim, task_report::Verdict::Heartbeat(beat)) => answer,
        };
        match answer {
            Ok(false) => lease_until_ms = asked_ms + claim.lease_ms,
            Ok(true) => stop.cancel(),
            Err(error) => tracing::warn!(task = %claim.task, %error, "a heartbeat did not arrive"),
        }
        if worker.clock.now_ms() >= lease_until_ms {
            stop.cancel(); // CW-3
        }
    }
}

/// Tells the verdict until it is heard, the claim is lost, or its lease has ended.
pub(super) async fn deliver(worker: &CopyWorker, claim: &Claim, verdict: Verdict, stop: &CancellationToken) {
    let verdict = match verdict {
        Verdict::Finished => task_report::Verdict::Finished(task_report::Finished {}),
        Verdict::Failed { permanent, errors } => task_report::Verdict::Failed(task_report::Failed {
            permanent,
            errors: errors.into_iter().map(|(key, reason)| FileError { key: key.to_string(), reason }).collect(),
        }),
    };
    let give_up_ms = worker.clock.now_ms() + claim.lease_ms;
    while !stop.is_cancelled() && worker.clock.now_ms() < give_up_ms {
        match send(worker, claim, verdict.clone()).await {
            Ok(_heard) => return,
            Err(error) => tracing::warn!(task = %claim.task, %error, "a verdict did not arrive"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// True when the coordinator answers that the claim is lost.
async fn send(worker: &CopyWorker, claim: &Claim, verdict: task_report::Verdict) -> Result<bool, tonic::Status> {
    let report = TaskReport {
        task_id: claim.task.0,
        generation: claim.generation.0,
        node_id: worker.node.to_string(),
        verdict: Some(verdict),
    };
    Ok(worker.datacoord.clone().report_task(report).await?.into_inner().fenced)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
