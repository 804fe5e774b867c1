//! Compactions that users ask for, and what they ask about them.

use super::catalog::resolve;
use super::convert;
use crate::Parts;
use crate::background::TASK_SCHEDULE;
use crate::compaction::policy::{self, Why};
use elanus_meta::model::CompactionRecord;
use elanus_proto::datacoord as pb;
use elanus_types::{Code, Failure, JobId};

/// Compactions that one answer has.
const LIST_MAX: u32 = 1_000;
/// Plans that are made where the policy takes files away meanwhile.
const PLANS_MAX: u32 = 3;

/// Plans everything that gets better by it; what is under way already belongs to the answer.
pub(super) async fn compact(parts: &Parts, of: pb::CollectionRef) -> Result<pb::CompactionJob, Failure> {
    let collection = resolve(parts, Some(of)).await?;
    for _ in 0..PLANS_MAX {
        let view = parts.meta().compaction_view(collection.id).await?;
        if let Some(what) = view.waits_for {
            return Err(later(&collection.name, what));
        }
        let tasks = policy::plan(&view, &parts.config.compaction, Why::Asked);
        if let Some(job) = parts.coordinator.submit_compaction(collection.id, &tasks).await? {
            parts.background.activate(TASK_SCHEDULE);
            return get(parts, pb::JobRef { job_id: job.0 }).await;
        }
    }
    Err(later(&collection.name, "another compaction"))
}

fn later(name: &str, what: &str) -> Failure {
    Failure::new(Code::RateLimit, format!("collection {name} waits for {what}; try again when that is done"))
}

pub(super) async fn get(parts: &Parts, of: pb::JobRef) -> Result<pb::CompactionJob, Failure> {
    let job = parts.meta().compaction_job(JobId(of.job_id)).await?;
    let job = job.ok_or_else(|| Failure::invalid(format!("compaction not found[id={}]", of.job_id)))?;
    Ok(pb::CompactionJob {
        job_id: job.id.0,
        collection_id: job.collection.0,
        created_ms: job.created_ms,
        compactions: job.tasks.into_iter().map(message).collect(),
    })
}

pub(super) async fn list(
    parts: &Parts,
    request: pb::ListCompactionsRequest,
) -> Result<pb::ListCompactionsResponse, Failure> {
    let collection = match request.collection {
        Some(of) => Some(resolve(parts, Some(of)).await?.id),
        None => None,
    };
    let compactions = parts.meta().compactions(collection, LIST_MAX).await?;
    Ok(pb::ListCompactionsResponse { compactions: compactions.into_iter().map(message).collect() })
}

fn message(record: CompactionRecord) -> pb::Compaction {
    pb::Compaction {
        id: record.id.0,
        collection_id: record.collection.0,
        partition_id: record.partition.0,
        shard: record.shard.0,
        job_id: record.job.map_or(0, |job| job.0),
        state: record.state.to_owned(),
        attempt: i32::try_from(record.attempt).unwrap_or(i32::MAX),
        node_id: record.worker.map(|node| node.0).unwrap_or_default(),
        reason: record.reason.unwrap_or_default(),
        created_ms: record.created_ms,
        ended_ms: record.ended_ms.unwrap_or(0),
        files: convert::int(record.files),
        rows: convert::int(record.rows),
        bytes: convert::int(record.bytes),
        rows_left: convert::int(record.rows_left.unwrap_or(0)),
        bytes_left: convert::int(record.bytes_left.unwrap_or(0)),
        source_segments: record.sources.iter().map(|segment| segment.0).collect(),
        target_segment: record.target.map_or(0, |segment| segment.0),
    }
}
