//! Index definitions. Searches are exact whether an index is built or not, so every index is finished as soon as it is
//! defined, and only index types that promise no approximation are taken.

use crate::{
    Proxy,
    backend::{Call, Collection, answer},
    names, properties,
};
use elanus_proto::{
    common::{IndexState, KeyValuePair},
    convert, datacoord as dc, milvus as m,
};
use elanus_types::{
    Code, Failure, FieldId,
    schema::{DataType, FieldSchema},
};
use std::collections::BTreeMap;

const AUTOINDEX: &str = "AUTOINDEX";
const VECTOR_TYPES: [&str; 2] = [AUTOINDEX, "FLAT"];
const SCALAR_TYPES: [&str; 2] = [AUTOINDEX, "INVERTED"];

/// Success also when the same index exists.
pub(crate) async fn create_index(proxy: &Proxy, call: &Call, request: m::CreateIndexRequest) -> Result<(), Failure> {
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let field = collection.schema.field(&request.field_name).filter(|field| !field.is_dynamic);
    let field = field
        .ok_or_else(|| Failure::invalid(format!("cannot create index on non-exist field: {}", request.field_name)))?;
    let index_name = if request.index_name.is_empty() { field.name.clone() } else { request.index_name };
    names::index(&index_name)?;
    let params = index_params(field, &request.extra_params)?;
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
    if indexes.iter().any(|index| index.field_id == field.id.0) {
        let text = format!("field {}: at most one distinct index is allowed per field", field.name);
        return Err(Failure::invalid(text).context("CreateIndex failed"));
    }
    if indexes.iter().any(|index| index.name == name) {
        let text = format!("index {name} is on another field, index names are unique in a collection");
        return Err(Failure::invalid(text).context("CreateIndex failed"));
    }
    Ok(false)
}

/// The parameters as they are kept: flat, with index type and metric filled in.
fn index_params(field: &FieldSchema, pairs: &[KeyValuePair]) -> Result<BTreeMap<String, String>, Failure> {
    let mut params = flatten(pairs)?;
    let refuse = |why: String| Err(Failure::invalid(format!("invalid index params of field {}: {why}", field.name)));
    let index_type =
        params.remove("index_type").filter(|given| !given.is_empty()).unwrap_or_else(|| AUTOINDEX.to_owned());
    let served: &[&str] = if field.data_type.is_vector() { &VECTOR_TYPES } else { &SCALAR_TYPES };
    if !served.contains(&index_type.as_str()) {
        return refuse(format!("index type {index_type} is not served, take one of {}", served.join(", ")));
    }
    params.insert("index_type".to_owned(), index_type);
    if let [usual, ..] = field.data_type.metrics() {
        let given = params.remove("metric_type").filter(|given| !given.is_empty());
        let metric = given.unwrap_or_else(|| (*usual).to_owned()).to_ascii_uppercase();
        if !field.data_type.metrics().contains(&metric.as_str()) {
            return refuse(no_metric(field.data_type, &metric));
        }
        params.insert("metric_type".to_owned(), metric);
    } else if field.data_type == DataType::Json {
        return refuse("an index on JSON is not served, filters work without one".to_owned());
    }
    Ok(params)
}

fn no_metric(data_type: DataType, metric: &str) -> String {
    let of = match data_type {
        DataType::BinaryVector => "binary",
        DataType::SparseFloatVector => {
            return format!("only IP is the supported metric type for sparse index, not {metric}");
        }
        DataType::Int8Vector => "int",
        _ => "float",
    };
    format!("{of} vector index does not support metric type: {metric}")
}

/// `params` is a JSON object whose members count as if they stood beside it.
fn flatten(pairs: &[KeyValuePair]) -> Result<BTreeMap<String, String>, Failure> {
    let mut flat = convert::pairs_to_map(pairs);
    let Some(text) = flat.remove("params").filter(|text| !text.trim().is_empty()) else {
        return Ok(flat);
    };
    let nested: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
        .map_err(|error| Failure::invalid(format!("index params are not a JSON object: {error}")))?;
    for (key, value) in nested {
        let text = match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        flat.entry(key).or_insert(text);
    }
    Ok(flat)
}

/// Nothing is built, so what may change is kept and has no effect.
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
    let field_id = match field {
        "" => None,
        field => {
            let found = collection.schema.field(field);
            Some(found.ok_or_else(|| Failure::invalid(format!("field {field} not exist")))?.id.0)
        }
    };
    let wanted = |index: &&dc::Index| {
        (name.is_empty() || index.name == name) && field_id.is_none_or(|field_id| index.field_id == field_id)
    };
    Ok(collection.info.indexes.iter().filter(wanted).collect())
}

