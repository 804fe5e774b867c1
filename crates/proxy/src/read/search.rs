//! Search: the nearest rows to each query vector.

use super::{
    loaded_partitions,
    options::Options,
    output::Output,
    placeholders::query_vectors,
    results::{fields_data, rows},
    source::Source,
};
use crate::{
    Proxy,
    backend::{Call, Collection, answer},
    write::ids,
};
use elanus_proto::{
    milvus::{self as m, search_request::SearchInput},
    querynode as qn,
    schema::SearchResultData,
    transport::about,
};
use elanus_segment::PkColumn;
use elanus_types::{Code, Failure, schema::FieldSchema};

pub(crate) async fn search(proxy: &Proxy, call: &Call, request: m::SearchRequest) -> Result<m::SearchResults, Failure> {
    refuse_unserved(&request)?;
    let source = Source::open(proxy, call, &request.db_name, &request.collection_name).await?;
    let found = read(proxy, &source, request).await;
    source.checked(proxy, found).await
}

async fn read(proxy: &Proxy, source: &Source, request: m::SearchRequest) -> Result<m::SearchResults, Failure> {
    let collection = &source.collection;
    let options = Options::read(&request.search_params)?;
    let key = if options.text("topk").is_none() && options.text("limit").is_some() { "limit" } else { "topk" };
    let (limit, offset) = options.window(key, proxy.config.result_window_max)?;
    let limit = limit.ok_or_else(|| Failure::invalid("topk not found in search_params"))?;
    let field = vector_field(collection, &options)?;
    let metric_type = metric(source, field, &options)?;
    let range = range(&metric_type, &options)?;
    let decimals = decimals(&options)?;
    let Some(SearchInput::PlaceholderGroup(group)) = request.search_input else {
        return Err(Failure::invalid("the search has no query vectors"));
    };
    let (nq, queries) = query_vectors(field, group, request.nq, proxy.config.nq_max)?;
    let output = Output::plan(&collection.schema, &request.output_fields)?;
    let scope = qn::ReadScope {
        collection_id: collection.id(),
        partition_ids: loaded_partitions(collection, &request.partition_names)?,
        read_ts: source.read_ts(),
        filter: request.dsl,
        filter_params: request.expr_template_values,
        output_fields: output.columns.clone(),
    };
    let search = qn::SearchRequest {
        scope: Some(scope),
        vector_field: field.name.clone(),
        metric_type,
        queries,
        nq,
        limit,
        offset,
        radius: range.radius,
        range_filter: range.range_filter,
    };
    let found = answer(proxy.querynode().search(about(collection.id(), search))).await?;
    let session_ts = found.read_ts;
    let results = result_data(collection, found, output, decimals, limit)?;
    let collection_name = collection.info.name.clone();
    Ok(m::SearchResults { results: Some(results), collection_name, session_ts, status: None })
}

fn refuse_unserved(request: &m::SearchRequest) -> Result<(), Failure> {
    for (used, what) in [
        (!request.sub_reqs.is_empty(), "hybrid search"),
        (request.function_score.is_some() || !request.function_chains.is_empty(), "reranking"),
        (request.highlighter.is_some(), "highlighting"),
        (request.search_aggregation.is_some(), "aggregation of hits"),
        (request.namespace.is_some(), "searching a namespace"),
        (request.search_by_primary_keys || matches!(request.search_input, Some(SearchInput::Ids(_))), "search by ids"),
    ] {
        if used {
            return Err(Failure::new(Code::Unimplemented, format!("{what} is not served")));
        }
    }
    Ok(())
}

/// The field to search: the one that is named, else the only one that there is.
fn vector_field<'a>(collection: &'a Collection, options: &Options) -> Result<&'a FieldSchema, Failure> {
    let schema = &collection.schema;
    let Some(name) = options.text("anns_field") else {
        let mut fields = schema.vector_fields();
        return match (fields.next(), fields.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Failure::invalid("multiple anns_fields exist, please specify a anns_field in search_params")),
        };
    };
    match schema.field(name) {
        None => Err(Failure::invalid(format!("failed to get field schema by name: fieldName({name}) not found"))),
        Some(field) if !field.data_type.is_vector() => {
            Err(Failure::invalid(format!("field {name} is not a vector field")))
        }
        Some(field) => Ok(field),
    }
}

