//! Searches that graphs of neighbours answer, file by file: a graph says which rows may be near, the rows themselves how near
//! they are. So scores, their order and ties are those of an exact search; only a row that no graph leads to is missed.
//!
//! GR-1  A file without a graph that fits, or whose graph cannot be read, is scanned: that is no error.
//! GR-2  Where few rows match, or a graph finds fewer than there are to be found, the rows that match are compared one by one.

use crate::queries::{Compare, Comparer};
use crate::scan::{LoadedPart, Reader};
use crate::scope::Condition;
use crate::search::{Best, Hit, Nearest, Wanted};
use crate::view::{FileView, RowAt, View};
use arrow::array::Array as _;
use arrow::buffer::BooleanBuffer;
use elanus_segment::Graph;
use elanus_types::Failure;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::sync::Arc;

/// Rows that a search of a graph compares for each of its candidates, about.
const COMPARED_PER_CANDIDATE: usize = 16;
/// Queries of one piece of work.
const QUERIES_AT_ONCE: usize = 64;
/// Graphs that are fetched at a time.
const LOADS_MAX: usize = 8;

/// A file that has a graph for this search.
#[derive(Debug)]
pub(crate) struct Indexed {
    /// Position in [`View::files`].
    file: u32,
    graph: Arc<Graph>,
}

/// What is to be searched: files with graphs, and the others.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) indexed: Vec<Indexed>,
    pub(crate) others: Vec<u32>,
}

/// Sorts files by whether a graph serves this search of them (GR-1).
pub(crate) async fn sort(
    reader: &Reader,
    view: &Arc<View>,
    files: Vec<u32>,
    condition: &Condition,
    wanted: &Wanted,
) -> Sorted {
    let Some(field) = wanted.graph_field(&view.schema).filter(|_| !matches!(condition, Condition::Keys(_))) else {
        return Sorted { indexed: Vec::new(), others: files };
    };
    let indexes = view.indexes_of(field);
    let load = |file: u32| {
        let of = &view.files[file as usize];
        let index = indexes.get(&(of.record.segment, of.record.base_ts));
        // With so few rows the graph could not be faster.
        let index = index.filter(|_| is_worth_it(of.visible_rows(), of.keys.len(), wanted.candidates()));
        async move {
            let Some(index) = index else { return (file, None) };
            match reader.cache.graph(&view.schema, index).await {
                Ok(graph) => (file, Some(graph).filter(|graph| wanted.fits(graph, &of.record))),
                Err(failure) => {
                    tracing::warn!(%failure, "an index cannot be read: its file is scanned");
                    metrics::counter!("elanus_querynode_index_failures_total").increment(1);
                    (file, None)
                }
            }
        }
    };
    let loaded: Vec<_> = stream::iter(files).map(load).buffered(LOADS_MAX).collect().await;
    let mut sorted = Sorted::default();
    for (file, graph) in loaded {
        match graph {
            Some(graph) => sorted.indexed.push(Indexed { file, graph }),
            None => sorted.others.push(file),
        }
    }
    sorted
}

/// Adds the hits among the rows of indexed files to `best`.
pub(crate) async fn search(
    reader: &Reader,
    view: &Arc<View>,
    indexed: Vec<Indexed>,
    condition: &Condition,
    wanted: &Arc<Wanted>,
    best: &Best,
) -> Result<(), Failure> {
    let files = stream::iter(indexed).map(|one| search_file(reader, view, one, condition, wanted, best));
    files.buffer_unordered(LOADS_MAX).try_collect().await
}

async fn search_file(
    reader: &Reader,
    view: &Arc<View>,
    Indexed { file, graph }: Indexed,
    condition: &Condition,
    wanted: &Arc<Wanted>,
    best: &Best,
) -> Result<(), Failure> {
    let content = reader.cache.rows(&view.schema, &view.files[file as usize].record).await?;
    let rows = 0..content.keys.len();
    let part = Arc::new(LoadedPart { file, rows, content });
    let pieces = (0..wanted.queries()).step_by(QUERIES_AT_ONCE);
    let pieces = pieces.map(|first| first..wanted.queries().min(first + QUERIES_AT_ONCE));
    let running = stream::iter(pieces.map(|queries| {
        let (view, wanted, condition) = (Arc::clone(view), Arc::clone(wanted), condition.clone());
        let (part, graph, best) = (Arc::clone(&part), Arc::clone(&graph), best.clone());
        reader.cpu.run(move || {
            let of = &view.files[part.file as usize];
            let mask = condition.mask(of, &part.content.batch, 0..of.keys.len())?;
            let ranking = Nearest(&view);
            let mut tops = wanted.empty::<Hit>(wanted.page.end());
            let mut offer = |query: usize, hit| tops[query].offer(&ranking, hit);
            Matching { of, mask }.search(&part, &graph, &wanted, queries, &mut offer)?;
            best.add(&ranking, tops);
            Ok(())
        })
    }));
    running.buffer_unordered(reader.cpu.width()).try_collect().await
}

