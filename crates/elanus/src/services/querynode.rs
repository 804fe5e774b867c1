//! `elanus querynode`: reads, from files, with a cache.

use super::args::{EventsArgs, ListenArgs, MemberArgs, Process, ServicesTlsArgs, SharedArgs};
use super::error::StartError;
use super::frame::{Bound, Running, Service};
use super::security::{Demands, Security};
use super::stores::{Stores, bus_answers};
use super::{freshness, peers};
use clap::Args;
use elanus_events::{EventBus, Limits};
use elanus_meta::model::ServiceKind;
use elanus_objects::{ObjectStore, Tenant};
use elanus_proto::transport::{Channel, querynode_server};
use elanus_querynode::{QueryConfig, QueryNode};
use elanus_runtime::background::{BackgroundTask, Report};
use elanus_runtime::{LateChannel, Registration, Served, management::Management};
use elanus_types::{Clock, NodeId};
use std::{sync::Arc, time::Duration};
use tonic::service::Routes;

const HELP: &str = "\
Examples:
  elanus querynode --meta postgres://elanus@db/elanus --objects s3://bucket/elanus --listen 10.0.0.8:19533
  elanus querynode --config elanus.toml --listen 0.0.0.0:19533 --advertise querynode-0:19533

Any number of query nodes serve one cluster; every one can read everything.

Exit codes:
  0  stopped in good order
  1  something failed
  2  the command line, or a value in it, is wrong
  3  refused, and nothing was touched: the metadata must be migrated, an address is in use, or the
     root path of the objects belongs to another cluster";

/// Start a query node: it answers queries and searches
///
/// It writes no object. Its cache is in memory.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct QueryNodeArgs {
    #[command(flatten)]
    listen: ListenArgs<19_533, 9_094>,
    #[command(flatten)]
    member: MemberArgs,
    #[command(flatten)]
    services_tls: ServicesTlsArgs,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    events: EventsArgs,
}

impl Service for QueryNodeArgs {
    type Running = Reader;
    const KIND: ServiceKind = ServiceKind::QueryNode;

    fn process(&self) -> Process {
        self.listen.process()
    }

    fn demands(&self) -> Result<Demands, StartError> {
        self.services_tls.demands(self.listen.trust())
    }

    fn check(&self) -> Result<(), StartError> {
        self.member.check(self.listen.listen)?;
        self.events.check()?;
        self.shared.places().map(drop)
    }

    async fn start(&self, bound: Bound, _: &Security, clock: Arc<dyn Clock>) -> Result<Reader, StartError> {
        let stores = Stores::join(Self::KIND, &self.shared.places()?, clock).await?;
        // It writes nothing: that it looks at the right place is all that matters.
        Tenant::check(&stores.site, &*stores.in_meta).await?;
        let querynode = begin(&stores, Arc::clone(&stores.objects));
        let bus = self.events.open(Limits::default(), &stores.meta, Self::KIND).await?;
        freshness::keep(querynode.clone(), Arc::clone(&bus));
        let registration = stores.registration(Self::KIND, self.member.address(bound.listen), bound, 0);
        registration.start(&stores.background);
        let late = LateChannel::new();
        late.set(Channel::in_process(Served::inside(querynode_server(querynode))));
        Ok(Reader { stores, bus, registration, late })
    }
}

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

/// A query node without leases, for who may not write any.
pub(super) fn reader(stores: &Stores, objects: Arc<dyn ObjectStore>) -> QueryNode {
    QueryNode::new(stores.meta.clone(), objects, QueryConfig::default())
}

/// A query node with its background task.
pub(super) fn begin(stores: &Stores, objects: Arc<dyn ObjectStore>) -> QueryNode {
    let querynode = reader(stores, objects);
    stores.background.spawn(ReaderLeases { querynode: querynode.clone(), node: stores.node.clone() });
    querynode
}

/// A query node that runs.
pub(crate) struct Reader {
    stores: Stores,
    bus: Arc<dyn EventBus>,
    registration: Registration,
    /// Refuses calls once the node is about to end.
    late: LateChannel,
}

impl Running for Reader {
    fn routes(&self) -> Routes {
        Routes::new(peers::served_by::<elanus_proto::querynode::query_node_server::QueryNodeServer<QueryNode>>(
            &self.late,
        ))
    }

    fn management(&self, version: &'static str) -> Management {
        bus_answers(self.stores.management(version), Arc::clone(&self.bus))
    }

    fn place(&self) -> String {
        self.stores.place()
    }

    async fn lost(&self) -> anyhow::Error {
        std::future::pending().await
    }

    async fn leave(&self) {
        peers::leave(&self.registration, &self.late).await;
    }

    async fn stop(self) {
        self.stores.background.shutdown().await;
        self.stores.meta.close().await;
    }
}
