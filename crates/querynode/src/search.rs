//! The nearest rows of each of several vectors, exactly: every visible row that matches is compared with every query.
//!
//! Ties are broken by primary key. Of rows with one key only the nearest is an answer. A row without vector, or whose
//! score is no number, is never one.

use crate::grouping::{self, Grouping};
use crate::kernel;
use crate::keys::KeyRef;
use crate::output::{rows_at, to_ipc};
use crate::query::Page;
use crate::rows::Vectors;
use crate::scan::{LoadedPart, Reader};
use crate::scope::{Condition, Scope, field};
use crate::topk::{Ranking, TopK};
use crate::view::{RowAt, View};
use arrow::array::Array;
use elanus_proto::querynode::{SearchRequest, SearchResponse};
use elanus_types::Failure;
use elanus_types::schema::{CollectionSchema, DataType};
use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of vectors that every query is compared with before the next ones: they stay in the fastest cache.
const BLOCK_BYTES: usize = 32 << 10;

/// How near two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    L2,
    InnerProduct,
    Cosine,
}

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    metric: Metric,
    /// Position of the vector field in the schema.
    column: usize,
    dim: usize,
    /// One query after the other.
    queries: Vec<f32>,
    norms: Vec<f32>,
    pub(crate) page: Page,
    radius: Option<f64>,
    range_filter: Option<f64>,
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
    let all = Arc::new(Mutex::new(wanted.empty::<Hit>(wanted.page.end())));
    let (shared, seen, what) = (Arc::clone(&all), Arc::clone(view), Arc::clone(wanted));
    let work = move |parts: &[LoadedPart]| {
        let ranking = Nearest(&seen);
        // What the pieces before found spares the start of the selection.
        let mut tops = what.empty::<Hit>(what.page.end());
        let bounds: Vec<f32> = {
            let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.iter().map(|top| top.bound().map_or(f32::INFINITY, |bound| bound.distance)).collect()
        };
        for part in parts {
            let rows = condition.select(&seen.files[part.file as usize], &part.content.batch, part.rows.clone())?;
            what.compare(part, &rows, &bounds, |query, hit| tops[query].offer(&ranking, hit))?;
        }
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        for (all, top) in shared.iter_mut().zip(tops) {
            all.merge(&ranking, top);
        }
        Ok(())
    };
    reader.scan(view, files, work).await?;
    let view = Arc::clone(view);
    let finish = move || {
        let tops = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tops.into_iter().map(|top| top.finish(&Nearest(&view))).collect())
    };
    reader.cpu.run(finish).await
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

impl Metric {
    fn parse(name: &str) -> Result<Self, Failure> {
        match name.to_ascii_uppercase().as_str() {
            "L2" => Ok(Self::L2),
            "IP" => Ok(Self::InnerProduct),
            "COSINE" => Ok(Self::Cosine),
            _ => Err(Failure::invalid(format!("metric type {name:?} is not served: use L2, IP or COSINE"))),
        }
    }

    /// Score and distance turn into each other.
    fn score(self, distance: f32) -> f32 {
        match self {
            Self::L2 => distance,
            // Adding zero leaves no negative zero, which would sort before the positive one.
            Self::InnerProduct | Self::Cosine => 0.0 - distance,
        }
    }
}

