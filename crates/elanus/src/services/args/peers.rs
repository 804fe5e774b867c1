//! Where other services are, for those who do not look them up in the metadata.

use super::values::host_and_port;
use clap::Args;

#[derive(Clone, Debug, Default, Args)]
pub(in crate::services) struct DataCoordArgs {
    /// Coordinators, active or not [default: those in the metadata]
    #[arg(long, value_name = "HOST:PORT,…", env = "ELANUS_DATACOORD", value_delimiter = ',', value_parser = host_and_port)]
    pub(in crate::services) datacoord: Vec<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub(in crate::services) struct PeerArgs {
    #[command(flatten)]
    pub(in crate::services) coordinators: DataCoordArgs,
    /// Data nodes to write with [default: those in the metadata]
    #[arg(long, value_name = "HOST:PORT,…", env = "ELANUS_DATANODE", value_delimiter = ',', value_parser = host_and_port)]
    pub(in crate::services) datanode: Vec<String>,
    /// Query nodes to read with [default: those in the metadata]
    #[arg(long, value_name = "HOST:PORT,…", env = "ELANUS_QUERYNODE", value_delimiter = ',', value_parser = host_and_port)]
    pub(in crate::services) querynode: Vec<String>,
}

impl PeerArgs {
    /// True when nobody has to be looked up.
    pub(in crate::services) fn are_all_given(&self) -> bool {
        !self.coordinators.datacoord.is_empty() && !self.datanode.is_empty() && !self.querynode.is_empty()
    }
}
