//! How services find each other: in the registry of the metadata, as they come and go, or at addresses that were given.
//!
//! * The coordinator: the one with the highest epoch; others refuse, or cannot be reached, and are asked next.
//! * Data nodes: all writes of a collection go to one of them, so that they are committed together, and its rows are not
//!   scattered over the growing segments of several. Any other would do: the order of commits is that of the collection's
//!   clock in the metadata, and a data node appends to segments of its own only. So when that one is away, the next is.
//! * Query nodes: reads of a collection go to one of two, whose caches have it; to the less busy one.

use super::args::DataCoordArgs;
use super::error::StartError;
use anyhow::anyhow;
use async_trait::async_trait;
use elanus_meta::Meta;
use elanus_meta::model::{ServiceKind, ServiceRecord};
use elanus_proto::transport::{About, Channel, Dial};
use elanus_runtime::background::{Background, BackgroundTask, Report};
use elanus_runtime::router::{Choice, Router, Target, avoided_last, rendezvous};
use elanus_runtime::{LateChannel, Registration};
use elanus_types::{Epoch, Failure, NodeId};
use futures::future::BoxFuture;
use http::{Request, Response};
use std::{
    collections::HashMap,
    convert::Infallible,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tonic::{body::Body, server::NamedService};
use tower::Service;

const DISCOVERY: &str = "service.discovery";
/// So late a process hears at most that another one came or left.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a call waits for a coordinator: longer than a standby takes to take over.
const COORDINATOR_PATIENCE: Duration = Duration::from_secs(15);
/// How long a call waits for a data node or a query node: longer than one takes to start.
const NODE_PATIENCE: Duration = Duration::from_secs(10);

/// The other services of the cluster. Clones are the same view of them.
#[derive(Clone)]
pub(super) struct Peers {
    found: Option<Found>,
    background: Background,
    dial: Dial,
}

impl Peers {
    /// Looks them up in this metadata store, again and again; `None`: only those that are given are there.
    pub(super) fn new(meta: Option<Meta>, dial: Dial, background: &Background) -> Self {
        let found = meta.map(|meta| Found { meta, dial: dial.clone(), known: Arc::default() });
        if let Some(found) = &found {
            background.spawn(found.clone());
        }
        Self { found, background: background.clone(), dial }
    }

    /// Looks once, now. Who is not found is found later.
    pub(super) async fn find(&self) {
        if let Some(found) = &self.found {
            found.round().await;
        }
    }

    pub(super) fn coordinators(&self, given: &DataCoordArgs) -> Result<Channel, StartError> {
        let among = self.among(ServiceKind::DataCoord, "--datacoord", &given.datacoord)?;
        Ok(Router::new(Arc::new(Coordinators(among)), COORDINATOR_PATIENCE).channel())
    }

    pub(super) fn writers(&self, given: &[String]) -> Result<Channel, StartError> {
        let among = self.among(ServiceKind::DataNode, "--datanode", given)?;
        Ok(Router::new(Arc::new(Writers(among)), NODE_PATIENCE).channel())
    }

    pub(super) fn readers(&self, given: &[String]) -> Result<Channel, StartError> {
        let among = self.among(ServiceKind::QueryNode, "--querynode", given)?;
        Ok(Router::new(Arc::new(Readers(among)), NODE_PATIENCE).channel())
    }

    fn among(&self, kind: ServiceKind, flag: &str, given: &[String]) -> Result<Among, StartError> {
        let target = |address: &String| {
            let channel = self.dial.to(address);
            let channel = channel.map_err(|error| StartError::Usage(anyhow!("{flag}: {address}: {error}")))?;
            Ok(Arc::new(Target::new(address, channel)))
        };
        let given = given.iter().map(target).collect::<Result<Vec<_>, StartError>>()?;
        match &self.found {
            _ if !given.is_empty() => Ok(Among::Given(given)),
            Some(found) => Ok(Among::Found(found.clone(), kind, self.background.clone())),
            None => Err(StartError::Usage(anyhow!("{flag}: give an address, or --meta, where it is found"))),
        }
    }
}

/// Those that are in the registry.
#[derive(Clone, Debug)]
struct Found {
    meta: Meta,
    dial: Dial,
    known: Arc<Mutex<Vec<Peer>>>,
}

#[derive(Clone, Debug)]
struct Peer {
    node: NodeId,
    kind: ServiceKind,
    address: String,
    epoch: Epoch,
    target: Arc<Target>,
}

impl Found {
    /// Connections to those that stay are kept.
    fn note(&self, services: Vec<ServiceRecord>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before: HashMap<(NodeId, String), Arc<Target>> =
            known.drain(..).map(|peer| ((peer.node, peer.address), peer.target)).collect();
        let peer = |ServiceRecord { node, kind, address, epoch, .. }: ServiceRecord| {
            let target = match before.remove(&(node.clone(), address.clone())) {
                Some(target) => target,
                None => Arc::new(Target::new(&node.0, self.dial.to(&address).ok()?).at(&address)),
            };
            Some(Peer { node, kind, address, epoch, target })
        };
        *known = services.into_iter().filter_map(peer).collect();
    }
}

#[async_trait]
impl BackgroundTask for Found {
    fn name(&self) -> &'static str {
        DISCOVERY
    }

    fn drains(&self) -> &'static str {
        "services that came or left"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    /// Without the metadata, those that were known last are asked.
    async fn round(&self) -> Report {
        match self.meta.services().await {
            Ok(services) => {
                self.note(services);
                Report::default()
            }
            Err(error) => Report::error(Failure::from(error).message),
        }
    }
}

