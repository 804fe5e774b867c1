//! Snapshots and restores. The order of the checks is the contract's: names, then what is missing, then ranges, then what
//! does not exist.

use crate::{
    Proxy,
    backend::{Call, Collection, RestoreHeaders, answer},
    names,
};
use elanus_proto::{convert, datacoord as dc, milvus as m, restore_headers};
use elanus_types::{Code, Failure, RestoreMode, schema::DEFAULT_DATABASE};

fn required(value: &str, text: &str) -> Result<(), Failure> {
    if value.is_empty() { Err(Failure::missing(text)) } else { Ok(()) }
}

/// The name goes on as it was sent: space around it was forgiven, not removed.
fn snapshot_ref(collection: &Collection, snapshot_name: String) -> Option<dc::SnapshotRef> {
    Some(dc::SnapshotRef { collection: Some(collection.reference()), snapshot_name })
}

fn indexes_stay(skip_index: bool) -> Result<(), Failure> {
    if skip_index { Err(Failure::new(Code::Unimplemented, "skip_index is not served")) } else { Ok(()) }
}

pub(crate) async fn create_snapshot(
    proxy: &Proxy,
    call: &Call,
    request: m::CreateSnapshotRequest,
) -> Result<(), Failure> {
    elanus_trace::note("elanus.snapshot", request.name.clone());
    names::snapshot(&request.name)?;
    let (seconds, max) = (request.compaction_protection_seconds, proxy.config.snapshot_protection_s_max);
    if seconds < 0 {
        return Err(Failure::invalid("compaction_protection_seconds must be non-negative"));
    }
    if seconds > max {
        return Err(Failure::invalid(format!("compaction_protection_seconds must not exceed {max}")));
    }
    indexes_stay(request.skip_index)?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let create = dc::CreateSnapshotRequest {
        collection: Some(collection.reference()),
        name: request.name,
        description: request.description,
        compaction_protection_seconds: seconds,
        idempotency_key: call.request_id.clone(),
    };
    answer(proxy.datacoord().create_snapshot(create)).await.map(drop)
}

/// Success also when there is none, as in Milvus.
pub(crate) async fn drop_snapshot(proxy: &Proxy, call: &Call, request: m::DropSnapshotRequest) -> Result<(), Failure> {
    elanus_trace::note("elanus.snapshot", request.name.clone());
    names::snapshot(&request.name)?;
    required(&request.collection_name, "collection_name is required for drop snapshot")?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let snapshot = dc::SnapshotRef { collection: Some(collection.reference()), snapshot_name: request.name };
    match answer(proxy.datacoord().drop_snapshot(snapshot)).await {
        Err(failure) if failure.code == Code::SnapshotNotFound => Ok(()),
        other => other.map(drop),
    }
}

pub(crate) async fn list_snapshots(
    proxy: &Proxy,
    call: &Call,
    request: m::ListSnapshotsRequest,
) -> Result<m::ListSnapshotsResponse, Failure> {
    required(&request.collection_name, "collection_name is required for ListSnapshots")?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let listed = answer(proxy.datacoord().list_snapshots(collection.reference())).await?;
    let names = listed.snapshots.into_iter().map(|snapshot| snapshot.name).collect();
    Ok(m::ListSnapshotsResponse { snapshots: names, ..Default::default() })
}

pub(crate) async fn describe_snapshot(
    proxy: &Proxy,
    call: &Call,
    request: m::DescribeSnapshotRequest,
) -> Result<m::DescribeSnapshotResponse, Failure> {
    elanus_trace::note("elanus.snapshot", request.name.clone());
    names::snapshot(&request.name)?;
    required(&request.collection_name, "collection_name is required for describe snapshot")?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let snapshot = dc::SnapshotRef { collection: Some(collection.reference()), snapshot_name: request.name };
    let snapshot = answer(proxy.datacoord().describe_snapshot(snapshot)).await?;
    Ok(m::DescribeSnapshotResponse {
        name: snapshot.name,
        description: snapshot.description,
        collection_name: collection.info.name,
        partition_names: snapshot.partition_names,
        create_ts: i64::try_from(snapshot.create_ts).unwrap_or(i64::MAX),
        s3_location: snapshot.location,
        ..m::DescribeSnapshotResponse::default()
    })
}

pub(crate) async fn restore_snapshot(
    proxy: &Proxy,
    call: &Call,
    request: m::RestoreSnapshotRequest,
) -> Result<m::RestoreSnapshotResponse, Failure> {
    elanus_trace::note("elanus.snapshot", request.name.clone());
    names::snapshot(&request.name)?;
    required(&request.collection_name, "collection_name is required for restore snapshot")?;
    required(&request.target_collection_name, "target_collection_name is required for restore snapshot")?;
    let wildcard = request.target_collection_name == "*";
    if !wildcard {
        names::collection(&request.target_collection_name)?;
    }
    indexes_stay(request.skip_index)?;
    let wish = wish(&call.restore)?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    if wildcard {
        // The wildcard passes the check of names, as in Milvus, but a collection of that name could not be addressed.
        return Err(Failure::invalid("target_collection_name * stands for no collection, name one"));
    }
    // Unlike the source's, the target's database is never taken from the metadata of the call.
    let target_db_name = match request.target_db_name.as_str() {
        "" => DEFAULT_DATABASE.to_owned(),
        named => named.to_owned(),
    };
    let restore = dc::RestoreSnapshotRequest {
        source: snapshot_ref(&collection, request.name),
        target_db_name,
        target_collection_name: request.target_collection_name,
        ..wish
    };
    elanus_trace::note("elanus.target", restore.target_collection_name.clone());
    let job_id = answer(proxy.datacoord().restore_snapshot(restore)).await?.job_id;
    elanus_trace::note("elanus.job", job_id);
    Ok(m::RestoreSnapshotResponse { job_id, ..Default::default() })
}

