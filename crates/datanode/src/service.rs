//! The calls that a worker takes.

use crate::copy::{Claim, CopyWorker};
use crate::write::{Write, WriteQueues};
use elanus_meta::Meta;
use elanus_objects::ObjectStore;
use elanus_proto::convert::failure_to_grpc;
use elanus_proto::datacoord::data_coord_client::DataCoordClient;
use elanus_proto::datanode as pb;
use elanus_proto::transport::Channel;
use elanus_segment::{PkColumn, from_ipc};
use elanus_types::{CollectionId, Failure, Generation, NodeId, PartitionId, TaskId};
use std::fmt;
use std::sync::Arc;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

/// Limits of a worker.
#[derive(Clone, Copy, Debug)]
pub struct DataNodeConfig {
    /// Copy tasks at the same time.
    pub copy_slots: usize,
    /// Files of one copy task at the same time.
    pub copy_files_at_once: usize,
}

impl Default for DataNodeConfig {
    fn default() -> Self {
        Self { copy_slots: 4, copy_files_at_once: 16 }
    }
}

/// A worker. Cheap to clone: clones are the same worker.
#[derive(Clone)]
pub struct DataNode {
    writes: WriteQueues,
    copies: CopyWorker,
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
        let clock = meta.clock().clone();
        Self {
            writes: WriteQueues::new(meta, objects.clone(), node.clone(), tasks.clone()),
            copies: CopyWorker::new(
                objects,
                datacoord,
                clock,
                node,
                (config.copy_slots, config.copy_files_at_once),
                tasks.clone(),
            ),
            tasks,
        }
    }

    /// Ends when every write that was taken is answered and no copy runs. No call may be made afterwards.
    pub async fn shutdown(&self) {
        self.copies.stop_all();
        self.writes.close();
        self.tasks.close();
        self.tasks.wait().await;
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
        let claim = Claim::try_from(request.into_inner()).map_err(failure_to_grpc)?;
        Ok(Response::new(pb::AssignTaskResponse { accepted: self.copies.assign(claim).await }))
    }

    async fn drop_task(&self, request: Request<pb::DropTaskRequest>) -> Result<Response<pb::DropTaskResponse>, Status> {
        let request = request.into_inner();
        self.copies.drop_task(TaskId(request.task_id), Generation(request.generation)).await;
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
