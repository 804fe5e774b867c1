//! Partitions of a collection.

use crate::{
    Proxy,
    backend::{Call, answer},
    collections::{row_count, utc_ms},
    names,
};
use elanus_proto::{datacoord as dc, milvus as m};
use elanus_types::{Code, Failure, schema::DEFAULT_PARTITION};

/// Name of a partition that a partition key made, by its position.
pub(crate) fn keyed(position: usize) -> String {
    format!("{DEFAULT_PARTITION}_{position}")
}

/// Success also when it exists, as in Milvus.
pub(crate) async fn create_partition(
    proxy: &Proxy,
    call: &Call,
    request: m::CreatePartitionRequest,
) -> Result<(), Failure> {
    names::partition(&request.partition_name)?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    collection.requires_own_partitions("create")?;
    if collection.partition(&request.partition_name).is_ok() {
        return Ok(());
    }
    let max = proxy.config.partitions_max;
    if collection.info.partitions.len() >= max {
        let name = &collection.info.name;
        return Err(Failure::invalid(format!(
            "collection {name} has {max} partitions, which is the most that it can have"
        )));
    }
    let partition =
        dc::PartitionRef { collection: Some(collection.reference()), partition_name: request.partition_name };
    answer(proxy.datacoord().create_partition(partition)).await.map(drop)
}

/// Success also when there is none, as in Milvus.
pub(crate) async fn drop_partition(
    proxy: &Proxy,
    call: &Call,
    request: m::DropPartitionRequest,
) -> Result<(), Failure> {
    let name = request.partition_name;
    if name == DEFAULT_PARTITION {
        return Err(Failure::invalid("default partition cannot be deleted"));
    }
    names::partition(&name)?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    collection.requires_own_partitions("drop")?;
    let partition = match collection.partition(&name) {
        Ok(partition) => partition,
        Err(_) => return Ok(()),
    };
    if partition.loaded {
        return Err(Failure::invalid("partition cannot be dropped, partition is loaded, please release it first"));
    }
    let partition = dc::PartitionRef { collection: Some(collection.reference()), partition_name: name };
    match answer(proxy.datacoord().drop_partition(partition)).await {
        Err(failure) if failure.code == Code::PartitionNotFound => Ok(()),
        other => other.map(drop),
    }
}

pub(crate) async fn has_partition(
    proxy: &Proxy,
    call: &Call,
    request: m::HasPartitionRequest,
) -> Result<m::BoolResponse, Failure> {
    names::partition(&request.partition_name)?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    Ok(m::BoolResponse { value: collection.partition(&request.partition_name).is_ok(), ..m::BoolResponse::default() })
}

pub(crate) async fn get_partition_statistics(
    proxy: &Proxy,
    call: &Call,
    request: m::GetPartitionStatisticsRequest,
) -> Result<m::GetPartitionStatisticsResponse, Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let partition = collection.partition(&request.partition_name)?;
    let statistics = proxy.statistics(collection.id(), vec![partition.id]).await?;
    Ok(m::GetPartitionStatisticsResponse { stats: row_count(&statistics), ..Default::default() })
}

pub(crate) async fn show_partitions(
    proxy: &Proxy,
    call: &Call,
    request: m::ShowPartitionsRequest,
) -> Result<m::ShowPartitionsResponse, Failure> {
    let reference = dc::CollectionRef {
        db_name: call.db(&request.db_name),
        collection_name: request.collection_name.clone(),
        collection_id: request.collection_id,
    };
    let collection = proxy.find(reference).await?;
    let wanted = match request.partition_names.as_slice() {
        [] => collection.info.partitions.iter().collect(),
        names => collection.partitions(names)?,
    };
    let in_memory = request.r#type() == m::ShowType::InMemory;
    let mut shown = m::ShowPartitionsResponse::default();
    for partition in wanted {
        let loaded = partition.loaded;
        if in_memory && !loaded {
            continue;
        }
        shown.partition_names.push(partition.name.clone());
        shown.partition_i_ds.push(partition.id);
        shown.created_timestamps.push(partition.created_ts);
        shown.created_utc_timestamps.push(utc_ms(partition.created_ts));
        shown.in_memory_percentages.push(if loaded { 100 } else { 0 });
    }
    Ok(shown)
}