/// What the metadata of the call asks for, in a request that says nothing else.
fn wish(headers: &RestoreHeaders) -> Result<dc::RestoreSnapshotRequest, Failure> {
    let bad = |key: &str, why: String| Failure::invalid(format!("metadata {key}: {why}"));
    if let Some(mode) = &headers.mode {
        RestoreMode::parse(mode).map_err(|failure| bad(restore_headers::MODE, failure.message))?;
    }
    let partition_names: Vec<String> = match &headers.partitions {
        Some(list) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        None => Vec::new(),
    };
    if partition_names.iter().any(String::is_empty) {
        return Err(bad(restore_headers::PARTITIONS, "a partition name is empty, give a,b".to_owned()));
    }
    let without_indexes = match headers.indexes.as_deref() {
        None | Some("true") => false,
        Some("false") => true,
        Some(other) => return Err(bad(restore_headers::INDEXES, format!("{other:?} is neither true nor false"))),
    };
    let keeps_ages = match headers.ages.as_deref() {
        None | Some("restore") => false,
        Some("write") => true,
        Some(other) => return Err(bad(restore_headers::AGES, format!("{other:?} is neither restore nor write"))),
    };
    let mode = headers.mode.clone().unwrap_or_default();
    Ok(dc::RestoreSnapshotRequest { mode, partition_names, without_indexes, keeps_ages, ..Default::default() })
}

pub(crate) async fn get_restore_snapshot_state(
    proxy: &Proxy,
    _: &Call,
    request: m::GetRestoreSnapshotStateRequest,
) -> Result<m::GetRestoreSnapshotStateResponse, Failure> {
    let job_id = request.job_id;
    let job = answer(proxy.datacoord().get_restore_job(dc::JobRef { job_id })).await?;
    Ok(m::GetRestoreSnapshotStateResponse { info: Some(job_info(job)?), ..Default::default() })
}

pub(crate) async fn list_restore_snapshot_jobs(
    proxy: &Proxy,
    call: &Call,
    request: m::ListRestoreSnapshotJobsRequest,
) -> Result<m::ListRestoreSnapshotJobsResponse, Failure> {
    let list = dc::ListRestoreJobsRequest {
        db_name: call.db(&request.db_name),
        // Not resolved: the target of a running job may not be visible yet.
        collection_name: request.collection_name,
    };
    let jobs = answer(proxy.datacoord().list_restore_jobs(list)).await?.jobs;
    // A detach restores no snapshot: users of the Milvus API are not told of it.
    let jobs = jobs
        .into_iter()
        .filter(|job| job.kind != "detach" && call.sees(|who| who.sees_job(job)))
        .map(job_info)
        .collect::<Result<_, _>>()?;
    Ok(m::ListRestoreSnapshotJobsResponse { jobs, ..Default::default() })
}

fn job_info(job: dc::RestoreJob) -> Result<m::RestoreSnapshotInfo, Failure> {
    let started = u64::try_from(job.started_ms).unwrap_or_default();
    let cost = if job.ended_ms > 0 { (job.ended_ms - job.started_ms).max(1) } else { 0 };
    Ok(m::RestoreSnapshotInfo {
        job_id: job.job_id,
        snapshot_name: job.snapshot_name,
        db_name: job.target_db_name,
        collection_name: job.target_collection_name,
        state: convert::restore_state(&job.state)?.into(),
        progress: job.progress,
        reason: job.reason,
        start_time: started,
        time_cost: u64::try_from(cost).unwrap_or_default(),
    })
}

pub(crate) async fn pin_snapshot_data(
    proxy: &Proxy,
    call: &Call,
    request: m::PinSnapshotDataRequest,
) -> Result<m::PinSnapshotDataResponse, Failure> {
    elanus_trace::note("elanus.snapshot", request.name.clone());
    names::snapshot(&request.name)?;
    required(&request.collection_name, "collection_name is required for pin snapshot data")?;
    let (ttl_seconds, max) = (request.ttl_seconds, proxy.config.pin_ttl_s_max);
    if ttl_seconds < 0 {
        return Err(Failure::invalid("ttl_seconds must be non-negative"));
    }
    if ttl_seconds > max {
        return Err(Failure::invalid(format!("ttl_seconds exceeds maximum of {max}")));
    }
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let snapshot = snapshot_ref(&collection, request.name);
    let pin = dc::PinSnapshotRequest { snapshot, ttl_seconds, owner: String::new() };
    let pin_id = answer(proxy.datacoord().pin_snapshot(pin)).await?.id;
    Ok(m::PinSnapshotDataResponse { pin_id, ..Default::default() })
}

/// Success also when the pin is gone or never was.
pub(crate) async fn unpin_snapshot_data(
    proxy: &Proxy,
    _: &Call,
    request: m::UnpinSnapshotDataRequest,
) -> Result<(), Failure> {
    if request.pin_id == 0 {
        return Err(Failure::missing("pin_id is required for unpin snapshot data"));
    }
    answer(proxy.datacoord().unpin_snapshot(dc::UnpinSnapshotRequest { pin_id: request.pin_id })).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_ended_took_time_and_one_that_runs_took_none_yet() {
        let job = |state: &str, ended_ms| dc::RestoreJob {
            state: state.into(),
            started_ms: 5_000,
            ended_ms,
            ..Default::default()
        };
        let running = job_info(job("copying", 0)).unwrap();
        assert_eq!((running.state, running.start_time, running.time_cost), (2, 5_000, 0));
        let done = job_info(job("completed", 5_000)).unwrap();
        assert_eq!((done.state, done.time_cost), (3, 1));
        assert_eq!(job_info(job("failing", 6_000)).unwrap().state, 4);
    }
}
