//! The calls that a worker takes.

use crate::tasks::{Claim, TaskWorker};
use crate::write::{Write, WriteQueues};
use elanus_meta::Meta;
use elanus_meta::model::{ServiceKind, ServiceRecord};
use elanus_objects::ObjectStore;
use elanus_proto::convert::failure_to_grpc;
use elanus_proto::datacoord::data_coord_client::DataCoordClient;
use elanus_proto::datanode as pb;
use elanus_proto::transport::Channel;
use elanus_runtime::background::Background;
use elanus_runtime::registration::{Registration, SERVICE_LEASE_MS};
use elanus_segment::{PkColumn, from_ipc};
use elanus_types::{CollectionId, Epoch, Failure, Generation, NodeId, PartitionId, TaskId};
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

/// Limits of a worker.
#[derive(Clone, Copy, Debug)]
pub struct DataNodeConfig {
    /// Tasks at the same time: copies and compactions.
    pub copy_slots: usize,
    /// Files that are copied at the same time, by all tasks together, before anything is known of the store.
    pub copies_at_once_first: usize,
    /// As many at most, whatever the store bears.
    pub copies_at_once_max: usize,
    /// A node that is silent for so long gets no more work, in milliseconds.
    pub worker_lease_ms: i64,
}

impl Default for DataNodeConfig {
    fn default() -> Self {
        Self { copy_slots: 4, copies_at_once_first: 16, copies_at_once_max: 64, worker_lease_ms: SERVICE_LEASE_MS }
    }
}

/// A worker. Cheap to clone: clones are the same worker.
#[derive(Clone)]
pub struct DataNode {
    writes: WriteQueues,
    work: TaskWorker,
    meta: Meta,
    config: DataNodeConfig,
    /// This node's place in the registry, where it has one.
    registration: Arc<OnceLock<Registration>>,
    tasks: TaskTracker,
}

impl DataNode {
    /// A worker that writes as `node`.
    #[must_use]
    pub fn new(
        meta: Meta,
        objects: Arc<dyn ObjectStore>,
        datacoord: DataCoordClient<Channel>,
        node: NodeId,
        config: DataNodeConfig,
    ) -> Self {
        let tasks = TaskTracker::new();
        Self {
            meta: meta.clone(),
            config,
            registration: Arc::default(),
            writes: WriteQueues::new(meta.clone(), objects.clone(), node.clone(), tasks.clone()),
            work: TaskWorker::new(meta, objects, datacoord, node, config, tasks.clone()),
            tasks,
        }
    }

    /// Keeps this node in the registry of services from now on, as one that answers at `address` (`host:port`; empty: only
    /// inside its own process).
    pub fn register(&self, background: &Background, address: &str) {
        let (kind, slots, address) = (ServiceKind::DataNode, self.config.copy_slots, address.to_owned());
        let (management, version) = (String::new(), env!("CARGO_PKG_VERSION").to_owned());
        let (node, epoch, lease_until_ms, started_ms) = (self.work.node.clone(), Epoch(0), 0, 0);
        let me = ServiceRecord { node, kind, address, management, version, epoch, slots, lease_until_ms, started_ms };
        self.register_as(background, Registration::new(self.meta.clone(), me, self.config.worker_lease_ms));
    }

    /// As [`DataNode::register`], for a process that has a place of its own. The first one counts.
    pub fn register_as(&self, background: &Background, registration: Registration) {
        self.registration.get_or_init(|| registration).start(background);
    }

    /// Ends when every write that was taken is answered and no task runs; what was not done yet is given back. No call
    /// may be made afterwards.
    pub async fn shutdown(&self) {
        if let Some(registration) = self.registration.get() {
            registration.end().await;
        }
        self.work.stop_all();
        self.writes.close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl DataNode {
    /// An earlier process may have had the address that this one has now.
    fn require_me(&self, meant: &str) -> Result<(), Status> {
        let me = &self.work.node;
        if meant == me.0 {
            return Ok(());
        }
        Err(Status::failed_precondition(format!("node {meant:?} is meant, this is {me}")))
    }
}

impl fmt::Debug for DataNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataNode")
    }
}

#[tonic::async_trait]
impl pb::data_node_server::DataNode for DataNode {
    async fn write(&self, request: Request<pb::WriteRequest>) -> Result<Response<pb::WriteResponse>, Status> {
        let request = request.into_inner();
        let collection = CollectionId(request.collection_id);
        let write = decode(request).map_err(failure_to_grpc)?;
        let timestamp = self.writes.commit(collection, write).await.map_err(failure_to_grpc)?;
        Ok(Response::new(pb::WriteResponse { timestamp: timestamp.0.cast_unsigned() }))
    }

    async fn assign_task(
        &self,
        request: Request<pb::AssignTaskRequest>,
    ) -> Result<Response<pb::AssignTaskResponse>, Status> {
        let request = request.into_inner();
        self.require_me(&request.node_id)?;
        let claim = Claim::try_from(request).map_err(failure_to_grpc)?;
        Ok(Response::new(pb::AssignTaskResponse { accepted: self.work.assign(claim).await }))
    }

    async fn drop_task(&self, request: Request<pb::DropTaskRequest>) -> Result<Response<pb::DropTaskResponse>, Status> {
        let request = request.into_inner();
        self.require_me(&request.node_id)?;
        self.work.drop_task(TaskId(request.task_id), Generation(request.generation)).await;
        Ok(Response::new(pb::DropTaskResponse {}))
    }
}

fn decode(request: pb::WriteRequest) -> Result<Write, Failure> {
    let rows = request
        .rows
        .into_iter()
        .map(|rows| {
            let batch = from_ipc(rows.arrow_ipc).map_err(|e| Failure::invalid(e.to_string()))?;
            Ok((PartitionId(rows.partition_id), batch))
        })
        .collect::<Result<_, Failure>>()?;
    let deletes = request
        .deletes
        .into_iter()
        .filter_map(|deletes| {
            let keys = match deletes.keys? {
                pb::delete_batch::Keys::Int64Keys(keys) => PkColumn::Int(keys.values),
                pb::delete_batch::Keys::StringKeys(keys) => PkColumn::Str(keys.values),
            };
            (!keys.is_empty()).then_some((PartitionId(deletes.partition_id), keys))
        })
        .collect();
    Ok(Write { rows, deletes })
}
