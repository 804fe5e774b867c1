//! Collections, partitions, indexes; ids and timestamps.

use super::convert;
use crate::Parts;
use crate::background::{GC_RELEASE, INDEX_PLAN};
use crate::index::policy;
use elanus_meta::SegmentRecord;
use elanus_meta::model::{CollectionKey, CollectionRecord, NewCollection};
use elanus_proto::convert::schema_from_proto;
use elanus_proto::datacoord as pb;
use elanus_types::schema::{CollectionDefinition, ConsistencyLevel, DEFAULT_DATABASE, PartitionInfo};
use elanus_types::{Code, CollectionId, Failure, FieldId, PartitionId, Timestamp};

/// Ids that one call may take.
const IDS_MAX: u32 = 1_000_000;

pub(super) fn database(name: String) -> String {
    if name.is_empty() { DEFAULT_DATABASE.to_owned() } else { name }
}

/// The live collection that a caller means.
pub(super) async fn resolve(parts: &Parts, of: Option<pb::CollectionRef>) -> Result<CollectionRecord, Failure> {
    let of = of.ok_or_else(|| Failure::missing("no collection is named"))?;
    let (key, text) = if of.collection_id == 0 {
        let database = database(of.db_name);
        let text = format!("[database={database}][collection={}]", of.collection_name);
        (CollectionKey::Name { database, name: of.collection_name }, text)
    } else {
        (CollectionKey::Id(CollectionId(of.collection_id)), format!("[collection={}]", of.collection_id))
    };
    let record = parts.meta().collection(&key).await?;
    record.ok_or_else(|| Failure::new(Code::CollectionNotFound, format!("can't find collection{text}")))
}

pub(super) async fn create_collection(
    parts: &Parts,
    request: pb::CreateCollectionRequest,
) -> Result<pb::Collection, Failure> {
    let schema = request.schema.ok_or_else(|| Failure::missing("a collection needs a schema"))?;
    let consistency_level = ConsistencyLevel::from_number(request.consistency_level)
        .ok_or_else(|| Failure::invalid(format!("{} is no consistency level", request.consistency_level)))?;
    let names = request.partition_names.into_iter();
    let new = NewCollection {
        database: database(request.db_name),
        name: request.collection_name,
        definition: CollectionDefinition {
            schema: schema_from_proto(&schema)?,
            shards_num: request.shards_num.max(1),
            consistency_level,
            properties: request.properties,
            // Ids are given later.
            partitions: names.map(|name| PartitionInfo { id: PartitionId(0), name }).collect(),
            indexes: Vec::new(),
            aging: elanus_types::Aging::default(),
        },
    };
    Ok(convert::collection(parts.coordinator.create_collection(new).await?))
}

pub(super) async fn describe_collection(parts: &Parts, of: pb::CollectionRef) -> Result<pb::Collection, Failure> {
    resolve(parts, Some(of)).await.map(convert::collection)
}

pub(super) async fn list_collections(
    parts: &Parts,
    request: pb::ListCollectionsRequest,
) -> Result<pb::ListCollectionsResponse, Failure> {
    let records = parts.meta().collections(&database(request.db_name)).await?;
    Ok(pb::ListCollectionsResponse { collections: records.into_iter().map(convert::collection).collect() })
}

pub(super) async fn drop_collection(parts: &Parts, of: pb::CollectionRef) -> Result<(), Failure> {
    let name = of.collection_name.clone();
    let by_name = of.collection_id == 0;
    let collection = resolve(parts, Some(of)).await?;
    if by_name && name != collection.name {
        let text = format!("cannot drop the collection via alias = {name}, drop {} instead", collection.name);
        return Err(Failure::new(Code::Unexpected, text));
    }
    let dropped = match parts.config.trash_retention_ms {
        0 => parts.coordinator.drop_collection(collection.id).await,
        retention_ms => {
            let until_ms = parts.now_ms().saturating_add(retention_ms);
            parts.coordinator.trash_collection(collection.id, until_ms).await
        }
    };
    dropped?;
    parts.background.activate(GC_RELEASE);
    Ok(())
}

pub(super) async fn truncate_collection(parts: &Parts, of: pb::CollectionRef) -> Result<(), Failure> {
    let collection = resolve(parts, Some(of)).await?;
    let ended = parts.coordinator.truncate_collection(collection.id).await?;
    tracing::info!(collection = %collection.id, ended, "a collection was emptied");
    parts.background.activate(GC_RELEASE);
    Ok(())
}

