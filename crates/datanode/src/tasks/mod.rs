//! The worker of tasks: takes them while it has slots, copies files, compacts or indexes them, reports.
//!
//! CW-1  At most one claim of a task runs here; an older one is stopped before a newer one begins.
//! CW-2  `Finished` is sent only when every file is at its target with the expected size and checksum; `Compacted` and
//!       `Indexed` only when the new file is.
//! CW-3  A worker that is told `fenced`, or cannot renew its lease until it ends, stops writing.
//! CW-4  When `drop_task` returns, nothing of the task runs.
//! CW-5  Nothing is written before the coordinator has confirmed the claim, nor by this clock after its lease: an order
//!       that was on its way for too long has no effect, also when it was carried out long ago (TK-7).
//! CW-6  A worker that ends gives its claims back when nothing of them runs any more.

mod compact;
mod copy;
mod files;
mod gate;
mod index;
mod limit;
mod merge;
mod report;
mod store;
mod watch;

pub(crate) use gate::Gate;

use crate::DataNodeConfig;
use elanus_meta::Meta;
use elanus_meta::model::{CopyFile, StoredObject};
use elanus_objects::ObjectStore;
use elanus_proto::datacoord::data_coord_client::DataCoordClient;
use elanus_proto::datanode::AssignTaskRequest;
use elanus_proto::transport::Channel;
use elanus_trace::{Instrument as _, Span};
use elanus_types::{Clock, Failure, Generation, NodeId, ObjectKey, TaskId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A claim as the coordinator gave it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) task: TaskId,
    pub(crate) generation: Generation,
    pub(crate) lease_ms: i64,
    pub(crate) work: Work,
}

/// What a claim is for.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Copy(Arc<[CopyFile]>),
    /// What exactly, stands in the metadata.
    Compact,
    /// As with a compaction.
    Index,
}

impl Work {
    /// As metrics name it.
    fn label(&self) -> &'static str {
        match self {
            Self::Copy(_) => "copy",
            Self::Compact => "compact",
            Self::Index => "index",
        }
    }

    fn span_name(&self) -> &'static str {
        match self {
            Self::Copy(_) => "datanode.task.copy",
            Self::Compact => "datanode.task.compact",
            Self::Index => "datanode.task.index",
        }
    }
}

impl TryFrom<AssignTaskRequest> for Claim {
    type Error = Failure;

    fn try_from(request: AssignTaskRequest) -> Result<Self, Failure> {
        if request.lease_ms <= 0 {
            return Err(Failure::invalid("a task needs a lease"));
        }
        let file = |file: elanus_proto::datanode::CopyFile| -> Result<CopyFile, Failure> {
            let key = |text: &str| ObjectKey::parse(text).map_err(|e| Failure::invalid(e.to_string()));
            Ok(CopyFile {
                source: StoredObject {
                    key: key(&file.source_key)?,
                    size: u64::try_from(file.size).map_err(|_| Failure::invalid("a file has a negative size"))?,
                    checksum: file.checksum.parse().map_err(|_| Failure::invalid("a checksum is not hexadecimal"))?,
                },
                target: key(&file.target_key)?,
            })
        };
        let work = match (request.compaction, request.index_build) {
            (false, false) => Work::Copy(request.files.into_iter().map(file).collect::<Result<_, _>>()?),
            _ if !request.files.is_empty() => {
                return Err(Failure::invalid("a compaction or an index build has no files to copy"));
            }
            (true, false) => Work::Compact,
            (false, true) => Work::Index,
            (true, true) => return Err(Failure::invalid("a task is one thing: it compacts or builds an index")),
        };
        Ok(Self {
            task: TaskId(request.task_id),
            generation: Generation(request.generation),
            lease_ms: request.lease_ms,
            work,
        })
    }
}

/// A claim that runs here.
#[derive(Clone, Debug)]
struct Running {
    generation: Generation,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// All tasks of this node.
#[derive(Clone)]
pub(crate) struct TaskWorker {
    pub(crate) meta: Meta,
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) datacoord: DataCoordClient<Channel>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) node: NodeId,
    slots: usize,
    files_at_once_max: usize,
    /// Of all tasks together.
    gate: Gate,
    tasks: TaskTracker,
    running: Arc<Mutex<HashMap<TaskId, Running>>>,
    closing: CancellationToken,
}

