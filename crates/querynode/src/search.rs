//! The nearest rows of each of several vectors: every visible row that matches is compared with every query, but where an
//! index says which rows that are worth it (`graphs`).
//!
//! Ties are broken by primary key. Of rows with one key only the nearest is an answer. A row without vector, or whose
//! score is no number, is never one.

use crate::graphs::{self, Sorted};
use crate::grouping::{self, Grouping};
use crate::keys::KeyRef;
use crate::output::{rows_at, to_ipc};
use crate::queries::{Compare, Comparer, Metric, Queries};
use crate::query::Page;
use crate::rows::RowFile;
use crate::scan::{LoadedPart, Reader};
use crate::scope::{Condition, Scope, field};
use crate::topk::{Ranking, TopK};
use crate::view::{RowAt, View};
use arrow::array::Array;
use elanus_meta::model::FileRecord;
use elanus_proto::querynode::{SearchRequest, SearchResponse};
use elanus_segment::Graph;
use elanus_types::schema::CollectionSchema;
use elanus_types::{Failure, FieldId};
use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of vectors that every query is compared with before the next ones: they stay in the fastest cache.
const BLOCK_BYTES: usize = 32 << 10;

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    metric: Metric,
    /// Position of the vector field in the schema.
    column: usize,
    queries: Queries,
    pub(crate) page: Page,
    radius: Option<f64>,
    range_filter: Option<f64>,
    /// How many rows an index may propose for each query; 0: every row is compared.
    candidates: usize,
}

/// A row as an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    /// The score or its negative: less is nearer.
    pub(crate) distance: f32,
    pub(crate) at: RowAt,
}

/// By distance, then by key; of rows with one key the newest.
pub(crate) struct Nearest<'a>(pub(crate) &'a View);

impl<'a> Ranking for Nearest<'a> {
    type Item = Hit;
    type Key = KeyRef<'a>;

    fn compare(&self, a: &Hit, b: &Hit) -> Ordering {
        let by_distance = a.distance.total_cmp(&b.distance);
        let by_key = || self.0.key(a.at).cmp(&self.0.key(b.at));
        by_distance.then_with(by_key).then_with(|| self.0.newest_first(a.at, b.at))
    }

    fn key(&self, item: &Hit) -> KeyRef<'a> {
        self.0.key(item.at)
    }
}

/// Answers a search.
///
/// # Errors
/// When the request is wrong, a file cannot be read, or the answer is too large.
pub(crate) async fn search(reader: &Reader, scope: Scope, request: SearchRequest) -> Result<SearchResponse, Failure> {
    let Scope { view, files, condition, columns } = scope;
    let schema = Arc::clone(&view.schema);
    let grouping = Grouping::of(&schema, &request)?;
    let wanted = Arc::new(reader.cpu.run(move || Wanted::new(&schema, &request)).await?);
    let files = with_candidates(reader, &view, files, &condition).await?;
    // Pages of groups are cut where the groups are known.
    let (found, offset) = match grouping {
        None => (nearest(reader, &view, files, condition, &wanted).await?, wanted.page.offset),
        Some(grouping) => (grouping::nearest(reader, &view, files, condition, &wanted, grouping).await?, 0),
    };

    let mut response = SearchResponse { read_ts: u64::try_from(view.ts.0).unwrap_or_default(), ..Default::default() };
    let mut rows = Vec::new();
    for hits in found {
        let page = hits.get(offset..).unwrap_or_default();
        response.topks.push(i64::try_from(page.len()).unwrap_or(i64::MAX));
        response.scores.extend(page.iter().map(|hit| wanted.metric.score(hit.distance)));
        rows.extend(page.iter().map(|hit| hit.at));
    }
    let key = field(&view.schema, &view.schema.primary_key().name)?.0;
    let columns = std::iter::once(key).chain(columns).collect();
    let rows = rows_at(reader, &view, rows, columns).await?;
    response.arrow_ipc = to_ipc(reader, rows).await?;
    Ok(response)
}