pub(super) async fn create_partition(parts: &Parts, request: pb::PartitionRef) -> Result<pb::Partition, Failure> {
    let collection = resolve(parts, request.collection).await?;
    Ok(convert::partition(parts.coordinator.create_partition(collection.id, &request.partition_name).await?))
}

pub(super) async fn drop_partition(parts: &Parts, request: pb::PartitionRef) -> Result<(), Failure> {
    let collection = resolve(parts, request.collection).await?;
    parts.coordinator.drop_partition(collection.id, &request.partition_name).await?;
    parts.background.activate(GC_RELEASE);
    Ok(())
}

pub(super) async fn create_index(parts: &Parts, request: pb::CreateIndexRequest) -> Result<pb::Index, Failure> {
    let collection = CollectionId(request.collection_id);
    let field = FieldId(request.field_id);
    let info = parts.coordinator.create_index(collection, field, &request.index_name, request.params).await?;
    parts.background.activate(INDEX_PLAN);
    Ok(convert::index(info))
}

pub(super) async fn drop_index(parts: &Parts, request: pb::DropIndexRequest) -> Result<(), Failure> {
    Ok(parts.coordinator.drop_index(CollectionId(request.collection_id), &request.index_name).await?)
}

/// Rows that wait for their index, by definition.
pub(super) async fn get_index_progress(parts: &Parts, of: pb::CollectionRef) -> Result<pb::IndexProgress, Failure> {
    let collection = resolve(parts, Some(of)).await?;
    let view = parts.meta().index_view(collection.id, parts.config.index.rows_min).await?;
    let pending = policy::pending_rows(&view);
    let indexes = pending.into_iter().map(|(index, rows)| (index.0, convert::int(rows))).collect();
    Ok(pb::IndexProgress { pending_rows: indexes })
}

pub(super) async fn set_loaded(parts: &Parts, request: pb::SetLoadedRequest) -> Result<(), Failure> {
    let partitions: Vec<PartitionId> = request.partition_ids.into_iter().map(PartitionId).collect();
    Ok(parts.coordinator.set_loaded(CollectionId(request.collection_id), &partitions, request.loaded).await?)
}

pub(super) async fn flush(parts: &Parts, of: pb::CollectionRef) -> Result<pb::FlushResponse, Failure> {
    let collection = resolve(parts, Some(of)).await?;
    let (segments, flush_ts) = parts.coordinator.seal_segments(collection.id).await?;
    parts.background.activate(INDEX_PLAN);
    Ok(pb::FlushResponse {
        segment_ids: segments.into_iter().map(|segment| segment.0).collect(),
        flush_ts: convert::ts(flush_ts),
    })
}

pub(super) async fn get_statistics(parts: &Parts, request: pb::StatisticsRequest) -> Result<pb::Statistics, Failure> {
    let partitions: Vec<PartitionId> = request.partition_ids.into_iter().map(PartitionId).collect();
    let sums = parts.meta().statistics(CollectionId(request.collection_id), &partitions).await?;
    Ok(pb::Statistics {
        row_count: convert::int(sums.rows),
        files: convert::int(sums.files),
        bytes: convert::int(sums.bytes),
        segments: convert::int(sums.segments),
        delete_records: convert::int(sums.delete_records),
    })
}

pub(super) async fn list_segments(parts: &Parts, of: pb::CollectionRef) -> Result<pb::ListSegmentsResponse, Failure> {
    let collection = resolve(parts, Some(of)).await?;
    let segments = parts.meta().segments(collection.id).await?;
    let segment = |one: SegmentRecord| pb::SegmentInfo {
        id: one.id.0,
        partition_id: one.partition.0,
        shard: one.shard.0,
        growing: one.growing,
        rows: convert::int(one.rows),
        bytes: convert::int(one.bytes),
    };
    Ok(pb::ListSegmentsResponse { segments: segments.into_iter().map(segment).collect() })
}

pub(super) async fn allocate_ids(
    parts: &Parts,
    request: pb::AllocateIdsRequest,
) -> Result<pb::AllocateIdsResponse, Failure> {
    if !(1..=IDS_MAX).contains(&request.count) {
        return Err(Failure::invalid(format!("{} ids were asked for; 1 to {IDS_MAX} can be given", request.count)));
    }
    Ok(pb::AllocateIdsResponse { first: parts.meta().allocate_ids(request.count).await? })
}

pub(super) fn allocate_timestamp(parts: &Parts) -> pb::AllocateTimestampResponse {
    pb::AllocateTimestampResponse { timestamp: convert::ts(Timestamp::from_ms(parts.now_ms())) }
}
