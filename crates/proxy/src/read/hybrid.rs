//! Hybrid search: several searches of one collection as of one timestamp, their hits ranked into one list.

use super::{
    grouping::Grouping,
    options::Options,
    output::Output,
    rerank::{GroupScore, Ranked, Ranker},
    results::rows,
    search::{Answered, Asked, decimals, plan, result_data, scope_of},
    source::Source,
};
use crate::{
    Proxy,
    backend::{Call, answer},
};
use arrow::{
    array::RecordBatch,
    compute::interleave_record_batch,
    util::display::{ArrayFormatter, FormatOptions},
};
use elanus_proto::{common::KeyValuePair, milvus as m, querynode as qn, schema::FunctionType, transport::about};
use elanus_segment::PkColumn;
use elanus_types::{Code, Failure};

/// Most searches of one hybrid search.
const REQUESTS_MAX: usize = 1024;

pub(crate) async fn hybrid_search(
    proxy: &Proxy,
    call: &Call,
    request: m::HybridSearchRequest,
) -> Result<m::SearchResults, Failure> {
    let source = Source::open(proxy, call, &request.db_name, &request.collection_name).await?;
    let found = read(proxy, &source, request).await;
    source.checked(proxy, found).await
}

/// What one search found.
struct Found {
    metric: String,
    batch: RecordBatch,
    keys: PkColumn,
    scores: Vec<f32>,
    /// Where the hits of each query start, and where the last ones end.
    starts: Vec<usize>,
}

/// A primary key where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key<'a> {
    Int(i64),
    Str(&'a str),
}

async fn read(proxy: &Proxy, source: &Source, request: m::HybridSearchRequest) -> Result<m::SearchResults, Failure> {
    let collection = &source.collection;
    if request.namespace.is_some() {
        return Err(Failure::new(Code::Unimplemented, "searching a namespace is not served"));
    }
    if request.requests.is_empty() {
        return Err(Failure::invalid("minimum of ann search requests is 1"));
    }
    if request.requests.len() > REQUESTS_MAX {
        return Err(Failure::invalid(format!("maximum of ann search requests is {REQUESTS_MAX}")));
    }
    let options = Options::read(&[request.rank_params.clone(), ranker_params(&request)?].concat())?;
    let (limit, offset) = options.window("limit", proxy.config.result_window_max)?;
    let limit = limit.ok_or_else(|| Failure::invalid("limit not found in rank_params"))?;
    let decimals = decimals(&options)?;
    let ranker = Ranker::of(&options, request.requests.len())?;
    let grouping = Grouping::of(&options, &collection.schema)?;
    let group_score = GroupScore::of(&options)?;
    let output = Output::plan(&collection.schema, &request.output_fields)?;
    let mut scope = scope_of(source, &request.partition_names, source.read_ts(), &output, grouping.as_ref())?;

    let mut searches = Vec::with_capacity(request.requests.len());
    for mut one in request.requests {
        scope.filter = std::mem::take(&mut one.dsl);
        scope.filter_params = std::mem::take(&mut one.expr_template_values);
        let options = Options::read(&one.search_params)?;
        // One that does not say how many hits it wants finds as many as the whole shows.
        let (hits, _) = options.window("topk", proxy.config.result_window_max)?;
        let limit = hits.unwrap_or(limit + offset);
        let asked = Asked { options: &options, input: one.search_input, nq: one.nq, limit, offset: 0 };
        searches.push(plan(proxy, source, asked, scope.clone(), grouping.as_ref()).await?);
    }
    let nq = searches[0].nq;
    if let Some(other) = searches.iter().find(|search| search.nq != nq) {
        return Err(Failure::invalid(format!("nq [{}] of a search is not the nq [{nq}] of the first one", other.nq)));
    }
    let metrics: Vec<String> = searches.iter().map(|search| search.metric_type.clone()).collect();
    let many = qn::SearchManyRequest { searches };
    let answers = answer(proxy.querynode().search_many(about(collection.id(), many))).await?.answers;
    if answers.len() != metrics.len() {
        return Err(Failure::internal(format!(
            "a query node answered {} of {} searches",
            answers.len(),
            metrics.len()
        )));
    }
    let session_ts = answers.first().map_or(0, |answer| answer.read_ts);
    let key = &collection.schema.primary_key().name;
    let found = answers.into_iter().zip(metrics).map(|(answer, metric)| Found::new(answer, metric, key));
    let found = found.collect::<Result<Vec<_>, Failure>>()?;

    let window = (index(offset), index(limit), grouping.as_ref().map_or(1, |grouping| index(grouping.size)));
    let mut topks = Vec::new();
    let mut ranked = Vec::new();
    let metrics: Vec<&str> = found.iter().map(|one| one.metric.as_str()).collect();
    for query in 0..index(nq) {
        let rows: Vec<Vec<usize>> = found.iter().map(|one| one.rows(query)).collect();
        let hits =
            |list: usize| rows[list].iter().map(|row| (found[list].key(*row), found[list].scores[*row])).collect();
        let lists: Vec<_> = metrics.iter().zip(0..).map(|(metric, list)| (*metric, hits(list))).collect();
        let row = |hit: &Ranked<Key<'_>>| rows[hit.list][hit.place];
        let hits = ranker.merge(&lists);
        let hits = match &grouping {
            None => hits.into_iter().skip(window.0).take(window.1).collect(),
            Some(grouping) => {
                let group = |hit: &Ranked<Key<'_>>| found[hit.list].group(row(hit), &grouping.field);
                group_score.pick(&hits, group, window, ranker.rises(&metrics))
            }
        };
        topks.push(i64::try_from(hits.len()).unwrap_or(i64::MAX));
        ranked.extend(hits.iter().map(|hit| (hit.score, (hit.list, row(hit)))));
    }
    let batches: Vec<&RecordBatch> = found.iter().map(|one| &one.batch).collect();
    let places: Vec<(usize, usize)> = ranked.iter().map(|(_, place)| *place).collect();
    let batch = if places.is_empty() {
        RecordBatch::new_empty(batches[0].schema())
    } else {
        interleave_record_batch(&batches, &places).map_err(|error| Failure::internal(error.to_string()))?
    };
    let scores = ranked.into_iter().map(|(score, _)| score).collect();
    let answered = Answered { batch, scores, topks, limit, decimals };
    let results = result_data(collection, answered, output, grouping.as_ref())?;
    Ok(m::SearchResults {
        results: Some(results),
        collection_name: collection.info.name.clone(),
        session_ts,
        status: None,
    })
}