/// The hits of each query up to the end of the page.
async fn nearest(
    reader: &Reader,
    view: &Arc<View>,
    files: Vec<u32>,
    condition: Condition,
    wanted: &Arc<Wanted>,
) -> Result<Vec<Vec<Hit>>, Failure> {
    let best = Best(Arc::new(Mutex::new(wanted.empty::<Hit>(wanted.page.end()))));
    let Sorted { indexed, others } = graphs::sort(reader, view, files, &condition, wanted).await;
    graphs::search(reader, view, indexed, &condition, wanted, &best).await?;
    let (so_far, seen, what) = (best.clone(), Arc::clone(view), Arc::clone(wanted));
    let work = move |parts: &[LoadedPart]| {
        let ranking = Nearest(&seen);
        // What the pieces before found spares the start of the selection.
        let mut tops = what.empty::<Hit>(what.page.end());
        let bounds = so_far.bounds();
        for part in parts {
            let rows = condition.select(&seen.files[part.file as usize], &part.content.batch, part.rows.clone())?;
            what.compare(part, &rows, &bounds, |query, hit| tops[query].offer(&ranking, hit))?;
        }
        so_far.add(&ranking, tops);
        Ok(())
    };
    reader.scan(view, others, work).await?;
    let view = Arc::clone(view);
    let finish = move || Ok(best.take().into_iter().map(|top| top.finish(&Nearest(&view))).collect());
    reader.cpu.run(finish).await
}

/// The best hits of each query so far, to which pieces of a search add.
#[derive(Clone, Debug)]
pub(crate) struct Best(Arc<Mutex<Vec<TopK<Hit>>>>);

impl Best {
    fn lock(&self) -> MutexGuard<'_, Vec<TopK<Hit>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, ranking: &Nearest<'_>, tops: Vec<TopK<Hit>>) {
        for (all, top) in self.lock().iter_mut().zip(tops) {
            all.merge(ranking, top);
        }
    }

    /// What a hit must not be farther than to be among them, for each query.
    fn bounds(&self) -> Vec<f32> {
        self.lock().iter().map(|top| top.bound().map_or(f32::INFINITY, |bound| bound.distance)).collect()
    }

    fn take(&self) -> Vec<TopK<Hit>> {
        std::mem::take(&mut *self.lock())
    }
}

/// Leaves out files that have none of the keys that are asked for.
async fn with_candidates(
    reader: &Reader,
    view: &Arc<View>,
    mut files: Vec<u32>,
    condition: &Condition,
) -> Result<Vec<u32>, Failure> {
    let Condition::Keys(keys) = condition else { return Ok(files) };
    let (view, keys) = (Arc::clone(view), Arc::clone(keys));
    let retain = move || {
        files.retain(|file| {
            let file = &view.files[*file as usize];
            let mut any = false;
            keys.join(&file.keys, |_, row| any |= file.is_visible(row));
            any
        });
        Ok(files)
    };
    reader.cpu.run(retain).await
}

impl Wanted {
    fn new(schema: &CollectionSchema, request: &SearchRequest) -> Result<Self, Failure> {
        let (column, field) = field(schema, &request.vector_field)?;
        if !field.data_type.is_vector() {
            return Err(Failure::invalid(format!("field {} is not a vector: it cannot be searched", field.name)));
        }
        let metric = Metric::parse(&request.metric_type, field)?;
        let page = Page::new(request.offset, request.limit)?;
        if request.limit < 1 {
            return Err(Failure::invalid(format!("limit is {}: a search needs at least 1", request.limit)));
        }
        let nq = usize::try_from(request.nq).unwrap_or_default();
        if nq == 0 {
            return Err(Failure::invalid(format!("nq is {}: a search needs at least 1 vector", request.nq)));
        }
        let queries = Queries::read(field, nq, &request.queries)?;
        let SearchRequest { radius, range_filter, .. } = *request;
        // Ranges have as many hits as they have, which a graph does not know.
        let candidates = match (radius, range_filter) {
            (None, None) => usize::try_from(request.candidates).unwrap_or_default(),
            _ => 0,
        };
        let candidates = if candidates == 0 { 0 } else { candidates.max(page.end()) };
        Ok(Self { metric, column, queries, page, radius, range_filter, candidates })
    }

