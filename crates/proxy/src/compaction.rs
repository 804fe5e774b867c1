//! Compactions as Milvus asks for them: by collection, with an id by which their state is asked for.

use crate::{
    Proxy,
    backend::{Call, answer},
};
use elanus_proto::{
    common::{CompactionState, CompactionTaskState, CompactionType},
    datacoord as dc, milvus as m,
};
use elanus_types::{Code, Failure};

/// Plans what can be compacted of a collection, and returns. Deletes are applied by the same compactions that merge files,
/// so `l0Compaction` asks for nothing else.
pub(crate) async fn manual_compaction(
    proxy: &Proxy,
    call: &Call,
    request: m::ManualCompactionRequest,
) -> Result<m::ManualCompactionResponse, Failure> {
    if request.major_compaction {
        return Err(unsupported("clustering compaction"));
    }
    if request.partition_id != 0 || !request.channel.is_empty() || !request.segment_ids.is_empty() {
        return Err(unsupported("compacting a part of a collection"));
    }
    // Else a wish: files become as large as the policy makes them.
    if request.target_size < 0 {
        return Err(Failure::invalid(format!("target size should not be negative, got {}", request.target_size)));
    }
    let collection = proxy
        .find(dc::CollectionRef {
            db_name: call.db(&request.db_name),
            collection_name: request.collection_name,
            collection_id: request.collection_id,
        })
        .await?;
    let job = answer(proxy.datacoord().compact_collection(collection.reference())).await?;
    Ok(m::ManualCompactionResponse {
        compaction_id: job.job_id,
        compaction_plan_count: i32::try_from(job.compactions.len()).unwrap_or(i32::MAX),
        status: None,
    })
}

fn unsupported(what: &str) -> Failure {
    Failure::new(Code::Unimplemented, format!("{what} is not supported; compact the collection without it"))
}

pub(crate) async fn get_compaction_state(
    proxy: &Proxy,
    _: &Call,
    request: m::GetCompactionStateRequest,
) -> Result<m::GetCompactionStateResponse, Failure> {
    let job = answer(proxy.datacoord().get_compaction(dc::JobRef { job_id: request.compaction_id })).await?;
    let count = |states: &[&str]| {
        let counted = job.compactions.iter().filter(|one| states.contains(&one.state.as_str())).count();
        i64::try_from(counted).unwrap_or(i64::MAX)
    };
    Ok(m::GetCompactionStateResponse {
        state: state(&job).into(),
        executing_plan_no: count(&["pending", "in_progress"]),
        timeout_plan_no: 0,
        completed_plan_no: count(&["completed"]),
        failed_plan_no: count(&["failed"]),
        status: None,
    })
}

pub(crate) async fn get_compaction_state_with_plans(
    proxy: &Proxy,
    _: &Call,
    request: m::GetCompactionPlansRequest,
) -> Result<m::GetCompactionPlansResponse, Failure> {
    let job = answer(proxy.datacoord().get_compaction(dc::JobRef { job_id: request.compaction_id })).await?;
    let state = state(&job).into();
    let info = |one: dc::Compaction| m::CompactionMergeInfo {
        targets: Some(one.target_segment).filter(|target| *target != 0).into_iter().collect(),
        sources: one.source_segments,
        target: one.target_segment,
        plan_id: one.id,
        trigger_id: one.job_id,
        collection_id: one.collection_id,
        partition_id: one.partition_id,
        r#type: CompactionType::Mix.into(),
        state: task_state(&one.state).into(),
        failure_reason: one.reason,
        channel: String::new(),
    };
    Ok(m::GetCompactionPlansResponse {
        state,
        merge_infos: job.compactions.into_iter().map(info).collect(),
        status: None,
    })
}

fn task_state(state: &str) -> CompactionTaskState {
    match state {
        "pending" => CompactionTaskState::Pipelining,
        "in_progress" => CompactionTaskState::Executing,
        "completed" => CompactionTaskState::Completed,
        "failed" => CompactionTaskState::Failed,
        _ => CompactionTaskState::Unknown,
    }
}

/// Completed when nothing of it goes on, as in Milvus also when some of it failed.
fn state(job: &dc::CompactionJob) -> CompactionState {
    let runs = job.compactions.iter().any(|one| one.ended_ms == 0);
    if runs { CompactionState::Executing } else { CompactionState::Completed }
}
