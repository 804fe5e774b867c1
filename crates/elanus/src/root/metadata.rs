//! The metadata, as the ownership of a root path asks it.

use async_trait::async_trait;
use elanus_meta::{Coordinator, Meta, MetaError, NewStart, RootMirror, RootRecord};
use elanus_objects::{
    Etag,
    ownership::{
        MetaView, RootMeta, Term,
        start::{Floor, Mirror, Taken},
    },
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
    let RootRecord { cluster_id, epoch, high_water, starts, location, marker_epoch, hold } = record;
    let cluster_id = Uuid::parse_str(&cluster_id).map_err(|_| {
        MetaError::Corrupt(format!("the cluster of the metadata is called {cluster_id}, which is no UUID"))
    })?;
    let starts = starts.into_iter().collect();
    Ok(MetaView { cluster_id, epoch, hwm: high_water, starts, hold, location, marker_epoch })
}

#[async_trait]
impl RootMeta for RootInMeta {
    async fn view(&self) -> Result<MetaView, Failure> {
        Ok(view(self.meta.root().await?)?)
    }

    async fn take_over(&self, floor: Floor, hold: Option<RootHold>) -> Result<Taken, Failure> {
        let Term { start_id, .. } = Term::new(Epoch(0));
        let Floor { epoch: floor, hwm: high_water_floor } = floor;
        let start = NewStart { holder: &self.holder, floor, high_water_floor, start_id: &start_id, hold };
        let (coordinator, hwm) = self.meta.take_over_root(start).await?;
        let epoch = coordinator.epoch();
        *self.coordinator.lock().unwrap_or_else(PoisonError::into_inner) = Some(coordinator);
        Ok(Taken { term: Term { epoch, start_id }, hwm })
    }

    async fn next_term(&self, epoch: Epoch) -> Result<Option<Taken>, Failure> {
        let Some(coordinator) = self.coordinator().filter(|coordinator| coordinator.epoch() == epoch) else {
            return Ok(None);
        };
        let Term { start_id, .. } = Term::new(epoch);
        match coordinator.next_epoch(&self.holder, &start_id).await {
            Ok((epoch, hwm)) => Ok(Some(Taken { term: Term { epoch, start_id }, hwm })),
            Err(MetaError::Fenced { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn raise(&self, epoch: Epoch, etag: Option<&Etag>) -> Result<Option<i64>, Failure> {
        Ok(self.meta.raise_root(epoch, etag.map_or("", |etag| &etag.0)).await?)
    }

    async fn mirror(&self, mirror: &Mirror) -> Result<(), Failure> {
        let Mirror { location, epoch, etag, hold } = mirror.clone();
        Ok(self.meta.mirror_root(&RootMirror { location, epoch, marker_etag: etag, hold }).await?)
    }
}
