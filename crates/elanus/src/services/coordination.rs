//! The active coordinator of a cluster: owner of the root path, coordinator of the metadata, relay of the outbox.

use super::error::StartError;
use super::stores::Stores;
use crate::root::Renewal;
use anyhow::{Context as _, anyhow};
use elanus_datacoord::{Bucket, DataCoord, DataCoordConfig, DeleteGuard, Workers};
use elanus_events::EventBus;
use elanus_meta::Coordinator;
use elanus_objects::{ObjectStore, OwnedStore, Ownership, ownership::start};
use elanus_runtime::relay::Relay;
use std::sync::Arc;

/// Deletes only what is under this cluster's own root path.
#[derive(Debug)]
struct Owner(Ownership);

#[tonic::async_trait]
impl DeleteGuard for Owner {
    async fn confirm_for_delete(&self) -> Result<(), String> {
        self.0.confirm_for_delete().await.map_err(|frozen| frozen.to_string())
    }
}

/// The root path is this process's, and so is the last epoch. Nothing runs yet.
pub(super) struct TakenOver {
    pub(super) ownership: Ownership,
    pub(super) coordinator: Coordinator,
    /// Asks the ownership before it writes or deletes.
    pub(super) objects: Arc<dyn ObjectStore>,
}

impl TakenOver {
    /// Raises the epoch and writes the marker: every earlier coordinator is fenced.
    pub(super) async fn now(stores: &Stores) -> Result<Self, StartError> {
        let ownership = start::start(&stores.site, stores.in_meta.clone(), &stores.node).await?;
        let coordinator =
            stores.in_meta.coordinator().context("the start took no epoch").map_err(StartError::Failed)?;
        let objects = Arc::new(OwnedStore::new(Arc::clone(&stores.objects), ownership.clone()));
        Ok(Self { ownership, coordinator, objects })
    }

    /// Begins to coordinate.
    pub(super) fn coordinate(
        self,
        stores: &Stores,
        bus: Arc<dyn EventBus>,
        config: DataCoordConfig,
        workers: Arc<dyn Workers>,
    ) -> Active {
        let Self { ownership, coordinator, objects } = self;
        let background = &stores.background;
        background.spawn(Renewal(ownership.clone()));
        let bucket = Bucket { objects, guard: Arc::new(Owner(ownership.clone())) };
        let (bus_of_relay, node) = (Arc::clone(&bus), stores.node.clone());
        let datacoord = DataCoord::start(coordinator, bucket, bus, workers, node, config, background);
        background.spawn(Relay::new(stores.meta.clone(), bus_of_relay));
        Active { ownership, datacoord }
    }
}

/// A coordinator that runs. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Active {
    pub(super) ownership: Ownership,
    pub(super) datacoord: DataCoord,
}

impl Active {
    /// Returns when this process must end, with why.
    pub(super) async fn lost(&self) -> anyhow::Error {
        tokio::select! {
            () = self.datacoord.fenced() => anyhow!(
                "another elanus took over this metadata, so this one has stopped: nothing that was acknowledged is lost. \
                 Where that was no standby that you run, find the other one before you start this one again"
            ),
            by = self.ownership.fenced() => {
                let location = self.ownership.status().location;
                anyhow!(
                    "stopped, because the root path {location} is now owned by {by}; nothing was deleted or written since \
                     this was noticed. See `elanus ctl root show`"
                )
            }
        }
    }

    /// Lets a standby take over at once. The background tasks have ended.
    pub(super) async fn release(&self) {
        if let Err(failure) = self.datacoord.release().await {
            tracing::debug!(%failure, "the coordination was not given back");
        }
    }
}
