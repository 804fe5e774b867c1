//! The round that plans: looks at every live collection that changed since it was looked at last.

use super::policy::{self, Why};
use crate::Parts;
use crate::background::TASK_SCHEDULE;
use elanus_meta::model::CompactionView;
use elanus_runtime::background::Report;
use elanus_types::{CollectionId, Failure, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Collections that are asked for at a time.
const PAGE: u32 = 1_000;
/// Compactions that one round forgets.
const FORGET_MAX: u32 = 1_000;
/// Delete logs that end in one transaction, which holds the collection.
const LOGS_MAX: usize = 1_000;

/// Collections in which there was nothing to do, and their clocks at that time. Lost with the process, which costs nothing
/// but looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settled(Arc<Mutex<HashMap<CollectionId, Timestamp>>>);

impl Settled {
    pub(crate) fn is_settled(&self, collection: CollectionId, ts: Timestamp) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&collection) == Some(&ts)
    }

    pub(crate) fn settle(&self, collection: CollectionId, ts: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(collection, ts);
    }

    /// Forgets those that are not live any more.
    pub(crate) fn retain(&self, live: &[(CollectionId, Timestamp)]) {
        let live: HashMap<_, _> = live.iter().copied().collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| live.contains_key(id));
    }
}

pub(crate) async fn plan(parts: &Parts) -> Result<Report, Failure> {
    let mut report = Report::default();
    let live = live(parts).await?;
    parts.compaction.retain(&live);
    for (collection, ts) in live {
        if parts.compaction.is_settled(collection, ts) {
            continue;
        }
        match look(parts, collection).await {
            Ok(handled) => report.handled += handled,
            // One collection that cannot be looked at keeps no other waiting (O-1).
            Err(failure) => {
                tracing::warn!(%collection, %failure, "a collection could not be looked at for compaction");
                report.failed += 1;
                report.text = failure.message;
            }
        }
    }
    let before_ms = parts.now_ms() - parts.config.job_retention_ms;
    parts.coordinator.forget_compactions(before_ms, FORGET_MAX).await?;
    Ok(report)
}

/// Live collections with their clocks.
pub(crate) async fn live(parts: &Parts) -> Result<Vec<(CollectionId, Timestamp)>, Failure> {
    let mut live = Vec::new();
    let mut after = CollectionId(0);
    loop {
        let page = parts.meta().clocks(after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(live) };
        after = *last;
        let is_last = page.len() < PAGE as usize;
        live.extend(page);
        if is_last {
            return Ok(live);
        }
    }
}

/// Plans for one collection; how many compactions were planned and logs ended.
async fn look(parts: &Parts, collection: CollectionId) -> Result<u64, Failure> {
    let view = parts.meta().compaction_view(collection).await?;
    if view.waits_for.is_some() {
        return Ok(0);
    }
    let config = &parts.config.compaction;
    let tasks = match config.automatic && view.automatic {
        true => policy::plan(&view, config, Why::Policy),
        false => Vec::new(),
    };
    let planned = parts.coordinator.plan_compactions(collection, &tasks).await?;
    if planned > 0 {
        tracing::info!(%collection, planned, "compactions were planned");
        parts.background.activate(TASK_SCHEDULE);
    }
    let ended = end_logs(parts, collection, &view).await?;
    if tasks.is_empty() && ended == 0 && is_at_rest(&view) {
        parts.compaction.settle(collection, view.ts);
    }
    Ok(planned + ended)
}

/// True when only a commit can change what is planned.
fn is_at_rest(view: &CompactionView) -> bool {
    view.protected_ts.is_none() && !view.expires && !view.members.iter().any(|member| member.busy || member.failed)
}

async fn end_logs(parts: &Parts, collection: CollectionId, view: &CompactionView) -> Result<u64, Failure> {
    let mut logs = policy::needless_logs(view);
    logs.truncate(LOGS_MAX);
    if logs.is_empty() {
        return Ok(0);
    }
    let ended = parts.coordinator.end_delete_logs(collection, view.ts, &logs).await?;
    tracing::debug!(%collection, ended, "delete logs ended: nothing needs them any more");
    Ok(ended)
}