    /// The field whose indexes may propose rows; `None` when every row is to be compared.
    pub(crate) fn graph_field(&self, schema: &CollectionSchema) -> Option<FieldId> {
        (self.candidates > 0).then(|| schema.fields.get(self.column)).flatten().map(|field| field.id)
    }

    /// True when a graph is of this file, and compares as this search does.
    pub(crate) fn fits(&self, graph: &Graph, file: &FileRecord) -> bool {
        let head = graph.head();
        u64::from(head.rows) == file.rows && Some(head.metric) == self.metric.of_graphs()
    }

    pub(crate) fn candidates(&self) -> usize {
        self.candidates
    }

    /// Position of the vector field in the schema.
    pub(crate) fn column(&self) -> usize {
        self.column
    }

    /// How many vectors are searched for.
    pub(crate) fn queries(&self) -> usize {
        self.queries.count()
    }

    /// Rows that are compared before the next ones are loaded.
    pub(crate) fn block_rows(&self) -> usize {
        (BLOCK_BYTES / self.queries.row_bytes()).max(4)
    }

    /// Gives `compare` what compares the rows of a file with the queries.
    pub(crate) fn compare_with(&self, file: &RowFile, compare: impl Compare) -> Result<(), Failure> {
        self.queries
            .comparer(self.metric, file, self.column, compare)
            .ok_or_else(|| Failure::internal("a file has no vectors in its vector column"))
    }

    /// The best `k` of nothing yet, for each query.
    pub(crate) fn empty<T: Copy>(&self, k: usize) -> Vec<TopK<T>> {
        (0..self.queries.count()).map(|_| TopK::new(k)).collect()
    }

    /// Gives every hit among these rows to `hit`, with the position of its query. What is beyond its query's bound may be
    /// left out.
    pub(crate) fn compare(
        &self,
        part: &LoadedPart,
        rows: &[u32],
        bounds: &[f32],
        hit: impl FnMut(usize, Hit),
    ) -> Result<(), Failure> {
        let nulls = part.content.batch.column(self.column).nulls();
        let present: Vec<u32>;
        let rows = match nulls {
            Some(nulls) if nulls.null_count() > 0 => {
                present = rows.iter().copied().filter(|row| nulls.is_valid(*row as usize)).collect();
                &present
            }
            _ => rows,
        };
        let blocks = Blocks { wanted: self, file: part.file, rows, bounds, hit };
        self.compare_with(&part.content, blocks)
    }

    /// Distances: `range_filter <= score < radius`; similarities: `radius < score <= range_filter`.
    fn in_range(&self, score: f32) -> bool {
        let score = f64::from(score);
        if self.metric.is_distance() {
            return self.radius.is_none_or(|end| score < end) && self.range_filter.is_none_or(|start| score >= start);
        }
        self.radius.is_none_or(|end| score > end) && self.range_filter.is_none_or(|start| score <= start)
    }
}

/// Rows of one file that are compared with all queries.
struct Blocks<'a, H> {
    wanted: &'a Wanted,
    file: u32,
    rows: &'a [u32],
    bounds: &'a [f32],
    hit: H,
}

impl<H: FnMut(usize, Hit)> Compare for Blocks<'_, H> {
    fn with(self, mut comparer: impl Comparer) {
        let Self { wanted, file, rows, bounds, mut hit } = self;
        for rows in rows.chunks(wanted.block_rows()) {
            comparer.load(rows);
            for (query, bound) in bounds.iter().enumerate() {
                for (at, row) in rows.iter().enumerate() {
                    let distance = comparer.distance(query, at, *row);
                    // False for what is no number, too.
                    if distance <= *bound && wanted.in_range(wanted.metric.score(distance)) {
                        hit(query, Hit { distance, at: RowAt { file, row: *row } });
                    }
                }
            }
        }
    }
}
