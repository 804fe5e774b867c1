//! What services in processes of their own have in common: the metadata, the objects, an address for the others.

use super::values::host_and_port;
use crate::root::Places;
use crate::s3::S3Args;
use crate::services::error::StartError;
use anyhow::anyhow;
use clap::Args;
use std::net::SocketAddr;

/// The stores that all services of a cluster share.
#[derive(Clone, Debug, Args)]
pub(in crate::services) struct SharedArgs {
    /// Metadata store of the cluster: postgres://USER:PASSWORD@HOST/DATABASE, after elanus migrate
    #[arg(long, value_name = "URL", env = "ELANUS_META", hide_env_values = true)]
    meta: Option<String>,
    /// Object store of the cluster: s3://BUCKET/ROOT/PATH, or file:///DIR of a file system that all services share
    #[arg(long, value_name = "URL", env = "ELANUS_OBJECTS", hide_env_values = true)]
    objects: Option<String>,
    #[command(flatten)]
    s3: S3Args,
}

impl SharedArgs {
    pub(in crate::services) fn places(&self) -> Result<Places, StartError> {
        Places::shared(self.meta.as_deref(), self.objects.as_deref(), &self.s3).map_err(StartError::Usage)
    }
}

/// How the others reach this process.
#[derive(Clone, Debug, Args)]
pub(in crate::services) struct MemberArgs {
    /// Address where the other services reach this one [default: that of --listen]
    #[arg(long, value_name = "HOST:PORT", env = "ELANUS_ADVERTISE", value_parser = host_and_port)]
    advertise: Option<String>,
}

impl MemberArgs {
    /// Refuses an address that no other machine can reach, before it is listened on.
    pub(in crate::services) fn check(&self, listen: SocketAddr) -> Result<(), StartError> {
        if self.advertise.is_none() && listen.ip().is_unspecified() {
            let text = format!(
                "--listen {listen} is every address of this machine and none that others reach: give --advertise HOST:PORT"
            );
            return Err(StartError::Usage(anyhow!(text)));
        }
        Ok(())
    }

    /// The address for the others, once it is known where this process listens.
    pub(in crate::services) fn address(&self, listen: SocketAddr) -> String {
        self.advertise.clone().unwrap_or_else(|| listen.to_string())
    }
}
