//! Keeps this process in the registry of services: a row with a lease, renewed in time, removed at the end.
//!
//! The registry only decides who gets new work (WK-1), so a heartbeat that is late costs nothing but that.

use crate::background::{Background, BackgroundTask, Report};
use async_trait::async_trait;
use elanus_meta::Meta;
use elanus_meta::model::ServiceRecord;
use elanus_types::Epoch;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Name of the background task.
pub const HEARTBEAT: &str = "service.heartbeat";

/// A process that is silent for so long gets no more work, in milliseconds.
pub const SERVICE_LEASE_MS: i64 = 10_000;

/// A process's place in the registry. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Registration {
    meta: Meta,
    lease_ms: i64,
    /// Held while the row is written, so that a heartbeat never comes after the end.
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    me: ServiceRecord,
    row: Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Absent,
    Until { lease_until_ms: i64 },
    Ended,
}

impl Registration {
    /// A place that is taken by the first heartbeat. The lease in `me` is not looked at.
    #[must_use]
    pub fn new(meta: Meta, me: ServiceRecord, lease_ms: i64) -> Self {
        let state = Arc::new(Mutex::new(State { me, row: Row::Absent }));
        Self { meta, lease_ms: lease_ms.max(1), state }
    }

    /// Begins the heartbeats.
    pub fn start(&self, background: &Background) {
        background.spawn(self.clone());
    }

    /// This coordinator took over: told at once.
    pub async fn took_over(&self, epoch: Epoch) {
        let mut state = self.state.lock().await;
        state.me.epoch = epoch;
        if state.row != Row::Ended {
            state.row = Row::Absent;
        }
        drop(state);
        let report = self.round().await;
        if report.failed > 0 {
            tracing::warn!("others do not hear yet of this coordinator: {}", report.text);
        }
    }

    /// No more work is given to this process.
    pub async fn end(&self) {
        let mut state = self.state.lock().await;
        if let Row::Until { .. } = state.row
            && let Err(error) = self.meta.remove_service(&state.me.node).await
        {
            tracing::warn!(node = %state.me.node, %error, "the process stays in the registry until its lease is over");
        }
        state.row = Row::Ended;
    }
}

/// True when a third of the lease is used up.
fn is_due(row: Row, now_ms: i64, lease_ms: i64) -> bool {
    match row {
        Row::Absent => true,
        Row::Until { lease_until_ms } => lease_until_ms - now_ms <= lease_ms - lease_ms / 3,
        Row::Ended => false,
    }
}

#[async_trait]
impl BackgroundTask for Registration {
    fn name(&self) -> &'static str {
        HEARTBEAT
    }

    fn drains(&self) -> &'static str {
        "the lease of this process in the registry of services"
    }

    fn period(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.lease_ms / 3).unwrap_or(1).max(1))
    }

    async fn round(&self) -> Report {
        let mut state = self.state.lock().await;
        let now_ms = self.meta.clock().now_ms();
        if !is_due(state.row, now_ms, self.lease_ms) {
            return Report::default();
        }
        state.me.lease_until_ms = now_ms + self.lease_ms;
        match self.meta.heartbeat_service(&state.me).await {
            Ok(()) => {
                state.row = Row::Until { lease_until_ms: state.me.lease_until_ms };
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
        let until = |lease_until_ms| Row::Until { lease_until_ms };
        for (row, due) in [
            (Row::Absent, true),
            (until(130), false),
            (until(121), false),
            (until(120), true),
            (until(50), true),
            (Row::Ended, false),
        ] {
            assert_eq!(is_due(row, 100, 30), due, "{row:?}");
        }
    }
}
