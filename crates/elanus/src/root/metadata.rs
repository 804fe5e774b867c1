//! The metadata, as the ownership of a root path asks it.

use async_trait::async_trait;
use elanus_meta::{Coordinator, Meta, MetaError, RootMirror, RootRecord};
use elanus_objects::ownership::{
    MetaView, RootMeta,
    start::{Mirror, Taken},
};
use elanus_types::{Epoch, Failure, NodeId, RootHold};
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// A metadata store whose coordinator becomes `holder`.
#[derive(Debug)]
pub(crate) struct RootInMeta {
    meta: Meta,
    holder: NodeId,
    coordinator: Mutex<Option<Coordinator>>,
}

impl RootInMeta {
    pub(crate) fn new(meta: Meta, holder: NodeId) -> Self {
        Self { meta, holder, coordinator: Mutex::default() }
    }

    /// The coordinator of the last epoch that was taken.
    pub(crate) fn coordinator(&self) -> Option<Coordinator> {
        self.coordinator.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the record means to the ownership.
pub(crate) fn view(record: RootRecord) -> Result<MetaView, MetaError> {
    let RootRecord { cluster_id, epoch, high_water, location, marker_epoch, hold } = record;
    let cluster_id = Uuid::parse_str(&cluster_id).map_err(|_| {
        MetaError::Corrupt(format!("the cluster of the metadata is called {cluster_id}, which is no UUID"))
    })?;
    Ok(MetaView { cluster_id, epoch, hwm: high_water, hold, location, marker_epoch })
}

#[async_trait]
impl RootMeta for RootInMeta {
    async fn view(&self) -> Result<MetaView, Failure> {
        Ok(view(self.meta.root().await?)?)
    }

    async fn take_over(&self, floor: Epoch, hold: Option<RootHold>) -> Result<Taken, Failure> {
        let (coordinator, hwm) = self.meta.take_over_root(&self.holder, floor, hold).await?;
        let epoch = coordinator.epoch();
        *self.coordinator.lock().unwrap_or_else(PoisonError::into_inner) = Some(coordinator);
        Ok(Taken { epoch, hwm })
    }

    async fn high_water(&self, epoch: Epoch) -> Result<Option<i64>, Failure> {
        Ok(self.meta.root_high_water(epoch).await?)
    }

    async fn mirror(&self, mirror: &Mirror) -> Result<(), Failure> {
        let Mirror { location, epoch, etag, hold } = mirror.clone();
        Ok(self.meta.mirror_root(&RootMirror { location, epoch, marker_etag: etag, hold }).await?)
    }
}