impl Wanted {
    fn new(schema: &CollectionSchema, request: &SearchRequest) -> Result<Self, Failure> {
        let metric = Metric::parse(&request.metric_type)?;
        let (column, field) = field(schema, &request.vector_field)?;
        let name = &field.name;
        let dim = match (field.data_type, field.dim()) {
            (DataType::FloatVector, Some(dim)) if dim > 0 => dim,
            _ => return Err(Failure::invalid(format!("field {name} is not a float vector: it cannot be searched"))),
        };
        let page = Page::new(request.offset, request.limit)?;
        if request.limit < 1 {
            return Err(Failure::invalid(format!("limit is {}: a search needs at least 1", request.limit)));
        }
        let nq = usize::try_from(request.nq).unwrap_or_default();
        if nq == 0 {
            return Err(Failure::invalid(format!("nq is {}: a search needs at least 1 vector", request.nq)));
        }
        let bytes = nq.checked_mul(dim).and_then(|n| n.checked_mul(size_of::<f32>()));
        if bytes != Some(request.queries.len()) {
            let found = request.queries.len() / nq;
            let expected = dim * size_of::<f32>();
            let why = format!("vector dimension mismatch: field {name} has dim {dim}, {expected} bytes a vector");
            return Err(Failure::invalid(format!("{why}, the query has {found}")));
        }
        let (numbers, _) = request.queries.as_chunks::<4>();
        let queries: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        if !queries.iter().all(|number| number.is_finite()) {
            return Err(Failure::invalid("a query vector has an element that is not a finite number"));
        }
        let norms = queries.chunks_exact(dim).map(kernel::norm).collect();
        let SearchRequest { radius, range_filter, .. } = *request;
        Ok(Self { metric, column, dim, queries, norms, page, radius, range_filter })
    }

    /// The best `k` of nothing yet, for each query.
    pub(crate) fn empty<T: Copy>(&self, k: usize) -> Vec<TopK<T>> {
        self.norms.iter().map(|_| TopK::new(k)).collect()
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
        let no_vectors = || Failure::internal("a file has no vectors in its vector column");
        let vectors = part.content.vectors(self.column).ok_or_else(no_vectors)?;
        let nulls = part.content.batch.column(self.column).nulls();
        let present: Vec<u32>;
        let rows = match nulls {
            Some(nulls) if nulls.null_count() > 0 => {
                present = rows.iter().copied().filter(|row| nulls.is_valid(*row as usize)).collect();
                &present
            }
            _ => rows,
        };
        match self.metric {
            Metric::L2 => {
                self.blocks(part, vectors, rows, bounds, hit, |_, query, _, row| kernel::squared_distance(query, row))
            }
            Metric::InnerProduct => self
                .blocks(part, vectors, rows, bounds, hit, |_, query, _, row| 0.0 - kernel::inner_product(query, row)),
            Metric::Cosine => {
                let norms = part.content.norms(self.column).ok_or_else(no_vectors)?;
                self.blocks(part, vectors, rows, bounds, hit, |at, query, row_at, row| {
                    0.0 - kernel::cosine(query, row, self.norms[at], norms[row_at])
                });
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn blocks(
        &self,
        part: &LoadedPart,
        vectors: Vectors<'_>,
        rows: &[u32],
        bounds: &[f32],
        mut hit: impl FnMut(usize, Hit),
        distance: impl Fn(usize, &[f32], usize, &[f32]) -> f32,
    ) {
        let block = (BLOCK_BYTES / (self.dim * size_of::<f32>())).max(4);
        for rows in rows.chunks(block) {
            for (query_at, (query, bound)) in self.queries.chunks_exact(self.dim).zip(bounds).enumerate() {
                for row in rows {
                    let distance = distance(query_at, query, *row as usize, vectors.get(*row as usize));
                    // False for what is no number, too.
                    if distance <= *bound && self.in_range(self.metric.score(distance)) {
                        hit(query_at, Hit { distance, at: RowAt { file: part.file, row: *row } });
                    }
                }
            }
        }
    }

    /// L2: `range_filter <= score < radius`; the others: `radius < score <= range_filter`.
    fn in_range(&self, score: f32) -> bool {
        let score = f64::from(score);
        match self.metric {
            Metric::L2 => {
                self.radius.is_none_or(|end| score < end) && self.range_filter.is_none_or(|start| score >= start)
            }
            Metric::InnerProduct | Metric::Cosine => {
                self.radius.is_none_or(|end| score > end) && self.range_filter.is_none_or(|start| score <= start)
            }
        }
    }
}
