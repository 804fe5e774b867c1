//! Which service gets which parts, and the order in which they start and end.

use super::{StartError, args::Plan};
use crate::root::{self, Places, Renewal, RootInMeta};
use anyhow::Context as _;
use elanus_datacoord::{DataCoord, DataCoordConfig, OwnWorker};
use elanus_datanode::DataNode;
use elanus_meta::Meta;
use elanus_objects::{LocalRoot, LocalStore, ObjectStore, OwnedStore, Ownership, ownership::start};
use elanus_proto::transport::{
    Channel, admin_server, datacoord_client, datacoord_server, datanode_client, datanode_server, milvus_server,
    querynode_client, querynode_server,
};
use elanus_proxy::{Proxy, ProxyConfig};
use elanus_querynode::{QueryConfig, QueryNode};
use elanus_runtime::{Background, LateChannel, management::Management, relay::Relay};
use elanus_types::{Clock, NodeId};
use std::{path::Path, sync::Arc, time::Duration};
use tonic::service::Routes;
use uuid::Uuid;

/// How long acknowledged work may take to be answered at the end; what is not answered was not promised.
const WRITES_MAX: Duration = Duration::from_secs(5);

/// The running services of one process.
pub(super) struct Services {
    meta: Meta,
    datanode: DataNode,
    to_datacoord: LateChannel,
    datacoord: DataCoord,
    proxy: Proxy,
    background: Background,
    message_bytes_max: usize,
    ownership: Ownership,
    /// Given back last: until then no other process may work on the directory.
    root: LocalRoot,
    _meta_root: Option<LocalRoot>,
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Services {
    pub(super) async fn start(plan: &Plan, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let Places { meta_url, objects_dir, meta_dir } = &plan.places;
        let site = plan.places.site(&clock);
        // OW-1: whoever is refused has made nothing yet.
        let known = Meta::look(meta_url).await?.map(root::view).transpose()?;
        start::check(&site, known.as_ref()).await?;
        let meta_root = meta_dir.as_deref().map(LocalRoot::open).transpose()?;
        let root = LocalRoot::lock(objects_dir)?;
        let cluster_id = known.map_or_else(Uuid::new_v4, |view| view.cluster_id).to_string();
        let meta = Meta::open(meta_url, &cluster_id, Arc::clone(&clock)).await?;
        let node = NodeId(format!("standalone-{}", Uuid::now_v7()));
        let in_meta = Arc::new(RootInMeta::new(meta.clone(), node.clone()));
        let ownership = start::start(&site, in_meta.clone(), &node).await?;
        let coordinator = in_meta.coordinator().context("the start took no epoch").map_err(StartError::Failed)?;
        root.sweep_staging(&cluster_id)?;
        let objects =
            LocalStore::open(root.path()).context("could not open the object store").map_err(StartError::Failed)?;
        let objects: Arc<dyn ObjectStore> = Arc::new(OwnedStore::new(Arc::new(objects), ownership.clone()));

        // The guard proves that no other process of this cluster lives: what they had begun need not run out first.
        let given_up = coordinator.expire_other_owners(std::slice::from_ref(&node)).await?;
        if given_up > 0 {
            tracing::info!(given_up, "gave up what an earlier process had begun and not acknowledged");
        }

        let _ = elanus_runtime::metrics::collector();
        let background = Background::new(Arc::clone(&clock));
        background.spawn(Renewal(ownership.clone()));
        let late = LateChannel::new();
        let datanode = DataNode::new(
            meta.clone(),
            Arc::clone(&objects),
            datacoord_client(late.channel()),
            node.clone(),
            plan.datanode,
        );
        datanode.register(&background, "");
        let to_datanode = Channel::in_process(datanode_server(datanode.clone()));
        let worker = OwnWorker::new(node.clone(), datanode_client(to_datanode.clone()));
        let datacoord = DataCoord::start(
            coordinator,
            Arc::clone(&objects),
            Arc::clone(&plan.bus),
            Arc::new(worker),
            node,
            DataCoordConfig {
                restore_mode: plan.restore_mode,
                trash_retention_ms: ms(plan.trash_retention),
                scan_interval_ms: ms(plan.gc_scan_interval),
                orphan_age_ms: ms(plan.gc_missing_tolerance),
                ..DataCoordConfig::default()
            },
            &background,
        );
        late.set(Channel::in_process(datacoord_server(datacoord.clone())));
        background.spawn(Relay::new(meta.clone(), Arc::clone(&plan.bus)));
        let querynode = QueryNode::new(meta.clone(), objects, QueryConfig::default());
        let proxy = Proxy::new(
            datacoord_client(late.channel()),
            datanode_client(to_datanode),
            querynode_client(Channel::in_process(querynode_server(querynode))),
            clock,
            ProxyConfig::default(),
        );
        Ok(Self {
            meta,
            datanode,
            to_datacoord: late,
            datacoord,
            proxy,
            background,
            message_bytes_max: plan.message_bytes_max,
            ownership,
            root,
            _meta_root: meta_root,
        })
    }

    /// What the process serves to clients.
    pub(super) fn routes(&self) -> Routes {
        let milvus = milvus_server(self.proxy.clone())
            .max_decoding_message_size(self.message_bytes_max)
            .max_encoding_message_size(self.message_bytes_max);
        Routes::new(milvus).add_service(admin_server(self.proxy.clone()))
    }

    pub(super) fn management(&self, version: &'static str) -> Management {
        let meta = self.meta.clone();
        let data = self.root.path().to_owned();
        let freezes = self.meta.clone();
        let (ownership, owner) = (self.ownership.clone(), self.ownership.clone());
        Management::new(self.background.clone(), version)
            .check("metadata", move || {
                let meta = meta.clone();
                Box::pin(async move { meta.next_events(1).await.map(drop).map_err(|error| error.to_string()) })
            })
            .check("objects", move || {
                let data = data.clone();
                Box::pin(async move {
                    let found = tokio::fs::metadata(&data).await;
                    found.map(drop).map_err(|error| format!("{}: {error}", data.display()))
                })
            })
            .watch("deletes", move || {
                let meta = freezes.clone();
                Box::pin(async move {
                    let freezes = meta.delete_freezes().await.map_err(|error| error.to_string())?;
                    freezes.first().map_or(Ok(()), |freeze| Err(format!("frozen by {}: {}", freeze.source, freeze.why)))
                })
            })
            .watch("ownership", move || {
                let frozen = owner.status().frozen;
                Box::pin(async move { frozen.map_or(Ok(()), |why| Err(format!("deletes are off: {why}"))) })
            })
            .check("root path", move || {
                let writes = ownership.may_write();
                Box::pin(async move { writes.map_err(|frozen| frozen.to_string()) })
            })
    }

    pub(super) fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// Returns when another process coordinates the cluster instead.
    pub(super) async fn fenced(&self) {
        self.datacoord.fenced().await;
    }

    pub(super) fn data(&self) -> &Path {
        self.root.path()
    }

    /// Ends everything in good order. No call may arrive any more.
    pub(super) async fn stop(self) {
        if tokio::time::timeout(WRITES_MAX, self.datanode.shutdown()).await.is_err() {
            tracing::warn!("some writes did not end in time; they were not acknowledged");
        }
        self.background.shutdown().await;
        // The coordinator and the worker hold each other.
        self.to_datacoord.clear();
        self.meta.close().await;
    }
}
