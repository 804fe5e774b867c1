//! Search: the nearest rows to each query vector.

use super::{
    by_ids,
    grouping::Grouping,
    iteration::{self, Position},
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
    indexes::kinds::Kind,
    write::ids,
};
use arrow::array::RecordBatch;
use elanus_proto::{
    milvus::{self as m, search_request::SearchInput},
    querynode as qn,
    schema::SearchResultData,
    transport::about,
};
use elanus_segment::PkColumn;
use elanus_types::{Code, Failure, graph::search_candidates, schema::FieldSchema};

pub(crate) async fn search(proxy: &Proxy, call: &Call, request: m::SearchRequest) -> Result<m::SearchResults, Failure> {
    refuse_unserved(&request)?;
    let source = Source::open(proxy, call, &request.db_name, &request.collection_name).await?;
    let found = read(proxy, &source, request).await;
    source.checked(proxy, found).await
}

async fn read(proxy: &Proxy, source: &Source, request: m::SearchRequest) -> Result<m::SearchResults, Failure> {
    let collection = &source.collection;
    let options = Options::read(&request.search_params)?;
    let position = Position::of(&options, proxy.config.result_window_max)?;
    let key = if options.text("topk").is_none() && options.text("limit").is_some() { "limit" } else { "topk" };
    let (limit, offset) = match &position {
        // Pages of an iterator are not bounded by the window of results.
        Some(position) => (Some(position.batch), position.hits),
        None => options.window(key, proxy.config.result_window_max)?,
    };
    let limit = limit.ok_or_else(|| Failure::invalid("topk not found in search_params"))?;
    let decimals = decimals(&options)?;
    let grouping = Grouping::of(&options, &collection.schema)?;
    let output = Output::plan(&collection.schema, &request.output_fields)?;
    let read_ts = iteration::read_ts(source, &options, request.guarantee_timestamp);
    let mut scope = scope_of(source, &request.partition_names, read_ts, &output, grouping.as_ref())?;
    scope.filter = request.dsl;
    scope.filter_params = request.expr_template_values;
    let asked = Asked { options: &options, input: request.search_input, nq: request.nq, limit, offset };
    let search = plan(proxy, source, asked, scope, grouping.as_ref()).await?;
    if position.is_some() && search.nq != 1 {
        return Err(Failure::invalid("a search iterator has one query vector"));
    }
    let found = answer(proxy.querynode().search(about(collection.id(), search))).await?;
    let session_ts = found.read_ts;
    let hits = found.topks.iter().sum();
    let answered =
        Answered { batch: rows(found.arrow_ipc)?, scores: found.scores, topks: found.topks, limit, decimals };
    let mut results = result_data(collection, answered, output, grouping.as_ref())?;
    results.search_iterator_v2_results = position.map(|position| position.next(hits)).transpose()?;
    let collection_name = collection.info.name.clone();
    Ok(m::SearchResults { results: Some(results), collection_name, session_ts, status: None })
}

/// What one search says of itself.
pub(super) struct Asked<'a> {
    pub(super) options: &'a Options,
    pub(super) input: Option<SearchInput>,
    pub(super) nq: i64,
    pub(super) limit: i64,
    pub(super) offset: i64,
}

/// What is read, without filter: the partitions, and the columns of the answer.
pub(super) fn scope_of(
    source: &Source,
    partition_names: &[String],
    read_ts: u64,
    output: &Output,
    grouping: Option<&Grouping>,
) -> Result<qn::ReadScope, Failure> {
    let mut output_fields = output.columns.clone();
    if let Some(grouping) = grouping.filter(|grouping| !output_fields.contains(&grouping.field)) {
        output_fields.push(grouping.field.clone());
    }
    Ok(qn::ReadScope {
        collection_id: source.collection.id(),
        partition_ids: loaded_partitions(&source.collection, partition_names)?,
        read_ts,
        output_fields,
        ..qn::ReadScope::default()
    })
}

/// One search, checked, as a query node takes it.
pub(super) async fn plan(
    proxy: &Proxy,
    source: &Source,
    asked: Asked<'_>,
    scope: qn::ReadScope,
    grouping: Option<&Grouping>,
) -> Result<qn::SearchRequest, Failure> {
    let Asked { options, input, nq, limit, offset } = asked;
    let field = vector_field(&source.collection, options)?;
    let metric_type = metric(source, field, options)?;
    let range = range(&metric_type, options)?;
    check_params(&source.collection, field, options, limit + offset)?;
    let (nq, queries) = match input {
        Some(SearchInput::PlaceholderGroup(group)) => query_vectors(field, group, nq, proxy.config.nq_max)?,
        Some(SearchInput::Ids(ids)) => by_ids::vectors(proxy, source, field, ids, &scope).await?,
        None => return Err(Failure::invalid("the search has no query vectors")),
    };
    Ok(qn::SearchRequest {
        scope: Some(scope),
        vector_field: field.name.clone(),
        metric_type,
        queries,
        nq,
        limit,
        offset,
        radius: range.radius,
        range_filter: range.range_filter,
        group_by_field: grouping.map(|grouping| grouping.field.clone()).unwrap_or_default(),
        group_size: grouping.map_or(0, |grouping| grouping.size),
        candidates: candidates(&source.collection, field, options, limit + offset),
    })
}