fn not_found(collection: &Collection, name: &str) -> Failure {
    let index = if name.is_empty() { String::new() } else { format!("[indexName={name}]") };
    Failure::new(Code::IndexNotFound, format!("index not found[collection={}]{index}", collection.info.name))
}

/// The indexes that a request means, at least one, and the collection's rows.
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
    let rows = proxy.statistics(collection.id(), Vec::new()).await?.row_count;
    let field_name = |id: i64| {
        let field = collection.schema.fields.iter().find(|field| field.id == FieldId(id));
        field.map(|field| field.name.clone()).unwrap_or_default()
    };
    let describe = |index: &dc::Index| m::IndexDescription {
        index_name: index.name.clone(),
        index_id: index.id,
        params: convert::map_to_pairs(&index.params),
        field_name: field_name(index.field_id),
        indexed_rows: rows,
        total_rows: rows,
        state: IndexState::Finished.into(),
        ..m::IndexDescription::default()
    };
    Ok(found.into_iter().map(describe).collect())
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
    described(proxy, call, &db_name, &collection_name, &index_name, &field_name).await?;
    Ok(m::GetIndexStateResponse { state: IndexState::Finished.into(), ..Default::default() })
}

pub(crate) async fn get_index_build_progress(
    proxy: &Proxy,
    call: &Call,
    request: m::GetIndexBuildProgressRequest,
) -> Result<m::GetIndexBuildProgressResponse, Failure> {
    let m::GetIndexBuildProgressRequest { db_name, collection_name, field_name, index_name, .. } = request;
    let found = described(proxy, call, &db_name, &collection_name, &index_name, &field_name).await?;
    let rows = found.first().map_or(0, |index| index.total_rows);
    Ok(m::GetIndexBuildProgressResponse { indexed_rows: rows, total_rows: rows, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(data_type: DataType) -> FieldSchema {
        FieldSchema {
            id: FieldId(101),
            name: "f".to_owned(),
            description: String::new(),
            data_type,
            is_primary_key: false,
            auto_id: false,
            is_dynamic: false,
            nullable: false,
            element_type: None,
            default_value: None,
            type_params: BTreeMap::new(),
        }
    }

    fn params(data_type: DataType, pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, Failure> {
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).into(), value: (*value).into() }).collect();
        index_params(&field(data_type), &pairs).map(|map| map.into_iter().collect())
    }

    #[test]
    fn what_is_left_out_is_filled_in_and_nested_params_are_flat() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            params(DataType::FloatVector, &[]).unwrap(),
            [pair("index_type", "AUTOINDEX"), pair("metric_type", "COSINE")]
        );
        assert_eq!(
            params(DataType::FloatVector, &[("params", r#"{"index_type":"FLAT","metric_type":"ip","n":8}"#)]).unwrap(),
            [pair("index_type", "FLAT"), pair("metric_type", "IP"), pair("n", "8")]
        );
        for (data_type, metric) in [(DataType::BinaryVector, "HAMMING"), (DataType::SparseFloatVector, "IP")] {
            let given = params(data_type, &[]).unwrap();
            assert_eq!(given, [pair("index_type", "AUTOINDEX"), pair("metric_type", metric)]);
        }
        assert_eq!(params(DataType::Int64, &[("index_type", "")]).unwrap(), [pair("index_type", "AUTOINDEX")]);
    }

    #[test]
    fn what_is_not_served_is_refused() {
        for (data_type, key, value, fragment) in [
            (DataType::FloatVector, "index_type", "HNSW", "index type HNSW is not served"),
            (DataType::FloatVector, "metric_type", "HAMMING", "does not support metric type: HAMMING"),
            (DataType::BinaryVector, "metric_type", "L2", "binary vector index does not support metric type: L2"),
            (
                DataType::SparseFloatVector,
                "metric_type",
                "COSINE",
                "only IP is the supported metric type for sparse index",
            ),
            (DataType::Int8Vector, "metric_type", "JACCARD", "int vector index does not support metric type: JACCARD"),
            (DataType::FloatVector, "params", "[]", "not a JSON object"),
            (DataType::Int64, "index_type", "FLAT", "index type FLAT is not served"),
            (DataType::Json, "index_type", "INVERTED", "an index on JSON is not served"),
        ] {
            let failure = params(data_type, &[(key, value)]).unwrap_err();
            assert!(failure.message.contains(fragment), "{}", failure.message);
            assert_eq!(failure.code, Code::ParameterInvalid);
        }
    }
}
