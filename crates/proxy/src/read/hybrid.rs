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

/// How the lists of hits become one.
struct Ranking {
    ranker: Ranker,
    grouping: Option<Grouping>,
    group_score: GroupScore,
    offset: i64,
    limit: i64,
}

/// The hits of the answer: scores, and where their rows are (search and row), those of the first query first.
#[derive(Default)]
struct Merged {
    topks: Vec<i64>,
    scores: Vec<f32>,
    places: Vec<(usize, usize)>,
}

async fn read(
    proxy: &Proxy,
    source: &Source,
    mut request: m::HybridSearchRequest,
) -> Result<m::SearchResults, Failure> {
    let collection = &source.collection;
    check(&request)?;
    let options = Options::read(&[request.rank_params.clone(), ranker_params(&request)?].concat())?;
    let decimals = decimals(&options)?;
    let ranking = Ranking::of(&options, proxy, source, request.requests.len())?;
    let output = Output::plan(&collection.schema, &request.output_fields)?;
    let scope = scope_of(source, &request.partition_names, source.read_ts(), &output, ranking.grouping.as_ref())?;
    let searches = searches(proxy, source, std::mem::take(&mut request.requests), &ranking, scope).await?;
    let nq = searches.first().map_or(0, |search| search.nq);
    let metrics: Vec<String> = searches.iter().map(|search| search.metric_type.clone()).collect();

    let many = qn::SearchManyRequest { searches };
    let answers = answer(proxy.querynode().search_many(about(collection.id(), many))).await?.answers;
    if answers.len() != metrics.len() {
        let text = format!("a query node answered {} of {} searches", answers.len(), metrics.len());
        return Err(Failure::internal(text));
    }
    let session_ts = answers.first().map_or(0, |answer| answer.read_ts);
    let key = &collection.schema.primary_key().name;
    let found = answers.into_iter().zip(metrics).map(|(answer, metric)| Found::new(answer, metric, key));
    let found = found.collect::<Result<Vec<_>, Failure>>()?;

    let Merged { topks, scores, places } = ranking.merge(&found, index(nq));
    let batches: Vec<&RecordBatch> = found.iter().map(|one| &one.batch).collect();
    let batch = match places.as_slice() {
        [] => RecordBatch::new_empty(batches[0].schema()),
        places => interleave_record_batch(&batches, places).map_err(|error| Failure::internal(error.to_string()))?,
    };
    let answered = Answered { batch, scores, topks, limit: ranking.limit, decimals };
    let results = result_data(collection, answered, output, ranking.grouping.as_ref())?;
    let collection_name = collection.info.name.clone();
    Ok(m::SearchResults { results: Some(results), collection_name, session_ts, status: None })
}

fn check(request: &m::HybridSearchRequest) -> Result<(), Failure> {
    if request.namespace.is_some() {
        return Err(Failure::new(Code::Unimplemented, "searching a namespace is not served"));
    }
    match request.requests.len() {
        0 => Err(Failure::invalid("minimum of ann search requests is 1")),
        1..=REQUESTS_MAX => Ok(()),
        _ => Err(Failure::invalid(format!("maximum of ann search requests is {REQUESTS_MAX}"))),
    }
}

/// The searches, checked, all with as many query vectors as the first one.
async fn searches(
    proxy: &Proxy,
    source: &Source,
    requests: Vec<m::SearchRequest>,
    ranking: &Ranking,
    mut scope: qn::ReadScope,
) -> Result<Vec<qn::SearchRequest>, Failure> {
    let mut searches: Vec<qn::SearchRequest> = Vec::with_capacity(requests.len());
    for one in requests {
        scope.filter = one.dsl;
        scope.filter_params = one.expr_template_values;
        let options = Options::read(&one.search_params)?;
        // One that does not say how many hits it wants finds as many as the whole shows.
        let (limit, _) = options.window("topk", proxy.config.result_window_max)?;
        let limit = limit.unwrap_or(ranking.limit + ranking.offset);
        let asked = Asked { options: &options, input: one.search_input, nq: one.nq, limit, offset: 0 };
        let search = plan(proxy, source, asked, scope.clone(), ranking.grouping.as_ref()).await?;
        if let Some(first) = searches.first()
            && first.nq != search.nq
        {
            let text = format!("nq [{}] of a search is not the nq [{}] of the first one", search.nq, first.nq);
            return Err(Failure::invalid(text));
        }
        searches.push(search);
    }
    Ok(searches)
}

impl Ranking {
    fn of(options: &Options, proxy: &Proxy, source: &Source, lists: usize) -> Result<Self, Failure> {
        let (limit, offset) = options.window("limit", proxy.config.result_window_max)?;
        Ok(Self {
            ranker: Ranker::of(options, lists)?,
            grouping: Grouping::of(options, &source.collection.schema)?,
            group_score: GroupScore::of(options)?,
            offset,
            limit: limit.ok_or_else(|| Failure::invalid("limit not found in rank_params"))?,
        })
    }

    fn merge(&self, found: &[Found], nq: usize) -> Merged {
        let (offset, limit) = (index(self.offset), index(self.limit));
        let metrics: Vec<&str> = found.iter().map(|one| one.metric.as_str()).collect();
        let mut merged = Merged::default();
        for query in 0..nq {
            let rows: Vec<Vec<usize>> = found.iter().map(|one| one.rows(query)).collect();
            let lists = found.iter().zip(&rows).map(|(one, rows)| (one.metric.as_str(), one.hits(rows)));
            let row = |hit: &Ranked<Key<'_>>| rows[hit.list][hit.place];
            let hits = self.ranker.merge(&lists.collect::<Vec<_>>());
            let hits: Vec<_> = match &self.grouping {
                None => hits.into_iter().skip(offset).take(limit).collect(),
                Some(grouping) => {
                    let group = |hit: &Ranked<Key<'_>>| found[hit.list].group(row(hit), &grouping.field);
                    let window = (offset, limit, index(grouping.size));
                    self.group_score.pick(&hits, group, window, self.ranker.rises(&metrics))
                }
            };
            merged.topks.push(i64::try_from(hits.len()).unwrap_or(i64::MAX));
            merged.scores.extend(hits.iter().map(|hit| hit.score));
            merged.places.extend(hits.iter().map(|hit| (hit.list, row(hit))));
        }
        merged
    }
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

    fn hits(&self, rows: &[usize]) -> Vec<(Key<'_>, f32)> {
        rows.iter().map(|row| (self.key(*row), self.scores[*row])).collect()
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