/// The metric of the field's index; a request may repeat it, not change it.
fn metric(source: &Source, field: &FieldSchema, options: &Options) -> Result<String, Failure> {
    let collection = &source.collection;
    let index = collection.index_of(field);
    let of_index = index.and_then(|index| index.params.get("metric_type")).cloned();
    let asked = options.text("metric_type").map(str::to_ascii_uppercase);
    let metrics = field.data_type.metrics();
    match (of_index, asked) {
        (Some(of_index), Some(asked)) if of_index != asked => Err(Failure::invalid(format!(
            "metric type not match: invalid parameter[expected={of_index}][actual={asked}]"
        ))),
        (Some(of_index), _) => Ok(of_index),
        (None, Some(asked)) if source.is_snapshot() && metrics.contains(&asked.as_str()) => Ok(asked),
        (None, _) if source.is_snapshot() => Err(Failure::invalid(format!(
            "field {} had no index at the snapshot: give a metric_type, one of {}",
            field.name,
            metrics.join(", ")
        ))),
        // A collection can be loaded only with an index, so there is none only when it is not loaded.
        (None, _) => Err(collection.not_loaded()),
    }
}

/// Bounds of a range search.
struct Range {
    radius: Option<f64>,
    range_filter: Option<f64>,
}

fn range(metric: &str, options: &Options) -> Result<Range, Failure> {
    let (radius, range_filter) = (options.number::<f64>("radius")?, options.number::<f64>("range_filter")?);
    let smaller = matches!(metric, "L2" | "HAMMING" | "JACCARD");
    let fits = match (radius, range_filter) {
        (Some(radius), Some(inner)) if smaller => inner < radius,
        (Some(radius), Some(inner)) => inner > radius,
        (None, Some(_)) => return Err(Failure::invalid("range_filter needs a radius")),
        (_, None) => true,
    };
    if !fits {
        let wanted = if smaller { "less" } else { "greater" };
        return Err(Failure::invalid(format!("range_filter must be {wanted} than radius for {metric}")));
    }
    Ok(Range { radius, range_filter })
}

/// Decimals to round scores to, if at all.
fn decimals(options: &Options) -> Result<Option<i32>, Failure> {
    match options.number("round_decimal")? {
        None | Some(-1) => Ok(None),
        Some(decimals @ 0..=6) => Ok(Some(decimals)),
        Some(other) => Err(Failure::invalid(format!(
            "round_decimal [{other}] is invalid, it should be -1 or an integer in range [0, 6]"
        ))),
    }
}

fn result_data(
    collection: &Collection,
    found: qn::SearchResponse,
    output: Output,
    decimals: Option<i32>,
    limit: i64,
) -> Result<SearchResultData, Failure> {
    let batch = rows(found.arrow_ipc)?;
    let pk = &collection.schema.primary_key().name;
    let keys = PkColumn::from_batch(&batch, pk).map_err(|error| Failure::internal(error.to_string()))?;
    let hits: i64 = found.topks.iter().sum();
    if usize::try_from(hits) != Ok(keys.len()) || found.scores.len() != keys.len() {
        let text = format!("a query node found {hits} hits with {} keys and {} scores", keys.len(), found.scores.len());
        return Err(Failure::internal(text));
    }
    let round = |score: f32| match decimals {
        None => score,
        Some(decimals) => {
            let factor = 10_f64.powi(decimals);
            ((f64::from(score) * factor).round() / factor) as f32
        }
    };
    Ok(SearchResultData {
        num_queries: i64::try_from(found.topks.len()).unwrap_or(i64::MAX),
        top_k: limit,
        fields_data: fields_data(&collection.schema, &batch, &output.columns)?,
        scores: found.scores.into_iter().map(round).collect(),
        ids: Some(ids(keys)),
        topks: found.topks,
        output_fields: output.names,
        primary_field_name: pk.clone(),
        ..SearchResultData::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::common::KeyValuePair;

    #[test]
    fn bounds_of_a_range_stand_on_the_right_side() {
        let options = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> =
                pairs.iter().map(|(k, v)| KeyValuePair { key: (*k).into(), value: (*v).into() }).collect();
            Options::read(&pairs).unwrap()
        };
        let both = options(&[("radius", "1.0"), ("range_filter", "0.5")]);
        assert!(range("L2", &both).is_ok());
        assert!(
            range("COSINE", &both).is_err_and(|f| f.message == "range_filter must be greater than radius for COSINE")
        );
        assert!(range("IP", &options(&[("range_filter", "0.5")])).is_err());
        assert!(range("IP", &options(&[("radius", "0.5")])).is_ok());
        assert!(decimals(&options(&[("round_decimal", "7")])).is_err());
        assert_eq!(decimals(&options(&[("round_decimal", "-1")])).unwrap(), None);
    }
}
