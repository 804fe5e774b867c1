//! The manifests of snapshots whose create was answered before they were written.
//!
//! Snapshots of one collection are written one after the other, oldest first, so that a later one builds on an earlier one.
//! A writer that fails keeps its lease: the next try is when that is over.

use super::create::{keeping_lease, write};
use crate::Parts;
use elanus_meta::model::{CollectionKey, SnapshotRecord};
use elanus_runtime::background::Report;
use elanus_trace::Instrument as _;
use elanus_types::{CollectionId, Failure};
use futures::{StreamExt as _, stream};
use std::collections::BTreeMap;

/// Snapshots of one round.
const ROUND_MAX: u32 = 64;
/// Collections whose snapshots are written at the same time: each has a list of all its files in memory.
const COLLECTIONS_AT_ONCE: usize = 2;

pub(crate) async fn write_accepted(parts: &Parts) -> Result<Report, Failure> {
    let mut collections: BTreeMap<CollectionId, Vec<SnapshotRecord>> = BTreeMap::new();
    for snapshot in parts.meta().accepted_snapshots(ROUND_MAX).await? {
        collections.entry(snapshot.collection).or_default().push(snapshot);
    }
    let ended: Vec<(u64, Option<Failure>)> = stream::iter(collections.into_values())
        .map(|snapshots| in_turn(parts, snapshots))
        .buffer_unordered(COLLECTIONS_AT_ONCE)
        .collect()
        .await;
    let written = ended.iter().map(|(written, _)| written).sum();
    match ended.into_iter().find_map(|(_, failure)| failure) {
        Some(failure) => Ok(Report::error(failure.message)),
        None => Ok(Report::handled(written)),
    }
}

/// How many were written, and what went wrong first.
async fn in_turn(parts: &Parts, snapshots: Vec<SnapshotRecord>) -> (u64, Option<Failure>) {
    let (mut written, mut wrong) = (0, None);
    for snapshot in snapshots {
        match one(parts, &snapshot).await {
            Ok(true) => written += 1,
            Ok(false) => {}
            Err(failure) => {
                tracing::error!(snapshot = %snapshot.id, name = snapshot.name, %failure, "its manifests are not written");
                wrong.get_or_insert(failure);
            }
        }
    }
    (written, wrong)
}

/// False when somebody else is at it, or it was dropped.
async fn one(parts: &Parts, snapshot: &SnapshotRecord) -> Result<bool, Failure> {
    let lease_until_ms = parts.now_ms() + parts.config.snapshot_lease_ms;
    let Some(snapshot) = parts.coordinator.claim_snapshot(snapshot.id, &parts.node, lease_until_ms).await? else {
        return Ok(false);
    };
    let Some(collection) = parts.meta().collection(&CollectionKey::Id(snapshot.collection)).await? else {
        return Ok(false);
    };
    let step = elanus_trace::continued!(
        snapshot.traceparent.as_ref(),
        "snapshot",
        otel.name = "datacoord.snapshot.write",
        elanus.snapshot = snapshot.name,
        elanus.snapshot_id = snapshot.id.0,
        elanus.files = tracing::field::Empty,
        elanus.bytes = tracing::field::Empty,
        elanus.rows = tracing::field::Empty
    );
    let written =
        keeping_lease(parts, snapshot.id, write(parts, &collection, &snapshot)).instrument(step.clone()).await;
    if let Err(failure) = &written {
        elanus_trace::span_failed(&step, &failure.message);
    }
    written.map(|_| true)
}