/// How many rows indexes may propose. The pages of an iterator must fit together, so they are exact.
fn candidates(collection: &Collection, field: &FieldSchema, options: &Options, hits: i64) -> i64 {
    match collection.index_of(field) {
        Some(index) if !options.has("iterator") => search_candidates(&index.params, hits, |name| options.text(name)),
        _ => 0,
    }
}

/// Search parameters of the field's index type that are wrong are refused, also where they have no effect.
fn check_params(collection: &Collection, field: &FieldSchema, options: &Options, hits: i64) -> Result<(), Failure> {
    let name = collection.index_of(field).and_then(|index| index.params.get("index_type"));
    let Some(kind) = name.and_then(|name| Kind::named(name)) else { return Ok(()) };
    // Iterators and ranges take as many hits as there are.
    let bounded = !options.has("iterator") && options.text("radius").is_none();
    kind.check_search(bounded.then_some(hits), |name| options.text(name))
}

fn refuse_unserved(request: &m::SearchRequest) -> Result<(), Failure> {
    for (used, what) in [
        (!request.sub_reqs.is_empty(), "a search with searches inside"),
        (request.function_score.is_some() || !request.function_chains.is_empty(), "reranking"),
        (request.highlighter.is_some(), "highlighting"),
        (request.search_aggregation.is_some(), "aggregation of hits"),
        (request.namespace.is_some(), "searching a namespace"),
        (request.search_by_primary_keys, "search by an expression of primary keys"),
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
        None => Err(Failure::invalid(format!(
            "failed to create query plan: failed to get field schema by name: fieldName({name}) not found"
        ))),
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
pub(super) fn decimals(options: &Options) -> Result<Option<i32>, Failure> {
    match options.number("round_decimal")? {
        None | Some(-1) => Ok(None),
        Some(decimals @ 0..=6) => Ok(Some(decimals)),
        Some(other) => Err(Failure::invalid(format!(
            "round_decimal [{other}] is invalid, it should be -1 or an integer in range [0, 6]"
        ))),
    }
}

/// What query nodes found, ready to be shown: a row a hit, the hits of the first query first.
pub(super) struct Answered {
    pub(super) batch: RecordBatch,
    pub(super) scores: Vec<f32>,
    pub(super) topks: Vec<i64>,
    pub(super) limit: i64,
    pub(super) decimals: Option<i32>,
}

pub(super) fn result_data(
    collection: &Collection,
    answered: Answered,
    output: Output,
    grouping: Option<&Grouping>,
) -> Result<SearchResultData, Failure> {
    let Answered { batch, scores, topks, limit, decimals } = answered;
    let schema = &collection.schema;
    let pk = &schema.primary_key().name;
    let keys = PkColumn::from_batch(&batch, pk).map_err(|error| Failure::internal(error.to_string()))?;
    let hits: i64 = topks.iter().sum();
    if usize::try_from(hits) != Ok(keys.len()) || scores.len() != keys.len() {
        let text = format!("a query node found {hits} hits with {} keys and {} scores", keys.len(), scores.len());
        return Err(Failure::internal(text));
    }
    let round = |score: f32| match decimals {
        None => score,
        Some(decimals) => {
            let factor = 10_f64.powi(decimals);
            ((f64::from(score) * factor).round() / factor) as f32
        }
    };
    let group_column = grouping.map(|grouping| fields_data(schema, &batch, std::slice::from_ref(&grouping.field)));
    let group_by_field_values = group_column.transpose()?.unwrap_or_default();
    Ok(SearchResultData {
        num_queries: i64::try_from(topks.len()).unwrap_or(i64::MAX),
        top_k: limit,
        fields_data: fields_data(schema, &batch, &output.columns)?,
        scores: scores.into_iter().map(round).collect(),
        ids: Some(ids(keys)),
        topks,
        output_fields: output.names,
        primary_field_name: pk.clone(),
        group_by_field_value: group_by_field_values.first().cloned(),
        group_by_field_values,
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
