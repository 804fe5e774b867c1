//! The renewal of the owner's marker: what owning a root path costs, every ten seconds, for as long as a cluster lives.

use crate::report::{Figure, milliseconds};
use crate::statements;
use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use elanus_meta::{Meta, NewStart, RootMirror, RootRecord};
use elanus_objects::ownership::start::{Floor, Mirror, Taken, start};
use elanus_objects::ownership::{MetaView, RootMeta, Site, Term};
use elanus_objects::{Etag, MarkerStore, MemoryMarkers, Versioned, Written};
use elanus_types::{Epoch, Failure, NodeId, ObjectKey, RootHold, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use uuid::Uuid;

const CLUSTER: &str = "3f0e6c5e-8b1d-4a7c-9d2e-6b5a4c3d2e1f";
/// Of which the median is told.
const TIMES: usize = 51;

pub(crate) async fn measure() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(SystemClock);
    let url = format!("sqlite://{}", folder.path().join("meta.db").display());
    let meta = Meta::open(&url, CLUSTER, clock.clone()).await?;
    let markers =
        Arc::new(CountedMarkers { inner: MemoryMarkers::new(clock.clone(), ""), requests: AtomicU64::new(0) });
    let site = Site { store: markers.clone(), location: "memory".to_owned(), beside: vec![], clock };
    let holder = NodeId("bench".to_owned());
    let root = Arc::new(RootInMeta { meta: meta.clone(), holder: holder.clone() });
    let ownership = start(&site, root, &holder).await?;

    let mut times = Vec::new();
    let (mut requests, mut sent) = (u64::MAX, u64::MAX);
    for _ in 0..TIMES {
        markers.requests.store(0, Ordering::SeqCst);
        let (before, started) = (statements::sent(), Instant::now());
        ownership.renew().await.map_err(|freeze| anyhow::anyhow!("the marker is not renewed: {freeze}"))?;
        times.push(milliseconds(started.elapsed()));
        requests = requests.min(markers.requests.load(Ordering::SeqCst));
        sent = sent.min(statements::sent() - before);
    }
    times.sort_by(f64::total_cmp);
    let ids = Instant::now();
    meta.allocate_ids(1).await?;
    let transaction_ms = milliseconds(ids.elapsed());
    meta.close().await;
    let figure = Figure {
        object_requests: Some(requests),
        sql_statements: Some(sent),
        ..Figure::new("gc: renewal of the owner's marker", times[times.len() / 2], "ms")
    };
    Ok(vec![figure.beside("a transaction that takes an id", transaction_ms)])
}

/// What the program has in `root/metadata.rs`.
#[derive(Debug)]
struct RootInMeta {
    meta: Meta,
    holder: NodeId,
}

#[async_trait]
impl RootMeta for RootInMeta {
    async fn view(&self) -> Result<MetaView, Failure> {
        let RootRecord { cluster_id, epoch, high_water, starts, location, marker_epoch, hold } =
            self.meta.root().await?;
        let cluster_id = Uuid::parse_str(&cluster_id).map_err(|error| Failure::internal(error.to_string()))?;
        let starts = starts.into_iter().collect();
        Ok(MetaView { cluster_id, epoch, hwm: high_water, starts, hold, location, marker_epoch })
    }

    async fn take_over(&self, floor: Floor, hold: Option<RootHold>) -> Result<Taken, Failure> {
        let Term { start_id, .. } = Term::new(Epoch(0));
        let Floor { epoch: floor, hwm: high_water_floor } = floor;
        let start = NewStart { holder: &self.holder, floor, high_water_floor, start_id: &start_id, hold };
        let (coordinator, hwm) = self.meta.take_over_root(start).await?;
        Ok(Taken { term: Term { epoch: coordinator.epoch(), start_id }, hwm })
    }

    async fn next_term(&self, _epoch: Epoch) -> Result<Option<Taken>, Failure> {
        Err(Failure::internal("nothing is reconciled here"))
    }

    async fn raise(&self, epoch: Epoch, etag: Option<&Etag>) -> Result<Option<i64>, Failure> {
        Ok(self.meta.raise_root(epoch, etag.map_or("", |etag| &etag.0)).await?)
    }

    async fn mirror(&self, mirror: &Mirror) -> Result<(), Failure> {
        let Mirror { location, epoch, etag, hold } = mirror.clone();
        Ok(self.meta.mirror_root(&RootMirror { location, epoch, marker_etag: etag, hold }).await?)
    }
}

/// A store of markers whose requests are counted.
#[derive(Debug)]
struct CountedMarkers {
    inner: MemoryMarkers,
    requests: AtomicU64,
}

impl CountedMarkers {
    fn count(&self) -> &MemoryMarkers {
        self.requests.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }
}

#[async_trait]
impl MarkerStore for CountedMarkers {
    async fn read(&self, key: &ObjectKey) -> elanus_objects::Result<Option<Versioned>> {
        self.count().read(key).await
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> elanus_objects::Result<Written> {
        self.count().create(key, bytes).await
    }

    async fn replace(&self, key: &ObjectKey, bytes: Bytes, expected: &Etag) -> elanus_objects::Result<Written> {
        self.count().replace(key, bytes, expected).await
    }

    async fn remove(&self, key: &ObjectKey, expected: &Etag) -> elanus_objects::Result<()> {
        self.count().remove(key, expected).await
    }

    async fn list(&self, folder: &str) -> elanus_objects::Result<Vec<String>> {
        self.count().list(folder).await
    }
}
