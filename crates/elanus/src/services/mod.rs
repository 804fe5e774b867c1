//! The services, each in a process of its own or all in one: `elanus standalone|proxy|datacoord|datanode|querynode`, and
//! `elanus migrate`.
//!
//! * `frame`: what every process has around its service.
//! * `args`: flags, in groups.
//! * `stores`: metadata, objects, a place in the registry; what is told about them.
//! * `coordination`: the active coordinator, in whichever process it is.
//! * `guard`: who says whether it may delete.
//! * `security`: certificates and tokens, read from where flags say they are.
//! * `peers`: how services find each other, and which of several is asked.
//! * `standalone`, `proxy`, `datacoord`, `datanode`, `querynode`: a file each; standalone is made of the same parts.

mod args;
mod coordination;
mod datacoord;
mod datanode;
mod error;
mod frame;
mod freshness;
mod guard;
mod measure;
mod migrate;
mod milvus_gc;
mod peers;
mod proxy;
mod querynode;
mod security;
mod standalone;
mod stores;

pub(crate) use datacoord::DataCoordinatorArgs;
pub(crate) use datanode::DataNodeArgs;
pub(crate) use frame::{check, run};
pub(crate) use migrate::{MigrateArgs, migrate};
pub(crate) use proxy::ProxyArgs;
pub(crate) use querynode::QueryNodeArgs;
pub(crate) use standalone::StandaloneArgs;
