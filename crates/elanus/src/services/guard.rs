//! Who says whether this process may delete: the owner of the root path, or nobody.

use super::error::StartError;
use elanus_datacoord::{DeleteGuard, Former};
use elanus_meta::Meta;
use elanus_objects::{
    Ownership,
    ownership::{FormerOwner, Freeze, MetaView, Reconciled, Seen, Site, look},
};
use elanus_types::Clock;
use std::sync::Arc;
use uuid::Uuid;

/// What users are told who want to write.
const ONLY_READS: &str = "this server only reads (standalone --read-only): nothing is written; send this to the server that owns the root path";

/// Deletes only what is under this cluster's own root path.
#[derive(Debug)]
pub(super) struct Owner(pub(super) Ownership);

#[tonic::async_trait]
impl DeleteGuard for Owner {
    async fn confirm_for_delete(&self) -> Result<(), String> {
        self.0.confirm_for_delete().await.map_err(|frozen| frozen.to_string())
    }

    async fn mark(&self) -> Result<(), String> {
        self.0.mark().await.map_err(|freeze| freeze.to_string())
    }

    async fn reconciled(&self) -> Result<Option<String>, String> {
        let Reconciled { ended, .. } = self.0.reconciled().await.map_err(|frozen| frozen.to_string())?;
        Ok(ended.map(|hold| Freeze::Hold(hold).to_string()))
    }

    async fn purgeable(&self, cluster_id: &str) -> Result<Former, String> {
        let cluster = Uuid::parse_str(cluster_id).map_err(|_| format!("{cluster_id} is not the id of a cluster"))?;
        let FormerOwner { taken_ms, reason, .. } = self.0.purgeable(cluster).await?;
        Ok(Former { cluster_id: cluster.to_string(), taken_ms, reason })
    }
}

/// Deletes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nobody;

#[tonic::async_trait]
impl DeleteGuard for Nobody {
    async fn confirm_for_delete(&self) -> Result<(), String> {
        Err(ONLY_READS.to_owned())
    }

    async fn mark(&self) -> Result<(), String> {
        Err(ONLY_READS.to_owned())
    }

    async fn reconciled(&self) -> Result<Option<String>, String> {
        Err(ONLY_READS.to_owned())
    }

    async fn purgeable(&self, _cluster_id: &str) -> Result<Former, String> {
        Err(ONLY_READS.to_owned())
    }
}

/// The metadata of a process that only reads. Takes nothing, makes nothing, writes nothing: whoever owns the root path is
/// not disturbed.
pub(super) async fn metadata_to_read(
    meta_url: &str,
    site: &Site,
    known: &MetaView,
    clock: Arc<dyn Clock>,
) -> Result<Meta, StartError> {
    let owner = match look(site, true).await.seen {
        Seen::Marker(marker) if marker.cluster_id == known.cluster_id => "this cluster".to_owned(),
        Seen::Marker(marker) => format!("cluster {}", marker.cluster_id),
        Seen::Absent { .. } => "nobody".to_owned(),
        Seen::Newer(_) | Seen::Unreadable(_) => "somebody who cannot be read".to_owned(),
    };
    let location = &site.location;
    tracing::warn!(location, owner, cluster = %known.cluster_id, "this process only reads; whoever owns the root path may delete what it reads");
    Ok(Meta::open_to_read(meta_url, clock, ONLY_READS).await?)
}
