//! The round that plans: looks at every live collection that changed since it was looked at last.

use super::policy::{self, Compactions};
use crate::Parts;
use crate::background::TASK_SCHEDULE;
use crate::compaction::live;
use elanus_runtime::background::Report;
use elanus_types::{CollectionId, Failure};

/// Builds that one round forgets.
const FORGET_MAX: u32 = 1_000;

pub(crate) async fn plan(parts: &Parts) -> Result<Report, Failure> {
    let mut report = Report::default();
    let live = live(parts).await?;
    parts.indexes.retain(&live);
    for (collection, ts) in live {
        if parts.indexes.is_settled(collection, ts) {
            continue;
        }
        match look(parts, collection).await {
            Ok(handled) => report.handled += handled,
            // One collection that cannot be looked at keeps no other waiting (O-1).
            Err(failure) => {
                tracing::warn!(%collection, %failure, "a collection could not be looked at for index builds");
                report.failed += 1;
                report.text = failure.message;
            }
        }
    }
    let before_ms = parts.now_ms() - parts.config.job_retention_ms;
    parts.coordinator.forget_index_builds(before_ms, FORGET_MAX).await?;
    Ok(report)
}

/// Plans for one collection; how many builds were planned.
async fn look(parts: &Parts, collection: CollectionId) -> Result<u64, Failure> {
    let view = parts.meta().index_view(collection, parts.config.index.rows_min).await?;
    let compactions = if parts.config.compaction.tasks_max > 0 { Compactions::Run } else { Compactions::Wait };
    let builds = policy::plan(&view, compactions);
    if builds.is_empty() {
        if policy::is_at_rest(&view) {
            parts.indexes.settle(collection, view.ts);
        }
        return Ok(0);
    }
    let planned = parts.coordinator.plan_index_builds(collection, &builds).await?;
    if planned > 0 {
        tracing::info!(%collection, planned, "index builds were planned");
        parts.background.activate(TASK_SCHEDULE);
    }
    Ok(planned)
}
