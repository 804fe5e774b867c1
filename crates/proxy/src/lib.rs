//! The proxy: the Milvus API over gRPC, and the calls for operators beside it.
//!
//! It checks what a user sends, turns names into ids and columns into Arrow, asks the other services, and turns their
//! answers back. It keeps nothing between two calls, so any number of proxies serve side by side and none has to be
//! saved. What a failure means to a Milvus client is decided here: it travels in the answer's status, never as a gRPC
//! status, because clients retry most of those for minutes.
//!
//! * `service`: every served call and the function that answers it. A call that is not in the table is gRPC UNIMPLEMENTED.
//! * one module per topic: `connect`, `databases`, `aliases`, `collections` (with `definition`), `alter` (with
//!   `properties`), `fields`, `segments`, `replicas`, `partitions`, `indexes`, `load`, `flush`, `write`, `read`, `snapshots`, `admin`,
//!   `events`.
//! * `access`: who is let in and what he may do; `rbac`: the calls that say so.
//! * `backend`: the other services, and a collection as the coordinator describes it.

mod access;
mod admin;
mod aliases;
mod alter;
mod backend;
mod collections;
mod compaction;
mod config;
mod connect;
mod databases;
mod definition;
mod events;
mod fields;
mod flush;
mod indexes;
mod load;
mod names;
mod partitions;
mod properties;
mod rbac;
mod read;
mod replicas;
mod segments;
mod service;
mod snapshots;
mod write;

pub use access::Guarded;
pub use config::ProxyConfig;

use elanus_proto::{
    datacoord::data_coord_client::DataCoordClient, datanode::data_node_client::DataNodeClient,
    querynode::query_node_client::QueryNodeClient, transport::Channel,
};
use elanus_types::{Clock, Failure, privilege};
use std::sync::Arc;

/// The Milvus service and the operators' service. Cheap to clone; clones are the same proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    datacoord: DataCoordClient<Channel>,
    datanode: DataNodeClient<Channel>,
    querynode: QueryNodeClient<Channel>,
    clock: Arc<dyn Clock>,
    config: ProxyConfig,
    /// `None`: there is no bus.
    events: Option<events::Events>,
    /// `None`: everybody is let in, and may do everything.
    door: Option<Arc<access::Door>>,
    /// Who may do what, as it was a moment ago.
    known: Arc<access::Known>,
    passwords: access::Passwords,
}

impl Proxy {
    /// A proxy in front of these services.
    #[must_use]
    pub fn new(
        datacoord: DataCoordClient<Channel>,
        datanode: DataNodeClient<Channel>,
        querynode: QueryNodeClient<Channel>,
        clock: Arc<dyn Clock>,
        config: ProxyConfig,
    ) -> Self {
        let (known, passwords) = (Arc::default(), access::Passwords::default());
        Self { datacoord, datanode, querynode, clock, config, events: None, door: None, known, passwords }
    }

    /// The same proxy; it asks who calls, and lets nobody do what he may not. Its servers must be behind [`Guarded`].
    #[must_use]
    pub fn with_authorization(mut self) -> Self {
        self.door = Some(Arc::default());
        self
    }

    /// Does root still have the password that everybody knows?
    ///
    /// # Errors
    /// When the coordinator is away.
    pub async fn has_default_password(&self) -> Result<bool, Failure> {
        let state = self.known.ask(self.datacoord()).await?;
        let Some(root) = state.user(privilege::ROOT) else { return Ok(false) };
        let (turn, hash) = (self.passwords.turn().await?, root.password_hash.clone());
        self.passwords.verify(turn, access::Secret(privilege::ROOT_PASSWORD.to_owned()), Some(hash)).await
    }
}
