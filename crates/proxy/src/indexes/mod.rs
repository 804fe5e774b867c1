//! Index definitions. Every type of Milvus is taken, its parameters are checked and kept, and the description says what
//! serves it ([`SERVED_BY`]): a graph of neighbours, which data nodes build in the background, or a scan. Searches have
//! answers whether an index is built or not; it is finished when no rows wait for it.

pub(crate) mod kinds;
mod params;

use crate::{
    Proxy,
    backend::{Call, Collection, answer},
    names, properties,
};
use elanus_proto::{
    common::{IndexState, KeyValuePair},
    convert, datacoord as dc, milvus as m,
};
use elanus_types::{Code, Failure, FieldId, graph::is_graph_type, schema::FieldSchema};
use kinds::Kind;
use params::{JSON_PATH, index_params};
use std::collections::BTreeMap;

/// The parameter by which a description says what answers in place of the structure that the type promises. It is no part
/// of the definition.
const SERVED_BY: &str = "elanus.served_by";

/// Success also when the same index exists.
pub(crate) async fn create_index(proxy: &Proxy, call: &Call, request: m::CreateIndexRequest) -> Result<(), Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    // A name that is no field is a key of the dynamic field.
    let named = &request.field_name;
    let field = collection.schema.field(named).or_else(|| collection.schema.dynamic_field());
    let field = field.ok_or_else(|| Failure::invalid(format!("cannot create index on non-exist field: {named}")))?;
    let index_name = if request.index_name.is_empty() { named.clone() } else { request.index_name };
    names::index(&index_name)?;
    let params = index_params(&collection.schema, field, named, &request.extra_params)?;
    if is_there(&collection, field, &index_name, &params)? {
        return Ok(());
    }
    let create = dc::CreateIndexRequest { collection_id: collection.id(), field_id: field.id.0, index_name, params };
    answer(proxy.datacoord().create_index(create)).await.map(drop)
}

/// True for the same index; a failure for another one that is in the way.
fn is_there(
    collection: &Collection,
    field: &FieldSchema,
    name: &str,
    params: &BTreeMap<String, String>,
) -> Result<bool, Failure> {
    let indexes = &collection.info.indexes;
    if indexes.iter().any(|index| index.name == name && index.field_id == field.id.0 && index.params == *params) {
        return Ok(true);
    }
    // A JSON field may have an index a path.
    let same_place =
        |index: &dc::Index| index.field_id == field.id.0 && index.params.get(JSON_PATH) == params.get(JSON_PATH);
    if indexes.iter().any(same_place) {
        let text = "at most one distinct index is allowed per field";
        return Err(Failure::invalid(text).context("CreateIndex failed"));
    }
    if indexes.iter().any(|index| index.name == name) {
        let text = format!("index {name} is on another field, index names are unique in a collection");
        return Err(Failure::invalid(text).context("CreateIndex failed"));
    }
    Ok(false)
}

/// What may change is kept, and has no effect on what is built.
pub(crate) async fn alter_index(proxy: &Proxy, call: &Call, request: m::AlterIndexRequest) -> Result<(), Failure> {
    properties::one_kind_of_change(&request.extra_params, &request.delete_keys)?;
    let params = properties::of_index(&request.extra_params, &request.delete_keys)?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let alter = dc::AlterIndexRequest {
        collection_id: collection.id(),
        index_name: request.index_name,
        params,
        removed_params: request.delete_keys,
    };
    answer(proxy.datacoord().alter_index(alter)).await.map(drop)
}

/// Success also when there is none, as in Milvus.
pub(crate) async fn drop_index(proxy: &Proxy, call: &Call, request: m::DropIndexRequest) -> Result<(), Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let index = match select(&collection, &request.index_name, &request.field_name)?.as_slice() {
        [] => return Ok(()),
        [index] => (*index).clone(),
        _ => {
            return Err(Failure::invalid("the collection has several indexes, name the one to drop"));
        }
    };
    let field = collection.schema.fields.iter().find(|field| field.id == FieldId(index.field_id));
    if field.is_some_and(|field| field.data_type.is_vector()) && collection.any_loaded() {
        return Err(Failure::invalid("index cannot be dropped, collection is loaded, please release it first"));
    }
    let drop_it = dc::DropIndexRequest { collection_id: collection.id(), index_name: index.name };
    match answer(proxy.datacoord().drop_index(drop_it)).await {
        Err(failure) if failure.code == Code::IndexNotFound => Ok(()),
        other => other.map(drop),
    }
}

/// The indexes with this name, or on this field, or all.
fn select<'a>(collection: &'a Collection, name: &str, field: &str) -> Result<Vec<&'a dc::Index>, Failure> {
    if !field.is_empty() && collection.schema.field(field).is_none() && collection.schema.dynamic_field().is_none() {
        return Err(Failure::invalid(format!("field {field} not exist")));
    }
    let wanted = |index: &&dc::Index| {
        (name.is_empty() || index.name == name) && (field.is_empty() || field_name(collection, index) == field)
    };
    Ok(collection.info.indexes.iter().filter(wanted).collect())
}

