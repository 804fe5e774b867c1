//! The background tasks that renew the owner's marker, or look at it, and what the process tells about it.

use async_trait::async_trait;
use elanus_objects::{
    Ownership, Tenant,
    ownership::{Standing, Status, guard::RENEW_EVERY_MS},
};
use elanus_runtime::background::{BackgroundTask, Report};
use metrics::gauge;
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

/// Looks at the marker of a root path for a process that writes below it and does not own it.
pub(crate) struct Lookout(pub(crate) Tenant);

/// Between two looks while it may not write.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[async_trait]
impl BackgroundTask for Lookout {
    fn name(&self) -> &'static str {
        "root.look"
    }

    fn drains(&self) -> &'static str {
        "the time that the last look at the owner's marker is good for"
    }

    fn period(&self) -> Duration {
        Duration::from_millis(RENEW_EVERY_MS.unsigned_abs())
    }

    async fn round(&self) -> Report {
        // What it says is in the health of the process; waiting for the first coordinator is no failure.
        let text = self.0.look().await.err().unwrap_or_default();
        Report { text, ..Report::default() }
    }

    async fn woken(&self) {
        if self.0.is_settled() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Tells metrics how this process stands to the root path, as of `now_ms`; without a status it only reads.
pub(crate) fn measure(status: Option<&Status>, now_ms: i64) {
    let standing = status.map_or(Standing::Foreign, |status| Standing::of(status.frozen.as_ref()));
    for one in Standing::ALL {
        gauge!("elanus_root_state", "state" => one.label()).set(if one == standing { 1.0 } else { 0.0 });
    }
    let Some(status) = status else { return };
    let age_ms = status.confirmed_ms.map_or(-1_000, |confirmed_ms| (now_ms - confirmed_ms).max(0));
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("elanus_root_renewed_age_seconds").set(age_ms as f64 / 1_000.0);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("elanus_root_epoch").set(status.epoch.0 as f64);
}
