//! Load and release: a mark on what may be read. Nothing is copied into memory, so loading is done at once.

use crate::{
    Proxy,
    backend::{Call, Collection, answer},
    replicas,
};
use elanus_proto::{
    common::LoadState,
    datacoord as dc,
    milvus::{self as m},
};
use elanus_types::{Code, Failure};

pub(crate) async fn load_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::LoadCollectionRequest,
) -> Result<(), Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    request.resource_groups.iter().try_for_each(|name| replicas::group(name))?;
    check_indexes(&collection)?;
    mark(proxy, &collection, &[], true).await
}

pub(crate) async fn release_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::ReleaseCollectionRequest,
) -> Result<(), Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    mark(proxy, &collection, &[], false).await
}

pub(crate) async fn load_partitions(
    proxy: &Proxy,
    call: &Call,
    request: m::LoadPartitionsRequest,
) -> Result<(), Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    require_names(&request.partition_names)?;
    request.resource_groups.iter().try_for_each(|name| replicas::group(name))?;
    collection.requires_own_partitions("load")?;
    check_indexes(&collection)?;
    mark(proxy, &collection, &request.partition_names, true).await
}

pub(crate) async fn release_partitions(
    proxy: &Proxy,
    call: &Call,
    request: m::ReleasePartitionsRequest,
) -> Result<(), Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    require_names(&request.partition_names)?;
    collection.requires_own_partitions("release")?;
    mark(proxy, &collection, &request.partition_names, false).await
}

fn require_names(names: &[String]) -> Result<(), Failure> {
    if names.is_empty() { Err(Failure::invalid("due to no partition specified")) } else { Ok(()) }
}

/// Without names: the whole collection.
async fn mark(proxy: &Proxy, collection: &Collection, names: &[String], loaded: bool) -> Result<(), Failure> {
    let partition_ids = collection.partitions(names)?.iter().map(|partition| partition.id).collect();
    let request = dc::SetLoadedRequest { collection_id: collection.id(), partition_ids, loaded };
    answer(proxy.datacoord().set_loaded(request)).await.map(drop)
}

/// As in Milvus, a collection is loaded only when every vector field has an index, which names its metric.
fn check_indexes(collection: &Collection) -> Result<(), Failure> {
    let bare = collection.schema.vector_fields().filter(|field| collection.index_of(field).is_none());
    let bare: Vec<&str> = bare.map(|field| field.name.as_str()).collect();
    if bare.is_empty() {
        return Ok(());
    }
    let text = format!("index not found[collection={}]", collection.info.name);
    let failure = Failure::new(Code::IndexNotFound, text);
    Err(failure
        .context(format!("there is no vector index on field: [{}], please create index firstly", bare.join(" "))))
}

pub(crate) async fn get_loading_progress(
    proxy: &Proxy,
    call: &Call,
    request: m::GetLoadingProgressRequest,
) -> Result<m::GetLoadingProgressResponse, Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    if state(&collection, &request.partition_names)? != LoadState::Loaded {
        return Err(collection.not_loaded());
    }
    Ok(m::GetLoadingProgressResponse { progress: 100, refresh_progress: 100, ..Default::default() })
}

pub(crate) async fn get_load_state(
    proxy: &Proxy,
    call: &Call,
    request: m::GetLoadStateRequest,
) -> Result<m::GetLoadStateResponse, Failure> {
    let state = match proxy.collection(call, &request.db_name, &request.collection_name).await {
        Ok(collection) => state(&collection, &request.partition_names)?,
        Err(failure) if failure.code == Code::CollectionNotFound => LoadState::NotExist,
        Err(failure) => return Err(failure),
    };
    Ok(m::GetLoadStateResponse { state: state.into(), ..Default::default() })
}

fn state(collection: &Collection, names: &[String]) -> Result<LoadState, Failure> {
    let loaded = match names {
        [] => collection.any_loaded(),
        names => collection.partitions(names)?.into_iter().all(|partition| partition.loaded),
    };
    Ok(if loaded { LoadState::Loaded } else { LoadState::NotLoad })
}
