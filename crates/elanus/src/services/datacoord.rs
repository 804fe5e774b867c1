//! `elanus datacoord`: the coordinator, or one that waits for its turn.
//!
//! It serves from the start; until it has taken over, it refuses calls, and callers ask the next one.

use super::args::{CoordinatorArgs, EventsArgs, ListenArgs, MemberArgs, Process, ServicesTlsArgs, SharedArgs};
use super::coordination::{Active, TakenOver};
use super::error::StartError;
use super::frame::{Bound, Running, Service};
use super::security::{Demands, Security};
use super::stores::{Stores, bus_answers, owner_is_well};
use super::{milvus_gc, peers};
use crate::root;
use anyhow::anyhow;
use clap::Args;
use elanus_datacoord::{DataCoord, DataCoordConfig, RemoteWorkers, stand_by};
use elanus_events::EventBus;
use elanus_meta::model::ServiceKind;
use elanus_objects::ownership::start;
use elanus_proto::datacoord::data_coord_server::DataCoordServer;
use elanus_proto::transport::Dial;
use elanus_runtime::{LateChannel, Registration, management::Management};
use elanus_types::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;

const HELP: &str = "\
Examples:
  elanus migrate --meta postgres://elanus@db/elanus
  elanus datacoord --meta postgres://elanus@db/elanus --objects s3://bucket/elanus --listen 10.0.0.5:19531
  elanus datacoord --config elanus.toml --listen 0.0.0.0:19531 --advertise datacoord-0:19531

One coordinator is active. Start a second one, anywhere: it stands by, and takes over within seconds when the first one
is gone. One that was taken over from stops with exit code 1: start it again, and it stands by.

Exit codes:
  0  stopped in good order: a standby takes over at once
  1  something failed, or another coordinator took over
  2  the command line, or a value in it, is wrong
  3  refused, and nothing was touched: the metadata must be migrated, an address is in use, or the
     root path of the objects belongs to another cluster";

/// Start a coordinator: collections, snapshots, restores, clean-up
///
/// It keeps nothing of its own: all is in the metadata store and the object store of the cluster.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct DataCoordinatorArgs {
    #[command(flatten)]
    listen: ListenArgs<19_531, 9_092>,
    #[command(flatten)]
    member: MemberArgs,
    #[command(flatten)]
    services_tls: ServicesTlsArgs,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    events: EventsArgs,
    #[command(flatten)]
    coordinator: CoordinatorArgs,
}

impl Service for DataCoordinatorArgs {
    type Running = Candidate;
    const KIND: ServiceKind = ServiceKind::DataCoord;

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

    async fn start(&self, bound: Bound, security: &Security, clock: Arc<dyn Clock>) -> Result<Candidate, StartError> {
        let stores = Arc::new(Stores::join(Self::KIND, &self.shared.places()?, clock).await?);
        // Whoever would be refused as the active one is refused now (OW-1).
        let view = root::view(stores.meta.root().await?)?;
        start::check(&stores.site, Some(&view)).await?;
        let registration = stores.registration(Self::KIND, self.member.address(bound.listen), bound, 0);
        registration.start(&stores.background);
        let bus = self.events.open(self.coordinator.streams.limits(), &stores.meta, Self::KIND).await?;
        let turn = Turn {
            stores: Arc::clone(&stores),
            bus: Arc::clone(&bus),
            waiting_max: self.coordinator.streams.waiting_max(),
            config: self.coordinator.config(),
            registration: registration.clone(),
            late: LateChannel::new(),
            dial: security.dial.clone(),
            active: watch::Sender::new(None),
        };
        let (late, active) = (turn.late.clone(), turn.active.subscribe());
        let waiting = Mutex::new(Some(tokio::spawn(turn.take())));
        Ok(Candidate { stores, bus, registration, late, active, waiting })
    }
}

/// What a candidate needs when its turn comes.
struct Turn {
    stores: Arc<Stores>,
    bus: Arc<dyn EventBus>,
    waiting_max: u32,
    config: DataCoordConfig,
    registration: Registration,
    late: LateChannel,
    dial: Dial,
    active: watch::Sender<Option<Active>>,
}

impl Turn {
    /// Waits for its turn and takes it.
    async fn take(self) -> Result<(), StartError> {
        let Self { stores, bus, waiting_max, config, registration, late, dial, active } = self;
        stand_by(&stores.meta, &stores.node).await;
        let taken = TakenOver::now(&stores).await?;
        let (epoch, coordinator) = (taken.coordinator.epoch(), taken.coordinator.clone());
        // Workers go on with what they do: they are other processes.
        let given_up = coordinator.expire_other_coordinators(&stores.node).await?;
        let workers = Arc::new(RemoteWorkers::new(dial));
        let now_active = taken.coordinate(&stores, bus, waiting_max, config, workers);
        late.set(now_active.datacoord.channel());
        active.send_replace(Some(now_active));
        registration.took_over(epoch).await;
        tracing::info!(epoch = epoch.0, given_up, "this is the active coordinator now");
        Ok(())
    }
}

/// A coordinator that is active or stands by.
pub(crate) struct Candidate {
    stores: Arc<Stores>,
    bus: Arc<dyn EventBus>,
    registration: Registration,
    /// Refuses calls until it is active, and once it is about to end.
    late: LateChannel,
    active: watch::Receiver<Option<Active>>,
    waiting: Mutex<Option<JoinHandle<Result<(), StartError>>>>,
}

impl Candidate {
    /// Ends the background tasks, and the coordination with them. Harmless twice.
    async fn end_duties(&self) {
        self.stores.background.shutdown().await;
        let active = self.active.borrow().clone();
        if let Some(active) = active {
            active.release().await;
        }
    }

    fn waiting(&self) -> Option<JoinHandle<Result<(), StartError>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Running for Candidate {
    fn routes(&self) -> Routes {
        Routes::new(peers::served_by::<DataCoordServer<DataCoord>>(&self.late))
    }

    fn management(&self, version: &'static str) -> Management {
        let management = milvus_gc::serve(self.stores.management(version), self.late.channel());
        let management = bus_answers(management, Arc::clone(&self.bus));
        let active = self.active.clone();
        let owner = move || active.borrow().as_ref().and_then(|active| active.ownership.clone());
        owner_is_well(management, owner, self.stores.meta.clone())
    }

    fn place(&self) -> String {
        self.stores.place()
    }

    async fn lost(&self) -> anyhow::Error {
        if let Some(waiting) = self.waiting() {
            // Dropped with this future: who stops while it stands by does not take over any more.
            let waiting = AbortOnDrop(waiting);
            match waiting.ended().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into_error().context("could not take over the coordination"),
                Err(error) => return anyhow!("taking over the coordination was cut off: {error}"),
            }
        }
        let active = self.active.borrow().clone();
        match active {
            Some(active) => active.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Serves until a standby may take over.
    async fn leave(&self) {
        self.registration.end().await;
        self.end_duties().await;
        self.late.clear();
    }

    async fn stop(self) {
        self.late.clear();
        self.end_duties().await;
        self.stores.meta.close().await;
    }
}

/// Ends a task with whoever waits for it.
struct AbortOnDrop(JoinHandle<Result<(), StartError>>);

impl AbortOnDrop {
    async fn ended(mut self) -> Result<Result<(), StartError>, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
