//! Which service gets which parts, and the order in which they start and end.

use super::{StartError, args::Plan, milvus_gc};
use crate::root::{self, Places, Reach, Renewal, RootInMeta};
use anyhow::Context as _;
use elanus_datacoord::{Bucket, DataCoord, DataCoordConfig, DeleteGuard, OwnWorker};
use elanus_datanode::DataNode;
use elanus_meta::Meta;
use elanus_objects::{LocalRoot, LocalStore, ObjectStore, OwnedStore, Ownership, ownership::start};
use elanus_proto::transport::{
    Channel, admin_server, datacoord_client, datacoord_server, datanode_client, datanode_server, milvus_server,
    querynode_client, querynode_server,
};
use elanus_proxy::{Proxy, ProxyConfig};
use elanus_querynode::{QueryConfig, QueryNode};
use elanus_runtime::background::{BackgroundTask, Report};
use elanus_runtime::{Background, LateChannel, management::Management, relay::Relay};
use elanus_types::{Clock, NodeId};
use std::{sync::Arc, time::Duration};
use tonic::service::Routes;
use uuid::Uuid;

/// How long acknowledged work may take to be answered at the end; what is not answered was not promised.
const WRITES_MAX: Duration = Duration::from_secs(5);

/// Heartbeat of the leases of what the query node reads: a third of their time.
const READER_HEARTBEAT: Duration = Duration::from_secs(20);

/// Keeps what queries may still open from being deleted.
struct ReaderLeases {
    querynode: QueryNode,
    node: NodeId,
}

#[tonic::async_trait]
impl BackgroundTask for ReaderLeases {
    fn name(&self) -> &'static str {
        "reader.lease"
    }

    fn drains(&self) -> &'static str {
        "leases of reads that need renewal"
    }

    fn period(&self) -> Duration {
        READER_HEARTBEAT
    }

    async fn round(&self) -> Report {
        match self.querynode.renew_leases(&self.node).await {
            Ok(_) => Report::default(),
            Err(failure) => Report::error(failure.message),
        }
    }
}

/// Deletes only what is under this cluster's own root path.
#[derive(Debug)]
struct Owner(Ownership);

