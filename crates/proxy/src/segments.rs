//! Segments as Milvus lists them: where the rows of a collection are, and how many. Deleted rows count, as there.

use crate::{
    Proxy,
    backend::{Call, Collection, answer},
};
use elanus_proto::{
    common::{SegmentLevel, SegmentState},
    datacoord as dc, milvus as m,
};
use elanus_types::Failure;

/// The number that Milvus' storage of column groups has.
const STORAGE_VERSION: i64 = 2;

async fn segments(proxy: &Proxy, collection: &Collection) -> Result<Vec<dc::SegmentInfo>, Failure> {
    Ok(answer(proxy.datacoord().list_segments(collection.reference())).await?.segments)
}

fn state(segment: &dc::SegmentInfo) -> SegmentState {
    if segment.growing { SegmentState::Growing } else { SegmentState::Flushed }
}

/// The flushed ones, or those in the states that are asked for. Rows of the others are as durable.
pub(crate) async fn get_persistent_segment_info(
    proxy: &Proxy,
    call: &Call,
    request: m::GetPersistentSegmentInfoRequest,
) -> Result<m::GetPersistentSegmentInfoResponse, Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let wanted = match request.states.as_slice() {
        [] => vec![i32::from(SegmentState::Flushed)],
        states => states.to_vec(),
    };
    let info = |segment: dc::SegmentInfo| m::PersistentSegmentInfo {
        segment_id: segment.id,
        collection_id: collection.id(),
        partition_id: segment.partition_id,
        num_rows: segment.rows,
        state: state(&segment).into(),
        level: SegmentLevel::L1.into(),
        storage_version: STORAGE_VERSION,
        insert_channel: collection.channel(segment.shard),
        ..m::PersistentSegmentInfo::default()
    };
    let infos = segments(proxy, &collection).await?.into_iter().map(info);
    let infos = infos.filter(|info| wanted.contains(&info.state)).collect();
    Ok(m::GetPersistentSegmentInfoResponse { infos, status: None })
}

/// Of the partitions that are loaded.
pub(crate) async fn get_query_segment_info(
    proxy: &Proxy,
    call: &Call,
    request: m::GetQuerySegmentInfoRequest,
) -> Result<m::GetQuerySegmentInfoResponse, Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    if !collection.any_loaded() {
        return Err(collection.not_loaded());
    }
    let partitions = &collection.info.partitions;
    let is_loaded = |id: i64| partitions.iter().any(|partition| partition.id == id && partition.loaded);
    let info = |segment: dc::SegmentInfo| m::QuerySegmentInfo {
        segment_id: segment.id,
        collection_id: collection.id(),
        partition_id: segment.partition_id,
        mem_size: segment.bytes,
        num_rows: segment.rows,
        state: state(&segment).into(),
        level: SegmentLevel::L1.into(),
        storage_version: STORAGE_VERSION,
        ..m::QuerySegmentInfo::default()
    };
    let infos = segments(proxy, &collection).await?.into_iter().map(info);
    let infos = infos.filter(|info| is_loaded(info.partition_id)).collect();
    Ok(m::GetQuerySegmentInfoResponse { infos, status: None })
}
