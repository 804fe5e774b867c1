//! The background task that renews the owner's marker.

use async_trait::async_trait;
use elanus_objects::{Ownership, ownership::guard::RENEW_EVERY_MS};
use elanus_runtime::background::{BackgroundTask, Report};
use std::time::Duration;

/// Renews the marker of a root path for as long as the process lives.
pub(crate) struct Renewal(pub(crate) Ownership);

#[async_trait]
impl BackgroundTask for Renewal {
    fn name(&self) -> &'static str {
        "root.renew"
    }

    fn drains(&self) -> &'static str {
        "the time that the owner's marker is good for"
    }

    fn period(&self) -> Duration {
        Duration::from_millis(RENEW_EVERY_MS.unsigned_abs())
    }

    async fn round(&self) -> Report {
        if let Err(freeze) = self.0.renew().await {
            return Report::error(freeze.to_string());
        }
        let frozen = self.0.status().frozen;
        Report { text: frozen.map_or_else(String::new, |why| format!("deletes are off: {why}")), ..Report::default() }
    }
}
