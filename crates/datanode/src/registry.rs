//! Keeps this node in the registry of workers: a row with a lease, renewed in time, removed at the end.
//!
//! The registry only decides who gets new work (WK-1), so a heartbeat that is late costs nothing but that.

use crate::DataNodeConfig;
use async_trait::async_trait;
use elanus_meta::Meta;
use elanus_meta::model::WorkerRecord;
use elanus_runtime::background::{BackgroundTask, Report};
use elanus_types::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A node's place in the registry. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Registration {
    meta: Meta,
    node: NodeId,
    slots: usize,
    lease_ms: i64,
    address: String,
    /// Held while the row is written, so that a heartbeat never comes after the end.
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Until { lease_until_ms: i64 },
    Ended,
}

impl Registration {
    pub(crate) fn new(meta: Meta, node: NodeId, config: DataNodeConfig) -> Self {
        let lease_ms = config.worker_lease_ms.max(1);
        let state = Arc::new(Mutex::new(State::Absent));
        Self { meta, node, slots: config.copy_slots, lease_ms, address: String::new(), state }
    }

    pub(crate) fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// No more work is given to this node.
    pub(crate) async fn end(&self) {
        let mut state = self.state.lock().await;
        if let State::Until { .. } = *state
            && let Err(error) = self.meta.remove_worker(&self.node).await
        {
            tracing::warn!(node = %self.node, %error, "the node stays in the registry until its lease is over");
        }
        *state = State::Ended;
    }
}

/// True when a third of the lease is used up.
fn is_due(state: State, now_ms: i64, lease_ms: i64) -> bool {
    match state {
        State::Absent => true,
        State::Until { lease_until_ms } => lease_until_ms - now_ms <= lease_ms - lease_ms / 3,
        State::Ended => false,
    }
}

#[async_trait]
impl BackgroundTask for Registration {
    fn name(&self) -> &'static str {
        "worker.heartbeat"
    }

    fn drains(&self) -> &'static str {
        "the lease of this node in the registry of workers"
    }

    fn period(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.lease_ms / 3).unwrap_or(1).max(1))
    }

    async fn round(&self) -> Report {
        let mut state = self.state.lock().await;
        let now_ms = self.meta.clock().now_ms();
        if !is_due(*state, now_ms, self.lease_ms) {
            return Report::default();
        }
        let lease_until_ms = now_ms + self.lease_ms;
        let me =
            WorkerRecord { node: self.node.clone(), address: self.address.clone(), slots: self.slots, lease_until_ms };
        match self.meta.heartbeat_worker(&me).await {
            Ok(()) => {
                *state = State::Until { lease_until_ms };
                Report::default()
            }
            Err(error) => Report::error(elanus_types::Failure::from(error).message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_when_a_third_of_it_is_used_up_and_never_after_the_end() {
        let until = |lease_until_ms| State::Until { lease_until_ms };
        for (state, due) in [
            (State::Absent, true),
            (until(130), false),
            (until(121), false),
            (until(120), true),
            (until(50), true),
            (State::Ended, false),
        ] {
            assert_eq!(is_due(state, 100, 30), due, "{state:?}");
        }
    }
}
