//! `elanus datanode`: writes, and copies for restores.

use super::args::{
    DataCoordArgs, EventsArgs, ListenArgs, MemberArgs, Process, ServicesTlsArgs, SharedArgs, WorkerArgs,
};
use super::error::StartError;
use super::frame::{Bound, Running, Service};
use super::peers::{self, Peers};
use super::security::{Demands, Security};
use super::stores::{Stores, bus_answers};
use crate::root::Lookout;
use anyhow::anyhow;
use clap::Args;
use elanus_datanode::DataNode;
use elanus_events::{EventBus, Limits};
use elanus_meta::model::ServiceKind;
use elanus_objects::{ObjectStore, OwnedStore, Tenant};
use elanus_proto::transport::{Channel, datacoord_client, datanode_server};
use elanus_runtime::{LateChannel, Registration, Served, management::Management, relay::nudge_after_commits};
use elanus_types::Clock;
use std::{sync::Arc, time::Duration};
use tonic::service::Routes;

const HELP: &str = "\
Examples:
  elanus datanode --meta postgres://elanus@db/elanus --objects s3://bucket/elanus --listen 10.0.0.7:19532
  elanus datanode --config elanus.toml --listen 0.0.0.0:19532 --advertise datanode-0:19532

Any number of data nodes serve one cluster; a collection's writes go to one of them as long as it is there. SIGTERM:
writes that were taken are committed, copies are given back to the others.

Exit codes:
  0  stopped in good order
  1  something failed, or the root path of the objects is another cluster's now
  2  the command line, or a value in it, is wrong
  3  refused, and nothing was touched: the metadata must be migrated, an address is in use, or the
     root path belongs to another cluster";

/// Start a data node: it writes, and copies for restores
///
/// Its data are in the metadata store and the object store of the cluster; it keeps none of its own.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct DataNodeArgs {
    #[command(flatten)]
    listen: ListenArgs<19_532, 9_093>,
    #[command(flatten)]
    member: MemberArgs,
    #[command(flatten)]
    services_tls: ServicesTlsArgs,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    coordinators: DataCoordArgs,
    #[command(flatten)]
    events: EventsArgs,
    #[command(flatten)]
    worker: WorkerArgs,
}

impl Service for DataNodeArgs {
    type Running = Worker;
    const KIND: ServiceKind = ServiceKind::DataNode;

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

    async fn start(&self, bound: Bound, security: &Security, clock: Arc<dyn Clock>) -> Result<Worker, StartError> {
        let stores = Stores::join(Self::KIND, &self.shared.places()?, clock).await?;
        let tenant = Tenant::enter(&stores.site, stores.in_meta.clone()).await?;
        stores.background.spawn(Lookout(tenant.clone()));
        let objects: Arc<dyn ObjectStore> = Arc::new(OwnedStore::new(Arc::clone(&stores.objects), tenant.clone()));

        let bus = self.events.open(Limits::default(), &stores.meta, Self::KIND).await?;
        nudge_after_commits(stores.meta.clone(), Arc::clone(&bus));
        let peers = Peers::new(Some(stores.meta.clone()), security.dial.clone(), &stores.background);
        peers.find().await;
        let coordinators = peers.coordinators(&self.coordinators)?;
        let (meta, node, config) = (stores.meta.clone(), stores.node.clone(), self.worker.config());
        let datanode = DataNode::new(meta, objects, datacoord_client(coordinators), node, config);
        let address = self.member.address(bound.listen);
        let registration = stores.registration(Self::KIND, address, bound, config.copy_slots);
        datanode.register_as(&stores.background, registration.clone());
        let late = LateChannel::new();
        late.set(Channel::in_process(Served::inside(datanode_server(datanode.clone()))));
        Ok(Worker { stores, bus, tenant, datanode, registration, late })
    }
}

/// A data node that runs.
pub(crate) struct Worker {
    stores: Stores,
    bus: Arc<dyn EventBus>,
    tenant: Tenant,
    datanode: DataNode,
    registration: Registration,
    /// Refuses calls once the node is about to end.
    late: LateChannel,
}

impl Running for Worker {
    fn routes(&self) -> Routes {
        Routes::new(peers::served_by::<elanus_proto::datanode::data_node_server::DataNodeServer<DataNode>>(&self.late))
    }

    fn management(&self, version: &'static str) -> Management {
        let (tenant, waiting) = (self.tenant.clone(), self.tenant.clone());
        let management = bus_answers(self.stores.management(version), Arc::clone(&self.bus));
        management
            .check("root path", move || {
                let writes = if tenant.has_begun() { tenant.may_write() } else { Ok(()) };
                Box::pin(async move { writes.map_err(|frozen| frozen.to_string()) })
            })
            .watch("writes", move || {
                let writes = waiting.may_write();
                Box::pin(async move { writes.map_err(|frozen| frozen.to_string()) })
            })
    }

    fn place(&self) -> String {
        self.stores.place()
    }

    async fn lost(&self) -> anyhow::Error {
        let why = self.tenant.fenced().await;
        let location = self.tenant.location();
        anyhow!(
            "stopped, because the root path {location} is not this cluster's any more: {why}. See `elanus ctl root show`"
        )
    }

    async fn leave(&self) {
        peers::leave(&self.registration, &self.late).await;
    }

    async fn stop(self) {
        end_writes(&self.datanode).await;
        self.stores.background.shutdown().await;
        self.stores.meta.close().await;
    }
}

/// How long acknowledged work may take to be answered at the end; what is not answered was not promised.
const WRITES_MAX: Duration = Duration::from_secs(5);

pub(super) async fn end_writes(datanode: &DataNode) {
    if tokio::time::timeout(WRITES_MAX, datanode.shutdown()).await.is_err() {
        tracing::warn!("some writes did not end in time; they were not acknowledged");
    }
}