impl TaskWorker {
    pub(crate) fn new(
        meta: Meta,
        objects: Arc<dyn ObjectStore>,
        datacoord: DataCoordClient<Channel>,
        node: NodeId,
        config: DataNodeConfig,
        tasks: TaskTracker,
    ) -> Self {
        let bounds = limit::Bounds { min: 1, first: config.copies_at_once_first, max: config.copies_at_once_max };
        Self {
            clock: meta.clock().clone(),
            meta,
            objects,
            datacoord,
            node,
            slots: config.copy_slots,
            files_at_once_max: config.copies_at_once_max.max(1),
            gate: Gate::new(bounds),
            tasks,
            running: Arc::default(),
            closing: CancellationToken::new(),
        }
    }

    /// Begins a claim. False when every slot is taken, when the claim is older than one that runs here, and when the
    /// worker is about to end.
    pub(crate) async fn assign(&self, claim: Claim) -> bool {
        loop {
            if self.closing.is_cancelled() {
                return false;
            }
            let older = {
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                match running.get(&claim.task) {
                    Some(same) if same.generation == claim.generation => return true,
                    Some(newer) if newer.generation > claim.generation => return false,
                    Some(older) => older.clone(),
                    None if running.len() >= self.slots => return false,
                    None => {
                        let stop = CancellationToken::new();
                        let ended = CancellationToken::new();
                        let entry = Running { generation: claim.generation, stop: stop.clone(), ended: ended.clone() };
                        running.insert(claim.task, entry);
                        let step = span(&claim);
                        self.tasks.spawn(self.clone().run(claim, stop, ended, step));
                        return true;
                    }
                }
            };
            older.stop.cancel();
            older.ended.cancelled().await; // CW-1
        }
    }

    /// Stops a claim, or an older one of the same task; returns when nothing of it runs (CW-4).
    pub(crate) async fn drop_task(&self, task: TaskId, generation: Generation) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&task).cloned();
        if let Some(running) = running.filter(|running| running.generation <= generation) {
            running.stop.cancel();
            running.ended.cancelled().await;
        }
    }

    /// Stops everything, and gives it back for others to do (CW-6).
    pub(crate) fn stop_all(&self) {
        self.closing.cancel();
        for running in self.running.lock().unwrap_or_else(PoisonError::into_inner).values() {
            running.stop.cancel();
        }
    }

    async fn run(self, claim: Claim, stop: CancellationToken, ended: CancellationToken, step: Span) {
        // Also when this future panics or is dropped, whoever waits for its end goes on.
        let _ended = ended.drop_guard();
        let _slot = Slot { worker: self.clone(), task: claim.task, generation: claim.generation };
        let progress = Arc::new(report::Progress::default());
        let lease = report::Lease::new(&self, &claim, stop.clone());
        // CW-5
        let _counted = watch::Counted::new(claim.work.label());
        if !report::confirm(&self, &claim, &lease).instrument(step.clone()).await {
            return;
        }
        let working = async {
            match &claim.work {
                Work::Copy(files) => copy::copy_all(&self, &claim, files, &progress, &lease).await,
                Work::Compact => compact::compact(&self, &claim, &progress, &lease).await,
                Work::Index => index::build(&self, &claim, &progress, &lease).await,
            }
        };
        // Heartbeats are outside of the span: a task may have any number of them.
        let verdict = report::while_beating(&self, &claim, &progress, &lease, working.instrument(step.clone())).await;
        watch::ended(&step, &claim.work, &progress, verdict.as_ref());
        async {
            match verdict {
                Some(verdict) => report::deliver(&self, &claim, verdict, &lease).await,
                None if self.closing.is_cancelled() => report::give_back(&self, &claim).await, // CW-6
                None => {}
            }
        }
        .instrument(step)
        .await;
    }
}

/// The whole of a claim, as part of the request that it is for.
fn span(claim: &Claim) -> Span {
    let (files, bytes) = match &claim.work {
        Work::Copy(files) => (files.len(), files.iter().map(|file| file.source.size).sum()),
        Work::Compact | Work::Index => (0, 0),
    };
    elanus_trace::inner!(
        "task",
        otel.name = claim.work.span_name(),
        elanus.task = claim.task.0,
        elanus.generation = claim.generation.0,
        elanus.files = files,
        elanus.bytes = bytes,
        elanus.files_done = tracing::field::Empty,
        elanus.bytes_done = tracing::field::Empty,
        elanus.ended = tracing::field::Empty,
    )
}

/// Frees the slot of a claim when it ends, however it ends.
struct Slot {
    worker: TaskWorker,
    task: TaskId,
    generation: Generation,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut running = self.worker.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(&self.task).is_some_and(|entry| entry.generation == self.generation) {
            running.remove(&self.task);
        }
    }
}
