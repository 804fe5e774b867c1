//! Indexes of dense vectors: graphs of neighbours (Vamana, Subramanya et al. 2019) over the rows of one file, which the library
//! `diskann` builds and searches.
//!
//! * `build`: from the vectors of a column.
//! * `file`: as bytes. No vectors: a reader has those of the file of rows, and compares with them.
//! * `walk`: what the library asks of a graph while it searches.
//!
//! A graph says which rows may be near; how near they are says whoever searches it. So scores are exact, whatever is missed,
//! and a graph costs its links alone. Its nodes are the rows by their numbers; rows without vector have no links.

mod build;
mod file;
mod walk;

pub use build::build_graph;
pub use walk::Distances;

use crate::Error;
use bytes::Bytes;
use diskann::ANNResult;
use diskann::graph::DiskANNIndex;
use diskann::graph::glue::{CopyIds, SearchStrategy};
use diskann::graph::search::{InlineFilterSearch, Knn};
use diskann::neighbor::Neighbor;
use diskann::provider::DefaultContext;
use elanus_types::graph::{GraphMetric, GraphSpec};
use elanus_types::{Checksum, FieldId};
use std::sync::{Mutex, PoisonError};
use walk::{Links, May, Nodes, Walk, done};

const WHAT: &str = "an index of vectors";

/// Of what a graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphHead {
    /// The field.
    pub field: FieldId,
    /// How it compares.
    pub metric: GraphMetric,
    /// Elements of a vector.
    pub dim: u32,
    /// Rows of the file that it is of.
    pub rows: u32,
    /// Rows that have a vector.
    pub vectors: u32,
}

/// A graph as a file.
#[derive(Clone, Debug)]
pub struct EncodedGraph {
    /// The file.
    pub bytes: Bytes,
    /// Of `bytes`.
    pub checksum: Checksum,
}

/// A graph in memory.
pub struct Graph {
    head: GraphHead,
    index: DiskANNIndex<Nodes<Flat>>,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Links that do not change: those of each row, one row after the other.
#[derive(Debug)]
struct Flat {
    /// Where every search begins. None: no row has a vector.
    first: Option<u32>,
    /// Where the links of each row begin, and after the last one where they end.
    starts: Vec<u32>,
    links: Vec<u32>,
}

impl Graph {
    /// Reads a graph.
    ///
    /// # Errors
    /// When the bytes are no graph, or one that points outside of itself.
    pub fn open(bytes: &[u8]) -> Result<Self, Error> {
        let (head, links) = file::decode(bytes).map_err(|why| Error::damaged(WHAT, why))?;
        let degree = links.starts.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or(0);
        // A search asks for nothing of this but how much room its lists need.
        let spec = GraphSpec { metric: head.metric, degree: degree.max(1) as usize, candidates: 1 };
        let config = build::config(spec).map_err(|why| Error::damaged(WHAT, why))?;
        Ok(Self { head, index: DiskANNIndex::new(config, Nodes(links), None) })
    }

    /// Of what it is.
    #[must_use]
    pub fn head(&self) -> &GraphHead {
        &self.head
    }

    /// Memory that goes when this is dropped.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let Flat { starts, links, .. } = &self.index.provider().0;
        (starts.len() + links.len()) * size_of::<u32>()
    }

    /// At most `candidates` rows that are near what `distances` measures from, with their distances, nearest first. Of the
    /// rows that `may` says; the others only show the way, and count: where a share of the rows may, ask for more.
    ///
    /// # Errors
    /// When the library fails.
    pub fn near(
        &self,
        distances: &mut dyn Distances,
        candidates: usize,
        may: May<'_>,
    ) -> Result<Vec<(f32, u32)>, Error> {
        if candidates == 0 || self.index.provider().0.first.is_none() {
            return Ok(Vec::new());
        }
        let failed = |why: String| Error::write(WHAT, why);
        let query = Query { distances: Mutex::new(distances), may };
        let mut found: Vec<Neighbor<u32>> = Vec::new();
        let search = Knn::new_default(candidates).map_err(|error| failed(error.to_string()))?;
        let (index, context) = (&self.index, &DefaultContext);
        let searched = if may.is_some() {
            let search = InlineFilterSearch::new(search, None);
            done(index.search_with(search, &Find, CopyIds, context, &query, &mut found))
        } else {
            done(index.search_with(search, &Find, CopyIds, context, &query, &mut found))
        };
        searched.map_err(|error| failed(error.to_string()))?;
        found.truncate(candidates);
        Ok(found.into_iter().map(|near| (*near.distance(), *near.id())).collect())
    }
}

impl Links for Flat {
    fn first(&self) -> Option<u32> {
        self.first
    }

    fn of(&self, row: u32, to: &mut Vec<u32>) {
        let row = row as usize;
        let ends = self.starts.get(row).zip(self.starts.get(row + 1));
        let links = ends.and_then(|(start, end)| self.links.get(*start as usize..*end as usize));
        to.extend_from_slice(links.unwrap_or_default());
    }
}

/// What is searched for. The library shares it between threads, which we do not.
struct Query<'q> {
    distances: Mutex<&'q mut dyn Distances>,
    may: May<'q>,
}

impl Distances for &Query<'_> {
    fn of(&mut self, rows: &[u32], to: &mut Vec<f32>) {
        self.distances.lock().unwrap_or_else(PoisonError::into_inner).of(rows, to);
    }
}

struct Find;

impl<'a> SearchStrategy<'a, Nodes<Flat>, &'a Query<'a>> for Find {
    type SearchAccessor = Walk<'a, Flat, &'a Query<'a>>;
    type SearchAccessorError = diskann::ANNError;

    fn search_accessor(
        &'a self,
        nodes: &'a Nodes<Flat>,
        _context: &'a DefaultContext,
        query: &'a Query<'a>,
    ) -> ANNResult<Self::SearchAccessor> {
        Ok(Walk::new(&nodes.0, query, query.may))
    }
}

#[cfg(test)]
mod tests;