/// Services of one kind.
#[derive(Clone, Debug)]
enum Among {
    Given(Vec<Arc<Target>>),
    Found(Found, ServiceKind, Background),
}

impl Among {
    /// The one that took over last comes first.
    fn all(&self) -> Vec<Arc<Target>> {
        match self {
            Self::Given(targets) => targets.clone(),
            Self::Found(found, kind, _) => {
                let known = found.known.lock().unwrap_or_else(PoisonError::into_inner);
                let mut peers: Vec<&Peer> = known.iter().filter(|peer| peer.kind == *kind).collect();
                peers.sort_by_key(|peer| std::cmp::Reverse(peer.epoch));
                peers.into_iter().map(|peer| Arc::clone(&peer.target)).collect()
            }
        }
    }

    fn look_again(&self) {
        if let Self::Found(_, _, background) = self {
            background.activate(DISCOVERY);
        }
    }
}

#[derive(Debug)]
struct Coordinators(Among);

impl Choice for Coordinators {
    fn what(&self) -> &'static str {
        "coordinator"
    }

    fn rank(&self, _: Option<About>) -> Vec<Arc<Target>> {
        let mut targets = self.0.all();
        avoided_last(&mut targets);
        targets
    }

    /// Reads, and what is the same when it is said twice.
    fn repeatable(&self, path: &str) -> bool {
        const HARMLESS: [&str; 7] =
            ["Describe", "List", "Get", "Open", "AllocateIds", "AllocateTimestamp", "ReportTask"];
        let call = path.rsplit('/').next().unwrap_or_default();
        HARMLESS.iter().any(|harmless| call.starts_with(harmless))
    }

    fn look_again(&self) {
        self.0.look_again();
    }
}

#[derive(Debug)]
struct Writers(Among);

impl Choice for Writers {
    fn what(&self) -> &'static str {
        "data node"
    }

    fn rank(&self, about: Option<About>) -> Vec<Arc<Target>> {
        let mut targets = self.0.all();
        rendezvous(&mut targets, about);
        avoided_last(&mut targets);
        targets
    }

    /// An insert that is done twice is two rows.
    fn repeatable(&self, _: &str) -> bool {
        false
    }

    fn look_again(&self) {
        self.0.look_again();
    }
}

#[derive(Debug)]
struct Readers(Among);

impl Choice for Readers {
    fn what(&self) -> &'static str {
        "query node"
    }

    fn rank(&self, about: Option<About>) -> Vec<Arc<Target>> {
        let mut targets = self.0.all();
        rendezvous(&mut targets, about);
        avoided_last(&mut targets);
        if let [first, second, ..] = targets.as_slice()
            && !second.is_avoided()
            && second.busy() < first.busy()
        {
            targets.swap(0, 1);
        }
        targets
    }

    fn repeatable(&self, _: &str) -> bool {
        true
    }

    fn look_again(&self) {
        self.0.look_again();
    }
}

/// Those who look the services up hear that this one leaves, and send no more calls; what comes all the same is refused, and
/// goes to another one.
pub(super) async fn leave(registration: &Registration, late: &LateChannel) {
    registration.end().await;
    late.clear();
    // Until they have looked, the connections stay open: a call that arrives is refused instead of cut off.
    tokio::time::sleep(LOOK_EVERY + Duration::from_millis(200)).await;
}

/// The service `S`, as long as something is in the place where it is.
pub(super) fn served_by<S: NamedService>(late: &LateChannel) -> ServedBy<S> {
    ServedBy(late.clone(), PhantomData)
}

/// See [`served_by`].
pub(super) struct ServedBy<S>(LateChannel, PhantomData<fn() -> S>);

impl<S> Clone for ServedBy<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S: NamedService> NamedService for ServedBy<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for ServedBy<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(names: &[&str]) -> Among {
        Among::Given(names.iter().map(|name| Arc::new(Target::new(*name, LateChannel::new().channel()))).collect())
    }

    #[test]
    fn only_calls_that_do_no_harm_twice_are_repeated() {
        let coordinators = Coordinators(targets(&[]));
        for call in
            ["DescribeCollection", "ListSnapshots", "GetRestoreJob", "OpenSnapshot", "AllocateIds", "ReportTask"]
        {
            assert!(coordinators.repeatable(&format!("/elanus.datacoord.v1.DataCoord/{call}")), "{call}");
        }
        for call in ["CreateCollection", "DropSnapshot", "RestoreSnapshot", "Gc", "RollbackCollection", "PinSnapshot"] {
            assert!(!coordinators.repeatable(&format!("/elanus.datacoord.v1.DataCoord/{call}")), "{call}");
        }
        assert!(!Writers(targets(&[])).repeatable("/elanus.datanode.v1.DataNode/Write"));
        assert!(Readers(targets(&[])).repeatable("/elanus.querynode.v1.QueryNode/Search"));
    }

    #[test]
    fn writes_and_reads_of_a_collection_have_one_node() {
        let names = ["a", "b", "c"];
        let first = |choice: &dyn Choice, collection| choice.rank(Some(About(collection)))[0].name().to_owned();
        let (writers, readers) = (Writers(targets(&names)), Readers(targets(&names)));
        for collection in 0..20 {
            assert_eq!(first(&writers, collection), first(&writers, collection));
            assert_eq!(first(&writers, collection), first(&readers, collection));
        }
    }
}
