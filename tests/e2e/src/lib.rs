//! The services as processes of their own, on real servers: PostgreSQL and SeaweedFS.
//!
//! * [`stack`]: the servers and the services, and links between them that can be troubled.
//! * [`scenarios`]: what is asked of whatever serves the Milvus API at an address.
//! * [`rust_client`]: the scenarios of the independent Rust client.
//! * [`e2e`]: `cargo xtask e2e`: every scenario, a table, a scrub.
//! * [`chaos`]: `cargo xtask chaos`: faults under load, and what must hold afterwards.
//! * [`rolling`]: a cluster that is restarted one process at a time, from one program to another.

pub mod chaos;
pub mod e2e;
mod logs;
pub mod rolling;
pub mod rust_client;
pub mod scenarios;
pub mod stack;
pub mod table;

use tokio::signal::unix::{SignalKind, signal};

/// What it gives; `None` when Ctrl-C or SIGTERM came first. Everything that it had started is ended then: it is dropped.
pub async fn until_stopped<T>(work: impl Future<Output = T>) -> Option<T> {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return Some(work.await);
    };
    tokio::select! {
        ended = work => Some(ended),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    }
}
