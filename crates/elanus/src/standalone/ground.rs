//! What the services of a process are built on: metadata and objects, taken as the owner of the root path, or to be read.

use super::{StartError, args::Plan};
use crate::root::{self, Reach, RootInMeta};
use anyhow::{Context as _, anyhow};
use elanus_datacoord::{DeleteGuard, Former};
use elanus_meta::{Coordinator, Meta};
use elanus_objects::{
    LocalRoot, LocalStore, ObjectStore, OwnedStore, Ownership,
    ownership::{FormerOwner, Freeze, MetaView, Reconciled, Seen, Site, look, start},
};
use elanus_types::{Clock, NodeId};
use std::sync::Arc;
use uuid::Uuid;

/// What users are told who want to write.
const ONLY_READS: &str = "this server only reads (standalone --read-only): nothing is written; send this to the server that owns the root path";

/// Metadata and objects, and who says what may be done with them.
pub(super) struct Ground {
    pub(super) meta: Meta,
    pub(super) coordinator: Coordinator,
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) guard: Arc<dyn DeleteGuard>,
    /// `None`: it is only read.
    pub(super) ownership: Option<Ownership>,
    pub(super) reach: Reach,
    pub(super) location: String,
    pub(super) node: NodeId,
    pub(super) root: Option<LocalRoot>,
    pub(super) meta_root: Option<LocalRoot>,
}

impl Ground {
    pub(super) async fn take(plan: &Plan, clock: &Arc<dyn Clock>) -> Result<Self, StartError> {
        let reach = plan.places.reach().await.map_err(StartError::Refused)?;
        let site = plan.places.site(&reach, clock);
        let known = Meta::look(&plan.places.meta_url).await?.map(root::view).transpose()?;
        let node = NodeId(format!("standalone-{}", Uuid::now_v7()));
        match (plan.read_only, known) {
            (false, known) => Self::own(plan, clock, reach, site, known, node).await,
            (true, Some(known)) => Self::read(plan, clock, reach, &site, &known, node).await,
            (true, None) => {
                let text = "--read-only: there is no metadata at this place; give --data or --meta of the cluster that wrote it";
                Err(StartError::Refused(anyhow!(text)))
            }
        }
    }

    async fn own(
        plan: &Plan,
        clock: &Arc<dyn Clock>,
        reach: Reach,
        site: Site,
        known: Option<MetaView>,
        node: NodeId,
    ) -> Result<Self, StartError> {
        // OW-1: whoever is refused has made nothing yet.
        start::check(&site, known.as_ref()).await?;
        let meta_root = plan.places.take_meta_dir(known.is_some())?;
        let root = match &reach {
            Reach::Directory(dir) => Some(LocalRoot::lock(dir)?),
            Reach::Bucket(_) => None,
        };
        let cluster_id = known.map_or_else(Uuid::new_v4, |view| view.cluster_id).to_string();
        let meta = Meta::open(&plan.places.meta_url, &cluster_id, Arc::clone(clock)).await?;
        let in_meta = Arc::new(RootInMeta::new(meta.clone(), node.clone()));
        let ownership = start::start(&site, in_meta.clone(), &node).await?;
        let coordinator = in_meta.coordinator().context("the start took no epoch").map_err(StartError::Failed)?;
        if let Some(root) = &root {
            root.sweep_staging(&cluster_id)?;
        }
        let objects: Arc<dyn ObjectStore> = Arc::new(OwnedStore::new(store(&reach)?, ownership.clone()));

        // A lock proves that no other process of this cluster lives: what they had begun need not run out first. Where
        // there is none, in a bucket with its metadata on a server, it runs out.
        if root.is_some() || meta_root.is_some() {
            let given_up = coordinator.expire_other_owners(std::slice::from_ref(&node)).await?;
            if given_up > 0 {
                tracing::info!(given_up, "gave up what an earlier process had begun and not acknowledged");
            }
        }
        let guard = Arc::new(Owner(ownership.clone()));
        let (ownership, location) = (Some(ownership), site.location);
        Ok(Self { meta, coordinator, objects, guard, ownership, reach, location, node, root, meta_root })
    }

    /// Takes nothing, makes nothing, writes nothing: whoever owns the root path is not disturbed.
    async fn read(
        plan: &Plan,
        clock: &Arc<dyn Clock>,
        reach: Reach,
        site: &Site,
        known: &MetaView,
        node: NodeId,
    ) -> Result<Self, StartError> {
        let owner = match look(site, true).await.seen {
            Seen::Marker(marker) if marker.cluster_id == known.cluster_id => "this cluster".to_owned(),
            Seen::Marker(marker) => format!("cluster {}", marker.cluster_id),
            Seen::Absent { .. } => "nobody".to_owned(),
            Seen::Newer(_) | Seen::Unreadable(_) => "somebody who cannot be read".to_owned(),
        };
        let location = site.location.clone();
        tracing::warn!(location, owner, cluster = %known.cluster_id, "this process only reads; whoever owns the root path may delete what it reads");
        let meta = Meta::open_to_read(&plan.places.meta_url, Arc::clone(clock), ONLY_READS).await?;
        let coordinator = meta.coordinator_to_read().await?;
        let objects: Arc<dyn ObjectStore> = Arc::new(OwnedStore::to_read(store(&reach)?));
        let (guard, ownership): (Arc<dyn DeleteGuard>, _) = (Arc::new(Nobody), None);
        Ok(Self { meta, coordinator, objects, guard, ownership, reach, location, node, root: None, meta_root: None })
    }
}

fn store(reach: &Reach) -> Result<Arc<dyn ObjectStore>, StartError> {
    Ok(match reach {
        Reach::Directory(dir) => {
            let store = LocalStore::open(dir).context("could not open the object store");
            Arc::new(store.map_err(StartError::Failed)?)
        }
        Reach::Bucket(store) => Arc::new(store.clone()),
    })
}

/// Deletes only what is under this cluster's own root path.
#[derive(Debug)]
struct Owner(Ownership);

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
struct Nobody;

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