#[tonic::async_trait]
impl DeleteGuard for Owner {
    async fn confirm_for_delete(&self) -> Result<(), String> {
        self.0.confirm_for_delete().await.map_err(|frozen| frozen.to_string())
    }
}

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
    reach: Reach,
    location: String,
    /// Given back last: until then no other process may work on the directory.
    _root: Option<LocalRoot>,
    _meta_root: Option<LocalRoot>,
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Services {
    pub(super) async fn start(plan: &Plan, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let Places { meta_url, meta_dir, .. } = &plan.places;
        let reach = plan.places.reach().await.map_err(StartError::Refused)?;
        let site = plan.places.site(&reach, &clock);
        // OW-1: whoever is refused has made nothing yet.
        let known = Meta::look(meta_url).await?.map(root::view).transpose()?;
        start::check(&site, known.as_ref()).await?;
        let meta_root = meta_dir.as_deref().map(LocalRoot::open).transpose()?;
        let root = match &reach {
            Reach::Directory(dir) => Some(LocalRoot::lock(dir)?),
            Reach::Bucket(_) => None,
        };
        let cluster_id = known.map_or_else(Uuid::new_v4, |view| view.cluster_id).to_string();
        let meta = Meta::open(meta_url, &cluster_id, Arc::clone(&clock)).await?;
        let node = NodeId(format!("standalone-{}", Uuid::now_v7()));
        let in_meta = Arc::new(RootInMeta::new(meta.clone(), node.clone()));
        let ownership = start::start(&site, in_meta.clone(), &node).await?;
        let coordinator = in_meta.coordinator().context("the start took no epoch").map_err(StartError::Failed)?;
        if let Some(root) = &root {
            root.sweep_staging(&cluster_id)?;
        }
        let objects: Arc<dyn ObjectStore> = match &reach {
            Reach::Directory(dir) => {
                let store = LocalStore::open(dir).context("could not open the object store");
                Arc::new(store.map_err(StartError::Failed)?)
            }
            Reach::Bucket(store) => Arc::new(store.clone()),
        };
        let objects: Arc<dyn ObjectStore> = Arc::new(OwnedStore::new(objects, ownership.clone()));

        // A lock proves that no other process of this cluster lives: what they had begun need not run out first. Where
        // there is none, in a bucket with its metadata on a server, it runs out.
        if root.is_some() || meta_root.is_some() {
            let given_up = coordinator.expire_other_owners(std::slice::from_ref(&node)).await?;
            if given_up > 0 {
                tracing::info!(given_up, "gave up what an earlier process had begun and not acknowledged");
            }
        }

        let _ = elanus_runtime::metrics::collector();
        let reader = node.clone();
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
            Bucket { objects: Arc::clone(&objects), guard: Arc::new(Owner(ownership.clone())) },
            Arc::clone(&plan.bus),
            Arc::new(worker),
            node,
            DataCoordConfig {
                compaction: plan.compaction,
                restore_mode: plan.restore_mode,
                trash_retention_ms: ms(plan.trash_retention),
                scan_interval_ms: ms(plan.gc_scan_interval),
                orphan_age_ms: ms(plan.gc_missing_tolerance),
                gc_drop_tolerance_ms: ms(plan.gc_drop_tolerance),
                ..DataCoordConfig::default()
            },
            &background,
        );
        late.set(Channel::in_process(datacoord_server(datacoord.clone())));
        background.spawn(Relay::new(meta.clone(), Arc::clone(&plan.bus)));
        let querynode = QueryNode::new(meta.clone(), objects, QueryConfig::default());
        background.spawn(ReaderLeases { querynode: querynode.clone(), node: reader });
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
            reach,
            location: site.location,
            _root: root,
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

    /// Milvus' paths of the collector, answered as Milvus does.
    fn garbage_collection(&self, management: Management) -> Management {
        let (pause, resume) = (self.to_datacoord.channel(), self.to_datacoord.channel());
        management
            .get("/management/datacoord/garbage_collection/pause", move |query| {
                let channel = pause.clone();
                Box::pin(async move { milvus_gc::pause(datacoord_client(channel), &query).await })
            })
            .get("/management/datacoord/garbage_collection/resume", move |query| {
                let channel = resume.clone();
                Box::pin(async move { milvus_gc::resume(datacoord_client(channel), &query).await })
            })
    }

    pub(super) fn management(&self, version: &'static str) -> Management {
        let meta = self.meta.clone();
        let reach = self.reach.clone();
        let (ownership, owner) = (self.ownership.clone(), self.ownership.clone());
        let freezes = self.meta.clone();
        self.garbage_collection(Management::new(self.background.clone(), version))
            .check("metadata", move || {
                let meta = meta.clone();
                Box::pin(async move { meta.next_events(1).await.map(drop).map_err(|error| error.to_string()) })
            })
            .check("objects", move || {
                let reach = reach.clone();
                Box::pin(async move { reach.look().await })
            })
            .watch("ownership", move || {
                let frozen = owner.status().frozen;
                Box::pin(async move { frozen.map_or(Ok(()), |why| Err(format!("deletes are off: {why}"))) })
            })
            .check("root path", move || {
                let writes = ownership.may_write();
                Box::pin(async move { writes.map_err(|frozen| frozen.to_string()) })
            })
            .watch("deletes", move || {
                let meta = freezes.clone();
                Box::pin(async move {
                    let freezes = meta.delete_freezes().await.map_err(|error| error.to_string())?;
                    if let Some(freeze) = freezes.first() {
                        return Err(format!("frozen by {}: {}", freeze.source, freeze.why));
                    }
                    let (failing, first) = meta.gc_failures().await.map_err(|error| error.to_string())?;
                    // Once or twice may be the failure of a moment.
                    match first.first().filter(|failure| failure.fails > 2) {
                        Some(first) => {
                            Err(format!("{failing} objects cannot be deleted, one is {}: {}", first.key, first.why))
                        }
                        None => Ok(()),
                    }
                })
            })
    }

    pub(super) fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// Returns when another process coordinates the cluster instead.
    pub(super) async fn fenced(&self) {
        self.datacoord.fenced().await;
    }

    /// Where the objects are, for people.
    pub(super) fn data(&self) -> String {
        match &self.reach {
            Reach::Directory(dir) => dir.display().to_string(),
            Reach::Bucket(_) => self.location.clone(),
        }
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
