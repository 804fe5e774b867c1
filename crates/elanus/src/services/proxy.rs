//! `elanus proxy`: the Milvus API, in front of the other services.

use super::args::{AccessArgs, EventsArgs, ListenArgs, MemberArgs, PeerArgs, Process, ServicesTlsArgs, TlsArgs, bytes};
use super::error::StartError;
use super::frame::{Bound, Running, Service};
use super::milvus_gc;
use super::peers::Peers;
use super::security::{Demands, Security};
use super::stores::{bus_answers, metadata_answers, new_node, register};
use crate::root::checked_postgres_url;
use anyhow::anyhow;
use clap::Args;
use elanus_events::{EventBus, Limits};
use elanus_meta::Meta;
use elanus_meta::model::ServiceKind;
use elanus_proto::transport::{
    Channel, admin_server, datacoord_client, datanode_client, milvus_server, querynode_client,
};
use elanus_proxy::{Guarded, Proxy};
use elanus_runtime::{Background, Registration, Served, management::Management};
use elanus_types::Clock;
use std::sync::Arc;
use tonic::service::Routes;

const HELP: &str = "\
Examples:
  elanus proxy --meta postgres://elanus@db/elanus --listen 0.0.0.0:19530 --advertise proxy-0:19530
  elanus proxy --datacoord a:19531,b:19531 --datanode c:19532 --querynode d:19533

Other services are found in the metadata, as they come and go; or those that are given are asked, and no others. Any
number of proxies serve one cluster, and none keeps anything.

Exit codes:
  0  stopped in good order
  1  something failed
  2  the command line, or a value in it, is wrong
  3  refused, and nothing was touched: the metadata must be migrated, or an address is in use";

/// Start a proxy: the Milvus API, and what `elanus ctl` talks to
///
/// Listens on this machine only unless it is told otherwise, because whoever can connect can read and change everything. Give
/// --authorization-enabled, with which clients need a user and its password, or --tls-client-ca, with which they need a
/// certificate, and then --listen 0.0.0.0:19530.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ProxyArgs {
    #[command(flatten)]
    listen: ListenArgs<19_530, 9_091>,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    services_tls: ServicesTlsArgs,
    #[command(flatten)]
    member: MemberArgs,
    /// Metadata store of the cluster, where the other services are found: postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL", env = "ELANUS_META", hide_env_values = true)]
    meta: Option<String>,
    #[command(flatten)]
    peers: PeerArgs,
    #[command(flatten)]
    events: EventsArgs,
    /// Longest message of the Milvus API, for example 64MiB
    #[arg(long, value_name = "BYTES", env = "ELANUS_MESSAGE_BYTES_MAX", default_value = "512MiB", value_parser = bytes)]
    message_bytes_max: usize,
}

impl ProxyArgs {
    fn meta_url(&self) -> Result<Option<String>, StartError> {
        if self.meta.is_none() && !self.peers.are_all_given() {
            let text = "--meta: give the metadata store, where other services are found, or all of --datacoord, --datanode \
                        and --querynode";
            return Err(StartError::Usage(anyhow!(text)));
        }
        self.meta.as_deref().map(checked_postgres_url).transpose().map_err(StartError::Usage)
    }
}

impl Service for ProxyArgs {
    type Running = Frontend;
    const KIND: ServiceKind = ServiceKind::Proxy;

    fn process(&self) -> Process {
        self.listen.process()
    }

    fn demands(&self) -> Result<Demands, StartError> {
        self.services_tls.demands_behind(&self.tls, self.listen.trust())
    }

    fn check(&self) -> Result<(), StartError> {
        if self.meta.is_some() {
            self.member.check(self.listen.listen)?;
        }
        self.events.check()?;
        if self.events.is_shared() && self.meta.is_none() {
            let text = "--events-url: give --meta as well: it says whose events to look for";
            return Err(StartError::Usage(anyhow!(text)));
        }
        self.meta_url().map(drop)
    }

    async fn start(&self, bound: Bound, security: &Security, clock: Arc<dyn Clock>) -> Result<Frontend, StartError> {
        let background = Background::new(Arc::clone(&clock));
        let _ = elanus_runtime::metrics::collector();
        let meta = match self.meta_url()? {
            Some(url) => Some(Meta::connect(&url, Arc::clone(&clock)).await?),
            None => None,
        };
        let registration = meta.as_ref().map(|meta| {
            let address = self.member.address(bound.listen);
            let registration = register(meta, &new_node(Self::KIND), Self::KIND, address, bound, 0);
            registration.start(&background);
            registration
        });
        let peers = Peers::new(meta.clone(), security.dial.clone(), &background);
        peers.find().await;
        let coordinators = peers.coordinators(&self.peers.coordinators)?;
        let (writers, readers) = (peers.writers(&self.peers.datanode)?, peers.readers(&self.peers.querynode)?);
        let mut proxy = over(coordinators.clone(), writers, readers, clock, &self.access);
        self.access.warn(&proxy).await;
        // A bus inside this process would never have an event.
        let bus = match &meta {
            Some(meta) if self.events.is_shared() => Some(self.events.open(Limits::default(), meta, Self::KIND).await?),
            _ => None,
        };
        if let Some(bus) = &bus {
            proxy = proxy.with_events(Arc::clone(bus));
        }
        let message_bytes_max = self.message_bytes_max;
        Ok(Frontend { proxy, bus, coordinators, background, meta, registration, message_bytes_max })
    }
}

/// A proxy in front of these services.
pub(super) fn over(
    datacoord: Channel,
    datanode: Channel,
    querynode: Channel,
    clock: Arc<dyn Clock>,
    access: &AccessArgs,
) -> Proxy {
    let (datacoord, datanode) = (datacoord_client(datacoord), datanode_client(datanode));
    access.guard(Proxy::new(datacoord, datanode, querynode_client(querynode), clock, access.config()))
}

/// What a proxy serves to clients.
pub(super) fn routes(proxy: &Proxy, message_bytes_max: usize) -> Routes {
    let milvus = milvus_server(proxy.clone())
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max);
    let admin = Guarded::new(admin_server(proxy.clone()), proxy.clone());
    Routes::new(Served::at_the_edge(Guarded::new(milvus, proxy.clone()))).add_service(Served::at_the_edge(admin))
}

/// A proxy that runs.
pub(crate) struct Frontend {
    proxy: Proxy,
    /// `None`: there is none.
    bus: Option<Arc<dyn EventBus>>,
    coordinators: Channel,
    background: Background,
    meta: Option<Meta>,
    registration: Option<Registration>,
    message_bytes_max: usize,
}

impl Running for Frontend {
    fn routes(&self) -> Routes {
        routes(&self.proxy, self.message_bytes_max)
    }

    fn management(&self, version: &'static str) -> Management {
        let management = milvus_gc::serve(Management::new(self.background.clone(), version), self.coordinators.clone());
        let management = match &self.bus {
            Some(bus) => bus_answers(management, Arc::clone(bus)),
            None => management,
        };
        match &self.meta {
            Some(meta) => metadata_answers(management, meta.clone()),
            None => management,
        }
    }

    fn place(&self) -> String {
        String::new()
    }

    async fn lost(&self) -> anyhow::Error {
        std::future::pending().await
    }

    async fn leave(&self) {
        self.proxy.end_tails();
        if let Some(registration) = &self.registration {
            registration.end().await;
        }
    }

    async fn stop(self) {
        self.background.shutdown().await;
        if let Some(meta) = &self.meta {
            meta.close().await;
        }
    }
}
