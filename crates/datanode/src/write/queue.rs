//! One queue a collection: whatever waits while a group is being written is the next group. No timer, no delay.

use super::commit::Committer;
use super::group::Write;
use elanus_meta::Meta;
use elanus_objects::ObjectStore;
use elanus_trace::{Instrument as _, Span};
use elanus_types::{CollectionId, Failure, NodeId, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Requests that may wait at one collection; more callers wait before they enter.
const WAITING_MAX: usize = 1_024;
/// A group stops growing here, in bytes of memory.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// A group stops growing here, in requests.
const GROUP_WRITES_MAX: usize = 1_024;
/// A queue without work goes away after this time.
const IDLE: Duration = Duration::from_secs(60);

/// A write and who waits for it.
pub(crate) struct Waiting {
    pub(crate) write: Write,
    pub(crate) reply: oneshot::Sender<Result<Timestamp, Failure>>,
    /// The request that it is part of.
    pub(crate) step: Span,
}

/// The queues of all collections that are being written to.
#[derive(Clone)]
pub(crate) struct WriteQueues {
    queues: Arc<Mutex<HashMap<CollectionId, mpsc::Sender<Waiting>>>>,
    committer: Committer,
    tasks: TaskTracker,
}

impl WriteQueues {
    pub(crate) fn new(meta: Meta, objects: Arc<dyn ObjectStore>, node: NodeId, tasks: TaskTracker) -> Self {
        Self { queues: Arc::default(), committer: Committer { meta, objects, node }, tasks }
    }

    /// Takes no more work; what waits is still done.
    pub(crate) fn close(&self) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Commits one write, together with others; its timestamp. When this returns `Ok`, the write is durable (D-1).
    pub(crate) async fn commit(&self, collection: CollectionId, write: Write) -> Result<Timestamp, Failure> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = Waiting { write, reply, step: Span::current() };
        loop {
            match self.queue(collection).send(waiting).await {
                Ok(()) => break,
                // The queue was just going away for want of work.
                Err(mpsc::error::SendError(back)) => waiting = back,
            }
        }
        answer.await.unwrap_or_else(|_| {
            Err(Failure::internal("the write was cut off; it may have been applied: read before you repeat it"))
        })
    }

    fn queue(&self, collection: CollectionId) -> mpsc::Sender<Waiting> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|_, queue| !queue.is_closed());
        queues
            .entry(collection)
            .or_insert_with(|| {
                let (sender, receiver) = mpsc::channel(WAITING_MAX);
                self.tasks.spawn(self.clone().run(collection, receiver));
                sender
            })
            .clone()
    }

    async fn run(self, collection: CollectionId, mut queue: mpsc::Receiver<Waiting>) {
        loop {
            let first = match tokio::time::timeout(IDLE, queue.recv()).await {
                Ok(Some(waiting)) => waiting,
                Ok(None) => return,
                Err(_idle) => {
                    // What was sent before the close is still received, by the next turns of this loop.
                    queue.close();
                    continue;
                }
            };
            let mut bytes = size(&first.write);
            let mut group = vec![first];
            while bytes < GROUP_BYTES_MAX && group.len() < GROUP_WRITES_MAX {
                let Ok(next) = queue.try_recv() else { break };
                bytes += size(&next.write);
                group.push(next);
            }
            // A group is told in the trace of the request that came first.
            let step = group[0].step.clone();
            let requests = group.len();
            metrics::counter!("elanus_datanode_writes_total").increment(requests as u64);
            let commit = self.committer.commit_group(collection, group);
            let commit = async {
                let step = elanus_trace::inner!(
                    "datanode.commit",
                    elanus.collection_id = collection.0,
                    elanus.requests = requests
                );
                commit.instrument(step).await;
            };
            commit.instrument(step).await;
            metrics::counter!("elanus_datanode_commits_total").increment(1);
        }
    }
}

fn size(write: &Write) -> usize {
    let rows: usize = write.rows.iter().map(|(_, batch)| batch.get_array_memory_size()).sum();
    let keys: usize = write.deletes.iter().map(|(_, keys)| keys.len() * 32).sum();
    rows + keys
}