fn index(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

/// Parameters of a ranker that comes as a function.
fn ranker_params(request: &m::HybridSearchRequest) -> Result<Vec<KeyValuePair>, Failure> {
    if !request.function_chains.is_empty() {
        return Err(Failure::new(Code::Unimplemented, "function chains are not served"));
    }
    let Some(score) = &request.function_score else { return Ok(Vec::new()) };
    let [function] = score.functions.as_slice() else {
        return Err(Failure::invalid("Currently only supports one rerank"));
    };
    let name = function.params.iter().find(|pair| pair.key.eq_ignore_ascii_case("reranker"));
    let name = name.map(|pair| pair.value.to_ascii_lowercase()).unwrap_or_default();
    if function.r#type() != FunctionType::Rerank || !matches!(name.as_str(), "rrf" | "weighted") {
        let text = format!("reranker {name} is not served, use rrf or weighted");
        return Err(Failure::new(Code::Unimplemented, text));
    }
    let mut params = function.params.clone();
    params.push(KeyValuePair { key: "strategy".to_owned(), value: name });
    Ok(params)
}

impl Found {
    fn new(answer: qn::SearchResponse, metric: String, key: &str) -> Result<Self, Failure> {
        let batch = rows(answer.arrow_ipc)?;
        let keys = PkColumn::from_batch(&batch, key).map_err(|error| Failure::internal(error.to_string()))?;
        let mut starts = vec![0];
        for hits in answer.topks {
            starts.push(starts.last().copied().unwrap_or_default() + index(hits));
        }
        if starts.last() != Some(&keys.len()) || answer.scores.len() != keys.len() {
            let text = format!("a query node found {starts:?} hits with {} keys", keys.len());
            return Err(Failure::internal(text));
        }
        Ok(Self { metric, batch, keys, scores: answer.scores, starts })
    }

    /// The rows of a query's hits, nearest first; hits in groups come group by group.
    fn rows(&self, query: usize) -> Vec<usize> {
        let start = |query: usize| self.starts.get(query).copied().unwrap_or_default();
        let mut rows: Vec<usize> = (start(query)..start(query + 1)).collect();
        let rising = !matches!(self.metric.as_str(), "IP" | "COSINE");
        rows.sort_by(|a, b| {
            let by_score = self.scores[*a].total_cmp(&self.scores[*b]);
            if rising { by_score } else { by_score.reverse() }
        });
        rows
    }

    fn key(&self, row: usize) -> Key<'_> {
        match &self.keys {
            PkColumn::Int(keys) => Key::Int(keys[row]),
            PkColumn::Str(keys) => Key::Str(&keys[row]),
        }
    }

    /// The value of a row's group as text; nothing where it has none.
    fn group(&self, row: usize, field: &str) -> Option<String> {
        let column = self.batch.column_by_name(field)?;
        let options = FormatOptions::default();
        let text = ArrayFormatter::try_new(column.as_ref(), &options).ok()?;
        column.is_valid(row).then(|| text.value(row).to_string())
    }
}