/// True when a search of the graph compares fewer rows than a scan of those that match. Of the rows that it compares only
/// that share matches, so it has to look at the more the fewer do.
fn is_worth_it(matching: usize, rows: usize, candidates: usize) -> bool {
    let by_graph = candidates.saturating_mul(COMPARED_PER_CANDIDATE).saturating_mul(rows);
    matching.saturating_mul(matching) > by_graph
}

/// The rows of a file that match.
struct Matching<'v> {
    of: &'v FileView,
    /// `None`: all.
    mask: Option<BooleanBuffer>,
}

impl Matching<'_> {
    fn search(
        &self,
        part: &LoadedPart,
        graph: &Graph,
        wanted: &Wanted,
        queries: std::ops::Range<usize>,
        hit: &mut dyn FnMut(usize, Hit),
    ) -> Result<(), Failure> {
        let rows = self.of.keys.len();
        let matching = self.mask.as_ref().map_or(rows, BooleanBuffer::count_set_bits);
        let worth_it = is_worth_it(matching, rows, wanted.candidates());
        metrics::counter!("elanus_querynode_index_searches_total", "by" => if worth_it { "graph" } else { "scan" })
            .increment(queries.len() as u64);
        let all = || -> Vec<u32> {
            let with_vector = part.content.batch.column(wanted.column()).nulls();
            let is_match = |row: &u32| {
                self.mask.as_ref().is_none_or(|mask| mask.value(*row as usize))
                    && with_vector.is_none_or(|valid| valid.is_valid(*row as usize))
            };
            (0..).take(rows).filter(is_match).collect()
        };
        let may =
            self.mask.as_ref().map(|mask| move |row: u32| (row as usize) < mask.len() && mask.value(row as usize));
        // Of what a graph leads to, only that share matches.
        let candidates = wanted.candidates().saturating_mul(rows) / matching.max(1);
        for query in queries {
            let mut found = Vec::new();
            if worth_it {
                let may = may.as_ref().map(|may| may as &(dyn Fn(u32) -> bool + Send + Sync));
                wanted.compare_with(&part.content, Near { graph, query, candidates, may, found: &mut found })?;
            }
            // GR-2: rows without vector are in no graph.
            if found.len() < wanted.page.end().min(matching) {
                found.clear();
                let compared = Compared { query, rows: &all(), block: wanted.block_rows(), found: &mut found };
                wanted.compare_with(&part.content, compared)?;
            }
            for (distance, row) in found {
                hit(query, Hit { distance, at: RowAt { file: part.file, row } });
            }
        }
        Ok(())
    }
}

/// The rows that a graph leads to from one query.
struct Near<'a> {
    graph: &'a Graph,
    query: usize,
    candidates: usize,
    may: Option<&'a (dyn Fn(u32) -> bool + Send + Sync)>,
    found: &'a mut Vec<(f32, u32)>,
}

impl Compare for Near<'_> {
    fn with(self, mut comparer: impl Comparer) {
        let Self { graph, query, candidates, may, found } = self;
        let mut distances = |rows: &[u32], to: &mut Vec<f32>| {
            comparer.load(rows);
            to.extend(rows.iter().enumerate().map(|(at, row)| comparer.distance(query, at, *row)));
        };
        *found = graph.near(&mut distances, candidates, may).unwrap_or_else(|failure| {
            tracing::warn!(%failure, "an index cannot be searched: its file is scanned");
            metrics::counter!("elanus_querynode_index_failures_total").increment(1);
            Vec::new()
        });
    }
}

/// Rows that are compared with one query.
struct Compared<'a> {
    query: usize,
    rows: &'a [u32],
    /// Rows that are loaded at a time.
    block: usize,
    found: &'a mut Vec<(f32, u32)>,
}

impl Compare for Compared<'_> {
    fn with(self, mut comparer: impl Comparer) {
        for rows in self.rows.chunks(self.block) {
            comparer.load(rows);
            let distances = rows.iter().enumerate().map(|(at, row)| (comparer.distance(self.query, at, *row), *row));
            self.found.extend(distances.filter(|(distance, _)| !distance.is_nan()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_searched_where_that_compares_less() {
        for (matching, rows, candidates, expected) in [
            (100_000, 100_000, 128, true),
            (10_000, 10_000, 128, true),
            (2_000, 2_000, 128, false),
            (50_000, 100_000, 128, true),
            (10_000, 100_000, 128, false),
            (1_000, 100_000, 128, false),
            (100_000, 100_000, 32_768, false),
            (0, 100_000, 128, false),
        ] {
            assert_eq!(is_worth_it(matching, rows, candidates), expected, "{matching} of {rows}, {candidates}");
        }
    }
}
