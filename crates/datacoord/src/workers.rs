//! How data nodes are reached. Which ones there are says the registry in the metadata.

use elanus_meta::model::WorkerRecord;
use elanus_proto::datanode::data_node_client::DataNodeClient;
use elanus_proto::transport::{Channel, Dial, datanode_client};
use elanus_types::{Failure, NodeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Reaches data nodes.
pub trait Workers: fmt::Debug + Send + Sync + 'static {
    /// A client of a registered node. Nothing is sent yet.
    ///
    /// # Errors
    /// When there is no way to it.
    fn reach(&self, worker: &WorkerRecord) -> Result<DataNodeClient<Channel>, Failure>;
}

/// The one data node of a process that has everything in it.
#[derive(Debug)]
pub struct OwnWorker {
    node: NodeId,
    client: DataNodeClient<Channel>,
}

impl OwnWorker {
    /// Reaches this node, and no other.
    #[must_use]
    pub fn new(node: NodeId, client: DataNodeClient<Channel>) -> Self {
        Self { node, client }
    }
}

impl Workers for OwnWorker {
    fn reach(&self, worker: &WorkerRecord) -> Result<DataNodeClient<Channel>, Failure> {
        if worker.node == self.node {
            return Ok(self.client.clone());
        }
        Err(Failure::internal(format!("node {} is another process, and this one reaches only itself", worker.node)))
    }
}

/// Channels that are kept; more nodes than that are connected to again and again.
const CHANNELS_MAX: usize = 1_024;

/// Data nodes on the network, by the address in the registry. Connections are made when they are used, and again when
/// they broke.
#[derive(Debug, Default)]
pub struct RemoteWorkers {
    dial: Dial,
    channels: Mutex<HashMap<String, Channel>>,
}

impl RemoteWorkers {
    /// Connects to them like this.
    #[must_use]
    pub fn new(dial: Dial) -> Self {
        Self { dial, channels: Mutex::default() }
    }
}

impl Workers for RemoteWorkers {
    fn reach(&self, worker: &WorkerRecord) -> Result<DataNodeClient<Channel>, Failure> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&worker.address) {
            return Ok(datanode_client(channel.clone()));
        }
        let channel = self
            .dial
            .to(&worker.address)
            .map_err(|error| Failure::internal(format!("node {} at {:?}: {error}", worker.node, worker.address)))?;
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(worker.address.clone(), channel.clone());
        Ok(datanode_client(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(node: &str, address: &str) -> WorkerRecord {
        WorkerRecord { node: NodeId(node.to_owned()), address: address.to_owned(), slots: 1, lease_until_ms: 0 }
    }

    #[tokio::test]
    async fn a_node_without_an_address_cannot_be_reached_from_another_process() {
        let remote = RemoteWorkers::default();
        let failure = remote.reach(&worker("n", "")).unwrap_err();
        assert!(failure.message.contains("node n at \"\""), "{failure}");
        remote.reach(&worker("n", "127.0.0.1:1")).unwrap();
        let own = OwnWorker::new(NodeId("n".into()), remote.reach(&worker("n", "127.0.0.1:1")).unwrap());
        own.reach(&worker("n", "")).unwrap();
        assert!(own.reach(&worker("m", "")).is_err());
    }
}
