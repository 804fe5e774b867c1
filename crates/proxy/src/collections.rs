//! Collections: create, drop, look at.

use crate::{
    Proxy,
    backend::{Call, Collection, answer, any_loaded},
    definition,
};
use elanus_proto::{common::KeyValuePair, convert, datacoord as dc, milvus as m};
use elanus_types::{Code, Failure, Timestamp};

pub(crate) async fn create_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::CreateCollectionRequest,
) -> Result<(), Failure> {
    let request = definition::define(&request, call.db(&request.db_name), &proxy.config)?;
    answer(proxy.datacoord().create_collection(request)).await.map(drop)
}

/// Success also when there is none, as in Milvus.
pub(crate) async fn drop_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::DropCollectionRequest,
) -> Result<(), Failure> {
    let reference = dc::CollectionRef {
        db_name: call.db(&request.db_name),
        collection_name: request.collection_name,
        collection_id: 0,
    };
    match answer(proxy.datacoord().drop_collection(reference)).await {
        Err(failure) if failure.code == Code::CollectionNotFound => Ok(()),
        other => other.map(drop),
    }
}

/// All rows that are acknowledged go; all else stays. A snapshot that was
/// taken before keeps them.
pub(crate) async fn truncate_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::TruncateCollectionRequest,
) -> Result<m::TruncateCollectionResponse, Failure> {
    call.requires_present()?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    answer(proxy.datacoord().truncate_collection(collection.reference())).await?;
    Ok(m::TruncateCollectionResponse::default())
}

pub(crate) async fn has_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::HasCollectionRequest,
) -> Result<m::BoolResponse, Failure> {
    let value = match proxy.collection(call, &request.db_name, &request.collection_name).await {
        Err(failure) if failure.code == Code::CollectionNotFound => false,
        other => other.map(|_| true)?,
    };
    Ok(m::BoolResponse { value, ..m::BoolResponse::default() })
}

pub(crate) async fn describe_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::DescribeCollectionRequest,
) -> Result<m::DescribeCollectionResponse, Failure> {
    let reference = dc::CollectionRef {
        db_name: call.db(&request.db_name),
        collection_name: request.collection_name,
        collection_id: request.collection_id,
    };
    let collection = proxy.find(reference).await?;
    let virtual_channel_names = (0..collection.info.shards_num).map(|shard| collection.channel(shard)).collect();
    let Collection { info, schema } = collection;
    let mut message = convert::schema_to_proto(&info.name, &schema);
    // Clients add the dynamic column themselves when the schema says that there is one.
    message.fields.retain(|field| !field.is_dynamic);
    Ok(m::DescribeCollectionResponse {
        status: None,
        schema: Some(message),
        collection_id: info.id,
        virtual_channel_names,
        physical_channel_names: (0..info.shards_num).map(|shard| format!("elanus_{shard}")).collect(),
        created_timestamp: info.created_ts,
        created_utc_timestamp: utc_ms(info.created_ts),
        shards_num: info.shards_num,
        consistency_level: info.consistency_level,
        collection_name: info.name,
        properties: convert::map_to_pairs(&info.properties),
        db_name: info.db_name,
        num_partitions: i64::try_from(info.partitions.len()).unwrap_or(i64::MAX),
        db_id: info.db_id,
        aliases: info.aliases,
        update_timestamp: info.updated_ts,
        update_timestamp_str: info.updated_ts.to_string(),
        ..m::DescribeCollectionResponse::default()
    })
}

/// One answer a name, then one an id; what is not there is told in its own answer.
pub(crate) async fn batch_describe_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::BatchDescribeCollectionRequest,
) -> Result<m::BatchDescribeCollectionResponse, Failure> {
    let db_name = request.db_name;
    let one = || m::DescribeCollectionRequest { db_name: db_name.clone(), ..Default::default() };
    let by_name = request.collection_name.into_iter();
    let by_name = by_name.map(|collection_name| m::DescribeCollectionRequest { collection_name, ..one() });
    let by_id = request.collection_id.into_iter();
    let by_id = by_id.map(|collection_id| m::DescribeCollectionRequest { collection_id, ..one() });
    let mut responses = Vec::new();
    for asked in by_name.chain(by_id) {
        responses.push(match describe_collection(proxy, call, asked).await {
            Ok(found) => m::DescribeCollectionResponse { status: Some(convert::success()), ..found },
            Err(failure) => m::DescribeCollectionResponse { status: Some(failure.into()), ..Default::default() },
        });
    }
    Ok(m::BatchDescribeCollectionResponse { responses, status: None })
}

pub(crate) async fn get_collection_statistics(
    proxy: &Proxy,
    call: &Call,
    request: m::GetCollectionStatisticsRequest,
) -> Result<m::GetCollectionStatisticsResponse, Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let statistics = proxy.statistics(collection.id(), Vec::new()).await?;
    Ok(m::GetCollectionStatisticsResponse { stats: row_count(&statistics), ..Default::default() })
}

pub(crate) fn row_count(statistics: &dc::Statistics) -> Vec<KeyValuePair> {
    vec![KeyValuePair { key: "row_count".to_owned(), value: statistics.row_count.to_string() }]
}

pub(crate) async fn show_collections(
    proxy: &Proxy,
    call: &Call,
    request: m::ShowCollectionsRequest,
) -> Result<m::ShowCollectionsResponse, Failure> {
    let list = dc::ListCollectionsRequest { db_name: call.db(&request.db_name) };
    let listed = answer(proxy.datacoord().list_collections(list)).await?;
    let in_memory = request.r#type() == m::ShowType::InMemory;
    let wanted = &request.collection_names;
    let mut shown = m::ShowCollectionsResponse::default();
    for info in listed.collections {
        if !call.sees(|who| who.state.sees(&who.user, &info.db_name, Some(&info.name))) {
            continue;
        }
        let loaded = any_loaded(&info);
        if in_memory && !(loaded && (wanted.is_empty() || wanted.contains(&info.name))) {
            continue;
        }
        shown.collection_names.push(info.name);
        shown.collection_ids.push(info.id);
        shown.created_timestamps.push(info.created_ts);
        shown.created_utc_timestamps.push(utc_ms(info.created_ts));
        shown.in_memory_percentages.push(if loaded { 100 } else { 0 });
        shown.query_service_available.push(loaded);
        shown.shards_num.push(info.shards_num);
    }
    Ok(shown)
}

/// Milliseconds of a hybrid timestamp.
pub(crate) fn utc_ms(timestamp: u64) -> u64 {
    i64::try_from(timestamp).ok().and_then(|ts| u64::try_from(Timestamp(ts).ms()).ok()).unwrap_or_default()
}
