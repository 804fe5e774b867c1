//! Flush: ends the growing segments. Rows are durable before it, so it is done when it returns.

use crate::{
    Proxy,
    backend::{Call, answer},
};
use elanus_proto::{datacoord as dc, milvus as m, schema::LongArray};
use elanus_types::{Code, Failure};

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

/// The collections that are named, those of the databases that are named, or all that there are.
pub(crate) async fn flush_all(
    proxy: &Proxy,
    call: &Call,
    request: m::FlushAllRequest,
) -> Result<m::FlushAllResponse, Failure> {
    let mut targets = request.flush_targets;
    if targets.is_empty() {
        let databases = match request.db_name.as_str() {
            "" => answer(proxy.datacoord().list_databases(dc::Empty {})).await?.databases,
            name => vec![dc::Database { name: name.to_owned(), ..Default::default() }],
        };
        let whole = |database: dc::Database| m::FlushAllTarget { db_name: database.name, ..Default::default() };
        targets.extend(databases.into_iter().map(whole));
    }
    let mut done = m::FlushAllResponse::default();
    for m::FlushAllTarget { db_name, mut collection_names } in targets {
        let named = !collection_names.is_empty();
        if !named {
            let list = dc::ListCollectionsRequest { db_name: call.db(&db_name) };
            let listed = answer(proxy.datacoord().list_collections(list)).await?.collections;
            collection_names.extend(listed.into_iter().map(|collection| collection.name));
        }
        let mut result = m::FlushAllResult { db_name: call.db(&db_name), ..Default::default() };
        for collection_name in collection_names {
            let flushed = async {
                let collection = proxy.collection(call, &db_name, &collection_name).await?;
                answer(proxy.datacoord().flush(collection.reference())).await
            };
            let flushed = match flushed.await {
                // It was dropped since it was listed.
                Err(failure) if failure.code == Code::CollectionNotFound && !named => continue,
                other => other?,
            };
            done.flush_all_ts = done.flush_all_ts.max(flushed.flush_ts);
            result.collection_results.push(m::FlushCollectionResult {
                collection_name,
                segment_ids: Some(LongArray { data: flushed.segment_ids.clone() }),
                flush_segment_ids: Some(LongArray { data: flushed.segment_ids }),
                seal_time: proxy.clock.now_ms() / 1_000,
                flush_ts: flushed.flush_ts,
                ..Default::default()
            });
        }
        done.flush_results.push(result);
    }
    Ok(done)
}

pub(crate) async fn get_flush_all_state(
    _: &Proxy,
    _: &Call,
    _: m::GetFlushAllStateRequest,
) -> Result<m::GetFlushAllStateResponse, Failure> {
    Ok(m::GetFlushAllStateResponse { flushed: true, ..m::GetFlushAllStateResponse::default() })
}
