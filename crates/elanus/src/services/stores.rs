//! The stores that a process works with, and what it tells about them on its management port.

use super::error::StartError;
use super::frame::{Bound, VERSION};
use super::measure;
use crate::root::{self, Places, Reach, RootInMeta};
use anyhow::Context as _;
use elanus_events::EventBus;
use elanus_meta::Meta;
use elanus_meta::model::{ServiceKind, ServiceRecord};
use elanus_objects::{LocalRoot, LocalStore, ObjectStore, Ownership, WatchedStore, ownership::Site};
use elanus_runtime::registration::{Registration, SERVICE_LEASE_MS};
use elanus_runtime::{Background, management::Management};
use elanus_types::{Clock, Epoch, NodeId};
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// Metadata and objects, and who this process is there.
pub(super) struct Stores {
    pub(super) meta: Meta,
    pub(super) node: NodeId,
    pub(super) in_meta: Arc<RootInMeta>,
    pub(super) site: Site,
    pub(super) reach: Reach,
    /// As they are: whoever writes goes through an `OwnedStore`.
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) background: Background,
    /// Held until the end.
    _shared: Option<LocalRoot>,
}

/// Another one after every start of the process, and the same for as long as it lives.
pub(super) fn new_node(kind: ServiceKind) -> NodeId {
    static START: LazyLock<Uuid> = LazyLock::new(Uuid::now_v7);
    NodeId(format!("{}-{}", kind.label(), *START))
}

impl Stores {
    /// From what is open already.
    pub(super) fn new(meta: Meta, node: NodeId, site: Site, reach: Reach) -> Result<Self, StartError> {
        let objects: Arc<dyn ObjectStore> = match &reach {
            Reach::Directory(dir) => {
                let store = LocalStore::open(dir).context("could not open the object store");
                Arc::new(store.map_err(StartError::Failed)?)
            }
            Reach::Bucket(store) => Arc::new(store.clone()),
        };
        let objects: Arc<dyn ObjectStore> = Arc::new(WatchedStore::new(objects));
        let in_meta = Arc::new(RootInMeta::new(meta.clone(), node.clone()));
        let background = Background::new(Arc::clone(&site.clock));
        // What is counted before somebody collects is lost.
        let _ = elanus_runtime::metrics::collector();
        Ok(Self { meta, node, in_meta, site, reach, objects, background, _shared: None })
    }

    /// For a service in a process of its own: the metadata are migrated, and the directory is shared with the others.
    pub(super) async fn join(kind: ServiceKind, places: &Places, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let reach = places.reach().await.map_err(StartError::Refused)?;
        let site = places.site(&reach, &clock);
        let meta = Meta::connect(&places.meta_url, clock).await?;
        let shared = match &reach {
            Reach::Directory(dir) => Some(LocalRoot::share(dir)?),
            Reach::Bucket(_) => None,
        };
        Ok(Self { _shared: shared, ..Self::new(meta, new_node(kind), site, reach)? })
    }

    /// A place in the registry.
    pub(super) fn registration(&self, kind: ServiceKind, address: String, bound: Bound, slots: usize) -> Registration {
        register(&self.meta, &self.node, kind, address, bound, slots)
    }

    /// Where the objects are, for people.
    pub(super) fn place(&self) -> String {
        match &self.reach {
            Reach::Directory(dir) => dir.display().to_string(),
            Reach::Bucket(_) => self.site.location.clone(),
        }
    }

    /// Health: metadata and objects answer.
    pub(super) fn management(&self, version: &'static str) -> Management {
        let (meta, reach) = (self.meta.clone(), self.reach.clone());
        let management = Management::new(self.background.clone(), version);
        metadata_answers(management, meta).check("objects", move || {
            let reach = reach.clone();
            Box::pin(async move { reach.look().await })
        })
    }
}

pub(super) fn register(
    meta: &Meta,
    node: &NodeId,
    kind: ServiceKind,
    address: String,
    bound: Bound,
    slots: usize,
) -> Registration {
    let (management, version) = (bound.management.to_string(), VERSION.to_owned());
    let (node, epoch, lease_until_ms, started_ms) = (node.clone(), Epoch(0), 0, 0);
    let me = ServiceRecord { node, kind, address, management, version, epoch, slots, lease_until_ms, started_ms };
    Registration::new(meta.clone(), me, SERVICE_LEASE_MS)
}

/// Health: the metadata answer.
pub(super) fn metadata_answers(management: Management, meta: Meta) -> Management {
    let measured = meta.clone();
    let management = management.check("metadata", move || {
        let meta = meta.clone();
        Box::pin(async move { meta.next_events(1).await.map(drop).map_err(|error| error.to_string()) })
    });
    management.measure(move || {
        measured.measure();
        Box::pin(std::future::ready(()))
    })
}

/// Health: a bus on the network answers. Nothing else hangs on it.
pub(super) fn bus_answers(management: Management, bus: Arc<dyn EventBus>) -> Management {
    if !bus.is_shared() {
        return management;
    }
    management.watch("events", move || {
        let away = bus.away();
        Box::pin(async move { away.map_or(Ok(()), Err) })
    })
}

/// Health of the owner of the root path, as soon as there is one.
pub(super) fn owner_is_well(
    management: Management,
    owner: impl Fn() -> Option<Ownership> + Clone + Send + Sync + 'static,
    meta: Meta,
) -> Management {
    let (owned, active, measured) = (owner.clone(), owner.clone(), meta.clone());
    let management = management.measure(move || {
        let meta = active().map(|_| measured.clone());
        Box::pin(async move {
            if let Some(meta) = meta {
                measure::cluster(&meta).await;
            }
        })
    });
    let clock = Arc::clone(meta.clock());
    management
        .watch("ownership", move || {
            let status = owner().map(|owner| owner.status());
            if let Some(status) = &status {
                root::measure(Some(status), clock.now_ms());
            }
            let frozen = status.and_then(|status| status.frozen);
            Box::pin(async move { frozen.map_or(Ok(()), |why| Err(format!("deletes are off: {why}"))) })
        })
        .check("root path", move || {
            let writes = owned().map_or(Ok(()), |owner| owner.may_write());
            Box::pin(async move { writes.map_err(|frozen| frozen.to_string()) })
        })
        .watch("deletes", move || {
            let meta = meta.clone();
            Box::pin(async move { deletes_work(&meta).await })
        })
}

/// Health of a process that only reads what is at `location`.
pub(super) fn only_reads(management: Management, location: String) -> Management {
    management.watch("ownership", move || {
        root::measure(None, 0);
        let text = format!("this process only reads {location}");
        Box::pin(async move { Err(text) })
    })
}

async fn deletes_work(meta: &Meta) -> Result<(), String> {
    let freezes = meta.delete_freezes().await.map_err(|error| error.to_string())?;
    if let Some(freeze) = freezes.first() {
        return Err(format!("frozen by {}: {}", freeze.source, freeze.why));
    }
    let (failing, first) = meta.gc_failures().await.map_err(|error| error.to_string())?;
    // Once or twice may be the failure of a moment.
    match first.first().filter(|failure| failure.fails > 2) {
        Some(first) => Err(format!("{failing} objects cannot be deleted, one is {}: {}", first.key, first.why)),
        None => Ok(()),
    }
}
