//! Lets as many calls to the store be under way as [`limit`](super::limit) says, first come, first served over all tasks
//! of the node.

use super::limit::{Aimd, Bounds, Cuts, Outcome};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The gate of a node. Clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    aimd: Aimd,
    /// Permits that there are, in use or not. Above the limit for a while after it fell: calls under way are let be.
    issued: usize,
}

/// One call may be under way. Dropped without a word it says nothing about the store.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Gate,
    permit: OwnedSemaphorePermit,
    began: Cuts,
}

impl Gate {
    pub(super) fn new(bounds: Bounds) -> Self {
        let aimd = Aimd::new(bounds);
        let issued = aimd.limit();
        Self { permits: Arc::new(Semaphore::new(issued)), state: Arc::new(Mutex::new(State { aimd, issued })) }
    }

    /// Waits for its turn. `None` when the gate is closed, which nobody does.
    pub(super) async fn enter(&self) -> Option<Pass> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        Some(Pass { began: self.lock().aimd.cuts(), gate: self.clone(), permit })
    }

    /// Calls that may be under way now.
    pub(super) fn limit(&self) -> usize {
        self.lock().aimd.limit()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The call has ended.
    pub(super) fn ended(self, outcome: Outcome) {
        let Self { gate, permit, began } = self;
        let mut state = gate.lock();
        let busy = state.issued.saturating_sub(gate.permits.available_permits());
        state.aimd.ended(outcome, began, busy);
        let wanted = state.aimd.limit();
        metrics::gauge!("elanus_datanode_copies_at_once_max").set(wanted as f64);
        if state.issued < wanted {
            gate.permits.add_permits(wanted - state.issued);
            state.issued = wanted;
        } else if state.issued > wanted {
            permit.forget();
            state.issued -= 1;
            state.issued -= gate.permits.forget_permits(state.issued - wanted);
        }
    }
}
