//! Flush: ends the growing segments. Rows are durable before it, so it is done when it returns.

use crate::{
    Proxy,
    backend::{Call, answer},
};
use elanus_proto::{milvus as m, schema::LongArray};
use elanus_types::Failure;

pub(crate) async fn flush(proxy: &Proxy, call: &Call, request: m::FlushRequest) -> Result<m::FlushResponse, Failure> {
    if request.collection_names.is_empty() {
        return Err(Failure::missing("collection names are required for flush"));
    }
    let mut done = m::FlushResponse { db_name: call.db(&request.db_name), ..m::FlushResponse::default() };
    for name in request.collection_names {
        let collection = proxy.collection(call, &request.db_name, &name).await?;
        let flushed = answer(proxy.datacoord().flush(collection.reference())).await?;
        done.flush_coll_seg_i_ds.insert(name.clone(), LongArray { data: flushed.segment_ids.clone() });
        done.coll_seg_i_ds.insert(name.clone(), LongArray { data: flushed.segment_ids });
        done.coll_seal_times.insert(name.clone(), proxy.clock.now_ms() / 1_000);
        done.coll_flush_ts.insert(name, flushed.flush_ts);
    }
    Ok(done)
}

pub(crate) async fn get_flush_state(
    _: &Proxy,
    _: &Call,
    _: m::GetFlushStateRequest,
) -> Result<m::GetFlushStateResponse, Failure> {
    Ok(m::GetFlushStateResponse { flushed: true, ..m::GetFlushStateResponse::default() })
}
