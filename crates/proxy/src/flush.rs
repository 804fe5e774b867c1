//! Flush: ends the growing segments. Rows are durable before it, so it is done when it returns.

use crate::Proxy;
use crate::backend::{Call, Collection, answer};
use elanus_proto::{datacoord as dc, milvus as m, schema::LongArray};
use elanus_types::{Code, Failure};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};

/// Collections that are looked up or flushed at a time.
const AT_ONCE: usize = 8;

pub(crate) async fn flush(proxy: &Proxy, call: &Call, request: m::FlushRequest) -> Result<m::FlushResponse, Failure> {
    if request.collection_names.is_empty() {
        return Err(Failure::missing("collection names are required for flush"));
    }
    let found = lookup(proxy, call, &request.db_name, request.collection_names, true).await?;
    let mut done = m::FlushResponse { db_name: call.db(&request.db_name), ..m::FlushResponse::default() };
    for (name, flushed) in flush_each(proxy, found).await? {
        done.flush_coll_seg_i_ds.insert(name.clone(), LongArray { data: flushed.segment_ids.clone() });
        done.coll_seg_i_ds.insert(name.clone(), LongArray { data: flushed.segment_ids });
        done.coll_seal_times.insert(name.clone(), proxy.clock.now_ms() / 1_000);
        done.coll_flush_ts.insert(name, flushed.flush_ts);
    }
    Ok(done)
}

/// Looks up all of these, in their order: who names one that is not there has flushed none. Unless somebody `named` them, those
/// that were dropped meanwhile are left out.
async fn lookup(
    proxy: &Proxy,
    call: &Call,
    db_name: &str,
    names: Vec<String>,
    named: bool,
) -> Result<Vec<(String, Collection)>, Failure> {
    let found = stream::iter(names).map(|name| async move {
        match proxy.collection(call, db_name, &name).await {
            Ok(collection) => Ok(Some((name, collection))),
            Err(failure) if failure.code == Code::CollectionNotFound && !named => Ok(None),
            Err(failure) => Err(failure),
        }
    });
    found.buffered(AT_ONCE).try_filter_map(future::ok).try_collect().await
}

/// Flushes these, with what came of it in their order. Those that were dropped meanwhile are left out.
async fn flush_each<T>(proxy: &Proxy, all: Vec<(T, Collection)>) -> Result<Vec<(T, dc::FlushResponse)>, Failure> {
    let flushed = stream::iter(all).map(|(what, collection)| async move {
        match answer(proxy.datacoord().flush(collection.reference())).await {
            Ok(flushed) => Ok(Some((what, flushed))),
            Err(failure) if failure.code == Code::CollectionNotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    });
    flushed.buffered(AT_ONCE).try_filter_map(future::ok).try_collect().await
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
    let mut found = Vec::new();
    let mut done = m::FlushAllResponse::default();
    for m::FlushAllTarget { db_name, mut collection_names } in targets {
        let named = !collection_names.is_empty();
        if !named {
            let list = dc::ListCollectionsRequest { db_name: call.db(&db_name) };
            let listed = answer(proxy.datacoord().list_collections(list)).await?.collections;
            collection_names.extend(listed.into_iter().map(|collection| collection.name));
        }
        let target = done.flush_results.len();
        let asked = lookup(proxy, call, &db_name, collection_names, named).await?;
        found.extend(asked.into_iter().map(|(name, collection)| ((target, name), collection)));
        done.flush_results.push(m::FlushAllResult { db_name: call.db(&db_name), ..Default::default() });
    }
    for ((target, collection_name), flushed) in flush_each(proxy, found).await? {
        done.flush_all_ts = done.flush_all_ts.max(flushed.flush_ts);
        done.flush_results[target].collection_results.push(m::FlushCollectionResult {
            collection_name,
            segment_ids: Some(LongArray { data: flushed.segment_ids.clone() }),
            flush_segment_ids: Some(LongArray { data: flushed.segment_ids }),
            seal_time: proxy.clock.now_ms() / 1_000,
            flush_ts: flushed.flush_ts,
            ..Default::default()
        });
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
