//! The processes of a cluster.

use elanus_types::{Epoch, NodeId};

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKind {
    /// All services in one.
    Standalone,
    /// The Milvus API.
    Proxy,
    /// A coordinator, active or standing by.
    DataCoord,
    /// Writes and copies.
    DataNode,
    /// Reads.
    QueryNode,
}

impl ServiceKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Standalone, Self::Proxy, Self::DataCoord, Self::DataNode, Self::QueryNode];

    /// As on the command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Proxy => "proxy",
            Self::DataCoord => "datacoord",
            Self::DataNode => "datanode",
            Self::QueryNode => "querynode",
        }
    }

    /// The kind with this label.
    #[must_use]
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }

    /// True for processes that take copy tasks.
    #[must_use]
    pub fn copies(self) -> bool {
        matches!(self, Self::Standalone | Self::DataNode)
    }
}

/// A process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Which process: another one after every start.
    pub node: NodeId,
    /// What it is.
    pub kind: ServiceKind,
    /// Where its calls are answered, `host:port`; empty: only inside its own process.
    pub address: String,
    /// Where health and metrics are told, `host:port`; empty: nowhere.
    pub management: String,
    /// Of the program.
    pub version: String,
    /// Of a coordinator that took over; 0: it stands by, or is no coordinator.
    pub epoch: Epoch,
    /// Copy tasks that it takes at a time.
    pub slots: usize,
    /// Until when, without a heartbeat, in milliseconds since 1970.
    pub lease_until_ms: i64,
    /// When it registered, in milliseconds since 1970. Not written: the store notes it.
    pub started_ms: i64,
}
