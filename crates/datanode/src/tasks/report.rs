//! What a claim tells the coordinator: that it begins, heartbeats while it runs, one verdict at its end.

use super::{Claim, TaskWorker};
use elanus_meta::model::{CompactedFile, IndexedFile};
use elanus_proto::datacoord::{FileError, TaskReport, task_report};
use elanus_types::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RETRY_EVERY: Duration = Duration::from_millis(200);
/// How long a worker that ends tries to give a claim back; then the claim's lease runs out instead.
const GIVE_BACK_MAX: Duration = Duration::from_secs(2);

/// Files and bytes that are copied and verified, or read to be compacted or indexed.
#[derive(Debug, Default)]
pub(super) struct Progress {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    pub(super) fn add(&self, kind: &'static str, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        super::watch::moved(kind, bytes);
    }

    /// Files and bytes.
    pub(super) fn so_far(&self) -> (u64, u64) {
        (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// For how long a claim is this worker's, as far as it knows.
pub(super) struct Lease {
    clock: Arc<dyn Clock>,
    lease_ms: i64,
    until_ms: AtomicI64,
    stop: CancellationToken,
}

impl Lease {
    pub(super) fn new(worker: &TaskWorker, claim: &Claim, stop: CancellationToken) -> Self {
        Self::from_now(worker.clock.clone(), claim.lease_ms, stop)
    }

    pub(super) fn from_now(clock: Arc<dyn Clock>, lease_ms: i64, stop: CancellationToken) -> Self {
        let until_ms = AtomicI64::new(clock.now_ms() + lease_ms);
        Self { clock, lease_ms, until_ms, stop }
    }

    /// True while the worker may write.
    pub(super) fn holds(&self) -> bool {
        if self.clock.now_ms() >= self.until_ms.load(Ordering::Relaxed) {
            self.stop.cancel(); // CW-3
        }
        !self.stop.is_cancelled()
    }

    #[cfg(test)]
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns when the worker must stop.
    pub(super) async fn lost(&self) {
        self.stop.cancelled().await;
    }

    /// What a heartbeat that was sent at `asked_ms` says.
    fn heard(&self, asked_ms: i64, fenced: bool) {
        if fenced {
            self.stop.cancel(); // CW-3
        } else {
            self.until_ms.fetch_max(asked_ms + self.lease_ms, Ordering::Relaxed);
        }
    }
}

/// How a claim ended.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Copied,
    /// What is left of the rows; nothing where there is no file.
    Compacted(Option<CompactedFile>),
    /// The index is at its key.
    Indexed(IndexedFile),
    /// Keys with reasons; an empty key where no file was the matter.
    Failed {
        permanent: bool,
        errors: Vec<(String, String)>,
    },
}

/// Asks until the coordinator says that the claim is this worker's; false when it is not, or was lost meanwhile.
pub(super) async fn confirm(worker: &TaskWorker, claim: &Claim, lease: &Lease) -> bool {
    while lease.holds() {
        let asked_ms = worker.clock.now_ms();
        let beat = task_report::Heartbeat { files_done: 0, bytes_done: 0 };
        match send(worker, claim, task_report::Verdict::Heartbeat(beat)).await {
            Ok(fenced) => {
                lease.heard(asked_ms, fenced);
                return lease.holds();
            }
            Err(error) => tracing::warn!(task = %claim.task, %error, "a claim is not confirmed yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_EVERY) => {}
            () = lease.lost() => {}
        }
    }
    false
}

/// Runs the work while heartbeats renew the lease. `None` when the claim was lost or stopped.
pub(super) async fn while_beating(
    worker: &TaskWorker,
    claim: &Claim,
    progress: &Arc<Progress>,
    lease: &Lease,
    working: impl Future<Output = Option<Verdict>>,
) -> Option<Verdict> {
    tokio::pin!(working);
    let every = Duration::from_millis(u64::try_from(claim.lease_ms / 3).unwrap_or(1).max(1));
    loop {
        tokio::select! {
            verdict = &mut working => return verdict,
            () = tokio::time::sleep(every) => {}
        }
        let asked_ms = worker.clock.now_ms();
        let beat = task_report::Heartbeat {
            files_done: signed(progress.files.load(Ordering::Relaxed)),
            bytes_done: signed(progress.bytes.load(Ordering::Relaxed)),
        };
        // The work goes on while the coordinator is asked, and however long it takes to answer.
        let answer = tokio::select! {
            verdict = &mut working => return verdict,
            answer = send(worker, claim, task_report::Verdict::Heartbeat(beat)) => answer,
        };
        match answer {
            Ok(fenced) => lease.heard(asked_ms, fenced),
            Err(error) => tracing::warn!(task = %claim.task, %error, "a heartbeat did not arrive"),
        }
        // Stops the work when it is over (CW-3).
        let _ = lease.holds();
    }
}

/// Tells that nothing of the claim runs any more, as well as it can.
pub(super) async fn give_back(worker: &TaskWorker, claim: &Claim) {
    let told = send(worker, claim, task_report::Verdict::GivenBack(task_report::GivenBack {}));
    match tokio::time::timeout(GIVE_BACK_MAX, told).await {
        Ok(Ok(_heard)) => {}
        Ok(Err(error)) => tracing::warn!(task = %claim.task, %error, "a claim was not given back: its lease runs out"),
        Err(_) => tracing::warn!(task = %claim.task, "a claim was not given back in time: its lease runs out"),
    }
}

/// Tells the verdict until it is heard, the claim is lost, or its lease has ended; once at least.
pub(super) async fn deliver(worker: &TaskWorker, claim: &Claim, verdict: Verdict, lease: &Lease) {
    let verdict = match verdict {
        Verdict::Copied => task_report::Verdict::Finished(task_report::Finished {}),
        Verdict::Compacted(None) => task_report::Verdict::Compacted(task_report::Compacted::default()),
        Verdict::Compacted(Some(file)) => task_report::Verdict::Compacted(task_report::Compacted {
            rows: signed(file.rows),
            size: signed(file.size),
            checksum: file.checksum.to_string(),
        }),
        Verdict::Indexed(file) => task_report::Verdict::Indexed(task_report::Indexed {
            size: signed(file.size),
            checksum: file.checksum.to_string(),
        }),
        Verdict::Failed { permanent, errors } => task_report::Verdict::Failed(task_report::Failed {
            permanent,
            errors: errors.into_iter().map(|(key, reason)| FileError { key, reason }).collect(),
        }),
    };
    loop {
        match send(worker, claim, verdict.clone()).await {
            Ok(_heard) => return,
            Err(error) => tracing::warn!(task = %claim.task, %error, "a verdict did not arrive"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_EVERY) => {}
            () = lease.lost() => {}
        }
        if !lease.holds() {
            return;
        }
    }
}

/// True when the coordinator answers that the claim is lost.
async fn send(worker: &TaskWorker, claim: &Claim, verdict: task_report::Verdict) -> Result<bool, tonic::Status> {
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