/// What the index is on, as clients look for it: of the dynamic field, the key.
fn field_name<'a>(collection: &'a Collection, index: &'a dc::Index) -> &'a str {
    let field = collection.schema.fields.iter().find(|field| field.id == FieldId(index.field_id));
    match (field, index.params.get(JSON_PATH)) {
        (Some(field), Some(path)) if field.is_dynamic => path.split('[').next().unwrap_or_default().trim(),
        (Some(field), _) => &field.name,
        (None, _) => "",
    }
}

fn not_found(collection: &Collection, name: &str) -> Failure {
    let index = if name.is_empty() { String::new() } else { format!("[indexName={name}]") };
    Failure::new(Code::IndexNotFound, format!("index not found[collection={}]{index}", collection.info.name))
}

/// The indexes that a request means, at least one, with the rows of the collection and those that wait.
async fn described(
    proxy: &Proxy,
    call: &Call,
    db: &str,
    collection: &str,
    index: &str,
    field: &str,
) -> Result<Vec<m::IndexDescription>, Failure> {
    let collection = proxy.collection(call, db, collection).await?;
    let found = select(&collection, index, field)?;
    if found.is_empty() {
        return Err(not_found(&collection, index));
    }
    let waiting = pending_rows(proxy, &collection, &found).await?;
    let rows = proxy.statistics(collection.id(), Vec::new()).await?.row_count;
    let describe = |index: &dc::Index| {
        let pending = waiting.get(&index.id).copied().unwrap_or(0).min(rows);
        m::IndexDescription {
            index_name: index.name.clone(),
            index_id: index.id,
            params: described_params(&collection, index),
            field_name: field_name(&collection, index).to_owned(),
            indexed_rows: rows - pending,
            pending_index_rows: pending,
            total_rows: rows,
            state: if pending > 0 { IndexState::InProgress.into() } else { IndexState::Finished.into() },
            ..m::IndexDescription::default()
        }
    };
    Ok(found.into_iter().map(describe).collect())
}

/// Rows that wait for their index, by the id of the definition.
async fn pending_rows(
    proxy: &Proxy,
    collection: &Collection,
    indexes: &[&dc::Index],
) -> Result<BTreeMap<i64, i64>, Failure> {
    let is_built = |index: &&dc::Index| index.params.get("index_type").is_some_and(|name| is_graph_type(name));
    if !indexes.iter().any(is_built) {
        return Ok(BTreeMap::new());
    }
    let of = dc::CollectionRef { collection_id: collection.id(), ..dc::CollectionRef::default() };
    Ok(answer(proxy.datacoord().get_index_progress(of)).await?.pending_rows)
}

/// The definition, and what serves it.
fn described_params(collection: &Collection, index: &dc::Index) -> Vec<KeyValuePair> {
    let mut params = index.params.clone();
    let kind = params.get("index_type").and_then(|name| Kind::named(name));
    let field = collection.schema.fields.iter().find(|field| field.id == FieldId(index.field_id));
    if let Some(served_by) = kind.zip(field).and_then(|(kind, field)| kind.served_by(field.data_type)) {
        params.insert(SERVED_BY.to_owned(), served_by.to_owned());
    }
    convert::map_to_pairs(&params)
}

pub(crate) async fn describe_index(
    proxy: &Proxy,
    call: &Call,
    request: m::DescribeIndexRequest,
) -> Result<m::DescribeIndexResponse, Failure> {
    let m::DescribeIndexRequest { db_name, collection_name, field_name, index_name, .. } = request;
    let index_descriptions = described(proxy, call, &db_name, &collection_name, &index_name, &field_name).await?;
    Ok(m::DescribeIndexResponse { index_descriptions, ..Default::default() })
}

pub(crate) async fn get_index_statistics(
    proxy: &Proxy,
    call: &Call,
    request: m::GetIndexStatisticsRequest,
) -> Result<m::GetIndexStatisticsResponse, Failure> {
    let m::GetIndexStatisticsRequest { db_name, collection_name, index_name, .. } = request;
    let index_descriptions = described(proxy, call, &db_name, &collection_name, &index_name, "").await?;
    Ok(m::GetIndexStatisticsResponse { index_descriptions, ..Default::default() })
}

pub(crate) async fn get_index_state(
    proxy: &Proxy,
    call: &Call,
    request: m::GetIndexStateRequest,
) -> Result<m::GetIndexStateResponse, Failure> {
    let m::GetIndexStateRequest { db_name, collection_name, field_name, index_name, .. } = request;
    let found = described(proxy, call, &db_name, &collection_name, &index_name, &field_name).await?;
    let waiting = found.iter().any(|index| index.pending_index_rows > 0);
    let state = if waiting { IndexState::InProgress } else { IndexState::Finished };
    Ok(m::GetIndexStateResponse { state: state.into(), ..Default::default() })
}

pub(crate) async fn get_index_build_progress(
    proxy: &Proxy,
    call: &Call,
    request: m::GetIndexBuildProgressRequest,
) -> Result<m::GetIndexBuildProgressResponse, Failure> {
    let m::GetIndexBuildProgressRequest { db_name, collection_name, field_name, index_name, .. } = request;
    let found = described(proxy, call, &db_name, &collection_name, &index_name, &field_name).await?;
    let (indexed_rows, total_rows) = found.first().map_or((0, 0), |index| (index.indexed_rows, index.total_rows));
    Ok(m::GetIndexBuildProgressResponse { indexed_rows, total_rows, ..Default::default() })
}
