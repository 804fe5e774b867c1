//! The active coordinator of a cluster: owner of the root path, coordinator of the metadata, relay of the outbox. Or what takes
//! its place where a process only reads.

use super::error::StartError;
use super::guard::{Nobody, Owner};
use super::stores::Stores;
use crate::root::Renewal;
use anyhow::{Context as _, anyhow};
use elanus_datacoord::{Bucket, DataCoord, DataCoordConfig, DeleteGuard, Workers};
use elanus_events::EventBus;
use elanus_meta::Coordinator;
use elanus_objects::{ObjectStore, OwnedStore, Ownership, ownership::start};
use elanus_runtime::relay::Relay;
use std::sync::Arc;
use std::time::Duration;

/// How long the last renewal of the owner's marker may take.
const LAST_WORD_MAX: Duration = Duration::from_secs(2);

/// The root path is this process's, and so is the last epoch. Nothing runs yet.
pub(super) struct TakenOver {
    /// `None`: nothing was taken, it is only read.
    pub(super) ownership: Option<Ownership>,
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
        Ok(Self { ownership: Some(ownership), coordinator, objects })
    }

    /// Takes nothing: root path and epoch stay with whoever has them.
    pub(super) async fn to_read(stores: &Stores) -> Result<Self, StartError> {
        let coordinator = stores.meta.coordinator_to_read().await?;
        let objects = Arc::new(OwnedStore::to_read(Arc::clone(&stores.objects)));
        Ok(Self { ownership: None, coordinator, objects })
    }

    /// Begins to coordinate; where it is only read, to answer. Of events, `waiting_max` wait while the bus is away.
    pub(super) fn coordinate(
        self,
        stores: &Stores,
        bus: Arc<dyn EventBus>,
        waiting_max: u32,
        config: DataCoordConfig,
        workers: Arc<dyn Workers>,
    ) -> Active {
        let Self { ownership, coordinator, objects } = self;
        let background = &stores.background;
        let guard: Arc<dyn DeleteGuard> = match &ownership {
            Some(ownership) => {
                background.spawn(Renewal(ownership.clone()));
                Arc::new(Owner(ownership.clone()))
            }
            None => Arc::new(Nobody),
        };
        let bucket = Bucket { objects, guard };
        let config = DataCoordConfig { only_reads: ownership.is_none(), ..config };
        let (bus_of_relay, node) = (Arc::clone(&bus), stores.node.clone());
        let datacoord = DataCoord::start(coordinator, bucket, bus, workers, node, config, background);
        if ownership.is_some() {
            background.spawn(Relay::new(stores.meta.clone(), bus_of_relay).with_waiting_max(waiting_max));
        }
        Active { ownership, datacoord }
    }
}

/// A coordinator that runs. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Active {
    /// `None`: it is only read.
    pub(super) ownership: Option<Ownership>,
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
            (by, location) = self.lost_to() => {
                anyhow!(
                    "stopped, because the root path {location} is now owned by {by}; nothing was deleted or written since \
                     this was noticed. See `elanus ctl root show`"
                )
            }
        }
    }

    /// The new owner and the root path, when this process has lost it. Who only reads has nothing to lose.
    async fn lost_to(&self) -> (String, String) {
        match &self.ownership {
            Some(ownership) => (ownership.fenced().await, ownership.status().location),
            None => std::future::pending().await,
        }
    }

    /// Lets a standby take over at once. The background tasks have ended.
    pub(super) async fn release(&self) {
        let Some(ownership) = &self.ownership else { return };
        // A backup that was made while it ran is behind the last word.
        if !matches!(tokio::time::timeout(LAST_WORD_MAX, ownership.renew()).await, Ok(Ok(()))) {
            tracing::debug!("the owner's marker was not written at the end");
        }
        if let Err(failure) = self.datacoord.release().await {
            tracing::debug!(%failure, "the coordination was not given back");
        }
    }
}
