//! Flags of the services, in groups that several of them have. Look at nothing outside the command line.

mod access;
mod coordinator;
mod events;
mod listen;
mod peers;
mod shared;
mod traces;
mod trust;
mod values;
mod worker;

pub(super) use access::AccessArgs;
pub(super) use coordinator::CoordinatorArgs;
pub(super) use events::EventsArgs;
pub(super) use listen::ListenArgs;
pub(crate) use listen::Process;
pub(super) use peers::{DataCoordArgs, PeerArgs};
pub(super) use shared::{MemberArgs, SharedArgs};
pub(super) use traces::Traces;
pub(super) use trust::{ServicesTlsArgs, TlsArgs};
pub(super) use values::bytes;
pub(super) use worker::WorkerArgs;
